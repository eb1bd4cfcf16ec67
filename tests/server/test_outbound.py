"""The way out, over real connections."""

import asyncio
import gzip
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from yarl import URL

from auth.fetching import FetchFailed
from server.outbound import MAX_BYTES, Outbound, is_public

HASTY = aiohttp.ClientTimeout(total=0.3, connect=0.2)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def way_out(*urls: str, **options: Any) -> AsyncIterator[Outbound]:
    fetch = Outbound(urls, **options)
    fetch.start()
    try:
        yield fetch
    finally:
        await fetch.close()


def json_answer(body: bytes = b"{}", **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(
            body=body, headers={"Content-Type": "application/json; charset=utf-8"} | headers
        )

    return handler


async def test_a_request_and_its_answer() -> None:
    asked: list[tuple[str, dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.method, dict(request.headers), await request.read()))
        response = web.json_response({"a": 1}, headers={"Cache-Control": "max-age=60"})
        response.set_cookie("session", "secret")
        return response

    async with serving(handler) as url, way_out(url) as fetch:
        answer = await fetch("POST", f"{url}/x", headers={"Authorization": "Bearer t"}, body=b"b")
        assert (answer.status, answer.body) == (200, b'{"a": 1}')
        assert (answer.content_type, answer.max_age) == ("application/json", 60)
        await fetch("GET", f"{url}/x")
    (method, headers, body), (_, second, _) = asked
    assert (method, headers["Authorization"], body) == ("POST", "Bearer t", b"b")
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in second
    assert "Authorization" not in second


@pytest.mark.parametrize(
    ("control", "age", "max_age"),
    [
        ("", "", None),
        ("max-age=60", "", 60),
        ('Public, MAX-AGE="60"', "", 60),
        ("max-age=60", "20", 40),
        ("max-age=60", "90", 0),
        ("max-age=60", "x", 60),
        ("s-maxage=60", "", None),
        ("max-age=-1", "", None),
        ("max-age=1e9", "", None),
        ("max-age=99999999999999", "", None),
        ("max-age=60, no-store", "", 0),
        ("no-cache", "", 0),
    ],
)
async def test_how_long_an_answer_may_be_kept(control: str, age: str, max_age: int | None) -> None:
    handler = json_answer(b"{}", **{"Cache-Control": control, "Age": age})
    async with serving(handler) as url, way_out(url) as fetch:
        assert (await fetch("GET", url)).max_age == max_age


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/there"})

    async with serving(handler) as url, way_out(url) as fetch:
        with pytest.raises(FetchFailed, match="redirect"):
            await fetch("GET", f"{url}/here")
    assert asked == ["/here"]


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_of_refusals_only_the_status_is_told(status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"x" * (1 << 22), content_type="text/html")

    async with serving(handler) as url, way_out(url) as fetch:
        answer = await fetch("GET", url)
        assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("chunked", [False, True])
async def test_size(chunked: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        size = int(request.path[1:])
        if not chunked:
            return web.Response(body=b" " * size, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(size // 1024):
            await response.write(b" " * 1024)
        return response

    async with serving(handler) as url, way_out(url) as fetch:
        assert len((await fetch("GET", f"{url}/{MAX_BYTES}")).body) == MAX_BYTES
        with pytest.raises(FetchFailed, match="large"):
            await fetch("GET", f"{url}/{MAX_BYTES + 1024}")
        with pytest.raises(FetchFailed, match="large"):
            await fetch("GET", f"{url}/{1 << 26}")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x"])
async def test_encodings_are_refused(encoding: str) -> None:
    handler = json_answer(gzip.compress(b"{}"), **{"Content-Encoding": encoding})
    async with serving(handler) as url, way_out(url) as fetch:
        with pytest.raises(FetchFailed, match="encoding"):
            await fetch("GET", url)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/octet-stream", "x"])
async def test_media_types(kind: str) -> None:
    handler = json_answer(b"{}", **{"Content-Type": kind})
    async with serving(handler) as url, way_out(url) as fetch:
        with pytest.raises(FetchFailed, match="media type"):
            await fetch("GET", url)
    async with serving(handler) as url, way_out(url, media_types={"text/html"}) as fetch:
        if kind == "text/html":
            assert (await fetch("GET", url)).content_type == kind


@pytest.mark.parametrize("slow", ["header", "body"])
async def test_time(slow: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if slow == "header":
            await asyncio.sleep(2)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(40):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    async with serving(handler) as url, way_out(url, timeout=HASTY) as fetch:
        before = asyncio.get_running_loop().time()
        with pytest.raises(FetchFailed, match="Timeout"):
            await fetch("GET", url)
        assert asyncio.get_running_loop().time() - before < 1


async def test_broken_answers(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/short" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: 10\r\n\r\n{}")
        else:
            writer.write(b"garbage\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, way_out(url) as fetch:
        for path in ("/short", "/garbage"):
            with pytest.raises(FetchFailed) as failure:
                await fetch("GET", url + path, headers={"Authorization": "Bearer planted"})
            assert failure.value.__cause__ is None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with way_out(closed) as fetch:
            with pytest.raises(FetchFailed):
                await fetch("GET", closed + "/planted")
    assert "127.0.0.1: no usable answer" in caplog.text
    assert "planted" not in caplog.text


@pytest.mark.security("TT6")
@pytest.mark.parametrize(
    ("configured", "url"),
    [
        ("https://b.example", "https://evil.example/"),
        ("https://b.example", "https://b.example.evil.example/"),
        ("https://b.example", "https://b.example./"),
        ("https://b.example", "https://b.example@evil.example/"),
        ("https://b.example", "https://user:secret@b.example/"),
        ("https://b.example", "https://evil.example\\@b.example/"),
        ("https://b.example", "http://b.example/"),
        ("https://b.example", "ftp://b.example/"),
        ("https://b.example", "file:///etc/passwd"),
        ("https://b.example", "data:application/json,{}"),
        ("https://b.example", "unix:///socket"),
        ("https://b.example", "//b.example/"),
        ("https://b.example", "/etc/passwd"),
        ("https://b.example", ""),
        ("https://b.example", "https://b.example:99999/"),
        ("https://b.example", "https://[b.example/"),
        ("https://b.example", "https://127.0.0.1/"),
        ("https://b.example", "http://localhost/"),
        ("https://b.example", "http://169.254.169.254/latest/meta-data"),
        ("https://b.example", "https://[::1]/"),
        ("https://\u0431.example", "https://b.example/"),
        # Even when somebody configured it: spellings that a resolver reads as addresses.
        ("https://2130706433", "https://2130706433/"),
        ("https://127.1", "https://127.1/"),
        ("https://0x7f.1", "https://0x7f.1/"),
        ("https://0177.0.0.1", "https://0177.0.0.1/"),
        ("https://x.0x7f", "https://x.0x7f/"),
        # Plain http is for this machine.
        ("http://10.0.0.1", "http://10.0.0.1/"),
        ("http://b.example", "http://b.example/"),
        ("http://localhost.example", "http://localhost.example/"),
    ],
)
async def test_urls_that_are_not_called(
    configured: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", nobody)
    async with way_out(configured) as fetch:
        with pytest.raises(FetchFailed):
            await fetch("GET", url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),  # noqa: S104
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2002:a00:1::1", False),
        ("2001:0:1::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("2001:4860:4860::8888%eth0", False),
        ("fc00::1", False),
        ("fd12::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def _looked_up(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names lead to these addresses from now on; the list holds those that were looked up."""
    names: list[str] = []

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
        names.append(host)
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return names


@pytest.mark.security("TT6")
@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.1.2.3",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("8.8.8.8", "127.0.0.1"),
    ],
)
async def test_names_that_lead_to_private_addresses(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    names = _looked_up(monkeypatch, *addresses)
    async with way_out("https://b.example") as fetch:
        with pytest.raises(FetchFailed, match="private address"):
            await fetch("GET", "https://b.example/jwks")
    assert set(names) == {"b.example"}
    assert "b.example: no usable answer: its name leads to a private address" in caplog.text


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` and `b.example`, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b.example")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("b.example"), x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path


@asynccontextmanager
async def tls_server(certificate: Path) -> AsyncIterator[URL]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with serving(json_answer(), context) as url:
        yield URL(url)


async def test_certificates_are_verified(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with tls_server(certificate) as url:
        async with way_out(str(url), tls=trusting) as fetch:
            assert (await fetch("GET", str(url))).status == 200
        async with way_out(str(url)) as fetch:
            with pytest.raises(FetchFailed, match="Certificate"):
                await fetch("GET", str(url))
        literal = str(url.with_host("127.0.0.1"))
        async with way_out(literal, tls=trusting) as fetch:
            with pytest.raises(FetchFailed, match="Certificate"):
                await fetch("GET", literal)


async def test_private_hosts_as_configured(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with tls_server(certificate) as url:
        _looked_up(monkeypatch, "127.0.0.1")
        there = str(url.with_host("b.example"))
        async with way_out(there, tls=trusting, private_hosts=["B.example"]) as fetch:
            assert (await fetch("GET", there)).body == b"{}"
        async with way_out(there, tls=trusting) as fetch:
            with pytest.raises(FetchFailed, match="private"):
                await fetch("GET", there)


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(json_answer()) as url, way_out(url) as fetch:
        assert (await fetch("GET", url)).status == 200


async def test_before_and_after() -> None:
    async with serving(json_answer()) as url:
        fetch = Outbound([url])
        with pytest.raises(FetchFailed, match="not started"):
            await fetch("GET", url)
        fetch.start()
        await fetch("GET", url)
        await fetch.close()
        with pytest.raises(FetchFailed):
            await fetch("GET", url)
