"""The oracle of the sample that a test names by its key; servers of all samples, from everywhere.

The same questions are asked of samples on disk, in S3 and behind HTTP.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.app import create_app
from server.config import load_settings
from tests.support.htsget_client import HtsgetClient
from tests.support.oracle import Oracle
from tests.support.running_server import running
from tests.support.sample_recipes import SampleUnavailable
from tests.support.samples import SHARED_DATA, Samples, shared_samples
from tests.support.stores import RunningStore, StaticStore


@pytest.fixture(scope="module")
def oracle(request: pytest.FixtureRequest, samples: Samples) -> Oracle:
    """Give the key by `pytest.mark.parametrize("oracle", keys, indirect=True)`."""
    try:
        return Oracle(shared_samples().get(request.param) or samples[request.param])
    except SampleUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["disk", "s3", "http"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the samples are that the test asks for."""
    where: str = request.param
    return where


@pytest.fixture
def base_url(request: pytest.FixtureRequest, place: str) -> str:
    """The base URL of the server of the samples in that place."""
    served = {"disk": "served_samples", "s3": "served_from_s3", "http": "served_over_http"}
    url: str = request.getfixturevalue(served[place])
    return url


@pytest.fixture
async def htsget_client(base_url: str) -> AsyncIterator[HtsgetClient]:
    """A strict client of the server of the samples in that place."""
    async with aiohttp.ClientSession() as session:
        yield HtsgetClient(session, base_url)


@pytest.fixture(scope="session")
def served_from_s3(samples: Samples, s3_store: RunningStore) -> Iterator[str]:
    """The base URL of a server of all samples in S3, put there once for all who share the store."""
    folders = _folders(samples)
    with (samples.directory.parent / "upload.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "exact-done" not in s3_store.buckets():
            for bucket, directory in folders.items():
                s3_store.make_bucket(bucket)
                s3_store.put_tree(bucket, directory)
            s3_store.make_bucket("exact-done")
    with _serving([s3_store.location(bucket) for bucket in folders]) as url:
        yield url


@pytest.fixture(scope="session")
def served_over_http(samples: Samples, static_store: StaticStore) -> Iterator[str]:
    """The base URL of a server of all samples behind HTTP.

    Nothing lists what is there, so the references of CRAM files are named."""
    folders = _folders(samples)
    for name, directory in folders.items():
        (static_store.directory / name).symlink_to(directory)
    fasta = [f"{directory}/**/*.{ext}" for directory in folders.values() for ext in ("fa", "fasta")]
    with _serving([static_store.location(name) for name in folders], fasta) as url:
        yield url


def _folders(samples: Samples) -> dict[str, Path]:
    """The folders that are served, by name."""
    shared = {"exact-shared": SHARED_DATA} if SHARED_DATA.is_dir() else {}
    return {"exact-samples": samples.directory, **shared}


@contextmanager
def _serving(locations: list[dict[str, Any]], fasta: Sequence[str] = ()) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
            environment.delenv(name)
        flags = {"locations": locations, "refget": {"sequences": list(fasta)}}
        settings = load_settings(None, flags)
    with running(create_app(settings)) as url:
        yield url
