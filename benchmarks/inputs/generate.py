"""Generates the data that are measured on, once."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs.indexes import write_indexes
from benchmarks.inputs.reads import write_cram, write_reads
from benchmarks.inputs.scale import Scale
from benchmarks.inputs.variants import write_variants


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the generated data lie. `served` is what the servers serve."""

    scale: Scale
    directory: Path

    @property
    def served(self) -> Path:
        """The directory of the data files and their indexes."""
        return self.directory / "served"

    @property
    def reads(self) -> Path:
        """The BAM."""
        return self.served / "reads.bam"

    @property
    def cram(self) -> Path:
        """The CRAM."""
        return self.served / "alignments.cram"

    @property
    def reference(self) -> Path:
        """The FASTA that the BAM and the CRAM are aligned to."""
        return self.served / "reference.fa"

    @property
    def vcf(self) -> Path:
        """The VCF."""
        return self.served / "variants.vcf.gz"

    @property
    def bcf(self) -> Path:
        """The BCF."""
        return self.served / "calls.bcf"

    def index(self, name: str) -> Path:
        """An index without data: `genome.bai`, `genome.csi` or `small.bai`."""
        return self.directory / name


def generate(directory: Path, scale: Scale, tell: Callable[[str], None]) -> Inputs:
    """The data of a scale below `directory`; made unless those there came of the same code."""
    inputs = Inputs(scale, directory / scale.name)
    stamp = inputs.directory / "made-by"
    maker = _maker(scale)
    if stamp.is_file() and stamp.read_text() == maker:
        return inputs
    if inputs.directory.exists():
        shutil.rmtree(inputs.directory)
    inputs.served.mkdir(parents=True)
    tell("generating indexes of a whole genome")
    write_indexes(inputs.directory, scale)
    tell("generating variants")
    write_variants(inputs.served, scale)
    tell("generating reads: takes a minute or two")
    write_reads(inputs.served, scale)
    write_cram(inputs.served)
    stamp.write_text(maker)
    return inputs


def _maker(scale: Scale) -> str:
    """What identifies generated data: the scale, and the code that makes them."""
    digest = hashlib.sha256(repr(scale).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()
