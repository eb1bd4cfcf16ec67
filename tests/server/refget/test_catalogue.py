from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, update

from server.database import Database
from server.refget.catalogue import AmbiguousId, SequenceCatalogue
from server.refget.digests import Digests
from server.refget.identifiers import AliasId, Md5Id, TruncatedId, UnknownId, parse_id
from server.refget.registry import Alias, FileKind, Source, add_aliases, add_sequence
from server.refget.tables import FILES
from tests.server.refget.written_files import write_down

ONE, TWO, THREE = b"ACGT", b"ACGTA", b"ACGTAC"
ONE_ID, TWO_ID = Digests.from_residues(ONE), Digests.from_residues(TWO)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


async def test_every_form_of_a_digest(database: Database) -> None:
    write_down(database, "/a.fa", {"chr1": ONE, "chr2": TWO})
    catalogue = SequenceCatalogue(database)
    names = (ONE_ID.md5, ONE_ID.trunc512, ONE_ID.ga4gh, f"ga4gh:{ONE_ID.ga4gh}", "chr1")
    for name in names:
        found = await catalogue.find(parse_id(name))
        assert found is not None
        assert (found.digests, found.length, found.circular) == (ONE_ID, 4, False)
        assert [place.url for place in found.places] == ["/a.fa"]
        assert catalogue.find_now(parse_id(name)) == found
    for wanted in (Md5Id("0" * 32), TruncatedId(b"0" * 24), AliasId(None, "x"), UnknownId()):
        assert await catalogue.find(wanted) is None
        assert catalogue.find_now(wanted) is None


async def test_names_of_authorities(database: Database) -> None:
    names = {"chr1": Alias("insdc", "AB1.1"), "chr2": Alias("md5", "0" * 32)}
    write_down(database, "/a.fa", {"chr1": ONE, "chr2": TWO}, aliases=names)
    catalogue = SequenceCatalogue(database)
    for name in ("insdc:AB1.1", "AB1.1"):
        found = await catalogue.find(parse_id(name))
        assert found is not None
        assert (found.digests, found.aliases) == (ONE_ID, (Alias("insdc", "AB1.1"),))
    assert await catalogue.find(parse_id("refseq:AB1.1")) is None
    # The M5 of a record with more than letters leads to no sequence, which has another MD5.
    assert await catalogue.find(Md5Id("0" * 32)) is None
    assert await catalogue.authorities() == ["insdc"]


async def test_a_name_of_several_sequences(database: Database) -> None:
    write_down(database, "/a.fa", {"chr1": ONE})
    write_down(database, "/b.fa", {"chr1": TWO})
    write_down(database, "/c.fa", {"1": ONE}, aliases={"1": Alias("ucsc", "chr1")})
    catalogue = SequenceCatalogue(database)
    with pytest.raises(AmbiguousId):
        await catalogue.find(AliasId(None, "chr1"))
    with pytest.raises(AmbiguousId):
        catalogue.find_now(AliasId(None, "chr1"))
    found = await catalogue.find(AliasId("ucsc", "chr1"))
    assert found is not None
    assert found.digests == ONE_ID


async def test_what_is_in_no_location_now_is_not_there(database: Database) -> None:
    write_down(database, "/a.fa", {"chr1": ONE}, source=Source.LOCATION)
    write_down(database, "/b.fa", {"chr1": TWO}, source=Source.LOCATION)
    write_down(database, "/c.fa", {"x": THREE}, source=Source.ADDED)
    catalogue = SequenceCatalogue(database, ["/a.fa"])
    found = await catalogue.find(AliasId(None, "chr1"))
    assert found is not None
    assert found.digests == ONE_ID
    assert await catalogue.find(Md5Id(TWO_ID.md5)) is None
    assert await catalogue.find(AliasId(None, "x")) is not None
    catalogue.serve(["/b.fa"])
    assert catalogue.kept(AliasId(None, "chr1")) is None
    found = await catalogue.find(AliasId(None, "chr1"))
    assert found is not None
    assert found.digests == TWO_ID


async def test_the_best_place_is_the_first(database: Database) -> None:
    for url in ("/a.2bit", "/b.fa", "/c"):
        write_down(database, url, {"chr1": ONE})

    def know_better(connection: Connection) -> None:
        for url, kind in (("/a.2bit", FileKind.TWOBIT), ("/c", FileKind.FLAT)):
            connection.execute(update(FILES).where(FILES.c.url == url).values(kind=kind))

    database.run(know_better)
    found = await SequenceCatalogue(database).find(Md5Id(ONE_ID.md5))
    assert found is not None
    assert [place.url for place in found.places] == ["/c", "/b.fa", "/a.2bit"]


async def test_what_was_looked_up_is_kept_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_down(database, "/a.fa", {"chr1": ONE})
    catalogue = SequenceCatalogue(database)
    wanted = Md5Id(ONE_ID.md5)
    assert catalogue.kept(wanted) is None
    found = await catalogue.find(wanted)
    assert found is not None
    write_down(database, "/b.fa", {"chr1": ONE})
    assert await catalogue.find(wanted) is found is catalogue.kept(wanted)
    renewed = await catalogue.renew(wanted)
    assert renewed is not None
    assert len(renewed.places) == 2
    assert catalogue.kept(wanted) is renewed
    monkeypatch.setattr("server.refget.catalogue._SECONDS", -1)
    assert catalogue.kept(wanted) is None
    # What is unknown is looked up every time: it may be written down at any moment.
    assert await catalogue.find(AliasId(None, "new")) is None
    write_down(database, "/c.fa", {"new": TWO})
    assert await catalogue.find(AliasId(None, "new")) is not None


async def test_not_everything_is_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.refget.catalogue._MOST_KEPT", 2)
    write_down(database, "/a.fa", {"a": ONE, "b": TWO, "c": THREE})
    catalogue = SequenceCatalogue(database)
    names = [AliasId(None, name) for name in "abc"]
    for name in names:
        assert await catalogue.find(name) is not None
    assert [catalogue.kept(name) is not None for name in names] == [False, True, True]


async def test_many_at_a_time(database: Database) -> None:
    records = {f"c{at}": b"ACGT" * (at + 1) for at in range(300)}
    write_down(database, "/a.fa", records)
    trunc512s = [Digests.from_residues(each).trunc512 for each in records.values()]
    catalogue = SequenceCatalogue(database)
    found = await catalogue.find_all([*trunc512s, "0" * 48, trunc512s[0]])
    assert sorted(found) == sorted(trunc512s)
    assert [found[each].length for each in trunc512s] == [4 * (at + 1) for at in range(300)]
    assert await catalogue.find_all([]) == {}


async def test_a_sequence_without_a_place_is_not_there(database: Database) -> None:
    def work(connection: Connection) -> None:
        number = add_sequence(connection, ONE_ID, 4)
        add_aliases(connection, [(number, Alias("insdc", "A"))])

    database.run(work)
    for name in (ONE_ID.md5, "insdc:A"):
        assert await SequenceCatalogue(database).find(parse_id(name)) is None
