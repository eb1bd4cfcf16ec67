"""Every sample: those that are generated, and the real files beside the repository."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pysam

from tests.support.sample_bams import BAM_RECIPES
from tests.support.sample_crams import CRAM_RECIPES
from tests.support.sample_htsjdk import HTSJDK_RECIPES
from tests.support.sample_recipes import Recipe, Sample, SampleUnavailable
from tests.support.sample_variants import VARIANT_RECIPES

RECIPES: tuple[Recipe, ...] = (*BAM_RECIPES, *CRAM_RECIPES, *VARIANT_RECIPES, *HTSJDK_RECIPES)

_REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("SHARED_DATA", _REPOSITORY.parent / "shared" / "data"))
_SHARED_FASTA = {
    "cram/mitoAlignmentStartTest.cram": "fasta/mitoAlignmentStartTest.fa",
    "cram/CEUTrio.NA12878.20.first.8000.slices500.cram": "fasta/human_g1k_v37.20.subset.fasta",
}


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples on disk: what was made, and why the rest was not."""

    directory: Path
    made: Mapping[str, Sample]
    unavailable: Mapping[str, str]

    def __getitem__(self, key: str) -> Sample:
        """The sample, or `SampleUnavailable` with the reason."""
        if key in self.unavailable:
            raise SampleUnavailable(self.unavailable[key])
        return self.made[key]


def build_samples(directory: Path) -> Samples:
    """Make every sample below `directory`; what is there already is kept."""
    made, unavailable = {}, {}
    verbosity = pysam.set_verbosity(0)
    try:
        for recipe in RECIPES:
            path = directory / recipe.key
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    recipe.build(path)
                except SampleUnavailable as reason:
                    unavailable[recipe.key] = str(reason)
                    continue
            made[recipe.key] = Sample(
                recipe.key,
                path,
                path.with_name(recipe.twin) if recipe.twin else path,
                recipe.indexed,
                path.with_name(recipe.reference) if recipe.reference else None,
                recipe.nameless,
            )
    finally:
        pysam.set_verbosity(verbosity)
    return Samples(directory, made, unavailable)


def shared_samples() -> dict[str, Sample]:
    """The real alignment and variant files, empty where they are not at hand."""
    endings = (".bam", ".cram", ".vcf.gz", ".vcf.bgz", ".bcf")
    samples = {}
    for folder in ("reads", "cram", "variants"):
        for path in sorted((SHARED_DATA / folder).glob("*")):
            if path.name.endswith(endings):
                key = f"{folder}/{path.name}"
                fasta = _SHARED_FASTA.get(key)
                samples[key] = Sample(key, path, path, True, SHARED_DATA / fasta if fasta else None)
    return samples
