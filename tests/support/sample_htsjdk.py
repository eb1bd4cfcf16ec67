"""Samples written by htsjdk, the library of Picard and GATK, where Java and its jar are found."""

import shutil
import subprocess
from pathlib import Path

import pysam

from tests.support import sample_reads, sample_variants
from tests.support.sample_bams import index_bam, write_bam
from tests.support.sample_crams import FASTA
from tests.support.sample_recipes import Recipe, SampleUnavailable

_JARS = Path("/usr/share/java")
_NEEDED = (
    *("htsjdk", "commons-jexl2", "commons-logging", "snappy-java"),
    *("commons-compress", "xz", "mjson"),
)
_SOURCE = Path(__file__).with_name("HtsjdkWriter.java")


def htsjdk_program(source: Path, classes: Path) -> list[str]:
    """What runs the Java program in the file `source`, which is compiled into the folder `classes`
    unless that is there; `SampleUnavailable` without a JDK or the jar."""
    if not (shutil.which("java") and shutil.which("javac")):
        raise SampleUnavailable("no JDK: java and javac are not on PATH")
    if not (_JARS / "htsjdk.jar").exists():
        raise SampleUnavailable("no htsjdk.jar (Debian: libhtsjdk-java)")
    path = ":".join([str(classes), *(str(_JARS / f"{name}.jar") for name in _NEEDED)])
    if not classes.exists():
        command = ("javac", "-nowarn", "-cp", path, "-d", str(classes), str(source))
        subprocess.run(command, check=True, capture_output=True)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", path, source.stem]


def _write(source: Path, target: Path, *fasta: Path) -> None:
    program = htsjdk_program(_SOURCE, target.with_name("classes"))
    files = map(str, (source, target, *fasta))
    done = subprocess.run((*program, *files), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _bam(path: Path) -> None:
    """Blocks of 65,498 bytes that split header and records; `reads.bai` written along."""
    source = path.with_name("source.bam")
    write_bam(source, sample_reads.plain_reads())
    _write(source, path)
    source.unlink()


def _cram(path: Path) -> None:
    """Multi-reference slices at the borders of contigs, as htsjdk makes them by itself."""
    fasta = path.with_name(FASTA)
    sample_reads.write_fasta(fasta, sample_reads.SMALL_CONTIGS)
    pysam.faidx(str(fasta))
    source = path.with_name("source.bam")
    write_bam(source, sample_reads.small_reads(6_000))
    _write(source, path, fasta)
    source.unlink()
    index_bam(path)


def _vcf(path: Path) -> None:
    """Header and first records in one block; a `.tbi` without count metadata."""
    source = path.with_name("source.vcf")
    source.write_text(sample_variants.plain_variants().replace("VCFv4.4", "VCFv4.2"))
    _write(source, path)
    source.unlink()


HTSJDK_RECIPES = (
    Recipe("htsjdk/reads.bam", _bam),
    Recipe("htsjdk/cram.cram", _cram, reference=FASTA),
    Recipe("htsjdk/variants.vcf.gz", _vcf),
)
