import gzip
import shutil
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from yarl import URL

from storage_backends.base import ObjectChanged, ObjectNotFound, StorageUnavailable
from storage_backends.http import HttpBackend, HttpOrigin
from tests.storage_backends.contract import Put, RemoteContract, settled
from tests.support.faulty_store import FaultyStore, faulty_store
from tests.support.running_server import running
from tests.support.stores import StaticStore, static_server


class Static(RemoteContract):
    """The contract over files behind a server."""

    @pytest.fixture
    def put(self, store: StaticStore) -> Put:
        return lambda key, data: store.put(f"some folder/{key}", data)

    @pytest.fixture
    def make(self, store: StaticStore) -> Callable[..., HttpBackend]:
        return partial(HttpBackend, f"{store.endpoint_url}/some folder/")


@pytest.mark.skipif(
    not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")),
    reason="nginx is not installed",
)
class TestNginx(Static):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[StaticStore]:
        with static_server(tmp_path / "files", tmp_path) as store:
            yield store


@pytest.mark.filterwarnings(  # of the server, which leaves files open when clients go
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)
class TestAiohttpStatic(Static):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[StaticStore]:
        @web.middleware
        async def folders_are_missing(
            request: web.Request, handler: Callable[..., object]
        ) -> web.StreamResponse:
            try:
                return await handler(request)  # type: ignore[misc,no-any-return]
            except web.HTTPForbidden:
                raise web.HTTPNotFound from None

        application = web.Application(middlewares=[folders_are_missing])
        application.router.add_static("/", tmp_path, follow_symlinks=True)
        with running(application) as url:
            yield StaticStore("aiohttp", url.rstrip("/"), url.rstrip("/"), tmp_path)


class InMemory(RemoteContract):
    """The contract over a server that tells less than others."""

    def configure(self, store: FaultyStore) -> None:
        raise NotImplementedError

    @pytest.fixture
    def put(self) -> Iterator[Put]:
        with faulty_store() as store:
            self.configure(store)
            self.url = store.url
            yield store.put

    @pytest.fixture
    def make(self, put: Put) -> Callable[..., HttpBackend]:
        del put
        return partial(HttpBackend, self.url)


class TestWeakTags(InMemory):
    def configure(self, store: FaultyStore) -> None:
        store.validators = "weak"


class TestTimesOnly(InMemory):
    def configure(self, store: FaultyStore) -> None:
        store.validators = "modified"


class TestNoHead(InMemory):
    def configure(self, store: FaultyStore) -> None:
        store.heads = False


class TestHeadWithoutLength(InMemory):
    def configure(self, store: FaultyStore) -> None:
        store.lengths = False


class TestChunkedBodies(InMemory):
    def configure(self, store: FaultyStore) -> None:
        store.chunked = True


class TestShortAnswers(InMemory):
    """Each holds less than was asked for, as a server may do."""

    def configure(self, store: FaultyStore) -> None:
        store.most = 700_001


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        yield store


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@example.org/folder",
        "https://secret@example.org/folder",
        "https://:secret@example.org:1/folder",
        "https://example.org:secret/folder",
        "https://[secret/folder",
        "https://example.org/folder#secret",
        "ftp://example.org/secret",
        "s3://secret/x",
        "https:///secret",
        "secret",
        "",
        "https://example.org:99999/secret",
        "https://exa mple.org/secret",
    ],
)
def test_locations_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as refusal:
        HttpBackend(url)
    assert "secret" not in "".join(traceback.format_exception(refusal.value)[-1:])


@pytest.mark.parametrize(
    ("url", "key", "expected"),
    [
        ("https://h/a", "b/c.bam", "https://h/a/b/c.bam"),
        ("https://h/a/", "b", "https://h/a/b"),
        ("https://h", "b", "https://h/b"),
        ("http://h:8080/?q", "b", "http://h:8080/b?q"),
        ("https://h/a%20b/ä c?x=%2B+%2F&y=a b", "é ?#%&+", None),
        ("https://h/a?sig=a%2Bb%2F%3D&se=2030-01-01T00%3A00Z", "k", None),
        ("https://[::1]:80/a", "k", "https://[::1]:80/a/k"),
    ],
)
async def test_what_a_key_becomes(url: str, key: str, expected: str | None) -> None:
    """The operator's own encoding is kept, a query byte for byte; a key is encoded."""
    target = str((await HttpOrigin(url).target("GET", key)).url)
    if expected is None:
        path, _, query = url.partition("?")
        expected = quote(path, safe=":/%") + "/" + quote(key) + "?" + query.replace(" ", "%20")
    assert target == expected


def test_description_without_secrets() -> None:
    backend = HttpBackend("https://h:444/a/?sig=secret")
    assert backend.describe() == "https://h:444/a/"
    assert backend.describe("b c") == "https://h:444/a/b c"


async def test_query_goes_with_every_request(store: FaultyStore) -> None:
    store.put("a/key", b"0123")
    store.heads = False
    backend = HttpBackend(f"{store.url}/a?sig=x%2Fy")
    pin = (await backend.stat("key")).fingerprint
    await backend.read("key", 0, 2, fingerprint=pin)
    await backend.available()
    assert {each.path.partition("?")[2] for each in store.asked} == {"sig=x%2Fy"}
    await backend.close()


async def test_a_server_without_head(store: FaultyStore) -> None:
    """It is tried once; then a byte is asked for, also of what is empty."""
    store.heads = False
    store.put("key", b"0123")
    store.put("empty", b"")
    backend = HttpBackend(store.url, revalidate=0)
    assert (await backend.stat("key")).size == 4
    empty = await backend.stat("empty")
    assert empty.size == 0
    assert await backend.read("empty", 0, 5, fingerprint=empty.fingerprint) == b""
    with pytest.raises(ObjectNotFound):
        await backend.stat("missing")
    assert store.count("HEAD") == 1
    assert {each.range for each in store.asked if each.method == "GET"} == {
        "bytes=0-0",
        "bytes=0-4",
    }
    assert store.connections == 1
    await backend.close()


async def test_a_server_without_head_and_ranges(store: FaultyStore) -> None:
    store.heads = store.ranges = False
    store.put("key", bytes(10_000_000))
    backend = HttpBackend(store.url)
    with pytest.raises(StorageUnavailable):
        await backend.stat("key")
    await settled(lambda: store.unfinished == 0)
    await backend.close()


async def test_what_appears_where_nothing_was_empty(store: FaultyStore) -> None:
    """An empty object is told from its successor, also by a server that tells little."""
    store.heads = False
    store.put("key", b"")
    backend = HttpBackend(store.url, revalidate=0)
    pin = (await backend.stat("key")).fingerprint
    store.put("key", b"0123")
    with pytest.raises(ObjectChanged):
        await backend.read("key", 0, 5, fingerprint=pin)
    await backend.close()


async def test_objects_that_lie_elsewhere(store: FaultyStore) -> None:
    store.put("there", b"0123456789")

    async def moved(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/key":
            return None
        return web.Response(status=302, headers={"Location": "there?now"}, text="moved")

    store.rule = moved
    backend = HttpBackend(store.url)
    pin = (await backend.stat("key")).fingerprint
    assert await backend.read("key", 3, 8, fingerprint=pin) == b"34567"
    assert store.connections == 1
    await backend.close()


def test_redirects_to_other_servers() -> None:
    origin = HttpOrigin("http://h/a", redirects=True)
    source = URL("http://h/a/k")
    assert origin.follows(source, URL("https://other/x"))
    assert not HttpOrigin("http://h/a").follows(source, URL("https://other/x"))
    assert HttpOrigin("http://h/a").follows(source, URL("http://h/x"))
    assert origin.follows(source, URL("http://h:80/x"))
    for to in ("http://other/x", "http://h:81/x", "ftp://h/x"):
        assert not origin.follows(source, URL(to))
    assert not origin.follows(URL("https://h/a/k"), URL("http://h/x"))
    with pytest.raises(ObjectNotFound):
        origin.follows(source, URL("http://h/a/k/"))


async def test_stored_compressed(store: FaultyStore) -> None:
    """What is stored is served: nobody unpacks it on the way."""
    data = gzip.compress(b"text" * 1_000)
    store.put("key", data)

    async def rule(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        fields = {"ETag": '"0001-1"', "Content-Encoding": "gzip"}
        return web.Response(headers=fields, body=data)

    store.rule = rule
    backend = HttpBackend(store.url)
    stat = await backend.stat("key")
    assert stat.size == len(data)
    assert await backend.read("key", 0, len(data), fingerprint=stat.fingerprint) == data
    await backend.close()
