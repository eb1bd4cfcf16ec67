"""Controlled data end to end: who gets what, and what is written down of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pysam
import pytest

from tests.server.access.guarded import DATASET, Guarded, guarded

READS = "/reads/study/reads"
IN_GENE = "referenceName=one&start=2000&end=30000"


@pytest.fixture
async def site(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(data, tmp_path) as server:
        yield server


def names(body: bytes, tmp_path: Path) -> list[str]:
    path = tmp_path / "slice"
    path.write_bytes(body)
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        return [each.query_name or "" for each in file.fetch(until_eof=True)]


def expected(data: Path, *regions: tuple[str, int, int]) -> list[str]:
    with pysam.AlignmentFile(str(data / "reads.bam")) as file:
        return [each.query_name or "" for region in regions for each in file.fetch(*region)]


async def test_everything(site: Guarded, data: Path, tmp_path: Path) -> None:
    got = names(await site.fetch(READS, "alice"), tmp_path)
    with pysam.AlignmentFile(str(data / "reads.bam")) as file:
        assert got == [each.query_name for each in file.fetch(until_eof=True)]
    (intent,) = await site.events("ticket.intent")
    assert intent["grant_ids"] == ["G-ALL"]
    assert intent["dataset"] == DATASET
    done = await site.events("data.done")
    assert {each["tid"] for each in done} == {intent["tid"]}
    assert len(await site.events("data.intent")) == len(done) == 2
    assert [each["records"] for each in done] == [0, len(got)]
    assert [each["served"] for each in done] == [[], "all"]


@pytest.mark.parametrize(
    ("path", "format"),
    [("reads", "BAM"), ("reads", "CRAM"), ("variants", "VCF"), ("variants", "BCF")],
)
async def test_records_are_counted(
    site: Guarded, data: Path, tmp_path: Path, path: str, format: str
) -> None:
    for query in ("", "&referenceName=one&start=5000&end=200000"):
        body = await site.fetch(f"/{path}/study/{path}?format={format}{query}", "alice")
        file = tmp_path / "slice"
        file.write_bytes(body)
        if path == "reads":
            found = len(names(body, tmp_path))
        else:
            with pysam.VariantFile(str(file)) as records:
                found = len(list(records))
        assert (await site.events("data.done"))[-1]["records"] == found > 0


async def test_one_region(site: Guarded, data: Path, tmp_path: Path) -> None:
    got = names(await site.fetch(f"{READS}?{IN_GENE}", "bob"), tmp_path)
    assert got == expected(data, ("one", 2000, 30000))
    assert got
    _, done = await site.events("data.done")
    assert (done["records"], done["served"]) == (len(got), [["one", 2000, 30000]])


async def test_outside(site: Guarded) -> None:
    for query in ("referenceName=one&start=2000&end=70000", "referenceName=two|x", ""):
        reply = await site.get(f"{READS}?{query}", "bob")
        assert reply.error == (403, "PermissionDenied")
    assert [each["rule"] for each in await site.events("ticket.denied")] == [
        "region.not_granted"
    ] * 3


async def test_clipped(site: Guarded, data: Path, tmp_path: Path) -> None:
    body = await site.fetch(READS, "carol")
    assert names(body, tmp_path) == expected(data, ("one", 1000, 60000))
    path = tmp_path / "marked.bam"
    path.write_bytes(body)
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        assert "one:1001-60000" in str(file.header)


async def test_nobody_and_strangers(site: Guarded) -> None:
    paths = (READS, "/reads/study/none", "/variants/study/reads", "/reads/study/no/such")
    for path in paths:
        assert (await site.get(path)).error == (401, "InvalidAuthentication")
    replies = [await site.get(path, "mallory") for path in paths]
    assert {each.error for each in replies} == {(404, "NotFound")}
    assert len({each.body for each in replies}) == 1


async def test_the_public_part(site: Guarded) -> None:
    assert (await site.get("/reads/study/public/none")).error == (404, "NotFound")


async def test_what_cannot_be_served_yet(site: Guarded) -> None:
    reply = await site.get(f"{READS}?{IN_GENE}", "erin")
    assert reply.error == (403, "PermissionDenied")
    assert "projection.unsupported" in reply.json["message"]


async def test_a_policy_that_changes(site: Guarded) -> None:
    ticket = await site.get(READS, "alice")
    assert (await site.live.get(ticket.urls[1])).status == 200
    site.policy.write_text(site.policy.read_text().replace('sub = "alice"', 'sub = "zoe"'))
    for _ in range(50):
        await asyncio.sleep(0.1)
        if (await site.live.get(ticket.urls[1])).status != 200:
            break
    assert (await site.live.get(ticket.urls[1])).error == (404, "NotFound")
    assert (await site.get(READS, "alice")).error == (404, "NotFound")


async def test_a_limit_that_is_reached_is_recorded(site: Guarded) -> None:
    within = f"{READS}?referenceName=one&start=0&end=15000"
    assert (await site.get(within, "frank")).status == 200
    beyond = await site.get(f"{READS}?referenceName=one&start=20000&end=30000", "frank")
    assert beyond.error == (429, "TooManyRequests")
    (denied,) = await site.events("ticket.denied")
    assert denied["rule"] == "quota.bases_per_day"
    assert denied["decision"] == "deny"
    assert len(await site.events("ticket.intent")) == 1
