"""What a sample is, and how its file comes to be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class SampleUnavailable(Exception):
    """This machine lacks what makes the sample; the message says what."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one sample.

    `key` is the file's path below the directory of samples, `build` writes the file, its index and
    what else belongs to it. `indexed` is false where regions cannot be asked. `reference` names the
    FASTA beside the file that decodes it. `twin` names a file beside it with the same records,
    where htslib cannot slice the file itself. `nameless` reads are named by whoever decodes them.
    """

    key: str
    build: Callable[[Path], None]
    indexed: bool = True
    reference: str | None = None
    twin: str | None = None
    nameless: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to serve and to compare with; `oracle` is the file that pysam reads."""

    key: str
    path: Path
    oracle: Path
    indexed: bool
    reference: Path | None
    nameless: bool = False

    @property
    def object_id(self) -> str:
        """The htsget id: the key without the extension of its format."""
        for extension in (".vcf.gz", ".vcf.bgz", ".bam", ".cram", ".bcf"):
            if self.key.endswith(extension):
                return self.key.removesuffix(extension)
        raise ValueError(self.key)

    @property
    def format(self) -> str:
        """What the `format` parameter calls it."""
        for extension, name in ((".bam", "BAM"), (".cram", "CRAM"), (".bcf", "BCF")):
            if self.key.endswith(extension):
                return name
        return "VCF"

    @property
    def endpoint(self) -> str:
        return "reads" if self.format in ("BAM", "CRAM") else "variants"
