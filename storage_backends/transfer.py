"""Requests to a store over HTTP: ranged, pinned, bounded in time, made again where that may help.

An `Origin` says how a key becomes a request and what a refusal means; all stores share the rest.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_LONGEST_REFUSAL = 16 << 10
_BUFFER = 1 << 19
_LONGEST_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, and the header fields it needs besides those of every request."""

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not what was asked for; `body` is its beginning."""

    method: str
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Origin(Protocol):
    """Where the objects of a remote location are, and how one asks for them."""

    async def target(self, method: str, key: str) -> Target:
        """The request for a key, or `ObjectNotFound` for one that cannot be named."""
        ...

    def follows(self, source: URL, to: URL) -> bool:
        """Whether a redirect is followed."""
        ...

    async def learn(self, refusal: Refusal) -> bool:
        """Whether the refusal taught something by which the same request may succeed now."""
        ...

    def judge(self, refusal: Refusal) -> StorageError | None:
        """What a refusal means in this store, where its status alone does not tell."""
        ...

    def describe(self, key: str) -> str:
        """What the operator knows the object, or the location, by; without any secret."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a store, in seconds, and how often to ask it.

    `quiet`: without a byte while one is waited for. The pause before another attempt is drawn
    between nothing and `pause`, which doubles each time.
    """

    connect: float = 5.0
    quiet: float = 20.0
    attempts: int = 4
    pause: float = 0.2


class Transfer:
    """Makes requests of one origin; belongs to the event loop it is first used on."""

    def __init__(self, origin: Origin, patience: Patience = Patience()) -> None:
        self._origin = origin
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def open(
        self,
        method: str,
        key: str,
        byte_range: tuple[int, int] | None = None,
        if_match: str | None = None,
    ) -> aiohttp.ClientResponse | None:
        """The response whose body is the object, or the bytes `[start, end)` of it as far as it
        reaches; None when it ends before them. The caller closes it.

        Raises `ObjectNotFound`, `ObjectChanged` when the store's ETag is not `if_match`, and
        `StorageUnavailable` when several attempts have failed.
        """
        fields = {"Accept-Encoding": "identity"}
        if byte_range is not None:
            fields["Range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
        if if_match is not None:
            fields["If-Match"] = if_match
        learnt = False
        for attempt in range(1, self._patience.attempts + 1):
            wait = 0.0
            try:
                answer = await self._ask(method, await self._origin.target(method, key), fields)
                if isinstance(answer, Refusal) and not learnt:
                    learnt = await self._origin.learn(answer)
                    if learnt:
                        target = await self._origin.target(method, key)
                        answer = await self._ask(method, target, fields)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure: StorageError = StorageUnavailable("the store does not answer")
                failure.__cause__ = _nameless(error)
            else:
                if not isinstance(answer, Refusal):
                    return answer
                if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return None
                failure = self._origin.judge(answer) or _judge(answer)
                if answer.status not in _TRANSIENT and type(failure) is not StorageUnavailable:
                    raise failure
                wait = _seconds(answer.headers.get("Retry-After"))
            if attempt < self._patience.attempts and wait <= _LONGEST_WAIT:
                await asyncio.sleep(max(wait, self.pause(attempt)))
            else:
                break
        raise failure

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the nth attempt failed: random, so that many do not ask at once."""
        return random.uniform(0, self._patience.pause * 2 ** (attempt - 1))  # noqa: S311

    @property
    def attempts(self) -> int:
        """How often a request is made before it has failed."""
        return self._patience.attempts

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self, method: str, target: Target, fields: Mapping[str, str]
    ) -> aiohttp.ClientResponse | Refusal:
        """One request, and where it is redirected to."""
        url = target.url
        for _ in range(5):
            response = await self._client().request(
                method, url, headers={**fields, **target.headers}, allow_redirects=False
            )
            if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                return response
            try:
                to = _redirect(response, url)
                if to is None or not self._origin.follows(url, to):
                    body = await response.content.read(_LONGEST_REFUSAL)
                    return Refusal(method, response.status, response.headers, body)
            finally:
                response.release()
            url = to
        return Refusal(method, response.status, response.headers, b"")

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # As many connections as there are transfers: each belongs to a client's connection or
            # to a thread, and both are bounded.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_BUFFER,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._patience.connect,
                    sock_read=self._patience.quiet,
                ),
            )
        return self._session


def _redirect(response: aiohttp.ClientResponse, url: URL) -> URL | None:
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        return url.join(URL(location, encoded=True))
    except ValueError:
        return None


def _judge(refusal: Refusal) -> StorageError:
    """What a status means wherever it comes from."""
    if refusal.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return ObjectNotFound("no such object")
    if refusal.status == HTTPStatus.PRECONDITION_FAILED:
        return ObjectChanged("the object has changed")
    if refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return StorageDenied(f"the store refuses this server ({refusal.status})")
    if refusal.status in _TRANSIENT:
        return StorageUnavailable(f"the store does not answer now ({refusal.status})")
    return StorageDenied(f"the store gave an unexpected answer ({refusal.status})")


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0


def _nameless(error: Exception) -> Exception:
    """The kind of an error without its text, which may hold a signed URL."""
    return OSError(type(error).__name__)
