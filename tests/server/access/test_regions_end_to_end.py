"""Requests, regions and ids that attack: of controlled data, by those who may see some of it."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.access.denials import watched
from tests.server.access.guarded import (
    GENE,
    HEAD,
    Guarded,
    grant,
    guarded,
    person,
    usual_policy,
)
from tests.server.htsget.test_routes import ABSENT, BODIES, FINE, READS
from tests.support.bgzf_layout import BGZF_EOF
from tests.support.oracle import Oracle, decode
from tests.support.sample_recipes import Sample

OBJECT = "/reads/study/reads"
BEGIN, END = 1000, 60_000  # GENE, 0-based


def policy(issuer: str) -> str:
    """The usual one, and grants that touch or nearly do."""

    def part(number: int, who: str, region: str, how: str = 'header = "full"') -> str:
        return grant(f"G-{number}", person(issuer, who), regions=(region,), how=how)

    def reads_only(name: str, who: str, what: str) -> str:
        made = grant(name, who, what=what)
        return made.replace('["reads", "variants"]', '["reads"]').replace(', "VCF", "BCF"', "")

    return usual_policy(issuer) + "".join(
        (
            part(1, "touching", "one:1001-2000"),
            part(2, "touching", "one:2001-3000"),
            part(3, "apart", "one:1001-2000"),
            part(4, "apart", "one:2002-3000"),
            part(5, "unlike", "one:1001-2000"),
            part(6, "unlike", "one:2001-3000", 'header = "minimal"'),
            part(7, "secretive", GENE, 'crypt4gh = "required"'),
            part(8, "masked", GENE, 'boundary = "mask"'),
            part(9, "masked and clipped", GENE, 'boundary = "mask"\npartial = "clip"'),
            reads_only("G-10", person(issuer, "narrow"), 'fields = ["QNAME", "POS"]'),
            reads_only("G-11", person(issuer, "untagged"), 'tags_deny = ["RG"]'),
        )
    )


@pytest.fixture
async def site(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(data, tmp_path, policy=policy) as server:
        yield server


@pytest.fixture(scope="module")
def bam(data: Path) -> Sample:
    return Sample("reads.bam", data / "reads.bam", data / "reads.bam", True, None)


async def decoded(site: Guarded, query: str, sub: str, sample: Sample) -> list[str]:
    """The records of an answer."""
    return decode(await site.fetch(f"{OBJECT}?{query}", sub), sample).records


@pytest.mark.security("TR1", "TR2", "TR3", "TR7", "TR8")
@pytest.mark.parametrize("sub", ["alice", "bob", "mallory", ""])
async def test_parameters_that_break_the_rules(site: Guarded, sub: str) -> None:
    """What is malformed is told alike to all, of every id; what is not there, to whom sees it."""
    opened: list[str] = []
    with watched(site.live, opened):
        for query, status, kind in READS:
            reply = await site.get(f"{OBJECT}?{query}", sub)
            if status != 404:
                assert reply.error == (status, kind), query
                other = await site.get(f"/reads/study/none?{query}", sub)
                assert (other.status, other.body) == (reply.status, reply.body)
            elif sub != "alice":
                assert reply.status == {"bob": 403, "mallory": 404, "": 401}[sub]
    assert sub == "alice" or not opened


@pytest.mark.security("TR2", "TR3", "TR7")
async def test_parameters_that_keep_the_rules(site: Guarded, bam: Sample) -> None:
    """No spelling of a request gives more than the region."""
    within = set(Oracle(bam).select([("one", BEGIN, END)]))
    for query in FINE:
        if "CRAM" in query:
            continue
        reply = await site.get(f"{OBJECT}?{query}", "bob")
        if reply.status == 200:
            assert set(decode(await site.live.whole(reply), bam).records) <= within, query
        else:
            assert reply.error == (403, "PermissionDenied"), query


@pytest.mark.security("TR2")
async def test_regions_without_a_base(site: Guarded, bam: Sample) -> None:
    for start in (0, BEGIN - 1, BEGIN, 5000, END, END + 1, 899_999):
        place = f"referenceName=one&start={start}"
        assert await decoded(site, f"{place}&end={start}", "bob", bam) == []
        region = {"referenceName": "one", "start": start, "end": start}
        body = json.dumps({"regions": [region]}).encode()
        reply = await site.ask("POST", OBJECT, "bob", data=body)
        assert reply.error == (400, "InvalidRange")
        if start:
            backwards = await site.get(f"{OBJECT}?{place}&end={start - 1}", "bob")
            assert backwards.error == (400, "InvalidRange")


@pytest.mark.security("TR3")
async def test_a_header_is_no_record(site: Guarded, bam: Sample) -> None:
    for query in ("class=header", "class=header&referenceName=two|x"):
        for sub in ("alice", "bob", "carol"):
            body = await site.fetch(f"{OBJECT}?{query}", sub)
            assert decode(body, bam).records == []
            assert body.endswith(BGZF_EOF)


@pytest.mark.security("TR4")
async def test_borders_of_a_grant(site: Guarded, bam: Sample) -> None:
    oracle = Oracle(bam)
    for start in (BEGIN - 1, BEGIN, BEGIN + 1):
        for end in (END - 1, END, END + 1):
            asked = {"referenceName": "one", "start": start, "end": end}
            query = "&".join(f"{name}={value}" for name, value in asked.items())
            body = json.dumps({"regions": [asked]}).encode()
            for reply in (
                await site.get(f"{OBJECT}?{query}", "bob"),
                await site.ask("POST", OBJECT, "bob", data=body),
            ):
                if start < BEGIN or end > END:
                    assert reply.error == (403, "PermissionDenied")
                    continue
                records = decode(await site.live.whole(reply), bam).records
                assert records == oracle.select([("one", start, end)])
    for start, end in ((BEGIN - 1, BEGIN), (END, END + 1), (0, BEGIN)):
        query = f"referenceName=one&start={start}&end={end}"
        assert (await site.get(f"{OBJECT}?{query}", "bob")).status == 403
        assert (await site.get(f"{OBJECT}?{query}", "carol")).status == 403


@pytest.mark.security("TR5")
async def test_grants_side_by_side(site: Guarded) -> None:
    """They are one where they touch and show records alike; one base between them is a border."""
    query = "referenceName=one&start=1500&end=2500"
    for sub, status in (("touching", 200), ("apart", 403), ("unlike", 403)):
        assert (await site.get(f"{OBJECT}?{query}", sub)).status == status
        assert (
            await site.get(f"{OBJECT}?referenceName=one&start=1500&end=2000", sub)
        ).status == 200
        assert (
            await site.get(f"{OBJECT}?referenceName=one&start=2001&end=3000", sub)
        ).status == 200
    intents = await site.events("ticket.intent")
    assert intents[0]["grant_ids"] == ["G-1", "G-2"]


BOMB = gzip.compress(b'{"a":"' + bytes(200 << 20) + b'"}')


@pytest.mark.security("TR6")
@pytest.mark.parametrize("sub", ["bob", "mallory", ""])
async def test_bodies_that_break_the_rules(site: Guarded, sub: str) -> None:
    many = json.dumps(dict.fromkeys(map(str, range(1_000_000)))).encode()
    for body, status, kind in [*BODIES, (many, 413, "PayloadTooLarge")]:
        if status == 404:
            continue
        reply = await site.ask("POST", OBJECT, sub, data=body)
        assert reply.error == (status, kind), body[:60]
    reply = await site.ask("POST", OBJECT, sub, data=BOMB, headers={"Content-Encoding": "gzip"})
    assert reply.status in (400, 413, 415)


@pytest.mark.security("TR7")
async def test_fields_and_tags(site: Guarded) -> None:
    """Grants of some fields or without some tags are refused: they need records rewritten."""
    for sub, asked, rule in (
        ("narrow", "fields=QNAME,POS", "projection.unsupported"),
        ("narrow", "fields=QNAME,SEQ", "fields.not_granted"),
        ("untagged", "tags=NM", "projection.unsupported"),
        ("untagged", "tags=RG", "fields.not_granted"),
    ):
        reply = await site.get(f"{OBJECT}?{asked}", sub)
        assert reply.error == (403, "PermissionDenied")
        assert rule in reply.json["message"]
        assert (await site.events("ticket.denied"))[-1]["rule"] == rule
    many = ",".join(["POS"] * 100_000)
    for reply in (
        await site.ask("POST", OBJECT, "bob", data=b'{"fields":["%s"]}' % many.encode()),
        await site.get(f"{OBJECT}?fields={many[:7000]}", "bob"),
    ):
        assert reply.status in (400, 413)


@pytest.mark.security("TR8")
async def test_formats_of_the_other_endpoint(site: Guarded) -> None:
    for sub in ("alice", "bob", "mallory", ""):
        for path in ("/variants/study/variants?format=BAM", f"{OBJECT}?format=VCF"):
            assert (await site.get(path, sub)).error == (400, "UnsupportedFormat")


@pytest.mark.security("TL2", "TL6")
@pytest.mark.parametrize("sub", ["masked", "masked and clipped", "secretive"])
async def test_what_needs_records_rewritten_is_refused(site: Guarded, sub: str) -> None:
    """Neither masking nor encryption is done yet, so nothing leaves: no record, no header."""
    region = f"referenceName=one&start={BEGIN}&end={END}"
    opened: list[str] = []
    with watched(site.live, opened):
        for query in (region, "class=header", f"{region}&format=CRAM", "format=BAM"):
            reply = await site.get(f"{OBJECT}?{query}", sub)
            assert reply.error == (403, "PermissionDenied")
        reply = await site.get(f"/variants/study/variants?{region}", sub)
        assert reply.error == (403, "PermissionDenied")
    rules = [each["rule"] for each in await site.events("ticket.denied")]
    assert rules.count("projection.unsupported") >= 4
    assert not opened
    assert not await site.events("ticket.intent")


@pytest.mark.security("TL5")
async def test_reads_without_a_place(site: Guarded, bam: Sample) -> None:
    """They are a region of their own, which no other implies."""
    oracle = Oracle(bam)
    unplaced = set(oracle.select([("*", None, None)]))
    assert unplaced
    both = [{"referenceName": "one", "start": BEGIN, "end": END}, {"referenceName": "*"}]
    body = json.dumps({"regions": both}).encode()
    assert (await site.get(f"{OBJECT}?referenceName=*", "bob")).status == 403
    assert (await site.get(f"{OBJECT}?referenceName=*", "carol")).status == 403
    assert (await site.ask("POST", OBJECT, "bob", data=body)).status == 403
    clipped = await site.live.whole(await site.ask("POST", OBJECT, "carol", data=body))
    assert not unplaced & set(decode(clipped, bam).records)
    assert set(await decoded(site, "referenceName=*", "alice", bam)) == unplaced


@pytest.mark.security("TP1", "TP2", "TP3", "TP5")
@pytest.mark.parametrize("sub", ["alice", "mallory", ""])
async def test_ids_that_name_nothing(
    site: Guarded, sub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """404 for who is known, 401 for who is not; nothing is run, and nobody else's data come."""
    run: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: run.append(args))
    monkeypatch.setattr(os, "system", run.append)
    bodies = set()
    more = ("/study/reads", "study//reads", "x//../study/reads", "study/reads/", "x" * 8000)
    for object_id in [*ABSENT, *(f"study/{each}" for each in ABSENT), *more]:
        if object_id in ("service-info/", "study/variants"):
            continue
        reply = await site.get(f"/reads/{object_id}", sub)
        if "%0a" in object_id:  # no path that anything is at
            assert reply.error == (404, "NotFound")
            continue
        if reply.status == 400:  # longer than a request line may be
            assert len(object_id) > 7000
            continue
        assert reply.status == (404 if sub else 401), object_id
        bodies.add(reply.body)
    assert len(bodies) == 1
    assert not run
    assert (await site.get("/reads/service-info")).status == 200


@pytest.mark.security("TP4")
async def test_patterns_are_of_whole_ids(data: Path, tmp_path: Path) -> None:
    names = ("sam", "sample123", "sample1", "evil/sample1", "deep/y", "deep/er/x", "xsam", "sam/x")
    home = tmp_path / "home"
    for name in names:
        path = home / f"{name}.bam"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(data / "only.bam", path)
        shutil.copy2(data / "only.bam.bai", f"{path}.bai")
    objects = '["reads/study/sam", "reads/study/sample1", "reads/study/deep/*"]'
    head = HEAD.replace('["reads/study/*", "variants/study/*"]', objects)
    async with guarded(
        home, tmp_path, policy=lambda issuer: head + grant("G", person(issuer, "alice"))
    ) as site:
        found = {
            name
            for name in names
            if (await site.get(f"/reads/study/{name}", "alice")).status == 200
        }
    assert found == {"sam", "sample1", "deep/y"}


@pytest.mark.security("TP6")
async def test_no_header_names_a_file(site: Guarded, bam: Sample) -> None:
    headers = {"HtsgetFilePath": "/etc/passwd", "X-Original-URL": "/reads/study/only"}
    ticket = await site.ask("GET", OBJECT, "alice", headers=headers)
    blocks = [await site.live.ask("GET", url, headers=headers) for url in ticket.urls]
    body = b"".join(each.body for each in blocks)
    assert decode(body, bam).records == Oracle(bam).records
    for sub, status in (("mallory", 404), ("", 401)):
        assert (await site.ask("GET", OBJECT, sub, headers=headers)).status == status
