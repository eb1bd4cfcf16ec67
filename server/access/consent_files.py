"""The custodian's lists on disk: read again when they are written to, never when half written."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from auth.consent_files import (
    MAX_BYTES,
    SampleMap,
    Withdrawals,
    read_sample_map,
    read_withdrawals,
)
from auth.errors import InvalidConfiguration

_SETTLED_SECONDS = 1.0  # what was written to just now may be half of it
_LINE_SECONDS = 3.0  # the same, when its last line does not end


class Stamp(NamedTuple):
    """What differs when a file was written to."""

    modified_ns: int
    size: int
    inode: int

    @property
    def modified(self) -> float:
        """Seconds since the epoch."""
        return self.modified_ns / 1e9

    def is_younger_than(self, seconds: float) -> bool:
        """Whether the file was written to so shortly before."""
        return 0 <= time.time() - self.modified < seconds


@dataclass(slots=True)
class WatchedMap:
    """A sample map: the last one that could be read. It counts once nobody writes to it any more,
    for of a half map somebody might be missing."""

    path: Path
    current: SampleMap | None = None
    _stamp: Stamp | None = None
    _looked: bool = False

    def look(self) -> bool:
        """Whether it is another than before. Raises `InvalidConfiguration`, once for each state of
        a file that cannot be used."""
        stamp = _stamp(self.path)
        if self._looked and stamp == self._stamp:
            return False
        if self.current and stamp and stamp.is_younger_than(_SETTLED_SECONDS):
            return False
        self._stamp, self._looked = stamp, True
        found = read_sample_map(_read(self.path))
        is_another = self.current is None or found.digest != self.current.digest
        self.current = found
        return is_another


@dataclass(slots=True)
class WatchedList:
    """A list of withdrawals. What is done with it is up to others: `take` it, or `refuse` it."""

    path: Path
    has_taken: bool = False
    _stamp: Stamp | None = None
    _looked: bool = False
    _seen: Stamp | None = None

    def look(self) -> tuple[Withdrawals, float] | None:
        """The list and when it was written, if it was since the last time. Raises
        `InvalidConfiguration`."""
        stamp = self._seen = _stamp(self.path)
        if self._looked and stamp == self._stamp:
            return None
        data = _read(self.path)
        if stamp is None:
            raise InvalidConfiguration("appeared just now")
        if self.has_taken and not data.endswith(b"\n") and stamp.is_younger_than(_LINE_SECONDS):
            return None
        return read_withdrawals(data), stamp.modified

    def take(self) -> None:
        """It is in force: no need to look at it in this state."""
        self._stamp, self._looked, self.has_taken = self._seen, True, True

    def refuse(self) -> bool:
        """It cannot be used; whether that is certain, and not only because somebody writes to it
        at this moment."""
        if self.has_taken and self._seen and self._seen.is_younger_than(_SETTLED_SECONDS):
            return False
        self._stamp, self._looked = self._seen, True
        return True


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unreadable"
        raise InvalidConfiguration(f"cannot be read: {reason}") from None
