"""A VCF with many samples, made as one array of characters, and the same as BCF."""

from pathlib import Path

import numpy as np
import pysam
from pysam import bcftools

from benchmarks.inputs.scale import Scale
from formats.bgzf import EOF_MARKER, MAX_PAYLOAD, compress

FIRST = 10_000_000  # positions of eight digits make lines of one length
SPACING = 100
_BATCH = 20_000
_GENOTYPES = np.array([b"\t0|0", b"\t0|1", b"\t1|0", b"\t1|1"])


def write_variants(directory: Path, scale: Scale) -> None:
    """`variants.vcf.gz` with TBI and `calls.bcf` with CSI: a variant every hundred bases or so."""
    random = np.random.default_rng(22)
    names = "".join(f"\tsample{number}" for number in range(scale.samples))
    header = (
        "##fileformat=VCFv4.2\n"
        f"##contig=<ID=chr20,length={FIRST + SPACING * (scale.sites + 1)}>\n"
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency of the allele">\n'
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT{names}\n"
    )
    path = directory / "variants.vcf.gz"
    with path.open("wb") as file:
        file.write(compress(header.encode()))
        for at in range(0, scale.sites, _BATCH):
            count = min(_BATCH, scale.sites - at)
            lines = _lines(random, at, count, scale.samples)
            length = len(lines) // count
            step = MAX_PAYLOAD // length * length or length
            for begin in range(0, len(lines), step):
                file.write(compress(lines[begin : begin + step]))
        file.write(EOF_MARKER)
    pysam.tabix_index(str(path), preset="vcf", force=True)
    bcf = directory / "calls.bcf"
    bcftools.view("-Ob", "-o", str(bcf), str(path), catch_stdout=False)
    bcftools.index(str(bcf), catch_stdout=False)


def _lines(random: np.random.Generator, at: int, count: int, samples: int) -> bytes:
    positions = FIRST + SPACING * np.arange(at, at + count) + random.integers(0, SPACING, count)
    pairs = np.array([b"\t.\tA\tC", b"\t.\tA\tG", b"\t.\tC\tT", b"\t.\tG\tT"])
    thousandths = np.minimum(999, 1 + (random.exponential(60, count)).astype(np.int64))
    frequencies = np.char.add("0.", np.char.zfill(thousandths.astype("U3"), 3)).astype("S5")
    columns = [
        np.full(count, b"chr20\t"),
        positions.astype("S8"),
        pairs[random.integers(0, len(pairs), count)],
        np.full(count, b"\t50\tPASS\tAF="),
        frequencies,
        np.full(count, b"\tGT"),
    ]
    carried = random.random((count, samples, 2)) < (thousandths / 1000)[:, None, None]
    genotypes = _GENOTYPES[2 * carried[..., 0] + carried[..., 1]]
    parts = [column.view(np.uint8).reshape(count, -1) for column in columns]
    parts.append(np.ascontiguousarray(genotypes).view(np.uint8).reshape(count, -1))
    parts.append(np.full((count, 1), ord("\n"), dtype=np.uint8))
    return np.concatenate(parts, axis=1).tobytes()
