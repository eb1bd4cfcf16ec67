import zlib
from collections.abc import Iterator
from functools import partial

import orjson
import pytest
from sqlalchemy import Connection, update

from server.database import Database
from server.refget.collection_store import CollectionStore
from server.refget.registry import Source
from server.refget.seqcol import ATTRIBUTES, Collection, canonical
from server.refget.tables import FILES
from tests.server.refget.written_files import write_down

A = {"chr1": b"ACGT", "chr2": b"GG"}
B = {"1": b"ACGT", "2": b"GG"}
C = {"chr1": b"ACGT", "chr2": b"GC"}
D = {"other": b"A"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture
def collections(database: Database) -> list[Collection]:
    return [
        write_down(database, url, records)
        for url, records in (("/a.fa", A), ("/b.fa", B), ("/c.fa", C), ("/a2.fa", A))
    ][:3]


def test_levels(database: Database, collections: list[Collection]) -> None:
    store = CollectionStore()
    for each in collections:
        digest = each.digest
        assert database.run(partial(store.level1, digest=digest)) == each.level1()
        level2 = database.run(partial(store.level2, digest=digest))
        assert level2 is not None
        assert level2.json() == canonical(each.level2())
        arrays = level2.arrays()
        assert arrays["names"] == each.names
        assert arrays["name_length_pairs"] == list(map(canonical, pairs(each)))
        members = database.run(partial(store.members, digest=digest))
        assert members is not None
        found = [(m.name, m.length, m.digests.ga4gh) for m in members]
        assert found == list(zip(each.names, each.lengths, each.sequences, strict=True))


def pairs(collection: Collection) -> list[object]:
    value = collection.level2()["name_length_pairs"]
    assert isinstance(value, list)
    return value


def test_arrays_that_another_has_too(database: Database, collections: list[Collection]) -> None:
    store = CollectionStore()
    a, b, c = (database.run(partial(store.level2, digest=each.digest)) for each in collections)
    assert a is not None
    assert b is not None
    assert c is not None
    assert a.arrays(like=a) == {}
    assert set(b.arrays(like=a)) == {"names", "name_length_pairs"}
    assert set(c.arrays(like=a)) == {"sequences", "sorted_sequences"}


def test_attributes(database: Database, collections: list[Collection]) -> None:
    store = CollectionStore()
    level1, level2 = collections[0].level1(), collections[0].level2()
    for name in ATTRIBUTES:
        value = database.run(partial(store.attribute, name=name, digest=level1[name]))
        if name == "sorted_name_length_pairs":
            assert value is None
        else:
            assert value is not None
            assert orjson.loads(zlib.decompress(value)) == level2[name]
    for name, digest in (("names", "x"), ("other", "x"), ("lengths", level1["names"])):
        assert database.run(partial(store.attribute, name=name, digest=digest)) is None


def test_pages(database: Database, collections: list[Collection]) -> None:
    store = CollectionStore()
    digests = sorted(each.digest for each in collections)
    level1 = collections[0].level1()

    def page(number: int, size: int, *filters: tuple[str, str]) -> tuple[list[str], int]:
        return database.run(lambda c: store.page(c, filters, number, size))

    assert page(0, 2) == (digests[:2], 3)
    assert page(1, 2) == (digests[2:], 3)
    assert page(2, 2) == ([], 3)
    a, b, c = (each.digest for each in collections)
    assert page(0, 9, ("names", level1["names"])) == (sorted([a, c]), 2)
    assert page(0, 9, ("sequences", level1["sequences"])) == (sorted([a, b]), 2)
    both = [(name, level1[name]) for name in ("names", "sequences")]
    assert page(0, 9, *both) == ([a], 1)
    names = sorted({each.level1()["names"] for each in collections})
    assert database.run(lambda x: store.page_of_attribute(x, "names", 0, 9)) == (names, 2)
    assert database.run(lambda x: store.page_of_attribute(x, "names", 1, 1)) == (names[1:], 2)


def test_what_is_not_there(database: Database) -> None:
    a = write_down(database, "/a.fa", A, source=Source.LOCATION)
    b = write_down(database, "/b.fa", B, source=Source.LOCATION)
    c = write_down(database, "/c.fa", D)

    def incomplete(connection: Connection) -> None:
        connection.execute(update(FILES).where(FILES.c.url == "/c.fa").values(complete=False))

    database.run(incomplete)
    store = CollectionStore(["/a.fa"])
    for each, is_there in ((a, True), (b, False), (c, False)):
        digest = each.digest
        names = each.level1()["names"]
        assert (database.run(partial(store.level1, digest=digest)) is not None) is is_there
        assert (database.run(partial(store.level2, digest=digest)) is not None) is is_there
        assert (database.run(partial(store.members, digest=digest)) is not None) is is_there
        found = database.run(partial(store.attribute, name="names", digest=names))
        assert (found is not None) is is_there
    assert database.run(lambda x: store.page(x, [], 0, 9)) == ([a.digest], 1)
    names = a.level1()["names"]
    assert database.run(lambda x: store.page_of_attribute(x, "names", 0, 9)) == ([names], 1)
    store.serve(["/b.fa"])
    assert database.run(lambda x: store.page(x, [], 0, 9)) == ([b.digest], 1)
