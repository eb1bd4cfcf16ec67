"""What the catalogue keeps of files, and forgets with them."""

import random
import string
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.sql.selectable import FromClause

from formats.fasta import FaiEntry, GziEntry
from server.database import Database
from server.refget.digests import Digests
from server.refget.registry import (
    Alias,
    FileKind,
    Record,
    Source,
    add_aliases,
    add_records,
    add_sequences,
    blocks_of,
    complete_file,
    flat_urls,
    forget_orphans,
    known_file,
    known_files,
    open_file,
    records_of,
    remove_file,
    set_blocks,
    set_circular,
)
from server.refget.seqcol import Collection
from server.refget.tables import ALIASES, ATTRIBUTES, BLOCKS, COLLECTIONS, FILES, PLACES, SEQUENCES

DIGESTS = Digests.from_residues(b"A")
TEXTS = {"a": b"ACGT", "b": b"ACGTA", "again": b"ACGT"}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = Database(database_url)
    with database._engine.begin() as opened:
        yield opened
    database.close()


def record(position: int, name: str) -> Record:
    text = TEXTS[name]
    return Record(
        position, FaiEntry(name, len(text), 3, 60, 61), Digests.from_residues(text), len(text)
    )


def write_down(connection: Connection, url: str, *names: str, source: Source = Source.ADDED) -> int:
    file = open_file(connection, url, FileKind.FASTA, source, "1")
    records = [record(position, name) for position, name in enumerate(names)]
    add_records(connection, file, records)
    collection = Collection(
        names, [each.length for each in records], [each.digests.ga4gh for each in records]
    )
    complete_file(connection, file, collection)
    return file.id


def count(connection: Connection, table: FromClause) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_records_come_back(connection: Connection) -> None:
    file = write_down(connection, "/x.fa", *TEXTS)
    found = records_of(connection, file)
    assert [each.record for each in found] == [record(at, name) for at, name in enumerate(TEXTS)]
    assert found[0].id == found[2].id != found[1].id
    set_circular(connection, found[1].id)
    assert [each.circular for each in records_of(connection, file)] == [False, True, False]


def test_a_file_goes_on_where_it_stopped(connection: Connection) -> None:
    file = open_file(connection, "/x.fa", FileKind.FASTA, Source.LOCATION, "1")
    assert (file.known, file.complete) == (0, False)
    add_records(connection, file, [record(0, "a")])
    again = open_file(connection, "/x.fa", FileKind.FASTA, Source.ADDED, "1")
    assert (again.id, again.known, again.complete) == (file.id, 1, False)
    found = known_file(connection, "/x.fa")
    assert found is not None
    assert found.source is Source.ADDED
    open_file(connection, "/x.fa", FileKind.FASTA, Source.LOCATION, "1")
    assert [(each.url, each.source) for each in known_files(connection)] == [
        ("/x.fa", Source.ADDED)
    ]


def test_another_version_begins_anew(connection: Connection) -> None:
    number = write_down(connection, "/x.fa", "a", "b")
    add_aliases(connection, [(each.id, Alias("z", "y")) for each in records_of(connection, number)])
    file = open_file(connection, "/x.fa", FileKind.FASTA, Source.LOCATION, "2")
    assert (file.known, file.complete) == (0, False)
    add_records(connection, file, [record(0, "a")])
    complete_file(connection, file, None)
    forget_orphans(connection)
    tables = (SEQUENCES, PLACES, ALIASES, COLLECTIONS, ATTRIBUTES)
    assert [count(connection, each) for each in tables] == [1, 1, 1, 0, 0]
    found = known_file(connection, "/x.fa")
    assert found is not None
    assert (found.source, found.collection) == (Source.ADDED, None)


def test_what_another_file_holds_stays(connection: Connection) -> None:
    first = write_down(connection, "/x.fa", "a", "b")
    second = write_down(connection, "/y.fa", "a")
    other = write_down(connection, "/z.fa", "a")
    assert len({each.collection for each in known_files(connection)}) == 2
    remove_file(connection, first)
    remove_file(connection, other)
    assert [each.id for each in known_files(connection)] == [second]
    assert [count(connection, each) for each in (SEQUENCES, COLLECTIONS)] == [1, 1]
    remove_file(connection, second)
    tables = (FILES, SEQUENCES, PLACES, ALIASES, COLLECTIONS, ATTRIBUTES)
    assert [count(connection, each) for each in tables] == [0] * 6


def test_blocks_belong_to_a_version(connection: Connection) -> None:
    blocks = (GziEntry(0, 0), GziEntry(100, 65_280), GziEntry(1 << 40, 1 << 41))
    file = open_file(connection, "/x.fa.gz", FileKind.FASTA, Source.ADDED, "1")
    assert blocks_of(connection, "/x.fa.gz", "1") is None
    set_blocks(connection, file, blocks[:1])
    set_blocks(connection, file, blocks)
    assert blocks_of(connection, "/x.fa.gz", "1") == blocks
    assert blocks_of(connection, "/x.fa.gz", "2") is None
    remove_file(connection, file.id)
    assert count(connection, BLOCKS) == 0


def test_aliases_are_given_once(connection: Connection) -> None:
    ids = add_sequences(connection, [(Digests.from_residues(text), 4) for text in (b"A", b"C")])
    names = [(number, Alias("insdc", name)) for number in ids for name in ("x", "y")]
    assert add_aliases(connection, [*names[:2], *names]) == 4
    assert add_aliases(connection, [*names, (ids[0], Alias("ucsc", "x"))]) == 1
    assert add_aliases(connection, []) == 0


def test_thousands_at_once(connection: Connection) -> None:
    texts = [b"A" * number for number in range(1, 1300)]
    sequences = [(Digests.from_residues(text), len(text)) for text in texts]
    ids = add_sequences(connection, sequences + sequences[:100])
    assert len(set(ids)) == 1299
    assert ids[1299:] == ids[:100]
    assert add_sequences(connection, sequences) == ids[:1299]


def test_names_of_any_length(connection: Connection) -> None:
    """Files know no limit; indexes of databases do, of what cannot be packed."""
    name = "".join(random.Random(1).choices(string.ascii_letters + "äß日本", k=9_000))
    file = open_file(connection, "/x.fa", FileKind.FASTA, Source.ADDED, "1")
    add_records(connection, file, [Record(0, FaiEntry(name, 1, 1, 1, 2), DIGESTS, 1)])
    assert [each.record.entry.name for each in records_of(connection, file.id)] == [name]


def test_flat_files(connection: Connection) -> None:
    open_file(connection, "/store/ab", FileKind.FLAT, Source.ADDED, "1")
    write_down(connection, "/x.fa", "a")
    assert flat_urls(connection) == ["/store/ab"]
