"""What a store was asked: a proxy to stand before one, which records each request it passes on.

SigV4 signs the Host field and the path, so both go on as they came.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.running_server import running

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect", "date", "server"}
_NOT_ADDED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


@dataclass(slots=True, eq=False)
class StoreRequest:
    """One request. `status` is 0 until the store answers; `sent` counts the bytes of the body that
    were passed on; `finished`: there are no more to come; `broken`: though there should be."""

    method: str
    path: str
    range: str | None
    if_match: str | None
    status: int = 0
    sent: int = 0
    finished: bool = False
    broken: bool = False

    def __str__(self) -> str:
        asked = " ".join(filter(None, (self.method, self.path, self.range, self.if_match)))
        return f"{asked} -> {self.status}"


Rule = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers a request in the store's place, or waits and lets it pass with None."""


@dataclass(slots=True, eq=False)
class RequestLog:
    """The requests so far, oldest first; `rule` may answer them before the store does.

    After `hold_after` bytes of a body, a transfer waits until that is None; after `cut_after` the
    connection is dropped.
    """

    requests: list[StoreRequest] = field(default_factory=list)
    rule: Rule | None = None
    hold_after: int | None = None
    cut_after: int | None = None

    def clear(self) -> None:
        """Forget the requests; the rule stays."""
        self.requests.clear()

    def __call__(self, method: str = "", ending: str = "") -> list[StoreRequest]:
        """The requests by method, and by how the path ends."""
        return [
            each
            for each in list(self.requests)
            if each.method.startswith(method) and each.path.endswith(ending)
        ]

    def __str__(self) -> str:
        return "\n".join(map(str, list(self.requests))) or "no requests"


@contextmanager
def logging_proxy(upstream: str) -> Iterator[tuple[str, RequestLog]]:
    """A proxy before the server at `upstream`, in a thread of its own; its base URL and its log."""
    log = RequestLog()
    sessions: list[aiohttp.ClientSession] = []

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NOT_ADDED,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            sessions.append(session)
            yield

    async def pass_on(request: web.Request) -> web.StreamResponse:
        record = StoreRequest(
            request.method,
            request.raw_path.partition("?")[0],
            request.headers.get("Range"),
            request.headers.get("If-Match"),
        )
        log.requests.append(record)
        answer = await log.rule(request) if log.rule is not None else None
        if answer is not None:
            record.status = answer.status
            return answer
        return await _forward(request, upstream, sessions[0], log, record)

    application = web.Application(client_max_size=1 << 30)
    application.cleanup_ctx.append(lifetime)
    application.router.add_route("*", "/{path:.*}", pass_on)
    with running(application) as url:
        yield url.rstrip("/"), log


async def _forward(
    request: web.Request,
    upstream: str,
    session: aiohttp.ClientSession,
    log: RequestLog,
    record: StoreRequest,
) -> web.StreamResponse:
    fields = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _OF_THE_CONNECTION
    ]
    body = await request.read() if request.can_read_body else None
    url = URL(upstream + request.raw_path, encoded=True)
    async with session.request(
        request.method, url, headers=fields, data=body, allow_redirects=False
    ) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _OF_THE_CONNECTION:
                response.headers.add(name, value)
        record.status = answer.status
        try:
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(1 << 16):
                while log.hold_after is not None and record.sent >= log.hold_after:
                    if request.transport is None or request.transport.is_closing():
                        raise ConnectionResetError("the client is gone")
                    await asyncio.sleep(0.01)
                await response.write(piece)
                record.sent += len(piece)
                if log.cut_after is not None and record.sent >= log.cut_after:
                    raise ConnectionResetError("cut")
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            record.broken = True
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            record.finished = True
    return response
