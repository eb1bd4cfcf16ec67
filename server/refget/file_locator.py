"""From the URLs of the catalogue to the backends that read them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from server.slicing.fasta_files import FastaFile, StoredFasta
from storage_backends.base import StorageBackend
from storage_backends.local import LocalBackend

Place = tuple[StorageBackend, str]
"""A backend, and a key in it."""


class FileLocator:
    """Where files are read: in the location they were found in, on disk, or in a store.

    `open_remote` opens what an `s3://` or `https://` URL names; after `start` threads can read from
    that too. What is on disk is read wherever it lies: only operators name it.
    """

    def __init__(self, open_remote: Callable[[str], Place], descriptors: int = 256) -> None:
        self._open_remote = open_remote
        self._disk = LocalBackend(Path("/"), descriptors)
        self._served: Mapping[str, Place] = {}
        self._remote: dict[str, Place] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind what is opened here, from now on, to an event loop."""
        self._loop = loop

    def serve(self, files: Iterable[FastaFile]) -> None:
        """The files that are in locations now."""
        self._served = {
            each.name: (each.backend, each.key) for each in files if isinstance(each, StoredFasta)
        }

    def __call__(self, url: str) -> Place:
        """Where to read a file of the catalogue. Raises `ValueError` for a URL nobody can read."""
        found = self._served.get(url) or self._remote.get(url)
        if found is not None:
            return found
        if "://" not in url:
            return self._disk, url.removeprefix("/")
        place = self._remote.setdefault(url, self._open_remote(url))
        if self._loop is not None:
            place[0].start(self._loop)
        return place

    async def close(self) -> None:
        """Close the backends that were opened here."""
        for backend, _ in self._remote.values():
            await backend.close()
        await self._disk.close()
