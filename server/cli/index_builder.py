"""Builds the indexes of one file with htslib, as a program of its own: KIND FILE DIRECTORY.

htslib may crash on a damaged file, says why on standard error, and keeps other threads waiting; in
a process of its own none of that matters. Writes `index.bai` or the like into the directory and
exits with 0, or with 1 and the reason on standard error. Imports nothing of the server.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pysam
import pysam.bcftools
from pysam.utils import SamtoolsError

LONGEST_FOR_BAI = 1 << 29
"""Length of the longest reference that BAI and TBI can index (SAMv1 § 5.1.1)."""


def main(kind: str, path: str, directory: str) -> int:
    """Build what the kind of file takes; the exit status."""
    try:
        BUILDERS[kind](path, str(Path(directory, "index")))
    except SamtoolsError as error:
        print(str(error.value).partition("stderr=")[2], file=sys.stderr)
        return 1
    except NotImplementedError:  # of pysam, for BGZF whose extra field is not as bgzip writes it
        print("htslib reads it as plain gzip: compress it again with bgzip", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _bam(path: str, index: str) -> None:
    with pysam.AlignmentFile(path, check_sq=False, ignore_truncation=True) as reads:
        is_long = max(reads.lengths, default=0) > LONGEST_FOR_BAI
    kind = "csi" if is_long else "bai"
    pysam.samtools.index(f"--{kind}", "-o", f"{index}.{kind}", path)


def _cram(path: str, index: str) -> None:
    pysam.samtools.index("-o", f"{index}.crai", path)


def _vcf(path: str, index: str) -> None:
    # Forced, an index is built although the EOF marker is missing.
    verbosity = pysam.set_verbosity(0)  # it is no error that there is no index yet
    with pysam.VariantFile(path, ignore_truncation=True) as variants:
        lengths = [contig.length or 0 for contig in variants.header.contigs.values()]
    pysam.set_verbosity(verbosity)
    if max(lengths, default=0) <= LONGEST_FOR_BAI:
        try:
            pysam.bcftools.index("--tbi", "--force", "-o", f"{index}.tbi", path)
        except SamtoolsError:
            # The lengths of contigs need not be declared, so a CSI may do all the same.
            Path(f"{index}.tbi").unlink(missing_ok=True)
        else:
            return
    pysam.bcftools.index("--csi", "--force", "-o", f"{index}.csi", path)


def _bcf(path: str, index: str) -> None:
    pysam.bcftools.index("--csi", "--force", "-o", f"{index}.csi", path)


def _fasta(path: str, index: str) -> None:
    pysam.faidx(path, "--fai-idx", f"{index}.fai", "--gzi-idx", f"{index}.gzi")


BUILDERS: Mapping[str, Callable[[str, str], None]] = {
    "BAM": _bam,
    "CRAM": _cram,
    "VCF": _vcf,
    "BCF": _bcf,
    "FASTA": _fasta,
}
"""What builds the indexes of a kind of file; the second argument is their path less extension."""

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
