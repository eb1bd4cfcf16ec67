"""Small CRAM files with reads of every awkward kind, and what a selection of them must give."""

import random
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pysam

from formats.crai import CraiIndex, parse_crai
from formats.cram import CramHeader, parse_header
from formats.regions import UNBOUNDED, Interval, merge
from formats.source import BytesSource
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection

LENGTHS = {"chr1": 30_000, "chr|2": 20_000, "tiny": 400, "empty": 5_000, "last": 9_000}
NAMES = list(LENGTHS)


LAYOUTS = {
    "v3.0 external": (["version=3.0", "seqs_per_slice=60"], True),
    "v2.1 external": (["version=2.1", "seqs_per_slice=60"], True),
    "v3.1 external": (["version=3.1", "seqs_per_slice=100", "archive"], True),
    "several slices": (["version=3.0", "seqs_per_slice=25", "slices_per_container=4"], True),
    "several slices v2.1": (["version=2.1", "seqs_per_slice=25", "slices_per_container=4"], True),
    "several references": (["version=3.0", "seqs_per_slice=80", "multi_seq_per_slice=1"], True),
    "several references and slices": (
        ["version=3.1", "seqs_per_slice=40", "slices_per_container=3", "multi_seq_per_slice=1"],
        True,
    ),
    "several references no_ref": (
        ["version=3.0", "seqs_per_slice=80", "multi_seq_per_slice=1", "no_ref=1"],
        False,
    ),
    "embedded": (["version=3.0", "seqs_per_slice=60", "embed_ref=1"], False),
    "embedded consensus": (["version=3.0", "seqs_per_slice=60", "embed_ref=2"], False),
    "no_ref": (["version=3.0", "seqs_per_slice=60", "no_ref=1"], False),
    "no_ref v2.1": (["version=2.1", "seqs_per_slice=60", "no_ref=1"], False),
    "one container": (["version=3.0", "multi_seq_per_slice=1"], True),
}


class Cram:
    """A CRAM file in memory with what slicing takes, and its records as pysam shows them."""

    def __init__(self, path: Path, reference: Path | None) -> None:
        data = path.read_bytes()
        self.path = path
        self.reference = reference
        self.source = BytesSource(data)
        self.header: CramHeader = parse_header(self.source)
        self.index: CraiIndex = parse_crai(path.with_name(path.name + ".crai").read_bytes())
        self.records = list(read_cram(path, reference))

    def answer(self, segments: Sequence[Segment]) -> bytes:
        body = (self.source.read(s.start, s.end) if isinstance(s, Stored) else s for s in segments)
        return self.header.block + b"".join(body) + self.header.version.eof_marker

    def decode(self, segments: Sequence[Segment], directory: Path) -> list[str]:
        path = directory / self.path.name  # generated names begin with the name of the file
        path.write_bytes(self.answer(segments))
        return [text for _, text in read_cram(path, self.reference)]

    def expected(self, selection: Selection) -> list[str]:
        return [text for place, text in self.records if selects(selection, *place)]


Place = tuple[int, int, int]


def read_cram(path: Path, reference: Path | None) -> Iterator[tuple[Place, str]]:
    name = str(reference) if reference else None
    with pysam.AlignmentFile(str(path), reference_filename=name) as records:
        for record in records.fetch(until_eof=True):
            start = record.reference_start
            place = record.reference_id, start, record.reference_end or start + 1
            yield place, record.to_string()


def selects(selection: Selection, reference: int, start: int, end: int) -> bool:
    if reference < 0:
        return selection.unplaced
    if not selection.intervals:
        return selection.intervals is None
    sent = selection.sent_until if reference == selection.intervals[0].reference else 0
    if start < sent:
        return False
    return any(
        i.reference == reference and start < i.end and end > i.start for i in selection.intervals
    )


def write_cram(directory: Path, bam: Path, fasta: Path, layout: str) -> Cram:
    options, external = LAYOUTS[layout]
    path = directory / "reads.cram"
    with pysam.AlignmentFile(str(bam), check_sq=False) as records:
        out = pysam.AlignmentFile(
            str(path),
            "wc",
            header=records.header,
            reference_filename=str(fasta),
            format_options=options,
        )
        for record in records.fetch(until_eof=True):
            # With a consensus htslib 1.24 names spans that end before its spliced reads do, so that
            # pysam does not find those either.
            if "embed_ref=2" not in options or "N" not in (record.cigarstring or ""):
                out.write(record)
        out.close()
    pysam.index(str(path))
    return Cram(path, fasta if external else None)


def draw_selection(draw: random.Random, cram: Cram) -> Selection:
    intervals = []
    for _ in range(draw.choice([0, 1, 1, 1, 2, 5])):
        number = draw.randrange(len(cram.header.names))
        places = [place for place, _ in cram.records if place[0] == number]
        start = draw.choice(places)[1] + draw.randrange(-50, 50) if places else 0
        size = draw.choice([1, 1, 50, 1000, 5000, UNBOUNDED])
        intervals.append(Interval(number, max(0, start), start + size))
    merged = merge(intervals)
    sent = 0
    if merged and draw.random() < 0.3:
        sent = max(0, merged[0].start - draw.randrange(100))
    return Selection(merged, unplaced=draw.random() < 0.2, sent_until=sent)


def make_read(
    header: pysam.AlignmentHeader,
    name: str,
    flag: int,
    reference: int,
    start: int,
    draw: random.Random,
    sequence: str | None = None,
) -> pysam.AlignedSegment:
    record = pysam.AlignedSegment(header)
    record.query_name = name
    record.flag = flag
    record.reference_id = reference
    record.reference_start = start
    sequence = sequence or "".join(draw.choices("ACGTN", k=60))
    record.query_sequence = sequence
    if draw.random() < 0.9:
        record.query_qualities = pysam.qualitystring_to_array(
            "".join(draw.choices("#5?I", k=len(sequence)))
        )
    record.set_tag("RG", draw.choice("ab"))
    record.set_tag("XA", draw.randrange(1000))
    if draw.random() < 0.2:
        record.set_tag("ZB", array("h", [draw.randrange(99) for _ in range(4)]))
    return record


def placed_read(
    draw: random.Random, header: pysam.AlignmentHeader, name: str, sequence: str, read: str
) -> pysam.AlignedSegment:
    number = NAMES.index(name)
    start = draw.randrange(len(sequence) - 100)
    kind = draw.random()
    if kind < 0.05:  # unmapped, at its mate's position
        return make_read(header, read, 69, number, start, draw)
    if kind < 0.08:  # covers no reference base
        record = make_read(header, read, 0, number, start, draw)
        record.cigarstring = draw.choice(["60S", "60I", "30S30I"])
        return record
    if kind < 0.2:
        cigar = [(0, 30), (3, min(draw.randrange(20, 4000), len(sequence) - start - 70)), (0, 30)]
    elif kind < 0.5:
        cigar = [(4, 5), (0, 20), (1, 3), (0, 20), (2, 4), (0, 20), (5, 9)]
    else:
        cigar = [(0, 70)]
    query, at = "", start
    for operation, length in cigar:
        if operation == 0:
            query += sequence[at : at + length]
        elif operation in (1, 4):
            query += "".join(draw.choices("ACGT", k=length))
        at += length if operation in (0, 2, 3) else 0
    query = "".join(b if draw.random() > 0.02 else draw.choice("ACGTN") for b in query)
    record = make_read(header, read, draw.choice([0, 16, 1024]), number, start, draw, query)
    record.cigartuples = cigar
    record.mapping_quality = draw.randrange(61)
    if draw.random() < 0.4:  # a mate that may or may not be in the same slice
        record.flag |= 1
        record.next_reference_id = draw.choice([number, 0])
        record.next_reference_start = draw.randrange(300)
        record.template_length = draw.randrange(-500, 500)
    if draw.random() < 0.2:
        record.set_tag("NM", draw.randrange(9))
        record.set_tag("MD", "10A5")
    return record
