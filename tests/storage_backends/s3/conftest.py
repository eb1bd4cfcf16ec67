"""Buckets of the test stores, and who may be asking."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage_backends.s3 import S3Backend
from tests.storage_backends.contract import Put
from tests.support.s3_bucket import Bucket, Configure, opened
from tests.support.store_log import RequestLog
from tests.support.stores import RunningStore, logged_store


@pytest.fixture(scope="module")
def moto_bucket(moto_store: RunningStore) -> Bucket:
    return Bucket(moto_store, moto_store.client, moto_store.new_bucket())


@pytest.fixture(scope="module")
def versity_bucket(versity_store: RunningStore) -> Bucket:
    return Bucket(versity_store, versity_store.client, versity_store.new_bucket())


@pytest.fixture(autouse=True)
def _environment(store_keys: None) -> None:
    """No test finds credentials of whoever runs it."""


@pytest.fixture
def bucket(moto_bucket: Bucket) -> Bucket:
    return moto_bucket


@pytest.fixture
def prefix(bucket: Bucket) -> str:
    """A location of the test's own, with a secret beside it."""
    parent = uuid.uuid4().hex
    bucket.put(f"{parent}/outside", b"secret")
    return f"{parent}/location"


@pytest.fixture
def put(bucket: Bucket, prefix: str) -> Put:
    return lambda key, data: bucket.put(f"{prefix}/{key}", data)


@pytest.fixture
async def backend(bucket: Bucket, prefix: str) -> AsyncIterator[S3Backend]:
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), revalidate=0)) as backend:
        yield backend


@pytest.fixture
def log(bucket: Bucket) -> Iterator[tuple[Bucket, RequestLog]]:
    """The bucket behind a proxy with a log, whose rule may answer in the store's place."""
    with logged_store(bucket.store) as store:
        yield Bucket(store, bucket.client, bucket.name), store.log


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """What writes the configuration file; it is empty, and nothing comes before it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "config"
    path.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    def configure(text: str) -> None:
        path.write_text(text)

    return configure
