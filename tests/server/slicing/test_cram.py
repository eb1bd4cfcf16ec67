"""Slices of CRAM against pysam on the same file: every record once, in order, with all its tags."""

import os
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pysam
import pytest

from formats.crai import scan_containers
from formats.cram import walk
from formats.regions import UNBOUNDED, Interval
from server.slicing.cram import plan_cram
from server.slicing.fasta_files import FastaOnDisk
from server.slicing.references import ReferenceStore
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection
from server.slicing.trimming import Trimmer
from server.slicing.workers import WorkerPool
from tests.support.cram_slices import (
    LAYOUTS,
    LENGTHS,
    NAMES,
    Cram,
    draw_selection,
    write_cram,
)

SHARED = Path(
    os.environ.get("SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
)


@pytest.fixture(scope="module", params=LAYOUTS)
def cram(
    request: pytest.FixtureRequest, bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory
) -> Cram:
    return write_cram(tmp_path_factory.mktemp("cram"), bam, fasta, request.param)


def test_random_selections(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(11)
    trim = Trimmer(pool, references)
    for _ in range(40):
        selection = draw_selection(draw, cram)
        segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
        assert cram.decode(segments, tmp_path) == cram.expected(selection), selection


def test_single_regions_are_what_pysam_fetches(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(12)
    trim = Trimmer(pool, references)
    name = str(cram.reference) if cram.reference else None
    with pysam.AlignmentFile(str(cram.path), reference_filename=name) as original:
        for _ in range(15):
            number = draw.randrange(len(LENGTHS))
            start = draw.randrange(LENGTHS[NAMES[number]])
            end = start + draw.choice([1, 30, 700, 20_000])
            selection = Selection((Interval(number, start, end),))
            segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
            fetched = [r.to_string() for r in original.fetch(NAMES[number], start, end)]
            assert cram.decode(segments, tmp_path) == fetched


def test_containers_wholly_inside_are_not_decoded(
    cram: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    """The whole of a reference: at most containers on several references are looked into."""
    trim = Trimmer(pool, references)
    selection = Selection((Interval(0, 0, UNBOUNDED),))
    segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
    single = [c for c in walk(cram.source, cram.header) if c.reference == 0]
    covered = [s for s in segments if isinstance(s, Stored)]
    for container in single:
        assert any(s.start <= container.offset and container.stop <= s.end for s in covered)
    if single:
        assert len(covered) == 1


def test_cuts_tile(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(13)
    trim = Trimmer(pool, references)
    size = cram.source.size
    intervals = (Interval(0, 500, 21_000), Interval(1, 0, UNBOUNDED))
    for base in (Selection(), Selection(intervals, unplaced=True)):
        for index in (cram.index, None) if base.intervals is None else (cram.index,):
            borders = [0, *sorted(draw.randrange(size) for _ in range(3)), size]
            segments: list[Segment] = []
            for cut in pairwise(borders):
                part = replace(base, cut=cut)
                segments += plan_cram(cram.source, cram.header, index, part, trim)
            whole = plan_cram(cram.source, cram.header, index, base, trim)
            assert cram.answer(segments) == cram.answer(whole)
            if base.intervals is None:
                assert cram.answer(segments) == cram.path.read_bytes()
            else:
                assert cram.decode(segments, tmp_path) == cram.expected(base)


def test_index_of_container_headers_serves_as_well(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    index = scan_containers(cram.source, cram.header)
    assert index.offsets == cram.index.offsets
    trim = Trimmer(pool, references)
    draw = random.Random(14)
    for _ in range(5):
        selection = draw_selection(draw, cram)
        segments = plan_cram(cram.source, cram.header, index, selection, trim)
        assert cram.decode(segments, tmp_path) == cram.expected(selection)


def test_answers_are_the_same_bytes_each_time(
    cram: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    selection = Selection((Interval(0, 1000, 9000), Interval(1, 5, 15_000)), unplaced=True)
    other = WorkerPool(1)
    try:
        answers = {
            cram.answer(
                plan_cram(
                    cram.source, cram.header, cram.index, selection, Trimmer(workers, references)
                )
            )
            for workers in (pool, pool, other)
        }
    finally:
        other.close()
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("name", "fasta_name"),
    [
        ("htsnexus_test_NA12878.cram", None),
        ("mitoAlignmentStartTest.cram", "mitoAlignmentStartTest.fa"),
        ("CEUTrio.NA12878.20.first.8000.slices500.cram", "human_g1k_v37.20.subset.fasta"),
    ],
)
def test_shared_files(name: str, fasta_name: str | None, pool: WorkerPool, tmp_path: Path) -> None:
    path = SHARED / "cram" / name
    if not path.exists():
        pytest.skip("the shared data folder is absent")
    fasta = SHARED / "fasta" / fasta_name if fasta_name else None
    cram = Cram(path, fasta)
    store = ReferenceStore([FastaOnDisk(fasta)] if fasta else [])
    trim = Trimmer(pool, store)
    draw = random.Random(15)
    numbers = sorted({place[0] for place, _ in cram.records if place[0] >= 0})
    try:
        for _ in range(30):
            number = draw.choice(numbers)
            starts = [place[1] for place, _ in cram.records if place[0] == number]
            start = draw.randrange(min(starts), max(starts) + 100)
            size = draw.choice([1, 100, 1000, 20_000, UNBOUNDED])
            selection = Selection((Interval(number, start, start + size),), draw.random() < 0.1)
            segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
            assert cram.decode(segments, tmp_path) == cram.expected(selection)
    finally:
        store.close()
