"""Window tables against every record of files that pysam wrote and indexed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest

from formats import bam, vcf
from formats.bgzf import BgzfReader
from formats.binning import parse_index
from formats.errors import CorruptData
from formats.records import Record, RecordFormat, walk
from formats.source import BytesSource
from formats.windows import Bins, WindowTable, build_table
from tests.support.bgzf_layout import chunked, inflated, write_bgzf
from tests.support.index_layout import Index, read_index, write_index

LENGTHS = (3_000_000, 400_000, 20_000)
Draws = list[tuple[int, int, str, int]]


@dataclass(frozen=True)
class File:
    """A data file, its records in order, and where each begins."""

    path: Path
    records: list[Record]
    unmapped: bool

    def of(self, reference: int) -> list[Record]:
        return [record for record in self.records if record.reference == reference]


def draw_reads(seed: int) -> Draws:
    """Reference, position, CIGAR and flag: clusters, deserts, introns, placed unmapped reads."""
    draw = random.Random(seed)
    reads = []
    for reference, length in enumerate(LENGTHS):
        for _ in range(draw.choice((0, 3, 400, 900))):
            position = draw.choice((draw.randrange(length), draw.randrange(length // 50)))
            cigar, flag = "50M", 0
            match draw.randrange(20):
                case 0:
                    span = min(draw.choice((20_000, 200_000, 2_000_000)), length - position - 60)
                    cigar = f"20M{max(1, span)}N30M"
                case 1 | 2:
                    flag = 4
                case 3:
                    cigar = "50S"
            reads.append((reference, position, cigar, flag))
    return sorted(reads, key=lambda read: read[:2])


def write_bam(path: Path, reads: Draws, block: int | None) -> None:
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": f"c{n}", "LN": length} for n, length in enumerate(LENGTHS)],
        }
    )
    draw = random.Random(len(reads))
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for number, (reference, position, cigar, flag) in enumerate(reads):
            read = pysam.AlignedSegment(header)
            read.query_name = f"r{number}-" + "x" * draw.randrange(200)
            read.reference_id, read.reference_start, read.flag = reference, position, flag
            read.query_sequence = "".join(draw.choices("ACGT", k=50))
            read.query_qualities = pysam.qualitystring_to_array("".join(draw.choices("!5I", k=50)))
            read.cigarstring = cigar
            file.write(read)
    if block is not None:
        stream = inflated(path.read_bytes())
        write_bgzf(path, chunked(stream, block))


def read_records(path: Path) -> list[Record]:
    reader = BgzfReader(BytesSource(path.read_bytes()))
    layout: RecordFormat
    if path.suffix == ".bam":
        header = bam.read_header(reader)
        layout = bam.BamRecords(len(header.names))
    else:
        header = vcf.read_header(reader)
        layout = vcf.VcfRecords({name: number for number, name in enumerate(header.names)})
    return list(walk(reader, layout, header.first_record))


@pytest.fixture(scope="module", params=[(11, None), (9, None), (13, 900), (24, 300), (14, 700)])
def reads(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    seed, block = request.param
    path = tmp_path_factory.mktemp("reads") / "reads.bam"
    write_bam(path, draw_reads(seed), block)
    return File(path, read_records(path), unmapped=True)


def check(file: File, index: bytes, names: list[str] | None = None) -> None:
    """Every window, every border, and random intervals, against all records."""
    parsed = parse_index(index)
    order = list(parsed.names) if parsed.names else [f"c{n}" for n in range(len(LENGTHS))]
    draw = random.Random(len(index))
    for name in names or [f"c{n}" for n in range(len(LENGTHS))]:
        records = file.of(int(name[1:]))
        number = order.index(name) if name in order else -1
        table = parsed.table(number)
        if not records:
            assert table is None
            continue
        assert table is not None
        _check_table(file, table, records, LENGTHS[int(name[1:])], draw)


def _check_table(
    file: File, table: WindowTable, records: list[Record], length: int, draw: random.Random
) -> None:
    size = 1 << table.min_shift
    step = max(1, (length + size) // size // 120)
    asked = [(at, at + size) for at in range(0, length + 3 * size, size * step)]
    asked += [(at, at + 1) for record in records[::7] for at in (record.start, record.stop)]
    asked += [(at - 1, at) for record in records[::9] for at in (record.start, record.stop) if at]
    for _ in range(150):
        low = draw.randrange(length)
        asked.append((low, low + 1 + draw.randrange(draw.choice((100, 50_000, length)))))
    asked += [(0, 1 << 60), (length - 1, 1 << 60), (1 << 29, 1 << 29 | 5), ((1 << 32) - 2, 1 << 60)]
    begins = np.array([record.start for record in records])
    ends = np.array([record.stop for record in records])
    offsets = [record.offset for record in records]
    starts = set(offsets)
    for start, end in asked:
        bounds = table.query(start, end, unmapped=file.unmapped)
        held = np.flatnonzero((begins < end) & (ends > start))
        window = start >> table.min_shift << table.min_shift
        if len(held):
            assert bounds.start <= offsets[held[0]], (start, end)
            assert bounds.end > offsets[held[-1]], (start, end)
        first = int(np.searchsorted(begins, window))
        if first < len(records):
            assert bounds.positioned <= offsets[first], (start, end)
        beyond = int(np.searchsorted(begins, end))
        if beyond < len(records):
            assert bounds.tail <= offsets[beyond], (start, end)
        _check_path(table, start, bounds.start, bounds.positioned, records, starts)


def _check_path(
    table: WindowTable, start: int, low: int, near: int, records: list[Record], starts: set[int]
) -> None:
    """The chunks of the path hold each record before `near` that reaches into the window."""
    chunks = table.path_chunks(start, low, near)
    assert all(begin < end for begin, end in chunks)
    assert all(before[1] < after[0] for before, after in pairwise(chunks))
    window = start >> table.min_shift << table.min_shift
    for record in records:
        if low <= record.offset < near and record.stop > start and record.start < window:
            assert any(begin <= record.offset < end for begin, end in chunks)


def test_bai(reads: File) -> None:
    pysam.index(str(reads.path))
    check(reads, Path(f"{reads.path}.bai").read_bytes())


@pytest.mark.parametrize("min_shift", [8, 12, 14, 17, 20])
def test_csi(reads: File, min_shift: int) -> None:
    pysam.index("-c", "-m", str(min_shift), str(reads.path))
    check(reads, Path(f"{reads.path}.csi").read_bytes())


def leading_zeros(index: Index, file: File) -> None:
    """As htsjdk and old samtools write it: 0 before the first record, holes filled from before."""
    for number, reference in enumerate(index.references):
        first = min((each.start >> 14 for each in file.of(number)), default=0)
        for window in range(min(first, len(reference.linear))):
            reference.linear[window] = 0
        covered = {w for r in file.of(number) for w in range(r.start >> 14, (r.stop - 1 >> 14) + 1)}
        for window in range(1, len(reference.linear)):
            if window not in covered:
                reference.linear[window] = reference.linear[window - 1]


def without_unmapped(index: Index, file: File) -> None:
    """As htslib before 1.15 writes it: unmapped reads are not in the linear index."""
    for number, reference in enumerate(index.references):
        linear: dict[int, int] = {}
        for record in file.of(number):
            if not int.from_bytes(record.data[18:20], "little") & 4:
                for window in range(record.start >> 14, (record.stop - 1 >> 14) + 1):
                    linear.setdefault(window, record.offset)
        reference.linear = [linear.get(window, 0) for window in range(max(linear, default=-1) + 1)]


def all_zero(index: Index, file: File) -> None:
    del file
    for reference in index.references:
        reference.linear = [0] * len(reference.linear)


def no_linear(index: Index, file: File) -> None:
    del file
    for reference in index.references:
        reference.linear = []


def own_first_record(index: Index, file: File) -> None:
    """loffset as noodles writes it: the first record of the bin itself."""
    del file
    for reference in index.references:
        for number, (loffset, chunks) in reference.bins.items():
            if number != index.pseudo_bin:
                loffset = min(begin for begin, _ in chunks)
            reference.bins[number] = loffset, chunks


def no_loffset(index: Index, file: File) -> None:
    del file
    for reference in index.references:
        for number, (_, chunks) in reference.bins.items():
            reference.bins[number] = 0, chunks


def shuffled(index: Index, file: File) -> None:
    """Bins, and the chunks of a bin, in any order."""
    draw = random.Random(len(file.records))
    for reference in index.references:
        bins = list(reference.bins.items())
        draw.shuffle(bins)
        reference.bins = dict(bins)
        for number, (_, chunks) in bins:
            if number != index.pseudo_bin:
                draw.shuffle(chunks)


@pytest.mark.parametrize("bare", [False, True], ids=["metadata", "bare"])
@pytest.mark.parametrize("kind", [".bai", ".csi"])
@pytest.mark.parametrize(
    "change",
    [leading_zeros, without_unmapped, all_zero, no_linear, own_first_record, no_loffset, shuffled],
)
def test_other_writers(
    reads: File,
    tmp_path: Path,
    change: Callable[[Index, File], None],
    kind: str,
    *,
    bare: bool,
) -> None:
    pysam.index(*(["-c"] if kind == ".csi" else []), str(reads.path))
    index = read_index(Path(f"{reads.path}{kind}"))
    change(index, reads)
    write_index(tmp_path / "index", index.without_metadata() if bare else index)
    check(reads, (tmp_path / "index").read_bytes())


@pytest.fixture(scope="module", params=[0, 1, 2])
def variants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    draw = random.Random(request.param)
    text = ["##fileformat=VCFv4.3", *(f"##contig=<ID=c{n}>" for n in range(len(LENGTHS)))]
    text.append('##INFO=<ID=END,Number=1,Type=Integer,Description="e">')
    text.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for number in draw.sample(range(len(LENGTHS)), 2):
        length = LENGTHS[number]
        for position in sorted(draw.randrange(0, length - 1000) for _ in range(300)):
            end = position + draw.choice((1, 1, 1, 500, 80_000, 1_500_000))
            info = f"END={min(end, length)}" if draw.random() < 0.3 else "."
            text.append(f"c{number}\t{position}\trs{draw.random()}\tA\t<DEL>\t.\t.\t{info}")
    path = tmp_path_factory.mktemp("variants") / "variants.vcf.gz"
    write_bgzf(path, chunked(("\n".join(text) + "\n").encode(), draw.choice((500, 5_000))))
    return File(path, read_records(path), unmapped=False)


@pytest.mark.parametrize("kind", ["tbi", "csi"])
def test_tabix(variants: File, kind: str) -> None:
    pysam.tabix_index(str(variants.path), preset="vcf", csi=kind == "csi", force=True)
    check(variants, Path(f"{variants.path}.{kind}").read_bytes())


def bins(*chunks: tuple[int, int, int]) -> Bins:
    """Bins of one chunk each: number, begin, end."""
    return Bins(
        np.array([each[0] for each in chunks], dtype=np.int64),
        np.arange(len(chunks) + 1, dtype=np.int64),
        np.array([each[1] for each in chunks], dtype=np.uint64),
        np.array([each[2] for each in chunks], dtype=np.uint64),
        None,
        np.zeros(0, dtype=np.uint64),
    )


def test_one_record() -> None:
    table = build_table(bins((4681 + 3, 100, 200)), 14, 5, 0)
    assert (table.first, table.last, table.windows) == (100, 200, 4)
    assert table.query(0, 1) == (100, 100, 100, 100)
    assert table.query(3 << 14, 4 << 14) == (100, 100, 100, 200)
    assert table.nbytes > 0


def test_backward_chunks() -> None:
    with pytest.raises(CorruptData):
        build_table(bins((4681, 200, 199)), 14, 5, 0)


def test_far_bin_does_not_exhaust_memory() -> None:
    number = ((1 << 3 * 10) - 1) // 7 + (1 << 30) - 1
    with pytest.raises(CorruptData):
        build_table(bins((number, 1, 2)), 14, 10, 0)
