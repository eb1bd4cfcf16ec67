"""Reference sequences from the configured FASTA files, found by their MD5.

Never from where a header's @SQ UR points: such a path is a hint at most, and an attack at worst.
"""

import hashlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from formats.errors import CorruptData
from formats.fasta import FaiEntry, FastaReader, parse_fai, parse_gzi
from server.slicing.source import DescriptorSource

_BGZF_MAGIC = b"\x1f\x8b\x08\x04"
_PIECE = 1 << 22


@dataclass(eq=False, slots=True)
class ReferenceSequence:
    """One sequence of a FASTA file; its MD5 is computed when first asked for."""

    entry: FaiEntry
    _reader: FastaReader
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _md5: str | None = None

    @property
    def length(self) -> int:
        """Number of residues."""
        return self.entry.length

    def residues(self, start: int, end: int) -> bytes:
        """Residues `[start, end)` in upper case, cut to the sequence; `CorruptData`, storage
        errors."""
        end = min(end, self.entry.length)
        return self._reader.residues(self.entry, min(start, end), end)

    def md5(self) -> str:
        """MD5 of the upper-cased residues, in lower-case hexadecimal: what @SQ M5 holds."""
        with self._lock:
            if self._md5 is None:
                digest = hashlib.md5(usedforsecurity=False)
                for start in range(0, self.length, _PIECE):
                    digest.update(self.residues(start, start + _PIECE))
                self._md5 = digest.hexdigest()
            return self._md5


class ReferenceStore:
    """The sequences of FASTA files, plain or BGZF, that have a `.fai` (and a `.gzi` when BGZF).

    Files stay open, so that they can be replaced while they are in use. Raises `CorruptData` when
    an index is missing or malformed.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._descriptors: list[int] = []
        self._by_length: dict[int, list[ReferenceSequence]] = {}
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self.close()
            raise

    def find(self, name: str, length: int, md5: str | None) -> ReferenceSequence | None:
        """The sequence with this MD5; when there is no MD5, the one with this name and length."""
        candidates = self._by_length.get(length, [])
        # A sequence of the same name is the likeliest: digests take a second for a chromosome.
        for sequence in sorted(candidates, key=lambda candidate: candidate.entry.name != name):
            if sequence.md5() == md5 if md5 else sequence.entry.name == name:
                return sequence
        return None

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._by_length.clear()

    def _add(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        source = DescriptorSource(descriptor, os.fstat(descriptor).st_size)
        entries = parse_fai(_index(path, ".fai"))
        compressed = source.read(0, 4) == _BGZF_MAGIC
        blocks = parse_gzi(_index(path, ".gzi")) if compressed else None
        reader = FastaReader(source, blocks)
        for entry in entries:
            if blocks is None and entry.length and entry.position(entry.length - 1) >= source.size:
                raise CorruptData("a FASTA index names residues beyond the end of its file")
            self._by_length.setdefault(entry.length, []).append(ReferenceSequence(entry, reader))


def _index(path: Path, suffix: str) -> bytes:
    try:
        return path.with_name(path.name + suffix).read_bytes()
    except FileNotFoundError as error:
        raise CorruptData(f"a FASTA file has no {suffix} index") from error
