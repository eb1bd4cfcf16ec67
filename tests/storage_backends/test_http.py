import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from storage_backends.http import HttpBackend
from tests.storage_backends.contract import Put, RemoteContract
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
