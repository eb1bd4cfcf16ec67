import gzip
import os
import stat
from pathlib import Path

import pysam
import pytest

from server.cli import run
from server.cli.index import Outcome, build_missing
from server.demo_data import FILES
from tests.support.bgzf_layout import with_subfield

_INDEXES = [name for name in FILES if name.endswith(("i", "csi"))]


def bare(directory: Path) -> dict[str, bytes]:
    """Take the indexes away; what they held."""
    held = {name: (directory / name).read_bytes() for name in _INDEXES}
    for name in _INDEXES:
        (directory / name).unlink()
    return held


def test_everything_is_indexed(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = bare(open_files)
    before = {path.name for path in open_files.iterdir()}
    assert run(["index", str(open_files)]) == 0
    assert "5 files: 5 indexed, 0 had an index" in capsys.readouterr().out
    assert {path.name for path in open_files.iterdir()} == before | set(_INDEXES)
    assert {name: (open_files / name).read_bytes() for name in _INDEXES} == held
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((open_files / "demo.bam.bai").stat().st_mode) == 0o666 & ~umask
    assert run(["check", str(open_files)]) == 0


def test_what_is_there_is_left_alone(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (open_files / "demo.bam.bai").rename(open_files / "demo.bai")
    (open_files / "demo.vcf.gz.tbi").write_bytes(b"not mine to judge")
    later = (open_files / "demo.bcf").stat().st_mtime_ns + 100 * 10**9
    os.utime(open_files / "demo.bcf", ns=(later, later))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in open_files.iterdir()}
    assert run(["index", str(open_files)]) == 1
    output = capsys.readouterr().out
    assert "remove demo.bcf.csi, run again" in output
    assert "0 indexed, 4 had an index, 1 has a stale one, 0 failed" in output
    assert before == {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in open_files.iterdir()
    }


def test_a_broken_link_is_no_place_to_write(open_files: Path) -> None:
    index = open_files / "demo.bam.bai"
    index.unlink()
    index.symlink_to("elsewhere")
    assert build_missing(open_files / "demo.bam").outcome is Outcome.FAILED
    assert not (open_files / "elsewhere").exists()


def test_what_cannot_be_indexed_is_said(
    open_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bam = open_files / "demo.bam"
    pysam.sort("-n", "-o", str(open_files / "byname.bam"), str(bam))
    with (
        pysam.AlignmentFile(str(open_files / "byname.bam")) as reads,
        pysam.AlignmentFile(
            str(open_files / "byname.cram"),
            "wc",
            template=reads,
            reference_filename=str(open_files / "demo.fa"),
        ) as cram,
    ):
        for read in reads.fetch(until_eof=True):
            cram.write(read)
    (open_files / "cut.bam").write_bytes(bam.read_bytes()[:300_000])
    for name in ("demo.vcf.gz", "demo.bcf"):
        (open_files / f"cut.{name}").write_bytes((open_files / name).read_bytes()[:-40])
    with_subfield(open_files / "demo.vcf.gz", open_files / "extra.vcf.gz")
    (open_files / "empty.bam").write_bytes(b"")
    (open_files / "words.cram").write_bytes(b"words" * 100)
    text = gzip.decompress((open_files / "demo.vcf.gz").read_bytes())
    (open_files / "gzip.vcf.gz").write_bytes(gzip.compress(text))
    (open_files / "gzip.fa.gz").write_bytes(gzip.compress(b">one\nACGT\n"))
    (open_files / "ragged.fa").write_bytes(b">one\nACGT\nA\nACGT\n")
    before = set(open_files.iterdir())
    assert run(["index", str(open_files)]) == 1
    lines = capsys.readouterr().out.splitlines()
    reasons = {
        Path(line.split(": ")[0].removeprefix("failed").strip()).name: line.split(": ", 1)[1]
        for line in lines[:-1]
    }
    assert "Unsorted positions" in reasons.pop("byname.bam")
    assert reasons.pop("byname.cram") == "not sorted by coordinate"
    assert "block" in reasons.pop("cut.bam")
    assert reasons.pop("cut.demo.vcf.gz")
    assert reasons.pop("cut.demo.bcf")
    assert reasons.pop("extra.vcf.gz").startswith("htslib reads it as plain gzip")
    assert reasons.pop("empty.bam") == "the file is empty"
    assert reasons.pop("words.cram") == "no CRAM file"
    assert "plain gzip" in reasons.pop("gzip.vcf.gz")
    assert "plain gzip" in reasons.pop("gzip.fa.gz")
    assert "Format error" in reasons.pop("ragged.fa")
    assert not reasons
    assert lines[-1].endswith("11 failed")
    assert set(open_files.iterdir()) == before


def test_long_contigs_get_a_csi(tmp_path: Path) -> None:
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "wheat", "LN": 800_000_000}]}
    with pysam.AlignmentFile(str(tmp_path / "long.bam"), "wb", header=header) as reads:
        read = pysam.AlignedSegment(reads.header)
        read.query_name, read.query_sequence, read.cigarstring = "one", "ACGT", "4M"
        read.reference_id, read.reference_start, read.flag = 0, 700_000_000, 0
        reads.write(read)
    for name, declared in (("long", ",length=800000000"), ("silent", "")):
        text = f"##fileformat=VCFv4.3\n##contig=<ID=wheat{declared}>\n"
        text += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        text += "wheat\t700000001\t.\tA\tC\t.\t.\t.\n"
        with pysam.BGZFile(str(tmp_path / f"{name}.vcf.gz"), "w", None) as file:
            file.write(text.encode())
    assert run(["index", str(tmp_path)]) == 0
    with pysam.AlignmentFile(
        str(tmp_path / "long.bam"), index_filename=str(tmp_path / "long.bam.csi")
    ) as reads:
        assert reads.count("wheat", 700_000_000, 700_000_001) == 1
    for name in ("long", "silent"):
        path = tmp_path / f"{name}.vcf.gz"
        with pysam.TabixFile(str(path), index=f"{path}.csi") as lines:
            assert len(list(lines.fetch("wheat", 700_000_000, 700_000_001))) == 1


def test_fasta_in_bgzf(open_files: Path, tmp_path: Path) -> None:
    """Each of its two indexes is built when it is the one that is missing."""
    packed = tmp_path / "packed.fa.gz"
    pysam.tabix_compress(str(open_files / "demo.fa"), str(packed))
    assert build_missing(packed).text == "packed.fa.gz.fai, packed.fa.gz.gzi"
    for extension in ("fai", "gzi"):
        index = Path(f"{packed}.{extension}")
        held = index.read_bytes()
        index.unlink()
        assert build_missing(packed).text == index.name
        assert index.read_bytes() == held
    assert build_missing(packed).outcome is Outcome.KEPT
    with pysam.FastaFile(str(packed)) as fasta:
        assert list(fasta.references) == ["chr1", "chr2", "chrM"]


def test_names_that_need_care(open_files: Path, tmp_path: Path) -> None:
    directory = tmp_path / "a b'c"
    directory.mkdir()
    for name in ("-b x.bam", "café;$(x).bam"):
        (directory / name).write_bytes((open_files / "demo.bam").read_bytes())
        assert build_missing(directory / name).outcome is Outcome.MADE
        assert (directory / f"{name}.bai").exists()


def test_a_file_without_eof_marker_is_indexed(open_files: Path) -> None:
    for name in ("demo.bam", "demo.vcf.gz", "demo.bcf"):
        path = open_files / f"open.{name}"
        path.write_bytes((open_files / name).read_bytes()[:-28])
        assert build_missing(path).outcome is Outcome.MADE, name


def test_a_file_that_is_named(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare(open_files)
    assert run(["index", str(open_files / "demo.bam"), str(open_files / "demo.bam")]) == 0
    assert "1 file: 1 indexed" in capsys.readouterr().out
    assert [name for name in _INDEXES if (open_files / name).exists()] == ["demo.bam.bai"]


@pytest.mark.parametrize("name", ["nowhere.bam", "demo.bam.bai"])
def test_usage(name: str, open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", str(open_files / name)]) == 2
    assert name in capsys.readouterr().err
