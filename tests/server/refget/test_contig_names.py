"""What a name means for one object, as long as that object and the catalogue stay as they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import server.refget.contig_names as contig_names
from formats.errors import UnknownReference
from formats.regions import UNPLACED, Region
from server.app import open_catalog, open_library
from server.catalog import Catalog
from server.database import METADATA, Database, DatabaseUnavailable
from server.model import Endpoint
from server.refget.catalogue import SequenceCatalogue
from server.refget.contig_names import ContigNames
from server.refget.registry import Alias, Source
from server.slicing.library import Library
from tests.formats.byte_records import bam_header
from tests.server.live import settings_of
from tests.server.refget.written_files import md5_of, write_down
from tests.support.bgzf_layout import write_bgzf

ONE, TWO = b"ACGTACGTAC", b"TTTTTTTTTT"


def write_bam(path: Path, residues: bytes) -> None:
    text = f"@SQ\tSN:1\tLN:10\tM5:{md5_of(residues)}\n"
    write_bgzf(path, [bam_header(text.encode(), [(b"1", 10)])])


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Catalog, Library]]:
    write_bam(tmp_path / "x.bam", ONE)
    settings = settings_of(tmp_path)
    catalog = open_catalog(settings)
    library = open_library(settings, catalog)
    yield catalog, library
    await library.close()


async def meaning(opened: tuple[Catalog, Library], names: ContigNames, name: str) -> str | None:
    catalog, library = opened
    item = await catalog.resolve(Endpoint.READS, "x", None)
    slicer = await library.slicer(item, indexed=False)
    regions = (Region(name, 3, 9), Region(UNPLACED), Region("1", 2, 4))
    try:
        resolved = await names.resolve(item, slicer, regions)
    except UnknownReference:
        return None
    assert (resolved[0].start, resolved[0].end) == (3, 9)
    assert resolved[1:] == regions[1:]
    return resolved[0].reference_name


async def test_a_file_that_changes(opened: tuple[Catalog, Library], tmp_path: Path) -> None:
    database = Database()
    write_down(database, "/a.fa", {"chr1": ONE, "chrT": TWO})
    names = ContigNames(SequenceCatalogue(database), opened[1])
    assert await meaning(opened, names, "chr1") == "1"
    assert await meaning(opened, names, "chrT") is None
    write_bam(tmp_path / "x.bam", TWO)
    assert await meaning(opened, names, "chr1") is None
    assert await meaning(opened, names, "chrT") == "1"
    database.close()


async def test_a_catalogue_that_changes(
    opened: tuple[Catalog, Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    names = ContigNames(SequenceCatalogue(database), opened[1])
    assert await meaning(opened, names, "chr1") is None
    write_down(database, "/a.fa", {"chr1": ONE})
    assert await meaning(opened, names, "chr1") is None  # kept for some seconds
    monkeypatch.setattr(contig_names, "_SECONDS", 0.0)
    assert await meaning(opened, names, "chr1") == "1"
    database.close()


async def test_a_database_that_does_not_answer(opened: tuple[Catalog, Library]) -> None:
    database = Database()
    names = ContigNames(SequenceCatalogue(database), opened[1])
    database.run(METADATA.drop_all)
    with pytest.raises(DatabaseUnavailable):
        await meaning(opened, names, "chr1")
    assert await meaning(opened, names, "1") == "1"
    database.close()


async def test_many_names_in_one_query() -> None:
    database = Database()
    records = {f"s{number}": b"A" * (number + 1) for number in range(600)}
    write_down(database, "/many.fa", records, aliases={"s7": Alias("ucsc", "seven")})
    write_down(database, "/gone.fa", {"gone": b"A"}, source=Source.LOCATION)
    write_down(database, "/odd.fa", {"odd": b"AC"}, aliases={"odd": Alias("md5", "0" * 32)})
    catalogue = SequenceCatalogue(database)
    found = await catalogue.md5s_called([*records, "seven", "gone", "odd", "", "\0", "nobody"])
    assert found == {
        **{name: {md5_of(residues)} for name, residues in records.items()},
        "seven": {md5_of(b"A" * 8)},
        "odd": {md5_of(b"AC"), "0" * 32},
    }
    catalogue.serve(["/gone.fa"])
    assert await catalogue.md5s_called(["gone"]) == {"gone": {md5_of(b"A")}}
    database.close()
