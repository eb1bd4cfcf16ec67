"""How plans are sent: pieces, sendfile, TLS, and sources that fail while they are sent."""

import asyncio
import errno
import os
import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from server.errors import error_middleware
from server.htsget.delivery import SMALL, send
from server.limits import make_runner
from server.slicing.library import Plan
from server.slicing.segments import Segment, Stored, clip
from tests.server.live import LIMITS, serving, settings_of

SOURCE = random.Random(1).randbytes(12 << 20)


def rendered(segments: list[Segment]) -> bytes:
    return b"".join(
        each if isinstance(each, bytes) else SOURCE[each.start : each.end] for each in segments
    )


segment_lists = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.tuples(st.integers(0, 99), st.integers(0, 40)).map(lambda at: Stored(at[0], sum(at))),
    ),
    max_size=8,
)


@given(segment_lists, st.integers(0, 200), st.integers(0, 200))
def test_clip(segments: list[Segment], start: int, end: int) -> None:
    clipped = list(clip(tuple(segments), start, end))
    assert rendered(clipped) == rendered(segments)[start : max(start, end)]
    assert all(len(each) for each in clipped)


def plan(*segments: Segment) -> Plan:
    return Plan(segments, sum(map(len, segments)), "etag")


MIXED = plan(
    b"head",
    Stored(5, 400_000),
    b"middle",
    Stored(500_000, 500_000),
    Stored(700_000, 9_000_000),
    b"tail",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(SOURCE)
    return tmp_path / "source"


@asynccontextmanager
async def sending(
    source: Path, planned: Plan, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A server that sends a plan, or the bytes `start` to `end` of it."""
    descriptor = os.open(source, os.O_RDONLY)

    async def handler(request: web.Request) -> web.StreamResponse:
        start = int(request.query.get("start", 0))
        end = int(request.query.get("end", planned.size))
        modified = os.fstat(descriptor).st_mtime_ns
        return await send(
            request, planned, (start, end), descriptor,
            modified_ns=modified, status=200, headers={},
        )  # fmt: skip

    app = web.Application(middlewares=[error_middleware])
    app.router.add_get("/", handler)
    runner = make_runner(app, limits=LIMITS)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "http" if tls is None else "https"
        connector = aiohttp.TCPConnector(ssl=tls is None)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session, f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
        os.close(descriptor)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key in one file, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    key = path.with_name("key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    if request.param == "plain":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(request.getfixturevalue("certificate"))
    return context


async def test_ranges(source: Path, tls: ssl.SSLContext | None) -> None:
    whole = rendered(list(MIXED.segments))
    draw = random.Random(2)
    asked = [(0, len(whole)), (0, SMALL), (0, SMALL + 1), (3, 5), (len(whole) - 4, len(whole))]
    for _ in range(25):
        start = draw.randrange(len(whole))
        asked.append((start, min(len(whole), start + draw.choice((1, 9_000, SMALL, 2_000_000)))))
    async with sending(source, MIXED, tls) as (session, url):
        for start, end in asked:
            query = {"start": str(start), "end": str(end)}
            async with session.get(url, params=query) as response:
                body = await response.read()
                assert response.headers["Content-Length"] == str(end - start)
                assert body == whole[start:end], (start, end)


async def test_connections_are_used_again(source: Path) -> None:
    """After sendfile the connection still speaks HTTP."""
    async with sending(source, MIXED) as (session, url):
        for _ in range(5):
            async with session.get(url) as response:
                assert len(await response.read()) == MIXED.size
        assert session.connector is not None


@pytest.mark.parametrize(
    "segments", [(Stored(0, 8 << 20),), (b"head", Stored(0, 8 << 20), b"tail")]
)
async def test_source_that_ends_early(
    source: Path, tls: ssl.SSLContext | None, segments: tuple[Segment, ...]
) -> None:
    """The connection breaks; the answer never looks whole."""
    async with sending(source, plan(*segments), tls) as (session, url):
        os.truncate(source, 3 << 20)
        async with session.get(url) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        async with session.get(url, params={"start": "0", "end": "1000"}) as response:
            assert len(await response.read()) == 1000


async def test_small_answer_from_a_source_that_ends_early(source: Path) -> None:
    """Nothing was sent yet, so it can be said."""
    async with sending(source, plan(b"head", Stored(5 << 20, (5 << 20) + 9))) as (session, url):
        os.truncate(source, 3 << 20)
        async with session.get(url) as response:
            assert response.status == 503
            assert "Retry-After" in response.headers


async def test_source_that_is_truncated_while_it_is_sent(source: Path) -> None:
    """The client reads slowly, so the server is in the midst of it."""
    planned = plan(b"head", Stored(0, 12 << 20), b"tail")
    async with sending(source, planned) as (session, url), session.get(url) as response:
        await response.content.readexactly(100)
        os.truncate(source, 11 << 20)
        await asyncio.sleep(0.1)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_source_that_changes_while_it_is_sent(
    source: Path, tls: ssl.SSLContext | None
) -> None:
    planned = plan(b"head", Stored(0, 12 << 20), b"tail")
    async with sending(source, planned, tls) as (session, url), session.get(url) as response:
        await response.content.readexactly(100)
        with source.open("r+b") as file:
            file.write(b"changed")
        await asyncio.sleep(0.1)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_tickets_and_blocks_over_tls(data: Path, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with serving(settings_of(data), tls=context) as live:
        reply = await live.get("/reads/large")
        assert all(url.startswith("https://127.0.0.1:") for url in reply.urls)
        over_tls = await live.whole(reply)
    async with serving(settings_of(data)) as live:
        assert await live.whole(await live.get("/reads/large")) == over_tls


async def test_a_kernel_without_sendfile(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the file is read at explicit offsets: transfers side by side must not mix."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "not for this file system")

    monkeypatch.setattr(os, "sendfile", refuse)
    whole = rendered(list(MIXED.segments))
    starts = [0, 5, 1_000_000, 3_000_000]

    async with sending(source, MIXED) as (session, url):

        async def fetch(start: int) -> bytes:
            async with session.get(url, params={"start": str(start)}) as response:
                return await response.read()

        for start, body in zip(starts, await asyncio.gather(*map(fetch, starts)), strict=True):
            assert body == whole[start:], start
