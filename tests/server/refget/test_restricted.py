"""Restricted sequences end to end: who gets what, and that nobody else learns of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.access import sequence_gate
from server.access.gate import Gate
from server.refget.digests import Digests
from server.refget.open_files import OpenFiles
from server.refget.seqcol import Collection
from server.refget.upstream import UpstreamSequences
from server.refget.warm import WarmSequences
from tests.server.refget.restricted_site import (
    CHR_A,
    CHR_B,
    NAMED,
    OPEN,
    RING,
    SHARED,
    TWICE,
    WORLDS,
    Site,
    ga4gh,
    serving_site,
)
from tests.server.refget.sequence_files import fasta, residues
from tests.server.refget.served_files import Reply

A, B, RINGS = ga4gh(CHR_A), ga4gh(CHR_B), ga4gh(RING)
UNKNOWN = ga4gh(b"ACGTTGCA")
NOBODY = ("", "mallory", "dana")  # of closed/asm; dana may have its reads
CONFINED = "private, no-store"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving_site(tmp_path) as served:
        yield served


def same(reply: Reply) -> tuple[object, ...]:
    """All that a client can compare."""
    fields = sorted((name, value) for name, value in reply.headers.items() if name != "Date")
    return reply.status, tuple(fields), reply.body


def _untouched(*_: object) -> None:
    raise AssertionError("a file is read for somebody who may not")


async def test_what_is_public_asks_for_no_credential(site: Site) -> None:
    bare = await site.get(f"/sequence/{ga4gh(OPEN)}")
    assert (bare.status, bare.body) == (200, OPEN)
    assert bare.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for value in ("Bearer nonsense", "Basic x", "Bearer " + "x" * 12_000):
        again = await site.get(f"/sequence/{ga4gh(OPEN)}", Authorization=value)
        assert same(again) == same(bare)
    # In a file of the closed location as well, or named by the operator.
    for text in (SHARED, NAMED):
        assert (await site.get(f"/sequence/{ga4gh(text)}")).body == text
    # A grant for everybody opens it, but nobody may keep it.
    world = await site.get(f"/sequence/{ga4gh(WORLDS)}")
    assert (world.body, world.headers["Cache-Control"]) == (WORLDS, CONFINED)
    assert not await site.events("refget.denied", "auth.fail")


@pytest.mark.parametrize(
    ("path", "sub", "expected"),
    [
        (f"/sequence/{A}", "alice", CHR_A),
        (f"/sequence/{Digests.from_residues(CHR_A).md5}", "alice", CHR_A),
        (f"/sequence/{A}?start=5&end=20", "alice", CHR_A[5:20]),
        (f"/sequence/{A}?start=5&end=5", "alice", b""),
        (f"/sequence/{RINGS}?start=590&end=20", "alice", RING[590:] + RING[:20]),
        ("/sequence/chrA", "alice", CHR_A),
        ("/sequence/insdc:SECRET1.1", "alice", CHR_B),
        (f"/sequence/{ga4gh(TWICE)}", "alice", TWICE),
        (f"/sequence/{A}?start=1000&end=60000", "bob", CHR_A[1000:60_000]),
        (f"/sequence/{A}?start=1000&end=1001", "bob", CHR_A[1000:1001]),
        (f"/sequence/{A}?start=999&end=1001", "bob", None),
        (f"/sequence/{A}?start=59999&end=60001", "bob", None),
        (f"/sequence/{A}?start=60000&end=60001", "bob", None),
        (f"/sequence/{A}", "bob", None),
        (f"/sequence/{B}?start=1000&end=1001", "bob", None),
        (f"/sequence/{RINGS}?start=590&end=20", "bob", None),
        (f"/sequence/{A}?start=2000&end=3000", "carol", CHR_A[2000:3000]),
        (f"/sequence/{A}?start=0&end=3000", "carol", None),
        (f"/sequence/{A}", "carol", None),
        (f"/sequence/{A}", "dana", None),
        (f"/sequence/{A}", "erin", None),
        (f"/sequence/{A}?start=0&end=1", "erin", None),
        (f"/sequence/{A}", "mallory", None),
        (f"/sequence/{A}", "", None),
        ("/sequence/chrA", "mallory", None),
        ("/sequence/insdc:SECRET1.1", "", None),
    ],
)
async def test_who_gets_what(site: Site, path: str, sub: str, expected: bytes | None) -> None:
    reply, head = [await site.ask(method, path, sub) for method in ("GET", "HEAD")]
    if expected is None:
        unknown = await site.get(f"/sequence/{UNKNOWN}", sub)
        assert same(reply) == same(unknown)
        assert reply.status == 404
    else:
        assert (reply.status, reply.body) == (200, expected)
        assert reply.headers["Cache-Control"] == CONFINED
        assert reply.headers["Content-Length"] == str(len(expected))
    assert same(head)[:2] == same(reply)[:2]
    assert head.body == b""


async def test_ranges_and_fasta(site: Site) -> None:
    part = await site.get(f"/sequence/{A}", "bob", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, CHR_A[1000:2000])
    assert part.headers["Cache-Control"] == CONFINED
    for value in ("bytes=0-1000", "bytes=-10", "bytes=1000-"):
        assert (await site.get(f"/sequence/{A}", "bob", Range=value)).status == 404
    # FASTA has no ranges of its own, so this one asks for all.
    asked = {"Accept": "text/x-fasta", "Range": "bytes=1000-1999"}
    assert (await site.get(f"/sequence/{A}", "bob", **asked)).status == 404
    text = await site.get(f"/sequence/{A}?start=1000&end=1060", "bob", Accept="text/x-fasta")
    assert text.body.endswith(CHR_A[1000:1060] + b"\n")
    tag = (await site.get(f"/sequence/{B}", "alice")).headers["ETag"]
    again = await site.get(f"/sequence/{B}", "alice", **{"If-None-Match": tag})
    assert (again.status, again.headers["Cache-Control"]) == (304, CONFINED)
    hidden = await site.get(f"/sequence/{B}", "mallory", **{"If-None-Match": tag})
    assert same(hidden) == same(await site.get(f"/sequence/{UNKNOWN}", "mallory"))


@pytest.mark.security("L29", "TE1", "TR4")
async def test_what_is_hidden_is_what_is_unknown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every endpoint, method and caller: the same status, header fields and bytes; no file of
    sequences is opened."""
    digest = await site.collection("closed/asm.fa")
    public = await site.collection("open/ref.fa")
    level1 = (await site.get(f"/collection/{digest}?level=1", "alice")).json
    body = (await site.get(f"/collection/{public}")).body
    none = "x" * 32
    queries = ("", "?start=0&end=9", "?start=9&end=0", "?start=1&end=99999999", "?start=x")
    ends = ("", "?level=1", "?level=2", "/fasta", "/fai", "/dict", "/chrom.sizes")
    attributes = ("names", "lengths", "sequences", "name_length_pairs", "sorted_sequences")
    templates = [
        *((f"/sequence/{{}}{query}", A, UNKNOWN) for query in queries),
        ("/sequence/{}/metadata", A, UNKNOWN),
        ("/sequence/{}/metadata?", "chrB", "chrZ"),
        ("/sequence/{}?", "chrB", "chrZ"),
        ("/sequence/{}?start=1", "insdc:SECRET1.1", "insdc:SECRET2.1"),
        *((f"/collection/{{}}{end}", digest, none) for end in ends),
        (f"/comparison/{public}/{{}}", digest, none),
        (f"/comparison/{{}}/{public}", digest, none),
        ("/comparison/{}", digest, none),
        *((f"/attribute/collection/{each}/{{}}", level1[each], none) for each in attributes),
    ]
    kinds: tuple[dict[str, str], ...] = ({}, {"Range": "bytes=0-5"}, {"Accept": "image/png"})
    monkeypatch.setattr(sequence_gate, "_MISSES_PER_MINUTE", 10_000)
    monkeypatch.setattr(OpenFiles, "acquire", _untouched)
    monkeypatch.setattr(OpenFiles, "quickly", _untouched)
    asked = [
        (template, method, sub, fields)
        for template, _, _ in templates
        for method in (("POST",) if template == "/comparison/{}" else ("GET", "HEAD"))
        for sub in NOBODY
        for fields in kinds
    ]
    digests = {template: pair for template, *pair in templates}
    free = asyncio.Semaphore(16)  # a refusal waits on purpose

    async def compare(template: str, method: str, sub: str, fields: dict[str, str]) -> None:
        data = body if method == "POST" else None
        async with free:
            one, two = [
                await site.ask(method, template.format(each), sub, headers=fields, data=data)
                for each in digests[template]
            ]
        assert one.status == 404, (template, method, sub)
        assert same(one) == same(two), (template, method, sub)
        assert one.headers["Cache-Control"] == "no-store"

    await asyncio.gather(*(compare(*each) for each in asked))


@pytest.mark.security("L29")
async def test_a_bad_credential_is_refused_whatever_is_asked_for(site: Site) -> None:
    digest = await site.collection("closed/asm.fa")
    for credential, status in (("Bearer nonsense", 401), ("Basic eDp5", 401)):
        replies = [
            same(await site.get(f"/sequence/{each}", Authorization=credential))
            for each in (A, UNKNOWN)
        ]
        assert replies[0] == replies[1]
        assert replies[0][0] == status
        replies = [
            same(await site.get(f"/collection/{each}", Authorization=credential))
            for each in (digest, "x" * 32)
        ]
        assert replies[0] == replies[1]
        assert replies[0][0] == status


@pytest.mark.parametrize(
    ("query", "fields", "status"),
    [
        ("?start=99999999", {}, 416),
        ("?start=9&end=5", {}, 416),
        ("?start=x", {}, 400),
        ("?start=1", {"Range": "bytes=0-5"}, 400),
        ("", {"Range": "bytes=99999999-"}, 416),
        ("", {"Range": "items=0-5"}, 400),
        ("", {"Accept": "image/png"}, 406),
    ],
)
async def test_bounds_are_judged_after_the_right(
    site: Site, query: str, fields: dict[str, str], status: int
) -> None:
    for sub, expected in (("alice", status), ("erin", status), ("mallory", 404), ("", 404)):
        reply = await site.get(f"/sequence/{B}{query}", sub, **fields)
        assert reply.status == expected
        assert ("Content-Range" in reply.headers) == (expected == 416)


async def test_metadata(site: Site) -> None:
    for sub in ("alice", "bob", "carol", "erin"):
        reply = await site.get(f"/sequence/{B}/metadata", sub)
        assert reply.headers["Cache-Control"] == CONFINED
        found = reply.json["metadata"]
        assert (found["ga4gh"], found["length"]) == (B, len(CHR_B))
        assert found["aliases"] == [{"alias": "SECRET1.1", "naming_authority": "insdc"}]
    shared = (await site.get(f"/sequence/{ga4gh(SHARED)}/metadata")).json["metadata"]
    assert shared["aliases"] == []


@pytest.mark.security("L29")
async def test_names_in_restricted_files_mean_nothing(site: Site) -> None:
    # The sequence is public, but only a restricted file calls it so.
    assert (await site.get("/sequence/chr1")).body == SHARED
    for sub in NOBODY:
        assert (await site.get("/sequence/secret", sub)).status == 404
    assert (await site.get("/sequence/secret", "alice")).body == SHARED
    # Of two sequences called so, each in a file of its own, alice may have both.
    assert (await site.get("/sequence/chrB", "alice")).status == 409
    assert (await site.get("/sequence/chrB", "mallory")).status == 404
    info = await site.get("/sequence/service-info", "alice")
    assert info.json["refget"]["identifier_types"] == ["ucsc"]


async def test_collections(site: Site) -> None:
    digest = await site.collection("closed/asm.fa")
    public = await site.collection("open/ref.fa")
    for sub in ("alice", "bob", "erin"):
        for level in (1, 2):
            reply = await site.get(f"/collection/{digest}?level={level}", sub)
            assert reply.headers["Cache-Control"] == CONFINED
        expected = Collection(
            ["chrA", "chrB", "ring", "secret"],
            [len(each) for each in (CHR_A, CHR_B, RING, SHARED)],
            [ga4gh(each) for each in (CHR_A, CHR_B, RING, SHARED)],
        )
        assert reply.json == expected.level2()
        for name, value in expected.level1().items():
            if name in expected.level2():
                attribute = await site.get(f"/attribute/collection/{name}/{value}", sub)
                assert attribute.json == expected.level2()[name]
                assert attribute.headers["Cache-Control"] == CONFINED
        sizes = await site.get(f"/collection/{digest}/chrom.sizes", sub)
        assert sizes.body.startswith(b"chrA\t90000\n")
        assert sizes.headers["Cache-Control"] == CONFINED
    whole = await site.get(f"/collection/{digest}/fasta", "alice")
    assert (whole.status, whole.headers["Cache-Control"]) == (200, CONFINED)
    assert whole.body.replace(b"\n", b"").startswith(b">chrA" + CHR_A)
    assert (await site.ask("HEAD", f"/collection/{digest}/fasta", "alice")).status == 200
    for sub in ("bob", "carol", "erin"):
        assert (await site.get(f"/collection/{digest}/fasta", sub)).status == 404
    for a, b in ((digest, public), (public, digest), (digest, digest)):
        compared = await site.get(f"/comparison/{a}/{b}", "alice")
        assert compared.json["digests"] == {"a": a, "b": b}
        assert compared.headers["Cache-Control"] == CONFINED
    document = (await site.get(f"/collection/{public}")).body
    posted = await site.ask("POST", f"/comparison/{digest}", "alice", data=document)
    assert posted.json["array_elements"]["a_and_b_count"]["sequences"] == 1
    assert posted.headers["Cache-Control"] == CONFINED


@pytest.mark.security("L29")
async def test_lists_show_what_everybody_sees(site: Site) -> None:
    digest = await site.collection("closed/asm.fa")
    level1 = (await site.get(f"/collection/{digest}?level=1", "alice")).json
    expected = sorted([await site.collection(each) for each in ("open/ref.fa", "closed/named.fa")])
    for sub in ("", "mallory", "alice"):
        for method in ("GET", "HEAD"):
            reply = await site.ask(method, "/list/collection", sub)
            assert reply.status == 200
            if method == "GET":
                assert reply.json["results"] == expected
                assert reply.json["pagination"]["total"] == 2
        for name, value in level1.items():
            filtered = await site.get(f"/list/collection?{name}={value}", sub)
            assert filtered.json["results"] == []
            attributes = await site.get(f"/list/attributes/{name}", sub)
            assert value not in attributes.json["results"]
            assert attributes.json["pagination"]["total"] == 2


async def test_the_quick_path_never_holds_what_is_restricted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: set[str] = set()
    keep = WarmSequences.keep

    def spy(self: WarmSequences, text: str, *rest: Any) -> None:
        kept.add(text)
        keep(self, text, *rest)

    monkeypatch.setattr(WarmSequences, "keep", spy)
    for text, sub in ((OPEN, ""), (CHR_A, "alice"), (WORLDS, ""), (SHARED, "alice")):
        for _ in range(3):
            reply = await site.get(f"/sequence/{ga4gh(text)}?start=10&end=20", sub)
            assert reply.body == text[10:20]
    assert kept == {ga4gh(OPEN), ga4gh(SHARED)}
    # Right after somebody who may.
    assert (await site.get(f"/sequence/{A}?start=10&end=20")).status == 404
    assert (await site.get(f"/sequence/{A}?start=10&end=20", "mallory")).status == 404


async def test_other_sequences_than_the_policy_means(site: Site) -> None:
    text = residues(1500, 10)
    asked = f"/sequence/{ga4gh(text)}?start=0&end=100"
    assert (await site.get(asked, "gina")).status == 503
    assert (await site.get(asked, "mallory")).status == 404


async def test_what_is_written_down(site: Site) -> None:
    await site.get(f"/sequence/{A}?start=1000&end=2000", "bob")
    await site.get(f"/sequence/{A}", "bob")
    await site.get(f"/sequence/{A}", "")
    await site.get(f"/sequence/{UNKNOWN}", "")
    await site.get(f"/sequence/{UNKNOWN}", "bob")
    await site.get(f"/sequence/{ga4gh(OPEN)}", "bob")
    await site.ask("HEAD", f"/sequence/{B}", "alice")
    await site.get(f"/collection/{await site.collection('closed/asm.fa')}", "erin")
    intents = await site.events("refget.intent")
    assert [
        (each["grant_ids"], each["object"], each["class"], each["requested"]) for each in intents
    ] == [
        (["G-PART"], "closed/asm", "body", [["chrA", 1000, 2000]]),
        (["G-ALL"], "closed/asm", "body", [["chrB", 0, len(CHR_B)]]),
        (["G-HEADER"], "closed/asm", "header", "all"),
    ]
    assert intents[0]["digest"] == A
    assert intents[0]["dataset"] == "https://data.example/ASM"
    done = await site.events("refget.done", "refget.aborted")
    assert [each["event"] for each in done] == ["refget.done"] * 3
    assert [each["bytes"] for each in done[:2]] == [1000, 0]
    assert done[2]["bytes"] > 0
    assert [each["req"] for each in done] == [each["req"] for each in intents]
    denied = await site.events("refget.denied")
    assert [(each["object"], each["rule"]) for each in denied] == [
        ("closed/asm", "region.not_granted"),
        ("closed/asm", "credential.missing"),
        ("", "object.unknown"),
    ]
    assert "subject" not in denied[1]
    # The intent is on disk before the first byte.
    order = [each["event"] for each in await site.records() if "req" in each]
    assert order.index("refget.intent") < order.index("refget.done")
    everything = json.dumps(await site.records())
    assert site.tokens["bob"] not in everything
    assert CHR_A[1000:1040].decode() not in everything


@pytest.mark.security("TA2")
async def test_without_the_audit_nothing_restricted_leaves(site: Site) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.audit, "_together", full)
        patch.setattr(site.audit, "_alone", full)
        reply = await site.get(f"/sequence/{A}", "alice")
        assert (reply.status, "Retry-After" in reply.headers) == (503, True)
        assert (await site.get(f"/sequence/{ga4gh(OPEN)}")).status == 200
    assert (await site.get(f"/sequence/{B}", "alice")).status == 200


async def test_limits(site: Site) -> None:
    asked = f"/sequence/{A}?start=0&end=2000"
    for _ in range(3):  # the same bases are charged once
        assert (await site.get(asked, "frank")).status == 200
    reply = await site.get(f"/sequence/{A}?start=2000&end=3001", "frank")
    assert (reply.status, "Retry-After" in reply.headers) == (429, True)
    assert (await site.get(f"/sequence/{A}?start=2000&end=3000", "frank")).status == 200
    assert (await site.get(f"/sequence/{A}?start=2000&end=3001", "alice")).status == 200
    assert len(await site.events("refget.intent")) == 5
    (denied,) = await site.events("refget.denied")
    assert denied["rule"] == "quota.bases_per_day"


@pytest.mark.security("L29")
async def test_asking_often_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_gate, "_MISSES_PER_MINUTE", 8)
    async with serving_site(tmp_path) as site:
        for _ in range(4):
            for text in (A, UNKNOWN):
                assert (await site.get(f"/sequence/{text}", "mallory")).status == 404
        replies = [await site.get(f"/sequence/{each}", "mallory") for each in (A, UNKNOWN)]
        assert [each.status for each in replies] == [429, 429]
        assert replies[0].body == replies[1].body
        assert (await site.get(f"/sequence/{ga4gh(OPEN)}", "mallory")).status == 200
        for _ in range(12):
            assert (await site.get(f"/sequence/{UNKNOWN}")).status == 404
        assert (await site.get(f"/sequence/{A}", "alice")).status == 200


@pytest.mark.security("L29")
async def test_while_consent_is_not_read_nothing_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "is_stale", property(lambda gate: True))
    for who, status in (("mallory", 503), ("alice", 503), ("", 404)):
        known, unknown = [await site.get(f"/sequence/{each}", who) for each in (A, UNKNOWN)]
        assert (known.status, unknown.status) == (status, status)
        assert known.body == unknown.body
    assert (await site.get(f"/sequence/{ga4gh(OPEN)}", "mallory")).status == 200


@pytest.mark.security("TL7", "TU4")
async def test_a_right_that_ends_stops_what_is_on_its_way(tmp_path: Path) -> None:
    text = residues(1000, 11) * 64_000
    files = {"closed/asm.fa": fasta({"chrA": text}, width=1000)}
    async with serving_site(tmp_path, files=files) as site:
        url = f"{site.live.base}/sequence/{ga4gh(text)}"
        received = 0
        async with site.live.session.get(url, headers=site.credential("alice")) as response:
            assert response.status == 200
            received += len(await response.content.readexactly(100_000))
            site.policy.write_text(site.policy.read_text().replace('sub = "alice"', 'sub = "x"'))
            (end,) = await _eventually(site, "refget.aborted")
            with suppress(aiohttp.ClientError):
                while piece := await response.content.read(1 << 20):
                    received += len(piece)
        assert received < len(text)
        assert end["outcome"] == "object.not_visible"
        assert 100_000 <= end["bytes"] < len(text)
        assert (await site.get(f"/sequence/{ga4gh(text)}", "alice")).status == 404


async def _eventually(site: Site, kind: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while not (found := await site.events(kind)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found


@pytest.mark.security("TL7")
async def test_a_client_that_leaves(tmp_path: Path) -> None:
    text = residues(1000, 11) * 64_000
    async with serving_site(
        tmp_path, files={"closed/asm.fa": fasta({"chrA": text}, width=1000)}
    ) as site:
        url = f"{site.live.base}/sequence/{ga4gh(text)}"
        async with site.live.session.get(url, headers=site.credential("alice")) as response:
            await response.content.readexactly(1000)
            response.close()
        (end,) = await _eventually(site, "refget.aborted")
        assert (end["outcome"], 0 < end["bytes"] < len(text)) == ("aborted", True)


@pytest.mark.security("L29")
async def test_other_servers_are_asked_for_what_is_not_there_for_the_caller(
    tmp_path: Path,
) -> None:
    asked: list[str] = []
    fetch = UpstreamSequences.fetch

    async def spy(self: UpstreamSequences, wanted: Any, via: Iterable[str] = ()) -> bool:
        asked.append(str(wanted))
        return await fetch(self, wanted, list(via))

    other = {"open/b.fa": fasta({"b": CHR_B})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UpstreamSequences, "fetch", spy)
        async with (
            serving_site(tmp_path / "other", files=other) as there,
            serving_site(tmp_path / "here", upstream=[f"{there.live.base}/sequence"]) as here,
        ):
            asked.clear()
            assert (await here.get(f"/sequence/{A}", "alice")).body == CHR_A
            assert not asked  # nobody else learns what is asked for here
            for sub in ("", "mallory"):
                one, two = [await here.get(f"/sequence/{each}", sub) for each in (A, UNKNOWN)]
                assert same(one) == same(two)
                assert one.status == 404
            assert len(asked) == 4
            # What others give to all is no secret, and then it is theirs that is given.
            reply = await here.get(f"/sequence/{B}", "mallory")
            assert (reply.status, reply.body) == (200, CHR_B)
            assert reply.headers["Cache-Control"].startswith("public")
            assert (await here.get(f"/sequence/{B}/metadata")).status == 200
            # Whose sequence it is here is told to nobody.
            assert (await here.get("/sequence/chrB")).status == 404
