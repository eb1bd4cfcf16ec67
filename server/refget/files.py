"""Residues of known sequences from the files that hold them, wherever those lie.

Every read is pinned to the fingerprint that was written down with the digests. A file that changed
or is gone is passed over for the next one; bytes of a changed file are never given. Parts that are
asked for again and again stay in memory: what has a digest cannot change.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from formats.errors import CorruptData
from formats.fasta import FaiEntry, GziEntry
from server.database import Database
from server.refget.catalogue import KnownSequence, Place
from server.refget.hot_residues import BLOCK, HotResidues
from server.refget.pinned import PinnedDescriptor, check, pinned
from server.refget.record_reader import RecordReader, Walk, is_readable, read_residues
from server.refget.registry import FileKind, blocks_of
from storage_backends.base import (
    DescriptorLender,
    ObjectChanged,
    ObjectNotFound,
    StorageBackend,
    StorageError,
    StorageUnavailable,
)

T = TypeVar("T")
Locate = Callable[[str], tuple[StorageBackend, str]]
"""From a URL of the catalogue to where it is read."""

_MOST_OPEN = 128
_MOST_REMOTE = 8  # each keeps up to 32 MiB that were fetched
_THREADS = 8
_CACHE_BYTES = 64 << 20
# How long a file is taken to be where it was. What is open is checked at every read all the same.
_LOCAL_SECONDS = 1.0
_REMOTE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class SequenceUnavailable(Exception):
    """Every place of a sequence has changed or is gone."""


@dataclass(eq=False, slots=True)
class _OpenFile:
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


class SequenceFiles:
    """Reads sequences. `locate` says where the files of the catalogue are.

    `database` knows the blocks of BGZF files; without it they are walked. `lost` is told, in
    whatever thread, the URL of a file that is not any more what was written down.
    """

    def __init__(
        self,
        locate: Locate,
        database: Database | None = None,
        *,
        cache_bytes: int = _CACHE_BYTES,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        self._locate = locate
        self._database = database
        self._lost = lost
        self._told: set[tuple[str, str]] = set()
        self._files: OrderedDict[tuple[str, str], _OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self._hot = HotResidues(cache_bytes)
        self._threads = ThreadPoolExecutor(_THREADS, "refget-files")

    async def residues(self, sequence: KnownSequence, start: int, end: int) -> bytes:
        """Residues `[start, end)` in upper case, for `0 <= start <= end <= length`.

        Raises `SequenceUnavailable`, and `CorruptData` and storage errors when they keep from
        reading what might still be there.
        """
        held = self._hot.get(sequence.digests.truncated, start, end)
        if held is not None:
            return held
        if start >= end:
            return b""
        at_hand = self._at_hand(sequence, start, end)
        if at_hand is not None:
            return at_hand
        if end - start > BLOCK:
            return b"".join([piece async for piece in self.stream(sequence, start, end)])
        attempts = _Attempts(sequence, self._note_lost)
        for place in attempts:
            with attempts.guard(place):
                file = await self._acquire(place)
                try:
                    return await self._read_small(file, place, sequence, start, end)
                finally:
                    self._release(file)
        raise attempts.failure()

    async def stream(
        self, sequence: KnownSequence, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        """The same piece by piece, about a MiB each, in flat memory.

        Goes on with another place where one fails; raises what `residues` raises, also between
        pieces.
        """
        attempts = _Attempts(sequence, self._note_lost)
        if start >= end:
            return
        for place in attempts:
            with attempts.guard(place):
                file = await self._acquire(place)
                try:
                    async with aclosing(
                        self._pieces(file, place, sequence.length, start, end)
                    ) as pieces:
                        async for piece in pieces:
                            yield piece
                            start += len(piece)
                    return
                finally:
                    self._release(file)
        raise attempts.failure()

    @contextmanager
    def lend(self, sequence: KnownSequence) -> Iterator[tuple[int, int] | None]:
        """A descriptor, and where in it the first residue stands, when a file on disk holds the
        residues as they are sent; None when none does. Valid inside the `with` block only.
        """
        with ExitStack() as resources:
            yield self._borrow(sequence, resources)

    def residues_now(self, sequence: KnownSequence, start: int, end: int) -> bytes:
        """What `residues` gives, in a thread that may wait; not on the event loop."""
        attempts = _Attempts(sequence, self._note_lost)
        if start >= end:
            return b""
        for place in attempts:
            with attempts.guard(place):
                while (file := self._take(place)) is None:
                    self._open(place)
                try:
                    self._check_local(file)
                    return _read(file, place.entry, sequence.length, start, end)
                finally:
                    self._release(file)
        raise attempts.failure()

    async def close(self) -> None:
        """Close the files; those in use, as soon as they are left."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for place in list(self._files):
                self._retire(place)

    def _at_hand(self, sequence: KnownSequence, start: int, end: int) -> bytes | None:
        """A little of a plain file on disk that is open and cached: the short way, which gives up
        whenever there is more to do."""
        if not sequence.places or end - start > BLOCK:
            return None
        place = sequence.places[0]
        entry = place.entry
        with self._lock:  # so that no other thread closes the file
            file = self._files.get((place.url, place.fingerprint))
            if (
                file is None
                or not file.is_quick
                or entry.length != sequence.length
                or time.monotonic() >= file.until
                or self._hot.is_popular(sequence.digests.truncated, start)
            ):
                return None
            try:
                return _read_cached(file, entry, start, end)
            except StorageError:
                return None

    def _borrow(self, sequence: KnownSequence, resources: ExitStack) -> tuple[int, int] | None:
        for place in sequence.places:
            backend, key = self._locate(place.url)
            if place.kind is FileKind.FLAT and isinstance(backend, DescriptorLender):
                try:
                    check(backend, key, place.fingerprint)
                    loan = backend.lend(key, fingerprint=place.fingerprint)
                    return resources.enter_context(loan), place.entry.offset
                except StorageError:
                    continue
        return None

    async def _read_small(
        self, file: _OpenFile, place: Place, sequence: KnownSequence, start: int, end: int
    ) -> bytes:
        digest, entry, length = sequence.digests.truncated, place.entry, sequence.length
        self._hot.trust(digest, file.until)
        held = self._hot.get(digest, start, end)
        if held is not None:
            return held
        first, last = start // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, length)
        residues = None
        if file.is_quick and entry.length == length:
            popular = self._hot.is_popular(digest, start)
            bounds = (first, last) if popular else (start, end)
            residues = _read_cached(file, entry, *bounds)
            if residues is not None and not popular:
                return residues
        if residues is None:
            residues = await self._run(file, partial(_read, file, entry, length, first, last))
        self._hot.put(digest, first, residues)
        return residues[start - first : end - first]

    async def _pieces(
        self, file: _OpenFile, place: Place, length: int, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        walk = Walk(place.entry, length, start, end)
        if file.reader.is_plain and not file.is_local:
            first, last = walk.bounds()
            stored = file.reader.stored(place.entry, first, last)
            pieces = file.backend.stream(file.key, *stored, fingerprint=place.fingerprint)
            async with AsyncExitStack() as transfer:
                if isinstance(pieces, AsyncGenerator):
                    await transfer.enter_async_context(aclosing(pieces))
                async for piece in pieces:
                    if residues := walk.take(file.reader.strip(piece)):
                        yield residues
        else:
            for stretch in walk.stretches():
                read = partial(file.reader.read, place.entry, *stretch)
                if residues := walk.take(await self._run(file, read)):
                    yield residues
        walk.finish()

    async def _acquire(self, place: Place) -> _OpenFile:
        """The open file of a place, which still is what it was; to be released."""
        while (file := self._take(place)) is None:
            backend, _ = self._locate(place.url)
            if not isinstance(backend, DescriptorLender):
                await backend.start()
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
            self._release(file)
            raise
        return file

    def _check_local(self, file: _OpenFile) -> None:
        if file.is_local and time.monotonic() >= file.until:
            check(file.backend, file.key, file.place.fingerprint)
            file.until = time.monotonic() + _LOCAL_SECONDS

    async def _run(self, file: _OpenFile, work: Callable[[], T]) -> T:
        """Do something with a file in a thread; the file stays open until that is done, also when
        who waits for it is cancelled."""
        with self._lock:
            file.readers += 1
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self._release(file))
        return await asyncio.wrap_future(future)

    def _take(self, place: Place) -> _OpenFile | None:
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
            file = _OpenFile(place, backend, key, reader, resources.pop_all())
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

    def _note_lost(self, place: Place) -> None:
        key = (place.url, place.fingerprint)
        with self._lock:
            self._retire(key)
            if key in self._told:
                return
            self._told.add(key)
        _log.warning("%s is not what it was when its sequences were written down", place.url)
        if self._lost is not None:
            self._lost(place.url)

    def _retire(self, key: tuple[str, str]) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            file.is_retired = True
            if not file.readers:
                file.resources.close()

    def _release(self, file: _OpenFile) -> None:
        with self._lock:
            file.readers -= 1
            if file.is_retired and not file.readers:
                file.resources.close()


class _Attempts:
    """The places of a sequence, one after another, and why those that failed did."""

    def __init__(self, sequence: KnownSequence, lost: Callable[[Place], None]) -> None:
        self._places = sequence.places
        self._lost = lost
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self._places if is_readable(place.entry, place.kind))

    @contextmanager
    def guard(self, place: Place) -> Iterator[None]:
        """Whatever keeps a place from being read makes room for the next one."""
        try:
            yield
        except (ObjectChanged, ObjectNotFound):
            self._lost(place)
        except (CorruptData, StorageError) as error:
            # What may pass says more than what was damaged on our side.
            if not isinstance(self._error, StorageUnavailable):
                self._error = error

    def failure(self) -> Exception:
        """What to raise when no place is left."""
        return self._error or SequenceUnavailable("no file holds this sequence any more")


def _read(file: _OpenFile, entry: FaiEntry, length: int, start: int, end: int) -> bytes:
    return b"".join(read_residues(file.reader, entry, length, start, end))


def _read_cached(file: _OpenFile, entry: FaiEntry, start: int, end: int) -> bytes | None:
    """The residues if the kernel has them at hand; the record has no other bytes."""
    source = file.reader.source
    if not isinstance(source, PinnedDescriptor):
        return None
    data = source.read_cached(*file.reader.stored(entry, start, end))
    if data is None:
        return None
    residues = file.reader.strip(data)
    if len(residues) != end - start:
        raise CorruptData("a file does not fit what is written down of it")
    return residues
