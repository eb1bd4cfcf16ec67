"""From the URL of a file in the catalogue to the backend that reads it."""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from storage_backends.base import ObjectNotFound, StorageBackend
from storage_backends.local import LocalBackend


class Locator:
    """Finds files by what the operator knows them by: a path, or a URL below one of the locations.

    `backends` are those of the locations. `open_folder` opens the folder of any other URL; without
    it such a file is not found. Backends opened here are closed here.
    """

    def __init__(
        self,
        backends: Iterable[StorageBackend] = (),
        open_folder: Callable[[str], StorageBackend] | None = None,
    ) -> None:
        # The longest first: one location may lie within another.
        known = {backend.describe().rstrip("/") + "/": backend for backend in backends}
        self._remote = sorted(
            ((folder, each) for folder, each in known.items() if "://" in folder),
            key=lambda item: -len(item[0]),
        )
        self._open_folder = open_folder
        self._opened: dict[str, StorageBackend] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str) -> tuple[StorageBackend, str]:
        """The backend and the key in it; `ObjectNotFound` for what no backend here can read."""
        if "://" not in url:
            path = Path(os.path.realpath(url))
            return self._folder(str(path.parent), lambda: LocalBackend(path.parent)), path.name
        for folder, backend in self._remote:
            if url.startswith(folder):
                return backend, url[len(folder) :]
        folder, _, name = url.rpartition("/")
        open_folder = self._open_folder
        if open_folder is None:
            raise ObjectNotFound("no such object")
        return self._folder(folder, lambda: open_folder(folder)), name

    async def close(self) -> None:
        """Close what was opened here."""
        with self._lock:
            opened, self._opened = self._opened, {}
        for backend in opened.values():
            await backend.close()

    def _folder(self, folder: str, make: Callable[[], StorageBackend]) -> StorageBackend:
        with self._lock:
            backend = self._opened.get(folder)
            if backend is None:
                backend = self._opened[folder] = make()
            return backend
