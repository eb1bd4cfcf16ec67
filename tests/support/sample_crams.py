"""CRAM samples: versions, layouts of containers and slices, sources of the reference bases."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pysam

from tests.support import sample_reads
from tests.support.cram_layout import CRAM_EOF_V3
from tests.support.sample_bams import index_bam
from tests.support.sample_recipes import Recipe

FASTA = "genome.fa"


def write_cram(path: Path, sam: str, *options: str, fasta: Path | None = None) -> None:
    """Write a CRAM; `options` are htslib output options such as `version=3.1`."""
    text = path.with_suffix(".sam")
    text.write_text(sam)
    arguments = [f"--output-fmt-option={option}" for option in options]
    if fasta is not None:
        arguments += ["-T", str(fasta)]
    pysam.view("-C", "--no-PG", *arguments, "-o", str(path), str(text), catch_stdout=False)
    text.unlink()


def _self_contained(path: Path, make: Callable[[], str], *options: str) -> None:
    write_cram(path, make(), "no_ref=1", *options)
    index_bam(path)


def _with_fasta(path: Path, *options: str) -> None:
    """`genome.fa` beside the file holds the bases the reads are coded against."""
    fasta = path.with_name(FASTA)
    sample_reads.write_fasta(fasta, sample_reads.SMALL_CONTIGS)
    pysam.faidx(str(fasta))
    write_cram(path, sample_reads.small_reads(), "seqs_per_slice=300", *options, fasta=fasta)
    index_bam(path)


def _embedded(path: Path, *options: str) -> None:
    """The reference is inside the file; the FASTA it came from is gone."""
    _with_fasta(path, "embed_ref=1", *options)
    for left in (path.with_name(FASTA), path.with_name(FASTA + ".fai")):
        left.unlink()


def _without_eof(path: Path) -> None:
    _self_contained(path, sample_reads.small_reads, "seqs_per_slice=400")
    path.write_bytes(path.read_bytes().removesuffix(CRAM_EOF_V3))


def _unindexed(path: Path) -> None:
    write_cram(path, sample_reads.unsorted_reads(), "no_ref=1")


def _recipe(key: str, make: Callable[[], str], *options: str) -> Recipe:
    return Recipe(key, lambda path: _self_contained(path, make, *options))


_plain, _small = sample_reads.plain_reads, sample_reads.small_reads

CRAM_RECIPES = (
    _recipe("plain/cram.cram", _plain, "seqs_per_slice=1000"),
    _recipe("cram21/reads.cram", _small, "version=2.1", "seqs_per_slice=300"),
    _recipe("cram31/reads.cram", _small, "version=3.1", "seqs_per_slice=300"),
    _recipe("cram31_archive/reads.cram", _small, "version=3.1", "archive", "seqs_per_slice=900"),
    _recipe("multi_slice/reads.cram", _plain, "seqs_per_slice=200", "slices_per_container=4"),
    _recipe("multi_reference/reads.cram", _small, "multi_seq_per_slice=1", "seqs_per_slice=700"),
    _recipe(
        "multi_reference_slices/reads.cram",
        _small,
        "multi_seq_per_slice=1",
        "seqs_per_slice=100",
        "slices_per_container=4",
    ),
    _recipe(
        "multi_reference_names/reads.cram",
        sample_reads.many_contig_reads,
        "multi_seq_per_slice=1",
        "seqs_per_slice=500",
    ),
    Recipe(
        "nameless/reads.cram",
        lambda path: _self_contained(path, _small, "lossy_names=1", "seqs_per_slice=300"),
        nameless=True,
    ),
    _recipe("consensus/reads.cram", _small, "embed_ref=2", "seqs_per_slice=300"),
    Recipe("with_fasta/reads.cram", _with_fasta, reference=FASTA),
    Recipe(
        "with_fasta21/reads.cram",
        lambda path: _with_fasta(path, "version=2.1"),
        reference=FASTA,
    ),
    Recipe(
        "with_fasta_multi/reads.cram",
        lambda path: _with_fasta(path, "version=3.1", "multi_seq_per_slice=1"),
        reference=FASTA,
    ),
    Recipe("embedded/reads.cram", _embedded),
    Recipe("embedded_slices/reads.cram", lambda path: _embedded(path, "slices_per_container=3")),
    _recipe("no_cigar/cram.cram", sample_reads.no_cigar_reads, "seqs_per_slice=100"),
    Recipe("no_eof/cram.cram", _without_eof),
    _recipe("spliced/cram.cram", sample_reads.spliced_reads, "seqs_per_slice=250"),
    _recipe("long_reads/cram.cram", sample_reads.long_reads, "bases_per_slice=300000"),
    _recipe("long_contig/cram.cram", sample_reads.long_contig_reads, "seqs_per_slice=200"),
    _recipe("piled/cram.cram", sample_reads.piled_reads, "seqs_per_slice=150"),
    _recipe("odd_names/cram.cram", sample_reads.oddly_named_reads, "seqs_per_slice=100"),
    _recipe("unordered/cram.cram", sample_reads.unordered_contig_reads, "seqs_per_slice=300"),
    _recipe("unplaced/cram.cram", sample_reads.unplaced_reads, "seqs_per_slice=100"),
    _recipe(
        "placed_only/cram.cram",
        partial(sample_reads.placed_only_reads, alone=False),
        "seqs_per_slice=200",
    ),
    _recipe("empty/cram.cram", sample_reads.no_reads),
    Recipe("unsorted/cram.cram", _unindexed, indexed=False),
)
