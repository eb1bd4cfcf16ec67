"""Objects behind HTTP: a `StorageBackend` over any `Origin`.

What is known of an object is kept and looked at again after `revalidate` seconds; every read is
pinned to its ETag by the store itself, so the delay can make an answer fail, never mix bytes.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    ObjectStat,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.remote_source import RemoteSource
from storage_backends.transfer import Origin, Patience, Transfer

_MOST_KNOWN = 65_536
_LONGEST_ETAG = 200
_LONGEST_KEY = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """What a key named at a time (of the monotonic clock); None: nothing."""

    stat: ObjectStat | None
    checked: float


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
        self._revalidate = revalidate
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: dict[str, asyncio.Task[ObjectStat]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def stat(self, key: str, *, fresh: bool = False) -> ObjectStat:
        known = None if fresh else self._known.get(key)
        if known is not None and time.monotonic() - known.checked < self._revalidate:
            if known.stat is None:
                raise ObjectNotFound("no such object")
            return known.stat
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.ensure_future(self._look(key))
            task.add_done_callback(lambda done: self._looked(key, done))
        return await asyncio.shield(task)

    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes:
        pieces = [piece async for piece in self.stream(key, start, end, fingerprint=fingerprint)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def stream(
        self, key: str, start: int, end: int, *, fingerprint: str
    ) -> AsyncIterator[bytes]:
        """See `StorageBackend`; a transfer that breaks is taken up where it broke."""
        failures = 0
        while True:
            response = await self._open(key, start, max(end, start + 1), fingerprint)
            if response is None or start >= end:
                if response is not None:
                    response.close()
                return
            end = min(end, start + (response.content_length or 0))
            try:
                async for piece in response.content.iter_any():
                    start += len(piece)
                    failures = 0
                    yield piece
                if start != end:
                    raise StorageUnavailable("the store sent another number of bytes")
                return
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failures += 1
                if failures >= self._transfer.attempts or start >= end:
                    raise StorageUnavailable("the store stopped answering") from _kind(error)
            finally:
                response.close()
            await asyncio.sleep(self._transfer.pause(failures))

    @contextmanager
    def source(
        self,
        key: str,
        *,
        stat: ObjectStat | None = None,
        ahead: Sequence[tuple[int, int]] = (),
    ) -> Iterator[RemoteSource]:
        if self._loop is None:
            raise RuntimeError("start() comes first")
        if stat is None:
            stat = asyncio.run_coroutine_threadsafe(self.stat(key), self._loop).result()
        source = RemoteSource(self, key, stat, self._loop)
        source.fetch(ahead)
        try:
            yield source
        finally:
            source.close()

    async def available(self) -> bool:
        try:
            response = await self._transfer.open("HEAD", "")
        except (ObjectNotFound, StorageDenied):
            return True  # it answers; what it refuses is another matter
        except StorageError:
            return False
        if response is not None:
            response.release()
        return True

    def describe(self, key: str = "") -> str:
        return self.origin.describe(key)

    async def close(self) -> None:
        for task in list(self._looking.values()):
            task.cancel()
        await self._transfer.close()

    def _looked(self, key: str, task: asyncio.Task[ObjectStat]) -> None:
        del self._looking[key]
        if not task.cancelled():
            task.exception()  # seen, also when everyone who waited has left

    async def _look(self, key: str) -> ObjectStat:
        try:
            stat: ObjectStat | None = await self._ask(key)
        except ObjectNotFound:
            stat = None
        known = self._known.get(key)
        if known is not None and known.stat == stat:
            stat = known.stat  # the same value, so that others see at once that nothing changed
        self._known[key] = _Known(stat, time.monotonic())
        self._known.move_to_end(key)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        if stat is None:
            raise ObjectNotFound("no such object")
        return stat

    async def _ask(self, key: str) -> ObjectStat:
        _check_key(key)
        response = await self._transfer.open("HEAD", key)
        if response is None:
            raise StorageUnavailable("the store gave an unexpected answer")
        response.release()
        return _stat(response.headers, response.headers.get("Content-Length"))

    async def _open(
        self, key: str, start: int, end: int, fingerprint: str
    ) -> aiohttp.ClientResponse | None:
        """The response that holds exactly `[start, end)` of the pinned object, or what there is of
        it."""
        _check_key(key)
        pin = fingerprint if fingerprint.startswith('"') else None
        try:
            response = await self._transfer.open("GET", key, (start, end), pin)
            if response is None:
                if (await self._ask(key)).fingerprint != fingerprint:
                    raise ObjectChanged("the object has changed")
                return None
            try:
                _check(response, start, end, fingerprint)
            except BaseException:
                response.close()
                raise
        except ObjectChanged:
            self._known.pop(key, None)
            raise
        return response


def _check_key(key: str) -> None:
    """No key leads out of its location, whatever a server makes of dots and slashes."""
    if "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ObjectNotFound("no such object")
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise ObjectNotFound("no such object") from error
    if length > _LONGEST_KEY:
        raise ObjectNotFound("no such object")


def _check(response: aiohttp.ClientResponse, start: int, end: int, fingerprint: str) -> None:
    """Whether a response is the range that was asked for, of the object that was pinned."""
    total = _total(response, start, end)
    if total is None:
        raise StorageUnavailable("the store does not honour ranges")
    if _stat(response.headers, total).fingerprint != fingerprint:
        raise ObjectChanged("the object has changed")


def _total(response: aiohttp.ClientResponse, start: int, end: int) -> str | None:
    """The size of the object, if the response holds the bytes that were asked for."""
    length = response.headers.get("Content-Length", "")
    if response.status == HTTPStatus.OK:
        return length if not start and length.isdecimal() and int(length) <= end else None
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    if unit != "bytes" or not total.isdecimal():
        return None
    end = min(end, int(total))
    return total if span == f"{start}-{end - 1}" and length == str(end - start) else None


def _stat(headers: Mapping[str, str], size: str | None) -> ObjectStat:
    if size is None or not size.isdecimal():
        raise StorageUnavailable("the store does not tell how large an object is")
    etag = headers.get("ETag", "")
    if etag.startswith('"') and len(etag) <= _LONGEST_ETAG:
        return ObjectStat(int(size), None, etag)
    validators = etag + headers.get("Last-Modified", "")
    if not validators:
        raise StorageUnavailable("the store does not tell when an object changes")
    digest = hashlib.blake2s(validators.encode("utf-8", "surrogateescape"), digest_size=16)
    return ObjectStat(int(size), None, f"{int(size):x}-{digest.hexdigest()}")


def _kind(error: Exception) -> Exception:
    """The kind of an error without its text, which may hold a signed URL."""
    return OSError(type(error).__name__)
