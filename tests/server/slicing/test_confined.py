"""Nothing leaves but what is permitted: decode(answer) is within the permitted intervals.

Whatever wrote the file, whatever the intervals; with a wrong index, and without the reference that
a CRAM is coded against.
"""

import random
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pysam
import pysam.bcftools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bgzf import EOF_MARKER, BgzfReader
from formats.errors import CorruptData, MissingReference
from formats.records import Record, walk
from formats.regions import UNBOUNDED, Interval, Region, merge
from formats.source import BytesSource
from server.slicing.header_view import HeaderView
from server.slicing.segments import Segment
from server.slicing.selection import Selection
from server.slicing.slicers import Slicer, StreamSlicer, read_stream_header
from tests.formats.byte_records import bam_record
from tests.server.slicing.confined import shelve
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
from tests.support import region_draws
from tests.support.bgzf_layout import bgzf_block, chunked, inflated
from tests.support.oracle import UNPLACED, Oracle, decode, first_difference
from tests.support.oracle import Region as Asked
from tests.support.sample_recipes import Sample, SampleUnavailable
from tests.support.samples import RECIPES, Samples, shared_samples

VIEW = HeaderView(minimal=True)
INDEXED = [recipe.key for recipe in RECIPES if recipe.indexed]


def permitted_by(slicer: Slicer, regions: list[Asked]) -> tuple[tuple[Interval, ...], list[Asked]]:
    """Placed regions as merged intervals in file order, and as what an oracle is asked."""
    asked = [region for region in regions if region[0] != UNPLACED]
    located = []
    for name, start, end in asked:
        interval = slicer.locate(Region(name, start or 0, UNBOUNDED if end is None else end))
        if interval is not None:
            located.append(interval)
    merged = merge(located)
    ordered = sorted(merged, key=lambda each: (slicer.position(each.reference), each))
    return tuple(ordered), asked


@pytest.mark.exact
@pytest.mark.parametrize("key", [*INDEXED, *shared_samples()])
@pytest.mark.security("TL1", "TL5")
async def test_answers_are_what_is_permitted(key: str, samples: Samples, tmp_path: Path) -> None:
    """Every record permitted, none missing, none without a place."""
    try:
        sample = shared_samples().get(key) or samples[key]
    except SampleUnavailable as reason:
        pytest.skip(str(reason))
    oracle = Oracle(sample)
    draw = random.Random(zlib.crc32(key.encode()))
    shelf = await shelve(sample)
    try:
        slicer = await shelf.library.slicer(shelf.item, indexed=True)
        for regions in region_draws.for_post(oracle, draw, 12):
            intervals, asked = permitted_by(slicer, regions)
            answer = await shelf.answer(VIEW, Selection(intervals))
            decoded = decode(answer, sample)
            assert not first_difference(oracle.select(asked), decoded.records)
            if decoded.records:
                assert all(lies_within(place, asked) for place in places(answer, sample, tmp_path))
    finally:
        await shelf.library.close()


Place = tuple[str, int, int]


def places(answer: bytes, sample: Sample, directory: Path) -> list[Place]:
    """Where the records of an answer lie, as htslib says of the answer alone."""
    path = directory / sample.path.name
    path.write_bytes(answer)
    told = Oracle(Sample(sample.key, path, path, False, sample.reference, sample.nameless))
    names = {number: name for name, number in told.numbers.items()}
    rows = zip(told.references.tolist(), told.starts.tolist(), told.ends.tolist(), strict=True)
    return [(names[number], start, end) for number, start, end in rows]


def lies_within(place: Place, regions: list[Asked]) -> bool:
    name, start, end = place
    return any(
        name == asked and start < (UNBOUNDED if last is None else last) and end > (first or 0)
        for asked, first, last in regions
    )


Writer = Callable[[Path, int, int], Path]


def write_reads(directory: Path, seed: int, block: int) -> Path:
    return make_bam(directory / "x.bam", drawn_reads(seed, 120), block)


def write_vcf(directory: Path, seed: int, block: int) -> Path:
    return make_vcf(directory / "x.vcf.gz", vcf_text(seed, 120), block)


def write_bcf(directory: Path, seed: int, block: int) -> Path:
    return make_bcf(directory / "x.bcf", vcf_text(seed, 120), block)


WRITERS: dict[str, Writer] = {"BAM": write_reads, "VCF": write_vcf, "BCF": write_bcf}
every_format = pytest.mark.parametrize("kind", WRITERS)
spans = st.tuples(
    st.sampled_from([0, 0, 1, 2, 3]),
    st.integers(0, 900_000),
    st.sampled_from([1, 2, 300, 16_384, 70_000, 900_000]),
)


def intervals_of(drawn: list[tuple[int, int, int]]) -> tuple[Interval, ...]:
    lengths = list(LENGTHS.values())
    return merge(
        Interval(number, start % lengths[number], start % lengths[number] + size)
        for number, start, size in drawn
    )


@every_format
@pytest.mark.security("TL1", "TL5")
@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 20),
    block=st.sampled_from([200, 1_777, 20_000, 65_000]),
    asked=st.lists(st.lists(spans, min_size=1, max_size=6), min_size=1, max_size=6),
)
def test_random_files_and_intervals(
    kind: str, seed: int, block: int, asked: list[list[tuple[int, int, int]]]
) -> None:
    """Records that span blocks, introns, long deletions, unmapped mates, reads without a place."""
    with tempfile.TemporaryDirectory() as directory:
        stream = open_stream(WRITERS[kind](Path(directory), seed, block))
        for drawn in asked:
            intervals = intervals_of(drawn)
            found = answered(stream, stream.slicer, intervals)
            assert all(overlaps(record, intervals) for record in found)
            assert b"".join(record.data for record in found) == stream.overlapping(intervals)


def answered(
    stream: Stream, slicer: StreamSlicer, intervals: tuple[Interval, ...], *, strict: bool = True
) -> list[Record]:
    """The records of a slice, decoded from its own bytes."""
    segments = slicer.plan(BytesSource(stream.data), Selection(intervals), strict=strict)
    blocks = b"".join(stored(stream, each) for each in segments)
    layout = stream.slicer.stream.layout
    return list(walk(BgzfReader(BytesSource(blocks)), layout, 0)) if blocks else []


def stored(stream: Stream, segment: Segment) -> bytes:
    return segment if isinstance(segment, bytes) else stream.data[segment.start : segment.end]


def overlaps(record: Record, intervals: tuple[Interval, ...]) -> bool:
    return any(
        record.reference == reference and record.start < end and record.stop > start
        for reference, start, end in intervals
    )


@every_format
def test_indexes_of_other_files(kind: str, tmp_path: Path) -> None:
    """Records may be missing then, but none is another's; the plans of open data do not tell."""
    draw = random.Random(3)
    stream = open_stream(write_slots(kind, tmp_path / "a", 1))
    header = read_stream_header(BytesSource(stream.data), stream.format)
    answers = leaks = 0
    for seed in range(2, 8):
        other = open_stream(write_slots(kind, tmp_path / f"b{seed}", seed))
        assert len(other.data) == len(stream.data)
        slicer = StreamSlicer.open(header, index_of(other.path))
        for _ in range(80):
            wide = draw.choice([1, 2_000, 20_000, 200_000])
            intervals = intervals_of([(draw.choice([0, 0, 1, 3]), draw.randrange(900_000), wide)])
            for strict in (True, False):
                try:
                    found = answered(stream, slicer, intervals, strict=strict)
                except CorruptData:
                    continue
                others = [record for record in found if not overlaps(record, intervals)]
                answers += strict and bool(found)
                leaks += bool(others)
                assert not (strict and others)
    assert answers > 50
    assert leaks > 0


def write_slots(kind: str, directory: Path, seed: int) -> Path:
    """Records of one size each, in blocks that are not deflated: files of all seeds have records at
    the same offsets, and other records."""
    directory.mkdir()
    draw = random.Random(seed)
    counts = {0: draw.randrange(300, 500), 1: draw.randrange(100, 200)}
    counts[3] = 700 - sum(counts.values())
    placed = [
        (number, position)
        for number, count in counts.items()
        for position in sorted(
            draw.randrange(list(LENGTHS.values())[number] - 300) + 1 for _ in range(count)
        )
    ]
    if kind == "BAM":
        reads = [bam_record(number, position, [(50, "M")]) for number, position in placed]
        path = make_bam(directory / "x.bam", reads, 3_000, indexed=False)
    else:
        lines = []
        for number, position in placed:
            place = f"{NAMES[number]}\t{position}\tv"
            if kind == "VCF":
                place = place.ljust(20, "x")
            lines.append(f"{place}\tA\tC\t.\t.\t.\tGT\t0/1")
        text = vcf_text(1, 0) + "\n".join(lines) + "\n"
        make = make_vcf if kind == "VCF" else make_bcf
        path = make(directory / ("x.vcf.gz" if kind == "VCF" else "x.bcf"), text, 3_000)
    payload = inflated(path.read_bytes())
    pieces = (bgzf_block(each, level=0) for each in chunked(payload, 3_000))
    path.write_bytes(b"".join(pieces) + EOF_MARKER)
    if kind == "BAM":
        pysam.index(str(path))
    elif kind == "VCF":
        pysam.tabix_index(str(path), preset="vcf", force=True)
    else:
        pysam.bcftools.index("-f", str(path), catch_stdout=False)
    return path


def index_of(path: Path) -> bytes:
    found = (Path(f"{path}{suffix}") for suffix in (".bai", ".tbi", ".csi"))
    return next(each for each in found if each.exists()).read_bytes()


@pytest.mark.exact
@pytest.mark.security("TL1")
@pytest.mark.parametrize("key", ["with_fasta/reads.cram", "with_fasta_multi/reads.cram"])
async def test_without_the_reference(key: str, samples: Samples) -> None:
    """What cannot be trimmed is refused, though the same was planned for open data before, which
    holds more; and what needs no trimming is served."""
    sample = samples[key]
    oracle = Oracle(sample)
    name = next(iter(oracle.contigs))
    selection, asked = Selection((Interval(0, 3_000, 3_500),)), [(name, 3_000, 3_500)]
    shelf = await shelve(sample, references=False)
    try:
        for _ in range(2):
            with pytest.raises(MissingReference):
                await shelf.answer(VIEW, selection)
            loose = decode(await shelf.answer(VIEW, selection, strict=False), sample)
            assert len(loose.records) > len(oracle.select(asked))
        whole = decode(await shelf.answer(VIEW, Selection()), sample)
        assert not first_difference(oracle.records, whole.records)
    finally:
        await shelf.library.close()
    shelf = await shelve(sample)
    try:
        exact = decode(await shelf.answer(VIEW, selection), sample)
        assert not first_difference(oracle.select(asked), exact.records)
    finally:
        await shelf.library.close()
