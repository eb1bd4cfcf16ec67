"""Exact slices of BAM, VCF and BCF streams, against htslib on the same file."""

import random
import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pysam
import pytest

from formats.bgzf import EOF_MARKER, BgzfReader
from formats.errors import CorruptData, FormatError, UnindexableRange
from formats.regions import UNBOUNDED, Interval, merge
from formats.source import BytesSource
from server.model import Format
from server.slicing import stream as stream_module
from server.slicing.selection import Selection
from server.slicing.slicers import StreamSlicer, read_stream_header
from tests.formats.byte_records import bam_record
from tests.server.slicing.sorted_streams import (
    LENGTHS,
    NAMES,
    Stream,
    drawn_reads,
    make_bam,
    make_bcf,
    make_vcf,
    open_stream,
    vcf_text,
)
from tests.support.bgzf_layout import (
    bgzf_block,
    bgzf_blocks,
    bgzf_payloads,
    inflated,
    with_inner_eof,
    with_subfield,
)

MAKERS: dict[str, Callable[[Path], Path]] = {
    "bam, large blocks": lambda d: make_bam(d / "x.bam", drawn_reads(1), 65_280),
    "bam, small blocks": lambda d: make_bam(d / "x.bam", drawn_reads(2), 331),
    "bam, tiny blocks": lambda d: make_bam(d / "x.bam", drawn_reads(3, 120), 61),
    "bam, csi": lambda d: make_bam(d / "x.bam", drawn_reads(4), 500, "-c", "-m", "9"),
    "bam, no eof": lambda d: make_bam(d / "x.bam", drawn_reads(5), 500, eof=False),
    "bam, one read": lambda d: make_bam(d / "x.bam", drawn_reads(6, 1), 500),
    "vcf, tbi": lambda d: make_vcf(d / "x.vcf.gz", vcf_text(1), 400),
    "vcf, csi": lambda d: make_vcf(d / "x.vcf.gz", vcf_text(2), 999, csi=True),
    "vcf, one block": lambda d: make_vcf(d / "x.vcf.gz", vcf_text(3, 60), 65_280),
    "vcf, other order": lambda d: make_vcf(d / "x.vcf.gz", vcf_text(4, order=(3, 0, 1)), 400),
    "bcf": lambda d: make_bcf(d / "x.bcf", vcf_text(5), 350),
    "bcf, other order": lambda d: make_bcf(d / "x.bcf", vcf_text(6, order=(3, 0, 1)), 350),
}


@pytest.fixture(scope="module", params=MAKERS)
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return open_stream(MAKERS[request.param](tmp_path_factory.mktemp("stream")))


def draws(stream: Stream, seed: int, count: int) -> Iterable[tuple[str, int, int]]:
    """Regions, many of them with a border at the border of a record."""
    draw = random.Random(seed)
    edges: dict[str, list[int]] = {name: [0, LENGTHS[name]] for name in NAMES}
    for name in NAMES:
        for record in stream.records:
            if record.reference == number_of(stream, name):
                edges[name] += (max(0, record.start), record.stop)
    for _ in range(count):
        name = draw.choice(NAMES)
        at = draw.choice((draw.choice(edges[name]), draw.randrange(LENGTHS[name])))
        start = max(0, at + draw.choice((-1, 0, 1)))
        match draw.randrange(4):
            case 0:
                end = start + 1
            case 1:
                end = start + 1 + draw.randrange(LENGTHS[name])
            case 2:
                end = max(start + 1, draw.choice(edges[name]))
            case _:
                end = UNBOUNDED
        yield name, start, end


def number_of(stream: Stream, name: str) -> int:
    located = stream.locate(name, 0, 1)
    return located[0].reference if located else -2


def test_regions(stream: Stream) -> None:
    for name, start, end in draws(stream, 1, 250):
        intervals = stream.locate(name, start, end)
        selection = Selection(intervals)
        assert stream.selected(selection) == stream.overlapping(intervals), (name, start, end)


def test_regions_are_those_of_htslib(stream: Stream) -> None:
    for name, start, end in draws(stream, 2, 60):
        expected = htslib_names(stream, name, start, min(end, LENGTHS[name] + 9_999))
        answered = stream.selected(Selection(stream.locate(name, start, end)))
        assert names_in(stream, answered) == expected, (name, start, end)


def htslib_names(stream: Stream, name: str, start: int, end: int) -> list[str]:
    """Names of the records that htslib finds by the index."""
    if stream.format is Format.BAM:
        with (
            warnings.catch_warnings(action="ignore"),
            pysam.AlignmentFile(str(stream.path), ignore_truncation=True) as reads,
        ):
            return [str(read.query_name) for read in reads.fetch(name, start, end)]
    if stream.format is Format.BCF:
        with pysam.VariantFile(str(stream.path)) as variants:
            return [str(each.id) for each in variants.fetch(name, start, end)]
    index = next(str(each) for each in stream.path.parent.glob(f"{stream.path.name}.*i"))
    with pysam.TabixFile(str(stream.path), index=index) as lines:
        if name not in lines.contigs:
            return []
        return [line.split("\t")[2] for line in lines.fetch(f"{{{name}}}", start, end)]


def names_in(stream: Stream, answered: bytes) -> list[str]:
    """Names of the records in a slice."""
    found = stream.slicer.stream.layout.spans(answered, 0)
    texts = [answered[begin:end] for begin, end, *_ in found]
    if stream.format is Format.BAM:
        return [text[36 : 36 + text[12] - 1].decode() for text in texts]
    if stream.format is Format.VCF:
        return [text.split(b"\t")[2].decode() for text in texts]
    return [text[33 : 33 + (text[32] >> 4)].decode() for text in texts]


def many(stream: Stream, seed: int, count: int) -> tuple[Interval, ...]:
    """Merged intervals in the order of their records."""
    located = [each for draw in draws(stream, seed, count) for each in stream.locate(*draw)]
    if seed % 2:
        located = [each._replace(end=min(each.end, each.start + 3_000)) for each in located]
    merged = merge(located)
    return tuple(sorted(merged, key=lambda each: stream.slicer.position(each.reference)))


@pytest.mark.parametrize("count", [2, 7, 60])
def test_many_regions(stream: Stream, count: int) -> None:
    for seed in range(12):
        intervals = many(stream, seed, count)
        selection = Selection(intervals)
        assert stream.selected(selection) == stream.overlapping(intervals), intervals


def test_split_selections_concatenate_to_the_whole(stream: Stream) -> None:
    """Wherever a list of intervals is divided among URLs, each record comes once and in order."""
    for seed in range(40):
        draw = random.Random(seed)
        intervals = many(stream, seed, draw.choice((3, 12, 50)))
        if len(intervals) < 2:
            continue
        whole = stream.selected(Selection(intervals))
        cuts = sorted(draw.sample(range(1, len(intervals)), draw.randrange(1, len(intervals))))
        parts = []
        for low, high in pairwise((0, *cuts, len(intervals))):
            before, first = intervals[low - 1], intervals[low]
            sent = before.end if low and before.reference == first.reference else 0
            parts.append(stream.selected(Selection(intervals[low:high], sent_until=sent)))
        assert b"".join(parts) == whole, (intervals, cuts)


def test_cuts_tile(stream: Stream) -> None:
    """Wherever a slice is cut by file offset, the parts concatenate to it."""
    size = len(stream.data)
    for seed in range(30):
        draw = random.Random(seed)
        intervals = many(stream, seed, 3)[:1]
        selection = Selection(None if seed % 5 == 0 or not intervals else intervals)
        whole = stream.selected(selection)
        borders = [0, *sorted(draw.randrange(size + 9) for _ in range(draw.randrange(1, 6))), size]
        borders.sort()
        parts = [Selection(selection.intervals, cut=(low, high)) for low, high in pairwise(borders)]
        assert b"".join(map(stream.selected, parts)) == whole, (selection, borders)


def test_whole_object(stream: Stream) -> None:
    everything = b"".join(record.data for record in stream.records)
    assert stream.selected(Selection()) == everything


def test_nothing_selected(stream: Stream) -> None:
    assert stream.deflated(Selection(())) == b""


def test_slices_are_whole_plain_blocks(stream: Stream) -> None:
    """No EOF marker of the source but those inside it, no subfield beside BC."""
    for seed in range(10):
        data = stream.deflated(Selection(many(stream, seed, 5)))
        assert all(extra == 6 for _, _, extra in bgzf_blocks(data))
        assert EOF_MARKER not in data
    assert EOF_MARKER not in stream.deflated(Selection())


def test_plans_are_deterministic(stream: Stream) -> None:
    selection = Selection(many(stream, 3, 5))
    assert stream.deflated(selection) == stream.deflated(selection)


def test_unplaced_reads(stream: Stream) -> None:
    if stream.format is not Format.BAM:
        return
    unplaced = b"".join(record.data for record in stream.records if record.reference < 0)
    assert stream.selected(Selection((), unplaced=True)) == unplaced
    intervals = many(stream, 4, 3)
    both = stream.selected(Selection(intervals, unplaced=True))
    assert both == stream.overlapping(intervals) + unplaced
    size = len(stream.data)
    start = stream.slicer.unplaced_start()
    borders = (0, start + 50, start + 400, max(size, start + 400))
    parts = [Selection((), unplaced=True, cut=cut) for cut in pairwise(borders)]
    assert b"".join(map(stream.selected, parts)) == unplaced


@pytest.mark.parametrize("seed", range(6))
def test_inner_eof_markers_and_subfields(tmp_path: Path, seed: int) -> None:
    """Concatenated files keep their markers inside; other writers add subfields."""
    plain = make_bam(tmp_path / "plain.bam", drawn_reads(seed), 700)
    inner = tmp_path / "inner.bam"
    with_inner_eof(plain, inner)
    pysam.index(str(inner))
    stream = open_stream(inner)
    assert [each.data for each in stream.records] == [
        each.data for each in open_stream(plain).records
    ]
    for name, start, end in draws(stream, seed, 40):
        intervals = stream.locate(name, start, end)
        assert stream.selected(Selection(intervals)) == stream.overlapping(intervals)
    odd = tmp_path / "odd.bam"
    with_subfield(plain, odd)
    without_index = open_stream_whole(odd)
    data = without_index.deflated(Selection())
    assert all(extra == 6 for _, _, extra in bgzf_blocks(data))
    assert inflated(data) == b"".join(each.data for each in open_stream(plain).records)


def open_stream_whole(path: Path) -> Stream:
    """A file without its index."""
    data = path.read_bytes()
    header = read_stream_header(BytesSource(data), Format.BAM)
    return Stream(path, Format.BAM, data, StreamSlicer.open(header, None), ())


@pytest.fixture(scope="module")
def introns(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Long introns from the start, 1 MB of file between their ends."""
    draw = random.Random(7)
    reads = []
    for number in range(12_000):
        position = 20 + number * 60
        cigar = [(60, "M")]
        if number in (0, 5, 400, 6_000):
            cigar = [(20, "M"), (LENGTHS["one"] - position - 100 - number % 7, "N"), (30, "M")]
        name = b"%x\0" % draw.getrandbits(400)
        flag = 4 if number % 50 == 3 else 0
        reads.append(bam_record(0, position, cigar, name=name, flag=flag))
    reads.append(bam_record(1, 5, [(9, "M")]))
    reads.append(bam_record(-1, -1, flag=4))
    path = make_bam(tmp_path_factory.mktemp("introns") / "x.bam", reads, 20_000)
    return open_stream(path)


def test_long_heads(introns: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(introns.data) > 2 * stream_module.LONG_HEAD
    draw = random.Random(1)
    asked = [(at, at + width) for at in (850_000, 720_100, 500_000) for width in (1, 100, 90_000)]
    asked += [(at, at + 1 + draw.randrange(5_000)) for at in draw.sample(range(900_000), 60)]
    asked += [(899_800 + at, UNBOUNDED) for at in range(0, 120, 9)]
    for long in (stream_module.LONG_HEAD, 0):
        monkeypatch.setattr(stream_module, "LONG_HEAD", long)
        for start, end in asked:
            intervals = (Interval(0, start, end),)
            assert introns.selected(Selection(intervals)) == introns.overlapping(intervals), start


def test_long_heads_are_cheap(introns: Stream) -> None:
    """Few blocks are inflated beyond the last read, though an intron begins at the first one."""
    reader = BgzfReader(BytesSource(introns.data))
    selection = Selection((Interval(0, 860_000, 860_100),))
    stream_module.plan_stream(reader, introns.slicer.stream, selection)
    blocks = len(list(bgzf_payloads(introns.data)))
    assert reader.inflated < blocks / 4


def test_long_heads_and_many_regions(introns: Stream) -> None:
    for seed in range(8):
        draw = random.Random(seed)
        starts = [draw.randrange(899_000) for _ in range(8)]
        intervals = merge(Interval(0, at, at + 1 + draw.randrange(60_000)) for at in starts)
        whole = introns.selected(Selection(intervals))
        assert whole == introns.overlapping(intervals)
        for at in range(1, len(intervals)):
            first = introns.selected(Selection(intervals[:at]))
            sent = intervals[at - 1].end
            assert first + introns.selected(Selection(intervals[at:], sent_until=sent)) == whole


def unsorted(directory: Path) -> Stream:
    """Sorted data's index beside data whose records were exchanged: the blocks lie as before."""
    reads = [bam_record(0, 1_000 + at * 40, [(30, "M")]) for at in range(600)]
    path = make_bam(directory / "x.bam", reads, 3_000)
    stored(path)
    pysam.index(str(path))
    index = Path(f"{path}.bai").read_bytes()
    reads[100:500] = reversed(reads[100:500])
    bad = make_bam(directory / "y.bam", reads, 3_000, indexed=False)
    stored(bad)
    return open_stream(bad, index)


def stored(path: Path) -> None:
    """Rewrite the blocks without deflating anything."""
    payloads = bgzf_payloads(path.read_bytes())
    path.write_bytes(b"".join(bgzf_block(payload, level=0) for payload in payloads))


def test_unsorted_data(tmp_path: Path) -> None:
    """Where the plan looks, disorder is seen; it never gives a record that does not overlap."""
    stream = unsorted(tmp_path)
    refused = 0
    for at in range(1_000, 26_000, 333):
        intervals = (Interval(0, at, at + 40),)
        try:
            answered = stream.selected(Selection(intervals))
        except CorruptData:
            refused += 1
            continue
        del answered
    assert refused > 20


def test_no_index(stream: Stream) -> None:
    source = BytesSource(stream.data)
    bare = StreamSlicer.open(read_stream_header(source, stream.format), None)
    assert bare.plan(source, Selection()) == stream.slicer.plan(source, Selection())
    for selection in (Selection(()), Selection((Interval(0, 1, 2),)), Selection((), unplaced=True)):
        with pytest.raises(UnindexableRange):
            bare.plan(source, selection)


def test_truncated_data(stream: Stream) -> None:
    """Every truncation is refused, or gives whole blocks, when a slice is planned."""
    draw = random.Random(1)
    for length in draw.sample(range(len(stream.data)), 60):
        data = stream.data[:length]
        for name, start, end in draws(stream, length, 2):
            try:
                segments = stream.slicer.plan(
                    BytesSource(data), Selection(stream.locate(name, start, end))
                )
            except CorruptData:
                continue
            for each in segments:
                assert isinstance(each, bytes) or each.end <= len(stream.data)


def test_flipped_bits(stream: Stream) -> None:
    """Damage gives CorruptData or passes through in verbatim blocks; nothing else happens."""
    draw = random.Random(2)
    for seed in range(80):
        data = bytearray(stream.data)
        for _ in range(draw.choice((1, 3, 20))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        for name, start, end in draws(stream, seed, 2):
            try:
                stream.slicer.plan(
                    BytesSource(bytes(data)), Selection(stream.locate(name, start, end))
                )
            except FormatError:
                continue


def test_a_block_of_another_file(tmp_path: Path) -> None:
    stream = open_stream(make_bam(tmp_path / "x.bam", drawn_reads(8), 3_000))
    other = drawn_reads(9)
    file = bgzf_block(b"BAM\x01") + b"".join(map(bgzf_block, other)) + EOF_MARKER
    for name, start, end in draws(stream, 5, 60):
        try:
            stream.slicer.plan(BytesSource(file), Selection(stream.locate(name, start, end)))
        except CorruptData:
            continue
