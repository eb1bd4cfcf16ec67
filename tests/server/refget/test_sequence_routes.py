import asyncio
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from server.refget.aliases import NamedSequence
from server.refget.digests import Digests
from server.refget.fasta_text import in_lines, lines_of, residue_before, text_size
from server.refget.registry import Alias
from server.refget.sequence_routes import SequenceRoutes
from server.refget.warm import WarmSequence
from tests.server.refget.served_files import Reply, Served, serving_refget

DRAW = random.Random(4)
ONE = "".join(DRAW.choices("ACGTacgtN", k=5_000)).encode()
RING = "".join(DRAW.choices("ACGT", k=100)).encode()
LONG = "".join(DRAW.choices("ACGT", k=1_500_001)).encode()
BOTH = "".join(DRAW.choices("ACGT", k=70)).encode()  # two records of one name
FLAT = "".join(DRAW.choices("ACGT", k=700_001)).encode()

ONE_ID, RING_ID = Digests.from_residues(ONE), Digests.from_residues(RING)
LONG_ID, FLAT_ID = Digests.from_residues(LONG), Digests.from_residues(FLAT)
PATH = f"/sequence/{ONE_ID.md5}"
PLAIN = "text/vnd.ga4gh.refget.v2.0.0+plain; charset=us-ascii"
IMMUTABLE = "public, max-age=31536000, immutable"


def fasta(**records: bytes) -> bytes:
    return b"".join(b">%b\n%b" % (name.encode(), in_lines(each)) for name, each in records.items())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with filled(tmp_path) as served:
        yield served


def filled(folder: Path, **options: Any) -> "Filled":
    return Filled(folder, options)


class Filled:
    """A server of these sequences."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder, self._serving = folder, serving_refget(**options)

    async def __aenter__(self) -> Served:
        served = await self._serving.__aenter__()
        first, second, third = (self._folder / f"{name}.fa" for name in "abc")
        first.write_bytes(fasta(one=ONE, ring=RING, long=LONG, both=BOTH))
        second.write_bytes(fasta(both=RING))
        third.write_bytes(fasta(flat=FLAT))
        names = (Alias("insdc", "AB1.1"), Alias("ucsc", "chr/1"))
        named = NamedSequence(frozenset({"one"}), len(ONE), names, ONE_ID.md5)
        await served.add(first, aliases=[named], circular=["ring"])
        await served.add(second)
        await served.add(third, flat=self._folder / "store")
        return served

    async def __aexit__(self, *_: object) -> None:
        await self._serving.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "name",
    [
        ONE_ID.md5,
        ONE_ID.md5.upper(),
        f"md5:{ONE_ID.md5}",
        ONE_ID.trunc512,
        f"trunc512:{ONE_ID.trunc512.upper()}",
        ONE_ID.ga4gh,
        f"ga4gh:{ONE_ID.ga4gh}",
        f"ga4gh%3A{ONE_ID.ga4gh}",
        ONE_ID.ga4gh.removeprefix("SQ."),
    ],
)
async def test_every_digest_names_the_sequence(server: Served, name: str) -> None:
    for path in (f"/sequence/{name}", f"/sequence/{name}/"):
        reply = await server.get(path)
        assert (reply.status, reply.body) == (200, ONE.upper())
        assert reply.headers["Content-Type"] == PLAIN
        assert reply.headers["Content-Length"] == "5000"
        assert reply.headers["ETag"] == f'"{ONE_ID.ga4gh}"'
        assert reply.headers["Cache-Control"] == IMMUTABLE
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert reply.headers["Vary"] == "Accept, Origin"
        assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize("name", ["insdc:AB1.1", "insdc%3AAB1.1", "ucsc:chr%2F1", "AB1.1", "one"])
async def test_names_are_not_for_ever(server: Served, name: str) -> None:
    for _ in range(2):  # also when it is warm
        for query in ("", "?start=3&end=9"):
            reply = await server.get(f"/sequence/{name}{query}")
            assert reply.status == 200
            assert reply.headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/sequence/nothing?start=a", {"Accept": "x/y"}, 404),
        ("/sequence/", {}, 404),
        ("/sequence/%00", {}, 404),
        ("/sequence/%FF%FE", {}, 404),
        (f"/sequence/{'a' * 5000}", {}, 404),
        ("/sequence/both?start=a", {"Accept": "x/y"}, 409),
        (f"{PATH}?start=a", {"Accept": "x/y"}, 406),
        (f"{PATH}?start=0", {"Range": "bytes=0-1"}, 400),
        (f"{PATH}?start=", {}, 400),
        (f"{PATH}?start=1&start=1", {}, 400),
        (f"{PATH}?end=4294967296", {}, 400),
        (f"{PATH}?start=%2B1", {}, 400),
        (PATH, {"Range": "bytes=0-1,3-4"}, 400),
        (PATH, {"Range": "bytes=5000-"}, 416),
        (PATH, {"Range": "bytes=-0"}, 416),
        (f"{PATH}?start=5000", {}, 416),
        (f"{PATH}?end=5001", {}, 416),
        (f"{PATH}?start=9&end=8", {}, 416),
        (f"{PATH}/metadata", {"Accept": "text/plain"}, 406),
        ("/sequence/nothing/metadata", {}, 404),
        ("/sequence/service-info", {"Accept": "text/plain"}, 406),
    ],
)
async def test_refusals(server: Served, path: str, headers: dict[str, str], status: int) -> None:
    reply = await server.ask("GET", path, headers)
    assert reply.status == status
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(reply.body) < 300
    assert str(Path.cwd().anchor + "tmp") not in reply.body.decode()
    if status == 416:
        assert reply.headers["Content-Range"] == "bytes */5000"


async def test_methods(server: Served) -> None:
    refused = await server.ask("POST", PATH, data=b"x")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")
    for path in (PATH, f"{PATH}/", f"{PATH}/metadata", "/sequence/service-info", "/sequence/x"):
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
        reply = await server.ask("OPTIONS", path, asked)
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
    reply = await server.get(f"{PATH}?start=1&end=5", Origin="https://a.example")
    exposed = reply.headers["Access-Control-Expose-Headers"]
    assert {"ETag", "Content-Range", "Accept-Ranges"} <= set(exposed.split(", "))


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, 5000),
        ("bytes=-10", 4990, 5000),
        ("bytes=-9999", 0, 5000),
        ("bytes=0-9999", 0, 5000),
    ],
)
async def test_range(server: Served, value: str, start: int, end: int) -> None:
    reply = await server.get(PATH, Range=value)
    assert (reply.status, reply.body) == (206, ONE.upper()[start:end])
    assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/5000"
    assert reply.headers["ETag"] == f'"{ONE_ID.ga4gh}"'


async def test_conditions(server: Served) -> None:
    etag = f'"{ONE_ID.ga4gh}"'
    for query, tag in (("", etag), ("?start=1&end=5", f'"{ONE_ID.ga4gh}.1-5"')):
        reply = await server.get(PATH + query, If_None_Match=f'"x", W/{tag}')
        assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)
        assert reply.headers["Cache-Control"] == IMMUTABLE
        assert "Content-Type" in reply.headers
        assert (await server.get(PATH + query, If_None_Match='"x"')).status == 200
    part = await server.get(PATH, Range="bytes=1-4", If_Range=etag)
    assert (part.status, part.body) == (206, ONE.upper()[1:5])
    whole = await server.get(PATH, Range="bytes=1-4", If_Range='"other"')
    assert (whole.status, whole.body) == (200, ONE.upper())
    # What is wrong is told before what is not modified.
    assert (await server.get(f"{PATH}?end=5001", If_None_Match="*")).status == 416


async def test_tags_tell_contents_apart(server: Served) -> None:
    asked = ["", "?start=1", "?start=1&end=5", "?end=5", "?start=5&end=5"]
    replies = [await server.get(PATH + each) for each in asked]
    replies += [await server.get(PATH + each, Accept="text/x-fasta") for each in asked]
    bodies = {reply.headers["ETag"]: reply.body for reply in replies}
    assert len(bodies) == len(asked) * 2
    same = await server.get(f"{PATH}?start=0&end=5000")
    assert same.headers["ETag"] == replies[0].headers["ETag"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/plain", "text/plain; charset=us-ascii"),
        ("text/*", PLAIN),
        ("text/vnd.ga4gh.refget.v1.0.0+plain", PLAIN.replace("v2.0.0", "v1.0.0")),
        ("text/html, text/plain;q=0.5", "text/plain; charset=us-ascii"),
    ],
)
async def test_media_types(server: Served, accept: str, content_type: str) -> None:
    for query in ("", "?start=0&end=5"):
        reply = await server.get(PATH + query, Accept=accept)
        assert reply.headers["Content-Type"] == content_type


async def test_fasta(server: Served) -> None:
    fasta_of = {"Accept": "text/x-fasta"}
    title = f">{ONE_ID.ga4gh}".encode()
    reply = await server.ask("GET", PATH, fasta_of)
    assert reply.body == title + b"\n" + in_lines(ONE.upper())
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.headers["Content-Type"] == "text/x-fasta; charset=us-ascii"
    part = await server.ask("GET", f"{PATH}?start=5&end=100", fasta_of)
    assert part.body == title + b" 5-100\n" + in_lines(ONE.upper()[5:100])
    empty = await server.ask("GET", f"{PATH}?start=5&end=5", fasta_of)
    assert empty.body == title + b" 0-0\n"
    ring = await server.ask("GET", f"/sequence/{RING_ID.md5}?start=95&end=3", fasta_of)
    assert ring.body.split(b"\n")[1] == RING[95:] + RING[:3]
    ranged = await server.ask("GET", PATH, {**fasta_of, "Range": "bytes=1-4"})
    assert (ranged.status, ranged.body) == (200, reply.body)
    assert ranged.headers["Accept-Ranges"] == "none"
    long = await server.ask("GET", f"/sequence/{LONG_ID.md5}", fasta_of)
    assert long.body == f">{LONG_ID.ga4gh}\n".encode() + in_lines(LONG)


@pytest.mark.parametrize("query", ["", "?start=1&end=1000", "?start=7", "?start=2&end=2"])
async def test_head_is_get_without_body(server: Served, query: str) -> None:
    for headers in ({}, {"Accept": "text/x-fasta"}, {"If-None-Match": "*"}):
        for _ in range(2):
            get = await server.ask("GET", PATH + query, headers)
            head = await server.ask("HEAD", PATH + query, headers)
            assert head.body == b""
            assert head.status == get.status
            assert fields(head) == fields(get)


async def test_circular(server: Served) -> None:
    path = f"/sequence/{RING_ID.ga4gh}"
    for start in (1, 50, 99):
        for end in (0, start // 2, start - 1):
            reply = await server.get(f"{path}?start={start}&end={end}")
            assert (reply.status, reply.body) == (200, RING[start:] + RING[:end])


@pytest.mark.parametrize(("whole", "md5"), [(LONG, LONG_ID.md5), (FLAT, FLAT_ID.md5)])
async def test_long_ones(server: Served, whole: bytes, md5: str) -> None:
    path = f"/sequence/{md5}"
    reply = await server.get(path)
    assert reply.body == whole
    assert reply.headers["Content-Length"] == str(len(whole))
    assert "Transfer-Encoding" not in reply.headers
    for start, end in ((1, 400_000), (300_000, len(whole))):
        assert (await server.get(f"{path}?start={start}&end={end}")).body == whole[start:end]
        part = await server.get(path, Range=f"bytes={start}-{end - 1}")
        assert (part.status, part.body) == (206, whole[start:end])


def fields(reply: Reply) -> dict[str, str]:
    return {name.title(): value for name, value in reply.headers.items() if name != "Date"}


async def test_warm_answers_are_the_same(server: Served) -> None:
    for start, end in ((0, 1), (17, 1017), (4999, 5000), (0, 4999), (0, 5000), (30, 20), (7, 7)):
        query = f"start={start}&end={end}"
        await server.get(PATH)
        warm = await server.get(f"{PATH}?{query}")
        for other in (f"{PATH}?{query}&other=1", f"{PATH}/?end={end}&start={start}"):
            cold = await server.get(other)
            assert (warm.status, warm.body, fields(warm)) == (cold.status, cold.body, fields(cold))


async def test_the_next_answer_is_warm(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.get(PATH)
    monkeypatch.setattr(SequenceRoutes, "_answer", None)
    assert (await server.get(f"{PATH}?start=1&end=9")).body == ONE.upper()[1:9]
    assert (await server.get(f"{PATH}?start=1&end=9", Range="bytes=0-1")).status == 500


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_warm_answers_end_connections_as_asked(
    server: Served, version: str, connection: str
) -> None:
    await server.get(PATH)
    line = f"GET {PATH}?start=1&end=9 HTTP/{version}\r\nHost: x\r\nConnection: "
    reader, writer = await asyncio.open_connection(*address(server))
    if connection == "keep-alive":
        writer.write(f"{line}keep-alive\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(8) == ONE.upper()[1:9]
    writer.write(f"{line}close\r\n\r\n".encode())
    data = await asyncio.wait_for(reader.read(), 10)
    assert data.endswith(b"\r\n\r\n" + ONE.upper()[1:9])
    writer.close()
    await writer.wait_closed()


async def test_many_requests_on_one_connection_are_answered_in_order(server: Served) -> None:
    await server.get(PATH)
    asked = [(at, at + 1000) for at in range(0, 4000, 13)]
    requests = (f"GET {PATH}?start={s}&end={e} HTTP/1.1\r\nHost: x\r\n\r\n" for s, e in asked)
    reader, writer = await asyncio.open_connection(*address(server))
    writer.write("".join(requests).encode())
    for start, end in asked:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(end - start) == ONE.upper()[start:end]
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_does_not_read_holds_little(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports = set()
    send = WarmSequence.send

    def watched(warm: WarmSequence, request: web.Request, *values: Any) -> bool:
        transports.add(request.transport)
        return send(warm, request, *values)

    monkeypatch.setattr(WarmSequence, "send", watched)
    path = f"/sequence/{FLAT_ID.md5}"
    await server.get(path)
    host, port = address(server)
    with socket.create_connection((host, port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        request = f"GET {path}?start=1&end=200001 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        await asyncio.get_running_loop().sock_sendall(client, request * 100)
        await asyncio.sleep(0.2)
        (held,) = (each.get_write_buffer_size() for each in transports if each is not None)
        assert 0 < held < 1 << 20
        assert (await server.get(f"{path}?start=1&end=9")).body == FLAT[1:9]


async def test_limit(tmp_path: Path) -> None:
    async with filled(tmp_path, subsequence_limit=100) as served:
        for _ in range(2):
            assert (await served.get(f"{PATH}?start=0&end=100")).status == 200
            assert (await served.get(f"{PATH}?start=0&end=101")).status == 416
            assert (await served.get(PATH, Range="bytes=0-100")).status == 416
            assert (await served.get(PATH)).status == 200
        info = (await served.get("/sequence/service-info")).json
        assert info["refget"]["subsequence_limit"] == 100


async def test_digests_that_may_still_come(server: Served) -> None:
    unknown = ["0" * 32, "0" * 48, "SQ." + "-" * 32]
    for name in unknown:
        assert (await server.get(f"/sequence/{name}")).status == 404
    server.pending = True
    for name in unknown:
        for path in (f"/sequence/{name}", f"/sequence/{name}/metadata"):
            reply = await server.get(path)
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert (await server.get("/sequence/nothing")).status == 404
    assert (await server.get(PATH)).status == 200


async def test_a_file_that_changed_is_not_served(server: Served, tmp_path: Path) -> None:
    assert (await server.get(f"{PATH}?start=1&end=9")).status == 200
    (tmp_path / "a.fa").write_bytes(fasta(one=ONE[::-1], ring=RING, long=LONG, both=BOTH))
    await asyncio.sleep(1.1)  # for so long a file is taken to be what it was
    for query in ("", "?start=1&end=9"):
        reply = await server.get(PATH + query)
        assert (reply.status, reply.body) == (404, b"no such sequence\n")
    # What is in another file too is served from there.
    assert (await server.get(f"/sequence/{RING_ID.md5}")).body == RING


async def test_head_of_a_file_that_is_gone(server: Served, tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.unlink()
    for query in ("", "?start=1&end=9"):
        statuses = [(await server.ask(each, PATH + query)).status for each in ("HEAD", "GET")]
        assert statuses == [404, 404]


async def test_a_file_that_was_read_anew_is_served(server: Served, tmp_path: Path) -> None:
    assert (await server.get(f"/sequence/{LONG_ID.md5}?start=1&end=9")).status == 200
    path = tmp_path / "a.fa"
    path.write_bytes(b">new\nACGTA\n" + fasta(one=ONE, long=LONG))
    kept = server.catalogue.forget
    server.catalogue.forget = lambda: None  # type: ignore[method-assign] # by another process
    await server.add(path)
    server.catalogue.forget = kept  # type: ignore[method-assign]
    for query, residues in (("", LONG), ("?start=1&end=9", LONG[1:9])):
        reply = await server.get(f"/sequence/{LONG_ID.md5}{query}")
        assert (reply.status, reply.body) == (200, residues)


@given(st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=50)
def test_lines(sizes: list[int]) -> None:
    pieces = [RING * 2 for _ in sizes]
    pieces = [piece[:size] for piece, size in zip(pieces, sizes, strict=True)]
    whole = b"".join(pieces)
    expected = b"".join(whole[at : at + 60] + b"\n" for at in range(0, len(whole), 60))

    async def several() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def joined() -> bytes:
        return b"".join([lines async for lines in lines_of(several())])

    assert in_lines(whole) == expected == asyncio.run(joined())
    assert text_size(len(whole)) == len(expected)
    for position in range(0, len(expected), 7):
        assert residue_before(position) == position // 61 * 60


def address(server: Served) -> tuple[str, int]:
    host, _, port = server.base.removeprefix("http://").partition(":")
    return host, int(port)
