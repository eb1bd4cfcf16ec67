import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pysam
import pytest

from formats.binning import parse_index
from formats.windows import WindowTable
from server.app import create_app
from server.cli import run
from server.config import load_settings
from tests.support.running_server import running


def explain(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["explain", *map(str, arguments), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


async def served_sizes(url: str, query: dict[str, str]) -> list[int]:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}?{urlencode(query)}") as response:
            ticket = json.loads(await response.read())["htsget"]
        sizes = []
        for each in ticket["urls"]:
            async with session.get(each["url"]) as response:
                sizes.append(len(await response.read()))
        return sizes


@pytest.fixture(scope="module")
def told(pristine_demo: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Explanations of every format and of some regions."""
    explanations = {}
    cases = [(kind, "chr1:50,001-60,000") for kind in ("BAM", "CRAM", "VCF", "BCF")]
    cases += [(kind, region) for kind in ("BAM", "CRAM") for region in ("*", "chr1", "chrM:16000-")]
    for kind, region in cases:
        with pytest.MonkeyPatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
                environment.delenv(name)
            lines: list[str] = []
            environment.setattr("server.cli.explain.print", lines.append, raising=False)
            arguments = ["demo", region, str(pristine_demo), "--format", kind, "--json"]
            assert run(["explain", *arguments]) == 0
        explanations[kind, region] = json.loads("".join(lines))
    return explanations


async def test_it_tells_what_is_sent(
    pristine_demo: Path, told: dict[tuple[str, str], dict[str, Any]]
) -> None:
    settings = load_settings(None, {"locations": [{"url": str(pristine_demo)}]})
    with running(create_app(settings)) as url:
        for (kind, _), document in told.items():
            region = document["region"]
            query = {"format": kind, "referenceName": region["referenceName"]}
            if region["referenceName"] != "*":
                query["start"] = str(region["start"])
                if region["end"] is not None:
                    query["end"] = str(region["end"])
            sizes = await served_sizes(f"{url}/{document['endpoint']}/demo", query)
            count = document["bytes"]
            assert sizes == [count["header"], count["total"] - count["header"]]


def test_the_parts_add_up(told: dict[tuple[str, str], dict[str, Any]]) -> None:
    for (kind, region), document in told.items():
        count, segments = document["bytes"], document["segments"]
        body = {
            part: sum(each["bytes"] for each in segments if each["kind"] == part)
            for part in ("re-encoded", "verbatim")
        }
        assert body == {"re-encoded": count["reencoded"], "verbatim": count["verbatim"]}
        assert count["total"] == sum(count[part] for part in ("header", "eof")) + sum(body.values())
        for each in segments:
            if each["kind"] == "verbatim":
                assert each["end"] - each["start"] == each["bytes"]
        assert document["index"].startswith("demo.")
        assert bool(document["containers"]) == (kind == "CRAM")
        assert bool(document["chunks"]) == (kind != "CRAM")
        assert (document["bounds"] is None) == (kind == "CRAM" or region == "*")
        assert count["plain"] > 0


def test_records_are_those_of_pysam(
    pristine_demo: Path, told: dict[tuple[str, str], dict[str, Any]]
) -> None:
    with (
        pysam.AlignmentFile(str(pristine_demo / "demo.bam")) as reads,
        pysam.VariantFile(str(pristine_demo / "demo.bcf")) as variants,
    ):
        for (kind, region), document in told.items():
            name, start, end = document["region"].values()
            if region == "*":
                expected = sum(read.reference_id < 0 for read in reads.fetch(until_eof=True))
            elif kind in ("BAM", "CRAM"):
                expected = sum(1 for _ in reads.fetch(name, start, end))
            else:
                expected = sum(1 for _ in variants.fetch(name, start, end))
            assert document["records"] == expected > 0


def test_whole_blocks_would_be_more(told: dict[tuple[str, str], dict[str, Any]]) -> None:
    small = told["BAM", "chr1:50,001-60,000"]
    assert small["bytes"]["plain"] > small["bytes"]["total"]
    assert 0 < small["decoded"] < 50
    cram = told["CRAM", "chr1:50,001-60,000"]
    assert 0 < cram["decoded"] <= len(cram["containers"])
    assert told["CRAM", "chr1"]["bytes"]["verbatim"] > 0


def test_a_reference_that_is_missing(demo_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = explain(capsys, "demo", "chr2:500-600", demo_files / "demo.cram", "--format", "cram")
    assert "chr2 is not configured" in document["notes"][0]
    assert document["decoded"] == 0
    assert document["bytes"]["reencoded"] == 0
    assert document["bytes"]["total"] == document["bytes"]["plain"]


def test_the_text(pristine_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "demo", "chr1:1,001-2,000", str(pristine_demo)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:12].strip(): line[12:].strip() for line in lines if line[:12].strip()}
    assert rows["object"] == "demo, reads, BAM"
    assert rows["index"] == "demo.bam.bai"
    assert rows["region"].startswith("chr1, 1,000 to 2,000 ")
    assert set(rows) == {
        "object", "file", "index", "region", "window", "chunks", "decoded", "sent", "total",
        "records", "instead of",
    }  # fmt: skip


def test_which_object_is_meant(pristine_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        ([], "BAM"),
        (["--format", "cram"], "CRAM"),
        (["--endpoint", "variants"], "VCF"),
        (["--endpoint", "variants", "--format", "BCF"], "BCF"),
    ):
        document = explain(capsys, "x/demo", "chr1:1-500", f"x={pristine_demo}", *arguments)
        assert document["format"] == expected
    document = explain(capsys, "--format", "bcf", "demo", "chr1", pristine_demo / "demo.bcf")
    assert document["format"] == "BCF"
    document = explain(capsys, "demo", "chr1", "--format", "bcf", pristine_demo)
    assert document["format"] == "BCF"


def test_the_other_format_is_asked_for_as_of_the_server(
    pristine_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "demo", "chr1", str(pristine_demo / "demo.cram")]) == 2
    assert "there is no BAM, which a request gets" in (error := capsys.readouterr().err)
    assert "use --format CRAM" in error
    assert run(["explain", "demo", "chr1", str(pristine_demo / "demo.bam"), "--format=cram"]) == 2
    assert capsys.readouterr().err == "htsgate: demo: there is no CRAM; use --format BAM\n"
    with pytest.raises(SystemExit):
        run(["explain", "demo", "chr1", str(pristine_demo), "--format", "sam"])
    error = capsys.readouterr().err
    assert "BCF" in error
    assert "Format." not in error
    with pytest.raises(SystemExit):
        run(["explain", "demo", "chr1", str(pristine_demo), "--nonsense"])
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "chr1"], "no such object"),
        (["demo", "chr9"], "no such reference"),
        (["demo", "chr1:9-5"], "ends before it starts"),
        (["demo", "*", "--endpoint", "variants"], "variants"),
        (["demo", "chr1", "--endpoint", "reads", "--format", "VCF"], "no such object"),
    ],
)
def test_usage(
    arguments: list[str],
    message: str,
    pristine_demo: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, region, *options = arguments
    assert run(["explain", first, region, str(pristine_demo), *options]) == 2
    assert message in capsys.readouterr().err


def test_data_that_cannot_be_sliced(demo_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (demo_files / "demo.bam.bai").unlink()
    assert run(["explain", "demo", "chr1:1-5", str(demo_files)]) == 1
    assert "no index" in capsys.readouterr().err


def overlapping(table: WindowTable, start: int, end: int) -> set[tuple[int, int]]:
    """The chunks of the bins that overlap an interval, bin by bin (SAMv1 § 5.3)."""
    chunks = set()
    for number, bin_id in enumerate(table.bins.ids.tolist()):
        level = 0
        while bin_id >= ((1 << 3 * (level + 1)) - 1) // 7:
            level += 1
        size = 1 << (table.min_shift + 3 * (table.depth - level))
        first = (bin_id - ((1 << 3 * level) - 1) // 7) * size
        if first < end and start < first + size:
            rows = slice(table.bins.rows[number], table.bins.rows[number + 1])
            begins, ends = table.bins.begins[rows].tolist(), table.bins.ends[rows].tolist()
            chunks |= set(zip(begins, ends, strict=True))
    return chunks


@pytest.mark.parametrize("name", ["demo.bam.bai", "demo.vcf.gz.tbi", "demo.bcf.csi"])
def test_chunks_are_those_of_the_overlapping_bins(pristine_demo: Path, name: str) -> None:
    index = parse_index((pristine_demo / name).read_bytes())
    for reference in range(2):
        table = index.table(reference)
        assert table is not None
        for start in range(0, 120_000, 7_000):
            for length in (1, 5_000, 40_000, 1 << 40):
                found = table.chunks(start, start + length)
                assert found == sorted(found)
                assert all(end < begin for (_, end), (begin, _) in pairwise(found))
                bounds = table.query(start, start + length)
                expected = {
                    (max(begin, bounds.start), min(end, bounds.end))
                    for begin, end in overlapping(table, start, start + length)
                    if begin < bounds.end and end > bounds.start
                }
                for begin, end in expected:
                    assert any(low <= begin and end <= high for low, high in found)
                edges = {offset for chunk in expected for offset in chunk}
                assert {offset for chunk in found for offset in chunk} <= edges
