"""Direct delivery: presigned requests for long ranges, windows of our blocks for the rest, and
together the very bytes that the server alone would send."""

import random
import time
from array import array
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pysam
import pytest

from auth.capability import CapabilityCodec
from server.config import Settings, load_settings
from server.htsget.direct import LONGEST, SHORTEST, _pieces
from server.slicing.library import Plan
from server.slicing.segments import Stored
from tests.server.live import SECRET, Live, serving
from tests.server.remote.conftest import fill
from tests.server.remote.places import place_in_bucket
from tests.support.stores import RunningStore

WHOLE = "/reads/large"
MIDDLE = "/reads/large?referenceName=one&start=4000&end=18000"
SMALL = "/reads/reads?referenceName=one&start=1000&end=20000"
FILES = ("noisy.cram", "noisy.cram.crai", "noisy.vcf.gz", "noisy.vcf.gz.tbi")
LIST = {
    "regions": [
        {"referenceName": "one", "start": 100, "end": 9000},
        {"referenceName": "one", "start": 9500, "end": 9600},
        {"referenceName": "one", "start": 10_000, "end": 20_000},
    ]
}


class Direct:
    """One bucket, served directly and by proxy, and a store that verifies signatures."""

    def __init__(self, store: RunningStore, data: Path, *names: str) -> None:
        self.place = place_in_bucket(store, "folder")
        fill(self.place, data)
        for name in names:
            self.place.put(name, data / name)

    def settings(self, delivery: str, **server: Any) -> Settings:
        location = {**self.place.location, "delivery": delivery}
        flags = {"locations": [location], "server": {"secret": SECRET, **server}}
        return load_settings(None, flags)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CRAM and VCF with long interiors."""
    home = tmp_path_factory.mktemp("noisy")
    cram, vcf = home / "noisy.cram", home / "noisy.vcf.gz"
    draw = random.Random(6)
    header = pysam.AlignmentHeader.from_dict(
        {"HD": {"SO": "coordinate"}, "SQ": [{"SN": "one", "LN": 100_000}]}
    )
    options = ["no_ref=1"]
    with pysam.AlignmentFile(str(cram), "wc", header=header, format_options=options) as out:
        for at in range(18_000):
            read = pysam.AlignedSegment(header)
            read.query_name, read.reference_id, read.reference_start = "r", 0, at
            read.query_sequence, read.cigartuples = "ACGTA" * 40, [(pysam.CMATCH, 200)]
            read.query_qualities = array("B", (byte % 60 for byte in draw.randbytes(200)))
            out.write(read)
    pysam.index(str(cram))
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=one,length=3000000>"]
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for at in range(1, 2_990_000, 1000):
        lines.append(f"one\t{at}\t{draw.randbytes(1000).hex()}\tA\tC\t.\t.\t.")
    with pysam.BGZFile(str(vcf), "w", index=None) as out:
        out.write(("\n".join(lines) + "\n").encode())
    pysam.tabix_index(str(vcf), preset="vcf")
    return home


@pytest.fixture(scope="module")
def bucket(versity_store: RunningStore, data: Path) -> Direct:
    return Direct(versity_store, data)


@pytest.fixture
async def direct(bucket: Direct) -> AsyncIterator[Live]:
    async with serving(bucket.settings("direct")) as live:
        yield live


@pytest.fixture
async def proxied(bucket: Direct) -> AsyncIterator[Live]:
    async with serving(bucket.settings("proxy")) as live:
        yield live


def presigned(ticket: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in ticket["urls"] if "X-Amz-Signature" in each["url"]]


async def fetch(live: Live, ticket: dict[str, Any]) -> bytes:
    pieces = []
    for each in ticket["urls"]:
        reply = await live.ask("GET", each["url"], headers=each["headers"])
        assert reply.status == (206 if each["headers"] else 200), reply.body
        pieces.append(reply.body)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "query",
    [
        "/reads/noisy?format=CRAM",
        "/reads/noisy?format=CRAM&referenceName=one&start=4000&end=18000",
        "/variants/noisy",
        "/variants/noisy?referenceName=one&start=40000&end=2900000",
    ],
)
async def test_the_same_bytes_of_other_formats(
    versity_store: RunningStore, noisy: Path, query: str
) -> None:
    bucket = Direct(versity_store, noisy, *FILES)
    async with (
        serving(bucket.settings("direct")) as direct,
        serving(bucket.settings("proxy")) as proxied,
    ):
        spread, plain = (await direct.get(query)).json, (await proxied.get(query)).json
        assert presigned(spread)
        assert await fetch(direct, spread) == await fetch(proxied, plain)


@pytest.mark.parametrize("query", [WHOLE, MIDDLE, WHOLE + "?referenceName=one", LIST], ids=str)
async def test_the_same_bytes(direct: Live, proxied: Live, query: Any) -> None:
    async def ticket(live: Live) -> dict[str, Any]:
        ask = live.get(query) if isinstance(query, str) else live.post(WHOLE, query)
        return (await ask).json

    spread, plain = await ticket(direct), await ticket(proxied)
    assert presigned(spread)
    assert not presigned(plain)
    assert {each["class"] for each in spread["urls"][1:]} == {"body"}
    assert await fetch(direct, spread) == await fetch(proxied, plain)


async def test_short_slices_are_ours(direct: Live, proxied: Live) -> None:
    ticket = (await direct.get(SMALL)).json
    assert not presigned(ticket)
    assert len(ticket["urls"]) == 2
    assert await fetch(direct, ticket) == await fetch(proxied, (await proxied.get(SMALL)).json)


async def test_several_blocks(bucket: Direct, proxied: Live) -> None:
    """Cuts by `max_block_bytes` and pieces of the store go together."""
    async with serving(bucket.settings("direct", max_block_bytes=2 << 20)) as live:
        ticket = (await live.get(WHOLE)).json
        assert len(presigned(ticket)) >= 2
        assert await fetch(live, ticket) == await fetch(proxied, (await proxied.get(WHOLE)).json)


async def test_what_is_signed(direct: Live) -> None:
    (first, *_) = presigned((await direct.get(MIDDLE)).json)
    query = parse_qs(urlsplit(first["url"]).query)
    assert query["X-Amz-SignedHeaders"] == ["host;if-match;range"]
    assert int(query["X-Amz-Expires"][0]) <= 300
    assert set(first["headers"]) == {"Range", "If-Match"}


@pytest.mark.parametrize(
    "change",
    [
        {"Range": "bytes=0-2000000"},
        {"Range": "bytes=0-0"},
        {"Range": None},
        {"If-Match": '"another"'},
        {"If-Match": "*"},
        {"If-Match": None},
    ],
    ids=str,
)
async def test_another_request_is_refused(direct: Live, change: dict[str, str | None]) -> None:
    (first, *_) = presigned((await direct.get(MIDDLE)).json)
    fields = {name: value for name, value in {**first["headers"], **change}.items() if value}
    reply = await direct.ask("GET", first["url"], headers=fields)
    assert reply.status in (400, 403), reply.body
    assert len(reply.body) < 5000


async def test_another_key_is_refused(direct: Live) -> None:
    (first, *_) = presigned((await direct.get(MIDDLE)).json)
    other = first["url"].replace("large.bam", "reads.bam")
    assert (await direct.ask("GET", other, headers=first["headers"])).status == 403


async def test_a_replaced_object(versity_store: RunningStore, data: Path) -> None:
    bucket = Direct(versity_store, data)
    async with serving(bucket.settings("direct")) as live:
        ticket = (await live.get(MIDDLE)).json
        bucket.place.put("large.bam", data / "reads.bam")
        bucket.place.put("large.bam.bai", data / "reads.bam.bai")
        (first, *_) = presigned(ticket)
        assert (await live.ask("GET", first["url"], headers=first["headers"])).status == 412
        ours = next(each for each in ticket["urls"][1:] if not each["headers"])
        # What was planned with the ticket is at hand; it is the old version's, or refused.
        assert (await live.get(ours["url"])).status in (200, 409)


async def test_windows_are_blocks_of_their_own(direct: Live) -> None:
    ticket = (await direct.get(MIDDLE)).json
    window = next(each for each in ticket["urls"][1:] if not each["headers"])["url"]
    reply = await direct.get(window)
    part = await direct.get(window, Range="bytes=5-20", If_Range=reply.headers["ETag"])
    assert (part.status, part.body) == (206, reply.body[5:21])
    assert (await direct.get(window, If_None_Match=reply.headers["ETag"])).status == 304


async def test_a_window_of_another_plan(direct: Live) -> None:
    """Replicas whose codecs differ make other edges: cutting those would give wrong bytes."""
    ticket = (await direct.get(MIDDLE)).json
    window = next(each for each in ticket["urls"][1:] if not each["headers"])["url"]
    codec = CapabilityCodec(
        {"k1": SECRET.encode()}, signing_kid="k1", audience="htsgate", lifetime=60, clock=time.time
    )
    capability = codec.open(window.rpartition("/")[2])
    assert capability.window
    forged = codec.seal(replace(capability, block_etag="0" * 32, expires=0))
    assert (await direct.get(f"/blocks/{forged}")).error == (409, "InvalidInput")
    same = codec.seal(replace(capability, expires=0))
    assert (await direct.get(f"/blocks/{same}")).body == (await direct.get(window)).body


async def test_another_replica_answers_windows(bucket: Direct, direct: Live) -> None:
    ticket = (await direct.get(MIDDLE)).json
    async with serving(bucket.settings("direct")) as other:
        for each in ticket["urls"]:
            if not each["headers"]:
                url = other.base + urlsplit(each["url"]).path
                assert (await other.get(url)).body == (await direct.get(each["url"])).body


async def test_headers_alone(direct: Live, proxied: Live) -> None:
    query = WHOLE + "?class=header"
    ticket = (await direct.get(query)).json
    assert not presigned(ticket)
    assert await fetch(direct, ticket) == await fetch(proxied, (await proxied.get(query)).json)


def test_pieces() -> None:
    long, short = Stored(1000, 1000 + 2 * LONGEST + 5), Stored(10**9, 10**9 + SHORTEST - 1)
    plan = Plan((b"head", long, b"between", short, b"after", Stored(0, SHORTEST)), 0, "etag")
    begin = 4 + len(long)
    assert list(_pieces(plan)) == [
        (0, 4),
        Stored(1000, 1000 + LONGEST),
        Stored(1000 + LONGEST, 1000 + 2 * LONGEST),
        Stored(1000 + 2 * LONGEST, 1000 + 2 * LONGEST + 5),
        (begin, begin + 7 + len(short) + 5),
        Stored(0, SHORTEST),
    ]
    assert list(_pieces(Plan((), 0, "etag"))) == []
