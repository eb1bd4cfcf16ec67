"""Reference sequences from the configured FASTA files, found by their MD5.

Never from where a header's @SQ UR points: such a path is a hint at most, and an attack at worst.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from formats.errors import CorruptData, FormatError
from formats.fasta import FaiEntry, FastaReader, parse_fai, parse_gzi
from server.slicing.fasta_files import FastaFile
from storage_backends.base import (
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)

_BGZF_MAGIC = b"\x1f\x8b\x08\x04"
_PIECE = 1 << 22
_LOOK_AGAIN = 60.0

_log = logging.getLogger(__name__)


class OpenFasta:
    """A FASTA file that stays open, so that it can be replaced while it is in use; thread-safe.

    A store in which the bytes of before are gone says so instead: then the file is `lost`. Opening
    raises `CorruptData` when an index is missing or malformed, and storage errors.
    """

    def __init__(self, file: FastaFile) -> None:
        self.lost = False
        self._lock = threading.Lock()
        self._readers = 0
        self._closing = False
        with ExitStack() as stack:
            source = stack.enter_context(file.open())
            entries = parse_fai(_index(file, ".fai"))
            compressed = source.read(0, 4) == _BGZF_MAGIC
            blocks = parse_gzi(_index(file, ".gzi")) if compressed else None
            for entry in entries:
                last = entry.length and entry.position(entry.length - 1)
                if blocks is None and entry.length and last >= source.size:
                    raise CorruptData("a FASTA index names residues beyond the end of its file")
            self._reader = FastaReader(source, blocks)
            self.sequences = [ReferenceSequence(entry, self) for entry in entries]
            self._open = stack.pop_all()

    @contextmanager
    def reading(self) -> Iterator[FastaReader]:
        """What reads the file; it is not closed before the `with` block ends."""
        with self._lock:
            if self._closing:
                raise StorageUnavailable("a file of reference sequences is closed", 1)
            self._readers += 1
        try:
            yield self._reader
        except (ObjectChanged, ObjectNotFound) as error:
            self.lost = True
            # It is not the object that the client asks for which has changed.
            raise StorageUnavailable("a file of reference sequences has changed", 1) from error
        finally:
            with self._lock:
                self._readers -= 1
                self._close_unused()

    def close(self) -> None:
        """Close the file, as soon as nobody reads it any more."""
        with self._lock:
            self._closing = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closing and not self._readers:
            self._open.close()


class Residues(Protocol):
    """One reference sequence."""

    def residues(self, start: int, end: int) -> bytes:
        """Residues `[start, end)` in upper case, cut to the sequence; waits for storage."""
        ...


class References(Protocol):
    """Where reference sequences are found."""

    def find(self, name: str, length: int, md5: str | None) -> Residues | None:
        """The sequence with this MD5; when there is no MD5, the one with this name and length."""
        ...


@dataclass(frozen=True, slots=True)
class SeveralReferences:
    """References in several places; what the first has is taken from there."""

    places: Sequence[References]

    def find(self, name: str, length: int, md5: str | None) -> Residues | None:
        found = (place.find(name, length, md5) for place in self.places)
        return next((each for each in found if each is not None), None)


@dataclass(eq=False, slots=True)
class ReferenceSequence:
    """One sequence of a FASTA file; its MD5 is computed when first asked for."""

    entry: FaiEntry
    file: OpenFasta
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
        with self.file.reading() as reader:
            return reader.residues(self.entry, min(start, end), end)

    def md5(self) -> str:
        """MD5 of the upper-cased residues, in lower-case hexadecimal: what @SQ M5 holds.

        Reads the whole sequence.
        """
        with self._lock:
            if self._md5 is None:
                digest = hashlib.md5(usedforsecurity=False)
                for start in range(0, self.length, _PIECE):
                    digest.update(self.residues(start, start + _PIECE))
                self._md5 = digest.hexdigest()
            return self._md5


class ReferenceStore:
    """The sequences of FASTA files, plain or BGZF, that have a `.fai` (and a `.gzi` when BGZF).

    Raises what opening a file raises.
    """

    def __init__(self, files: Iterable[FastaFile] = ()) -> None:
        self._files: dict[str, OpenFasta] = {}
        self._by_length: dict[int, list[ReferenceSequence]] = {}
        try:
            for file in files:
                self._add(file)
        except BaseException:
            self.close()
            raise

    def find(self, name: str, length: int, md5: str | None) -> ReferenceSequence | None:
        """The sequence with this MD5; when there is no MD5, the one with this name and length.

        Raises `StorageUnavailable` when it may be in a file that cannot be read now.
        """
        found, failure = self._search(name, length, md5)
        if failure is not None:
            raise failure
        return found

    def _search(
        self, name: str, length: int, md5: str | None
    ) -> tuple[ReferenceSequence | None, StorageError | None]:
        """The sequence, or none and what kept one from being looked at."""
        failure: StorageError | None = None
        candidates = [each for each in self._by_length.get(length, ()) if not each.file.lost]
        # A sequence of the same name is the likeliest: digests take a second for a chromosome.
        for sequence in sorted(candidates, key=lambda candidate: candidate.entry.name != name):
            try:
                if sequence.md5() == md5 if md5 else sequence.entry.name == name:
                    return sequence, None
            except StorageError as error:
                failure = error
        return None, failure

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._by_length.clear()

    def _add(self, file: FastaFile) -> None:
        opened = self._files[file.name] = OpenFasta(file)
        for sequence in opened.sequences:
            self._by_length.setdefault(sequence.length, []).append(sequence)


class ConfiguredReferences(ReferenceStore):
    """The sequences of the FASTA files that `find_fasta` lists, once one is needed; thread-safe.

    A file that cannot be used is left out, which is logged once. When a sequence is not found, the
    files are listed again: at most once in `interval` seconds, less often when that takes long, and
    at once when a file that is in use has changed. `find_fasta` may end with a `StorageError` for
    what it could not list: what is not found then may be there, and is no reason to go without.
    """

    def __init__(
        self, find_fasta: Callable[[], Iterable[FastaFile]], interval: float = _LOOK_AGAIN
    ) -> None:
        super().__init__()
        self._find_fasta = find_fasta
        self._interval = interval
        self._lock = threading.Lock()
        self._looks = 0
        self._next_look = 0.0
        self._failure: StorageError | None = None
        self._refused: set[str] = set()

    def find(self, name: str, length: int, md5: str | None) -> ReferenceSequence | None:
        looks = self._looks
        found, failure = self._search(name, length, md5)
        if found is None and self._look_again(looks, name, length, md5):
            found, failure = self._search(name, length, md5)
        failure = failure or self._failure
        if found is None and failure is not None:
            raise StorageUnavailable("the reference sequences cannot be read now") from failure
        return found

    def _look_again(self, looks: int, name: str, length: int, md5: str | None) -> bool:
        """Whether files were listed since there had been as many `looks`."""
        with self._lock:
            if self._looks == looks and self._is_due():
                self._look(lambda: self._search(name, length, md5)[0] is not None)
                self._looks += 1
            return self._looks != looks

    def _is_due(self) -> bool:
        lost = any(file.lost for file in self._files.values())
        return lost or not self._looks or time.monotonic() >= self._next_look

    def _look(self, is_found: Callable[[], bool]) -> None:
        """List the files, as far as it takes: those in stores come last, and may take long."""
        self._forget_lost()
        self._failure = None
        begun = time.monotonic()
        try:
            for file in self._find_fasta():
                if self._take(file) and is_found():
                    self._next_look = 0.0
                    return
        except StorageError as error:
            self._failure = error
        now = time.monotonic()
        pause = self._interval * max(1.0, now - begun)
        if isinstance(self._failure, StorageUnavailable):
            pause = min(pause, self._failure.retry_after)
        self._next_look = now + pause

    def _take(self, file: FastaFile) -> bool:
        """Whether the file is new, and can be used."""
        if file.name in self._files:
            return False
        try:
            self._add(file)
            self._refused.discard(file.name)
            return True
        except StorageError as error:
            if _passes(error):
                self._failure = error
            else:
                self._refuse(file, error)
        except FormatError as error:
            self._refuse(file, error)
        return False

    def _refuse(self, file: FastaFile, error: Exception) -> None:
        if file.name not in self._refused:
            self._refused.add(file.name)
            _log.warning("the FASTA file %s is left out: %s", file.name, error)

    def _forget_lost(self) -> None:
        lost = {name for name, file in self._files.items() if file.lost}
        for name in lost:
            self._files.pop(name).close()
        if lost:
            kept: dict[int, list[ReferenceSequence]] = {}
            for file in self._files.values():
                for sequence in file.sequences:
                    kept.setdefault(sequence.length, []).append(sequence)
            self._by_length = kept


def _passes(error: StorageError) -> bool:
    """Whether a file may be readable soon, without anyone mending something."""
    lasting = isinstance(error, StorageDenied | ObjectArchived | ObjectNotFound)
    return not lasting and not isinstance(error.__cause__, PermissionError)


def _index(file: FastaFile, suffix: str) -> bytes:
    try:
        with file.open(suffix) as source:
            return source.read(0, source.size)
    except ObjectNotFound as error:
        raise CorruptData(f"a FASTA file has no {suffix} index") from error
