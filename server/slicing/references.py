"""Reference sequences from the configured FASTA files, found by their MD5.

Never from where a header's @SQ UR points: such a path is a hint at most, and an attack at worst.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from formats.errors import CorruptData, FormatError
from formats.fasta import FaiEntry, FastaReader, parse_fai, parse_gzi
from storage_backends.local import DescriptorSource

_BGZF_MAGIC = b"\x1f\x8b\x08\x04"
_PIECE = 1 << 22
_LOOK_AGAIN = 60.0

_log = logging.getLogger(__name__)


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
        try:
            sequences = _sequences(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptors.append(descriptor)
        for sequence in sequences:
            self._by_length.setdefault(sequence.length, []).append(sequence)


class ConfiguredReferences(ReferenceStore):
    """The sequences of the FASTA files that `find_fasta` lists, once one is needed; thread-safe.

    A file that cannot be used is left out, which is logged once. When a sequence is not found, the
    files are listed again, at most once in `interval` seconds.
    """

    def __init__(
        self, find_fasta: Callable[[], Iterable[Path]], interval: float = _LOOK_AGAIN
    ) -> None:
        super().__init__()
        self._find_fasta = find_fasta
        self._interval = interval
        self._lock = threading.Lock()
        self._looks = 0
        self._looked_at = 0.0
        self._known: set[Path] = set()
        self._refused: set[Path] = set()

    def find(self, name: str, length: int, md5: str | None) -> ReferenceSequence | None:
        looks = self._looks
        found = super().find(name, length, md5)
        if found is None and self._look_again(looks):
            found = super().find(name, length, md5)
        return found

    def _look_again(self, looks: int) -> bool:
        """Whether the files were listed since there had been as many `looks`."""
        with self._lock:
            now = time.monotonic()
            if self._looks == looks and (not looks or now - self._looked_at >= self._interval):
                for path in self._find_fasta():
                    self._take(path)
                self._looked_at = now
                self._looks += 1
            return self._looks != looks

    def _take(self, path: Path) -> None:
        if path in self._known:
            return
        try:
            self._add(path)
            self._known.add(path)
        except (FormatError, OSError) as error:
            if path not in self._refused:
                self._refused.add(path)
                _log.warning("the FASTA file %s is left out: %s", path, error)


def _sequences(path: Path, descriptor: int) -> list[ReferenceSequence]:
    source = DescriptorSource(descriptor, os.fstat(descriptor).st_size)
    entries = parse_fai(_index(path, ".fai"))
    compressed = source.read(0, 4) == _BGZF_MAGIC
    blocks = parse_gzi(_index(path, ".gzi")) if compressed else None
    reader = FastaReader(source, blocks)
    for entry in entries:
        if blocks is None and entry.length and entry.position(entry.length - 1) >= source.size:
            raise CorruptData("a FASTA index names residues beyond the end of its file")
    return [ReferenceSequence(entry, reader) for entry in entries]


def _index(path: Path, suffix: str) -> bytes:
    try:
        return path.with_name(path.name + suffix).read_bytes()
    except FileNotFoundError as error:
        raise CorruptData(f"a FASTA file has no {suffix} index") from error
