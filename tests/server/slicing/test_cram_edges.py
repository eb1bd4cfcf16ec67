"""Reads that the span of their CRAM container leaves out: placed, but unmapped like their mates."""

from pathlib import Path

import pysam
import pytest

from formats.crai import parse_crai
from formats.cram import parse_header
from formats.regions import UNBOUNDED, Interval
from formats.source import BytesSource
from server.slicing.cram import plan_cram
from server.slicing.references import ReferenceStore
from server.slicing.segments import Stored
from server.slicing.selection import Selection
from server.slicing.trimming import Trimmer
from server.slicing.workers import WorkerPool

HEADER = pysam.AlignmentHeader.from_dict(
    {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "c", "LN": 100_000}]}
)


def read(name: str, start: int, *, mapped: bool = True) -> pysam.AlignedSegment:
    record = pysam.AlignedSegment(HEADER)
    record.query_name, record.reference_id, record.reference_start = name, 0, start
    record.query_sequence = "A" * 50
    record.query_qualities = pysam.qualitystring_to_array("I" * 50)
    if mapped:
        record.cigartuples = [(pysam.CMATCH, 50)]
    else:
        record.flag = pysam.FUNMAP
    return record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two containers of 100 reads; each ends with an unmapped read far beyond its stored span."""
    path = tmp_path / "lone.cram"
    options = ["no_ref=1", "seqs_per_slice=100"]
    with pysam.AlignmentFile(str(path), "wc", header=HEADER, format_options=options) as out:
        for begin, lone in ((100, 5_000), (6_000, 9_000)):
            for number in range(99):
                out.write(read(f"r{begin + number}", begin + number))
            out.write(read(f"lone{lone}", lone, mapped=False))
    pysam.index(str(path))
    return path


@pytest.mark.parametrize(
    ("start", "end", "verbatim"),
    [(0, 300, 0), (0, 5_000, 0), (0, 6_001, 1), (0, 8_000, 1), (0, 100_000, 2), (0, UNBOUNDED, 2)],
)
def test_container_goes_verbatim_only_if_no_read_can_lie_beyond(
    path: Path, pool: WorkerPool, tmp_path: Path, start: int, end: int, verbatim: int
) -> None:
    source = BytesSource(path.read_bytes())
    header = parse_header(source)
    index = parse_crai(Path(f"{path}.crai").read_bytes())
    selection = Selection((Interval(0, start, end),))
    segments = plan_cram(source, header, index, selection, Trimmer(pool, ReferenceStore()))
    stored = [segment for segment in segments if isinstance(segment, Stored)]
    offsets = [offset for offset in index.offsets for s in stored if s.start <= offset < s.end]
    assert len(offsets) == verbatim

    answer = tmp_path / "answer.cram"
    data = [s if isinstance(s, bytes) else source.read(s.start, s.end) for s in segments]
    answer.write_bytes(header.block + b"".join(data) + header.version.eof_marker)
    with pysam.AlignmentFile(str(path)) as original, pysam.AlignmentFile(str(answer)) as sliced:
        expected = [r.to_string() for r in original.fetch("c", start, min(end, 100_000))]
        assert [r.to_string() for r in sliced.fetch(until_eof=True)] == expected
