"""Files of sequences that stay open: pinned, checked, and as many as there may be."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from formats.errors import CorruptData
from formats.fasta import FaiEntry, GziEntry
from server.database import Database
from server.refget.catalogue import Place
from server.refget.pinned import PinnedDescriptor, check, pinned
from server.refget.record_reader import RecordReader, read_residues
from server.refget.registry import blocks_of
from storage_backends.base import ObjectChanged, StorageBackend, StorageError

T = TypeVar("T")
Locate = Callable[[str], tuple[StorageBackend, str]]
"""From a URL of the catalogue to where it is read."""

_MOST_OPEN = 128
_MOST_REMOTE = 8  # each keeps up to 32 MiB that were fetched
_THREADS = 8
# How long a file is taken to be where it was. What is open is checked at every read all the same.
_LOCAL_SECONDS = 1.0
_REMOTE_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class OpenFile:
    """A pinned file with a count of its readers; closed when retired and left by the last one."""

    place: Place
    backend: StorageBackend
    key: str
    reader: RecordReader
    resources: ExitStack
    until: float = 0.0
    readers: int = 0
    is_retired: bool = False
    is_local: bool = field(init=False)
    is_quick: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_local = isinstance(self.reader.source, PinnedDescriptor)
        self.is_quick = self.is_local and self.reader.is_plain

    def read(self, entry: FaiEntry, length: int, start: int, end: int) -> bytes:
        """Residues `[start, end)` of a sequence of `length` from its record; for threads."""
        return b"".join(read_residues(self.reader, entry, length, start, end))

    def read_cached(self, entry: FaiEntry, start: int, end: int) -> bytes | None:
        """The same of a plain record of nothing but letters, if the kernel has them at hand."""
        source = self.reader.source
        if not isinstance(source, PinnedDescriptor):
            return None
        data = source.read_cached(*self.reader.stored(entry, start, end))
        if data is None:
            return None
        residues = self.reader.strip(data)
        if len(residues) != end - start:
            raise CorruptData("a file does not hold what is written down of it")
        return residues


class OpenFiles:
    """The files that were used last, for the event loop and for threads. `locate` says where they
    are; `database` knows the blocks of BGZF files, which are walked without it."""

    def __init__(self, locate: Locate, database: Database | None) -> None:
        self._locate = locate
        self._database = database
        self._files: OrderedDict[tuple[str, str], OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, "refget-files")

    def quickly(self, place: Place, start: int, end: int) -> bytes | None:
        """Residues `[start, end)` of a plain file on disk that is open, checked a moment ago, and
        cached: the short way, which gives up whenever there is more to do."""
        with self._lock:  # so that no other thread closes the file
            file = self._files.get((place.url, place.fingerprint))
            if file is None or not file.is_quick or time.monotonic() >= file.until:
                return None
            try:
                return file.read_cached(place.entry, start, end)
            except (CorruptData, StorageError):
                return None

    async def acquire(self, place: Place) -> OpenFile:
        """The open file of a place, which still is what it was; to be released."""
        while (file := self._take(place)) is None:
            await asyncio.wrap_future(self._threads.submit(self._open, place))
        try:
            if file.is_local:
                self._check_local(file)
            elif time.monotonic() >= file.until:
                stat = await file.backend.stat(file.key)
                if stat.fingerprint != place.fingerprint:
                    raise ObjectChanged("the object has changed")
                file.until = time.monotonic() + _REMOTE_SECONDS
        except BaseException:
            self.release(file)
            raise
        return file

    def acquire_now(self, place: Place) -> OpenFile:
        """The same in a thread; what is remote is not asked for again, its reads are pinned."""
        while (file := self._take(place)) is None:
            self._open(place)
        try:
            self._check_local(file)
        except BaseException:
            self.release(file)
            raise
        return file

    def release(self, file: OpenFile) -> None:
        """Leave a file that was acquired."""
        with self._lock:
            file.readers -= 1
            if file.is_retired and not file.readers:
                file.resources.close()

    def _check_local(self, file: OpenFile) -> None:
        if file.is_local and time.monotonic() >= file.until:
            check(file.backend, file.key, file.place.fingerprint)
            file.until = time.monotonic() + _LOCAL_SECONDS

    async def run(self, file: OpenFile, work: Callable[[], T]) -> T:
        """Do something with a file in a thread; the file stays open until that is done, also when
        who waits for it is cancelled."""
        with self._lock:
            file.readers += 1
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self.release(file))
        return await asyncio.wrap_future(future)

    def _take(self, place: Place) -> OpenFile | None:
        key = (place.url, place.fingerprint)
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
                file.readers += 1
            return file

    def _open(self, place: Place) -> None:
        """Open a file and keep it; in a thread."""
        backend, key = self._locate(place.url)
        with ExitStack() as resources:
            source = resources.enter_context(pinned(backend, key, place.fingerprint))
            reader = RecordReader(source, place.kind, partial(self._blocks, place))
            file = OpenFile(place, backend, key, reader, resources.pop_all())
        with self._lock:
            self._retire((place.url, place.fingerprint))
            self._files[place.url, place.fingerprint] = file
            for local, most in ((True, _MOST_OPEN), (False, _MOST_REMOTE)):
                same = [each for each, file in self._files.items() if file.is_local is local]
                for each in same[: max(len(same) - most, 0)]:
                    self._retire(each)

    def _blocks(self, place: Place) -> tuple[GziEntry, ...] | None:
        if self._database is None:
            return None
        return self._database.run(
            lambda connection: blocks_of(connection, place.url, place.fingerprint)
        )

    def _retire(self, key: tuple[str, str]) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            file.is_retired = True
            if not file.readers:
                file.resources.close()

    def forget(self, place: Place) -> None:
        """Keep a file open no longer than it is in use."""
        with self._lock:
            self._retire((place.url, place.fingerprint))

    def close(self) -> None:
        """Forget all of them."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for key in list(self._files):
                self._retire(key)
