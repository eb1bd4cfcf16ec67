"""References by names that other files have for the same sequences, and by no others."""

import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pysam
import pysam.bcftools
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from auth.capability import CapabilityCodec
from server.app import open_catalog, open_library
from server.database import Database
from server.errors import error_middleware
from server.htsget.answers import Answers
from server.htsget.blocks import Blocks
from server.htsget.routes import HtsgetRoutes
from server.htsget.ticket import TicketMaker
from server.refget.catalogue import SequenceCatalogue
from server.refget.contig_names import MOST_NAMES, ContigNames
from server.refget.registry import Alias, Source
from tests.server.live import SECRET, settings_of
from tests.server.refget.written_files import md5_of, write_down

Client = TestClient[web.Request, web.Application]

_draw = random.Random(7)
ONE, TWO, TWIN, BARE, OTHER = (
    bytes(_draw.choices(b"ACGT", k=length)) for length in (5000, 3000, 2000, 1000, 5000)
)
# Two references are one sequence, one has no M5, and one has an M5 that means nothing.
REFERENCES = {"1": ONE, "2": TWO, "twin": TWIN, "twin_again": TWIN, "bare": BARE, "odd": OTHER}
MD5S = {name: md5_of(residues) for name, residues in REFERENCES.items() if name != "bare"}
MD5S["odd"] = "not-a-digest"


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data` in four formats, each with the same references."""
    home = tmp_path_factory.mktemp("named")
    lines = [{"SN": name, "LN": len(residues)} for name, residues in REFERENCES.items()]
    for line in lines:
        if line["SN"] in MD5S:
            line["M5"] = MD5S[str(line["SN"])]
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": lines}
    with pysam.AlignmentFile(str(home / "data.bam"), "wb", header=header) as file:
        for reference, residues in enumerate(REFERENCES.values()):
            for start in range(0, len(residues) - 100, 100):
                read = pysam.AlignedSegment(file.header)
                read.query_name = f"r{reference}.{start}"
                read.reference_id, read.reference_start = reference, start
                read.cigarstring, read.query_sequence = "50M", residues[start : start + 50].decode()
                read.query_qualities = pysam.qualitystring_to_array("I" * 50)
                file.write(read)
    pysam.index(str(home / "data.bam"))
    options = ("-C", "--output-fmt-option", "no_ref=1", "-o", str(home / "data.cram"))
    pysam.view(*options, str(home / "data.bam"), catch_stdout=False)
    pysam.index(str(home / "data.cram"))
    text = "##fileformat=VCFv4.3\n" + "".join(
        f"##contig=<ID={name},length={len(residues)}"
        + (f",md5={MD5S[name]}>\n" if name in MD5S else ">\n")
        for name, residues in REFERENCES.items()
    )
    text += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    for name, residues in REFERENCES.items():
        for start in range(0, len(residues), 100):
            text += f"{name}\t{start + 1}\t.\t{chr(residues[start])}\t<DEL>\t.\t.\t.\n"
    (home / "data.vcf").write_text(text)
    to_bcf = ("-Ob", "-o", str(home / "data.bcf"), str(home / "data.vcf"))
    pysam.bcftools.view(*to_bcf, catch_stdout=False)
    pysam.bcftools.index(str(home / "data.bcf"))
    pysam.tabix_index(str(home / "data.vcf"), preset="vcf", force=True)
    return home


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    write_down(
        database,
        "/ucsc.fa",
        {"chr1": ONE, "chr2": TWO, "chrTwin": TWIN, "chrBare": BARE, "odd_name": OTHER},
        aliases={"chr1": Alias("refseq", "NC_000001.11"), "chr2": Alias("insdc", "CM000664.2")},
    )
    # Another assembly calls another sequence the same, and ours by the other's name.
    write_down(database, "/other.fa", {"chr1": OTHER, "both": ONE, "2": ONE})
    write_down(database, "/mixed.fa", {"both": TWO, "1": TWO})
    write_down(database, "/unserved.fa", {"elsewhere": ONE}, source=Source.LOCATION)
    yield database
    database.close()


@pytest.fixture
async def client(named: Path, database: Database) -> AsyncIterator[Client]:
    settings = settings_of(named)
    catalog = open_catalog(settings)
    library = open_library(settings, catalog)
    codec = CapabilityCodec(
        {"k": SECRET.encode()}, signing_kid="k", audience="test", lifetime=60, clock=lambda: 0.0
    )
    tickets = TicketMaker(codec, 1 << 30)
    names = ContigNames(SequenceCatalogue(database), library)
    answers, blocks = Answers(library, tickets, 60, names), Blocks(catalog, library)
    routes = HtsgetRoutes(catalog, answers, blocks, codec, None, 10_000, b"key")
    app = web.Application(middlewares=[error_middleware])
    routes.add_to(app)
    async with TestClient(TestServer(app)) as client:
        yield client
        await library.close()


async def records(client: Client, query: str, body: object = None) -> tuple[int, bytes]:
    """The status and the concatenated blocks of a ticket."""
    kind = "variants" if "CF" in query else "reads"
    if body is None:
        ticket = await client.get(f"/{kind}/data?{query}")
    else:
        ticket = await client.post(f"/{kind}/data?{query}", data=json.dumps(body))
    if ticket.status != 200:
        return ticket.status, b""
    pieces = []
    for each in (await ticket.json())["htsget"]["urls"]:
        block = await client.get(each["url"].partition("/blocks/")[2].join(("/blocks/", "")))
        assert block.status == 200
        pieces.append(await block.read())
    return 200, b"".join(pieces)


@pytest.mark.parametrize("format", ["BAM", "CRAM", "VCF", "BCF"])
@pytest.mark.parametrize(
    ("alias", "name"), [("chr1", "1"), ("NC_000001.11", "1"), ("chr2", "2"), ("CM000664.2", "2")]
)
async def test_one_sequence_has_many_names(
    client: Client, format: str, alias: str, name: str
) -> None:
    region = "start=120&end=420"
    own = await records(client, f"format={format}&referenceName={name}&{region}")
    assert own[0] == 200
    assert await records(client, f"format={format}&referenceName={alias}&{region}") == own


@pytest.mark.parametrize(
    "name",
    [
        "chrTwin",  # two references of the file are that sequence
        "chrBare",  # the file does not say which sequence its reference is
        "odd_name",
        "both",  # two sequences, both in the file
        "elsewhere",  # of a file that is not served now
        "Chr1",
        "refseq:NC_000001.11",
        "nobody",
        "x" * 5000,
        "%00",
        "%ED%A0%80",
    ],
)
@pytest.mark.parametrize("format", ["BAM", "VCF"])
async def test_other_names_are_unknown(client: Client, format: str, name: str) -> None:
    for _ in range(2):
        assert (await records(client, f"format={format}&referenceName={name}"))[0] == 404


async def test_own_names_come_first(client: Client) -> None:
    """Whatever other files call so."""
    own = await records(client, "referenceName=1&start=0&end=200")
    aliased = await records(client, "referenceName=chr1&start=0&end=200")
    other = await records(client, "referenceName=2&start=0&end=200")
    assert own == aliased != other


def regions(*names: str) -> Mapping[str, object]:
    return {"regions": [{"referenceName": name, "start": 0, "end": 300} for name in names]}


async def test_many_regions(client: Client) -> None:
    own = await records(client, "", regions("1", "2", "twin"))
    assert own[0] == 200
    assert await records(client, "", regions("chr2", "1", "twin", "NC_000001.11", "chr1")) == own
    many = regions(*["chr1", "chr2", "twin"] * 1000)
    assert await records(client, "", many) == own
    assert (await records(client, "", regions("chr1", "nobody")))[0] == 404


async def test_look_ups_are_few(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = 0
    run = database.run

    def counted(work, *, writing=False):  # type: ignore[no-untyped-def]
        nonlocal transactions
        transactions += 1
        return run(work, writing=writing)

    monkeypatch.setattr(database, "run", counted)
    assert (await records(client, "", regions("1", "2", "bare")))[0] == 200
    assert transactions == 0
    assert (await records(client, "", regions("1", "chr1", "chr2", "CM000664.2")))[0] == 200
    assert transactions == 1
    assert (await records(client, "", regions("chr1", "chr2")))[0] == 200
    assert transactions == 1
    too_many = regions("chr1", *(f"n{number}" for number in range(MOST_NAMES)))
    assert (await records(client, "", too_many))[0] == 404
    assert transactions == 1


async def test_without_a_database_own_names_work(client: Client, database: Database) -> None:
    database.close()
    assert (await records(client, "referenceName=1"))[0] == 200
