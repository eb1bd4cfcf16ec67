"""FASTA by its indexes: `.fai` says where residues stand, `.gzi` where BGZF blocks begin.

Coordinates on a sequence are 0-based and half-open.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from formats.bgzf import BgzfReader
from formats.errors import CorruptData
from formats.source import ByteSource

MAX_SEQUENCES = 10_000_000
"""Most sequences accepted in one file."""

_COUNT = struct.Struct("<Q")
_MAX_NUMBER = 1 << 62


class FaiEntry(NamedTuple):
    """One sequence: `length` residues from byte `offset` on, in lines of `line_bases` residues.

    `line_width` is the length of such a line with its end, in bytes.
    """

    name: str
    length: int
    offset: int
    line_bases: int
    line_width: int

    def position(self, residue: int) -> int:
        """Byte offset of a residue, in the inflated file."""
        line, column = divmod(residue, self.line_bases)
        return self.offset + line * self.line_width + column


class GziEntry(NamedTuple):
    """A BGZF block: its offset in the file and the offset of its bytes in the inflated file."""

    offset: int
    inflated: int


def parse_fai(data: bytes, limit: int = MAX_SEQUENCES) -> tuple[FaiEntry, ...]:
    """The sequences of a `.fai`, in its order.

    Raises `CorruptData` for lines that are not a name and four numbers, lines of no residues, and
    repeated names.
    """
    lines = data.splitlines()
    if len(lines) > limit:
        raise CorruptData("a FASTA index names too many sequences")
    entries: dict[str, FaiEntry] = {}
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) != 5 or not all(item.isdigit() and len(item) < 19 for item in fields[1:]):
            raise CorruptData("a FASTA index line is not a name and four numbers")
        name = fields[0].decode("utf-8", "surrogateescape")
        entry = FaiEntry(name, *map(int, fields[1:]))
        if not name or name in entries:
            raise CorruptData("a FASTA index repeats a name or leaves it out")
        if entry.length and not 0 < entry.line_bases <= entry.line_width:
            raise CorruptData("a FASTA index names lines of no residues")
        entries[name] = entry
    return tuple(entries.values())


def parse_gzi(data: bytes) -> tuple[GziEntry, ...]:
    """The blocks of a `.gzi`, with the first one, which the file leaves out; ascending."""
    count = _COUNT.unpack_from(data)[0] if len(data) >= 8 else -1
    if len(data) != 8 + 16 * count:
        raise CorruptData("a GZI index has not the size it names")
    blocks = [GziEntry(0, 0)]
    for offset, inflated in struct.iter_unpack("<QQ", data[8:]):
        last = blocks[-1]
        if not (last.offset < offset < _MAX_NUMBER and last.inflated <= inflated < _MAX_NUMBER):
            if (offset, inflated) == (0, 0) and len(blocks) == 1:
                continue  # some writers do name the first block
            raise CorruptData("a GZI index does not ascend")
        blocks.append(GziEntry(offset, inflated))
    return tuple(blocks)


class FastaReader:
    """Residues of a FASTA file, plain or, with `blocks`, BGZF. As thread-safe as its source."""

    __slots__ = ("_blocks", "_source")

    def __init__(self, source: ByteSource, blocks: Sequence[GziEntry] | None = None) -> None:
        self._source = source
        self._blocks = blocks

    def residues(self, entry: FaiEntry, start: int, end: int) -> bytes:
        """Residues `[start, end)` in upper case, for `0 <= start <= end <= entry.length`.

        Raises `CorruptData` when the file does not hold what its index promises.
        """
        if not 0 <= start <= end <= entry.length:
            raise ValueError("an interval outside its sequence")
        if start == end:
            return b""
        raw = self._read(entry.position(start), entry.position(end - 1) + 1)
        residues = raw.translate(None, b"\r\n").upper()
        if len(residues) != end - start or b">" in residues:
            raise CorruptData("a FASTA file does not fit its index")
        return residues

    def _read(self, start: int, end: int) -> bytes:
        if self._blocks is None:
            return self._source.read(start, end)
        first = bisect_right(self._blocks, start, key=lambda block: block.inflated) - 1
        origin = self._blocks[first]
        pieces: list[bytes] = []
        inflated = origin.inflated
        for block in BgzfReader(self._source, limit=1 << 30).blocks(origin.offset):
            pieces.append(block.data)
            inflated += len(block.data)
            if inflated >= end:
                break
        return b"".join(pieces)[start - origin.inflated : end - origin.inflated]
