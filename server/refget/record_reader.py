"""Residues of records, whichever way their file stores them.

A record with bytes that are no letters has more of them than its sequence has residues: it is read
from its start, so that what remains can be counted.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from formats.errors import CorruptData
from formats.fasta import FaiEntry, FastaReader, GziEntry
from formats.fasta_index import walk_blocks
from formats.source import ByteSource
from formats.twobit import TwoBitEntry, TwoBitReader
from server.refget.digests import normalise
from server.refget.registry import FileKind

PIECE = 1 << 20
"""Bytes of a record that are read at a time."""

_MANY = 4096

BGZF_MAGIC = b"\x1f\x8b"

_TWOBIT_ORDERS = {b"\x1a\x41\x27\x43": ">", b"\x43\x27\x41\x1a": "<"}


class RecordReader:
    """Reads a file of some kind; as thread-safe as its source. `is_plain`: nothing is inflated.

    `known_blocks` gives those of a BGZF file; where they are not known, the file is walked.
    """

    __slots__ = ("_fasta", "_order", "_twobit", "is_plain", "kind", "source")

    def __init__(
        self,
        source: ByteSource,
        kind: FileKind,
        known_blocks: Callable[[], Sequence[GziEntry] | None] = lambda: None,
    ) -> None:
        self.kind = kind
        self.source = source
        start = source.read(0, 4)
        compressed = kind is FileKind.FASTA and start[:2] == BGZF_MAGIC
        blocks = (known_blocks() or walk_blocks(source)) if compressed else None
        self.is_plain = kind is not FileKind.TWOBIT and not compressed
        self._fasta = FastaReader(source, blocks)
        self._twobit = TwoBitReader(source)
        self._order = _TWOBIT_ORDERS.get(start, "<")

    def read(self, entry: FaiEntry, start: int, end: int) -> bytes:
        """The bytes `[start, end)` of a record, in upper case; for threads.

        Raises `CorruptData` and storage errors.
        """
        if self.kind is FileKind.TWOBIT:
            return self._twobit.residues(twobit_entry(entry, self._order), start, end)
        if not self.is_plain:
            return self._fasta.residues(entry, start, end)
        if start == end:
            return b""
        residues = self.strip(self.source.read(*self.stored(entry, start, end)))
        if len(residues) != end - start:
            raise CorruptData("a file does not hold what is written down of it")
        return residues

    def stored(self, entry: FaiEntry, start: int, end: int) -> tuple[int, int]:
        """Where `[start, end)`, which is not empty, of a record stands in a plain file."""
        if self.kind is FileKind.FLAT:
            return entry.offset + start, entry.offset + end
        return entry.position(start), entry.position(end - 1) + 1

    def strip(self, stored: bytes | bytearray) -> bytes:
        """The bytes of a record, in upper case, among those stored in a plain file.

        Raises `CorruptData` where another record begins.
        """
        if self.kind is FileKind.FLAT:
            return bytes(stored)
        if b">" in stored:
            raise CorruptData("a FASTA file does not fit its index")
        residues = stored.replace(b"\n", b"")
        if b"\r" in residues:
            residues = residues.replace(b"\r", b"")
        # To look at so many bytes takes a tenth of the time that changing their case does.
        if len(residues) < _MANY or np.frombuffer(residues, np.uint8).max() > ord("Z"):
            residues = residues.upper()
        return bytes(residues)


def is_readable(entry: FaiEntry, kind: FileKind) -> bool:
    """Whether a record can be read by offset; those with lines of uneven length can not."""
    return kind is not FileKind.FASTA or entry.line_bases > 0 or not entry.length


def fai_of(entry: TwoBitEntry) -> FaiEntry:
    """A 2bit sequence in the columns of a `.fai`; the byte order is the whole file's."""
    return FaiEntry(entry.name, entry.length, entry.offset, entry.n_blocks, entry.n_offset)


def twobit_entry(entry: FaiEntry, order: str) -> TwoBitEntry:
    """The opposite of `fai_of`."""
    name, length, offset, n_blocks, n_offset = entry
    return TwoBitEntry(name, length, offset, n_blocks, n_offset, order)


class Walk:
    """How to come by the residues `[start, end)` of a sequence of `length` from a record.

    The record is read in `stretches`; `take` gives what is wanted of each, in order.
    """

    __slots__ = ("_end", "_entry", "_is_exact", "_position", "_start")

    def __init__(self, entry: FaiEntry, length: int, start: int, end: int) -> None:
        self._entry = entry
        self._is_exact = entry.length == length
        self._start = start
        self._end = end
        self._position = start if self._is_exact else 0

    def bounds(self) -> tuple[int, int]:
        """All that there is to read of the record."""
        return (self._start, self._end) if self._is_exact else (0, self._entry.length)

    def stretches(self, most: int = PIECE) -> Iterator[tuple[int, int]]:
        """What to read of the record, in order, at `most` so many bytes at a time."""
        at, last = self.bounds()
        while at < last and self._position < self._end:
            yield at, min(at + most, last)
            at += most

    def take(self, data: bytes) -> bytes:
        """The residues that are wanted of the next stretch."""
        if self._is_exact:
            self._position += len(data)
            return data
        letters = normalise(data)
        first, last = self._start - self._position, self._end - self._position
        self._position += len(letters)
        return letters[max(first, 0) : max(last, 0)]

    def finish(self) -> None:
        """Raises `CorruptData` when the record does not hold what was to be read."""
        if self._position < self._end:
            raise CorruptData("a record has fewer residues than its sequence")


def read_residues(
    reader: RecordReader, entry: FaiEntry, length: int, start: int, end: int
) -> Iterator[bytes]:
    """The residues `[start, end)` of a sequence of `length`, a MiB at a time; for threads."""
    walk = Walk(entry, length, start, end)
    for stretch in walk.stretches():
        if residues := walk.take(reader.read(entry, *stretch)):
            yield residues
    walk.finish()
