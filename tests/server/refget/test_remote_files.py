"""Residues from S3 and from behind HTTP: the same, pinned, and no more bytes than are needed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from server.config import CacheSection
from server.database import Database
from server.location_settings import Location
from server.refget import open_files as module
from server.refget.catalogue import KnownSequence
from server.refget.file_locator import FileLocator
from server.refget.files import SequenceFiles, SequenceUnavailable
from server.refget.ingest import ingest, open_pinned, settled_stat
from server.refget.registry import Source
from server.storage import open_file
from storage_backends.base import StorageBackend
from tests.server.refget.sequence_files import bgzf, fasta, known, read_everyhow, residues, twobit
from tests.support.stores import RunningStore, StaticStore

TEXT = residues(3_000_000, 3)
RECORDS = {"a": residues(1000, 1), "b": TEXT, "c": residues(70_000, 2)}
PACKED: dict[str, bytes] = {
    "x.fa": fasta(RECORDS),
    "x.fa.gz": bgzf(fasta(RECORDS)),
    "x.2bit": twobit(RECORDS),
    "odd.fa": fasta({**RECORDS, "b": b"*" + TEXT[:1000] + b"-" + TEXT[1000:]}),
}

Put = Callable[[str, bytes], str]


@pytest.fixture(params=["s3", "http"])
def put(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts an object, and gives its URL."""
    if request.param == "s3":
        store: RunningStore = request.getfixturevalue("moto_store")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.endpoint_url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", store.region)
        bucket = store.new_bucket()

        def to_bucket(key: str, data: bytes) -> str:
            store.put(bucket, key, data)
            return f"s3://{bucket}/{key}"

        return to_bucket
    static: StaticStore = request.getfixturevalue("static_store")
    folder = uuid.uuid4().hex

    def to_folder(key: str, data: bytes) -> str:
        static.put(f"{folder}/{key}", data)
        return f"{static.endpoint_url}/{folder}/{key}"

    return to_folder


def open_remote(url: str) -> tuple[StorageBackend, str]:
    return open_file(url, [Location(url="s3://elsewhere")], CacheSection(revalidate_seconds=0))


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database()
    yield opened
    opened.close()


@pytest.fixture
async def locator() -> AsyncIterator[FileLocator]:
    opened = FileLocator(open_remote)
    yield opened
    await opened.close()


async def add(database: Database, locator: FileLocator, url: str) -> None:
    locator.start(asyncio.get_running_loop())
    backend, key = locator(url)
    fingerprint = (await settled_stat(backend, key)).fingerprint
    opened = open_pinned(backend, key, fingerprint)
    await asyncio.to_thread(ingest, database, url, Source.ADDED, fingerprint, opened)


@pytest.mark.parametrize("name", PACKED)
async def test_every_kind_of_file(
    name: str, put: Put, database: Database, locator: FileLocator
) -> None:
    await add(database, locator, put(name, PACKED[name]))
    files = SequenceFiles(locator, database)
    sequence = known(database, TEXT)
    for start, end in ((0, 10), (999, 1001), (70_000, 71_000), (5, 300_000), (0, 3_000_000)):
        assert await read_everyhow(files, sequence, start, end) == TEXT[start:end]
    await files.close()


async def unavailable(files: SequenceFiles, sequence: KnownSequence, start: int, end: int) -> None:
    with pytest.raises(SequenceUnavailable):
        await files.residues(sequence, start, end)
    with pytest.raises(SequenceUnavailable):
        _ = [piece async for piece in files.stream(sequence, start, end)]
    with pytest.raises(SequenceUnavailable):
        await asyncio.to_thread(files.residues_now, sequence, start, end)


@pytest.mark.parametrize("name", ["x.fa", "x.fa.gz"])
async def test_an_object_that_was_replaced(
    name: str, put: Put, database: Database, locator: FileLocator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMOTE_SECONDS", 0.0)
    url = put(name, PACKED[name])
    await add(database, locator, url)
    files = SequenceFiles(locator, database)
    sequence = known(database, TEXT)
    await read_everyhow(files, sequence, 0, 1000)
    await asyncio.sleep(1.1)  # a web server tells versions apart by the second
    other = PACKED[name].replace(b"A", b"C") if name == "x.fa" else bgzf(fasta({"b": TEXT}))
    assert put(name, other) == url
    await unavailable(files, sequence, 0, 1000)
    await unavailable(files, sequence, 1_000_000, 2_000_000)
    await files.close()


async def test_a_little_costs_little(
    moto_store: RunningStore,
    database: Database,
    locator: FileLocator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_store.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", moto_store.region)
    bucket = moto_store.new_bucket()
    moto_store.put(bucket, "x.fa.gz", PACKED["x.fa.gz"])
    await add(database, locator, f"s3://{bucket}/x.fa.gz")
    files = SequenceFiles(locator, database)
    sequence = known(database, TEXT)
    await files.residues(sequence, 1_000_000, 1_000_100)
    moto_store.log.clear()
    for start in range(1_000_000, 1_030_000, 100):
        assert await files.residues(sequence, start, start + 90) == TEXT[start : start + 90]
    assert [each for each in moto_store.log.requests if each.method == "GET"] == []
    await files.close()


def test_what_is_no_file_of_sequences(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a FASTA or 2bit file"):
        open_remote("s3://bucket/folder")
