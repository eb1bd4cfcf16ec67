"""A data object ready to be sliced: names, extents, and whether its index belongs to it."""

import struct
from pathlib import Path

import pytest

from formats.bgzf import EOF_MARKER, MAX_BLOCK
from formats.errors import CorruptData, UnknownReference
from formats.regions import UNBOUNDED, Interval, Region
from formats.source import BytesSource
from server.model import Format
from server.slicing.selection import Selection
from server.slicing.slicers import StreamSlicer, read_stream_header
from tests.formats.byte_records import bam_header, bam_record
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
from tests.support.bgzf_layout import bgzf_block, bgzf_blocks, inflated
from tests.support.index_layout import read_index, write_index


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    path = make_bam(tmp_path_factory.mktemp("reads") / "x.bam", drawn_reads(20), 900)
    return open_stream(path)


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    path = make_vcf(tmp_path_factory.mktemp("variants") / "x.vcf.gz", vcf_text(20), 900)
    return open_stream(path)


def test_headers_hold_no_record(reads: Stream, variants: Stream) -> None:
    for stream in (reads, variants):
        header = read_stream_header(BytesSource(stream.data), stream.format)
        payload = inflated(header.blocks)
        assert inflated(stream.data).startswith(payload)
        assert stream.records[0].data not in payload
        assert len(inflated(stream.data)) == len(payload) + sum(
            len(record.data) for record in stream.records
        )
        assert header.eof == EOF_MARKER
        assert header.nbytes > len(header.blocks)


@pytest.mark.parametrize("name", NAMES)
def test_names(reads: Stream, name: str) -> None:
    located = reads.slicer.locate(Region(name, 5, 9))
    assert located == (None if name == "empty" else Interval(NAMES.index(name), 5, 9))


def test_contigs_of_a_vcf_are_those_of_header_and_index(variants: Stream) -> None:
    assert variants.slicer.locate(Region("empty")) is None
    assert variants.slicer.locate(Region("two|x", 1, 2)) is not None
    for name in ("", "ONE", "chrone", "one:1-2", "4", "*"):
        with pytest.raises(UnknownReference):
            variants.slicer.locate(Region(name))


def test_vcf_without_contig_lines(tmp_path: Path) -> None:
    text = "".join(
        line for line in vcf_text(21).splitlines(keepends=True) if not line.startswith("##contig")
    )
    stream = open_stream(make_vcf(tmp_path / "x.vcf.gz", text, 700))
    intervals = stream.locate("three", 0, UNBOUNDED)
    assert stream.selected(Selection(intervals)) == stream.overlapping(intervals) != b""
    with pytest.raises(UnknownReference):
        stream.slicer.locate(Region("empty"))


def test_bcf_whose_dictionary_has_gaps(tmp_path: Path) -> None:
    """IDX may leave numbers out; the index counts to the highest."""
    text = vcf_text(22).replace("##contig=<ID=two|x,length=50000>\n", "")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("two|x\t")]
    text = "".join(lines)
    for number, name in ((1, "one"), (4, "empty"), (7, "three")):
        text = text.replace(f"##contig=<ID={name},", f"##contig=<IDX={number},ID={name},")
    stream = open_stream(make_bcf(tmp_path / "x.bcf", text, 500))
    for name in ("one", "three"):
        intervals = stream.locate(name, 100, UNBOUNDED)
        assert stream.selected(Selection(intervals)) == stream.overlapping(intervals) != b""


def test_extents_bound_the_slice(reads: Stream) -> None:
    for start in range(0, LENGTHS["one"], 37_001):
        interval = Interval(0, start, start + 20_000)
        low, high = reads.slicer.extent(interval)
        assert 0 <= low <= high <= len(reads.data) + MAX_BLOCK
        stored = [
            each
            for each in reads.slicer.plan(BytesSource(reads.data), Selection((interval,)))
            if not isinstance(each, bytes)
        ]
        assert all(low <= each.start <= each.end <= high for each in stored)
    assert reads.slicer.extent(Interval(0, 5, 5)) == (0, 0)
    assert reads.slicer.extent(Interval(2, 0, 9)) == (0, 0)
    assert reads.slicer.extent(Interval(99, 0, 9)) == (0, 0)


def test_order_of_references(tmp_path: Path) -> None:
    stream = open_stream(make_bcf(tmp_path / "x.bcf", vcf_text(6, order=(3, 0, 1)), 350))
    positions = [stream.slicer.position(reference) for reference in (3, 0, 1)]
    assert positions == sorted(positions)


def open_with(data: Stream, index: bytes) -> None:
    header = read_stream_header(BytesSource(data.data), data.format)
    StreamSlicer.open(header, index).check(BytesSource(data.data))


def index_of(stream: Stream) -> bytes:
    found = (Path(f"{stream.path}{suffix}") for suffix in (".bai", ".csi", ".tbi"))
    return next(each for each in found if each.exists()).read_bytes()


@pytest.mark.parametrize("seed", [23, 24, 25])
@pytest.mark.parametrize("count", [1, 40, 299, 301, 800])
def test_index_of_another_bam(tmp_path: Path, reads: Stream, seed: int, count: int) -> None:
    other = open_stream(make_bam(tmp_path / "y.bam", drawn_reads(seed, count), 900))
    with pytest.raises(CorruptData):
        open_with(reads, index_of(other))
    with pytest.raises(CorruptData):
        open_with(other, index_of(reads))


def test_index_of_another_format(tmp_path: Path, reads: Stream, variants: Stream) -> None:
    bcf = open_stream(make_bcf(tmp_path / "x.bcf", vcf_text(20), 900))
    for data, index in (
        (reads, variants),
        (variants, reads),
        (bcf, reads),
        (reads, bcf),
        (variants, bcf),
    ):
        with pytest.raises(CorruptData):
            open_with(data, index_of(index))


def test_index_of_the_file_before_reads_were_added_or_taken(tmp_path: Path) -> None:
    records = drawn_reads(26)
    whole = open_stream(make_bam(tmp_path / "x.bam", records, 900))
    placed = [record for record in records if struct.unpack_from("<i", record, 4)[0] >= 0]
    fewer = open_stream(make_bam(tmp_path / "y.bam", placed[:-40], 900))
    with pytest.raises(CorruptData):
        open_with(whole, index_of(fewer))
    with pytest.raises(CorruptData):
        open_with(fewer, index_of(whole))
    later = open_stream(make_bam(tmp_path / "z.bam", placed[10:], 900))
    with pytest.raises(CorruptData):
        open_with(whole, index_of(later))


def test_index_with_more_references(tmp_path: Path) -> None:
    header = bam_header(b"", [(b"one", 100)])
    data = bgzf_block(header + bam_record(0, 1)) + EOF_MARKER
    (tmp_path / "x.bam").write_bytes(data)
    index = b"BAI\x01" + struct.pack("<I", 2) + bytes(16)
    header_alone = read_stream_header(BytesSource(data), Format.BAM)
    with pytest.raises(CorruptData, match="more references"):
        StreamSlicer.open(header_alone, index)


def test_index_without_metadata_is_checked_too(tmp_path: Path, reads: Stream) -> None:
    def bare(stream: Stream) -> bytes:
        path = tmp_path / "index"
        write_index(path, read_index(Path(f"{stream.path}.bai")).without_metadata())
        return path.read_bytes()

    open_with(reads, bare(reads))
    other = open_stream(make_bam(tmp_path / "y.bam", drawn_reads(27), 900))
    with pytest.raises(CorruptData):
        open_with(reads, bare(other))


@pytest.mark.parametrize("kind", ["reads", "variants"])
def test_truncated_files(kind: str, request: pytest.FixtureRequest) -> None:
    """A file without EOF marker is whole or not: one that ends within a block is refused."""
    stream: Stream = request.getfixturevalue(kind)
    borders = {at + size for at, size, _ in bgzf_blocks(stream.data)}
    header = read_stream_header(BytesSource(stream.data), stream.format)
    whole = 0
    for length in range(header.first_record >> 16, len(stream.data), 7):
        if length in borders:
            whole += 1
            continue
        with pytest.raises(CorruptData):
            read_stream_header(BytesSource(stream.data[:length]), stream.format)
    for length in sorted(borders):
        if length > header.first_record >> 16:
            cut = read_stream_header(BytesSource(stream.data[:length]), stream.format)
            assert cut.data_end == length - 28 * (length == len(stream.data))


def test_truncated_at_a_block(reads: Stream) -> None:
    """Then the index tells, as long as placed reads are missing."""
    last = reads.slicer.unplaced_start()
    borders = [at + size for at, size, _ in bgzf_blocks(reads.data) if at + size < last]
    for length in borders[2:]:
        source = BytesSource(reads.data[:length])
        slicer = StreamSlicer.open(read_stream_header(source, Format.BAM), index_of(reads))
        with pytest.raises(CorruptData):
            slicer.check(source)
