"""What the start says of locations: in words, and without waiting long."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from server.app import open_catalog
from server.reachability import NamedLocation, is_unencrypted, reason, warnings
from storage_backends.base import StorageDenied, StorageUnavailable
from tests.server.live import settings_of
from tests.support.faulty_store import FaultyStore, faulty_store
from tests.support.stores import RunningStore, logged_store


def warned_of(*locations: dict[str, Any] | Path, seconds: float = 5.0) -> list[str]:
    settings = settings_of(*locations)
    named = [
        NamedLocation(served, location.path if location.scheme == "file" else None, location.url)
        for location, served in zip(
            settings.locations, open_catalog(settings).locations, strict=True
        )
    ]
    return list(warnings(named, settings.refget.sequences, seconds))


@pytest.fixture
def faulty() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        yield store


@pytest.fixture
def bucket(moto_store: RunningStore) -> str:
    return moto_store.new_bucket()


def test_directories(data: Path, tmp_path: Path) -> None:
    assert warned_of(data, data / "reads.bam") == []
    assert warned_of(tmp_path) == [
        f"{tmp_path}: holds no BAM, CRAM, VCF, BCF or FASTA file that can be served"
    ]


def test_web_folders(faulty: FaultyStore) -> None:
    folder = {"url": f"{faulty.url}/data"}
    assert warned_of(folder) == []
    faulty.put("data/x.bam", b"x")
    assert warned_of({"url": f"{faulty.url}/data/x.bam"}) == []
    assert warned_of({"url": f"{faulty.url}/data/y.bam?sig=SECRET"}) == [
        f"{faulty.url}/data/y.bam: no such object"
    ]

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503)

    faulty.rule = busy
    assert warned_of(folder) == [f"{faulty.url}/data/: the store does not answer now (503)"]


def test_stores_that_are_not_there() -> None:
    assert warned_of({"url": "http://127.0.0.1:9/data"}) == [
        "http://127.0.0.1:9/data/: the store does not answer: no connection can be made"
    ]
    assert warned_of({"url": "https://no.such.host.invalid/data"}, seconds=60) == [
        "https://no.such.host.invalid/data/: the store does not answer: its host name is not known"
    ]


def test_a_store_that_keeps_silent_delays_the_start_only_so_long(faulty: FaultyStore) -> None:
    async def wait(_: web.Request) -> None:
        await asyncio.sleep(2)

    faulty.rule = wait
    began = time.monotonic()
    assert warned_of({"url": f"{faulty.url}/data"}, seconds=0.5) == [
        f"{faulty.url}/data/: has not answered within 0.5 seconds"
    ]
    assert time.monotonic() - began < 1.5


def test_buckets(moto_store: RunningStore, bucket: str) -> None:
    name = f"s3://{bucket}"
    assert warned_of(moto_store.location(bucket)) == [
        f"{name}: holds no BAM, CRAM, VCF, BCF or FASTA file that can be served"
    ]
    moto_store.put(bucket, "some/x.bam", b"x")
    assert warned_of(moto_store.location(bucket)) == []
    assert warned_of(moto_store.location(bucket, "some/x.bam")) == []
    assert warned_of(moto_store.location(bucket, "some/y.bam")) == [
        f"{name}/some/y.bam: no such object"
    ]
    (text,) = warned_of(moto_store.location(f"{bucket}-not"))
    assert text == f"{name}-not: the store refuses this server: there is no such bucket"
    gone = {**moto_store.location(bucket), "endpoint_url": "http://127.0.0.1:9"}
    (text,) = warned_of(gone)
    assert text == f"{name}: the store does not answer: no connection can be made"


def test_a_bucket_that_may_not_be_listed(moto_store: RunningStore, bucket: str) -> None:
    async def forbid(_: web.Request) -> web.Response:
        text = "<Error><Code>AccessDenied</Code></Error>"
        return web.Response(status=403, text=text, content_type="application/xml")

    with logged_store(moto_store) as store:
        store.log.rule = forbid
        (text,) = warned_of(store.location(bucket, "data"))
    assert text.startswith(f"s3://{bucket}/data: cannot be listed: ")
    assert "Ids work all the same" in text


@pytest.mark.parametrize(
    ("url", "unencrypted"),
    [
        ("http://192.0.2.1/data", True),
        ("http://store.example/data", True),
        ("https://192.0.2.1/data", False),
        ("http://localhost:9/data", False),
        ("http://[::1]:9/data", False),
        ("http://127.0.0.1:9", False),
        ("s3://bucket", False),
        ("/data/http:", False),
    ],
)
def test_what_travels_unencrypted(url: str, unencrypted: bool) -> None:
    assert is_unencrypted(url) is unencrypted


def test_reasons() -> None:
    denied = StorageDenied("the store refuses this server (SignatureDoesNotMatch)")
    assert reason(denied) == "the store refuses this server: the secret key is not the right one"
    assert reason(StorageDenied("no (Whatever)")) == "no (Whatever)"
    lost = StorageUnavailable("the store does not answer")
    lost.__cause__ = OSError("ConnectionTimeoutError")
    assert reason(lost) == "the store does not answer: not in time"
    lost.__cause__ = PermissionError(13, "Permission denied")
    assert reason(lost) == "the store does not answer: Permission denied"
