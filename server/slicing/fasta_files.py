"""FASTA files wherever they lie: in a location, whatever its store, or elsewhere on disk."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage_backends.base import ObjectNotFound, ObjectSource, StorageBackend, StorageUnavailable
from storage_backends.local import DescriptorSource


class FastaFile(Protocol):
    """A FASTA file and the indexes beside it, which have its name and a suffix."""

    @property
    def name(self) -> str:
        """What the operator knows it by; two files of one name are the same."""
        ...

    def open(self, suffix: str = "") -> AbstractContextManager[ObjectSource]:
        """The file, or an index of it, as it is now: to read in a thread inside the `with` block.

        Raises `ObjectNotFound` and other storage errors.
        """
        ...

    async def modified_ns(self, suffix: str = "") -> int | None:
        """When the content was made, in nanoseconds since the epoch; None if nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFasta:
    """A `FastaFile` that is an object of a location."""

    backend: StorageBackend
    key: str

    @property
    def name(self) -> str:
        return self.backend.describe(self.key)

    def open(self, suffix: str = "") -> AbstractContextManager[ObjectSource]:
        return self.backend.source(self.key + suffix)

    async def modified_ns(self, suffix: str = "") -> int | None:
        return (await self.backend.stat(self.key + suffix)).modified_ns


@dataclass(frozen=True, slots=True)
class FastaOnDisk:
    """A `FastaFile` that the operator named by its path; a link is followed wherever it leads."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    @contextmanager
    def open(self, suffix: str = "") -> Iterator[ObjectSource]:
        try:
            descriptor = os.open(f"{self.path}{suffix}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _translate(error) from error
        try:
            yield DescriptorSource(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    async def modified_ns(self, suffix: str = "") -> int | None:
        try:
            return os.stat(f"{self.path}{suffix}").st_mtime_ns  # noqa: PTH116 - as it is opened
        except OSError as error:
            raise _translate(error) from error


def _translate(error: OSError) -> ObjectNotFound | StorageUnavailable:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectNotFound("no such object")
    return StorageUnavailable("the store cannot be read now")
