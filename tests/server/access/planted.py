"""Files to serve with secrets in their headers, which no answer with a redacted one may hold."""

import re
from pathlib import Path

import pysam
import pysam.bcftools

from tests.formats.byte_records import bam_header
from tests.server.slicing.sorted_streams import (
    LENGTHS,
    drawn_reads,
    make_bcf,
    make_vcf,
    vcf_text,
)
from tests.support.bgzf_layout import chunked, write_bgzf
from tests.support.oracle import Oracle
from tests.support.sample_recipes import Sample

CANARY = "CANARY"
BLOCK = 900

_FREE_TEXT = "\t".join(f"{tag}:{CANARY}" for tag in ("LB", "DS", "CN", "PU"))
SAM_HEADER = "".join(
    (
        "@HD\tVN:1.6\tSO:coordinate\n",
        *(f"@SQ\tSN:{n}\tLN:{size}\tUR:/{CANARY}/x.fa\n" for n, size in LENGTHS.items()),
        f"@RG\tID:g1\tSM:{CANARY}-7\tPL:ILLUMINA\t{_FREE_TEXT}\n",
        f"@PG\tID:bwa\tPN:bwa\tCL:bwa mem /{CANARY}/in.fq\n",
        f"@CO\t{CANARY}\n",
    )
)
_VCF_LINES = (
    f"##source={CANARY}",
    f"##reference=file:///{CANARY}.fa",
    f"##bcftools_viewCommand=view -s {CANARY} /data/{CANARY}/in.bcf",
    f"##SAMPLE=<ID={CANARY},Description={CANARY}>",
)

# What a redacted header may consist of, line by line.
SAM_ALLOWED = (
    re.compile(r"@HD\tVN:1\.6\tSO:coordinate"),
    re.compile(r"@SQ\tSN:[^\t]+\tLN:\d+"),
    re.compile(r"@RG\tID:g1\tPL:ILLUMINA\tSM:sample\d+|@RG\tID:g1\tSM:sample\d+\tPL:ILLUMINA"),
    re.compile(r"@PG\tID:htsgate\tPN:htsgate"),
)
VCF_ALLOWED = (
    re.compile(r"##fileformat=VCFv4\.\d"),
    re.compile(r"##contig=<ID=[^,]+,length=\d+(,IDX=\d+)?>"),
    re.compile(
        r"##(INFO|FORMAT|FILTER|ALT)=<ID=(END|SVLEN|GT|PASS|DEL)(,Number=\w+,Type=\w+)?"
        r',Description="([^"]*)"(,IDX=\d+)?>'
    ),
    re.compile(r"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1"),
)


def plant(home: Path) -> dict[str, Sample]:
    """One object each for reads and variants, `reads` and `variants`, in all formats; by format."""
    verbosity = pysam.set_verbosity(0)
    references = [(name.encode(), length) for name, length in LENGTHS.items()]
    stream = bam_header(SAM_HEADER.encode(), references) + b"".join(drawn_reads(71, 200))
    write_bgzf(home / "reads.bam", chunked(stream, BLOCK))
    pysam.index(str(home / "reads.bam"))
    options = ("--output-fmt-option", "no_ref=1", "--output-fmt-option", "seqs_per_slice=20")
    more = ("--no-PG", "-C", "-o", str(home / "reads.cram"), str(home / "reads.bam"))
    pysam.view(*options, *more, catch_stdout=False)
    pysam.index(str(home / "reads.cram"))
    for name, seed in (("variants.vcf.gz", 72), ("variants.bcf", 73)):
        first, _, rest = vcf_text(seed, 200).partition("\n")
        text = "\n".join(
            (first, *_VCF_LINES, rest.replace('Description="', f'Description="{CANARY}'))
        )
        make = make_vcf if name.endswith("gz") else make_bcf
        make(home / name, text, BLOCK)
    (home / "variants.vcf").unlink()
    pysam.set_verbosity(verbosity)
    names = ("reads.bam", "reads.cram", "variants.vcf.gz", "variants.bcf")
    samples = [Sample(name, home / name, home / name, True, None) for name in names]
    return {sample.format: sample for sample in samples}


def borders_of(oracles: list[Oracle]) -> dict[str, list[int]]:
    """Positions about the ends of records, by reference: where mistakes by one show."""
    found: dict[str, set[int]] = {name: set() for name in LENGTHS}
    for oracle in oracles:
        names = {number: name for name, number in oracle.numbers.items()}
        for number, *ends in zip(oracle.references, oracle.starts, oracle.ends, strict=True):
            name = names[int(number)]
            for end in map(int, ends):
                near = {end - 1, end, end + 1}
                found.get(name, set()).update(
                    each for each in near if 0 <= each <= LENGTHS.get(name, 0)
                )
    return {name: sorted(each) or [0, 1] for name, each in found.items()}
