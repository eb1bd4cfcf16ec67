"""Objects behind HTTP: a `StorageBackend` over any `Origin`.

What is known of an object is kept and looked at again after `revalidate` seconds; every read is
pinned to its ETag by the store itself, so the delay can make an answer fail, never mix bytes.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import aiohttp

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    ObjectStat,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.loop_calls import LoopCalls
from storage_backends.refusals import PastEnd
from storage_backends.remote_source import RemoteSource
from storage_backends.stat_cache import StatCache
from storage_backends.transfer import Origin, Patience, Transfer, nameless
from storage_backends.validators import (
    Part,
    check_key,
    content_length,
    entity_tag,
    part_of,
    size_beyond,
    stat_of,
)

_log = logging.getLogger(__name__)


class RemoteBackend:
    """A `StorageBackend` over the objects of an origin."""

    def __init__(
        self,
        origin: Origin,
        *,
        revalidate: float = 10.0,
        patience: Patience = Patience(),  # noqa: B008
    ) -> None:
        self.origin = origin
        self._transfer = Transfer(origin, patience)
        self._stats = StatCache(self._ask, revalidate)
        self._calls: LoopCalls | None = None
        self._warned: set[str] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._calls is None:
            self._calls = LoopCalls(loop)

    async def stat(self, key: str, *, fresh: bool = False) -> ObjectStat:
        check_key(key)
        return await self._stats.get(key, fresh=fresh)

    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes:
        pieces = [piece async for piece in self.stream(key, start, end, fingerprint=fingerprint)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def stream(
        self, key: str, start: int, end: int, *, fingerprint: str
    ) -> AsyncIterator[bytes]:
        """See `StorageBackend`; a transfer that breaks is taken up where it broke."""
        if start >= end:
            await self._compare(key, fingerprint)
        failures, begun = 0, time.monotonic()
        while start < end:
            try:
                response, part = await self._open(key, start, end, fingerprint)
            except PastEnd:
                await self._compare(key, fingerprint, fresh=True)
                if start < (await self.stat(key)).size:
                    raise StorageUnavailable("the store does not send what it has") from None
                return
            end = min(end, part.size)
            cause: Exception | None = None
            try:
                async for piece in response.content.iter_any():
                    start += len(piece)
                    if start > part.end:
                        break
                    failures = 0
                    if start >= end:
                        await self._settle(key, fingerprint, time.monotonic() - begun)
                    yield piece
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                cause = nameless(error)
            finally:
                response.close()
            if start == part.end:
                continue  # this was all, or as much as the store gives at a time
            if start > part.end:
                raise StorageUnavailable("the store sends more bytes than it was asked for")
            failures += 1
            if failures >= self._transfer.attempts:
                raise StorageUnavailable("the store does not send what it announced") from cause
            await asyncio.sleep(self._transfer.pause(failures))

    @contextmanager
    def source(
        self,
        key: str,
        *,
        stat: ObjectStat | None = None,
        ahead: Sequence[tuple[int, int]] = (),
    ) -> Iterator[RemoteSource]:
        calls = self._calls
        if calls is None:
            raise RuntimeError("start() comes first")
        pinned = stat or calls.wait(calls.begin(self.stat(key)))
        source = RemoteSource(
            pinned.size,
            lambda start, end: calls.begin(
                self.read(key, start, end, fingerprint=pinned.fingerprint)
            ),
            calls.wait,
        )
        source.fetch(ahead)
        try:
            yield source
        finally:
            source.close()

    async def available(self) -> bool:
        try:
            response = await self._transfer.open("HEAD", "", attempts=1)
        except (ObjectNotFound, StorageDenied):
            return True  # it answers; what it refuses is another matter
        except StorageError:
            return False
        response.release()
        return True

    @property
    def identity(self) -> str:
        return self.origin.identity

    def describe(self, key: str = "") -> str:
        return self.origin.describe(key)

    async def close(self) -> None:
        if self._calls is not None:
            self._calls.close()
        self._stats.close()
        await self._transfer.close()

    async def _ask(self, key: str) -> ObjectStat:
        """What the store says of an object now."""
        response = await self._transfer.open("HEAD", key)
        response.release()
        return self._stat(response.headers, content_length(response.headers))

    async def _ask_for_a_byte(self, key: str) -> ObjectStat:
        """By the first byte, where the answer to HEAD does not do."""
        try:
            response = await self._transfer.open("GET", key, (0, 1))
        except PastEnd as empty:
            return self._stat(empty.headers, size_beyond(empty.headers))
        try:
            part = part_of(response.status, response.headers)
            if part is None or part.end > 1:
                raise self._unusable("the store does not honour ranges")
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await response.content.readany()  # so that the connection can be used again
            return self._stat(response.headers, part.size)
        finally:
            response.release()

    async def _settle(self, key: str, fingerprint: str, seconds: float) -> None:
        """Called with the last piece of a transfer that took so long, before that goes on.

        Raises `ObjectChanged` where what was read may be of two versions. A store that replaces
        objects as a whole needs no more than the pin of the request.
        """

    async def _compare(self, key: str, fingerprint: str, *, fresh: bool = False) -> None:
        if (await self.stat(key, fresh=fresh)).fingerprint != fingerprint:
            raise ObjectChanged("the object has changed")

    async def _open(
        self, key: str, start: int, end: int, fingerprint: str
    ) -> tuple[aiohttp.ClientResponse, Part]:
        """The response with `[start, end)` of the pinned object, or with the first of these bytes;
        which it is."""
        check_key(key)
        try:
            response = await self._transfer.open("GET", key, (start, end), entity_tag(fingerprint))
            try:
                part = part_of(response.status, response.headers)
                if part is None or part.start != start or part.end > end:
                    raise self._unusable("the store does not honour ranges")
                if self._stat(response.headers, part.size).fingerprint != fingerprint:
                    raise ObjectChanged("the object has changed")
            except BaseException:
                response.close()
                raise
        except (ObjectChanged, ObjectNotFound):
            self._stats.forget(key)
            raise
        return response, part

    def _stat(self, headers: Mapping[str, str], size: int | None) -> ObjectStat:
        try:
            return stat_of(headers, size)
        except StorageUnavailable as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, what: str) -> StorageUnavailable:
        """The error for a store that cannot be served from; the operator is told, once."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning("%s cannot be served from: %s", self.describe(), what)
        return StorageUnavailable(what)
