"""Residues of known sequences from the files that hold them, wherever those lie.

Every read is pinned to the fingerprint that was written down with the digests. A file that changed
or is gone is passed over for the next one; bytes of a changed file are never given. Parts that are
asked for again and again stay in memory: what has a digest cannot change.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from functools import partial

from formats.errors import CorruptData
from server.database import Database
from server.refget.catalogue import KnownSequence, Place
from server.refget.hot_residues import BLOCK, HotResidues
from server.refget.open_files import Locate, OpenFile, OpenFiles
from server.refget.pinned import check
from server.refget.record_reader import Walk, is_readable
from server.refget.registry import FileKind
from storage_backends.base import (
    DescriptorLender,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    StorageUnavailable,
)

_CACHE_BYTES = 64 << 20

_TELL_AGAIN_SECONDS = 5.0
_MOST_TOLD = 10_000

_log = logging.getLogger(__name__)


class SequenceUnavailable(Exception):
    """Every place of a sequence has changed or is gone."""


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
        self._open_files = OpenFiles(locate, database)
        self._lost = lost
        self._told: dict[tuple[str, str], float] = {}
        self._hot = HotResidues(cache_bytes)

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
                file = await self._open_files.acquire(place)
                try:
                    return await self._read_small(file, place, sequence, start, end)
                finally:
                    self._open_files.release(file)
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
                file = await self._open_files.acquire(place)
                try:
                    async with aclosing(
                        self._pieces(file, place, sequence.length, start, end)
                    ) as pieces:
                        async for piece in pieces:
                            yield piece
                            start += len(piece)
                    return
                finally:
                    self._open_files.release(file)
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
                file = self._open_files.acquire_now(place)
                try:
                    return file.read(place.entry, sequence.length, start, end)
                finally:
                    self._open_files.release(file)
        raise attempts.failure()

    async def close(self) -> None:
        """Close the files; those in use, as soon as they are left."""
        self._open_files.close()

    def _at_hand(self, sequence: KnownSequence, start: int, end: int) -> bytes | None:
        """A little that is not popular yet, if it can be had without waiting."""
        if not sequence.places or end - start > BLOCK:
            return None
        place = sequence.places[0]
        is_exact = place.entry.length == sequence.length
        if not is_exact or self._hot.is_popular(sequence.digests.truncated, start):
            return None
        return self._open_files.quickly(place, start, end)

    def _note_lost(self, place: Place) -> None:
        key = (place.url, place.fingerprint)
        self._open_files.forget(place)
        now = time.monotonic()
        if now - self._told.get(key, -_TELL_AGAIN_SECONDS) < _TELL_AGAIN_SECONDS:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[key] = now
        _log.warning("%s is not what it was when its sequences were written down", place.url)
        if self._lost is not None:
            self._lost(place.url)

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
        self, file: OpenFile, place: Place, sequence: KnownSequence, start: int, end: int
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
            residues = file.read_cached(entry, *bounds)
            if residues is not None and not popular:
                return residues
        if residues is None:
            residues = await self._open_files.run(
                file, partial(file.read, entry, length, first, last)
            )
        self._hot.put(digest, first, residues)
        return residues[start - first : end - first]

    async def _pieces(
        self, file: OpenFile, place: Place, length: int, start: int, end: int
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
                if residues := walk.take(await self._open_files.run(file, read)):
                    yield residues
        walk.finish()


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
