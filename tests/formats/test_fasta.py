"""FASTA by its indexes, plain and BGZF, against pysam; and indexes that lie."""

import random
import struct
from pathlib import Path

import pysam
import pytest

from formats.errors import CorruptData
from formats.fasta import FaiEntry, FastaReader, parse_fai, parse_gzi
from formats.source import BytesSource


@pytest.fixture(params=["plain", "bgzf", "crlf"])
def fasta(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    draw = random.Random(4)
    end = "\r\n" if request.param == "crlf" else "\n"
    path = tmp_path / "ref.fa"
    with path.open("w", newline="") as file:
        for number, (length, width) in enumerate(
            [(100_000, 60), (59, 60), (60, 60), (200_000, 70)]
        ):
            bases = "".join(draw.choices("ACGTacgtnN", k=length))
            file.write(f">seq{number} some words{end}")
            file.writelines(bases[at : at + width] + end for at in range(0, length, width))
    if request.param == "bgzf":
        packed = tmp_path / "ref.fa.gz"
        pysam.tabix_compress(str(path), str(packed))
        path = packed
    pysam.faidx(str(path))
    return path


def test_residues_equal_pysam(fasta: Path) -> None:
    entries = parse_fai(fasta.with_name(fasta.name + ".fai").read_bytes())
    gzi = fasta.with_name(fasta.name + ".gzi")
    reader = FastaReader(
        BytesSource(fasta.read_bytes()), parse_gzi(gzi.read_bytes()) if gzi.exists() else None
    )
    draw = random.Random(5)
    with pysam.FastaFile(str(fasta)) as oracle:
        for entry in entries:
            assert reader.residues(entry, 0, entry.length).decode() == oracle[entry.name].upper()
            for _ in range(50):
                start = draw.randrange(entry.length + 1)
                end = min(entry.length, start + draw.choice([0, 1, 59, 60, 61, 70_000]))
                expected = oracle.fetch(entry.name, start, end).upper() if start < end else ""
                assert reader.residues(entry, start, end).decode() == expected


def test_interval_outside_the_sequence() -> None:
    reader = FastaReader(BytesSource(b">a\nACGT\n"))
    for start, end in ((-1, 2), (0, 5), (3, 2)):
        with pytest.raises(ValueError, match="outside"):
            reader.residues(FaiEntry("a", 4, 3, 4, 5), start, end)


@pytest.mark.parametrize(
    "entry",
    [FaiEntry("a", 40, 3, 4, 5), FaiEntry("a", 4, 2, 4, 5), FaiEntry("a", 8, 3, 4, 9)],
)
@pytest.mark.security("TI9")
def test_index_that_does_not_fit(entry: FaiEntry) -> None:
    reader = FastaReader(BytesSource(b">a\nACGT\n>b\nAC\n"))
    with pytest.raises(CorruptData):
        reader.residues(entry, 0, entry.length)


@pytest.mark.parametrize(
    "data",
    [
        b"a\t10\t3\t0\t1\n",
        b"a\t10\t3\t5\t4\n",
        b"a\t10\t3\t5\n",
        b"a\t10\t3\t5\t6\t100\n",
        b"a\t-10\t3\t5\t6\n",
        b"a\tx\t3\t5\t6\n",
        b"a\t9999999999999999999\t3\t5\t6\n",
        b"\t10\t3\t5\t6\n",
        b"a\t10\t3\t5\t6\na\t10\t30\t5\t6\n",
        b"\n",
    ],
)
@pytest.mark.security("TI9")
def test_bad_fai(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse_fai(data)


@pytest.mark.security("TI9")
def test_fai_limit_and_empty_sequence() -> None:
    assert parse_fai(b"a\t0\t3\t0\t0\n") == (FaiEntry("a", 0, 3, 0, 0),)
    with pytest.raises(CorruptData):
        parse_fai(b"a\t1\t3\t1\t2\nb\t1\t9\t1\t2\n", limit=1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 1),
        struct.pack("<Q", 1 << 60),
        struct.pack("<QQQ", 1, 10, 20) + b"x",
        struct.pack("<QQQQQ", 2, 10, 20, 5, 30),
        struct.pack("<QQQQQ", 2, 10, 20, 30, 5),
        struct.pack("<QQQ", 1, 1 << 63, 20),
    ],
)
@pytest.mark.security("TI4")
def test_bad_gzi(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse_gzi(data)


def test_gzi_may_name_the_first_block() -> None:
    plain = struct.pack("<QQQ", 1, 10, 20)
    named = struct.pack("<QQQQQ", 2, 0, 0, 10, 20)
    assert parse_gzi(plain) == parse_gzi(named) == ((0, 0), (10, 20))
