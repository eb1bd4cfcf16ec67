import asyncio
import gzip
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pysam
import pytest
from sqlalchemy import Connection

from server.refget.digests import Digests
from server.refget.fasta_text import in_lines
from server.refget.registry import add_collection
from server.refget.seqcol import Collection, PostedCollection, canonical, read_level2
from server.refget.tables import FILES
from tests.server.refget.served_files import Served, serving_refget

DRAW = random.Random(8)


def drawn(length: int) -> bytes:
    return "".join(DRAW.choices("ACGT", k=length)).encode()


RECORDS = {
    "chr1": drawn(600_000),
    "chr2": drawn(60),
    "empty": b"",
    "näme|3": drawn(61),
    "chrM": drawn(1000),
    **{f"t{at}": drawn(at % 130 + 1) for at in range(450)},
}
TEXT = b"".join(b">%b\n%b" % (name.encode(), in_lines(each)) for name, each in RECORDS.items())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving_refget() as served:
        yield served


@pytest.fixture
async def digest(server: Served, tmp_path: Path) -> str:
    """Of the collection of the records; its file has lines of another length, in lower case."""
    lines = []
    for name, residues in RECORDS.items():
        text = residues.lower().decode()
        lines += [f">{name} of interest", *(text[at : at + 71] for at in range(0, len(text), 71))]
    path = tmp_path / "records.fa"
    path.write_text("\n".join(lines) + "\n")
    return await server.add(path, circular=["chrM"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collection/{}?level=0", 400),
        ("/collection/{}?level=3", 400),
        ("/collection/{}?level=", 400),
        ("/collection/{}?level=1&level=2", 400),
        ("/collection/{}?level=two", 400),
        ("/collection/nothing", 404),
        ("/collection/%00", 404),
        ("/collection/nothing/fasta", 404),
        ("/collection/{}/other", 404),
        ("/comparison/{}/nothing", 404),
        ("/comparison/nothing/{}", 404),
        ("/comparison/{}", 405),
        ("/list/collection?page=-1", 400),
        ("/list/collection?page=a", 400),
        ("/list/collection?page=1&page=2", 400),
        ("/list/collection?page_size=0", 400),
        ("/list/collection?page=99999999999999999999", 400),
        ("/list/collection?unknown=x", 400),
        ("/list/collection?names=x&names=x", 400),
        ("/list/collection?" + "names=x&" * 1000, 400),
        ("/list/sequences", 404),
        ("/list/attributes/unknown", 404),
        ("/attribute/collection/unknown/x", 404),
        ("/attribute/collection/names/nothing", 404),
        ("/attribute/sequence/names/nothing", 404),
    ],
)
async def test_refusals(server: Served, digest: str, path: str, status: int) -> None:
    reply = await server.get(path.format(digest))
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert "nothing" not in reply.json["detail"]


async def test_what_may_still_come(server: Served, digest: str) -> None:
    server.pending = True
    for path in ("/collection/nothing", "/collection/nothing/fasta", f"/comparison/{digest}/no"):
        reply = await server.get(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert (await server.get(f"/collection/{digest}")).status == 200


async def test_level_2_is_the_canonical_json(server: Served, digest: str) -> None:
    reply = await server.get(f"/collection/{digest}")
    expected = Collection(
        list(RECORDS),
        [len(each) for each in RECORDS.values()],
        [Digests.from_residues(each).ga4gh for each in RECORDS.values()],
    )
    assert expected.digest == digest
    assert reply.body == canonical(expected.level2())
    assert (await server.get(f"/collection/{digest}?level=1")).json == expected.level1()


async def test_json_is_compressed_for_those_who_take_it(server: Served, digest: str) -> None:
    path = f"/collection/{digest}"
    plain = await server.get(path)
    assert "Content-Encoding" not in plain.headers
    tags = {plain.headers["ETag"]}
    for accept in ("gzip", "br, GZIP;q=0.5", "deflate, gzip"):
        reply = await server.get(path, Accept_Encoding=accept)
        assert reply.headers["Content-Encoding"] == "gzip"
        assert reply.headers["Vary"] == "Accept-Encoding, Origin"
        assert gzip.decompress(reply.body) == plain.body
        tags.add(reply.headers["ETag"])
    for accept in ("gzip;q=0", "gzip; q=0.00", "br", "identity"):
        assert (await server.get(path, Accept_Encoding=accept)).body == plain.body
    assert len(tags) == 2
    short = await server.get("/list/collection", Accept_Encoding="gzip")
    assert "Content-Encoding" not in short.headers
    for tag in tags:
        encoding = "gzip" if "gzip" in tag else "identity"
        reply = await server.get(path, If_None_Match=tag, Accept_Encoding=encoding)
        assert (reply.status, reply.body) == (304, b"")


async def test_head(server: Served, digest: str) -> None:
    for end in ("", "/fasta", "/fai", "/dict", "/chrom.sizes", "?level=1"):
        get = await server.get(f"/collection/{digest}{end}")
        head = await server.ask("HEAD", f"/collection/{digest}{end}")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(get.body))


async def test_cross_origin(server: Served, digest: str) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    reply = await server.ask("OPTIONS", f"/comparison/{digest}", asked)
    assert reply.headers["Access-Control-Allow-Methods"] == "POST"


async def test_pages(server: Served, tmp_path: Path) -> None:
    added = []
    for at in range(7):
        path = tmp_path / f"{at}.fa"
        path.write_text(f">c{at % 2}\nAC{'G' * at}\n")
        added.append(await server.add(path))
    for page in range(4):
        found = (await server.get(f"/list/collection?page={page}&page_size=3")).json
        assert found["results"] == sorted(added)[3 * page : 3 * page + 3]
        assert found["pagination"] == {"page": page, "page_size": 3, "total": 7}
    names = (await server.get("/list/attributes/names")).json["results"]
    assert len(names) == 2
    found = (await server.get(f"/list/collection?names={names[0]}")).json
    assert found["pagination"]["total"] in (3, 4)
    found = (await server.get(f"/list/collection?names={names[0]}&lengths=x")).json
    assert (found["results"], found["pagination"]["total"]) == ([], 0)
    found = (await server.get("/list/collection?page_size=999999999")).json
    assert found["pagination"]["page_size"] == 1000


BASE = {
    "names": ["chrX", "chr1"],
    "lengths": [8, 4],
    "sequences": ["SQ.iYtREV555dUFKg2_agSJW6suquUyPpMw", "SQ.YBbVX0dLKG1ieEDCiMmkrTZFt_Z5Vdaj"],
}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b'{"names":1}', 400),
        (b"\xff", 400),
        (b'{"names":["a"],"lengths":[1,2]}', 400),
        (b"[" * 100_000, 400),
    ],
)
async def test_bodies_that_are_no_collection(
    server: Served, digest: str, body: bytes, status: int
) -> None:
    reply = await server.ask("POST", f"/comparison/{digest}", data=body)
    assert reply.status == status, reply.body
    assert (await server.ask("POST", "/comparison/nothing", data=body)).status == 404


async def test_bodies_are_bounded(
    server: Served, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/comparison/{digest}"
    coded = await server.ask("POST", path, {"Content-Encoding": "gzip"}, b"x")
    assert coded.status == 400
    monkeypatch.setattr("server.refget.collection_routes.MAX_BODY", 3 << 20)
    large = canonical({**BASE, "other": "x" * (2 << 20)})  # more than other requests may bring

    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1 << 16):
            yield body[at : at + (1 << 16)]

    assert (await server.ask("POST", path, data=in_pieces(large))).status == 200
    assert (await server.ask("POST", path, data=in_pieces(large * 2))).status == 413


async def test_bodies_are_read_one_by_one_though_clients_go(
    server: Served, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, finish = threading.Semaphore(0), threading.Event()

    def read_slowly(body: bytes) -> PostedCollection:
        started.release()
        assert finish.wait(10)
        return read_level2(body)

    monkeypatch.setattr("server.refget.collection_routes.read_level2", read_slowly)
    body = canonical({**BASE, "other": "x" * (1 << 16)})
    path = f"/comparison/{digest}"
    gone = asyncio.create_task(server.ask("POST", path, data=body))
    assert await asyncio.to_thread(started.acquire, timeout=5)
    gone.cancel()
    waiting = asyncio.create_task(server.ask("POST", path, data=body))
    assert not await asyncio.to_thread(started.acquire, timeout=0.3)
    finish.set()
    assert (await waiting).status == 200


@pytest.mark.parametrize("strict", [False, True])
async def test_comparison_with_a_body(tmp_path: Path, strict: bool) -> None:
    async with serving_refget(strict=strict) as server:
        path = tmp_path / "x.fa"
        path.write_text(">chrX\nTTGGGGAA\n>chr1\nGGAA\n")
        digest = await server.add(path)

        async def compare(body: dict[str, Any]) -> dict[str, Any]:
            reply = await server.ask("POST", f"/comparison/{digest}", data=canonical(body))
            found: dict[str, Any] = reply.json
            return found

        same = await compare(BASE)
        assert same["digests"] == {"a": digest, "b": digest}
        assert ("sorted_name_length_pairs" in same["attributes"]["a_and_b"]) is strict
        other = await compare({"names": ["chrX", "chr9"], "lengths": [8, 4], "topologies": [1, 2]})
        assert other["digests"]["b"] is None
        assert other["attributes"]["a_only"] == ["sequences", "sorted_sequences"]
        assert other["attributes"]["b_only"] == ["topologies"]
        elements = other["array_elements"]
        assert elements["a_and_b_count"] == {"lengths": 2, "name_length_pairs": 1, "names": 1}
        one = None if strict else True
        order = {"lengths": True, "name_length_pairs": one, "names": one}
        assert elements["a_and_b_same_order"] == order


async def test_comparison_of_names_that_look_like_json(server: Served, tmp_path: Path) -> None:
    names = ['a"},{"length":3,"name":"b', "a},{b", "\\", "},{", '","', "plain"]
    digests = []
    for at in range(2):
        path = tmp_path / f"{at}.fa"
        path.write_text("".join(f">{each}\nACG\n" for each in names[at:]))
        digests.append(await server.add(path))
    found = (await server.get("/comparison/{}/{}".format(*digests))).json["array_elements"]
    assert set(found["a_and_b_count"].values()) == {5}
    assert found["a_and_b_same_order"]["name_length_pairs"] is True
    level2 = await server.get(f"/collection/{digests[1]}")
    posted = await server.ask("POST", f"/comparison/{digests[0]}", data=level2.body)
    assert posted.json["array_elements"] == found


async def test_comparison_of_very_many_names(server: Served) -> None:
    """In time that grows with the names, and without keeping others waiting."""
    count = 200_000
    lengths = [DRAW.randrange(200, 9000) for _ in range(count)]
    sequences = [Digests("0" * 32, DRAW.randbytes(24)).ga4gh for _ in range(count)]
    collections = [
        Collection([f"T{at:08}" for at in range(first, first + count)], lengths, sequences)
        for first in (0, 1000)
    ]

    def write(connection: Connection) -> None:
        for each in collections:
            add_collection(connection, each)
            values = {"url": each.digest, "kind": "fasta", "source": "added", "fingerprint": "1"}
            held = {"complete": True, "collection": each.digest}
            connection.execute(FILES.insert().values(**values, **held))

    await asyncio.to_thread(server.database.run, write)
    a, b = (each.digest for each in collections)
    loop = asyncio.get_running_loop()
    waited = 0.0
    start = loop.time()
    comparison = asyncio.create_task(server.get(f"/comparison/{a}/{b}"))
    while not comparison.done():
        before = loop.time()
        await asyncio.sleep(0.001)
        waited = max(waited, loop.time() - before)
    found = (await comparison).json["array_elements"]
    assert found["a_and_b_count"]["names"] == count - 1000
    assert found["a_and_b_count"]["sequences"] == count
    assert loop.time() - start < 5
    assert waited < 2
    level2 = orjson.loads((await server.get(f"/collection/{a}")).body)
    assert len(level2["names"]) == count


async def test_fasta(server: Served, digest: str, tmp_path: Path) -> None:
    reply = await server.get(f"/collection/{digest}/fasta")
    assert reply.body == TEXT
    assert reply.headers["Content-Length"] == str(len(TEXT))
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{digest}.fa"'
    etag = reply.headers["ETag"]
    unchanged = await server.get(f"/collection/{digest}/fasta", If_None_Match=etag)
    assert (unchanged.status, unchanged.body) == (304, b"")
    path = tmp_path / "again.fa"
    path.write_bytes(reply.body)
    assert await server.add(path) == digest
    beyond = await server.get(f"/collection/{digest}/fasta", Range=f"bytes={len(TEXT)}-")
    assert beyond.status == 416


async def test_ranges_of_fasta(server: Served, digest: str) -> None:
    path = f"/collection/{digest}/fasta"
    size = len(TEXT)
    edges = [0, 5, 6, 7, 66, 67, 68, 610_006, 610_012, 610_013, 610_080, size - 1]
    draws = [tuple(sorted(DRAW.sample(range(size), 2))) for _ in range(40)]
    pairs = [(low, high) for low in edges for high in edges if low <= high] + draws
    for first, last in pairs:
        reply = await server.get(path, Range=f"bytes={first}-{last}")
        assert reply.status == 206
        assert reply.body == TEXT[first : last + 1], (first, last)
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{size}"


async def test_what_goes_beside_it(server: Served, digest: str, tmp_path: Path) -> None:
    path = tmp_path / "again.fa"
    path.write_bytes(TEXT)
    pysam.faidx(str(path))
    reply = await server.get(f"/collection/{digest}/fai")
    assert reply.body == path.with_suffix(".fa.fai").read_bytes()
    sizes = (await server.get(f"/collection/{digest}/chrom.sizes")).body.decode()
    expected = [f"{name}\t{len(residues)}\n" for name, residues in RECORDS.items()]
    assert sizes == "".join(expected)
    made = await asyncio.create_subprocess_exec(
        "samtools", "dict", path, stdout=asyncio.subprocess.PIPE
    )
    written, _ = await made.communicate()
    lines = [line.split("\tUR:")[0] for line in written.decode().splitlines()]
    found = (await server.get(f"/collection/{digest}/dict")).body.decode().splitlines()
    assert [line.removesuffix("\tTP:circular") for line in found] == lines
    assert [line.split("\t")[1] for line in found if "TP:circular" in line] == ["SN:chrM"]


async def test_a_fasta_whose_file_is_gone(server: Served, digest: str, tmp_path: Path) -> None:
    (tmp_path / "records.fa").unlink()
    reply = await server.get(f"/collection/{digest}/fasta")
    assert (reply.status, reply.json["detail"]) == (404, "no such sequence")
    assert (await server.get(f"/collection/{digest}")).status == 200
