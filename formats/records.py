"""Records in a BGZF stream, whatever their format: what a header tells, and a walk over the
records.

BGZF readers see one stream of bytes: records may begin and end anywhere in a block and span
several.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from formats.bgzf import BgzfReader, Block
from formats.errors import CorruptData

MAX_RECORD = 1 << 27
"""Largest record accepted, in bytes."""

MAX_HEADER = 1 << 28
"""Largest header accepted, inflated, in bytes."""


Span = tuple[int, int, int, int, int]
"""One record: its place `[begin, end)` in a buffer, its reference id, and its interval `[start,
stop)`."""


class Record(NamedTuple):
    """One record of a walk: its virtual offset, its bytes and its interval on a reference."""

    offset: int
    data: bytes
    reference: int
    start: int
    stop: int


class Header(NamedTuple):
    """What stands before the records of a BAM, VCF or BCF.

    `payload`: its inflated bytes. `first_record`: virtual offset of the byte after it. `text`: the
    SAM or VCF header. `names`: the references it declares, in order of their ids (VCF: in order of
    appearance).
    """

    payload: bytes
    first_record: int
    text: str
    names: tuple[str, ...]


class RecordFormat(Protocol):
    """How the records of one file are told apart."""

    def spans(self, buffer: bytes, at: int) -> Iterable[Span]:
        """The whole records in `buffer` from `at` on; ends at the first that is cut short.

        Raises `CorruptData` when what stands there can be no record.
        """
        ...

    def last(self, rest: bytes) -> Iterable[Span]:
        """The record that the end of the file completes, if the format has such (text without
        newline)."""
        ...


def walk(reader: BgzfReader, layout: RecordFormat, offset: int) -> Iterator[Record]:
    """The records of a BGZF stream from a virtual offset on, in file order, to the end of the file.

    `offset` must be the start of a record. Raises `CorruptData` when the stream ends within one.
    """
    blocks = reader.blocks(offset >> 16)
    buffer, at = b"", offset & 0xFFFF
    # Where in the buffer each of its blocks begins (below 0 if cut off), and the virtual offset of
    # that byte.
    places: deque[tuple[int, int]] = deque()
    # A record that needs more comes with a quarter more at least: joining stays linear in its size.
    while fresh := _take(blocks, len(buffer) >> 2):
        size = len(buffer)
        for block in fresh:
            places.append((size, block.offset << 16))
            size += len(block.data)
        if at > size:
            raise CorruptData("an offset lies beyond the end of its block")
        buffer = b"".join((buffer, *(block.data for block in fresh)))
        base = following = 0
        for begin, end, reference, start, stop in layout.spans(buffer, at):
            if begin >= following:
                base, following = _seek(places, begin)
            yield Record(base + begin, buffer[begin:end], reference, start, stop)
            at = end
        _seek(places, at)
        buffer = buffer[at:]
        places = deque((place - at, virtual) for place, virtual in places)
        at = 0
        if len(buffer) > MAX_RECORD:
            raise CorruptData("a record is larger than the limit")
    if buffer:
        for begin, end, reference, start, stop in layout.last(buffer):
            yield Record(_seek(places, begin)[0] + begin, buffer[begin:end], reference, start, stop)
            return
        raise CorruptData("the data end within a record")


def _take(blocks: Iterator[Block], size: int) -> list[Block]:
    """The next blocks up to `size` inflated bytes, one at least; none at the end of the file."""
    taken: list[Block] = []
    for block in blocks:
        taken.append(block)
        size -= len(block.data)
        if size <= 0:
            break
    return taken


def _seek(places: deque[tuple[int, int]], at: int) -> tuple[int, int]:
    """What to add to places in the block of `at` for virtual offsets, and where the next block
    begins.

    Forgets the blocks before it.
    """
    while len(places) > 1 and places[1][0] <= at:
        places.popleft()
    place, virtual = places[0]
    return virtual - place, places[1][0] if len(places) > 1 else 1 << 62


class HeaderReader:
    """Reads the inflated stream from its start, byte counts or lines at a time, up to `limit`
    bytes.

    `payload` is what was taken so far. Every take raises `CorruptData` when the file ends first.
    """

    def __init__(self, reader: BgzfReader, limit: int = MAX_HEADER) -> None:
        self.payload = bytearray()
        self._size = reader.source.size
        self._blocks = reader.blocks(0)
        self._limit = limit
        self._data = b""
        self._at = 0
        self._offset = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > self._limit - len(self.payload):
            raise CorruptData("the header is larger than the limit")
        begin = len(self.payload)
        while len(self.payload) < begin + length:
            if not self._more():
                raise CorruptData("the header is cut short")
            self._consume(min(len(self._data), self._at + begin + length - len(self.payload)))
        return bytes(self.payload[begin:])

    def take_line(self, prefix: bytes) -> bytes | None:
        """The next line with its newline if it begins with the one byte `prefix`; None if it does
        not."""
        if not self._more() or self._data[self._at : self._at + 1] != prefix:
            return None
        begin = len(self.payload)
        while self._more():
            newline = self._data.find(b"\n", self._at)
            self._consume(newline + 1 if newline >= 0 else len(self._data))
            if newline >= 0:
                break
            if len(self.payload) > self._limit:
                raise CorruptData("the header is larger than the limit")
        return bytes(self.payload[begin:])

    def tell(self) -> int:
        """Virtual offset of the next byte, normalised to a block that holds it, or the end of the
        file."""
        return (self._offset << 16) + self._at if self._more() else self._size << 16

    def _more(self) -> bool:
        """Have at least one unread byte at hand; False at the end of the file."""
        while self._at >= len(self._data):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._data, self._at, self._offset = block.data, 0, block.offset
        return True

    def _consume(self, end: int) -> None:
        self.payload += self._data[self._at : end]
        self._at = end
