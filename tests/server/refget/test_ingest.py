"""What is written down of files, and what is not."""

import asyncio
import gzip
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from formats.errors import CorruptData
from server.database import Database
from server.refget import ingest as module
from server.refget.aliases import read_names
from server.refget.digesting import UnevenLines
from server.refget.digests import Digests
from server.refget.flat_store import FlatStore
from server.refget.ingest import Cancelled
from server.refget.registry import Alias, FileKind, Source, known_file, known_files, records_of
from server.refget.tables import ATTRIBUTES, COLLECTIONS, SEQUENCES
from storage_backends.base import ObjectChanged
from tests.server.refget.sequence_files import (
    add,
    bgzf,
    fasta,
    known,
    locate,
    residues,
    twobit,
    write,
)

RECORDS = {f"r{number}": residues(300 + number, number) for number in range(40)}

# refget.md, section 10, of the shared references.
COLLECTIONS_OF = {
    "Saccharomyces_cerevisiae.R64-1-1.fa.bgz.fa.gz": "ia9g4Myony-xxLsSc7eQOC_NdClGgPGu",
    "ce.fa": "WPg6NNLsGJGsMl2UNpe2es7-cqkXO1d0",
    "Homo_sapiens_assembly18.trimmed.fasta.gz": "1n_RQGG-A99fKA9Z_sM-rb4FtIMbWppO",
}
MITO = "SQ.DrOlaWEY9iBBQrAAvbrzXsQlzZRV2J59"
SOFT_MASKED = {
    "chrM": ("d2ed829b8a1628d16cbeee88e88e39eb", "SQ.0OuoW5TtYDY1wRpMuLRWJbm53fqreyy5", 16_571),
    "chr20": ("b4eac854d70893986ac578c53c2324f1", "SQ.zHQaPdSvhP4JDK7gJFv5n2GH5-8y7k5x", 1_000_000),
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def written(database: Database, url: str) -> dict[str, tuple[str, str, int]]:
    file = database.run(lambda each: known_file(each, url))
    assert file is not None
    assert file.complete
    return {
        each.record.entry.name: (
            each.record.digests.md5,
            each.record.digests.ga4gh,
            each.record.length,
        )
        for each in database.run(lambda each: records_of(each, file.id))
    }


def test_the_real_files(shared_data: Path, database: Database) -> None:
    folder = shared_data / "fasta"
    for name, digest in COLLECTIONS_OF.items():
        assert add(database, str(folder / name)).collection == digest
    assert (
        written(database, str(folder / "Homo_sapiens_assembly18.trimmed.fasta.gz")) == SOFT_MASKED
    )
    assert written(database, str(folder / next(iter(COLLECTIONS_OF))))["Mito"][1] == MITO


def test_every_kind_of_file_says_the_same(tmp_path: Path, database: Database) -> None:
    kinds = {
        "a.fa": fasta(RECORDS),
        "b.fa": fasta(RECORDS, 7, b"\r\n").lower(),
        "c.fa.gz": bgzf(fasta(RECORDS)),
        "d.2bit": twobit(RECORDS),
    }
    results = [add(database, write(tmp_path / "in" / name, data)) for name, data in kinds.items()]
    assert len({each.collection for each in results}) == 1
    assert [each.kind for each in results] == [*[FileKind.FASTA] * 3, FileKind.TWOBIT]
    assert database.run(lambda each: len(each.execute(select(SEQUENCES)).all())) == len(RECORDS)
    # Nothing is made beside the files.
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == sorted(kinds)


def test_what_is_known_is_not_read_again(tmp_path: Path, database: Database) -> None:
    url = write(tmp_path / "a.fa", fasta(RECORDS))
    assert add(database, url).digested == len(RECORDS)
    read: list[int] = []
    again = add(database, url, progress=read.append)
    assert (again.digested, again.records, read) == (0, len(RECORDS), [])


def test_interrupted_work_goes_on(tmp_path: Path, database: Database) -> None:
    big = {f"r{number}": residues(400_000, number) for number in range(12)}
    url = write(tmp_path / "a.fa", fasta(big))
    for after in (3, 5):
        calls = iter(range(100))
        with pytest.raises(Cancelled):
            add(database, url, is_cancelled=lambda calls=calls, after=after: next(calls) > after)
    file = database.run(lambda each: known_file(each, url))
    assert file is not None
    assert not file.complete
    before = len(database.run(lambda each: records_of(each, file.id)))
    assert 0 < before < 12
    result = add(database, url)
    assert (result.digested, result.records) == (12 - before, 12)
    other = add(database, write(tmp_path / "b.fa.gz", bgzf(fasta(big))))
    assert result.collection == other.collection


def test_several_at_once_do_the_work_once(tmp_path: Path, database_url: str) -> None:
    url = write(tmp_path / "a.fa", fasta({"a": residues(3_000_000)}))
    others = [Database(database_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda each: add(each, url), others))
    assert sorted(each.digested for each in results) == [0, 0, 1]
    for each in others:
        each.close()


UNEVEN = b">a\nACGT\nAC\nACGT\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (UNEVEN, "the lines of a are of uneven length"),
        (b">a\nACGT\n>b\nAC>GT\n", "the lines of b"),
        (b">a\nACGT\n>a\nAC\n", "repeats a name"),
        (b">a\nAC\n>\nAC\n", "leaves it out"),
        (b">" + b"a" * 2000 + b"\nACGT\n", "too long"),
        (b"", "neither FASTA nor 2bit"),
        (b"BAM\x01", "neither FASTA nor 2bit"),
        (twobit(RECORDS)[:-9], "does not lie within its file"),
        (bgzf(fasta(RECORDS))[:-50], "BGZF"),
    ],
)
def test_what_is_refused_leaves_nothing(
    data: bytes, message: str, tmp_path: Path, database: Database
) -> None:
    with pytest.raises(CorruptData, match=message):
        add(database, write(tmp_path / "a.fa", data))
    assert database.run(known_files) == []
    assert database.run(lambda each: each.execute(select(SEQUENCES)).all()) == []


def test_plain_gzip_is_refused(tmp_path: Path, database: Database) -> None:
    with pytest.raises(CorruptData, match="bgzip"):
        add(database, write(tmp_path / "a.fa.gz", gzip.compress(fasta(RECORDS))))


def test_damage_at_random_is_refused_or_read(tmp_path: Path, database: Database) -> None:
    draw = random.Random(11)
    for whole in (fasta(RECORDS), bgzf(fasta(RECORDS)), twobit(RECORDS)):
        for _ in range(15):
            data = bytearray(whole)
            for _ in range(draw.randrange(1, 4)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            try:
                result = add(database, write(tmp_path / "a.fa", bytes(data)))
            except CorruptData:
                continue
            assert result.records


def test_names_that_no_collection_may_have(tmp_path: Path, database: Database) -> None:
    url = write(tmp_path / "a.fa", b">\xffname x\nACGT\n>b\nAC\n")
    result = add(database, url)
    assert result.collection is None
    assert "names" in result.note
    assert written(database, url)["b"][2] == 2


def test_uneven_lines_are_stored_flat(tmp_path: Path, database: Database) -> None:
    store = FlatStore(tmp_path / "store")
    with pytest.raises(UnevenLines):
        add(database, write(tmp_path / "a.fa", UNEVEN))
    result = add(database, write(tmp_path / "a.fa", UNEVEN + b">b\nac*g\n"), flat=store)
    assert result.records == 2
    for text in (b"ACGTACACGT", b"ACG"):
        sequence = known(database, text)
        assert store.path(sequence.digests).read_bytes() == text
        assert sequence.places[0].kind is FileKind.FLAT


def test_what_is_known_can_be_stored_flat_later(tmp_path: Path, database: Database) -> None:
    store = FlatStore(tmp_path / "store")
    urls = [write(tmp_path / name, fasta(RECORDS, width)) for name, width in (("a", 60), ("b", 70))]
    assert add(database, urls[0]).digested == 40
    assert add(database, urls[0], flat=store).digested == 40
    assert add(database, urls[0], flat=store).digested == 0
    assert add(database, urls[1], flat=store).digested == 40
    assert sum(path.is_file() for path in store._root.rglob("*")) == 40
    store.path(Digests.from_residues(RECORDS["r3"])).unlink()
    assert add(database, urls[0], flat=store).digested == 1
    assert store.verify(Digests.from_residues(RECORDS["r3"]))
    assert not [path for path in store._root.iterdir() if len(path.name) != 2]


def test_a_changed_file_begins_anew_and_keeps_what_is_known(
    tmp_path: Path, database: Database
) -> None:
    url = write(tmp_path / "a.fa", fasta(RECORDS))
    named = read_names(b"@SQ\tSN:r1\tLN:301\tAN:other\n")
    first = add(database, url, circular=["r1", "nobody"], aliases=named)
    assert (first.aliases, first.unknown) == (1, frozenset(["nobody"]))
    records = {name: text for name, text in RECORDS.items() if name != "r7"}
    second = add(database, write(tmp_path / "a.fa", fasta(records)), source=Source.LOCATION)
    assert second.collection != first.collection
    sequence = known(database, RECORDS["r1"])
    assert sequence.circular
    assert sequence.aliases == (Alias("sam", "other"),)
    assert database.run(lambda each: len(each.execute(select(SEQUENCES)).all())) == 39
    assert database.run(lambda each: len(each.execute(select(COLLECTIONS)).all())) == 1
    assert database.run(lambda each: len(each.execute(select(ATTRIBUTES)).all())) == 5
    file = database.run(lambda each: known_file(each, url))
    assert file is not None
    assert file.source is Source.ADDED


def test_a_file_that_changes_meanwhile(tmp_path: Path, database: Database) -> None:
    url = write(tmp_path / "a.fa", fasta({"a": residues(5_000_000)}))

    def change(done: int) -> None:
        if done > 2_000_000:
            with Path(url).open("r+b") as file:
                file.seek(4_000_000)
                file.write(b"T" * 100)

    with pytest.raises(ObjectChanged):
        add(database, url, progress=change)


def test_circular_by_digest(tmp_path: Path, database: Database) -> None:
    url = write(tmp_path / "a.fa", fasta(RECORDS))
    one, two = (Digests.from_residues(RECORDS[name]) for name in ("r1", "r2"))
    assert not add(database, url, circular=[one.md5, two.ga4gh]).unknown
    assert [known(database, RECORDS[name]).circular for name in ("r1", "r2", "r3")] == [1, 1, 0]


def test_who_waits_for_another_can_be_stopped(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    url = write(tmp_path / "a.fa", fasta(RECORDS))
    with closing(Database(database_url)) as other, other.exclusively(module.LOCK):
        begun = time.monotonic()
        with pytest.raises(Cancelled):
            add(database, url, is_cancelled=lambda: time.monotonic() - begun > 0.2)
        assert time.monotonic() - begun < 2
    assert add(database, url).digested == 40


def test_what_is_damaged_in_the_store_is_replaced(tmp_path: Path, database: Database) -> None:
    store, text = FlatStore(tmp_path / "store"), RECORDS["r3"]
    path = store.path(Digests.from_residues(text))
    write(path, text[:-1] + b"X")
    assert add(database, write(tmp_path / "a.fa", fasta(RECORDS)), flat=store).digested == 40
    assert path.read_bytes() == text


def test_many_small_records(tmp_path: Path, database: Database) -> None:
    many = {f"scaffold_{number}": residues(50, number) for number in range(5000)}
    result = add(database, write(tmp_path / "a.fa", fasta(many)))
    assert (result.records, result.digested) == (5000, 5000)
    assert len(written(database, str(tmp_path / "a.fa"))) == 5000


async def test_a_file_just_written_settles(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    backend, key = locate(str(path))
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.wait(0.005):
            path.write_bytes(b">a\nACGT\n")

    path.write_bytes(b"")
    thread = threading.Thread(target=keep_writing)
    thread.start()
    waiting = asyncio.create_task(module.settled_stat(backend, key))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    stop.set()
    thread.join()
    assert (await waiting).size == 8
