"""The benchmark harness: that it runs, and what its results look like. No test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Gate, Row, Sample, row_of, speed_ratio, take_turns
from benchmarks.report import as_json, from_json, markdown

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("benchmarks")
    return directory / "data", directory / "results"


def test_a_quick_run_writes_a_result(places: tuple[Path, Path]) -> None:
    data, results = places
    only = ("query", "cold-load", "flatness", "large-range", "edges", "pysam", "formats")
    flags = [flag for name in only for flag in ("--only", name)]
    done = run("--quick", "--rounds", "1", "--data", str(data), "--results", str(results), *flags)
    assert done.returncode == 0, done.stderr
    (path,) = results.iterdir()
    document = json.loads(path.read_text())
    assert document["run"]["scale"] == "quick"
    assert document["run"]["measurements"] == list(only)
    assert {"processor", "python", "load", "aiohttp"} <= set(document["machine"])
    names = [row["name"] for row in document["rows"]]
    assert len(names) == len(set(names))
    assert {"query-p50", "plan-flatness", "large-range", "edges-11", "pysam-1mb"} <= set(names)
    for row in document["rows"]:
        assert row["value"] is not None, row
        assert row["value"] > 0, row
        assert row["gate"] is None, "a quick run judges nothing"
    assert "warm query" in done.stdout

    shown = run("--show", str(path), "--markdown")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 2 + len(names)


def test_a_store_is_measured_or_said_to_be_missing(places: tuple[Path, Path]) -> None:
    data, results = places
    only = ("s3-ticket", "s3-interior", "s3-block")
    flags = [flag for name in only for flag in ("--only", name)]
    before = set(results.glob("*.json"))
    done = run("--quick", "--rounds", "1", "--data", str(data), "--results", str(results), *flags)
    assert done.returncode == 0, done.stderr
    (path,) = set(results.glob("*.json")) - before
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    assert set(only[:2]) <= set(rows)
    for row in rows.values():
        assert row["value"] or row["note"], row
    if rows["s3-interior"]["value"] is not None:
        assert {"s3-ticket-rate", "s3-block-warm", "s3-block-cold"} <= set(rows)
        assert "reader" in rows["s3-interior"]["note"]


def test_reference_sequences_are_measured(places: tuple[Path, Path]) -> None:
    data, results = places
    only = ("subsequence", "sequence", "chromosome", "ingest")
    flags = [flag for name in only for flag in ("--only", name)]
    before = set(results.glob("*.json"))
    done = run("--quick", "--rounds", "1", "--data", str(data), "--results", str(results), *flags)
    assert done.returncode == 0, done.stderr
    (path,) = set(results.glob("*.json")) - before
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    assert {
        "subsequence", "subsequence-hot", "sequence-request", "sequence-request-cpu",
        "sequence-request-hot", "sequence-request-hot-cpu",
        "chromosome-flat", "chromosome-fasta", "chromosome-memory", "ingest", "ingest-cpu",
    } == set(rows)  # fmt: skip
    for name, row in rows.items():
        assert row["value"] is not None, row
        assert row["value"] > 0 or name == "chromosome-memory", row


def test_the_data_are_made_once(places: tuple[Path, Path]) -> None:
    data, results = places
    flags = ("--quick", "--rounds", "1", "--only", "cold-load")
    for _ in range(2):
        done = run(*flags, "--data", str(data), "--results", str(results))
        assert done.returncode == 0, done.stderr
    assert "generating" not in done.stderr


def test_contenders_take_turns() -> None:
    turns: list[str] = []

    def contender(name: str) -> Sample:
        turns.append(name)
        return Sample(1, 1.0)

    samples = take_turns({"a": lambda: contender("a"), "b": lambda: contender("b")}, 3)
    assert turns == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert {name: len(each) for name, each in samples.items()} == {"a": 3, "b": 3}


def test_a_ratio_belongs_to_its_round() -> None:
    subject = [Sample(10, 1.0, 0.5), Sample(10, 4.0, 2.0), Sample(10, 2.0, 1.0)]
    baseline = [Sample(10, 2.0, 1.0), Sample(20, 4.0, 1.0), Sample(10, 8.0, 1.0)]
    assert speed_ratio(subject, baseline) == [2.0, 0.5, 4.0]
    row = row_of("name", "title", speed_ratio(subject, baseline), gate=Gate(2.5, 3))
    assert row.value == 2.0
    assert row.missed
    assert speed_ratio(subject, baseline, "CPU") == [2.0, 0.25, 1.0]


@pytest.mark.parametrize(
    ("gate", "value", "missed"),
    [
        (Gate(2, 1, most=True), 2.0, False),
        (Gate(2, 1, most=True), 2.1, True),
        (Gate(2, 3), 2.0, False),
        (Gate(2, 3), 1.9, True),
        (Gate(2, 3), None, False),
        (None, 0.1, False),
        (None, None, False),
    ],
)
def test_a_missed_gate_is_said_to_be_missed(
    gate: Gate | None, value: float | None, missed: bool
) -> None:
    row = Row("name", "title", value, gate=gate, note="why")
    assert row.missed is missed
    *_, line = markdown([row])
    assert ("missed" in line) is missed
    assert ("met" in line) is (gate is not None and value is not None and not missed)
    assert ("not measured" in line) is (value is None)
    (again,) = from_json(json.loads(json.dumps(as_json([row], {}, {}))))
    assert again == row
