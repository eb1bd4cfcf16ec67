"""Records in a BGZF stream, whatever their format: what a header tells, and walks over records.

BGZF readers see one stream of bytes: records may begin and end anywhere in a block and span
several.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, Protocol

from formats.bgzf import BgzfReader
from formats.errors import CorruptData

MAX_RECORD = 1 << 27
"""Largest record accepted, in bytes."""

BEFORE_ALL = -2
"""A position before every other: a variant at a telomere has the position -1."""

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


@dataclass(slots=True)
class Pass:
    """What to pass over, and what was met: records on `reference` that begin before `limit`.

    `kept`: the bytes of those among them that end beyond `limit` and begin at `since` or later;
    None when nothing is to be kept. `position`: where the last record passed begins. `stopped_on`:
    the reference of the record that was not passed.
    """

    reference: int
    limit: int
    kept: list[bytes] | None = None
    since: int = BEFORE_ALL
    position: int = BEFORE_ALL
    stopped_on: int = BEFORE_ALL

    def over(self, buffer: bytes, spans: Iterable[Span], at: int) -> tuple[int, bool]:
        """Pass over the records of `spans`, the first of which begins at `at`.

        Where the next record begins, and whether it is one that is not passed.
        """
        for begin, end, reference, start, stop in spans:
            if reference != self.reference or start >= self.limit:
                self.stopped_on = reference
                return begin, True
            if start < self.position:
                raise CorruptData("the records are not sorted by coordinate")
            self.position = start
            if self.kept is not None and stop > self.limit and start >= self.since:
                self.kept.append(buffer[begin:end])
            at = end
        return at, False


class RecordFormat(Protocol):
    """How the records of one file are told apart."""

    def spans(self, buffer: bytes, at: int) -> Iterable[Span]:
        """The whole records in `buffer` from `at` on; ends at the first that is cut short.

        Raises `CorruptData` when what stands there can be no record.
        """
        ...

    def advance(self, buffer: bytes, at: int, what: Pass) -> tuple[int, bool]:
        """`what.over` the whole records in `buffer` from `at` on, faster where that matters."""
        ...

    def last(self, rest: bytes) -> Iterable[Span]:
        """The record that the end of the file completes (text without newline), if any.

        Raises `CorruptData` when what is left is the beginning of a record.
        """
        ...


class _Stream:
    """The inflated stream from a virtual offset on, as much at a time as holds whole records.

    `data[at:]` is what was not consumed yet; move `at` on before asking for `more`.
    """

    __slots__ = ("_blocks", "_places", "at", "data")

    def __init__(self, reader: BgzfReader, offset: int) -> None:
        self._blocks = reader.blocks(offset >> 16)
        self._places: list[tuple[int, int]] = []
        self.data = b""
        self.at = offset & 0xFFFF

    def more(self) -> bool:
        """Append the next block to what is left; False at the end of the file.

        A record that needs more comes with a quarter more at least: joining stays linear in its
        size.
        """
        at = min(self.at, len(self.data))
        pieces = [self.data[at:]] if at < len(self.data) else []
        places = [(place - at, virtual) for place, virtual in self._places]
        known = len(places)
        kept = size = len(self.data) - at
        if size > MAX_RECORD:
            raise CorruptData("a record is larger than the limit")
        for block in self._blocks:
            places.append((size, block.offset << 16))
            pieces.append(block.data)
            size += len(block.data)
            if 4 * (size - kept) >= kept:
                break
        if len(places) == known:
            return False
        self.at -= at
        if self.at > size:
            raise CorruptData("an offset lies beyond the end of its block")
        self.data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        while len(places) > 1 and places[1][0] <= self.at:
            del places[0]
        self._places = places
        return True

    def virtual(self, place: int) -> int:
        """The virtual offset of `data[place]`."""
        number = bisect_right(self._places, place, key=itemgetter(0)) - 1
        begin, virtual = self._places[number]
        return virtual + place - begin


def walk(reader: BgzfReader, layout: RecordFormat, offset: int) -> Iterator[Record]:
    """The records of a BGZF stream from a virtual offset on, in file order, to the end of the file.

    `offset` must be the start of a record. Raises `CorruptData` when the stream ends within one.
    """
    stream = _Stream(reader, offset)
    while stream.more():
        for begin, end, reference, start, stop in layout.spans(stream.data, stream.at):
            stream.at = end
            yield Record(stream.virtual(begin), stream.data[begin:end], reference, start, stop)
    rest = stream.data[stream.at :]
    for begin, end, reference, start, stop in layout.last(rest):
        yield Record(stream.virtual(stream.at + begin), rest[begin:end], reference, start, stop)


def pass_over(reader: BgzfReader, layout: RecordFormat, offset: int, what: Pass) -> int | None:
    """The virtual offset of the first record from `offset` on that `what` does not pass over.

    None when the file ends first. `offset` must be the start of a record. Raises `CorruptData` when
    the stream ends within one, or the records on the reference are not sorted.
    """
    stream = _Stream(reader, offset)
    while stream.more():
        stream.at, stopped = layout.advance(stream.data, stream.at, what)
        if stopped:
            return stream.virtual(stream.at)
    rest = stream.data[stream.at :]
    _, stopped = what.over(rest, layout.last(rest), 0)
    return stream.virtual(stream.at) if stopped else None


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
