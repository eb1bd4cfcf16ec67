"""What all tests share: generated samples, real files where they are at hand, a running server."""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import hypothesis
import pytest

from server.app import create_app
from server.config import load_settings
from tests.support.htsget_client import HtsgetClient
from tests.support.postgres import PostgresServer, PostgresUnavailable, postgres_server
from tests.support.running_server import running
from tests.support.samples import SHARED_DATA, Samples, build_samples
from tests.support.stores import (
    ENVIRONMENT,
    RunningStore,
    StaticStore,
    StoreUnavailable,
    moto_server,
    static_server,
    versitygw_server,
)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("htsgate", deadline=None)
hypothesis.settings.load_profile("htsgate")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The generated samples, made once per run also when several processes share the tests."""
    directory = _shared_directory(tmp_path_factory)
    with (directory / "samples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_samples(directory / "samples")


@pytest.fixture(scope="session")
def store_keys() -> Iterator[None]:
    """The credentials of all test stores in the environment, and no others."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def moto_store(
    tmp_path_factory: pytest.TempPathFactory, store_keys: None
) -> Iterator[RunningStore]:
    """An S3 store that is quick and forgiving."""
    with moto_server(tmp_path_factory.mktemp("moto")) as store:
        yield store


@pytest.fixture(scope="session")
def versity_store(
    tmp_path_factory: pytest.TempPathFactory, store_keys: None
) -> Iterator[RunningStore]:
    """A real S3 server, which verifies signatures; over one directory for all processes."""
    shared = _shared_directory(tmp_path_factory) / "versitygw"
    try:
        with versitygw_server(shared, tmp_path_factory.mktemp("versitygw")) as store:
            yield store
    except StoreUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def s3_store(request: pytest.FixtureRequest) -> RunningStore:
    """The real S3 server, or where it cannot be had the forgiving one."""
    try:
        store: RunningStore = request.getfixturevalue("versity_store")
    except pytest.skip.Exception:
        store = request.getfixturevalue("moto_store")
    return store


@pytest.fixture(scope="session")
def static_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaticStore]:
    """A directory behind HTTP."""
    directory = tmp_path_factory.mktemp("static")
    with static_server(directory, tmp_path_factory.mktemp("nginx")) as store:
        yield store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process, or skip."""
    try:
        with postgres_server() as server:
            yield server
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database; `Database`s of it should be closed."""
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a test that asks for it runs on both of them."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/htsgate.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files, or skip."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data: set SHARED_DATA")
    return SHARED_DATA


@pytest.fixture(scope="session")
def served_samples(samples: Samples) -> Iterator[str]:
    """The base URL of a server of all samples, generated and real; their keys lead to their ids."""
    locations = [{"url": str(samples.directory)}]
    if SHARED_DATA.is_dir():
        locations.append({"url": str(SHARED_DATA)})
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
            environment.delenv(name)
        settings = load_settings(None, {"locations": locations})
    with running(create_app(settings)) as url:
        yield url


@pytest.fixture
async def htsget_client(served_samples: str) -> AsyncIterator[HtsgetClient]:
    """A strict client of the server of all samples."""
    async with aiohttp.ClientSession() as session:
        yield HtsgetClient(session, served_samples)


def _shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is the same for all processes of a run."""
    directory = tmp_path_factory.getbasetemp()
    return directory.parent if "PYTEST_XDIST_WORKER" in os.environ else directory
