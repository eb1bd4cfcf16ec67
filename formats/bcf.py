"""BCF2: header, contig dictionary and records (VCFv4.3 § 6)."""

import re
import struct
from collections.abc import Iterable, Iterator

from formats.bgzf import BgzfReader
from formats.errors import CorruptData
from formats.records import MAX_RECORD, Header, HeaderReader, Pass, Span

_FIXED = struct.Struct("<IIiii")
_CONTIG = re.compile(r"^##contig=<(.*)>\s*$", re.MULTILINE)
_ID = re.compile(r'(?:^|,)ID=("(?:[^"\\]|\\.)*"|[^,]*)')
_QUOTED = re.compile(r'(?<!ID=)"(?:[^"\\]|\\.)*"')
_IDX = re.compile(r"(?:^|,)IDX=(\d{1,9})(?:,|$)")
_MAX_CONTIGS = 1 << 20


def read_header(reader: BgzfReader) -> Header:
    """The header text and contig dictionary. `names` holds "" for a number without a contig."""
    stream = HeaderReader(reader)
    magic = stream.take(5)
    if magic[:4] != b"BCF\x02":
        raise CorruptData("not a BCF2 file")
    (l_text,) = struct.unpack("<I", stream.take(4))
    text = stream.take(l_text).rstrip(b"\0").decode("utf-8", "surrogateescape")
    return Header(bytes(stream.payload), stream.tell(), text, contigs(text))


def with_text(payload: bytes, text: str) -> bytes:
    """The inflated header of a BCF with another text."""
    encoded = text.encode("utf-8", "surrogateescape") + b"\0"
    return payload[:5] + struct.pack("<I", len(encoded)) + encoded


def contigs(text: str) -> tuple[str, ...]:
    """The contig names of a VCF header at their dictionary numbers: `IDX` if given, else by
    appearance."""
    numbers: dict[int, str] = {}
    seen: set[str] = set()
    following = 0
    for line in _CONTIG.finditer(text):
        fields = _QUOTED.sub('""', line[1])  # text may look like a field
        match = _ID.search(fields)
        if match is None or match[1] in seen:
            continue
        name = match[1].strip('"')
        seen.add(match[1])
        index = _IDX.search(fields)
        number = int(index[1]) if index else following
        if number >= _MAX_CONTIGS:
            raise CorruptData("a contig of the header has an impossible IDX")
        numbers[number] = name
        following = max(following, number + 1)
    return tuple(numbers.get(number, "") for number in range(following))


class BcfRecords:
    """Record boundaries and intervals of a BCF; a record's interval is `[POS, POS + rlen)`."""

    __slots__ = ("_contigs",)

    def __init__(self, contigs: int) -> None:
        self._contigs = contigs

    def spans(self, buffer: bytes, at: int) -> Iterator[Span]:
        unpack = _FIXED.unpack_from
        size, contigs = len(buffer), self._contigs
        while at + 20 <= size:
            shared, individual, reference, start, length = unpack(buffer, at)
            if (
                shared < 24
                or shared + individual > MAX_RECORD
                or not 0 <= reference < contigs
                or start < -1
            ):
                raise CorruptData("a BCF record is malformed")
            end = at + 8 + shared + individual
            if end > size:
                return
            yield at, end, reference, start, start + length
            at = end

    def advance(self, buffer: bytes, at: int, what: Pass) -> tuple[int, bool]:
        return what.over(buffer, self.spans(buffer, at), at)

    def last(self, rest: bytes) -> Iterable[Span]:
        if rest:
            raise CorruptData("the data end within a record")
        return ()
