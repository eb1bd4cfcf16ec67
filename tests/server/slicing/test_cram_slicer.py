"""A CRAM as tickets see it: where its references stand, and how far intervals reach."""

from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

from formats.regions import UNBOUNDED, Interval
from server.slicing.cram_slicer import CramServices, CramSlicer
from server.slicing.fasta_files import FastaFile, FastaOnDisk
from server.slicing.segments import Segment
from server.slicing.selection import Selection
from server.slicing.workers import WorkerPool
from tests.support.cram_slices import LAYOUTS, Cram, write_cram

ORDER = [3, 1, 4, 0, 2]


@pytest.fixture
def services(pool: WorkerPool, fasta: Path) -> Iterator[CramServices]:
    services = CramServices(pool, lambda: [FastaOnDisk(fasta)], 1 << 20)
    yield services
    services._configured.close()


def slicer_of(cram: Cram, services: CramServices) -> CramSlicer:
    index = cram.path.with_name(cram.path.name + ".crai").read_bytes()
    return CramSlicer.open(cram.header, index, services, "object")


@pytest.mark.parametrize("layout", ["v3.0 external", "several references", "no_ref"])
def test_references_that_stand_in_another_order_than_in_the_header(
    layout: str, bam: Path, fasta: Path, services: CramServices, tmp_path: Path
) -> None:
    with pysam.AlignmentFile(str(bam)) as records:
        kept = [record for record in records.fetch(until_eof=True) if record.reference_id >= 0]
        kept.sort(key=lambda record: ORDER.index(record.reference_id))
        shuffled = tmp_path / "shuffled.bam"
        with pysam.AlignmentFile(str(shuffled), "wb", header=records.header) as out:
            for record in kept:
                out.write(record)
    cram = write_cram(tmp_path, shuffled, fasta, layout)
    slicer = slicer_of(cram, services)
    intervals = [Interval(number, 100, UNBOUNDED) for number in range(5)]
    intervals.sort(key=lambda interval: slicer.position(interval.reference))
    segments: list[Segment] = []
    for at in range(0, 5, 2):
        group = tuple(intervals[at : at + 2])
        segments += slicer.plan(cram.source, Selection(group))
    (tmp_path / "answer").mkdir()
    expected = cram.expected(Selection(tuple(intervals)))
    assert cram.decode(segments, tmp_path / "answer") == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_extents_bound_the_slice(
    layout: str, bam: Path, fasta: Path, services: CramServices, tmp_path: Path
) -> None:
    cram = write_cram(tmp_path, bam, fasta, layout)
    slicer = slicer_of(cram, services)
    for reference in range(5):
        for start in range(0, 30_000, 977):
            interval = Interval(reference, start, start + 500)
            low, high = slicer.extent(interval)
            offsets = cram.index.containers(*interval)
            assert all(low <= offset < high for offset in offsets)
            assert offsets or (low, high) == (0, 0)


def test_inexact_slices_are_logged_once_per_object(
    bam: Path, fasta: Path, pool: WorkerPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def no_files() -> list[FastaFile]:
        listed.append(1)
        return []

    listed: list[int] = []
    services = CramServices(pool, no_files, 1 << 20)
    cram = write_cram(tmp_path, bam, fasta, "v3.0 external")
    slicer = slicer_of(cram, services)
    assert slicer.plan(cram.source, Selection())
    assert not listed
    for start in (1000, 5000):
        assert slicer.plan(cram.source, Selection((Interval(0, start, start + 100),)))
    assert [record.getMessage() for record in caplog.records] == [
        "slices of 'object' are not exact: the sequence of reference chr1 is not configured"
    ]
    assert listed == [1]
