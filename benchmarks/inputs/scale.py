"""How large the generated data are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the generated data. Lengths are in bases; `depth` is the reads over each base.

    `dense` and `dense_small` are the lengths of the two contigs that are covered throughout;
    `sparse` is the number of contigs that hold a few reads each. `genome`: the chromosomes of the
    indexes without data.
    """

    name: str
    dense: int
    dense_small: int
    sparse: int
    depth: int
    sites: int
    samples: int
    genome: tuple[int, ...]


HUMAN = (
    248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973,
    145_138_636, 138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718,
    101_991_189, 90_338_345, 83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983,
    50_818_468, 156_040_895, 57_227_415,
)  # fmt: skip
"""Lengths of the chromosomes of GRCh38."""

FULL = Scale("full", 30_000_000, 3_000_000, 40, 30, 300_000, 100, HUMAN)
QUICK = Scale("quick", 300_000, 100_000, 3, 10, 2_000, 10, (3_000_000, 1_000_000))
