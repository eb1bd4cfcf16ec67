"""Small BAM, VCF and BCF files with an index, every record known, blocks of any size."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pysam
import pysam.bcftools

from formats.bgzf import BgzfReader
from formats.records import Record, walk
from formats.regions import Interval, Region
from formats.source import BytesSource
from server.model import Format
from server.slicing.selection import Selection
from server.slicing.slicers import StreamSlicer, read_stream_header
from tests.formats.byte_records import bam_header, bam_record
from tests.support.bgzf_layout import chunked, inflated, write_bgzf

LENGTHS = {"one": 900_000, "two|x": 50_000, "empty": 1_000, "three": 5_000}
NAMES = list(LENGTHS)


@dataclass(frozen=True)
class Stream:
    """A data file with its index, opened for slicing; its records in file order."""

    path: Path
    format: Format
    data: bytes
    slicer: StreamSlicer
    records: tuple[Record, ...]

    def selected(self, selection: Selection) -> bytes:
        """The inflated records of a selection."""
        return inflated(self.deflated(selection))

    def deflated(self, selection: Selection) -> bytes:
        """The blocks of a selection."""
        segments = self.slicer.plan(BytesSource(self.data), selection)
        return b"".join(
            each if isinstance(each, bytes) else self.data[each.start : each.end]
            for each in segments
        )

    def overlapping(self, intervals: tuple[Interval, ...]) -> bytes:
        """The records that overlap any of the intervals, in file order."""
        return b"".join(
            each.data
            for each in self.records
            if any(
                each.reference == reference and each.start < end and each.stop > start
                for reference, start, end in intervals
            )
        )

    def locate(self, name: str, start: int, end: int) -> tuple[Interval, ...]:
        """The interval of a region, if the index has data there."""
        interval = self.slicer.locate(Region(name, start, end))
        return () if interval is None else (interval,)


def open_stream(path: Path, index: bytes | None = None) -> Stream:
    """Open a file that lies on disk with its index."""
    data = path.read_bytes()
    source = BytesSource(data)
    kind = {".bam": Format.BAM, ".bcf": Format.BCF, ".gz": Format.VCF}[path.suffix]
    header = read_stream_header(source, kind)
    if index is None:
        found = (Path(f"{path}{suffix}") for suffix in (".bai", ".csi", ".tbi"))
        index = next(each for each in found if each.exists()).read_bytes()
    slicer = StreamSlicer.open(header, index)
    slicer.check(source)
    reader = BgzfReader(source)
    layout = slicer.stream.layout
    records = tuple(walk(reader, layout, header.first_record))
    return Stream(path, kind, data, slicer, records)


def drawn_reads(seed: int, count: int = 300) -> list[bytes]:
    """Sorted reads: introns, placed unmapped ones, unplaced ones; each with a name of its own."""
    draw = random.Random(seed)
    placed = []
    for number in range(count):
        reference = draw.choice((0, 0, 0, 1, 3))
        length = list(LENGTHS.values())[reference]
        position = draw.randrange(draw.choice((length - 400, length // 40)))
        cigar: list[tuple[int, str]] = [(draw.randrange(1, 150), "M")]
        flag = 0
        match draw.randrange(12):
            case 0:
                span = draw.choice((100, length // 3, length - position - 160))
                cigar.append((min(span, length - position - 155), "N"))
                cigar.append((3, "M"))
            case 1:
                flag = 4
            case 2:
                cigar = []
        name = b"r%d" % number + b"x" * draw.randrange(90) + b"\0"
        record = bam_record(reference, position, cigar, flag=flag, name=name)
        placed.append((reference, position, record))
    placed.sort(key=lambda each: each[:2])
    unplaced = [bam_record(-1, -1, flag=4, name=b"u%d\0" % n, bases=40) for n in range(count // 9)]
    return [*(record for _, _, record in placed), *unplaced]


def make_bam(
    path: Path,
    records: list[bytes],
    block: int,
    *options: str,
    eof: bool = True,
    indexed: bool = True,
) -> Path:
    """The records in blocks of `block` bytes, wherever records end, and an index by htslib."""
    text = "@HD\tVN:1.6\tSO:coordinate\n" + "".join(
        f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in LENGTHS.items()
    )
    references = [(name.encode(), length) for name, length in LENGTHS.items()]
    stream = bam_header(text.encode(), references) + b"".join(records)
    write_bgzf(path, chunked(stream, block), eof=eof)
    if indexed:
        pysam.index(*options, str(path))
    return path


def vcf_text(seed: int, count: int = 300, order: tuple[int, ...] = (0, 1, 3)) -> str:
    """Sorted variants: END, symbolic alleles, a telomere; each with an id of its own."""
    draw = random.Random(seed)
    lines = ["##fileformat=VCFv4.3"]
    lines += [f"##contig=<ID={name},length={length}>" for name, length in LENGTHS.items()]
    lines += [
        '##INFO=<ID=END,Number=1,Type=Integer,Description="e">',
        '##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="l">',
        '##ALT=<ID=DEL,Description="d">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1",
    ]
    number = 0
    for reference in order:
        name = NAMES[reference]
        length = LENGTHS[name]
        positions = sorted(draw.randrange(1, length - 200) for _ in range(count // len(order)))
        for position in positions:
            number += 1
            info, alt = ".", "C"
            span = min(draw.choice((5, 300, length // 3)), length - position - 1)
            match draw.randrange(8):
                case 0:
                    info, alt = f"END={position + span}", "<DEL>"
                case 1:
                    info, alt = f"SVLEN=-{span}", "<DEL>"
            ref = "A" * draw.choice((1, 1, 1, 40))
            lines.append(f"{name}\t{position}\tv{number}\t{ref}\t{alt}\t.\t.\t{info}\tGT\t0/1")
    return "\n".join(lines) + "\n"


def make_vcf(path: Path, text: str, block: int, *, csi: bool = False) -> Path:
    """The text in blocks of `block` bytes, and an index by htslib."""
    write_bgzf(path, chunked(text.encode(), block))
    pysam.tabix_index(str(path), preset="vcf", csi=csi, force=True)
    return path


def make_bcf(path: Path, text: str, block: int) -> Path:
    """The variants as BCF, its stream in blocks of `block` bytes, and an index by htslib."""
    plain = path.with_suffix(".vcf")
    plain.write_text(text)
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(str(path), "wb", header=source.header) as target,
    ):
        for record in source:
            target.write(record)
    write_bgzf(path, chunked(inflated(path.read_bytes()), block))
    pysam.bcftools.index(str(path), catch_stdout=False)
    return path


def age(path: Path, seconds: int) -> None:
    """Make a file so much older than it is."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 1_000_000_000))
