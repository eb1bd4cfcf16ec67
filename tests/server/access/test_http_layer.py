"""What comes before any token: requests that are smuggled, oversized or slow, and where a ticket's
URLs lead."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from server.access.peer import networks
from server.config import ConfigurationError
from server.limits import Limits
from tests.server.access.denials import READS, Bench, bench
from tests.server.access.guarded import guarded, settings_of, usual_policy
from tests.server.live import serving
from tests.support.broker import Broker

QUICK = Limits(header_seconds=1, keepalive_seconds=2, shutdown_seconds=1)
PLANTED = "Bearer-of-a-secret"
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
async def at(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    async with guarded(data, tmp_path) as site:
        with bench(site, caplog) as found:
            yield found


async def connection(base: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = base.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def spoken(base: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back until the server closes."""
    reader, writer = await connection(base)
    with closing(writer):
        received = b""
        try:
            async with asyncio.timeout(20):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(pause)
                while found := await reader.read(1 << 16):
                    received += found
        except ConnectionError:
            pass
        return received


def posting(fields: str, body: str = "") -> str:
    return f"POST {READS} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"


SMUGGLED = {
    "CL.TE": posting("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
    "TE.CL": posting("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\nGPOST"),
    "TE.TE": posting("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", "0\r\n\r\n"),
    "identity": posting("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    "unknown": posting("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    "two lengths": posting("Content-Length: 1\r\nContent-Length: 2\r\n", "x"),
    "negative": posting("Content-Length: -1\r\n"),
    "plus": posting("Content-Length: +1\r\n", "x"),
    "bare LF": f"GET {READS} HTTP/1.1\nHost: a\nX: {PLANTED}\n\n",
    "space before colon": f"GET {READS} HTTP/1.1\r\nHost: a\r\nX : {PLANTED}\r\n\r\n",
    "obs-fold": f"GET {READS} HTTP/1.1\r\nHost: a\r\nX: a\r\n {PLANTED}\r\n\r\n",
    "NUL": f"GET {READS} HTTP/1.1\r\nHost: a\r\nX: {PLANTED}\0\r\n\r\n",
    "no colon": f"GET {READS} HTTP/1.1\r\nHost: a\r\n{PLANTED}\r\n\r\n",
    "two hosts": f"GET {READS} HTTP/1.1\r\nHost: a\r\nHost: {PLANTED}\r\n\r\n",
    "no host": f"GET {READS} HTTP/1.1\r\nX: {PLANTED}\r\n\r\n",
    "version": f"GET {READS} HTTP/3.7\r\nHost: {PLANTED}\r\n\r\n",
}


@pytest.mark.security("TH1", "TH2")
@pytest.mark.parametrize("name", SMUGGLED)
async def test_smuggled_requests(at: Bench, name: str) -> None:
    """They are refused, nothing is repeated, and what follows on the connection is not served."""
    token = at.site.token("alice")
    follower = f"GET {READS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    at.opened.clear()
    answer = await spoken(at.site.live.base, (SMUGGLED[name] + follower).encode())
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert answer.count(b"HTTP/1.") == 1
    assert b'"InvalidInput"' in answer
    for text in (PLANTED, token, READS):
        assert text.encode() not in answer
        assert text not in at.caplog.text
    assert b"aiohttp" not in answer
    assert at.opened == []


@pytest.mark.security("TH1")
@pytest.mark.parametrize("body", ["zz\r\n", "1\r\nabc\r\n", "5\r\nhello", "-1\r\n\r\n", "0x5\r\n"])
async def test_broken_chunks(at: Bench, body: str) -> None:
    token = at.site.token("alice")
    fields = f"Authorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n"
    request = posting(fields, body).encode()
    if body == "5\r\nhello":
        request += b"X\r\n0\r\n\r\n"
    answer = await spoken(at.site.live.base, request)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert answer.count(b"HTTP/1.") == 1
    assert token.encode() not in answer
    assert b"/blocks/" not in answer


@pytest.mark.security("TH2")
async def test_ticket_urls_are_as_configured(data: Path, tmp_path: Path) -> None:
    public = "https://htsget.example/base"
    async with guarded(data, tmp_path, server={"public_url": public}) as site:
        for headers in (
            {},
            {"Host": "evil.example"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"},
            {"Forwarded": "host=evil.example;proto=http", "X-Forwarded-Prefix": "/evil"},
            {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil", "X-Forwarded-For": "10.0.0.1"},
        ):
            for url in (await site.ask("GET", READS, "alice", headers=headers)).urls:
                assert url.startswith(f"{public}/blocks/v1.")
        request = (
            f"GET http://evil.example{READS} HTTP/1.1\r\nHost: other.example\r\n"
            f"Authorization: Bearer {site.token('alice')}\r\nConnection: close\r\n\r\n"
        )
        answer = await spoken(site.live.base, request.encode())
        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
        assert b"evil.example" not in answer
        assert b"other.example" not in answer


@pytest.mark.security("TH2")
async def test_without_a_public_url_no_stranger_names_it(at: Bench) -> None:
    token = at.site.token("alice")
    for fields in ("X-Forwarded-Host: evil.example\r\n", "Forwarded: host=evil.example\r\n"):
        request = (
            f"GET http://evil.example{READS} HTTP/1.1\r\nHost: a.example\r\n{fields}"
            f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
        assert b"evil.example" not in await spoken(at.site.live.base, request.encode())


@pytest.mark.security("TH3")
@pytest.mark.parametrize(
    "request_",
    [
        f"GET {READS} HTTP/1.1\r\nHost: a\r\nX: {PLANTED * 6_000}\r\n\r\n",
        f"GET {READS} HTTP/1.1\r\nHost: a\r\n" + f"X: {PLANTED}\r\n" * 1_000 + "\r\n",
        f"GET /reads/study/{PLANTED * 1_000} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET {READS}?referenceName={PLANTED * 1_000} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"{PLANTED * 600} {READS} HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["100 kB of one field", "1,000 fields", "16 kB of path", "16 kB of query", "method"],
)
async def test_more_than_a_header_may_be(at: Bench, request_: str) -> None:
    answer = await spoken(at.site.live.base, request_.encode())
    status = answer.split(b"\r\n")[0]
    assert answer == b"" or any(f" {code} ".encode() in status for code in (400, 414, 431))
    assert PLANTED.encode() not in answer
    assert PLANTED not in at.caplog.text
    assert at.opened == []


@pytest.mark.security("TH4")
async def test_slow_clients_do_not_keep_others_waiting(data: Path, tmp_path: Path) -> None:
    """Thousands of connections that say nothing, or a byte now and then, until their deadline."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2_000, (allowed - 500) // 2)
    broker = Broker()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(broker.serving())
        policy = tmp_path / "policy.toml"
        policy.write_text(usual_policy(broker.issuer))
        settings = settings_of(data, broker, policy, f"sqlite:///{tmp_path}/state.db")
        live = await stack.enter_async_context(serving(settings, limits=QUICK))
        bearer = {"Authorization": f"Bearer {broker.access_token('alice')}"}
        assert (await live.ask("GET", READS, headers=bearer)).status == 200
        idle = []
        for _ in range(count):
            reader, writer = await connection(live.base)
            stack.callback(writer.close)
            idle.append(reader)
        drip = f"GET {READS} HTTP/1.1\r\nHost: a\r\nX: y".encode()
        dripping = [
            asyncio.create_task(spoken(live.base, *(bytes([each]) for each in drip), pause=0.2))
            for _ in range(50)
        ]
        async with asyncio.timeout(5):
            assert (await live.ask("GET", READS, headers=bearer)).status == 200
        async with asyncio.timeout(20):
            assert set(await asyncio.gather(*(each.read() for each in idle))) == {b""}
            assert set(await asyncio.gather(*dripping)) == {b""}
        assert (await live.ask("GET", READS, headers=bearer)).status == 200


def settings(data: Path, tmp_path: Path, **server: Any) -> None:
    """Make settings of controlled data."""
    settings_of(
        data, Broker(url="https://b.example"), tmp_path / "policy.toml", "sqlite://", server
    )


@pytest.mark.security("TH5")
def test_behind_a_proxy_the_public_url_must_be_known(data: Path, tmp_path: Path) -> None:
    proxies = ["10.0.0.0/8"]
    with pytest.raises(ConfigurationError, match="public_url"):
        settings(data, tmp_path, trusted_proxies=proxies)
    settings(data, tmp_path, trusted_proxies=proxies, public_url="https://htsget.example")
    assert networks(proxies)


@pytest.mark.security("TH6")
@pytest.mark.parametrize(
    "server",
    [
        {"host": EVERYWHERE},
        {"host": "::"},
        {"host": "htsget.example"},
        {"host": EVERYWHERE, "public_url": "http://htsget.example"},
        {"host": "127.0.0.1", "public_url": "http://htsget.example"},
        {"public_url": "http://198.51.100.7:8080/base"},
        {"tls_certificate": "c.pem", "tls_key": "k.pem", "public_url": "http://htsget.example"},
    ],
)
def test_no_tickets_over_plain_http(data: Path, tmp_path: Path, server: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        settings(data, tmp_path, **server)


@pytest.mark.security("TH6")
@pytest.mark.parametrize(
    "server",
    [
        {},
        {"host": "localhost"},
        {"host": "::1", "public_url": "http://localhost:8080"},
        {"host": EVERYWHERE, "public_url": "https://htsget.example"},
        {"host": EVERYWHERE, "tls_certificate": "c.pem", "tls_key": "k.pem"},
    ],
)
def test_where_controlled_data_may_be_served(
    data: Path, tmp_path: Path, server: dict[str, str]
) -> None:
    settings(data, tmp_path, **server)
