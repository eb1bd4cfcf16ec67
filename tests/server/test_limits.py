import asyncio
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from server.cors import Cors
from server.errors import error_middleware
from server.limits import OBJECT, SENT, Limits, make_runner, read_body

SECRET = "Bearer-of-a-secret"  # noqa: S105
QUICK = Limits(header_seconds=0.3, keepalive_seconds=0.6, shutdown_seconds=1)


async def ticket(request: web.Request) -> web.Response:
    request[OBJECT] = "p-17"
    return web.json_response({"id": request.match_info["id"]})


async def block(request: web.Request) -> web.Response:
    request[SENT] = 12345
    return web.Response(body=b"x")


async def upload(request: web.Request) -> web.Response:
    return web.Response(body=await read_body(request, seconds=0.3))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(bytes(1 << 20))
    finally:
        request.app[ENDED].set()


ENDED = web.AppKey("ENDED", asyncio.Event)


class Peer:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self, seconds: float = 5) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body


class Running:
    def __init__(self, app: web.Application, port: int) -> None:
        self.app, self.port = app, port

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Peer(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def running(limits: Limits = QUICK) -> AsyncIterator[Running]:
    app = web.Application(middlewares=[error_middleware], client_max_size=1000)
    app[ENDED] = asyncio.Event()
    app.on_response_prepare.append(Cors().on_response_prepare)
    app.router.add_get("/reads/{id:.+}", ticket)
    app.router.add_post("/reads/{id:.+}", upload)
    app.router.add_get("/blocks/{capability}", block)
    app.router.add_get("/endless", endless)
    runner = make_runner(app, limits=limits)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Running(app, runner.addresses[0][1])
    finally:
        await runner.cleanup()


def judged(head: dict[str, str], body: bytes, error: str) -> None:
    assert head["server"] == "htsgate"
    assert head["content-type"] == "application/json"
    assert head["x-content-type-options"] == "nosniff"
    assert json.loads(body)["htsget"]["error"] == error
    assert b"aiohttp" not in body
    assert SECRET.encode() not in body


MALFORMED = [
    b"nonsense\r\n\r\n",
    b"GET /reads/a HTTP/3.7\r\nHost: a\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"GET /reads/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"POST /reads/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
    b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\nAuthorization: " + SECRET.encode() * 2000 + b"\r\n\r\n",
    b"GET /reads/" + SECRET.encode() * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    b"GET /reads/a HTTP/1.1\r\nHost: a\r\n" + SECRET.encode() + b"\r\n\r\n",
    SECRET.encode() + b" /reads/a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.security("TH1", "TH2", "TH3")
@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_requests(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as server, server.peer() as peer:
        await peer.send(request_)
        status, headers, body = await peer.answer()
        assert status == 400
        judged(headers, body, "InvalidInput")
        assert await peer.rest() == b""
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.security("TH1")
@pytest.mark.parametrize(
    "request_",
    [
        b"POST /reads/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /reads/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
    ],
)
async def test_malformed_bodies(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server, server.peer() as peer:
        await peer.send(request_)
        status, headers, body = await peer.answer()
        assert status == 400
        judged(headers, body, "InvalidInput")
    assert not caplog.records


async def test_bodies_over_the_limit() -> None:
    async with running() as server, server.peer() as peer:
        await peer.send(
            b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + bytes(2000)
        )
        status, headers, body = await peer.answer()
        assert status == 413
        judged(headers, body, "PayloadTooLarge")


async def test_unknown_expectations_are_not_repeated() -> None:
    async with running() as server, server.peer() as peer:
        await peer.send(
            b"GET /reads/a HTTP/1.1\r\nHost: a\r\nOrigin: https://igv.org\r\nExpect: "
            + SECRET.encode()
            + b"\r\n\r\n"
        )
        status, headers, body = await peer.answer()
        assert status == 417
        judged(headers, body, "InvalidInput")
        assert headers["access-control-allow-origin"] == "https://igv.org"


@pytest.mark.parametrize("origin", [b"https://\xff.example", b"\xe2\x82\xac", b"a\tb", b"\x7f"])
async def test_strange_origins_are_not_copied(origin: bytes) -> None:
    async with running() as server, server.peer() as peer:
        await peer.send(b"GET /reads/a HTTP/1.1\r\nHost: a\r\nOrigin: " + origin + b"\r\n\r\n")
        status, headers, _ = await peer.answer()
        assert status in (200, 400)
        assert "access-control-allow-origin" not in headers


async def test_a_gone_client_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server:
        async with server.peer() as peer:
            await peer.send(b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12")
            await asyncio.sleep(0.05)
            peer.writer.transport.abort()
        await asyncio.sleep(0.1)
    assert not caplog.records


async def test_long_but_permitted_headers() -> None:
    async with running() as server, server.peer() as peer:
        token = b"x" * 16_000
        await peer.send(
            b"GET /reads/a HTTP/1.1\r\nHost: a\r\nAuthorization: " + token + b"\r\n\r\n"
        )
        assert (await peer.answer())[0] == 200


async def drip(peer: Peer, data: bytes) -> None:
    for byte in data:
        await peer.send(bytes([byte]))
        await asyncio.sleep(0.05)


@pytest.mark.security("TH4")
@pytest.mark.parametrize("first", [b"", b"G", b"GET /reads/a HTTP/1.1\r\nHost: a\r\n"])
async def test_headers_that_never_complete(first: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with running() as server, server.peer() as peer:
        begun = loop.time()
        await peer.send(first)
        assert await peer.rest() == b""
        assert 0.25 < loop.time() - begun < 5


@pytest.mark.security("TH4")
async def test_dripping_headers() -> None:
    loop = asyncio.get_running_loop()
    async with running() as server, server.peer() as peer:
        begun = loop.time()
        dripping = asyncio.create_task(drip(peer, b"GET /reads/a HTTP/1.1\r\nHost: a\r\nX: yyyyyy"))
        assert await peer.rest() == b""
        assert 0.25 < loop.time() - begun < 5
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.security("TH4")
async def test_dripping_headers_of_a_second_request() -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(header_seconds=0.3, keepalive_seconds=60)
    async with running(limits) as server, server.peer() as peer:
        await peer.send(b"GET /reads/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await peer.answer())[0] == 200
        await asyncio.sleep(0.5)  # idle is allowed
        begun = loop.time()
        dripping = asyncio.create_task(drip(peer, b"GET /reads/a HTTP/1.1\r\nHost: a\r\nX: yy"))
        assert await peer.rest() == b""
        assert 0.25 < loop.time() - begun < 5
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.security("TH4")
async def test_slow_but_whole_requests_are_served() -> None:
    async with running(Limits(header_seconds=20)) as server, server.peer() as peer:
        for _ in range(3):
            await drip(peer, b"GET /r")
            await peer.send(b"eads/a HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await peer.answer())[0] == 200
    async with running(Limits(header_seconds=0.3)) as server, server.peer() as peer:
        for _ in range(3):
            await peer.send(b"GET /reads/a HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            for _ in range(3):
                assert (await peer.answer())[0] == 200
            await asyncio.sleep(0.4)  # longer than the deadline for a header


@pytest.mark.security("TR6", "TH4")
async def test_bodies_that_never_complete() -> None:
    async with running() as server, server.peer() as peer:
        await peer.send(b"POST /reads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        dripping = asyncio.create_task(drip(peer, b"12345678"))
        status, headers, body = await peer.answer()
        assert status == 408
        judged(headers, body, "InvalidInput")
        await dripping


@pytest.mark.security("TH4")
async def test_idle_connections_are_closed() -> None:
    loop = asyncio.get_running_loop()
    async with running() as server, server.peer() as peer:
        await peer.send(b"GET /reads/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await peer.answer())[0] == 200
        begun = loop.time()
        assert await peer.rest() == b""
        assert 0.5 < loop.time() - begun < 5


@pytest.mark.security("TL7")
async def test_handlers_end_with_their_client() -> None:
    async with running() as server:
        async with server.peer() as peer:
            await peer.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await peer.reader.read(1000)
            peer.writer.transport.abort()
        async with asyncio.timeout(2):
            await server.app[ENDED].wait()


@pytest.mark.security("TH4")
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
async def test_clients_that_stop_reading_are_dropped() -> None:
    loop = asyncio.get_running_loop()
    async with running(Limits(stall_seconds=1)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(20):
                await server.app[ENDED].wait()


@pytest.mark.security("TA4")
async def test_the_access_log_names_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as server, server.peer() as peer:
        for path in ("/reads/secret-id?referenceName=secret", "/blocks/secret", "/secret"):
            await peer.send(
                f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: secret\r\n"
                "Referer: secret\r\nAuthorization: Bearer secret\r\n\r\n".encode()
            )
            await peer.answer()
        await peer.send(b"secret\r\n\r\n")
        await peer.answer()
    lines = [r.getMessage() for r in caplog.records if r.name == "htsgate.access"]
    assert "secret" not in caplog.text
    assert [line.split(" bytes=")[0] for line in lines] == [
        "method=GET route=/reads/{id} status=200",
        "method=GET route=/blocks/{capability} status=200",
        "method=GET route=- status=404",
        "method=UNKNOWN route=- status=400",
    ]
    assert " bytes=12345 " in lines[1]
    assert [line.split(" object=")[1] for line in lines] == ["p-17", "-", "-", "-"]


async def test_limits_that_aiohttp_does_not_know_stop_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(init: Callable[..., None]) -> Callable[..., None]:
        def without(*args: object, **kwargs: object) -> None:
            if "max_field_size" in kwargs:
                raise TypeError("max_field_size")
            init(*args, **kwargs)

        return without

    monkeypatch.setattr(web.RequestHandler, "__init__", changed(web.RequestHandler.__init__))
    runner = make_runner(web.Application(), limits=Limits())
    with pytest.raises(TypeError, match="max_field_size"):
        await runner.setup()
    await runner.cleanup()
