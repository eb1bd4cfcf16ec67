"""Files and indexes made to harm: that object answers 500 with its id only; others are served."""

import os
import random
import resource
import shutil
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from formats import bam, bcf
from formats.bgzf import BgzfReader
from formats.records import RecordFormat
from formats.source import BytesSource
from tests.server.live import Live, path_of, serving, settings_of
from tests.support.bgzf_layout import BGZF_EOF, bgzf_block, bgzf_blocks, inflated
from tests.support.index_layout import read_index, write_index

SECONDS = 20
REGION = "?referenceName=one&start=1000&end=2000"


@pytest.fixture
async def hostile(data: Path, tmp_path: Path) -> AsyncIterator[tuple[Live, Path]]:
    """A server of a directory with `good` and a victim that tests damage: `bad`."""
    for name in ("good", "bad"):
        shutil.copy2(data / "large.bam", tmp_path / f"{name}.bam")
        shutil.copy2(data / "large.bam.bai", tmp_path / f"{name}.bam.bai")
        shutil.copy2(data / "variants.vcf.gz", tmp_path / f"{name}.vcf.gz")
        shutil.copy2(data / "variants.vcf.gz.tbi", tmp_path / f"{name}.vcf.gz.tbi")
        shutil.copy2(data / "variants.bcf", tmp_path / f"{name}.bcf")
        shutil.copy2(data / "variants.bcf.csi", tmp_path / f"{name}.bcf.csi")
    async with serving(settings_of(tmp_path)) as live:
        yield live, tmp_path


def put(path: Path, content: bytes) -> None:
    """Replace a file; its index stays the newer one."""
    path.write_bytes(content)
    for index in path.parent.glob(f"{path.name}.*i"):
        os.utime(index)


async def outcome(live: Live, path: str) -> int:
    """The status a client ends with: of the ticket, or of the first block that fails."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    reply = await live.get(path)
    if reply.status == 200:
        for url in reply.urls:
            block = await live.get(url)
            if block.status != 200:
                reply = block
                break
    assert time.monotonic() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # kB
    if reply.status != 200:
        assert reply.error[0] == reply.status
        assert b"/" not in reply.body.replace(b"application/", b"")
        assert b".bam" not in reply.body
    if reply.status == 500:
        assert "object bad" in reply.json["message"]
    return reply.status


async def others_are_served(live: Live) -> None:
    for endpoint, form in (("reads", "BAM"), ("variants", "VCF"), ("variants", "BCF")):
        reply = await live.get(f"/{endpoint}/good?format={form}&referenceName=one&end=5000")
        assert (await live.whole(reply)).endswith(BGZF_EOF)


def bam_start(n_ref: int = 1, l_text: int = 0, text: bytes = b"", name: bytes = b"one\0") -> bytes:
    start = b"BAM\x01" + struct.pack("<I", l_text) + text + struct.pack("<I", n_ref)
    return start + struct.pack("<I", len(name)) + name + struct.pack("<I", 900_000)


def file_of(stream: bytes) -> bytes:
    blocks = (stream[at : at + 65_280] for at in range(0, len(stream), 65_280))
    return b"".join(map(bgzf_block, blocks)) + BGZF_EOF


BOMB = bgzf_block(bytes(65_280), level=9)
BROKEN_DATA: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda old: b"",
    "one byte": lambda old: old[:1],
    "text": lambda old: b"this is no BAM file\n" * 100,
    "plain gzip": lambda old: b"\x1f\x8b\x08\x00" + old[4:],
    "only the EOF marker": lambda old: BGZF_EOF,
    "truncated in the header": lambda old: old[:40],
    "another format": lambda old: file_of(b"CRAM" + bytes(500)),
    "header that ends early": lambda old: file_of(bam_start()[:-3]),
    "text of 4 GB": lambda old: file_of(bam_start(l_text=0xFFFFFFFF)),
    "text of 2 GB": lambda old: file_of(b"BAM\x01" + struct.pack("<I", 1 << 31)) + BOMB * 40,
    "many references": lambda old: file_of(bam_start(n_ref=(1 << 31) - 1)),
    "negative references": lambda old: file_of(bam_start(n_ref=1 << 31)),
    "name of 4 GB": lambda old: file_of(bam_start()[:12] + struct.pack("<I", 0xFFFFFFFF)),
    "name without NUL": lambda old: file_of(bam_start(name=b"oneone")),
    "endless header": lambda old: bgzf_block(bam_start(l_text=1 << 29)) + BOMB * 5_000,
    "wrong checksum": lambda old: old[:60] + bytes([old[60] ^ 1]) + old[61:],
    "block of no size": lambda old: old[:16] + b"\0\0" + old[18:],
    "block beyond the end": lambda old: old[:16] + b"\xff\xff" + old[18:300],
    "extra field beyond the end": lambda old: old[:10] + b"\xff\xff" + old[12:300],
}


@pytest.mark.parametrize("kind", BROKEN_DATA)
@pytest.mark.security("TI5", "TI6")
async def test_broken_headers(hostile: tuple[Live, Path], kind: str) -> None:
    live, home = hostile
    content = BROKEN_DATA[kind]((home / "bad.bam").read_bytes())
    put(home / "bad.bam", content)
    for query in ("", "?class=header", REGION, "?referenceName=*"):
        assert await outcome(live, f"/reads/bad{query}") == 500, query
    await others_are_served(live)


@pytest.mark.parametrize("name", ["bad.vcf.gz", "bad.bcf"])
@pytest.mark.parametrize(
    "kind",
    [
        *("empty", "one byte", "text", "plain gzip", "only the EOF marker"),
        *("wrong checksum", "another format"),
    ],
)
async def test_broken_variants(hostile: tuple[Live, Path], name: str, kind: str) -> None:
    live, home = hostile
    put(home / name, BROKEN_DATA[kind]((home / name).read_bytes()))
    form = "BCF" if name.endswith("bcf") else "VCF"
    for query in ("", "&class=header", "&referenceName=one&end=500"):
        assert await outcome(live, f"/variants/bad?format={form}{query}") == 500, query
    await others_are_served(live)


@pytest.mark.parametrize("name", ["bad.bam", "bad.vcf.gz", "bad.bcf"])
@pytest.mark.security("TI5")
async def test_truncated_files(hostile: tuple[Live, Path], name: str) -> None:
    """Wherever a file ends early: an answer that looks whole holds whole blocks."""
    live, home = hostile
    whole = (home / name).read_bytes()
    borders = {at + size for at, size, _ in bgzf_blocks(whole)}
    endpoint = "reads" if name == "bad.bam" else "variants"
    form = {"bad.bam": "BAM", "bad.vcf.gz": "VCF", "bad.bcf": "BCF"}[name]
    draw = random.Random(1)
    for length in draw.sample(range(len(whole) - 29), 12):
        put(home / name, whole[:length])
        assert length in borders or await outcome(live, f"/{endpoint}/bad?format={form}") == 500
        query = f"format={form}&referenceName=one"
        assert await outcome(live, f"/{endpoint}/bad?{query}") == 500
    await others_are_served(live)


@pytest.mark.parametrize("name", ["bad.bam", "bad.vcf.gz", "bad.bcf"])
@pytest.mark.security("TI10")
async def test_flipped_bits(hostile: tuple[Live, Path], name: str) -> None:
    """500 where the damage is decoded; in a verbatim block the client's checksum tells."""
    live, home = hostile
    whole = (home / name).read_bytes()
    endpoint = "reads" if name == "bad.bam" else "variants"
    form = {"bad.bam": "BAM", "bad.vcf.gz": "VCF", "bad.bcf": "BCF"}[name]
    draw = random.Random(2)
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 8))):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        put(home / name, bytes(damaged))
        for query in ("", "&referenceName=one&start=900&end=9000"):
            path = f"/{endpoint}/bad?format={form}{query}"
            assert await outcome(live, path) in (200, 404, 500)
    await others_are_served(live)


Chunks = list[tuple[int, int]]
HeldBins = dict[int, tuple[int, Chunks]]


def rewritten(index: Path, change: Callable[[HeldBins], None]) -> None:
    """Change the bins of the first reference."""
    parsed = read_index(index)
    real = parsed.references[0].bins
    pseudo = real.pop(parsed.pseudo_bin)
    change(real)
    real[parsed.pseudo_bin] = pseudo
    write_index(index, parsed)


CHUNKS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "backwards": lambda begin, end: (end, begin),
    "beyond the end": lambda begin, end: (begin, 1 << 60),
    "at the end of numbers": lambda begin, end: (begin, (1 << 64) - 1),
    "from beyond the end": lambda begin, end: (1 << 60, (1 << 60) + 5),
    "in the midst of a block": lambda begin, end: (begin + (1 << 16) * 7, end),
    "in the midst of a record": lambda begin, end: (begin + 3, end),
    "beyond a block": lambda begin, end: (begin | 0xFFFF, end),
    "nothing": lambda begin, end: (begin, begin),
    "from nothing": lambda begin, end: (0, end),
}


@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.parametrize("form", ["BAM", "VCF", "BCF"])
@pytest.mark.security("TI2")
async def test_hostile_chunks(hostile: tuple[Live, Path], kind: str, form: str) -> None:
    """An index may lie: the answer is an error, or the right records."""
    live, home = hostile
    name = {"BAM": "bad.bam.bai", "VCF": "bad.vcf.gz.tbi", "BCF": "bad.bcf.csi"}[form]
    endpoint = "reads" if form == "BAM" else "variants"
    path = f"/{endpoint}/bad?format={form}&referenceName=one&start=900&end=9000"
    expected = inflated(await live.whole(await live.get(path.replace("/bad", "/good"))))

    def change(bins: HeldBins) -> None:
        for number, (loffset, chunks) in bins.items():
            bins[number] = loffset, [CHUNKS[kind](*chunk) for chunk in chunks]

    rewritten(home / name, change)
    status = await outcome(live, path)
    assert status in (200, 500)
    if status == 200:
        answered = inflated(await live.whole(await live.get(path)))
        assert set(split(answered, form)) <= set(split(expected, form))
    await others_are_served(live)


def split(stream: bytes, form: str) -> list[bytes]:
    """The records, behind whatever header: what a lie about chunks may leave out, not add."""
    if form == "VCF":
        return stream.splitlines()
    if form == "BAM":
        header = bam.read_header(BgzfReader(BytesSource(file_of(stream))))
        layout: RecordFormat = bam.BamRecords(len(header.names))
    else:
        header = bcf.read_header(BgzfReader(BytesSource(file_of(stream))))
        layout = bcf.BcfRecords(len(header.names))
    at = len(header.payload)
    return [stream[begin:end] for begin, end, *_ in layout.spans(stream, at)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BAI\x01",
        b"BAI\x01" + struct.pack("<I", (1 << 31) - 1),
        b"BAI\x01" + struct.pack("<II", 1, 0xFFFFFFFF),
        b"BAI\x01" + struct.pack("<IIII", 1, 1, 4681, 0xFFFFFFFF),
        b"BAI\x01" + struct.pack("<I", 150_000) + bytes(1_200_000),
        b"CSI\x01" + struct.pack("<iii", 14, 10, 0) + bytes(100),
        b"CSI\x01" + struct.pack("<iiI", 30, 10, 0xFFFFFFFF),
        b"\x1f\x8b\x08\x04" + bytes(100),
        file_of(b"TBI\x01" + struct.pack("<8I", 1, 2, 1, 2, 0, 35, 0, 1 << 30)),
        random.Random(1).randbytes(5_000),
        file_of(b"CSI\x01" + struct.pack("<iiiii", 14, 5, 0, 1, 1 << 20)) + BOMB * 100,
    ],
    ids=range(12),
)
@pytest.mark.security("TI1", "TI3")
async def test_hostile_indexes(hostile: tuple[Live, Path], content: bytes) -> None:
    live, home = hostile
    (home / "bad.bam.bai").write_bytes(content)
    for query in (REGION, "?referenceName=*", "?referenceName=two|x"):
        assert await outcome(live, f"/reads/bad{query}") == 500
    assert await outcome(live, "/reads/bad") == 200
    assert await outcome(live, "/reads/bad?class=header") == 200
    await others_are_served(live)


@pytest.mark.security("TI3")
async def test_index_bomb(hostile: tuple[Live, Path]) -> None:
    """Half a megabyte that unfolds to half a gigabyte."""
    live, home = hostile
    (home / "bad.bam.bai").write_bytes(bgzf_block(b"CSI\x01") + BOMB * 8_300)
    assert await outcome(live, f"/reads/bad{REGION}") == 500
    await others_are_served(live)


async def test_index_larger_than_any(hostile: tuple[Live, Path]) -> None:
    live, home = hostile
    os.truncate(home / "bad.bam.bai", 1 << 40)
    assert await outcome(live, f"/reads/bad{REGION}") == 500
    await others_are_served(live)


@pytest.mark.security("TI8")
async def test_records_without_end(hostile: tuple[Live, Path]) -> None:
    """A line, and a record, that fill the file."""
    live, home = hostile
    vcf = b"##fileformat=VCFv4.3\n#CHROM\n"
    line = bgzf_block(vcf + b"one\t1000\t.\tA\t") + bgzf_block(b"C" * 65_280, level=9) * 2_500
    put(home / "bad.vcf.gz", line + BGZF_EOF)
    assert await outcome(live, "/variants/bad?referenceName=one&end=5000") == 500
    record = struct.pack("<Iii", (1 << 27) - 1, 0, 1000) + bytes(24)
    put(home / "bad.bam", bgzf_block(bam_start() + record) + BOMB * 2_500 + BGZF_EOF)
    assert await outcome(live, f"/reads/bad{REGION}") == 500
    await others_are_served(live)


@pytest.mark.security("TI5")
async def test_many_blocks_of_nothing(hostile: tuple[Live, Path]) -> None:
    live, home = hostile
    put(home / "bad.bam", bgzf_block(bam_start()) + BGZF_EOF * 300_000 + bgzf_block(b"x"))
    assert await outcome(live, f"/reads/bad{REGION}") == 500
    await others_are_served(live)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.security("TI10")
async def test_mutated_indexes(hostile: tuple[Live, Path], seed: int) -> None:
    live, home = hostile
    draw = random.Random(seed)
    path = home / "bad.bam.bai"
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 3, 30))):
        at = draw.randrange(len(content) - 4)
        if draw.random() < 0.5:
            content[at] = draw.randrange(256)
        else:
            content[at : at + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\0\0\0\x80", b"\1\0\0\0"))
    path.write_bytes(bytes(content))
    for query in (REGION, "?referenceName=one", "?referenceName=*"):
        assert await outcome(live, f"/reads/bad{query}") in (200, 500)


async def test_requests_that_cost_a_failure_each(hostile: tuple[Live, Path]) -> None:
    """Nothing piles up: no descriptor, no task, no lasting error."""
    live, home = hostile
    good = (home / "bad.bam").read_bytes()
    put(home / "bad.bam", good[:50_000])
    for _ in range(30):
        assert (await live.get(path_of("reads", "bad"))).status == 500
    put(home / "bad.bam", good)
    assert (await live.get("/reads/bad")).status == 200
    await others_are_served(live)
