"""What every measurement is given."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.inputs.generate import Inputs
from benchmarks.inputs.variants import FIRST, SPACING
from benchmarks.load import Load


@dataclass(frozen=True, slots=True)
class Setting:
    """The data, how long to measure, and a directory for what is in the way afterwards.

    `rounds`: turns of each contender; `seconds`: how long a turn under load lasts. `config`:
    settings for htsgate.
    """

    inputs: Inputs
    rounds: int
    seconds: float
    directory: Path
    config: Path
    load: Load
    random: Random = field(default_factory=partial(Random, 30))

    @property
    def quick(self) -> bool:
        """Whether figures are not the point of this run."""
        return self.inputs.scale.name == "quick"

    def warm(self, path: Path | None = None) -> None:
        """Read a file, by default the BAM, so that the system has it in memory."""
        with (path or self.inputs.reads).open("rb", buffering=0) as file:
            while file.read(1 << 22):
                pass

    def region(self, length: int) -> tuple[str, int, int]:
        """A random region of the contig that is dense with reads, half of it at the longest."""
        return self._somewhere("chr20", 0, self.inputs.scale.dense, length)

    def small_region(self, length: int) -> tuple[str, int, int]:
        """A random region of the contig that the CRAM holds."""
        return self._somewhere("chr21", 0, self.inputs.scale.dense_small, length)

    def variant_region(self, length: int) -> tuple[str, int, int]:
        """A random region of the contig that the VCF and the BCF hold."""
        return self._somewhere("chr20", FIRST, SPACING * self.inputs.scale.sites, length)

    def bases(self, file_bytes: int) -> int:
        """The length of a region whose reads take about so many bytes of the BAM."""
        scale = self.inputs.scale
        size = self.inputs.reads.stat().st_size
        return min(scale.dense // 2, file_bytes * (scale.dense + scale.dense_small) // size)

    def _somewhere(self, name: str, low: int, total: int, length: int) -> tuple[str, int, int]:
        length = min(length, total // 2)
        start = low + self.random.randrange(1, total - length)
        return name, start, start + length
