"""What serving finds is written down in the background, once, and without asking for money."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from server.database import Database
from server.refget import location_ingest as module
from server.refget.aliases import read_names
from server.refget.file_locator import FileLocator
from server.refget.location_ingest import LocationIngest
from server.refget.registry import Source, known_file, known_files
from server.slicing.fasta_files import FastaFile, FastaOnDisk, StoredFasta
from storage_backends.base import StorageBackend, StorageUnavailable
from storage_backends.local import LocalBackend
from tests.server.refget.sequence_files import add_async, bgzf, fasta, known, residues, write

RECORDS = {"a": residues(5000, 1), "b": residues(300, 2)}


class _Remote:
    """What a store is to who reads from it: nothing that can lend a descriptor."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name == "lend":
            raise AttributeError(name)
        return getattr(self._backend, name)


def remote(root: Path) -> Any:
    return _Remote(LocalBackend(root))


def no_remote(url: str) -> tuple[StorageBackend, str]:
    raise AssertionError(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@asynccontextmanager
async def running(
    database: Database, find: Callable[[], Iterable[FastaFile]], **options: Any
) -> AsyncIterator[LocationIngest]:
    locator = FileLocator(options.pop("open_remote", no_remote))
    work = LocationIngest(database, find, locator, **options)
    assert work.pending
    await work.start()
    yield work
    await work.close()
    await locator.close()


async def done(work: LocationIngest) -> None:
    for _ in range(500):
        if not work.pending:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still pending")


def stored(root: Path, *keys: str) -> list[FastaFile]:
    return [StoredFasta(LocalBackend(root), key) for key in keys]


async def test_what_is_found_is_written_down(tmp_path: Path, database: Database) -> None:
    write(tmp_path / "l" / "x.fa", fasta(RECORDS))
    write(tmp_path / "l" / "y.fa.gz", bgzf(fasta({"c": residues(70, 3)})))
    write(tmp_path / "l" / "bad.fa", b"nothing")
    elsewhere = write(tmp_path / "z.fa", fasta({"z": residues(9, 9)}))
    files = [
        *stored(tmp_path / "l", "x.fa", "bad.fa", "y.fa.gz", "gone.fa"),
        FastaOnDisk(Path(elsewhere)),
    ]
    names: list[str] = []
    written: list[bool] = []
    named = read_names(b"@SQ\tSN:b\tLN:300\tTP:circular\n")
    async with running(
        database,
        lambda: files,
        aliases=named,
        found=names.extend,
        written=lambda: written.append(True),
    ) as work:
        await done(work)
        await asyncio.sleep(0)
    assert names == [file.name for file in files]
    assert len(written) == 3
    known_now = database.run(known_files)
    assert [each.url.rpartition("/")[2] for each in known_now] == ["x.fa", "y.fa.gz", "z.fa"]
    assert {each.source for each in known_now} == {Source.LOCATION}
    assert all(each.complete for each in known_now)


async def test_a_file_that_changed_is_written_down_anew(tmp_path: Path, database: Database) -> None:
    url = write(tmp_path / "x.fa", fasta(RECORDS))
    async with running(database, lambda: stored(tmp_path, "x.fa")) as work:
        await done(work)
        first = database.run(lambda each: known_file(each, url))
        write(tmp_path / "x.fa", fasta({"b": RECORDS["b"]}))
        work.look_again()
        assert work.pending
        await done(work)
    second = database.run(lambda each: known_file(each, url))
    assert first is not None
    assert second is not None
    assert second.collection != first.collection


async def test_a_store_is_not_read_unasked(tmp_path: Path, database: Database) -> None:
    for name in ("x.fa", "y.fa", "z.fa"):
        write(tmp_path / "s" / name, fasta({name: residues(100, ord(name[0]))}))
    backend = remote(tmp_path / "s")
    files = [StoredFasta(backend, name) for name in ("x.fa", "y.fa", "z.fa")]
    write(tmp_path / "s" / "z.fa", fasta({"z": b"ACGT"}))
    await add_async(database, str(tmp_path / "s" / "z.fa"))
    write(tmp_path / "s" / "z.fa", fasta({"z": b"ACGTA"}))  # added, and changed since
    async with running(database, lambda: files, patterns=["*/y*"]) as work:
        await done(work)
    urls = [each.url.rpartition("/")[2] for each in database.run(known_files)]
    assert sorted(urls) == ["y.fa", "z.fa"]
    assert known(database, b"ACGTA").length == 5


async def test_a_url_in_the_settings(tmp_path: Path, database: Database) -> None:
    write(tmp_path / "y.fa", fasta(RECORDS))
    backend = remote(tmp_path)
    opened: list[str] = []

    def open_remote(url: str) -> tuple[StorageBackend, str]:
        opened.append(url)
        return backend, "y.fa"

    url = "s3://bucket/y.fa"
    patterns = [url, "s3://bucket/*.fa"]
    async with running(database, list, patterns=patterns, open_remote=open_remote) as work:
        await done(work)
    assert opened == [url]
    assert [each.url for each in database.run(known_files)] == [url]


async def test_what_cannot_be_listed_is_tried_again(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.05)
    write(tmp_path / "x.fa", fasta(RECORDS))
    looks: list[int] = []

    def find() -> Iterator[FastaFile]:
        looks.append(1)
        yield from stored(tmp_path, "x.fa")
        if len(looks) < 3:
            raise StorageUnavailable("not now")

    async with running(database, find) as work:
        await done(work)
        async with asyncio.timeout(10):
            while len(looks) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_closing_stops_it_and_keeps_what_was_done(tmp_path: Path, database: Database) -> None:
    big = {f"r{number}": residues(1_500_000, number) * 4 for number in range(8)}
    url = write(tmp_path / "x.fa", fasta(big))
    async with running(database, lambda: stored(tmp_path, "x.fa")) as work:
        for _ in range(500):
            await asyncio.sleep(0.005)
            if database.run(lambda each: known_file(each, url)) is not None:
                break
    assert work.pending
    assert not work._thread.is_alive()
    found = database.run(lambda each: known_file(each, url))
    assert found is not None
    assert not found.complete
    async with running(database, lambda: stored(tmp_path, "x.fa")) as work:
        await done(work)
    found = database.run(lambda each: known_file(each, url))
    assert found is not None
    assert found.complete


async def test_it_may_be_closed_before_it_began(database: Database) -> None:
    work = LocationIngest(database, list, FileLocator(no_remote))
    await work.close()
