"""Where bytes live: the contract every backend fulfils, and its errors.

    StorageError
    ├── ObjectNotFound       no such key, or a key that may not be named
    ├── ObjectChanged        the object is no longer the one that was pinned
    └── StorageUnavailable   the store cannot answer now; trying again may help
        ├── StorageDenied    the store refuses this server
        └── ObjectArchived   the object must be restored before it can be read

A backend knows no HTTP server and no genomics. Keys are opaque texts whose parts are separated by
`/`.
"""

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
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
    """The store did not answer, or not in time. `retry_after`: when to ask again, in seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageDenied(StorageUnavailable):
    """The store refuses what this server asks: an operator must mend that."""

    def __init__(self, message: str, retry_after: int = 60) -> None:
        super().__init__(message, retry_after)


class ObjectArchived(StorageUnavailable):
    """The object lies in an archive and must be restored, which takes hours."""

    def __init__(self, message: str, retry_after: int = 3600) -> None:
        super().__init__(message, retry_after)


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What is known of an object without reading it.

    `size` is in bytes; `fingerprint` pins the bytes: two equal fingerprints of one key mean the
    same content. `modified_ns`: when the content was made, in nanoseconds since the epoch; None
    where the store knows only when it was uploaded.
    """

    size: int
    modified_ns: int | None
    fingerprint: str


class ObjectSource(Protocol):
    """One object, pinned, for code that runs in threads and may wait for bytes."""

    @property
    def size(self) -> int:
        """Number of bytes in the object."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, min(end, size))`, all of them, or a `StorageError`."""
        ...

    def held(self, start: int, end: int) -> bytes | None:
        """The bytes `[start, end)` if they were fetched anyway and need not be fetched again."""
        ...


class StorageBackend(Protocol):
    """Sized objects that can be read at any offset.

    `fingerprint` pins a read: when the object is no longer that one, `ObjectChanged` is raised and
    no byte of another version is returned.
    """

    def start(self, loop: AbstractEventLoop) -> None:
        """Bind to an event loop, from any thread; comes before `source`."""
        ...

    async def stat(self, key: str, *, fresh: bool = False) -> ObjectStat:
        """Size and fingerprint of an object, or `ObjectNotFound`.

        A store may be asked some seconds ago; with `fresh` it is asked now.
        """
        ...

    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes:
        """The bytes `[start, min(end, size))`."""
        ...

    def stream(self, key: str, start: int, end: int, *, fingerprint: str) -> AsyncIterator[bytes]:
        """The same bytes piece by piece; closing the iterator stops the transfer."""
        ...

    def source(
        self,
        key: str,
        *,
        stat: ObjectStat | None = None,
        ahead: Sequence[tuple[int, int]] = (),
    ) -> AbstractContextManager[ObjectSource]:
        """The object to read from in a thread other than the event loop's, inside the `with` block.

        It is pinned to `stat`, or to what it is now. `ahead`: byte ranges that will be asked for,
        which a backend may fetch at once.
        """
        ...

    async def available(self) -> bool:
        """Whether the store can be reached now."""
        ...

    def describe(self, key: str = "") -> str:
        """What the operator knows an object, or the location, by; never for an answer."""
        ...

    @property
    def identity(self) -> str:
        """What tells this location from every other; for file names and comparisons, not to be
        shown."""
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


@runtime_checkable
class KeyLister(Protocol):
    """Optional: a backend that can tell which objects there are."""

    def keys(
        self,
        *,
        on_error: Callable[[OSError], None] | None = None,
        on_link: Callable[[str], None] | None = None,
    ) -> Iterator[str]:
        """Every key of the location, for start-up and checks; waits for the store.

        `on_error` gets what keeps a part of it from being listed (without it that is passed over
        in a directory, and raised as `StorageError` of a store), `on_link` the keys of links that
        lead nowhere or out of the location.
        """
        ...


@dataclass(frozen=True, slots=True)
class PresignedRead:
    """A request that anyone can make, for some seconds, with exactly these header fields."""

    url: str
    headers: Mapping[str, str]


@runtime_checkable
class Presigner(Protocol):
    """Optional: a backend whose store lets others read a byte range that we signed."""

    async def presign(
        self, key: str, start: int, end: int, *, fingerprint: str, seconds: int
    ) -> PresignedRead:
        """A request for the bytes `[start, end)` of the pinned object and for nothing else."""
        ...
