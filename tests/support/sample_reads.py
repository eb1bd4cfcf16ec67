"""SAM text of generated reads. All draws come from a seeded generator: the same text every time."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PERIOD = 65_536
_CIGAR = re.compile(r"(\d+)([MIDNSHP=X])")
_SHAPES = (
    *("100M",) * 12,
    "5S95M",
    "90M10S",
    "40M10D60M",
    "50M3I47M",
    "30M2000N70M",
    "10H90M",
    "20M1P80M",
    "50=1X49=",
    "3S40M2I10M700D45M",
)


@dataclass(frozen=True, slots=True)
class Contig:
    name: str
    length: int


@dataclass(frozen=True, slots=True)
class Read:
    """A SAM line and what it sorts by: contig number (`UNPLACED_LAST` without one), position."""

    contig: int
    position: int
    line: str


UNPLACED_LAST = 1 << 30

CONTIGS = (
    Contig("chr1", 2_000_000),
    Contig("chr2", 900_000),
    Contig("chrEmpty", 500_000),
    Contig("chr4", 250_000),
)
"""The contigs of most samples; the third never has data."""

SMALL_CONTIGS = (
    Contig("one", 60_000),
    Contig("two", 40_000),
    Contig("empty", 5_000),
    Contig("four", 9_000),
)
"""Contigs short enough to have a FASTA."""

ODD_NAMES = (
    "HLA-A*01:01:01:01",
    "HLA-DRB1*15:01:01:02",
    "chr1",
    "chr1:100",
    "chr1:1-500",
    "gi|568336023|gb|CM000663.2|",
    "a,b",
    "a%2Cb",
    "x+y&z=1;q?",
    "sl/ash#frag",
    "under_score.v1",
    "t~il@de!$^",
)
"""Names that look like regions, need escapes in a URL, or are prefixes of another."""


@cache
def _bases() -> str:
    return "".join(random.Random(20).choices("ACGT", k=_PERIOD)) * 2


def bases(contig: int, position: int, count: int) -> str:
    """Reference bases: every contig repeats one random text, each from another point of it."""
    start = (position + contig * 9_973) % _PERIOD
    whole, rest = divmod(count, _PERIOD)
    text = _bases()
    return text[start : start + _PERIOD] * whole + text[start : start + rest]


def write_fasta(path: Path, contigs: Sequence[Contig]) -> None:
    """The FASTA whose bases the generated reads match."""
    with path.open("w") as fasta:
        for number, contig in enumerate(contigs):
            text = bases(number, 0, contig.length)
            lines = (text[at : at + 60] for at in range(0, len(text), 60))
            fasta.write(f">{contig.name}\n" + "\n".join(lines) + "\n")


def sam_header(contigs: Iterable[Contig], *, order: str = "coordinate") -> str:
    lines = [f"@HD\tVN:1.6\tSO:{order}"]
    lines += [f"@SQ\tSN:{contig.name}\tLN:{contig.length}" for contig in contigs]
    lines += ["@RG\tID:g1\tSM:s1\tLB:l1", "@RG\tID:g2\tSM:s2\tLB:l2"]
    lines += ["@PG\tID:made\tPN:made\tVN:1", "@CO\tgenerated reads"]
    return "\n".join(lines) + "\n"


def sam_text(contigs: Sequence[Contig], reads: Iterable[Read]) -> str:
    """A coordinate-sorted SAM file."""
    ordered = sorted(reads, key=lambda read: (read.contig, read.position))
    return sam_header(contigs) + "".join(read.line + "\n" for read in ordered)


def reference_length(cigar: str) -> int:
    return sum(int(count) for count, kind in _CIGAR.findall(cigar) if kind in "MDN=X")


def read_bases(contig: int, position: int, cigar: str) -> str:
    """Bases of a read that matches the reference where its CIGAR aligns it."""
    parts, at = [], position
    for text, kind in _CIGAR.findall(cigar):
        count = int(text)
        if kind in "M=X":
            parts.append(bases(contig, at, count))
        elif kind in "IS":
            parts.append("ACGT"[count % 4] * count)
        if kind in "MDN=X":
            at += count
    return "".join(parts)


class ReadMaker:
    """Makes reads on contigs; each call draws from the same seeded generator."""

    def __init__(self, contigs: Sequence[Contig], seed: int) -> None:
        self.contigs = contigs
        self.random = random.Random(seed)
        self._made = 0

    def read(
        self,
        contig: int,
        position: int,
        cigar: str = "100M",
        *,
        flag: int = 0,
        sequence: str | None = None,
        mate: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> Read:
        """A read at 0-based `position`; contig -1: unplaced; `mate`: its contig and position."""
        draw = self.random
        self._made += 1
        if sequence is None:
            sequence = read_bases(contig, position, cigar) if cigar != "*" else "ACGTN" * 20
        if cigar != "*" and sequence and draw.random() < 0.2:
            at = draw.randrange(len(sequence))
            sequence = sequence[:at] + "ACGT"[self._made % 4] + sequence[at + 1 :]
        quality = (draw.choice("FF:#") * 8 + "FFFFFFFF,") * (len(sequence) // 17 + 1)
        rname = self.contigs[contig].name if contig >= 0 else "*"
        rnext, pnext, span = "*", 0, 0
        if mate is not None:
            rnext = "=" if mate[0] == contig else self.contigs[mate[0]].name
            pnext, span = mate[1] + 1, (mate[1] - position if mate[0] == contig else 0)
        fields = (
            name or f"r{self._made:06}",
            flag,
            rname,
            position + 1,
            0 if flag & 4 else draw.randrange(60),
            cigar,
            rnext,
            pnext,
            span,
            sequence or "*",
            quality[: len(sequence)] or "*",
            f"RG:Z:g{1 + self._made % 2}",
            f"AS:i:{draw.randrange(300)}",
            *(("XB:B:s,-1,2,300", "XZ:Z:free text") if self._made % 7 == 0 else ()),
        )
        line = "\t".join(map(str, fields))
        return Read(UNPLACED_LAST if contig < 0 else contig, position, line)

    def pair(self, contig: int, position: int) -> Iterator[Read]:
        """Two mates; of one pair in thirty the second is unmapped and placed at its mate."""
        draw = self.random
        name = f"p{self._made:06}"
        length = self.contigs[contig].length
        cigar, other = draw.choice(_SHAPES), draw.choice(_SHAPES)
        position = max(0, min(position, length - reference_length(cigar)))
        if draw.random() < 1 / 30:
            yield self.read(contig, position, cigar, flag=73, mate=(contig, position), name=name)
            yield self.read(contig, position, "*", flag=133, mate=(contig, position), name=name)
            return
        after = position + draw.randrange(80, 600)
        after = max(0, min(after, length - reference_length(other)))
        yield self.read(contig, position, cigar, flag=99, mate=(contig, after), name=name)
        yield self.read(contig, after, other, flag=147, mate=(contig, position), name=name)

    def pairs(self, count: int, weights: Sequence[int]) -> Iterator[Read]:
        """Pairs in clusters with deserts between them; `weights`: the share of each contig."""
        for contig in self.random.choices(range(len(self.contigs)), weights, k=count):
            length = self.contigs[contig].length
            if self.random.random() < 0.3:
                position = self.random.randrange(length)
            else:
                cluster = self.random.randrange(8) * length // 8
                position = cluster + int(self.random.expovariate(30 / length))
            yield from self.pair(contig, min(position, length - 1))

    def unplaced(self, count: int) -> Iterator[Read]:
        for _ in range(count):
            yield self.read(-1, -1, "*", flag=4)


@cache
def plain_reads(pairs: int = 15_000) -> str:
    """Pairs on three of four contigs, placed-unmapped and unplaced reads, borders of contigs."""
    make = ReadMaker(CONTIGS, 1)
    reads = [*make.pairs(pairs, (6, 3, 0, 2)), *make.unplaced(600)]
    for number in (0, 1, 3):
        length = CONTIGS[number].length
        reads += [
            make.read(number, 0),
            make.read(number, length - 100),
            make.read(number, length - 1, "1M"),
        ]
    return sam_text(CONTIGS, reads)


def small_reads(pairs: int = 2_500, *, unplaced: int = 300) -> str:
    """Reads that match `write_fasta(…, SMALL_CONTIGS)`."""
    make = ReadMaker(SMALL_CONTIGS, 2)
    return sam_text(SMALL_CONTIGS, [*make.pairs(pairs, (5, 3, 0, 1)), *make.unplaced(unplaced)])


def spliced_reads() -> str:
    """Introns of up to 500 kb over a layer of short reads that the introns jump."""
    make = ReadMaker(CONTIGS, 3)
    reads = list(make.pairs(2_500, (3, 2, 0, 0)))
    for _ in range(250):
        contig = make.random.randrange(2)
        intron = make.random.choice((500_000, 480_000, 120_000, 16_384))
        position = make.random.randrange(CONTIGS[contig].length - intron - 100)
        reads.append(make.read(contig, position, f"40M{intron}N60M"))
    return sam_text(CONTIGS, reads)


def long_reads() -> str:
    """Reads of 100 kb: every record is longer than a BGZF block."""
    make = ReadMaker(CONTIGS, 4)
    reads = list(make.pairs(400, (2, 1, 0, 0)))
    for number in range(36):
        contig = number % 2
        position = make.random.randrange(CONTIGS[contig].length - 110_000)
        reads.append(make.read(contig, position, "200S50000M30D49800M"))
    return sam_text(CONTIGS, reads)


def no_cigar_reads() -> str:
    """Mapped reads whose CIGAR is absent or spans no reference base, and empty sequences.

    htslib marks a read without CIGAR unmapped when it reads SAM; `sample_bams` undoes that.
    """
    make = ReadMaker(SMALL_CONTIGS, 5)
    reads = list(make.pairs(400, (3, 2, 0, 1)))
    shapes = ("*", "50S50I", "100S", "100I", "20H", "10H100I", "5D", "7N", "100M")
    for number in range(600):
        contig, shape = (0, 1, 3)[number % 3], shapes[number % len(shapes)]
        position = make.random.randrange(SMALL_CONTIGS[contig].length)
        if number % 5 == 0:
            position = position // 1_000 * 1_000
        position = min(position, SMALL_CONTIGS[contig].length - reference_length(shape))
        blank = shape in ("20H", "5D", "7N") or number % 11 == 0
        reads.append(make.read(contig, position, shape, sequence="" if blank else None))
    return sam_text(SMALL_CONTIGS, reads)


def long_cigar_reads() -> str:
    """Reads with 70,000 CIGAR operations, which BAM keeps in the CG tag, among short ones."""
    make = ReadMaker(CONTIGS, 6)
    reads = list(make.pairs(500, (2, 1, 0, 0)))
    cigar = "1M1I" * 35_000 + "500D10M"
    reads += [make.read(0, position, cigar) for position in (200_000, 250_000, 900_000)]
    return sam_text(CONTIGS, reads)


def piled_reads() -> str:
    """Thousands of equal reads at few positions, and long ones that straddle them all."""
    make = ReadMaker(CONTIGS, 7)
    reads = []
    for position in (16_383, 16_384, 32_768, 100_000, 100_001, 131_072):
        line = make.read(0, position, name=f"dup{position}")
        reads += [line] * 700
        reads += [make.read(0, position, "50M9000N50M") for _ in range(20)]
        reads += [make.read(0, position, "*", flag=4) for _ in range(20)]
    return sam_text(CONTIGS, reads)


def long_contig_reads() -> str:
    """Contigs beyond 2^29 bases, with reads on both sides of that limit."""
    contigs = (Contig("wheat", 700_000_000), Contig("lily", 2_100_000_000), Contig("short", 10_000))
    make = ReadMaker(contigs, 8)
    reads = list(make.pairs(1_500, (2, 3, 1)))
    for contig, position in ((0, 1 << 29), (0, (1 << 29) - 50), (1, 2_000_000_000), (1, 1 << 30)):
        reads += [make.read(contig, position + shift) for shift in (-1, 0, 1)]
        reads.append(make.read(contig, position - 200_000, "50M300000N50M"))
    return sam_text(contigs, reads)


def oddly_named_reads() -> str:
    contigs = tuple(Contig(name, 20_000) for name in ODD_NAMES)
    make = ReadMaker(contigs, 9)
    return sam_text(contigs, [*make.pairs(1_500, (1,) * len(contigs)), *make.unplaced(20)])


def many_contig_reads() -> str:
    """Four thousand contigs of 3 kb: a header of several blocks, an index of many references."""
    contigs = tuple(Contig(f"scaffold_{number:05}_len", 3_000) for number in range(4_000))
    make = ReadMaker(contigs, 10)
    return sam_text(contigs, [*make.pairs(3_000, (1,) * len(contigs)), *make.unplaced(10)])


def unordered_contig_reads() -> str:
    """Sorted within each contig, but the contigs come in another order than in the header."""
    make = ReadMaker(CONTIGS, 11)
    order = {3: 0, 0: 1, 1: 2, UNPLACED_LAST: 3}
    reads = [*make.pairs(2_500, (3, 2, 0, 1)), *make.unplaced(40)]
    reads.sort(key=lambda read: (order[read.contig], read.position))
    return sam_header(CONTIGS) + "".join(read.line + "\n" for read in reads)


def unsorted_reads() -> str:
    make = ReadMaker(CONTIGS, 12)
    reads = [*make.pairs(800, (3, 2, 0, 1)), *make.unplaced(40)]
    make.random.shuffle(reads)
    return sam_header(CONTIGS, order="unsorted") + "".join(read.line + "\n" for read in reads)


def unplaced_reads() -> str:
    return sam_text(CONTIGS, ReadMaker(CONTIGS, 13).unplaced(900))


def placed_only_reads(*, alone: bool = True) -> str:
    """No unplaced read; many reads unmapped but placed, each at a mapped one's position or `alone`.

    In a CRAM they must not be alone: htslib leaves them out of the span it records for a slice,
    so that its own region queries miss them.
    """
    make = ReadMaker(CONTIGS, 14)
    reads = list(make.pairs(1_200, (3, 2, 0, 1)))
    for beside in make.random.choices(reads, k=600):
        draw = make.random.randrange(CONTIGS[beside.contig].length)
        reads.append(make.read(beside.contig, draw if alone else beside.position, "*", flag=4))
    return sam_text(CONTIGS, reads)


def no_reads() -> str:
    return sam_header(CONTIGS)
