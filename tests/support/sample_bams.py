"""BAM samples: how writers lay records out in blocks, and what their indexes lack."""

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pysam

from tests.support import sample_reads
from tests.support.bgzf_layout import (
    PICARD_PAYLOAD,
    chunked,
    inflated,
    reblock,
    with_inner_eof,
    with_subfield,
    without_eof,
    write_bgzf,
)
from tests.support.index_layout import read_index, write_index
from tests.support.sample_recipes import Recipe


def index_bam(path: Path, *options: str) -> None:
    pysam.index(*options, str(path))


def write_bam(path: Path, sam: str) -> None:
    """As htslib writes it: the header in blocks of its own, no record split that fits a block."""
    text = path.with_suffix(".sam")
    text.write_text(sam)
    pysam.view("-b", "--no-PG", "-o", str(path), str(text), catch_stdout=False)
    text.unlink()


def _indexed(path: Path, make: Callable[[], str], *options: str) -> None:
    write_bam(path, make())
    index_bam(path, *options)


def _altered(path: Path, alter: Callable[[Path, Path], None], make: Callable[[], str]) -> None:
    """Write, alter the layout, index what came out."""
    whole = path.with_suffix(".whole.bam")
    write_bam(whole, make())
    alter(whole, path)
    whole.unlink()
    index_bam(path)


def map_reads_without_cigar(path: Path) -> None:
    """Clear the unmapped flag that htslib's SAM parser sets where there is no CIGAR."""
    flagged = path.with_suffix(".flagged.bam")
    path.rename(flagged)
    with (
        pysam.AlignmentFile(str(flagged)) as source,
        pysam.AlignmentFile(str(path), "wb", template=source) as target,
    ):
        for read in source.fetch(until_eof=True):
            if not read.is_paired:
                read.flag &= ~4
            target.write(read)
    flagged.unlink()


def _no_cigar(path: Path) -> None:
    write_bam(path, sample_reads.no_cigar_reads())
    map_reads_without_cigar(path)
    index_bam(path)


def _unindexed(path: Path) -> None:
    write_bam(path, sample_reads.unsorted_reads())


def _without_metadata(path: Path, suffix: str, *options: str) -> None:
    _indexed(path, sample_reads.plain_reads, *options)
    index = path.with_name(path.name + suffix)
    write_index(index, read_index(index).without_metadata())


def _with_subfield(path: Path) -> None:
    """htslib reads no such block: the same records lie in `twin.bam`, where it can."""
    twin = path.with_name("twin.bam")
    _indexed(twin, sample_reads.plain_reads)
    moved = with_subfield(twin, path)
    index = read_index(path.with_name("twin.bam.bai")).moved(moved)
    write_index(path.with_name(path.name + ".bai"), index)


def _new_header(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the text of the binary header; the list of references stays."""
    whole = path.with_suffix(".whole.bam")
    write_bam(whole, sample_reads.placed_only_reads())
    stream = inflated(whole.read_bytes())
    whole.unlink()
    (length,) = struct.unpack_from("<i", stream, 4)
    text = change(stream[8 : 8 + length])
    write_bgzf(
        path,
        chunked(stream[:4] + struct.pack("<i", len(text)) + text + stream[8 + length :], 60_000),
    )
    index_bam(path)


_plain = sample_reads.plain_reads

BAM_RECIPES = (
    Recipe("plain/reads.bam", partial(_indexed, make=_plain)),
    Recipe("csi/reads.bam", lambda path: _indexed(path, _plain, "-c")),
    Recipe("csi_fine/reads.bam", lambda path: _indexed(path, _plain, "-c", "-m", "9")),
    Recipe(
        "spanning/reads.bam",
        partial(_altered, alter=partial(reblock, size=PICARD_PAYLOAD), make=_plain),
    ),
    Recipe(
        "small_blocks/reads.bam",
        partial(_altered, alter=partial(reblock, size=1_777), make=sample_reads.placed_only_reads),
    ),
    Recipe(
        "long_reads_small_blocks/reads.bam",
        partial(_altered, alter=partial(reblock, size=30_011), make=sample_reads.long_reads),
    ),
    Recipe("no_eof/reads.bam", partial(_altered, alter=without_eof, make=_plain)),
    Recipe("inner_eof/reads.bam", partial(_altered, alter=with_inner_eof, make=_plain)),
    Recipe("subfield/reads.bam", _with_subfield, twin="twin.bam"),
    Recipe("old_bai/reads.bam", partial(_without_metadata, suffix=".bai")),
    Recipe("old_csi/reads.bam", lambda path: _without_metadata(path, ".csi", "-c")),
    Recipe("long_contig/reads.bam", lambda p: _indexed(p, sample_reads.long_contig_reads, "-c")),
    Recipe("spliced/reads.bam", partial(_indexed, make=sample_reads.spliced_reads)),
    Recipe("long_reads/reads.bam", partial(_indexed, make=sample_reads.long_reads)),
    Recipe("no_cigar/reads.bam", _no_cigar),
    Recipe("long_cigar/reads.bam", partial(_indexed, make=sample_reads.long_cigar_reads)),
    Recipe("piled/reads.bam", partial(_indexed, make=sample_reads.piled_reads)),
    Recipe("odd_names/reads.bam", partial(_indexed, make=sample_reads.oddly_named_reads)),
    Recipe("many_contigs/reads.bam", partial(_indexed, make=sample_reads.many_contig_reads)),
    Recipe("unordered/reads.bam", partial(_indexed, make=sample_reads.unordered_contig_reads)),
    Recipe("unplaced/reads.bam", partial(_indexed, make=sample_reads.unplaced_reads)),
    Recipe("placed_only/reads.bam", partial(_indexed, make=sample_reads.placed_only_reads)),
    Recipe("empty/reads.bam", partial(_indexed, make=sample_reads.no_reads)),
    Recipe("unsorted/reads.bam", _unindexed, indexed=False),
    Recipe("nul_padded/reads.bam", partial(_new_header, change=lambda text: text + b"\0" * 300)),
    Recipe("no_text/reads.bam", partial(_new_header, change=lambda text: b"")),
)
