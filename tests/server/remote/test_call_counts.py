"""What a store is asked: nothing twice, nothing per warm ticket, never a HEAD before each GET."""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.server.live import Live, serving
from tests.server.remote.places import Place

MIDDLE = "/reads/wide?referenceName=one&start=200000&end=600000"
REGIONS = {
    "reads.bam": "/reads/reads?referenceName=one&start=1000&end=20000",
    "wide.bam": MIDDLE,
    "reads.cram": "/reads/reads?format=CRAM&referenceName=one&start=1000&end=20000",
    "variants.vcf.gz": "/variants/variants?referenceName=one&start=1000&end=90000",
}
INDEX_NAMES = {  # that are customary for one file
    "reads.bam": {"reads.bam.csi", "reads.csi", "reads.bam.bai", "reads.bai"},
    "wide.bam": {"wide.bam.csi", "wide.csi", "wide.bam.bai", "wide.bai"},
    "reads.cram": {"reads.cram.crai", "reads.crai"},
    "variants.vcf.gz": {"variants.vcf.gz.csi", "variants.vcf.csi"}
    | {"variants.vcf.gz.tbi", "variants.vcf.tbi"},
}
INDEXES = {
    "reads.bam": ".bai",
    "wide.bam": ".bai",
    "reads.cram": ".crai",
    "variants.vcf.gz": ".tbi",
}

OTHER_NAMES = {"variants.vcf.gz": {"variants.vcf.bgz"}}

of_each_format = pytest.mark.parametrize("name", REGIONS)


def asked(place: Place) -> Counter[tuple[str, str]]:
    """How often the store was asked for what, by method and name; the log is emptied."""
    counts = Counter((each.method, each.path.rpartition("/")[2]) for each in place.log())
    place.log.clear()
    return counts


def check_cold_ticket(place: Place, name: str) -> None:
    """A HEAD for the object and each name of its index; each byte that is needed, once."""
    requests = place.log()
    counts = asked(place)
    heads = {name, *INDEX_NAMES[name], *OTHER_NAMES.get(name, ())}
    assert {key for method, key in counts if method == "HEAD"} == heads
    assert counts.pop(("GET", name + INDEXES[name])) == 1
    # The beginning and the end; and where the reads without a place begin.
    assert 1 <= counts.pop(("GET", name)) <= (3 if name == "reads.bam" else 2), requests
    assert counts == {("HEAD", key): 1 for key in heads}


@of_each_format
async def test_cold_ticket(place: Place, name: str) -> None:
    async with serving(place.settings()) as live:
        await live.get("/reads/service-info")
        assert not asked(place)
        assert (await live.get(REGIONS[name])).urls
        check_cold_ticket(place, name)


@of_each_format
async def test_many_cold_tickets_at_once(place: Place, name: str) -> None:
    async with serving(place.settings()) as live:
        replies = await asyncio.gather(*(live.get(REGIONS[name]) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        check_cold_ticket(place, name)


@of_each_format
async def test_warm_tickets_ask_nothing(place: Place, name: str) -> None:
    async with serving(place.settings()) as live:
        await live.get(REGIONS[name])
        place.log.clear()
        for query in (REGIONS[name], REGIONS[name].replace("start=1000", "start=1500")):
            assert (await live.get(query)).urls
        reply = await live.ask("POST", REGIONS[name].partition("?")[0], data=_regions(name))
        assert reply.status == 200, reply.body
        assert not asked(place), str(place.log)


def _regions(name: str) -> bytes:
    kind = {".bam": "BAM", ".cram": "CRAM", ".gz": "VCF"}[Path(name).suffix]
    return b'{"format": "%s", "regions": [{"referenceName": "one", "start": 50, "end": 99}]}' % (
        kind.encode()
    )


@of_each_format
async def test_the_header_block_asks_nothing(place: Place, name: str) -> None:
    async with serving(place.settings()) as live:
        header, *_ = (await live.get(REGIONS[name])).urls
        place.log.clear()
        assert (await live.get(header)).status == 200
        assert not asked(place)


async def blocks(live: Live, query: str) -> bytes:
    """What the body URLs of a ticket give."""
    bodies = []
    for url in (await live.get(query)).urls[1:]:
        reply = await live.get(url)
        assert reply.status == 200, reply.body
        bodies.append(reply.body)
    return b"".join(bodies)


async def read_block(live: Live, url: str) -> tuple[bytes, bool]:
    """What came of a block, and whether it was complete."""
    received = b""
    async with live.session.get(url) as response:
        assert response.status == 200
        try:
            async for piece in response.content.iter_any():
                received += piece
        except aiohttp.ClientPayloadError:
            return received, False
    return received, True


@of_each_format
async def test_short_slices_are_held(place: Place, name: str) -> None:
    """Their interior comes with their edges: at most two ranges, then none."""
    query = REGIONS[name].replace("end=600000", "end=200100")
    async with serving(place.settings()) as live:
        await live.get(query)
        place.log.clear()
        first = await blocks(live, query)
        counts = asked(place)
        assert set(counts) <= {("GET", name)}
        assert counts["GET", name] <= 2
        assert await blocks(live, query) == first
        assert not asked(place)


async def test_long_slices(place: Place, files: Path) -> None:
    """The edges and the interior; then the interior alone."""
    async with serving(place.settings()) as live:
        await live.get(MIDDLE)
        place.log.clear()
        first = await blocks(live, MIDDLE)
        assert len(first) > 2 << 20, "long enough to have an interior that is not held"
        counts = asked(place)
        assert set(counts) == {("GET", "wide.bam")}
        assert counts["GET", "wide.bam"] <= 4, (
            "two edges, one of them longer than usual, the interior"
        )
        assert await blocks(live, MIDDLE) == first
        requests = place.log()
        assert [each.method for each in requests] == ["GET"]
        assert requests[0].range is not None
        low, high = requests[0].range.removeprefix("bytes=").split("-")
        stored = (files / "wide.bam").read_bytes()[int(low) : int(high) + 1]
        assert stored in first
        assert len(first) - len(stored) < 1 << 17, "all but the edges comes from the store"


async def test_a_range_of_a_block_reads_no_more(place: Place) -> None:
    async with serving(place.settings()) as live:
        body = await blocks(live, MIDDLE)
        url = (await live.get(MIDDLE)).urls[1]
        place.log.clear()
        part = await live.get(url, Range="bytes=1000000-1000999")
        assert (part.status, part.body) == (206, body[1_000_000:1_001_000])
        requests = place.log()
        assert [each.method for each in requests] == ["GET"]
        assert requests[0].range is not None
        low, high = requests[0].range.removeprefix("bytes=").split("-")
        assert int(high) - int(low) == 999


async def test_whole_files(place: Place, files: Path) -> None:
    """No index is looked at; the body is one transfer."""
    async with serving(place.settings()) as live:
        await live.get("/reads/wide")
        counts = asked(place)
        assert counts["GET", "wide.bam"] <= 2
        assert not counts["GET", "wide.bam.bai"]
        assert await blocks(live, "/reads/wide")
        assert asked(place)["GET", "wide.bam"] <= 3
        await blocks(live, "/reads/wide")
        counts = asked(place)
        assert counts == {("GET", "wide.bam"): 1}


@of_each_format
async def test_unchanged_objects_are_looked_at_but_not_read_again(place: Place, name: str) -> None:
    async with serving(place.settings(revalidate=0.2)) as live:
        await live.get(REGIONS[name])
        for _ in range(2):
            await asyncio.sleep(0.25)
            place.log.clear()
            replies = await asyncio.gather(*(live.get(REGIONS[name]) for _ in range(8)))
            assert {reply.status for reply in replies} == {200}
            assert asked(place) == {("HEAD", name): 1, ("HEAD", name + INDEXES[name]): 1}


async def test_unknown_ids_are_asked_for_once(place: Place) -> None:
    async with serving(place.settings()) as live:
        for _ in range(3):
            assert (await live.get("/reads/nothing?format=BAM")).error == (404, "NotFound")
        counts = asked(place)
        assert set(counts.values()) == {1}
        assert {method for method, _ in counts} == {"HEAD"}


async def test_indexes_on_disk_are_not_fetched_again(place: Place, tmp_path: Path) -> None:
    settings = place.settings(directory=tmp_path / "indexes")
    async with serving(settings) as live:
        assert (await live.get(MIDDLE)).urls
        assert asked(place)["GET", "wide.bam.bai"] == 1
    async with serving(settings) as live:
        assert (await live.get(MIDDLE)).urls
        assert asked(place)["GET", "wide.bam.bai"] == 0
