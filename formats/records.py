"""Records in a BGZF stream, whatever their format: what a header tells, and a walk over the
records.

BGZF readers see one stream of bytes: records may begin and end anywhere in a block and span
several.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from formats.bgzf import BgzfReader
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
    rest, rest_offset = b"", 0
    skip = offset & 0xFFFF
    for block in reader.blocks(offset >> 16):
        if skip > len(block.data):
            raise CorruptData("an offset lies beyond the end of its block")
        buffer = rest + block.data if rest else block.data
        base, at = len(rest), skip
        skip = 0
        virtual = (block.offset << 16) - base
        for begin, end, reference, start, stop in layout.spans(buffer, at):
            place = virtual + begin if begin >= base else rest_offset
            yield Record(place, buffer[begin:end], reference, start, stop)
            at = end
        if at >= base:
            rest_offset = virtual + at
        rest = buffer[at:]
        if len(rest) > MAX_RECORD:
            raise CorruptData("a record is larger than the limit")
    if rest:
        for begin, end, reference, start, stop in layout.last(rest):
            yield Record(rest_offset, rest[begin:end], reference, start, stop)
            return
        raise CorruptData("the data end within a record")


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
