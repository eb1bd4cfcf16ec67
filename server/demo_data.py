"""The synthetic data of `htsgate demo`: reads and variants, always the same bytes.

Beside the open ones there is a case of a clinic. Its headers hold what headers of clinics hold and
nobody else should see.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pysam
import pysam.bcftools

from formats.cram import mini_header, parse_header
from formats.source import BytesSource

CONTIGS = {"chr1": 200_000, "chr2": 100_000, "chrM": 16_569}
"""Names and lengths of the references."""

FILES = (
    "demo.fa",
    "demo.fa.fai",
    "demo.bam",
    "demo.bam.bai",
    "demo.cram",
    "demo.cram.crai",
    "demo.vcf.gz",
    "demo.vcf.gz.tbi",
    "demo.bcf",
    "demo.bcf.csi",
)
"""What `make_demo_data` writes; every index stands behind its data."""

CLINIC_FILES = ("case-7.bam", "case-7.bam.bai", "case-7.vcf.gz", "case-7.vcf.gz.tbi")
"""What `make_clinic_data` writes, likewise."""

_READ = 100
_DEPTH = 10
_UNPLACED_PAIRS = 400
_CLINIC_CONTIG = "chr2"
_CLINIC_HEADER: Mapping[str, list[dict[str, str]] | list[str]] = {
    "RG": [{"ID": "case-7", "SM": "JANE-ROE", "LB": "ward-4"}],
    "PG": [{"ID": "aligner", "PN": "aligner", "CL": "align --in /home/dr-smith/jane-roe.fastq"}],
    "CO": ["patient Jane Roe, born 1970-01-01, ward 4"],
}
_CLINIC_LINES = "##source=caller --in /home/dr-smith/jane-roe.bam\n##patient=Jane Roe, ward 4\n"
_VCF_HEADER = """##fileformat=VCFv4.3
##FILTER=<ID=PASS,Description="All filters passed">
##INFO=<ID=END,Number=1,Type=Integer,Description="Last position of the variant">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Kind of structural variant">
##INFO=<ID=SVLEN,Number=.,Type=Integer,Description="Length of structural variant">
##ALT=<ID=DEL,Description="Deletion">
##ALT=<ID=DUP,Description="Duplication">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""


class _Contig(NamedTuple):
    """A reference, its second haplotype (which differs at the SNVs only), its variants as text."""

    name: str
    haplotypes: tuple[str, str]
    variants: tuple[str, ...]


class _Placed(NamedTuple):
    """A read's place: 0-based start, length of its first block, and of the intron behind that."""

    start: int
    first: int
    intron: int
    mapped: bool

    @property
    def end(self) -> int:
        return self.start + self.intron + _READ


def make_demo_data(directory: Path) -> None:
    """Write `FILES` into an empty directory; takes a second or two."""
    contigs, draw = _contigs()
    fasta = directory / "demo.fa"
    fasta.write_text("".join(_fasta(contig) for contig in contigs))
    pysam.faidx(str(fasta))
    _write_reads(directory, fasta, contigs, draw)
    _write_variants(directory, contigs)


def make_clinic_data(directory: Path) -> None:
    """Write `CLINIC_FILES` into an empty directory: another person's reads and variants, on one
    reference."""
    contigs, _ = _contigs()
    draw = random.Random(7)  # noqa: S311 - the same data every time
    number = list(CONTIGS).index(_CLINIC_CONTIG)
    person = _person(_CLINIC_CONTIG, [*contigs[number].haplotypes[0]], draw)
    header = _reads_header(contigs, _CLINIC_HEADER)
    bam = directory / "case-7.bam"
    with pysam.AlignmentFile(str(bam), "wb", header=header) as out:
        for read in _sorted_pairs(header, number, person, draw):
            read.set_tag("RG", "case-7")
            out.write(read)
    pysam.samtools.index(str(bam))
    plain = directory / "case-7.vcf"
    plain.write_text(_variants_header("S-0007", _CLINIC_LINES) + "".join(person.variants))
    _pack_variants(plain, directory / "case-7.vcf.gz", "z", "--tbi")
    plain.unlink()


def _contigs() -> tuple[list[_Contig], random.Random]:
    """The references, and what to draw on with."""
    draw = random.Random(37)  # noqa: S311 - the same data every time
    return [_contig(name, length, draw) for name, length in CONTIGS.items()], draw


def _contig(name: str, length: int, draw: random.Random) -> _Contig:
    return _person(name, draw.choices("ACGT", k=length), draw)


def _person(name: str, reference: list[str], draw: random.Random) -> _Contig:
    other = reference.copy()
    variants = []
    position = 0
    while (position := position + draw.randrange(40, 500)) < len(reference) - 6_000:
        ref = reference[position]
        alt, end, info = draw.choice("ACGT".replace(ref, "")), position + 1, "."
        kind = draw.random()
        if kind < 0.05:
            ref = "".join(reference[position : position + draw.randrange(2, 12)])
            alt = ref[0]
        elif kind < 0.1:
            alt = ref + "".join(draw.choices("ACGT", k=draw.randrange(1, 12)))
        elif kind < 0.13:
            size = draw.randrange(300, 5_000)
            name_of, sign = draw.choice((("DEL", -1), ("DUP", 1)))
            alt, end = f"<{name_of}>", position + 1 + size
            info = f"END={end};SVTYPE={name_of};SVLEN={sign * size}"
        else:
            other[position] = alt
        variants.append(f"{name}\t{position + 1}\t.\t{ref}\t{alt}\t50\tPASS\t{info}\tGT\t0|1\n")
    return _Contig(name, ("".join(reference), "".join(other)), tuple(variants))


def _md5(sequence: str) -> str:
    return hashlib.md5(sequence.encode(), usedforsecurity=False).hexdigest()


def _fasta(contig: _Contig) -> str:
    sequence = contig.haplotypes[0]
    lines = (sequence[at : at + 60] for at in range(0, len(sequence), 60))
    return f">{contig.name}\n" + "\n".join(lines) + "\n"


def _write_reads(directory: Path, fasta: Path, contigs: list[_Contig], draw: random.Random) -> None:
    header = _reads_header(contigs, {"RG": [{"ID": "demo", "SM": "DEMO"}]})
    reads: list[pysam.AlignedSegment] = []
    for number, contig in enumerate(contigs):
        reads += _sorted_pairs(header, number, contig, draw)
    reads += _unplaced(header, draw)
    bam, cram = directory / "demo.bam", directory / "demo.cram"
    options = ["version=3.0", "seqs_per_slice=2000"]
    with (
        pysam.AlignmentFile(str(bam), "wb", header=header) as as_bam,
        pysam.AlignmentFile(
            str(cram), "wc", header=header, reference_filename=str(fasta), format_options=options
        ) as as_cram,
    ):
        for read in reads:
            as_bam.write(read)
            as_cram.write(read)
    data = cram.read_bytes()
    parsed = parse_header(BytesSource(data))
    # htslib writes the path of the FASTA here, @SQ UR, which would differ from run to run.
    cram.write_bytes(mini_header(parsed.version, str(header)) + data[parsed.data_start :])
    for path in (bam, cram):
        pysam.samtools.index(str(path))


def _reads_header(
    contigs: list[_Contig], lines: Mapping[str, list[dict[str, str]] | list[str]]
) -> pysam.AlignmentHeader:
    sequences = [
        {"SN": name, "LN": len(first), "M5": _md5(first)} for name, (first, _), _ in contigs
    ]
    first = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": sequences}
    return pysam.AlignmentHeader.from_dict({**first, **lines})


def _sorted_pairs(
    header: pysam.AlignmentHeader, number: int, contig: _Contig, draw: random.Random
) -> list[pysam.AlignedSegment]:
    return sorted(_pairs(header, number, contig, draw), key=lambda read: read.reference_start)


def _pairs(
    header: pysam.AlignmentHeader, number: int, contig: _Contig, draw: random.Random
) -> Iterator[pysam.AlignedSegment]:
    """Read pairs; one in thirty is spliced, one in fifty has a mate without a match."""
    length = len(contig.haplotypes[0])
    for pair in range(length * _DEPTH // (2 * _READ)):
        sequence = draw.choice(contig.haplotypes)
        intron = draw.randrange(200, 4_000) if draw.random() < 1 / 30 else 0
        start = draw.randrange(length - _READ - intron)
        left = _Placed(start, draw.randrange(20, 80) if intron else _READ, intron, mapped=True)
        mate = min(length - _READ, left.end + max(0, int(draw.gauss(150, 40))))
        right = _Placed(mate, _READ, 0, mapped=True)
        if draw.random() < 1 / 50:
            right = _Placed(start, _READ, 0, mapped=False)
        for this, other, flag in ((left, right, 0x41), (right, left, 0x81)):
            read = _read(header, f"{contig.name}.{pair}", flag, draw)
            read.is_reverse, read.mate_is_reverse = flag == 0x81, flag == 0x41
            read.reference_id = read.next_reference_id = number
            read.reference_start, read.next_reference_start = this.start, other.start
            if not this.mapped:
                read.is_unmapped, read.mapping_quality = True, 0
            elif other.mapped:
                size = max(this.end, other.end) - min(this.start, other.start)
                read.is_proper_pair, read.template_length = True, size if this is left else -size
            read.mate_is_unmapped = not other.mapped
            if this.mapped:
                _place(read, this, sequence, draw)
            yield read


def _place(read: pysam.AlignedSegment, placed: _Placed, sequence: str, draw: random.Random) -> None:
    """The bases of the haplotype at the read's place, with one error in two hundred."""
    rest = _READ - placed.first
    begin, resume = placed.start, placed.start + placed.first + placed.intron
    bases = list(sequence[begin : begin + placed.first] + sequence[resume : resume + rest])
    for at in range(_READ):
        if draw.random() < 1 / 200:
            bases[at] = draw.choice("ACGT")
    quality = read.query_qualities
    read.query_sequence = "".join(bases)
    read.query_qualities = quality
    read.cigarstring = f"{placed.first}M{placed.intron}N{rest}M" if rest else f"{_READ}M"


def _unplaced(header: pysam.AlignmentHeader, draw: random.Random) -> Iterator[pysam.AlignedSegment]:
    for pair in range(_UNPLACED_PAIRS):
        for flag in (0x4D, 0x8D):
            yield _read(header, f"unplaced.{pair}", flag, draw)


def _read(
    header: pysam.AlignmentHeader, name: str, flag: int, draw: random.Random
) -> pysam.AlignedSegment:
    read = pysam.AlignedSegment(header)
    read.query_name, read.flag = name, flag
    read.mapping_quality = 0 if flag & 4 else 60
    read.query_sequence = "".join(draw.choices("ACGT", k=_READ))
    drop = draw.choices((0, 4, 12), k=_READ // 10)
    read.query_qualities = pysam.qualitystring_to_array(
        "".join(chr(33 + max(2, 40 - lost)) * 10 for lost in accumulate(drop, max))
    )
    read.set_tag("RG", "demo")
    return read


def _write_variants(directory: Path, contigs: list[_Contig]) -> None:
    plain = directory / "demo.vcf"
    records = (line for contig in contigs for line in contig.variants)
    plain.write_text(_variants_header("DEMO") + "".join(records))
    for name, kind, index in (("demo.vcf.gz", "z", "--tbi"), ("demo.bcf", "b", "--csi")):
        _pack_variants(plain, directory / name, kind, index)
    plain.unlink()


def _variants_header(sample: str, more: str = "") -> str:
    declared = (f"##contig=<ID={name},length={length}>\n" for name, length in CONTIGS.items())
    columns = f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample}\n"
    return f"{_VCF_HEADER}{more}{''.join(declared)}{columns}"


def _pack_variants(plain: Path, packed: Path, kind: str, index: str) -> None:
    view = ("--no-version", f"-O{kind}", "-o", str(packed), str(plain))
    pysam.bcftools.view(*view, catch_stdout=False)
    pysam.bcftools.index(index, str(packed))
