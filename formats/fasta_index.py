"""FASTA text in one pass: its records, their residues, and the indexes that make them seekable.

Entries of the `.fai` have the geometry that samtools faidx gives them. Work is done on whole pieces
of text, never line by line, so that a pass costs little beside a digest of the residues.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from formats.bgzf import MAX_BLOCK, BgzfReader, block_size
from formats.errors import CorruptData
from formats.fasta import MAX_SEQUENCES, FaiEntry, GziEntry
from formats.source import ByteSource

MAX_HEADER = 1 << 20
"""Longest header line, in bytes."""

_LINE_END = ord("\n")
_SMALL = 4096
_READ = 1 << 20
_FEW = 8


class RecordBegins(NamedTuple):
    """A header line: its first word, and what follows it without the blanks around."""

    name: str
    description: str


class RecordEnds(NamedTuple):
    """The end of a record of `length` bytes of residues.

    `entry` is None when lines of uneven length, blanks within them, `>` or bytes that are not ASCII
    make it unreadable by offset. A record without lines has an entry of length and lines 0.
    """

    name: str
    length: int
    entry: FaiEntry | None


Event: TypeAlias = RecordBegins | bytes | RecordEnds
"""What a scan tells, in file order; `bytes` are residues as they stand, without line ends."""


class FastaScanner:
    """Events of FASTA text that is fed in pieces of any size; a MiB each serves best.

    Memory does not grow with lines or records, but for the names. `feed` and `close` raise
    `CorruptData` for text before the first header, repeated or missing names, more than `limit`
    records, and a text that has none or ends within a header.
    """

    __slots__ = ("_held", "_limit", "_names", "_offset", "_record")

    def __init__(self, limit: int = MAX_SEQUENCES) -> None:
        self._limit = limit
        self._names: set[str] = set()
        self._record: _Record | None = None
        self._held = b""  # a header cut short, or a "\r" that may be half of a line end
        self._offset = 0

    def feed(self, piece: bytes) -> list[Event]:
        """The events of the next piece of text."""
        text, self._held = self._held + piece, b""
        events: list[Event] = []
        at, size = 0, len(text)
        while at < size:
            record = self._record
            if text[at] == ord(">") and (record is None or not record.column):
                end = text.find(b"\n", at)
                if (size if end < 0 else end) - at > MAX_HEADER:
                    raise CorruptData("a FASTA header line is too long")
                if end < 0:
                    self._held = text[at:]
                    break
                self._begin(text[at + 1 : end], self._offset + end + 1, events)
                at = end + 1
                continue
            end = _next_header(text, at)
            lines = text[at:end]
            if end == size and lines.endswith(b"\r"):
                lines, self._held = lines[:-1], b"\r"
            if record is not None:
                residues = record.add(lines)
                if residues:
                    events.append(residues)
            elif lines.strip(b"\r\n"):
                raise CorruptData("text that does not begin with a FASTA header")
            at = end
        self._offset += size - len(self._held)
        return events

    def close(self) -> list[Event]:
        """The events that only the end of the text can tell."""
        if self._record is None or self._held.startswith(b">"):
            raise CorruptData("FASTA text without a sequence, or cut short in a header")
        unfinished = self._held or self._record.column
        return [*(self.feed(b"\n") if unfinished else ()), self._record.end()]

    def _begin(self, header: bytes, offset: int, events: list[Event]) -> None:
        if self._record is not None:
            events.append(self._record.end())
        words = header.split(None, 1)
        name = words[0].decode("utf-8", "surrogateescape") if words else ""
        if not name or "\0" in name or name in self._names:
            raise CorruptData("FASTA text repeats a name or leaves it out")
        if len(self._names) >= self._limit:
            raise CorruptData("FASTA text of too many sequences")
        self._names.add(name)
        self._record = _Record(name, offset)
        description = words[1].strip().decode("utf-8", "replace") if len(words) > 1 else ""
        events.append(RecordBegins(name, description))


class _Record:
    """The geometry of one record, as its lines come in. `column`: bytes of the unfinished line."""

    __slots__ = ("_bases", "_closed", "_even", "_length", "_name", "_offset", "_width", "column")

    def __init__(self, name: str, offset: int) -> None:
        self._name = name
        self._offset = offset
        self._length = 0
        self._bases = self._width = 0  # of every line but the last; 0 until one has ended
        self._closed = False  # a shorter or blank line came: none but blank ones may follow
        self._even = True
        self.column = 0

    def add(self, text: bytes) -> bytes:
        """The residues of more lines; `text` ends before a "\r" that may belong to a line end."""
        at = 0 if self._width and not self.column else text.find(b"\n") + 1
        first = self._lines(text[:at])
        rows = self._rows(text, at)
        if rows:
            at += len(rows) // self._bases * self._width
        return b"".join((first, rows, self._lines(text[at:])))

    def end(self) -> RecordEnds:
        geometry = (self._length, self._offset, self._bases, self._width)
        return RecordEnds(
            self._name, self._length, FaiEntry(self._name, *geometry) if self._even else None
        )

    def _rows(self, text: bytes, at: int) -> bytes:
        """The residues of the lines from `at` on that are like the first one of the record."""
        if not (self._even and self._bases) or self._closed or self.column:
            return b""
        bases, width = self._bases, self._width
        ends = text[at + width - 1 :: width]
        count = len(ends) - len(ends.lstrip(b"\n"))
        if width - bases == 2:
            returns = text[at + bases : at + count * width : width]
            count = len(returns) - len(returns.lstrip(b"\r"))
        if count < _FEW:
            return b""
        lines = np.frombuffer(text, np.uint8, count * width, at).reshape(count, width)
        residues = lines[:, :bases].tobytes()
        if not _is_readable(residues):  # a line end where none should be, too
            return b""
        self._length += len(residues)
        return residues

    def _lines(self, text: bytes) -> bytes:
        """The residues of any lines."""
        residues = text.replace(b"\r\n", b"") if b"\r" in text else text
        residues = residues.replace(b"\n", b"")
        self._length += len(residues)
        if self._even:
            self._even = _is_readable(residues) and self._fits(text, residues)
        last = text.rfind(b"\n")
        self.column = len(text) - 1 - last if last >= 0 else self.column + len(text)
        return residues

    def _fits(self, text: bytes, residues: bytes) -> bool:
        if self._closed:
            return not residues
        at, column = 0, self.column
        while (end := text.find(b"\n", at)) >= 0:
            width = column + end + 1 - at
            bases = width - (2 if text[max(at, end - 1)] == ord("\r") else 1)
            at, column = end + 1, 0
            if not self._width and width > 1:
                self._bases, self._width = bases, width
            elif (bases, width) != (self._bases, self._width):
                self._closed = True
                blank = bases == 0 and width <= 2
                short = bases <= self._bases and width <= self._width
                return (blank or short) and not text[at:].strip(b"\r\n")
        return True


def scan_fasta(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events of a whole FASTA text that comes in pieces of any size; see `FastaScanner`."""
    # Once glibc's malloc has seen a block of this size it recycles smaller ones instead of mapping
    # each anew: the scan is four times faster for it.
    np.empty(1 << 24, np.uint8)
    scanner = FastaScanner()
    for piece in pieces:
        yield from scanner.feed(piece)
    yield from scanner.close()


def write_fai(entries: Iterable[FaiEntry]) -> bytes:
    """A `.fai` of the entries. Empty sequences are left out, as samtools does: it would divide by
    the length of their lines."""
    return b"".join(
        name.encode("utf-8", "surrogateescape") + b"\t%d\t%d\t%d\t%d\n" % tuple(numbers)
        for name, *numbers in entries
        if numbers[0]
    )


def walk_blocks(source: ByteSource) -> tuple[GziEntry, ...]:
    """The `.gzi` entries of a BGZF file, by the headers and footers of its blocks.

    As in `parse_gzi` the first stands at 0; empty blocks have none. Nothing is inflated. Raises
    `CorruptData` when the file is not a whole run of BGZF blocks.
    """
    entries = [GziEntry(0, 0)]
    buffer, start, offset, inflated = b"", 0, 0, 0
    while offset < source.size:
        at = offset - start
        if len(buffer) - at < MAX_BLOCK and start + len(buffer) < source.size:
            buffer, start, at = source.read(offset, offset + _READ), offset, 0
        end = at + block_size(buffer, at)
        length = int.from_bytes(buffer[end - 4 : end], "little")
        if end > len(buffer) or length > MAX_BLOCK:
            raise CorruptData("a BGZF block is cut short or too large")
        if inflated and length:
            entries.append(GziEntry(offset, inflated))
        offset, inflated = start + end, inflated + length
    return tuple(entries)


def inflated_pieces(source: ByteSource, entries: list[GziEntry]) -> Iterator[bytes]:
    """The inflated bytes of a BGZF file in pieces of about a MiB; `entries`, an empty list, becomes
    what `walk_blocks` gives, so that one pass over the file does for both."""
    reader = BgzfReader(source, ahead=_READ)
    blocks: list[bytes] = []
    waiting = inflated = 0
    entries.append(GziEntry(0, 0))
    for block in reader.blocks(0):
        reader.renew()
        if inflated and block.data:
            entries.append(GziEntry(block.offset, inflated))
        inflated += len(block.data)
        waiting += len(block.data)
        blocks.append(block.data)
        if waiting >= _READ:
            yield b"".join(blocks)
            blocks, waiting = [], 0
    if waiting:
        yield b"".join(blocks)


def write_gzi(entries: Iterable[GziEntry]) -> bytes:
    """A `.gzi` of the entries, which as usual does not name the block at 0."""
    named = [entry for entry in entries if entry.offset]
    return struct.pack("<Q", len(named)) + b"".join(struct.pack("<QQ", *entry) for entry in named)


def _next_header(text: bytes, at: int) -> int:
    """Where the next line that begins with `>` stands after `at`, or the end of the text."""
    found = text.find(b">", at + 1)
    while found >= 0 and text[found - 1] != _LINE_END:
        found = text.find(b">", found + 1)
    return len(text) if found < 0 else found


def _is_readable(residues: bytes) -> bool:
    """Whether a reader by offsets can tell them from line ends and headers: `!` to `~`, no `>`."""
    if len(residues) < _SMALL and (residues.isalpha() or not residues):
        return True
    values = np.frombuffer(residues, np.uint8)
    return bool(values.min() >= ord("!") and values.max() <= ord("~") and b">" not in residues)
