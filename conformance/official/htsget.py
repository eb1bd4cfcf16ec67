"""What the suite of htsget asks for: whole files that come with it, two formats under one id."""

import shutil
from pathlib import Path

FILES = (
    "reads/htsnexus_test_NA12878.bam",
    "reads/htsnexus_test_NA12878.cram",
    "variants/spec-v4.3.vcf.gz",
    "variants/spec-v4.3.bcf",
)
"""Below the suite's directory of data. It brings no indexes, and asks for no regions."""

READY = (
    "/reads/htsnexus_test_NA12878?format=BAM",
    "/reads/htsnexus_test_NA12878?format=CRAM",
    "/variants/spec-v4.3?format=VCF",
    "/variants/spec-v4.3?format=BCF",
)
"""What answers 200 once they are served."""


def write_files(served: Path, source: Path) -> None:
    """The files, so that the first part of their names is their id."""
    for file in FILES:
        shutil.copy(source / file, served)
