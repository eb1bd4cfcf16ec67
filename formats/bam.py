"""BAM: header and records (SAMv1 § 4.2)."""

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from formats.bgzf import BgzfReader
from formats.errors import CorruptData
from formats.records import MAX_RECORD, Header, HeaderReader, Pass, Span

MAX_REFERENCES = 1 << 21
"""Largest number of reference sequences accepted in a header."""

_START = struct.Struct("<IiiBBHHH")
_FIXED = struct.Struct("<IiiBBHHHi")
_UNMAPPED = 0x4
_CONSUMES_REFERENCE = 0x18D
"""Bit n is set when CIGAR operation n (MIDNSHP=X) advances on the reference."""


def read_header(reader: BgzfReader) -> Header:
    """The header text and reference list. Raises `CorruptData` when either is malformed."""
    stream = HeaderReader(reader)
    if stream.take(4) != b"BAM\x01":
        raise CorruptData("not a BAM file")
    (l_text,) = struct.unpack("<I", stream.take(4))
    text = stream.take(l_text).rstrip(b"\0").decode("utf-8", "surrogateescape")
    (n_ref,) = struct.unpack("<I", stream.take(4))
    if n_ref > MAX_REFERENCES:
        raise CorruptData("the header lists more references than the limit")
    names = []
    for _ in range(n_ref):
        (l_name,) = struct.unpack("<I", stream.take(4))
        entry = stream.take(l_name + 4)
        if not l_name or entry[l_name - 1] != 0:
            raise CorruptData("a reference name in the header is malformed")
        names.append(entry[: l_name - 1].decode("utf-8", "surrogateescape"))
    return Header(bytes(stream.payload), stream.tell(), text, tuple(names))


def references(payload: bytes) -> list[tuple[str, int]]:
    """Names and lengths of an inflated header that `read_header` accepted; a name ends at its first
    NUL, as other readers see it."""
    (l_text,) = struct.unpack_from("<I", payload, 4)
    at, found = 12 + l_text, []
    while at < len(payload):
        (l_name,) = struct.unpack_from("<I", payload, at)
        name = payload[at + 4 : at + 4 + l_name].partition(b"\0")[0]
        (length,) = struct.unpack_from("<I", payload, at + 4 + l_name)
        found.append((name.decode("utf-8", "surrogateescape"), length))
        at += l_name + 8
    return found


def build_header(text: str, references: Sequence[tuple[str, int]]) -> bytes:
    """An inflated header of this text and these references."""
    encoded = text.encode("utf-8", "surrogateescape")
    pieces = [b"BAM\x01", struct.pack("<I", len(encoded)), encoded]
    pieces.append(struct.pack("<I", len(references)))
    for name, length in references:
        entry = name.encode("utf-8", "surrogateescape") + b"\0"
        pieces += struct.pack("<I", len(entry)), entry, struct.pack("<I", length)
    return b"".join(pieces)


class BamRecords:
    """Record boundaries and intervals of a BAM with `references` reference sequences.

    The interval of a record is `[pos, pos + max(1, length of its CIGAR on the reference))`; of an
    unmapped one, or one without CIGAR, a single base.
    """

    __slots__ = ("_references",)

    def __init__(self, references: int) -> None:
        self._references = references

    def spans(self, buffer: bytes, at: int) -> Iterator[Span]:
        unpack = _FIXED.unpack_from
        size, references = len(buffer), self._references
        while at + 36 <= size:
            length, reference, start, l_name, _, _, n_cigar, flag, l_seq = unpack(buffer, at)
            if (
                not -1 <= reference < references
                or start < -1
                or l_seq < 0
                or 32 + l_name + 4 * n_cigar + l_seq + ((l_seq + 1) >> 1) > length
                or length > MAX_RECORD
            ):
                raise CorruptData("a BAM record is malformed")
            end = at + 4 + length
            if end > size:
                return
            stop = start + 1
            if n_cigar and not flag & _UNMAPPED:
                stop = start + (_reference_length(buffer, at + 36 + l_name, n_cigar) or 1)
            yield at, end, reference, start, stop
            at = end

    def advance(self, buffer: bytes, at: int, what: Pass) -> tuple[int, bool]:
        unpack, size = _START.unpack_from, len(buffer)
        reference, limit, position, kept = what.reference, what.limit, what.position, what.kept
        while at + 36 <= size:
            length, where, start, l_name, _, _, n_cigar, flag = unpack(buffer, at)
            if where != reference or start >= limit:
                what.position, what.stopped_on = position, where
                return at, True
            if not 32 <= length <= MAX_RECORD:
                raise CorruptData("a BAM record is malformed")
            end = at + 4 + length
            if end > size:
                break
            if start < position:
                raise CorruptData("the records are not sorted by coordinate")
            position = start
            if kept is not None and start >= what.since:
                if at + 36 + l_name + 4 * n_cigar > end:
                    raise CorruptData("a BAM record is malformed")
                stop = start + 1
                if n_cigar and not flag & _UNMAPPED:
                    stop = start + (_reference_length(buffer, at + 36 + l_name, n_cigar) or 1)
                if stop > limit:
                    kept.append(buffer[at:end])
            at = end
        what.position = position
        return at, False

    def last(self, rest: bytes) -> Iterable[Span]:
        if rest:
            raise CorruptData("the data end within a record")
        return ()


def _reference_length(buffer: bytes, at: int, count: int) -> int:
    """Bases that a CIGAR of `count` operations covers on the reference."""
    if count == 1:
        operation = int.from_bytes(buffer[at : at + 4], "little")
        return operation >> 4 if _CONSUMES_REFERENCE >> (operation & 15) & 1 else 0
    if count > 64:
        operations = np.frombuffer(buffer, dtype="<u4", count=count, offset=at)
        advances = (_CONSUMES_REFERENCE >> (operations & 15)) & 1
        return int(np.sum((operations >> 4) * advances, dtype=np.int64))
    length = 0
    for operation in struct.unpack_from(f"<{count}I", buffer, at):
        if _CONSUMES_REFERENCE >> (operation & 15) & 1:
            length += operation >> 4
    return length
