"""A directory of small files that the tests of the server share, and a server of it."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pysam
import pytest

from tests.formats.byte_records import bam_record
from tests.server.live import Live, serving, settings_of
from tests.server.slicing.sorted_streams import (
    age,
    drawn_reads,
    make_bam,
    make_bcf,
    make_vcf,
    vcf_text,
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`reads` and `variants` in both formats, one format alone, odd names, damaged files."""
    verbosity = pysam.set_verbosity(0)
    home = tmp_path_factory.mktemp("served")
    make_bam(home / "reads.bam", drawn_reads(30), 900)
    options = ("-C", "--output-fmt-option", "no_ref=1", "-o", str(home / "reads.cram"))
    pysam.view(*options, str(home / "reads.bam"), catch_stdout=False)
    pysam.index(str(home / "reads.cram"))
    make_vcf(home / "variants.vcf.gz", vcf_text(30), 900)
    make_bcf(home / "variants.bcf", vcf_text(31), 900)
    (home / "variants.vcf").unlink()
    (home / "sub dir" / "deep.er").mkdir(parents=True)
    make_bam(home / "sub dir" / "deep.er" / "odd é+&%.v1.bam", drawn_reads(32), 900)
    make_bam(home / "only.bam", drawn_reads(33, 20), 900)
    make_bcf(home / "lone.bcf", vcf_text(34, 20), 900)
    (home / "lone.vcf").unlink()
    make_bam(home / "bare.bam", drawn_reads(35, 60), 900, indexed=False)
    make_bam(home / "empty.bam", [], 900)
    make_bam(home / "stale.bam", drawn_reads(36, 60), 900)
    age(home / "stale.bam.bai", 60)
    draw = random.Random(5)
    noisy = [
        bam_record(0, 100 + at * 4, [(60, "M")], name=b"n\0", tail=draw.randbytes(900))
        for at in range(5_200)
    ]
    make_bam(home / "large.bam", noisy, 60_000)
    pysam.set_verbosity(verbosity)
    return home


@pytest.fixture
async def live(data: Path) -> AsyncIterator[Live]:
    """A server of that directory."""
    async with serving(settings_of(data)) as server:
        yield server
