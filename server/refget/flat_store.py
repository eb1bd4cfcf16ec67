"""Sequences as files of nothing but their residues, named by their digest.

A sequence that many FASTA files hold is here once. Files appear whole and are never changed.
"""

import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from formats.errors import CorruptData
from formats.fasta import FaiEntry
from server.refget.digests import Digests, SequenceDigester

_PIECE = 1 << 20
_NAME = re.compile(r"[0-9a-f]{48}")
_UNFINISHED = ".unfinished-"
_DAY = 86_400


class FlatStore:
    """The folder `root`, which is made when something is stored in it."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as the operator made them

    def path(self, digests: Digests) -> Path:
        """Where the residues of a sequence are, or would be."""
        name = digests.trunc512
        return self._root / name[:2] / name[2:4] / name

    def holds(self, digests: Digests, length: int) -> bool:
        """Whether the residues are there; what they are is `verify`'s to say."""
        try:
            return self.path(digests).stat().st_size == length
        except OSError:
            return False

    def tidy(self) -> None:
        """Remove what was left unfinished by somebody who was stopped, a day ago or longer."""
        for path in self._root.glob(f"{_UNFINISHED}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()

    def write(self) -> "FlatWriter":
        """Begin to store a sequence whose digests are not known yet; use it in a `with` block."""
        return FlatWriter(self, self._root)

    def verify(self, digests: Digests) -> bool:
        """Whether the file holds just these residues; `OSError` when it cannot be read."""
        digester = SequenceDigester()
        with self.path(digests).open("rb") as file:
            while piece := file.read(_PIECE):
                if digester.update(piece) != piece:
                    return False  # what would be dropped before digesting would be served
        return digester.finish()[0] == digests

    def remove(self, url: str) -> None:
        """Remove a sequence, by where it is in the catalogue, and folders that are empty then.

        What is not of this store stays.
        """
        path = Path(url)
        if not _NAME.fullmatch(path.name) or path.parent.parent.parent != self._root:
            return
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()


class FlatWriter:
    """Normalised residues on their way into the store; what is not kept leaves nothing behind."""

    def __init__(self, store: FlatStore, root: Path) -> None:
        self._store = store
        root.mkdir(parents=True, exist_ok=True)
        self._path = root / f"{_UNFINISHED}{secrets.token_hex(8)}"
        self._file = self._path.open("xb")
        self._length = 0

    def __enter__(self) -> "FlatWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, residues: bytes) -> None:
        """Store the next residues, as they were digested."""
        self._file.write(residues)
        self._length += len(residues)

    def keep(self, digests: Digests, length: int) -> Path:
        """Give the sequence its name, atomically; where it is.

        A sequence that is there already and undamaged stays as it is. Raises `CorruptData` when
        these are not its residues by number.
        """
        target = self._store.path(digests)
        self._file.flush()
        if self._length != length or os.fstat(self._file.fileno()).st_size != length:
            raise CorruptData("a sequence was not stored whole")
        with suppress(OSError):  # what cannot be read is replaced as well
            if self._store.holds(digests, length) and self._store.verify(digests):
                return target
        os.fsync(self._file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.chmod(0o444)
        self._path.replace(target)
        return target


def flat_entry(digests: Digests, length: int) -> FaiEntry:
    """A sequence in the store, in the columns of a `.fai`: one line that has no end."""
    return FaiEntry(digests.trunc512, length, 0, length, length)
