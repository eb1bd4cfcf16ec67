"""What the suite of htsget does not see is seen: VCF that differs, headers, tags."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance.official import htsget
from conformance.official.__main__ import ask
from conformance.official.inside import same_contents
from conformance.official.judged import judge
from conformance.official.serving import await_data, serving, write_settings


def text(file: Path) -> str:
    view = ["samtools", "view", "-h", "--no-PG", str(file)]
    if file.name.endswith(("vcf.gz", "bcf")):
        view = ["bcftools", "view", "--no-version", str(file)]
    return subprocess.run(view, capture_output=True, check=True, text=True).stdout


def rewrite(file: Path, contents: str) -> None:
    """Another file in its place, of the format that its name says."""
    view = ["samtools", "view", "-b", "--no-PG", "-o", str(file), "-"]
    if file.name.endswith("vcf.gz"):
        view = ["bcftools", "view", "-Oz", "--no-version", "-o", str(file), "-"]
    subprocess.run(view, input=contents.encode(), check=True)


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    file = tmp_path / "one.vcf.gz"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    head = f"##fileformat=VCFv4.3\n##contig=<ID=20,length=90>\n{columns}"
    rewrite(file, f"{head}20\t5\t.\tA\tC\t.\t.\t.\n")
    return file


@pytest.mark.parametrize("change", [("\t5\t", "\t6\t"), ("length=90", "length=91"), ("", "")])
def test_variants_are_the_same_header_and_records(
    variants: Path, tmp_path: Path, change: tuple[str, str]
) -> None:
    other = tmp_path / "other.vcf.gz"
    rewrite(other, text(variants).replace(*change))
    assert same_contents(str(variants), str(other)) is (change == ("", ""))


def test_files_that_cannot_be_read_are_not_the_same(variants: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.vcf.gz"
    broken.write_bytes(b"")
    assert not same_contents(str(broken), str(broken))
    assert not same_contents(str(variants), str(broken))
    reads = tmp_path / "no.bam"
    assert not same_contents(str(reads), str(reads))


@pytest.fixture
def source(suites: Path) -> Path:
    found: dict[str, Any] = ask(suites, "htsget")
    if "directory" not in found:
        pytest.skip(str(found))
    return Path(found["directory"])


@pytest.mark.parametrize(
    ("name", "change", "cases"),
    [
        ("spec-v4.3.vcf.gz", ("20\t14370\t", "20\t14371\t"), 4),
        ("spec-v4.3.vcf.gz", ("##phasing=partial", "##phasing=none"), 4),
        ("htsnexus_test_NA12878.bam", ("MQ:i:60", "MQ:i:59"), 4),
        ("htsnexus_test_NA12878.bam", ("AS:NCBI37", "AS:GRCh37"), 4),
    ],
)
def test_what_the_suite_takes_for_equal_is_a_fault(
    name: str, change: tuple[str, str], cases: int, source: Path, suites: Path, tmp_path: Path
) -> None:
    served = write_settings(tmp_path)
    htsget.write_files(served, source)
    contents = text(served / name)
    assert change[0] in contents
    rewrite(served / name, contents.replace(*change))
    with serving(tmp_path) as url:
        await_data(url, htsget.READY, 60)
        outcome = ask(suites, "htsget", url)
    assert len(outcome["passed"]) == 12, "or the suite has learnt to see this"
    assert outcome["summary"]["compared"] == 12 - cases
    assert len([fault for fault in judge(outcome) if "not all is what" in fault]) == cases


def test_what_the_suite_sees_is_a_fault_too(source: Path, suites: Path, tmp_path: Path) -> None:
    served = write_settings(tmp_path)
    htsget.write_files(served, source)
    (served / "spec-v4.3.bcf").unlink()
    lines = text(served / "htsnexus_test_NA12878.bam").splitlines(keepends=True)
    rewrite(served / "htsnexus_test_NA12878.bam", "".join(lines[:-1]))
    with serving(tmp_path) as url:
        outcome = ask(suites, "htsget", url)
    assert len(outcome["passed"]) == 6
    assert outcome["summary"]["failed"] == 6
    faults = "\n".join(judge(outcome))
    assert "failed: /reads/htsnexus_test_NA12878: returned file does not match expected" in faults
    assert "failed: /variants/spec-v4.3?format=BCF: " in faults


def test_without_its_programs_the_suite_is_not_run(
    source: Path, suites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(source))
    missing = str(ask(suites, "htsget")["missing"])
    assert missing.startswith("samtools, bcftools, htsfile not on PATH")
