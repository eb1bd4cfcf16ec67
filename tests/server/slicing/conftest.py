"""What the tests of CRAM slices share."""

import random
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

from server.slicing.fasta_files import FastaOnDisk
from server.slicing.references import ReferenceStore
from server.slicing.workers import WorkerPool
from tests.support.cram_slices import LENGTHS, make_read, placed_read


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    verbosity = pysam.set_verbosity(0)
    yield
    pysam.set_verbosity(verbosity)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fasta") / "ref.fa"
    draw = random.Random(5)
    with path.open("w") as file:
        for name, length in LENGTHS.items():
            bases = "".join(draw.choices("ACGTacgtN", [9, 9, 9, 9, 2, 2, 2, 2, 1], k=length))
            file.write(f">{name}\n")
            file.writelines(f"{bases[at : at + 60]}\n" for at in range(0, length, 60))
    pysam.faidx(str(path))
    return path


@pytest.fixture(scope="module")
def references(fasta: Path) -> Iterator[ReferenceStore]:
    store = ReferenceStore([FastaOnDisk(fasta)])
    yield store
    store.close()


@pytest.fixture(scope="module")
def bam(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sorted reads of every awkward kind."""
    draw = random.Random(7)
    bases = pysam.FastaFile(str(fasta))
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": name, "LN": length} for name, length in LENGTHS.items()],
            "RG": [{"ID": "a", "SM": "s"}, {"ID": "b", "SM": "s"}],
            "CO": ["a comment"],
        }
    )
    records = []
    for name, count in {"chr1": 900, "chr|2": 500, "tiny": 12, "last": 90}.items():
        sequence = bases.fetch(name).upper()
        records += [
            placed_read(draw, header, name, sequence, f"{name[:4]}{number}")
            for number in range(count)
        ]
    records.sort(key=lambda record: (record.reference_id, record.reference_start))
    records += [
        make_read(header, f"u{number}", 4 | 77 * (number % 2), -1, -1, draw)
        for number in range(150)
    ]
    path = tmp_path_factory.mktemp("bam") / "reads.bam"
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for record in records:
            out.write(record)
    return path
