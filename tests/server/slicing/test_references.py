"""References are found by digest, else by name and length, and only in the configured files."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pysam
import pytest
from aiohttp import web

from formats.errors import CorruptData
from server.slicing.fasta_files import FastaOnDisk, StoredFasta
from server.slicing.references import (
    ConfiguredReferences,
    OpenFasta,
    ReferenceSequence,
    ReferenceStore,
)
from storage_backends.base import StorageUnavailable
from storage_backends.http import HttpBackend
from storage_backends.transfer import Patience
from tests.support.faulty_store import FaultyStore, faulty_store

SEQUENCES = {"one": "ACGTNacgtn" * 40, "two": "TTTTNacgtn" * 40, "three": "ACG"}


def digest(name: str) -> str:
    return hashlib.md5(SEQUENCES[name].upper().encode(), usedforsecurity=False).hexdigest()


@pytest.fixture(params=[False, True], ids=["plain", "bgzf"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    plain = tmp_path / "ref.fa"
    plain.write_text("".join(f">{name}\n{bases}\n" for name, bases in SEQUENCES.items()))
    if not request.param:
        pysam.faidx(str(plain))
        return plain
    packed = tmp_path / "ref.fa.gz"
    pysam.tabix_compress(str(plain), str(packed))
    pysam.faidx(str(packed))
    return packed


def test_find(path: Path) -> None:
    store = ReferenceStore([FastaOnDisk(path)])
    for name, bases in SEQUENCES.items():
        for asked in (name, "other name"):
            sequence = store.find(asked, len(bases), digest(name))
            assert sequence is not None
            assert sequence.entry.name == name
            assert sequence.residues(2, 9) == bases.upper()[2:9].encode()
            assert sequence.residues(1, 10_000) == bases.upper()[1:].encode()
            assert sequence.residues(9_000, 10_000) == b""
        assert store.find(name, len(bases), None) is not None
        assert store.find(name, len(bases) + 1, None) is None
        assert store.find(name, len(bases), "0" * 32) is None
        assert store.find(name, len(bases) + 1, digest(name)) is None
    assert store.find("other name", 400, None) is None
    store.close()


def test_file_that_is_replaced_stays_readable(path: Path) -> None:
    store = ReferenceStore([FastaOnDisk(path)])
    path.unlink()
    sequence = store.find("three", 3, None)
    assert sequence is not None
    assert sequence.md5() == digest("three")
    store.close()


def test_missing_and_lying_indexes(path: Path) -> None:
    fai = path.with_name(path.name + ".fai")
    good = fai.read_text()
    fai.unlink()
    with pytest.raises(CorruptData, match=r"\.fai") as raised:
        ReferenceStore([FastaOnDisk(path)])
    assert str(path) not in str(raised.value)
    fai.write_text(good)
    gzi = path.with_name(path.name + ".gzi")
    if gzi.exists():
        gzi.unlink()
        with pytest.raises(CorruptData, match=r"\.gzi"):
            ReferenceStore([FastaOnDisk(path)])
    else:
        fai.write_text(good + "four\t100\t99999\t60\t61\n")
        with pytest.raises(CorruptData):
            ReferenceStore([FastaOnDisk(path)])


def test_configured_files_are_listed_when_needed_and_again(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.fa"
    broken.write_text(">x\nACGT\n")
    files, listed = [FastaOnDisk(broken)], []

    def find_fasta() -> list[FastaOnDisk]:
        listed.append(len(files))
        return files

    at_once, later = (ConfiguredReferences(find_fasta, each) for each in (0, 1000))
    assert not listed
    wanted = "one", len(SEQUENCES["one"]), digest("one")
    for store in (at_once, later):
        assert store.find(*wanted) is None
        assert store.find(*wanted) is None
    assert len(listed) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the FASTA file {broken} is left out: a FASTA file has no .fai index"
    ] * 2
    files.append(FastaOnDisk(path))
    assert later.find(*wanted) is None
    assert at_once.find(*wanted) is not None
    pysam.faidx(str(broken))
    assert at_once.find("x", 4, None) is not None
    assert len(caplog.records) == 2
    at_once.close()
    later.close()


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        yield store


@pytest.fixture
async def remote(store: FaultyStore, path: Path) -> AsyncIterator[StoredFasta]:
    """The same file behind HTTP."""
    put(store, path)
    patience = Patience(attempts=2, pause=0.01)
    backend = HttpBackend(store.url, revalidate=0, patience=patience)
    backend.start(asyncio.get_running_loop())
    yield StoredFasta(backend, path.name)
    await backend.close()


def put(store: FaultyStore, path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        store.put(each.name, each.read_bytes())


async def find(
    references: ReferenceStore, name: str, length: int, md5: str | None
) -> ReferenceSequence | None:
    return await asyncio.to_thread(references.find, name, length, md5)


async def test_remote_file(remote: StoredFasta, store: FaultyStore) -> None:
    references = await asyncio.to_thread(ReferenceStore, [remote])
    before = store.count("GET")
    for name, bases in SEQUENCES.items():
        found = await find(references, "other", len(bases), digest(name))
        assert found is not None
        assert await asyncio.to_thread(found.residues, 2, 9) == bases.upper()[2:9].encode()
    assert store.count("GET") - before <= 1
    assert await remote.modified_ns() is None
    references.close()


def long_fasta(path: Path, seed: int, *order: str) -> dict[str, bytes]:
    """Longer than what one read fetches: sequences of which the last is not read with the first."""
    draw = random.Random(seed)
    bases = {name: "".join(draw.choices("ACGT", k=1_500_000)) for name in order}
    plain = path.with_name("ref.fa")
    plain.write_text("".join(f">{name}\n{text}\n" for name, text in bases.items()))
    for stale in path.parent.glob(f"{path.name}.*"):
        stale.unlink()
    if path != plain:
        pysam.tabix_compress(str(plain), str(path), force=True)
    pysam.faidx(str(path))
    return {name: text.encode() for name, text in bases.items()}


def md5_of(residues: bytes) -> str:
    return hashlib.md5(residues, usedforsecurity=False).hexdigest()


async def test_remote_file_that_changes(
    remote: StoredFasta, store: FaultyStore, path: Path
) -> None:
    """Whoever reads is told to come again, and then gets the residues of the new file."""
    listed = []

    def find_fasta() -> list[StoredFasta]:
        listed.append(1)
        return [remote]

    references = ConfiguredReferences(find_fasta, 1000)
    long_fasta(path, 1, "first", "last")
    put(store, path)
    old = await find(references, "last", 1_500_000, None)
    assert old is not None
    new = long_fasta(path, 2, "last", "first")
    put(store, path)
    with pytest.raises(StorageUnavailable, match="has changed") as raised:
        await asyncio.to_thread(old.residues, 1_400_000, 1_400_100)
    assert raised.value.retry_after == 1
    assert len(listed) == 1
    for name in new:
        found = await find(references, name, 1_500_000, None)
        assert found is not None
        residues = await asyncio.to_thread(found.residues, 1_400_000, 1_400_100)
        assert residues == new[name][1_400_000:1_400_100]
    assert len(listed) == 2
    # A digest is looked for in the new file without anyone being told.
    newer = long_fasta(path, 3, "first", "last")
    put(store, path)
    found = await find(references, "last", 1_500_000, md5_of(newer["last"]))
    assert found is not None
    assert found.entry.name == "last"
    assert len(listed) == 3
    references.close()


async def test_remote_file_that_is_removed(
    remote: StoredFasta, store: FaultyStore, path: Path
) -> None:
    files = [remote]
    references = ConfiguredReferences(lambda: files, 1000)
    long_fasta(path, 1, "first", "last")
    put(store, path)
    found = await find(references, "last", 1_500_000, None)
    assert found is not None
    store.objects.clear()
    files.clear()
    with pytest.raises(StorageUnavailable, match="has changed"):
        await asyncio.to_thread(found.residues, 1_400_000, 1_400_100)
    assert await find(references, "last", 1_500_000, None) is None
    references.close()


async def test_store_that_fails_for_a_while(remote: StoredFasta, store: FaultyStore) -> None:
    """What may be there is not taken for missing, and is found once the store answers."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503)

    references = ConfiguredReferences(lambda: [remote], 0)
    store.rule = busy
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await find(references, "one", 400, digest("one"))
    store.rule = None
    assert await find(references, "one", 400, digest("one")) is not None
    assert await find(references, "nothing", 400, "0" * 32) is None
    references.close()


def test_locations_that_cannot_be_listed_now(path: Path) -> None:
    failures: list[Exception] = []

    def find_fasta() -> Iterator[FastaOnDisk]:
        yield FastaOnDisk(path)
        for failure in failures:
            raise failure

    references = ConfiguredReferences(find_fasta, 0)
    failures.append(StorageUnavailable("busy"))
    assert references.find("one", 400, digest("one")) is not None
    with pytest.raises(StorageUnavailable):
        references.find("nothing", 400, "0" * 32)
    failures.clear()
    assert references.find("nothing", 400, "0" * 32) is None
    references.close()


async def test_files_that_are_refused(
    remote: StoredFasta, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def forbid(_: web.Request) -> web.Response:
        return web.Response(status=403)

    store.rule = forbid
    references = ConfiguredReferences(lambda: [remote], 0)
    assert await find(references, "one", 400, digest("one")) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"the FASTA file {remote.name} is left out: the store refuses this server (403)"
    ]
    store.rule = None
    assert await find(references, "one", 400, digest("one")) is not None
    references.close()


async def test_a_file_is_closed_when_nobody_reads_it(path: Path) -> None:
    opened = OpenFasta(FastaOnDisk(path))
    with opened.reading() as reader:
        opened.close()
        entry = opened.sequences[0].entry
        assert reader.residues(entry, 0, 4) == b"ACGT"
    with pytest.raises(StorageUnavailable, match="closed"):
        opened.sequences[0].residues(0, 4)
