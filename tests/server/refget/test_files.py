"""Residues from every kind of file, and none from a file that is not what was written down."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pysam
import pytest

from server.database import Database
from server.refget import open_files as module
from server.refget.catalogue import KnownSequence
from server.refget.digests import Digests
from server.refget.files import SequenceFiles, SequenceUnavailable
from server.refget.flat_store import FlatStore
from storage_backends.base import StorageBackend, StorageUnavailable
from storage_backends.local import LocalBackend
from tests.server.refget.sequence_files import (
    add_async,
    bgzf,
    fasta,
    known,
    locate,
    read_everyhow,
    residues,
    twobit,
    write,
)

RECORDS = {
    "one": residues(200_000, 1),
    "two": residues(70_000, 2, "ACGTN"),
    "tiny": b"ACG",
    "iupac": residues(500, 3, "ACGTRYKM"),
}
PLAIN = {name: text for name, text in RECORDS.items() if name != "iupac"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
async def files(database: Database) -> AsyncIterator[SequenceFiles]:
    opened = SequenceFiles(locate, database)
    yield opened
    await opened.close()


def pieces_of(text: bytes) -> Iterator[tuple[int, int]]:
    draw = random.Random(len(text))
    yield from ((0, 0), (0, 1), (0, len(text)), (len(text) - 1, len(text)))
    for size in (1, 59, 61, 1000, 66_000, 140_000):
        start = draw.randrange(len(text))
        yield start, min(start + size, len(text))


STORED = {
    "plain": (fasta(RECORDS), RECORDS),
    "lower": (fasta(RECORDS).lower(), RECORDS),
    "crlf": (fasta(RECORDS, 70, b"\r\n"), RECORDS),
    "one line": (fasta(RECORDS, 1 << 20), RECORDS),
    "no last line end": (fasta(RECORDS)[:-1], RECORDS),
    "bgzf": (bgzf(fasta(RECORDS)), RECORDS),
    "2bit": (twobit(PLAIN), PLAIN),
    "2bit of the other byte order": (twobit(PLAIN, ">"), PLAIN),
    "more than letters": (
        fasta({name: text.replace(b"A", b"a*", 9) + b"-1" for name, text in RECORDS.items()}),
        RECORDS,
    ),
}


@pytest.mark.parametrize("kind", STORED)
async def test_every_kind_of_file(
    kind: str, tmp_path: Path, database: Database, files: SequenceFiles
) -> None:
    data, records = STORED[kind]
    await add_async(database, write(tmp_path / "refs.fa", data))
    for text in records.values():
        sequence = known(database, text)
        for start, end in pieces_of(text):
            assert await read_everyhow(files, sequence, start, end) == text[start:end]


async def test_the_real_files(shared_data: Path, database: Database, files: SequenceFiles) -> None:
    paths = [
        each for each in sorted((shared_data / "fasta").glob("*.fa*")) if each.suffix[-1] != "i"
    ]
    assert len(paths) == 5
    draw = random.Random(4)
    for path in paths:
        await add_async(database, str(path))
        with pysam.FastaFile(str(path)) as expected:
            for name in expected.references:
                text = expected.fetch(name).upper().encode()
                sequence = known(database, text)
                for size in (1, 10, 100, 1000, 1000, 10_000, 100_000, len(text)):
                    start = draw.randrange(len(text))
                    end = min(start + size, len(text))
                    assert await read_everyhow(files, sequence, start, end) == text[start:end]


async def test_without_the_blocks_a_bgzf_file_is_walked(tmp_path: Path, database: Database) -> None:
    await add_async(database, write(tmp_path / "a.fa.gz", bgzf(fasta(RECORDS))))
    files = SequenceFiles(locate)
    text = RECORDS["two"]
    assert await read_everyhow(files, known(database, text), 65_000, 69_999) == text[65_000:69_999]
    await files.close()


async def test_an_index_beside_a_file_is_not_believed(
    tmp_path: Path, database: Database, files: SequenceFiles
) -> None:
    await add_async(database, write(tmp_path / "a.fa.gz", bgzf(fasta(RECORDS))))
    write(tmp_path / "a.fa.gz.gzi", b"nonsense")
    write(tmp_path / "a.fa.gz.fai", b"one\t200000\t0\t60\t61\n")
    text = RECORDS["one"]
    assert await read_everyhow(files, known(database, text), 100, 90_000) == text[100:90_000]


def overwrite(path: Path, data: bytes) -> None:
    """Where it lies, which keeps the descriptors of those who have it open."""
    with path.open("r+b") as file:
        file.write(data)


def replace(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


@pytest.mark.parametrize("change", [overwrite, replace, lambda path, _: path.unlink()])
@pytest.mark.parametrize("pack", [bytes, bgzf])
async def test_a_file_that_changed_is_not_served(
    change: Callable[[Path, bytes], None],
    pack: Callable[[bytes], bytes],
    tmp_path: Path,
    database: Database,
    files: SequenceFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOCAL_SECONDS", 0.0)
    path = tmp_path / "refs.fa"
    await add_async(database, write(path, pack(fasta({"one": RECORDS["one"]}))))
    sequence = known(database, RECORDS["one"])
    await read_everyhow(files, sequence, 0, 1000)
    change(path, pack(fasta({"one": RECORDS["one"].translate(bytes(range(256))[::-1])})))
    for start, end in ((0, 1000), (150_000, 150_100), (0, 200_000)):
        with pytest.raises(SequenceUnavailable):
            await files.residues(sequence, start, end)
        with pytest.raises(SequenceUnavailable):
            _ = [piece async for piece in files.stream(sequence, start, end)]
        with pytest.raises(SequenceUnavailable):
            await asyncio.to_thread(files.residues_now, sequence, start, end)
    assert await files.residues(sequence, 5, 5) == b""


@pytest.mark.parametrize("change", [overwrite, replace])
@pytest.mark.parametrize("pack", [bytes, bgzf])
async def test_files_that_change_while_they_are_read(
    change: Callable[[Path, bytes], None],
    pack: Callable[[bytes], bytes],
    tmp_path: Path,
    database: Database,
) -> None:
    """Whatever is given is right: that of one version or the other is asked for by its digest."""
    path = tmp_path / "refs.fa"
    versions = [residues(100_000, 7), residues(100_000, 8)]  # of equal size when plain
    stored = [pack(fasta({"one": text})) for text in versions]
    await add_async(database, write(path, stored[0]))
    sequence = known(database, versions[0])
    stop = threading.Event()

    def keep_changing() -> None:
        turn = 0
        while not stop.wait(0.002):
            turn += 1
            change(path, stored[turn % 2])
            if turn % 2 == 0:  # as it was, also by its time
                os.utime(path, ns=(0, known_ns))

    known_ns = path.stat().st_mtime_ns
    thread = threading.Thread(target=keep_changing)
    given = 0
    thread.start()
    try:
        draw = random.Random(9)
        for _ in range(150):
            files = SequenceFiles(locate, database, cache_bytes=0)
            start = draw.randrange(99_000)
            end = min(start + draw.choice([100, 1000, 80_000]), 100_000)
            try:
                got = await files.residues(sequence, start, end)
            except SequenceUnavailable:
                await asyncio.sleep(0)
            else:
                given += 1
                assert got == versions[0][start:end]
            await files.close()
    finally:
        stop.set()
        thread.join()
    assert given or change is overwrite


async def test_another_file_with_the_sequence_takes_over(
    tmp_path: Path, database: Database
) -> None:
    lost: list[str] = []
    files = SequenceFiles(locate, database, lost=lost.append)
    text = residues(5_000_000, 5)
    first = write(tmp_path / "first.fa", fasta({"a": text}))
    second = write(tmp_path / "second.fa.gz", bgzf(fasta({"b": text}, 80)))
    await add_async(database, first)
    await add_async(database, second)
    sequence = known(database, text)
    assert [place.url for place in sequence.places] == [first, second]
    got = b""
    async for piece in files.stream(sequence, 0, len(text)):
        got += piece
        assert len(piece) <= 1 << 20
        if len(got) == 2 << 20:
            overwrite(Path(first), b">a\n" + b"T" * 3000)
    assert got == text
    assert lost == [first]
    assert await files.residues(sequence, 10, 1000) == text[10:1000]
    await files.close()


class _Broken(LocalBackend):
    """A disk that does not answer."""

    def source(self, key, **_):  # type: ignore[no-untyped-def]
        raise StorageUnavailable("the store cannot be read now")


async def test_a_store_that_is_silent_is_another_matter(tmp_path: Path, database: Database) -> None:
    text = RECORDS["one"]
    urls = [write(tmp_path / name, fasta({"a": text})) for name in ("a.fa", "b.fa")]
    for url in urls:
        await add_async(database, url)

    def broken(url: str) -> tuple[StorageBackend, str]:
        return (_Broken(tmp_path), "a.fa") if url == urls[0] else locate(url)

    sequence = known(database, text)
    files = SequenceFiles(broken, database)
    assert await files.residues(sequence, 0, 10) == text[:10]
    await asyncio.to_thread(Path(urls[1]).unlink)
    other = SequenceFiles(broken, database)
    with pytest.raises(StorageUnavailable):
        await other.residues(sequence, 0, 10)
    await files.close()
    await other.close()


async def test_a_descriptor_is_lent_of_what_is_stored_flat(
    tmp_path: Path, database: Database, files: SequenceFiles
) -> None:
    store = FlatStore(tmp_path / "store")
    text = RECORDS["one"]
    await add_async(database, write(tmp_path / "a.fa", fasta({"a": text})))
    with files.lend(known(database, text)) as lent:
        assert lent is None
    await add_async(database, write(tmp_path / "a.fa", fasta({"a": text})), flat=store)
    sequence = known(database, text)
    with files.lend(sequence) as lent:
        assert lent is not None
        assert os.pread(lent[0], 1000, lent[1] + 500) == text[500:1500]
    assert await read_everyhow(files, sequence, 500, 1500) == text[500:1500]
    store.path(sequence.digests).unlink()
    with files.lend(sequence) as lent:
        assert lent is None
    assert await read_everyhow(files, sequence, 600, 1600) == text[600:1600]


async def test_more_files_than_may_be_open(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_OPEN", 2)
    texts = [residues(3000, seed) for seed in range(6)]
    for number, text in enumerate(texts):
        await add_async(database, write(tmp_path / f"{number}.fa", fasta({"a": text})))
    files = SequenceFiles(locate, database)
    sequences = [known(database, text) for text in texts]

    async def read(number: int) -> None:
        text = texts[number % 6]
        for start in range(0, 3000, 500):
            got = await files.residues(sequences[number % 6], start, start + 400)
            assert got == text[start : start + 400]

    await asyncio.gather(*map(read, range(24)))
    assert len(files._open_files._files) == 2
    await files.close()
    assert not files._open_files._files


async def test_who_is_cancelled_leaves_nothing_open(
    tmp_path: Path, database: Database, files: SequenceFiles
) -> None:
    await add_async(database, write(tmp_path / "a.fa.gz", bgzf(fasta(RECORDS))))
    sequence = known(database, RECORDS["one"])
    for _ in range(5):
        task = asyncio.create_task(files.residues(sequence, 0, 150_000))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await files.residues(sequence, 0, 150_000) == RECORDS["one"][:150_000]
    opened = list(files._open_files._files.values())
    await files.close()
    for _ in range(100):
        if all(each.readers == 0 for each in opened):
            break
        await asyncio.sleep(0.02)
    assert [each.readers for each in opened] == [0]


async def test_a_sequence_without_a_place(files: SequenceFiles) -> None:
    nowhere = KnownSequence(Digests.from_residues(b"ACGT"), 4, False, (), ())
    with pytest.raises(SequenceUnavailable):
        await files.residues(nowhere, 0, 4)
