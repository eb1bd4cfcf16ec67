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
from tests.support.running_server import running
from tests.support.samples import SHARED_DATA, Samples, build_samples

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("htsgate", deadline=None)
hypothesis.settings.load_profile("htsgate")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The generated samples, made once per run also when several processes share the tests."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with (directory / "samples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_samples(directory / "samples")


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
