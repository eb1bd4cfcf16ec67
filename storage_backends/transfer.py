"""Requests to a store over HTTP: ranged, pinned, bounded in time, made again where that may help.

An `Origin` says how a key becomes a request and what a refusal means; all stores share the rest.
"""

import asyncio
import math
import random
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from storage_backends.base import StorageError, StorageUnavailable
from storage_backends.refusals import meaning, redirect, retry_after, same_server

_MOST_REDIRECTS = 5
_LONGEST_REFUSAL = 16 << 10
_LONGEST_WAIT = 5.0
_BUFFER = 1 << 17


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
        """Whether a redirect is followed, or the error that it means."""
        ...

    async def learn(self, refusal: Refusal) -> bool:
        """Whether the refusal taught something by which the same request may succeed now."""
        ...

    def judge(self, refusal: Refusal) -> StorageError | None:
        """What a refusal means in this store, where its status alone does not tell."""
        ...

    @property
    def identity(self) -> str:
        """What tells this location from every other; not to be shown."""
        ...

    def describe(self, key: str) -> str:
        """What the operator knows the object, or the location, by; without any secret."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a store, in seconds, and how often to ask it.

    `quiet`: without a byte while one is waited for, and without an answer. The pause before
    another attempt is drawn between nothing and `pause`, which doubles each time; none begins
    later than `total` after the first.
    """

    connect: float = 5.0
    quiet: float = 10.0
    attempts: int = 5
    pause: float = 0.4
    total: float = 20.0


class Transfer:
    """Makes requests of one origin; belongs to the event loop it is first used on."""

    def __init__(self, origin: Origin, patience: Patience = Patience()) -> None:
        self._origin = origin
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxies: dict[str, str] = {}
        self._responses: weakref.WeakSet[aiohttp.ClientResponse] = weakref.WeakSet()
        self._closed = False

    async def open(
        self,
        method: str,
        key: str,
        byte_range: tuple[int, int] | None = None,
        if_match: str | None = None,
        *,
        attempts: int | None = None,
    ) -> aiohttp.ClientResponse:
        """The response whose body is the object, or the bytes `[start, end)` of it as far as it
        reaches. The caller closes it.

        Raises `ObjectNotFound`, `ObjectChanged` when the store's ETag is not `if_match`, `PastEnd`,
        and `StorageUnavailable` when `attempts` (default: as patience has it) have failed.
        """
        fields = {"Accept-Encoding": "identity"}
        if byte_range is not None:
            fields["Range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
        if if_match is not None:
            fields["If-Match"] = if_match
        last = time.monotonic() + self._patience.total
        attempt = 0
        while True:
            attempt += 1
            wait = 0.0
            try:
                answer = await self._ask(method, key, fields)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failure: StorageError = StorageUnavailable("the store does not answer")
                failure.__cause__ = nameless(error)
            else:
                if not isinstance(answer, Refusal):
                    return answer
                failure = self._origin.judge(answer) or meaning(answer.status, answer.headers)
                wait = retry_after(answer.headers)
                if wait and isinstance(failure, StorageUnavailable):
                    failure.retry_after = math.ceil(wait)
            if type(failure) is not StorageUnavailable:
                raise failure
            pause = max(wait, self.pause(attempt))
            if (
                attempt >= (attempts or self._patience.attempts)
                or wait > _LONGEST_WAIT
                or time.monotonic() + pause > last
            ):
                raise failure
            await asyncio.sleep(pause)

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the nth attempt failed: random, so that many do not ask at once."""
        return random.uniform(0, self._patience.pause * 2 ** (attempt - 1))  # noqa: S311

    @property
    def attempts(self) -> int:
        """How often a request is made before it has failed."""
        return self._patience.attempts

    async def close(self) -> None:
        """Break off what is under way, and close the connections; there will be no others."""
        self._closed = True
        session, self._session = self._session, None
        if session is None:
            return
        for response in list(self._responses):  # a connector that closes does not wake its readers
            response.content.set_exception(aiohttp.ClientConnectionError())
            response.close()
        await session.close()

    async def _ask(
        self, method: str, key: str, fields: Mapping[str, str]
    ) -> aiohttp.ClientResponse | Refusal:
        """One request; a second one where the origin learns from the refusal of the first."""
        answer = await self._request(method, await self._origin.target(method, key), fields)
        if isinstance(answer, Refusal) and await self._origin.learn(answer):
            answer = await self._request(method, await self._origin.target(method, key), fields)
        return answer

    async def _request(
        self, method: str, target: Target, fields: Mapping[str, str]
    ) -> aiohttp.ClientResponse | Refusal:
        """The answer to a request, from where it is redirected to."""
        url = target.url
        headers = {**fields, **target.headers}
        async with asyncio.timeout(self._patience.connect + self._patience.quiet):
            for redirects in range(_MOST_REDIRECTS + 1):
                response = await self._client().request(
                    method, url, headers=headers, allow_redirects=False, proxy=self._proxy(url)
                )
                if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                    self._responses.add(response)
                    return response
                try:
                    body = await _beginning(response)
                    to = redirect(response.status, response.headers, url)
                    if (
                        to is None
                        or redirects == _MOST_REDIRECTS
                        or not self._origin.follows(url, to)
                    ):
                        break
                finally:
                    response.release()
                if not same_server(to, url):
                    headers = dict(fields)
                url = to
        return Refusal(method, response.status, response.headers, body)

    def _client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise StorageUnavailable("the store is no longer read from")
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("a backend belongs to the event loop it was first used on")
        if self._session is None:
            self._loop = loop
            self._proxies = _proxies()
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

    def _proxy(self, url: URL) -> str | None:
        proxy = self._proxies.get(url.scheme)
        if proxy is None or proxy_bypass(url.host or ""):
            return None
        return proxy


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """What a refusal says; once it is read to its end, its connection serves another request."""
    body = b""
    while len(body) < _LONGEST_REFUSAL and (piece := await response.content.readany()):
        body += piece
    return body[:_LONGEST_REFUSAL]


def _proxies() -> dict[str, str]:
    """The HTTP proxies of the environment, by the scheme of what goes through them."""
    proxies = {
        scheme: proxy if "://" in proxy else f"http://{proxy}"
        for scheme, proxy in getproxies().items()
    }
    return {
        scheme: proxy
        for scheme, proxy in proxies.items()
        if scheme in ("http", "https") and proxy.startswith(("http://", "https://"))
    }


def nameless(error: Exception) -> Exception:
    """The kind of an error without its text, which may hold a signed URL."""
    return OSError(type(error).__name__)
