"""Indexes of remote objects, kept in a folder that the server processes of a machine share.

A file's name tells where the bytes come from and which version they are, so nothing in the folder
ever needs to be made anew; the oldest files make room for others.
"""

import asyncio
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".index"
_WRITING = ".writing"
_ABANDONED_SECONDS = 3600
_log = logging.getLogger(__name__)


class IndexCache:
    """Up to `capacity` bytes of indexes in `directory`, which is made if need be.

    A file that was damaged or cut short is as good as none. Raises `OSError` for a folder that
    cannot be used, and `ValueError` for one in which others may write: who can forge an index can
    choose what is sent.
    """

    def __init__(self, directory: Path, capacity: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory.resolve()
        for folder in (self._directory, *self._directory.parents):
            _check_folder(folder, is_own=folder == self._directory)
        self._capacity = capacity

    async def get(
        self, origin: str, fingerprint: str, load: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The bytes of an object, from the folder or by `load`, which then are kept there.

        `origin` names the object among those of all stores, `fingerprint` its version.
        """
        name = hashlib.sha256(repr((origin, fingerprint)).encode())
        path = self._directory / (name.hexdigest() + _SUFFIX)
        data = await asyncio.to_thread(_read, path)
        if data is None:
            data = await load()
            await asyncio.to_thread(self._keep, path, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        if len(data) > self._capacity:
            return
        try:
            with tempfile.NamedTemporaryFile(
                dir=self._directory, suffix=_WRITING, delete=False
            ) as file:
                try:
                    file.write(hashlib.sha256(data).digest() + data)
                    file.close()
                    os.replace(file.name, path)  # noqa: PTH105
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self._make_room()
        except OSError as error:
            _log.warning("the index cache cannot be written: %s", error.strerror)

    def _make_room(self) -> None:
        """Remove what was used longest ago; others may do the same at the same time."""
        files = []
        old = time.time() - _ABANDONED_SECONDS
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.suffix == _SUFFIX:
                    files.append((status.st_mtime_ns, status.st_size, path))
                elif path.suffix == _WRITING and status.st_mtime < old:
                    path.unlink()  # of a process that was killed
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held <= self._capacity:
                break
            path.unlink(missing_ok=True)
            held -= size


def _check_folder(folder: Path, *, is_own: bool) -> None:
    """`ValueError` for a folder in which others may put or replace files."""
    status = folder.stat()
    if is_own and status.st_uid != os.geteuid():
        raise ValueError("it belongs to somebody else")
    is_sticky = bool(status.st_mode & stat.S_ISVTX) and not is_own
    if status.st_mode & 0o022 and not is_sticky:
        raise ValueError("others may write to it or to a folder above it; use chmod go-w")


def _read(path: Path) -> bytes | None:
    try:
        stored = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    data = stored[32:]
    return data if hashlib.sha256(data).digest() == stored[:32] else None
