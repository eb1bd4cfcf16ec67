"""The limits of the HTTP layer, and a runner that keeps them.

aiohttp answers broken requests itself, before any middleware, and repeats what it could not parse;
and it waits for the rest of a request line for ever. Here both are mended. htsget wants every error
to be its JSON document, so these are too.
"""

import asyncio
import logging
import socket
from dataclasses import dataclass

from aiohttp import http_parser, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from server.cors import SECURITY_HEADERS
from server.errors import (
    Answer,
    InvalidInput,
    RequestTimeout,
    describe,
    respond,
    trace,
)

OBJECT = web.RequestKey("OBJECT", str)
"""The pseudonym of the object a request is about, for the access log; set by handlers."""

SENT = web.RequestKey("SENT", int)
"""Bytes sent, for the access log, when a handler sends them past the response object."""

_NOT_PARSED = "UNKNOWN"  # the method that aiohttp gives a request that it could not read
_log = logging.getLogger(__name__)
_access_log = logging.getLogger("htsgate.access")
_MALFORMED = describe(InvalidInput("the request is not valid HTTP"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are in bytes, times in seconds."""

    request_line: int = 8190
    header_field: int = 16 * 1024  # a bearer token with passports is long
    header_fields: int = 128
    header_seconds: float = 20  # from a connection, or a first byte, to a whole request header
    keepalive_seconds: float = 75
    stall_seconds: float = 300  # that a client takes nothing of an answer
    shutdown_seconds: float = 30  # for the requests in progress


class HardenedHandler(web.RequestHandler):
    """One connection: aiohttp's own, with a deadline for headers and errors that repeat nothing."""

    __slots__ = ("_deadline", "_limits")

    def __init__(self, manager: web.Server, limits: Limits, access_log: logging.Logger) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive_seconds,
            access_log_class=AccessLog,
            access_log=access_log,
            max_line_size=limits.request_line,
            max_field_size=limits.header_field,
            max_headers=limits.header_fields,
            auto_decompress=False,
        )
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._await_header()
        # Counts while an answer lies unacknowledged or the client's window stays shut, so that a
        # client that stops reading holds neither a descriptor nor a buffer for ever. Linux only.
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        sock = transport.get_extra_info("socket")
        if option is not None and sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, option, int(self._limits.stall_seconds * 1000))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._header_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._header_arrived()
        elif self._waiter is not None and self._deadline is None:
            self._await_header()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what no middleware saw, without a word of the request."""
        if isinstance(exc, HttpProcessingError):
            answer = _MALFORMED
        elif isinstance(exc, ConnectionError):
            raise ConnectionError("the client is gone, or was dropped")
        else:
            answer = describe(exc if isinstance(exc, Exception) else RuntimeError())
            if exc is not None:
                _log.error("outside the application: %s", trace(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        return self._final(answer)

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """What goes wrong with a connection, without a word of the request."""
        error = kwargs.get("exc_info")
        detail = trace(error) if isinstance(error, BaseException) else ""
        _log.error("a connection failed: %s", detail)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answers in htsget's way what aiohttp raises before the middlewares, such as 417."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = self._final(describe(resp))
        return await super().finish_response(request, resp, start_time)

    def _final(self, answer: Answer) -> web.Response:
        response = respond(answer)
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response

    def _await_header(self) -> None:
        self._deadline = self._loop.call_later(self._limits.header_seconds, self._expire)

    def _header_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class AccessLog(AbstractAccessLogger):
    """One line a request, of which no client chooses a word.

    Route instead of path, pseudonym instead of object id: a path may hold a capability, a query
    says what somebody looks for.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        route = "-"
        if isinstance(request, web.Request) and request.method != _NOT_PARSED:
            resource = request.match_info.route.resource
            route = "-" if resource is None else resource.canonical
        self.logger.info(
            "method=%s route=%s status=%d bytes=%d ms=%.1f object=%s",
            request.method,
            route,
            response.status,
            request.get(SENT, response.body_length),
            time * 1000,
            request.get(OBJECT, "-"),
        )

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)


def make_runner(
    app: web.Application, *, limits: Limits, access_log: logging.Logger = _access_log
) -> web.AppRunner:
    """A runner for an application; a handler is cancelled when its client disconnects."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        _log.warning("aiohttp runs without its C parser: slower, and more exposed to bad requests")
    return _Runner(app, limits, access_log)


async def read_body(request: web.Request, *, seconds: float, max_bytes: int | None = None) -> bytes:
    """The whole body of a request, of at most `max_bytes` or what the application allows.

    Raises `RequestTimeout`, `InvalidInput` for a content coding (none is needed, and a small body
    could unfold to a huge one), and aiohttp's error for a body beyond the limit.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise InvalidInput("a request body has no Content-Encoding")
    if max_bytes is not None:
        request = request.clone(client_max_size=max_bytes)
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise RequestTimeout("the request body did not arrive in time") from None


class _Server(web.Server):
    """Makes a `HardenedHandler` for each connection.

    aiohttp's own goes on without any limit when it does not know one of them; this one fails.
    """

    def __init__(self, like: web.Server, limits: Limits, access_log: logging.Logger) -> None:
        super().__init__(
            like.request_handler, request_factory=like.request_factory, handler_cancellation=True
        )
        self._limits = limits
        self._access_log = access_log

    def __call__(self) -> HardenedHandler:
        return HardenedHandler(self, self._limits, self._access_log)


class _Runner(web.AppRunner):
    __slots__ = ("_access_log", "_limits")

    def __init__(self, app: web.Application, limits: Limits, access_log: logging.Logger) -> None:
        super().__init__(app, shutdown_timeout=limits.shutdown_seconds)
        self._limits = limits
        self._access_log = access_log

    async def _make_server(self) -> web.Server:
        server = _Server(await super()._make_server(), self._limits, self._access_log)
        server()  # a limit that aiohttp no longer knows fails here, not with the first client
        return server
