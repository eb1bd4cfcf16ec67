"""Objects that are regular files below one directory. No key leaves it, by `..` or by link."""

import asyncio
import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiofiles.threadpool import wrap

from storage_backends.base import ObjectChanged, ObjectNotFound, ObjectStat, StorageUnavailable

_PIECE = 1 << 20
_MOST_KNOWN = 65_536
_UNNAMEABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)


class LocalBackend:
    """A `StorageBackend` and `DescriptorLender` over the directory `root`.

    Keys are paths below `root` with `/` between their parts. At most `descriptors` files are kept
    open while nobody reads them; a file that is replaced gets a new descriptor, and those who read
    the old one go on with the old bytes.
    """

    def __init__(self, root: Path, descriptors: int = 256) -> None:
        self._root = os.path.realpath(root)
        self._prefix = self._root.rstrip("/") + "/"
        self._limit = descriptors
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    async def stat(self, key: str, *, fresh: bool = False) -> ObjectStat:
        del fresh  # always
        return self._look(key).stat

    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes:
        pieces = [piece async for piece in self.stream(key, start, end, fingerprint=fingerprint)]
        return b"".join(pieces)

    async def stream(
        self, key: str, start: int, end: int, *, fingerprint: str
    ) -> AsyncIterator[bytes]:
        descriptor = self._open(key)
        # Wrapped here and not in a thread: who is cancelled while waiting for one leaks nothing.
        file = wrap(os.fdopen(descriptor, "rb"))
        try:
            if _describe(os.fstat(descriptor)).fingerprint != fingerprint:
                raise ObjectChanged("the object has changed")
            await file.seek(start)
            while start < end:
                piece = await file.read(min(_PIECE, end - start))
                if not piece:
                    break
                start += len(piece)
                yield piece
            if _describe(os.fstat(descriptor)).fingerprint != fingerprint:
                raise ObjectChanged("the object has changed")
        finally:
            await asyncio.shield(file.close())

    @contextmanager
    def source(
        self,
        key: str,
        *,
        stat: ObjectStat | None = None,
        ahead: Sequence[tuple[int, int]] = (),
    ) -> "Iterator[DescriptorSource]":
        del ahead  # the kernel knows better
        stat = stat or self._look(key).stat
        with self.lend(key, fingerprint=stat.fingerprint) as descriptor:
            yield DescriptorSource(descriptor, stat.size)

    @contextmanager
    def lend(self, key: str, *, fingerprint: str) -> Iterator[int]:
        """An open descriptor of the object; see `storage_backends.base.DescriptorLender`."""
        file = self._acquire(key, fingerprint)
        try:
            yield file.descriptor
        finally:
            self._release(file)

    def keys(
        self,
        *,
        on_error: Callable[[OSError], None] | None = None,
        on_link: Callable[[str], None] | None = None,
    ) -> Iterator[str]:
        """Every key of a regular file in the location, sorted by directory; for start-up and
        checks.

        `on_error` gets what keeps a directory from being listed or a file from being looked at,
        `on_link` the keys of links that lead out of the location or nowhere.
        """
        for directory, folders, names in os.walk(self._root, onerror=on_error):
            folders.sort()
            below = "" if directory == self._root else directory[len(self._prefix) :] + "/"
            for name in folders if on_link is not None else ():
                target = os.path.realpath(f"{directory}/{name}")
                if on_link is not None and not f"{target}/".startswith(self._prefix):
                    on_link(below + name)
            for name in sorted(names):
                try:
                    self._look(below + name)
                except ObjectNotFound:
                    if on_link is not None and os.path.islink(f"{directory}/{name}"):  # noqa: PTH114
                        on_link(below + name)
                except StorageUnavailable as error:
                    if on_error is not None and isinstance(error.__cause__, OSError):
                        on_error(error.__cause__)
                else:
                    yield below + name

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to bind."""

    async def available(self) -> bool:
        return os.access(self._root, os.R_OK | os.X_OK)

    @property
    def identity(self) -> str:
        return self._root

    def describe(self, key: str = "") -> str:
        return self._prefix + key if key else self._root

    def path(self, key: str) -> Path:
        """Where a key lies on disk; for the command line only, never for an answer."""
        return Path(self._locate(key))

    async def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.retired = True
                if not file.readers:
                    os.close(file.descriptor)
            self._files.clear()

    def _locate(self, key: str) -> str:
        parts = key.split("/")
        if "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise ObjectNotFound("no such object")
        return self._prefix + key

    def _look(self, key: str) -> "_Known":
        """What a key names now: one system call, and no more, for an object that is as it was."""
        known = self._known.get(key)
        path = self._locate(key) if known is None else known.path
        try:
            status = os.stat(path)  # noqa: PTH116 - each warm request pays for it
            if known is not None and known.is_still(status):
                return known
            if not os.path.realpath(path).startswith(self._prefix):
                raise ObjectNotFound("no such object")
        except (OSError, ValueError) as error:
            raise _translate(error) from error
        if not stat.S_ISREG(status.st_mode):
            raise ObjectNotFound("no such object")
        known = self._known[key] = _Known(path, status)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    def _open(self, key: str) -> int:
        """A new descriptor; what was opened is checked, not what the path said before."""
        path = self._locate(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise _translate(error) from error
        opened = os.fstat(descriptor)
        try:
            if not self._look(key).is_still(opened):
                raise ObjectChanged("the object has changed")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _acquire(self, key: str, fingerprint: str) -> "_OpenFile":
        with self._lock:
            file = self._files.get(key)
            if (
                file is None
                or file.known is not self._known.get(key)
                or not file.holds(fingerprint)
            ):
                known = self._look(key)
                if known.stat.fingerprint != fingerprint:
                    raise ObjectChanged("the object has changed")
                if file is not None:
                    self._retire(key)
                file = self._files[key] = _OpenFile(self._open_pinned(key, known), known)
                while len(self._files) > self._limit:
                    self._retire(next(iter(self._files)))
            self._files.move_to_end(key)
            file.readers += 1
            return file

    def _open_pinned(self, key: str, known: "_Known") -> int:
        """A new descriptor of the bytes that were seen, if nobody replaced them meanwhile."""
        descriptor = self._open(key)
        if not known.is_still(os.fstat(descriptor)):
            os.close(descriptor)
            raise ObjectChanged("the object has changed")
        return descriptor

    def _retire(self, key: str) -> None:
        file = self._files.pop(key)
        file.retired = True
        if not file.readers:
            os.close(file.descriptor)

    def _release(self, file: "_OpenFile") -> None:
        with self._lock:
            file.readers -= 1
            if file.retired and not file.readers:
                os.close(file.descriptor)


class DescriptorSource:
    """The first `size` bytes of an open descriptor, read at explicit offsets; thread-safe."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        pieces = []
        try:
            while start < end:
                piece = os.pread(self._descriptor, end - start, start)
                if not piece:
                    raise StorageUnavailable("the object ended early")
                pieces.append(piece)
                start += len(piece)
        except OSError as error:
            raise StorageUnavailable("the store cannot be read now") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def held(self, start: int, end: int) -> bytes | None:
        """None: the kernel holds what was read."""
        del start, end
        return None


class _Known:
    """A file that was seen to lie in the location, and what it was then."""

    __slots__ = ("device", "inode", "path", "stat")

    def __init__(self, path: str, status: os.stat_result) -> None:
        self.path = path
        self.device = status.st_dev
        self.inode = status.st_ino
        self.stat = _describe(status)

    def is_still(self, status: os.stat_result) -> bool:
        """Whether `status` is of the same file with the same bytes."""
        return (
            self.stat.modified_ns == status.st_mtime_ns
            and self.stat.size == status.st_size
            and self.inode == status.st_ino
            and self.device == status.st_dev
        )


class _OpenFile:
    """A descriptor and a count of its readers; closed when retired and left by the last one."""

    __slots__ = ("descriptor", "known", "readers", "retired")

    def __init__(self, descriptor: int, known: _Known) -> None:
        self.descriptor = descriptor
        self.known = known
        self.readers = 0
        self.retired = False

    def holds(self, fingerprint: str) -> bool:
        """Whether the file behind the descriptor is, still, the one with this fingerprint."""
        same = self.known.stat.fingerprint == fingerprint
        return same and self.known.is_still(os.fstat(self.descriptor))


def fingerprint_of(status: os.stat_result) -> str:
    """Size and modification time: what pins a file's bytes, on every replica that mounts it."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _describe(status: os.stat_result) -> ObjectStat:
    return ObjectStat(status.st_size, status.st_mtime_ns, fingerprint_of(status))


def _translate(error: OSError | ValueError) -> ObjectNotFound | StorageUnavailable:
    absent = (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError)
    if isinstance(error, absent) or error.errno in _UNNAMEABLE:
        return ObjectNotFound("no such object")
    return StorageUnavailable("the store cannot be read now")
