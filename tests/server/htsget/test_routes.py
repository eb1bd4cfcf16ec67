"""The rules of htsget over HTTP: parameters, ids, errors, CORS, methods."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.server.live import Live, path_of, serving, settings_of
from tests.server.slicing.sorted_streams import NAMES, Stream, open_stream
from tests.support.bgzf_layout import BGZF_EOF, inflated

TICKET = "application/vnd.ga4gh.htsget.v1.3.0+json"
READS = [
    ("format=SAM", 400, "UnsupportedFormat"),
    ("format=VCF", 400, "UnsupportedFormat"),
    ("format=", 400, "UnsupportedFormat"),
    ("format=../../etc/passwd", 400, "UnsupportedFormat"),
    ("class=body", 400, "InvalidInput"),
    ("class=", 400, "InvalidInput"),
    ("class=Header", 400, "InvalidInput"),
    ("class=header&start=1", 400, "InvalidInput"),
    ("class=header&fields=POS", 400, "InvalidInput"),
    ("class=header&tags=", 400, "InvalidInput"),
    ("referenceName=nope", 404, "NotFound"),
    ("referenceName=ONE", 404, "NotFound"),
    ("referenceName=chrone", 404, "NotFound"),
    ("referenceName=one:1-2", 404, "NotFound"),
    ("referenceName=", 400, "InvalidInput"),
    ("referenceName=one&referenceName=one", 400, "InvalidInput"),
    ("start=1", 400, "InvalidInput"),
    ("end=1", 400, "InvalidInput"),
    ("start=1&end=2", 400, "InvalidInput"),
    ("referenceName=*&start=1", 400, "InvalidInput"),
    ("referenceName=*&end=1", 400, "InvalidInput"),
    ("referenceName=one&start=2&end=1", 400, "InvalidRange"),
    ("referenceName=one&start=-1", 400, "InvalidInput"),
    ("referenceName=one&start=4294967296", 400, "InvalidInput"),
    ("referenceName=one&start=9223372036854775808", 400, "InvalidInput"),
    ("referenceName=one&end=1" + "0" * 400, 400, "InvalidInput"),
    ("referenceName=one&start=1e3", 400, "InvalidInput"),
    ("referenceName=one&start=0x10", 400, "InvalidInput"),
    ("referenceName=one&start=%205", 400, "InvalidInput"),
    ("referenceName=one&start=%2B5", 400, "InvalidInput"),
    ("referenceName=one&start=+5", 400, "InvalidInput"),
    ("referenceName=one&start=%D9%A5", 400, "InvalidInput"),
    ("referenceName=one&start=", 400, "InvalidInput"),
    ("referenceName=one&end=", 400, "InvalidInput"),
    ("referenceName=one&start=1.0", 400, "InvalidInput"),
    ("referenceName=one&start=1&start=2", 400, "InvalidInput"),
    ("fields=", 400, "InvalidInput"),
    ("fields=qname", 400, "InvalidInput"),
    ("fields=QNAME,NOPE", 400, "InvalidInput"),
    ("fields=" + "POS," * 1500 + "POS", 413, "PayloadTooLarge"),
    ("tags=NM&notags=NM", 400, "InvalidInput"),
    ("tags=toolong", 400, "InvalidInput"),
]
FINE = [
    "",
    "format=BAM",
    "format=bam",
    "format=CRAM",
    "class=header",
    "class=header&format=CRAM",
    "class=header&referenceName=na",
    "referenceName=one",
    "referenceName=one&start=0",
    "referenceName=one&end=0",
    "referenceName=one&start=5&end=5",
    "referenceName=one&start=0&end=4294967295",
    "referenceName=one&start=4294967295&end=4294967295",
    "referenceName=one&start=4294967294",
    "referenceName=two|x&start=1&end=2",
    "referenceName=two%7Cx",
    "referenceName=empty",
    "referenceName=empty&start=0&end=4294967295",
    "referenceName=*",
    "referenceName=%2A",
    "referenceName=one&referenceMD5=abc&encryptionScheme=none&unknown=1",
    "fields=QNAME,POS&tags=&notags=NM",
    "start1=x",
]


@pytest.mark.parametrize(("query", "status", "kind"), READS, ids=[row[0][:50] for row in READS])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.security("TR1", "TR2", "TR3", "TR7", "TR8")
async def test_parameters_that_break_the_rules(
    live: Live, method: str, query: str, status: int, kind: str
) -> None:
    reply = await live.ask(method, f"/reads/reads?{query}", headers={"Origin": "https://a.example"})
    assert reply.status == status
    assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
    if method == "GET":
        assert reply.error == (status, kind)


@pytest.mark.parametrize("query", FINE)
async def test_parameters_that_keep_the_rules(live: Live, query: str) -> None:
    reply = await live.get(f"/reads/reads?{query}", Origin="null")
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"].startswith(TICKET)
    assert reply.headers["Access-Control-Allow-Origin"] == "null"
    assert reply.body.startswith(b'{"htsget":')
    assert "Content-Encoding" not in reply.headers
    head = await live.ask("HEAD", f"/reads/reads?{query}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == reply.headers["Content-Type"]


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("format=BAM", 400, "UnsupportedFormat"),
        ("format=VCFTEXT", 400, "UnsupportedFormat"),
        ("referenceName=*", 400, "InvalidInput"),
        ("referenceName=nope", 404, "NotFound"),
        ("referenceName=empty", 200, ""),
        ("format=bcf&referenceName=empty", 200, ""),
        ("referenceName=one&start=536870912&end=536870913", 200, ""),
    ],
)
@pytest.mark.security("TR8")
async def test_variants(live: Live, query: str, status: int, kind: str) -> None:
    reply = await live.get(f"/variants/variants?{query}")
    assert reply.status == status
    assert not kind or reply.error == (status, kind)


BODIES = [
    (b"{", 400, "InvalidInput"),
    (b"nonsense", 400, "InvalidInput"),
    (b"[]", 400, "InvalidInput"),
    (b"null", 400, "InvalidInput"),
    (b'"x"', 400, "InvalidInput"),
    (b"\xff\xfe{\x00}\x00", 400, "InvalidInput"),
    (b'{"format":"\xff"}', 400, "InvalidInput"),
    (b'{"format":"BAM","format":"BAM"}', 400, "InvalidInput"),
    (b'{"format":5}', 400, "InvalidInput"),
    (b'{"format":"SAM"}', 400, "UnsupportedFormat"),
    (b'{"class":"header","regions":[{"referenceName":"one"}]}', 400, "InvalidInput"),
    (b'{"class":null}', 400, "InvalidInput"),
    (b'{"regions":[]}', 400, "InvalidInput"),
    (b'{"regions":{}}', 400, "InvalidInput"),
    (b'{"regions":null}', 400, "InvalidInput"),
    (b'{"regions":[5]}', 400, "InvalidInput"),
    (b'{"regions":[null]}', 400, "InvalidInput"),
    (b'{"regions":[{}]}', 400, "InvalidInput"),
    (b'{"regions":[{"start":1}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":1}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":"1"}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":1.0}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":true}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":-1}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":NaN}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","end":4294967296}]}', 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":1' + b"0" * 9000 + b"}]}", 400, "InvalidInput"),
    (b'{"regions":[{"referenceName":"one","start":5,"end":5}]}', 400, "InvalidRange"),
    (b'{"regions":[{"referenceName":"one","start":6,"end":5}]}', 400, "InvalidRange"),
    (b'{"regions":[{"referenceName":"one","end":0}]}', 400, "InvalidRange"),
    (b'{"regions":[{"referenceName":"one"},{"referenceName":"nope"}]}', 404, "NotFound"),
    (b'{"regions":[{"referenceName":"*","start":1}]}', 400, "InvalidInput"),
    (b'{"referenceName":"one"}', 400, "InvalidInput"),
    (b'{"start":1}', 400, "InvalidInput"),
    (b'{"fields":"QNAME"}', 400, "InvalidInput"),
    (b'{"fields":["QNAME",5]}', 400, "InvalidInput"),
    (b'{"tags":["NM"],"notags":["NM"]}', 400, "InvalidInput"),
    (b"[" * 100_000, 400, "InvalidInput"),
    (b'{"a":' * 100_000, 400, "InvalidInput"),
    (b" " * (1 << 20) + b"{}", 413, "PayloadTooLarge"),
    (b'{"regions":[' + b'{"referenceName":"one"},' * 10_001 + b"{}]}", 413, "PayloadTooLarge"),
]


@pytest.mark.parametrize(("body", "status", "kind"), BODIES, ids=[str(b[0][:60]) for b in BODIES])
@pytest.mark.security("TR2", "TR3", "TR6")
async def test_bodies_that_break_the_rules(live: Live, body: bytes, status: int, kind: str) -> None:
    async with asyncio.timeout(10):
        reply = await live.post("/reads/reads", body)
    assert reply.error == (status, kind)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"format":"bam"}',
        b'{"class":"header"}',
        b'{"tags":[],"unknown":{"x":[1]}}',
        b'{"regions":[{"referenceName":"one"}]}',
        b'{"regions":[{"referenceName":"one","start":0,"end":4294967295},{"referenceName":"*"}]}',
        b'{"regions":[{"referenceName":"empty","end":5}]}',
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "x/y"])
async def test_bodies_that_keep_the_rules(live: Live, body: bytes, kind: str) -> None:
    reply = await live.ask("POST", "/reads/reads", data=body, headers={"Content-Type": kind})
    assert reply.status == 200, reply.body
    assert (await live.whole(reply)).endswith(BGZF_EOF)


async def test_parameters_do_not_go_with_a_body(live: Live) -> None:
    for query in ("format=BAM", "referenceName=one", "class=header", "tags="):
        reply = await live.post(f"/reads/reads?{query}", {})
        assert reply.error == (400, "InvalidInput")
    assert (await live.post("/reads/reads?unknown=1", {})).status == 200


async def test_large_bodies_in_small_pieces(live: Live) -> None:
    regions = [{"referenceName": "one", "start": at, "end": at + 1} for at in range(9_000)]
    text = json.dumps({"regions": regions}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(text), 5_000):
            yield text[at : at + 5_000]

    url = f"{live.base}/reads/reads"
    async with live.session.post(url, data=pieces()) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("application/vnd.ga4gh.htsget.v1.2.0+json", "v1.2.0"),
        ("application/vnd.ga4gh.htsget.v1.0.0+json", "v1.0.0"),
        ("application/vnd.ga4gh.htsget.v9.9.9+json", "v1.3.0"),
        ("text/html, image/gif, */*; q=0.2", "v1.3.0"),
        ("nonsense", "v1.3.0"),
        ("", "v1.3.0"),
    ],
)
async def test_accept(live: Live, asked: str, answered: str) -> None:
    reply = await live.get("/reads/reads", Accept=asked)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith(f"application/vnd.ga4gh.htsget.{answered}+json")
    block = await live.get(reply.urls[0], Accept=asked)
    assert block.status == 200


ABSENT = [
    "nope", "reads.bam", "reads.bai", "reads.bam.bai", "reads.csi", "reads.crai", "reads.cram.crai",
    "reads/", "reads.", "reads%20", "%20reads", "READS", "./reads", "x/../reads", "..", ".",
    "../reads", "..%2freads", "%2e%2e/reads", "%2e%2e%2freads", "..%5creads",
    "%252e%252e/reads", "....//reads",
    "/reads", "//etc/passwd", "%2fetc%2fpasswd", "/etc/passwd", "C:%5C", "%5C%5Chost%5Cshare",
    "file:///etc/passwd", "s3://other/key", "~root", "-h", "--help", "%7Cid", "%60id%60", "$(id)",
    "a;b", "reads%00", "%00", "reads%0a", "reads%0d%0aX:y", "x" * 3000, "a/" * 1000 + "a",
    "%ff%fe", "%c0%af", "%ed%a0%80", "reads%C2%A0", "sub%20dir/", "sub%20dir//deep.er",
    "variants", "service-info/", "service-info.bam", "reads%FF",
]  # fmt: skip


@pytest.mark.parametrize("object_id", ABSENT, ids=[each[:30] for each in ABSENT])
@pytest.mark.security("TP1", "TP2", "TP3", "TP5")
async def test_ids_that_name_nothing(live: Live, object_id: str) -> None:
    for query in ("", "?format=BAM", "?class=header", "?referenceName=one"):
        reply = await live.get(f"/reads/{object_id}{query}")
        assert reply.error == (404, "NotFound"), reply.body
    body = await live.post(f"/reads/{object_id}", {})
    assert body.error == (404, "NotFound")


async def test_index_probes_are_no_tickets(live: Live) -> None:
    """htslib puts the suffix before the query."""
    for suffix in (".csi", ".bai", ".tbi", ".crai"):
        for path in ("/reads/reads", "/variants/variants", "/reads/only"):
            kind = "VCF" if path.startswith("/variants") else "BAM"
            reply = await live.get(f"{path}{suffix}?format={kind}")
            assert reply.error == (404, "NotFound")


async def test_odd_ids(live: Live, data: Path) -> None:
    object_id = "sub dir/deep.er/odd é+&%.v1"
    stream = open_stream(data / f"{object_id}.bam")
    for path in (f"/reads/{quote(object_id)}", f"/reads/{quote(object_id, safe='')}"):
        reply = await live.get(f"{path}?referenceName=one")
        payload = inflated(await live.whole(reply))
        assert payload.endswith(stream.overlapping(stream.locate("one", 0, 1 << 60)))


async def test_two_formats_under_one_id(live: Live) -> None:
    for query, answered in (("", "BAM"), ("?format=CRAM", "CRAM"), ("?format=BAM", "BAM")):
        reply = await live.get(f"/reads/reads{query}")
        assert reply.json["format"] == answered
        start = (await live.whole(reply))[:4]
        assert start == (b"CRAM" if answered == "CRAM" else b"\x1f\x8b\x08\x04")
    assert (await live.get("/variants/variants?format=bcf")).json["format"] == "BCF"


async def test_only_the_other_format_exists(live: Live) -> None:
    assert (await live.get("/reads/only?format=CRAM")).error == (400, "UnsupportedFormat")
    assert (await live.get("/variants/lone")).error == (400, "UnsupportedFormat")
    assert (await live.get("/variants/lone?format=BCF")).status == 200
    assert (await live.get("/variants/only")).error == (404, "NotFound")


async def test_named_locations(data: Path) -> None:
    locations = ({"url": str(data), "name": "kg"}, {"url": str(data / "sub dir"), "name": "a b"})
    async with serving(settings_of(*locations)) as live:
        assert (await live.get("/reads/kg/reads")).status == 200
        assert (await live.get("/reads/kg%2Freads")).status == 200
        assert (await live.get(path_of("reads", "a b/deep.er/odd é+&%.v1"))).status == 200
        for object_id in ("reads", "kg", "kg/", "kgreads", "kg//reads", "KG/reads", "a b/reads"):
            assert (await live.get(path_of("reads", object_id))).error == (404, "NotFound")


async def test_locations_without_a_name(data: Path, tmp_path: Path) -> None:
    """The first that has the id answers."""
    (tmp_path / "reads.bam").write_bytes((data / "only.bam").read_bytes())
    (tmp_path / "second.bam").write_bytes((data / "only.bam").read_bytes())
    async with serving(settings_of(data, tmp_path)) as live:
        first = await live.whole(await live.get("/reads/reads"))
        assert (await live.get("/reads/second")).status == 200
    async with serving(settings_of(tmp_path, data)) as live:
        assert await live.whole(await live.get("/reads/reads")) != first


async def test_location_that_is_a_file(data: Path) -> None:
    async with serving(settings_of({"url": str(data / "reads.bam"), "name": "x"})) as live:
        stream = open_stream(data / "reads.bam")
        reply = await live.get("/reads/x/reads?referenceName=three")
        payload = inflated(await live.whole(reply))
        assert payload.endswith(stream.overlapping(stream.locate("three", 0, 1 << 60)))
        assert (await live.get("/reads/x/reads?format=CRAM")).error == (400, "UnsupportedFormat")
        for object_id in ("x/only", "x/bare", "x/sub dir/deep.er/odd é+&%.v1", "reads"):
            assert (await live.get(path_of("reads", object_id))).error == (404, "NotFound")
        assert (await live.get("/variants/x/variants")).error == (404, "NotFound")


async def test_unindexed(live: Live, data: Path) -> None:
    whole = await live.whole(await live.get("/reads/bare"))
    assert inflated(whole) == inflated((data / "bare.bam").read_bytes())
    assert (await live.get("/reads/bare?class=header")).status == 200
    for query in ("referenceName=one", "referenceName=*", "referenceName=one&start=5&end=5"):
        assert (await live.get(f"/reads/bare?{query}")).error == (400, "InvalidRange")
    body = {"regions": [{"referenceName": "one"}]}
    assert (await live.post("/reads/bare", body)).error == (400, "InvalidRange")


async def test_empty_file(live: Live, data: Path) -> None:
    content = inflated((data / "empty.bam").read_bytes())
    for query in ("", "?class=header", "?referenceName=one", "?referenceName=*"):
        answered = await live.whole(await live.get(f"/reads/empty{query}"))
        assert inflated(answered) == content
        assert answered.endswith(BGZF_EOF)


async def test_index_older_than_its_data(live: Live) -> None:
    reply = await live.get("/reads/stale?referenceName=one")
    assert reply.error == (500, "InternalServerError")
    assert "stale" in reply.json["message"]
    assert ".bam" not in reply.json["message"]
    assert (await live.get("/reads/stale")).status == 200
    assert (await live.get("/reads/stale?class=header")).status == 200
    assert (await live.get("/reads/reads?referenceName=one")).status == 200


@pytest.fixture(scope="module")
def streams(data: Path) -> dict[str, Stream]:
    return {
        "/reads/reads?": open_stream(data / "reads.bam"),
        "/variants/variants?": open_stream(data / "variants.vcf.gz"),
        "/variants/variants?format=BCF&": open_stream(data / "variants.bcf"),
    }


async def test_answers_are_exact(live: Live, streams: dict[str, Stream]) -> None:
    for path, stream in streams.items():
        header = inflated(await live.whole(await live.get(f"{path}class=header")))
        for name in NAMES:
            for start, end in (
                (0, 100),
                (300, 301),
                (5, 5),
                (0, 0),
                (1_000, 1 << 31),
                (900, 3_000),
            ):
                query = f"referenceName={quote(name)}&start={start}&end={end}"
                answered = inflated(await live.whole(await live.get(path + query)))
                expected = (
                    stream.overlapping(stream.locate(name, start, end)) if start < end else b""
                )
                assert answered == header + expected, query


async def test_unplaced_reads_only(live: Live, streams: dict[str, Stream]) -> None:
    stream = streams["/reads/reads?"]
    header = inflated(await live.whole(await live.get("/reads/reads?class=header")))
    unplaced = b"".join(each.data for each in stream.records if each.reference < 0)
    assert unplaced
    answered = await live.whole(await live.get("/reads/reads?referenceName=*"))
    assert inflated(answered) == header + unplaced


async def test_header_is_the_same_for_every_request(live: Live) -> None:
    """Byte for byte; the ticket for the header alone adds the EOF marker."""
    for path in ("/reads/reads?", "/variants/variants?", "/variants/variants?format=BCF&"):
        alone = await live.get(f"{path}class=header")
        assert [each["class"] for each in alone.json["urls"]] == ["header"]
        header = (await live.get(alone.urls[0])).body
        for query in ("", "referenceName=one", "referenceName=three&start=5&end=5"):
            reply = await live.get(path + query)
            assert [each["class"] for each in reply.json["urls"]] == ["header", "body"]
            assert (await live.get(reply.urls[0])).body + BGZF_EOF == header


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
async def test_other_methods(live: Live, method: str) -> None:
    for path, allowed in (
        ("/reads/reads", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/variants/nope", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/reads/service-info", {"GET", "HEAD", "OPTIONS"}),
        ("/blocks/x", {"GET", "HEAD", "OPTIONS"}),
    ):
        reply = await live.ask(method, path, headers={"Origin": "https://a.example"})
        assert reply.error == (405, "InvalidInput")
        known = {each.strip() for each in reply.headers["Allow"].split(",")}
        assert known >= allowed
        assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
    override = await live.ask("POST", "/blocks/x", headers={"X-HTTP-Method-Override": "GET"})
    assert override.error == (405, "InvalidInput")


OTHER_PATHS = [
    "/foo", "/reads", "/reads/", "/variants", "/blocks", "/blocks/", "/blocks/a/b", "/Reads/reads",
    "/htsget/reads/reads", "/.git/config", "/reads%2freads", "//reads/reads",
]  # fmt: skip


@pytest.mark.parametrize("path", OTHER_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_paths(live: Live, method: str, path: str) -> None:
    reply = await live.ask(method, path, headers={"Origin": "https://a.example"})
    assert reply.error == (404, "NotFound")
    assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"


async def test_preflight(live: Live) -> None:
    ticket = (await live.get("/reads/reads")).urls[0]
    for path in ("/reads/reads", "/variants/nope", "/reads/service-info", ticket, "/blocks/forged"):
        reply = await live.ask(
            "OPTIONS",
            path,
            headers={
                "Origin": "https://igv.example",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization, range, x-odd",
            },
        )
        assert reply.status in (200, 204)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://igv.example"
        assert reply.headers["Access-Control-Allow-Headers"] == "authorization, range, x-odd"
        assert "GET" in reply.headers["Access-Control-Allow-Methods"]
        assert reply.headers["Access-Control-Max-Age"] == "2592000"
        assert "Access-Control-Allow-Credentials" not in reply.headers
    reply = await live.ask(
        "OPTIONS",
        "/reads/reads",
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"},
    )
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]


async def test_service_info(live: Live) -> None:
    for endpoint, formats in (("reads", ["BAM", "CRAM"]), ("variants", ["VCF", "BCF"])):
        reply = await live.get(f"/{endpoint}/service-info")
        document = json.loads(reply.body)
        assert reply.status == 200
        assert document["htsget"]["datatype"] == endpoint
        assert document["htsget"]["formats"] == formats
        assert document["type"]["artifact"] == "htsget"
        assert (await live.post(f"/{endpoint}/service-info", {})).error[0] in (404, 405)


@pytest.mark.security("TP6")
async def test_no_client_names_a_file(live: Live) -> None:
    for header in ("HtsgetFilePath", "X-Original-URL", "X-Rewrite-URL", "Range"):
        reply = await live.ask("GET", "/reads/nope", headers={header: "/etc/passwd"})
        assert reply.error == (404, "NotFound")


async def test_errors_tell_nothing_of_the_disk(live: Live, data: Path) -> None:
    for path in (
        "/reads/stale?referenceName=one",
        "/reads/nope",
        "/blocks/x",
        "/reads/bare?start=x",
    ):
        reply = await live.get(path)
        assert str(data).encode() not in reply.body
        assert b"Traceback" not in reply.body
        assert reply.headers["Server"] == "htsgate"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
