"""Where bytes live: the contract every backend fulfils, and its errors.

    StorageError
    ├── ObjectNotFound       no such key, or a key that may not be named
    ├── ObjectChanged        the object is no longer the one that was pinned
    └── StorageUnavailable   the store cannot answer now; trying again may help

A backend knows no HTTP server and no genomics. Keys are opaque texts whose parts are separated by
`/`.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class StorageError(Exception):
    """Base of everything this package raises. Messages never name a path, bucket or key."""


class ObjectNotFound(StorageError):
    """No object has this key, or the key may not be named (it leaves the location)."""


class ObjectChanged(StorageError):
    """The object differs from the one whose fingerprint the caller holds."""


class StorageUnavailable(StorageError):
    """The store did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What is known of an object without reading it.

    `size` is in bytes, `modified_ns` in nanoseconds since the epoch; `fingerprint` pins the bytes:
    two equal fingerprints of one key mean the same content.
    """

    size: int
    modified_ns: int
    fingerprint: str


class StorageBackend(Protocol):
    """Sized objects that can be read at any offset.

    `fingerprint` pins a read: when the object is no longer that one, `ObjectChanged` is raised and
    no byte of another version is returned.
    """

    async def stat(self, key: str) -> ObjectStat:
        """Size and fingerprint of an object, or `ObjectNotFound`."""
        ...

    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes:
        """The bytes `[start, min(end, size))`."""
        ...

    def stream(self, key: str, start: int, end: int, *, fingerprint: str) -> AsyncIterator[bytes]:
        """The same bytes piece by piece; closing the iterator stops the transfer."""
        ...

    async def close(self) -> None:
        """Release descriptors, connections and threads."""
        ...


@runtime_checkable
class DescriptorLender(Protocol):
    """Optional: a backend whose objects are files can lend an open descriptor."""

    def lend(self, key: str, *, fingerprint: str) -> AbstractContextManager[int]:
        """A descriptor to read from at explicit offsets; valid inside the `with` block only."""
        ...
