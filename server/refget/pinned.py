"""Objects to read from that can change under one's hands, and then say so instead of answering."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from formats.source import ByteSource
from storage_backends.base import (
    DescriptorLender,
    ObjectChanged,
    ObjectStat,
    StorageBackend,
    StorageUnavailable,
)
from storage_backends.local import DescriptorSource, fingerprint_of

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


@contextmanager
def pinned(backend: StorageBackend, key: str, fingerprint: str) -> Iterator[ByteSource]:
    """The object with this fingerprint, to read in a thread inside the `with` block.

    Opening and every read raise `ObjectChanged` when the object is another by then, also one that
    was written over where it lay; and other storage errors.
    """
    if isinstance(backend, DescriptorLender):
        check(backend, key, fingerprint)
        with backend.lend(key, fingerprint=fingerprint) as descriptor:
            yield PinnedDescriptor(descriptor, fingerprint)
    else:
        with backend.source(key) as now:
            size = now.size
        with backend.source(key, stat=ObjectStat(size, None, fingerprint)) as source:
            yield source


def check(backend: StorageBackend, key: str, fingerprint: str) -> None:
    """Look whether a key still names that file: `ObjectChanged` or `ObjectNotFound` if not.

    For files only; takes microseconds.
    """
    with backend.source(key):  # looks at the path, which a loan of what is open does not
        pass
    if isinstance(backend, DescriptorLender):
        with backend.lend(key, fingerprint=fingerprint):
            pass


class PinnedDescriptor:
    """An open file that is compared with what it was after every read; thread-safe."""

    __slots__ = ("_changed_ns", "_descriptor", "_modified_ns", "_source", "size")

    def __init__(self, descriptor: int, fingerprint: str) -> None:
        status = os.fstat(descriptor)
        if fingerprint_of(status) != fingerprint:
            raise ObjectChanged("the object has changed")
        self.size = status.st_size
        self._descriptor = descriptor
        self._modified_ns = status.st_mtime_ns
        self._changed_ns = status.st_ctime_ns
        self._source = DescriptorSource(descriptor, self.size)

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, min(end, size))`."""
        while True:
            before = self._changed_ns
            try:
                data = self._source.read(start, end)
            except StorageUnavailable:
                self._is_as(before)
                raise
            if self._is_as(before):
                return data

    def read_cached(self, start: int, end: int) -> bytearray | None:
        """The bytes `[start, end)` if that takes no waiting for a disk; for the event loop."""
        if not _NOWAIT or end > self.size:
            return None
        before = self._changed_ns
        buffer = bytearray(end - start)
        try:
            count = os.preadv(self._descriptor, [buffer], start, _NOWAIT)
        except OSError:  # not cached (EAGAIN), or a file system without the flag
            return None
        return buffer if self._is_as(before) and count == len(buffer) else None

    def _is_as(self, before: int) -> bool:
        """Whether nothing happened to the file since then; `ObjectChanged` when its bytes are
        others.

        Times of modification can be set back after a change, those of the inode can not. But a new
        link or owner changes those too: then who has read must read again.
        """
        status = os.fstat(self._descriptor)
        if status.st_mtime_ns != self._modified_ns or status.st_size != self.size:
            raise ObjectChanged("the object has changed")
        self._changed_ns = status.st_ctime_ns
        return status.st_ctime_ns == before
