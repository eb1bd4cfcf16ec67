"""Indexes of remote objects, kept in a folder that the server processes of a machine share.

A file's name tells where the bytes come from and which version they are, so nothing in the folder
ever needs to be made anew; the oldest files make room for others.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".index"
_log = logging.getLogger(__name__)


class IndexCache:
    """Up to `capacity` bytes of indexes in `directory`, which is made if need be.

    A file that was damaged or cut short is as good as none. Raises `OSError` for a folder that
    cannot be used, and `ValueError` for one in which others may write: who can forge an index can
    choose what is sent.
    """

    def __init__(self, directory: Path, capacity: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o022:
            raise ValueError("others may write to it; use chmod go-w")
        self._directory = directory
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
            with tempfile.NamedTemporaryFile(dir=self._directory, delete=False) as file:
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
        for path in self._directory.glob("*" + _SUFFIX):
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held <= self._capacity:
                break
            path.unlink(missing_ok=True)
            held -= size


def _read(path: Path) -> bytes | None:
    try:
        stored = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    data = stored[32:]
    return data if hashlib.sha256(data).digest() == stored[:32] else None
