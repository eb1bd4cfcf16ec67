"""VCF and BCF samples: spans, layouts of blocks, kinds of index, contigs not in the header."""

import random
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import pysam
import pysam.bcftools

from tests.support.bgzf_layout import (
    chunked,
    inflated,
    with_inner_eof,
    with_subfield,
    without_eof,
    write_bgzf,
)
from tests.support.index_layout import read_index, write_index
from tests.support.sample_reads import Contig
from tests.support.sample_recipes import Recipe

CONTIGS = (
    Contig("chr1", 3_000_000),
    Contig("chr2", 1_500_000),
    Contig("chrEmpty", 400_000),
    Contig("chr4", 300_000),
    Contig("HLA-A*01:01:01:01", 3_500),
    Contig("gi|568336023|gb", 200_000),
    Contig("chr1:100-200", 90_000),
)
_HEADER = """##fileformat=VCFv4.4
##FILTER=<ID=PASS,Description="All filters passed">
##FILTER=<ID=low,Description="Low quality, or so">
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">
##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Type">
##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="Length">
##INFO=<ID=TXT,Number=.,Type=String,Description="Text">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
##FORMAT=<ID=LEN,Number=1,Type=Integer,Description="Length of the reference block">
##ALT=<ID=DEL,Description="Deletion">
##ALT=<ID=DUP,Description="Duplication">
##ALT=<ID=INV,Description="Inversion">
##ALT=<ID=CNV,Description="Copy number">
##ALT=<ID=INS,Description="Insertion">
##ALT=<ID=*,Description="Any other allele">
"""
Site = tuple[int, int, str]
"""Number of the contig, 1-based POS, and the line."""


def _header(contigs: Iterable[Contig], samples: Sequence[str], *, declared: bool = True) -> str:
    lines = "".join(f"##contig=<ID={each.name},length={each.length}>\n" for each in contigs)
    columns = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples)
    return _HEADER + (lines if declared else "") + "\t".join(columns) + "\n"


def _line(
    contig: str,
    position: int,
    ref: str,
    alt: str,
    info: str,
    samples: Sequence[str],
    *,
    keys: str = "GT:DP",
) -> str:
    head = (contig, str(position), ".", ref, alt, "50", "PASS", info, keys, *samples)
    return "\t".join(head) + "\n"


def _text(
    contigs: Sequence[Contig], samples: int, sites: Iterable[Site], *, declared: bool = True
) -> str:
    names = [f"s{number}" for number in range(samples)]
    lines = (line for _, _, line in sorted(sites, key=lambda site: site[:2]))
    return _header(contigs, names, declared=declared) + "".join(lines)


def _sites(
    contigs: Sequence[Contig], count: int, samples: int, seed: int, weights: Sequence[int]
) -> list[Site]:
    """SNVs, indels, long REFs and blocks with END, in clusters."""
    draw, sites = random.Random(seed), []
    for contig in draw.choices(range(len(contigs)), weights, k=count):
        length = contigs[contig].length
        position = min(
            length, 1 + draw.randrange(6) * length // 6 + int(draw.expovariate(20 / length))
        )
        ref, alt, info = draw.choice("ACGT"), draw.choice("ACGT") + "T", f"DP={draw.randrange(900)}"
        kind = draw.random()
        if kind < 0.05:
            ref = "ACGT" * draw.randrange(1, 60)
        elif kind < 0.15:
            alt, info = "<*>", f"END={min(length, position + draw.randrange(30_000))}"
        elif kind < 0.2:
            info += ";TXT=" + "abc," * draw.randrange(1, 200) + "z"
        genotypes = [f"{draw.choice(('0/0', '0/1', '1/1', './.'))}:{draw.randrange(90)}"] * samples
        line = _line(contigs[contig].name, position, ref, alt, info, genotypes)
        sites.append((contig, position, line))
    for contig in {each[0] for each in sites}:
        last = contigs[contig].length
        sites += [
            (contig, at, _line(contigs[contig].name, at, "A", "T", "DP=1", ["0/1:1"] * samples))
            for at in (1, last)
        ]
    return sites


@cache
def plain_variants() -> str:
    return _text(CONTIGS, 3, _sites(CONTIGS, 12_000, 3, 31, (6, 4, 0, 2, 1, 1, 1)))


def _few_variants() -> str:
    return _text(CONTIGS, 2, _sites(CONTIGS, 60, 2, 32, (4, 2, 0, 1, 1, 1, 1)))


def _symbolic_variants(telomeric: int = 2) -> str:
    """Spans by END, SVLEN and LEN, telomeres at POS 0, an END before POS, over a layer of SNVs."""
    contigs, draw = CONTIGS[:4], random.Random(33)
    sites = _sites(contigs, 1_500, 2, 34, (3, 2, 0, 1))
    blank = ["0/1:5", "0/0:7"]
    for number in range(500):
        contig = (0, 1, 3)[number % 3]
        name, length = contigs[contig].name, contigs[contig].length
        position = draw.randrange(1, length // 2)
        span = draw.choice((1, 40, 3_000, 16_384, 120_000))
        end = min(length, position + span)
        alt, info, keys, samples = (
            ("<DEL>", f"SVTYPE=DEL;END={end}", "GT:DP", blank),
            ("<DEL>", f"SVTYPE=DEL;SVLEN={span}", "GT:DP", blank),
            ("<DEL>", f"SVTYPE=DEL;SVLEN=-{span}", "GT:DP", blank),
            ("<DUP>,<INS>", f"SVTYPE=DUP;SVLEN={span // 2 + 1},{span}", "GT:DP", blank),
            ("<CNV>", f"SVTYPE=CNV;SVLEN={span};END={end}", "GT:DP", blank),
            ("<INS>", f"SVTYPE=INS;SVLEN={span}", "GT:DP", blank),
            ("<INV>", f"SVTYPE=INV;SVLEN={span}", "GT:DP", blank),
            ("<*>", "DP=4", "GT:LEN", [f"0/0:{span}", f"0/0:{span // 3 + 1}"]),
            ("<*>", f"END={end}", "GT:LEN", ["0/0:.", "0/0:10"]),
            ("T", f"END={max(1, position - 20)}", "GT:DP", blank),
            ("<DEL:ME>", f"SVTYPE=DEL;SVLEN={span}", "GT:DP", blank),
            ("T[chr2:500[", "SVTYPE=BND", "GT:DP", blank),
        )[number % 12]
        sites.append((contig, position, _line(name, position, "A", alt, info, samples, keys=keys)))
    for contig in (0, 1, 3):
        name = contigs[contig].name
        sites += [
            (contig, 0, _line(name, 0, "N", alt, info, blank))
            for alt, info in (("<DEL>", "SVTYPE=DEL;END=900"), ("T", "DP=1"))[:telomeric]
        ]
    return _text(contigs, 2, sites)


def _long_contig_variants() -> str:
    contigs = (Contig("wheat", 700_000_000), Contig("lily", 2_000_000_000), Contig("short", 10_000))
    sites = _sites(contigs, 1_500, 1, 35, (2, 3, 1))
    for position in ((1 << 29) - 1, 1 << 29, (1 << 29) + 1):
        line = _line("wheat", position, "A", "<DEL>", f"END={position + 900_000}", ["0/1:2"])
        sites.append((0, position, line))
    return _text(contigs, 1, sites)


def _wide_variants() -> str:
    """Lines longer than a BGZF block: nearly every block holds no start of a record."""
    contigs = CONTIGS[:2]
    return _text(contigs, 20_000, _sites(contigs, 60, 20_000, 36, (2, 1)))


def _no_variants() -> str:
    return _text(CONTIGS, 2, ())


def _undeclared_variants() -> str:
    """No ##contig line: only the records and the index know the contigs."""
    sites = _sites(CONTIGS, 2_000, 1, 37, (3, 2, 0, 1, 1, 1, 1))
    return _text(CONTIGS, 1, sites, declared=False)


def _unordered_variants() -> str:
    """The contigs come in another order than the header declares them."""
    order = (3, 6, 0, 2, 5, 1, 4)
    shuffled = [CONTIGS[number] for number in order]
    sites = _sites(shuffled, 2_500, 2, 38, (2, 1, 3, 0, 1, 2, 1))
    lines = (line for _, _, line in sorted(sites, key=lambda site: site[:2]))
    return _header(CONTIGS, ("s0", "s1")) + "".join(lines)


def _sparse_variants() -> str:
    """Explicit IDX= keys with gaps, in another order than the lines."""
    text, number = _few_variants().replace("##fileformat=VCFv4.4\n", ""), 0
    lines = ["##fileformat=VCFv4.4"]
    for line in text.splitlines():
        if line.startswith("##contig"):
            number += 1
            lines.append(line.removesuffix(">") + f",IDX={40 - 5 * number}>")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def write_vcf(path: Path, text: str) -> None:
    """As current bcftools writes it: header in blocks of its own, no line split that fits one."""
    plain = path.with_suffix(".plain.vcf")
    plain.write_text(text)
    pysam.bcftools.view("--no-version", "-Oz", "-o", str(path), str(plain), catch_stdout=False)
    plain.unlink()


def write_bcf(path: Path, text: str) -> None:
    plain = path.with_suffix(".plain.vcf")
    plain.write_text(text)
    pysam.bcftools.view("--no-version", "-Ob", "-o", str(path), str(plain), catch_stdout=False)
    plain.unlink()


def _tbi(path: Path) -> None:
    pysam.tabix_index(str(path), preset="vcf", force=True)


def _csi(path: Path, min_shift: int = 14) -> None:
    pysam.bcftools.index("-f", "-c", "-m", str(min_shift), str(path))


def _old_tbi(path: Path) -> None:
    _tbi(path)
    index = path.with_name(path.name + ".tbi")
    write_index(index, read_index(index).without_metadata())


_Indexer = Callable[[Path], None]


def _vcf(path: Path, make: Callable[[], str], indexer: _Indexer = _tbi) -> None:
    write_vcf(path, make())
    indexer(path)


def _vcf_blocks(
    path: Path, make: Callable[[], str], size: int, *, indexer: _Indexer = _tbi
) -> None:
    """As bgzip writes it: blocks of `size` bytes of text, wherever header and lines end."""
    write_bgzf(path, chunked(make().encode(), size))
    indexer(path)


def _vcf_altered(path: Path, alter: Callable[[Path, Path], None]) -> None:
    whole = path.with_name("whole.vcf.gz")
    write_vcf(whole, plain_variants())
    alter(whole, path)
    whole.unlink()
    _tbi(path)


def _vcf_with_subfield(path: Path) -> None:
    """htslib reads no such block: the same records lie in `twin.vcf.gz`, where it can."""
    twin = path.with_name("twin.vcf.gz")
    _vcf(twin, plain_variants)
    index = read_index(path.with_name("twin.vcf.gz.tbi")).moved(with_subfield(twin, path))
    write_index(path.with_name(path.name + ".tbi"), index)


def _vcf_unindexed(path: Path) -> None:
    write_vcf(path, _few_variants())


def _bcf(path: Path, make: Callable[[], str], min_shift: int = 14) -> None:
    write_bcf(path, make())
    _csi(path, min_shift)


def _bcf_altered(
    path: Path, alter: Callable[[Path, Path], None], make: Callable[[], str] = plain_variants
) -> None:
    whole = path.with_name("whole.bcf")
    write_bcf(whole, make())
    alter(whole, path)
    whole.unlink()
    _csi(path)


def _reblocked(source: Path, target: Path, size: int) -> None:
    write_bgzf(target, chunked(inflated(source.read_bytes()), size))


def _one_record_per_block(source: Path, target: Path) -> None:
    """Every BCF record in a block of its own, the header in one too."""
    stream = inflated(source.read_bytes())
    at = 9 + int(struct.unpack_from("<I", stream, 5)[0])
    payloads = [stream[:at]]
    while at < len(stream):
        shared, individual = struct.unpack_from("<II", stream, at)
        payloads.append(stream[at : at + 8 + shared + individual])
        at += 8 + shared + individual
    write_bgzf(target, payloads)


def _bcf_symbolic(path: Path) -> None:
    """htslib indexes no BCF with two records at POS 0 of a contig."""
    _bcf(path, partial(_symbolic_variants, telomeric=1))


def _short_rlen(source: Path, target: Path) -> None:
    """Records whose rlen is the length of REF, whatever END says: as careless writers leave it."""
    stream = bytearray(inflated(source.read_bytes()))
    at = 9 + int(struct.unpack_from("<I", stream, 5)[0])
    while at < len(stream):
        shared, individual = struct.unpack_from("<II", stream, at)
        struct.pack_into("<i", stream, at + 16, 1)
        at += 8 + shared + individual
    write_bgzf(target, chunked(bytes(stream), 65_280))


def _bcf_unindexed(path: Path) -> None:
    write_bcf(path, _few_variants())


VARIANT_RECIPES = (
    Recipe("plain/variants.vcf.gz", partial(_vcf, make=plain_variants)),
    Recipe("csi/variants.vcf.gz", partial(_vcf, make=plain_variants, indexer=_csi)),
    Recipe(
        "csi_fine/variants.vcf.gz",
        partial(_vcf, make=plain_variants, indexer=partial(_csi, min_shift=8)),
    ),
    Recipe("old_tbi/variants.vcf.gz", partial(_vcf, make=plain_variants, indexer=_old_tbi)),
    Recipe("bgzip/variants.vcf.bgz", partial(_vcf_blocks, make=plain_variants, size=65_280)),
    Recipe("small_blocks/variants.vcf.gz", partial(_vcf_blocks, make=plain_variants, size=1_333)),
    Recipe(
        "small_blocks_csi/variants.vcf.gz",
        partial(_vcf_blocks, make=_symbolic_variants, size=900, indexer=_csi),
    ),
    Recipe("one_block/variants.vcf.gz", partial(_vcf_blocks, make=_few_variants, size=65_280)),
    Recipe(
        "no_final_newline/variants.vcf.gz",
        partial(_vcf_blocks, make=lambda: _few_variants().rstrip("\n"), size=3_000),
    ),
    Recipe("no_eof/variants.vcf.gz", partial(_vcf_altered, alter=without_eof)),
    Recipe("inner_eof/variants.vcf.gz", partial(_vcf_altered, alter=with_inner_eof)),
    Recipe("subfield/variants.vcf.gz", _vcf_with_subfield, twin="twin.vcf.gz"),
    Recipe("symbolic/variants.vcf.gz", partial(_vcf, make=_symbolic_variants)),
    Recipe("long_contig/variants.vcf.gz", partial(_vcf, make=_long_contig_variants, indexer=_csi)),
    Recipe("wide/variants.vcf.gz", partial(_vcf, make=_wide_variants)),
    Recipe("empty/variants.vcf.gz", partial(_vcf, make=_no_variants)),
    Recipe(
        "undeclared/variants.vcf.gz",
        partial(_vcf_blocks, make=_undeclared_variants, size=65_280),
    ),
    Recipe(
        "undeclared_csi/variants.vcf.gz",
        partial(_vcf_blocks, make=_undeclared_variants, size=9_000, indexer=_csi),
    ),
    Recipe("unordered/variants.vcf.gz", partial(_vcf, make=_unordered_variants)),
    Recipe("unindexed/variants.vcf.gz", _vcf_unindexed, indexed=False),
    Recipe("plain/bcf.bcf", partial(_bcf, make=plain_variants)),
    Recipe("csi_fine/bcf.bcf", partial(_bcf, make=plain_variants, min_shift=9)),
    Recipe(
        "one_block/bcf.bcf",
        partial(_bcf_altered, alter=partial(_reblocked, size=65_280), make=_few_variants),
    ),
    Recipe("small_blocks/bcf.bcf", partial(_bcf_altered, alter=partial(_reblocked, size=1_500))),
    Recipe("record_blocks/bcf.bcf", partial(_bcf_altered, alter=_one_record_per_block)),
    Recipe("no_eof/bcf.bcf", partial(_bcf_altered, alter=without_eof)),
    Recipe("inner_eof/bcf.bcf", partial(_bcf_altered, alter=with_inner_eof)),
    Recipe("symbolic/bcf.bcf", _bcf_symbolic),
    Recipe(
        "short_rlen/bcf.bcf",
        partial(_bcf_altered, alter=_short_rlen, make=partial(_symbolic_variants, telomeric=1)),
    ),
    Recipe("long_contig/bcf.bcf", partial(_bcf, make=_long_contig_variants)),
    Recipe("wide/bcf.bcf", partial(_bcf, make=_wide_variants)),
    Recipe("empty/bcf.bcf", partial(_bcf, make=_no_variants)),
    Recipe("unordered/bcf.bcf", partial(_bcf, make=_unordered_variants)),
    Recipe("sparse/bcf.bcf", partial(_bcf, make=_sparse_variants)),
    Recipe("unindexed/bcf.bcf", _bcf_unindexed, indexed=False),
)
