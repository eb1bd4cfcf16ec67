"""Sequences of other servers: what they send is kept if it is what was asked for, else nothing."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pysam
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select

import server.refget.upstream as upstream_module
from server.database import Database
from server.errors import error_middleware
from server.refget.catalogue import SequenceCatalogue
from server.refget.digests import Digests
from server.refget.files import SequenceFiles
from server.refget.flat_store import FlatStore
from server.refget.identifiers import AliasId, Md5Id, SequenceId, TruncatedId, UnknownId
from server.refget.registry import FileKind, Source
from server.refget.sequence_routes import SequenceRoutes
from server.refget.tables import FILES
from server.refget.upstream import UpstreamSequences
from storage_backends.base import StorageUnavailable
from storage_backends.local import LocalBackend
from storage_backends.transfer import Patience
from tests.server.live import serving, settings_of
from tests.server.refget.served_files import SERVICE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RESIDUES = b"ACGTNRYK" * 400_000  # more than one piece
DIGESTS = Digests.from_residues(RESIDUES)
MD5, TRUNCATED = Md5Id(DIGESTS.md5), TruncatedId(DIGESTS.truncated)
PATIENCE = Patience(connect=1.0, quiet=1.0, attempts=2, pause=0.01, total=2.0)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path) -> FlatStore:
    return FlatStore(tmp_path / "store")


class Other:
    """Another server, which answers as `handler` does and remembers what it was asked for."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.match_info["id"])
        self.headers.append(dict(request.headers))
        return await self._handler(request)


@asynccontextmanager
async def running(handler: Handler) -> AsyncIterator[tuple[Other, str]]:
    other = Other(handler)
    app = web.Application()
    app.router.add_get("/sequence/{id:.*}", other.handle)
    async with TestServer(app) as server:
        yield other, str(server.make_url("/sequence/"))


@asynccontextmanager
async def fetching(
    database: Database, store: FlatStore, *urls: str, most_bytes: int = 1 << 32
) -> AsyncIterator[UpstreamSequences]:
    upstream = UpstreamSequences(urls, database, store, most_bytes=most_bytes, patience=PATIENCE)
    try:
        yield upstream
    finally:
        await upstream.close()


async def body(request: web.Request) -> web.StreamResponse:
    return web.Response(body=RESIDUES)


async def nothing(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


def left(tmp_path: Path) -> list[str]:
    """The files of the store."""
    return [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()]


async def test_from_another_htsgate(database: Database, store: FlatStore, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    lines = "\n".join(RESIDUES[at : at + 60].decode().lower() for at in range(0, len(RESIDUES), 60))
    (folder / "ref.fa").write_text(f">chr1\n{lines}\n>chr2\nACGT\n")
    pysam.faidx(str(folder / "ref.fa"))
    async with (
        serving(settings_of(folder)) as live,
        fetching(database, store, f"{live.base}/sequence") as upstream,
    ):
        for _ in range(100):
            if (await live.get(f"/sequence/{DIGESTS.md5}/metadata")).status == 200:
                break
            await asyncio.sleep(0.05)
        assert await upstream.fetch(MD5)
        assert await upstream.fetch(TruncatedId(Digests.from_residues(b"ACGT").truncated))
        assert not await upstream.fetch(Md5Id("0" * 32))
    catalogue = SequenceCatalogue(database)
    for wanted in (MD5, TRUNCATED):
        known = await catalogue.find(wanted)
        assert known is not None
        assert (known.digests, known.length, known.circular) == (DIGESTS, len(RESIDUES), False)
        (place,) = known.places
        assert (place.kind, place.url) == (FileKind.FLAT, str(store.path(DIGESTS)))
    assert store.path(DIGESTS).read_bytes() == RESIDUES
    sources = database.run(lambda each: each.scalars(select(FILES.c.source)).all())
    assert set(sources) == {Source.CACHED}


async def test_the_first_that_has_it(database: Database, store: FlatStore, tmp_path: Path) -> None:
    async with (
        running(nothing) as (first, first_url),
        running(body) as (second, second_url),
        running(body) as (third, third_url),
        fetching(database, store, first_url, second_url, third_url) as upstream,
    ):
        assert await upstream.fetch(TRUNCATED)
    assert first.asked == [DIGESTS.ga4gh, DIGESTS.trunc512]
    assert second.asked == [DIGESTS.ga4gh]
    assert third.asked == []
    (headers,) = second.headers
    assert headers["Accept"].startswith("text/vnd.ga4gh.refget.v2.0.0+plain")
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Range"} & headers.keys()
    assert left(tmp_path) == [DIGESTS.trunc512]


async def test_lines_and_case_do_not_matter(database: Database, store: FlatStore) -> None:
    async def lines(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"ac\r\ngt\n")

    wanted = Digests.from_residues(b"ACGT")
    async with (
        running(lines) as (_, url),
        fetching(database, store, url) as upstream,
    ):
        assert await upstream.fetch(Md5Id(wanted.md5))
    assert store.path(wanted).read_bytes() == b"ACGT"


async def other_sequence(request: web.Request) -> web.StreamResponse:
    return web.Response(body=RESIDUES + b"A")


async def empty(request: web.Request) -> web.StreamResponse:
    return web.Response()


async def compressed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(RESIDUES), headers={"Content-Encoding": "gzip"})


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>please log in</html>", content_type="text/html")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(RESIDUES)


async def announced(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 1 << 40
    await response.prepare(request)
    await response.write(RESIDUES)
    await asyncio.sleep(60)
    return response


async def refused(request: web.Request) -> web.StreamResponse:
    raise web.HTTPForbidden


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"http://localhost:1/sequence/{request.match_info['id']}")


async def in_circles(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(str(request.url))


@pytest.mark.parametrize(
    "handler",
    [
        nothing,
        other_sequence,
        empty,
        compressed,
        page,
        endless,
        announced,
        refused,
        elsewhere,
        in_circles,
    ],
)
async def test_what_is_not_that_sequence_is_not_there(
    handler: Handler, database: Database, store: FlatStore, tmp_path: Path
) -> None:
    async with (
        running(handler) as (other, url),
        fetching(database, store, url, most_bytes=len(RESIDUES) * 3) as upstream,
    ):
        assert not await upstream.fetch(MD5)
        asked = len(other.asked)
        assert not await upstream.fetch(MD5)
        assert len(other.asked) == asked, "asked again too soon"
    assert left(tmp_path) == []
    assert await SequenceCatalogue(database).find(MD5) is None


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = len(RESIDUES)
    await response.prepare(request)
    await response.write(RESIDUES[: len(RESIDUES) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


async def failing(request: web.Request) -> web.StreamResponse:
    raise web.HTTPInternalServerError(text="secret of the other server")


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise web.HTTPNotFound


@pytest.mark.parametrize("handler", [broken, failing, silent])
async def test_a_server_that_fails(
    handler: Handler, database: Database, store: FlatStore, tmp_path: Path
) -> None:
    """Nobody knows whether the sequence is there, unless another server has it."""
    async with running(handler) as (other, url), running(body) as (_, good):
        async with fetching(database, store, url) as upstream:
            for _ in range(2):
                with pytest.raises(StorageUnavailable) as raised:
                    await upstream.fetch(MD5)
                assert url not in str(raised.value)
                assert "secret" not in str(raised.value)
            assert left(tmp_path) == []
            asked = len(other.asked)
            assert asked <= 2
        async with fetching(database, store, url, good) as upstream:
            assert await upstream.fetch(MD5)


async def test_nobody_there(database: Database, store: FlatStore) -> None:
    async with fetching(database, store, "http://127.0.0.1:1/sequence") as upstream:
        with pytest.raises(StorageUnavailable):
            await upstream.fetch(MD5)


async def test_redirects_within_a_server(database: Database, store: FlatStore) -> None:
    async def slash(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/"):
            raise web.HTTPMovedPermanently(f"{request.path}/")
        return web.Response(body=RESIDUES)

    async with running(slash) as (_, url), fetching(database, store, url) as upstream:
        assert await upstream.fetch(MD5)


async def test_single_flight(database: Database, store: FlatStore) -> None:
    go = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=RESIDUES)

    async with running(slow) as (other, url), fetching(database, store, url) as upstream:
        tasks = [asyncio.create_task(upstream.fetch(MD5)) for _ in range(50)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [True] * 49
        assert other.asked == [DIGESTS.md5]


async def test_few_at_a_time_and_not_too_many_waiting(
    database: Database, store: FlatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "_MOST_WAITING", 10)
    go = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go.wait()
        raise web.HTTPNotFound

    async with running(slow) as (other, url), fetching(database, store, url) as upstream:
        ids = [Md5Id(hashlib.md5(b"%d" % n, usedforsecurity=False).hexdigest()) for n in range(11)]
        tasks = [asyncio.create_task(upstream.fetch(each)) for each in ids]
        await asyncio.sleep(0.1)
        assert len(other.asked) == 4
        with pytest.raises(StorageUnavailable):
            await tasks[10]
        go.set()
        assert await asyncio.gather(*tasks[:10]) == [False] * 10


async def test_absence_is_forgotten(
    database: Database, store: FlatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "_ABSENT_SECONDS", 0.0)
    answers = [404, 200]

    async def later(request: web.Request) -> web.StreamResponse:
        status = answers.pop(0)
        return web.Response(status=status, body=RESIDUES if status == 200 else b"")

    async with running(later) as (_, url), fetching(database, store, url) as upstream:
        assert not await upstream.fetch(MD5)
        assert await upstream.fetch(MD5)


@pytest.mark.parametrize("wanted", [AliasId("refseq", "NC_1"), AliasId(None, "x"), UnknownId()])
async def test_names_are_not_asked_for(
    wanted: SequenceId, database: Database, store: FlatStore
) -> None:
    async with running(body) as (other, url), fetching(database, store, url) as upstream:
        assert not await upstream.fetch(wanted)
        assert other.asked == []


async def test_servers_that_ask_each_other(database: Database, store: FlatStore) -> None:
    """Each is the other's upstream: the question comes back, and is not asked again."""
    upstreams: list[UpstreamSequences] = []

    def asking(number: int) -> Handler:
        async def ask(request: web.Request) -> web.StreamResponse:
            found = await upstreams[number].fetch(MD5, request.headers.getall("Via", ()))
            return web.Response(status=200 if found else 404)

        return ask

    async with running(asking(0)) as (first, one), running(asking(1)) as (second, two):
        async with fetching(database, store, two) as a, fetching(database, store, one) as b:
            upstreams += [a, b]
            async with asyncio.timeout(0.9):
                assert not await a.fetch(MD5)
        assert (first.asked, second.asked) == ([DIGESTS.md5], [DIGESTS.md5])


async def test_closing_leaves_nothing(database: Database, store: FlatStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(RESIDUES)
        await response.prepare(request)
        await response.write(RESIDUES[:-1])
        begun.set()
        await asyncio.sleep(60)
        return response

    async with running(slow) as (_, url):
        upstream = UpstreamSequences([url], database, store, patience=PATIENCE)
        task = asyncio.create_task(upstream.fetch(MD5))
        await begun.wait()
        await asyncio.sleep(0.1)
        assert left(tmp_path) != []
        await upstream.close()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert left(tmp_path) == []


@asynccontextmanager
async def serving_routes(
    database: Database, upstream: UpstreamSequences, *, is_pending: bool = False
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    backend = LocalBackend(Path("/"))
    files = SequenceFiles(lambda url: (backend, url.removeprefix("/")), database)
    app = web.Application(middlewares=[error_middleware])
    routes = SequenceRoutes(
        SequenceCatalogue(database), files, SERVICE, 0, lambda: is_pending, upstream
    )
    routes.add_to(app)
    async with TestClient(TestServer(app)) as client:
        yield client
    await files.close()
    await backend.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("damage", [None, b"ACGT", RESIDUES[:-1] + b"A"])
async def test_what_is_lost_is_fetched_again(
    database: Database, store: FlatStore, method: str, damage: bytes | None
) -> None:
    answers = [True, True, False]

    async def twice(request: web.Request) -> web.StreamResponse:
        return await (body if answers.pop(0) else nothing)(request)

    async with (
        running(twice) as (other, url),
        fetching(database, store, url) as upstream,
        serving_routes(database, upstream) as client,
    ):
        path = f"/sequence/{DIGESTS.md5}"
        for asked in (1, 2):
            reply = await client.request(method, path)
            assert reply.status == 200
            assert await reply.read() == (RESIDUES if method == "GET" else b"")
            assert len(other.asked) == asked
            store.path(DIGESTS).unlink()
            if damage is not None:
                store.path(DIGESTS).write_bytes(damage)
            await asyncio.sleep(1.1)  # for so long a file is taken to be what it was
        for _ in range(2):
            assert (await client.request(method, path)).status == 404
        assert len(other.asked) == 3


async def test_who_waits_for_files_asks_others_first(database: Database, store: FlatStore) -> None:
    async def one(request: web.Request) -> web.StreamResponse:
        return await (body if request.match_info["id"] == DIGESTS.md5 else nothing)(request)

    async with (
        running(one) as (_, url),
        fetching(database, store, url) as upstream,
        serving_routes(database, upstream, is_pending=True) as client,
    ):
        assert (await client.get(f"/sequence/{DIGESTS.md5}")).status == 200
        assert (await client.get(f"/sequence/{'0' * 32}")).status == 503
