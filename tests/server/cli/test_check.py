import errno
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pysam
import pytest

from formats.bgzf import EOF_MARKER
from server.cli import order as look
from server.cli import run
from tests.support.samples import shared_samples


def check(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, dict[str, Any]]:
    """The exit status, and for each file its report."""
    capsys.readouterr()
    status = run(["check", "--json", *map(str, arguments)])
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == sum(
        finding["severity"] == "problem"
        for report in document["files"]
        for finding in report["findings"]
    )
    assert status == (document["problems"] > 0)
    reports = {Path(report["file"]).name: report for report in document["files"]}
    assert len(reports) == len(document["files"])
    return status, reports


def findings(report: dict[str, Any], severity: str = "problem") -> dict[str, str]:
    return {
        each["about"]: each["message"]
        for each in report["findings"]
        if each["severity"] == severity
    }


def touch_later(path: Path, seconds: int = 100) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def test_sound_files_are_fine(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, reports = check(capsys, open_files)
    assert status == 0
    assert {name: report["index"] for name, report in reports.items()} == {
        "demo.fa": "demo.fa.fai",
        "demo.bam": "demo.bam.bai",
        "demo.cram": "demo.cram.crai",
        "demo.vcf.gz": "demo.vcf.gz.tbi",
        "demo.bcf": "demo.bcf.csi",
    }
    assert all(not report["findings"] for report in reports.values())
    assert reports["demo.bam"]["id"] == "demo"
    assert reports["demo.bam"]["looked_at"] == "first 20,000 records"
    assert reports["demo.cram"]["looked_at"].startswith("all ")


def test_the_table_names_what_is_wrong(
    open_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (open_files / "demo.bcf.csi").unlink()
    assert run(["check", f"name={open_files}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "name/demo" in line and "BCF" in line]
    assert "no index" in line
    assert lines[-1] == "5 files, 1 problem, 0 notes"
    assert "\x1b" not in "".join(lines)


def test_indexes(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, too old, of another file, cut short, of another kind."""
    (open_files / "demo.vcf.gz.tbi").unlink()
    touch_later(open_files / "demo.bam")
    crai = open_files / "demo.cram.crai"
    rows = gzip.decompress(crai.read_bytes()).splitlines(keepends=True)
    crai.write_bytes(b"".join(rows[:-1]))
    (open_files / "demo.bcf.csi").write_bytes((open_files / "demo.bam.bai").read_bytes())
    _, reports = check(capsys, open_files)
    assert findings(reports["demo.vcf.gz"])["index"].startswith("no index")
    assert reports["demo.vcf.gz"]["index"] is None
    assert "older than its data" in findings(reports["demo.bam"])["index"]
    assert "ends before the data do" in findings(reports["demo.cram"])["index"]
    assert "regions are refused" in findings(reports["demo.bcf"])["index"]
    for report in reports.values():
        assert set(findings(report)) <= {"index"}


def test_ends(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No EOF marker, and files that end within a block."""
    for name, cut in (("demo.bam", 28), ("demo.cram", 38), ("demo.vcf.gz", 28)):
        path = open_files / name
        times = path.stat()
        path.write_bytes(path.read_bytes()[:-cut])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (open_files / "cut.bam").write_bytes((open_files / "demo.bam").read_bytes()[:-40])
    _, reports = check(capsys, open_files)
    for name in ("demo.bam", "demo.cram", "demo.vcf.gz"):
        assert "may have been cut short" in findings(reports[name])["eof"]
        assert list(findings(reports[name])) == ["eof"]
    assert "cut short" in findings(reports["cut.bam"])["header"]


def test_a_marker_within_the_file_is_no_end(
    open_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = open_files / "demo.vcf.gz"
    path.write_bytes(path.read_bytes() + EOF_MARKER)
    pysam.tabix_index(str(path), preset="vcf", force=True)
    _, reports = check(capsys, open_files)
    assert not reports["demo.vcf.gz"]["findings"]


def test_what_is_not_bgzf(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = gzip.decompress((open_files / "demo.vcf.gz").read_bytes())
    (open_files / "gzip.vcf.gz").write_bytes(gzip.compress(text))
    (open_files / "text.vcf.gz").write_bytes(text)
    (open_files / "gzip.fa.gz").write_bytes(gzip.compress(b">one\nACGT\n"))
    (open_files / "empty.bcf").write_bytes(b"")
    (open_files / "words.bam").write_bytes(b"no BAM at all, but words\n" * 10)
    (open_files / "words.cram").write_bytes(b"no CRAM at all, but words\n" * 10)
    _, reports = check(capsys, open_files)
    assert "plain gzip, not BGZF" in findings(reports["gzip.vcf.gz"])["header"]
    assert "plain text" in findings(reports["text.vcf.gz"])["header"]
    assert "plain gzip, not BGZF" in findings(reports["gzip.fa.gz"])["fasta"]
    assert "empty" in findings(reports["empty.bcf"])["header"]
    assert findings(reports["words.bam"])["header"]
    assert findings(reports["words.cram"])["header"]
    assert not reports["demo.bam"]["findings"]


def test_order(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bam = str(open_files / "demo.bam")
    pysam.sort("-n", "-o", str(open_files / "byname.bam"), bam)
    pysam.reheader(
        "-P", "-c", "sed s/SO:coordinate/SO:unsorted/", bam, catch_stdout=False,
        save_stdout=str(open_files / "claims.bam"),
    )  # fmt: skip
    pysam.index(str(open_files / "claims.bam"))
    text = gzip.decompress((open_files / "demo.vcf.gz").read_bytes()).decode()
    header, _, records = text.rpartition("\tDEMO\n")
    lines = records.splitlines(keepends=True)
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
    with pysam.BGZFile(str(open_files / "back.vcf.gz"), "w", None) as file:
        file.write((header + "\tDEMO\n" + "".join([*lines[:50], lines[0], *lines[50:]])).encode())
    _, reports = check(capsys, open_files)
    assert "not sorted by coordinate: record" in findings(reports["byname.bam"])["order"]
    assert "SO:queryname" in findings(reports["byname.cram"])["order"]
    assert "record 51" in findings(reports["back.vcf.gz"])["order"]
    assert "SO:unsorted" in findings(reports["claims.bam"], "note")["order"]
    assert not findings(reports["claims.bam"])


def test_a_look_has_a_limit(
    open_files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "MOST_RECORDS", 100)
    monkeypatch.setattr(look, "MOST_CONTAINERS", 3)
    _, reports = check(capsys, open_files)
    assert reports["demo.bcf"]["looked_at"] == "first 100 records"
    assert reports["demo.cram"]["looked_at"] == "first 3 containers"
    monkeypatch.setattr(look, "MOST_RECORDS", 1_000_000)
    monkeypatch.setattr(look, "MOST_BYTES", 200_000)
    _, reports = check(capsys, open_files)
    assert reports["demo.bam"]["looked_at"].startswith("first ")


def test_references_of_crams(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = open_files / "demo.fa"
    fasta.write_text(fasta.read_text().replace("A", "C"))
    touch_later(open_files / "demo.fa.fai")
    _, reports = check(capsys, open_files)
    message = findings(reports["demo.cram"])["references"]
    assert "chr1" in message
    assert "chrM" in message
    assert "whole containers" in message
    assert not reports["demo.bam"]["findings"]


def test_references_that_lie_elsewhere(
    open_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("demo.fa", "demo.fa.fai"):
        (open_files / name).rename(elsewhere / name)
    status, reports = check(capsys, open_files)
    assert list(findings(reports["demo.cram"])) == ["references"]
    config = tmp_path / "htsgate.toml"
    config.write_text(f'[refget]\nsequences = ["{elsewhere}/*.fa"]\n')
    status, reports = check(capsys, open_files, "--config", config)
    assert status == 0
    assert reports["demo.fa"]["index"] == "demo.fa.fai"


def test_fasta_files(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = open_files / "demo.fa"
    pysam.tabix_compress(str(fasta), str(open_files / "packed.fa.gz"))
    (open_files / "packed.fa.gz.fai").write_bytes((open_files / "demo.fa.fai").read_bytes())
    (open_files / "alone.fasta").write_bytes(fasta.read_bytes())
    touch_later(fasta)
    _, reports = check(capsys, open_files)
    assert ".gzi" in findings(reports["packed.fa.gz"], "note")["fasta"]
    assert ".fai" in findings(reports["alone.fasta"], "note")["fasta"]
    assert "older" in findings(reports["demo.fa"], "note")["index"]
    pysam.faidx(str(open_files / "packed.fa.gz"))
    pysam.faidx(str(open_files / "alone.fasta"))
    status, _ = check(capsys, open_files)
    assert status == 0


def test_files_that_no_id_leads_to(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (open_files / "demo.vcf.bgz").write_bytes((open_files / "demo.vcf.gz").read_bytes())
    (open_files / "a\nb.bcf").write_bytes((open_files / "demo.bcf").read_bytes())
    other = open_files / "other"
    other.mkdir()
    (other / "demo.bam").write_bytes((open_files / "demo.bam").read_bytes())
    capsys.readouterr()
    assert run(["check", "--json", str(open_files), str(other)]) == 1
    reports = json.loads(capsys.readouterr().out)["files"]
    shadowed = {
        report["file"]: findings(report)["id"] for report in reports if "id" in findings(report)
    }
    assert shadowed.pop(str(open_files / "a\\nb.bcf")).startswith("no id leads")
    assert shadowed == {
        str(open_files / "demo.vcf.bgz"): f"shadowed: its id leads to {open_files}/demo.vcf.gz",
        str(other / "demo.bam"): f"shadowed: its id leads to {open_files}/demo.bam",
    }


def test_a_single_file_and_its_id(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, reports = check(capsys, f"x={open_files / 'demo.bam'}")
    assert status == 0
    assert [report["id"] for report in reports.values()] == ["x/demo"]


def test_locations_of_a_configuration(
    open_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "htsgate.toml"
    config.write_text(f'[[locations]]\nname = "set"\nurl = "{open_files}"\n')
    status, reports = check(capsys, "--config", config)
    assert status == 0
    assert reports["demo.bam"]["id"] == "set/demo"


@pytest.mark.parametrize("arguments", [[], ["/nonexistent"], ["--config", "/nonexistent.toml"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", *arguments]) == 2
    assert capsys.readouterr().err.startswith("htsgate: ")


def test_real_files_are_fine(
    shared_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # no database is at hand
    status, reports = check(capsys, shared_data)
    if status:  # a busy machine may keep something from being read; the files stay as they are
        status, reports = check(capsys, shared_data)
    found = {name: report["findings"] for name, report in reports.items() if report["findings"]}
    assert status == 0, found
    assert {sample.path.name for sample in shared_samples().values()} < set(reports)


def unlistable(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Refuse to list one directory, as permissions do to anyone but root."""
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if not isinstance(path, int) and Path(path) == directory:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_what_is_passed_over(
    open_files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.bam").write_bytes(b"")
    (open_files / "out.bam").symlink_to(elsewhere / "far.bam")
    (open_files / "away").symlink_to(elsewhere)
    (open_files / "dangling.bcf").symlink_to("nothing")
    (open_files / "dangling.txt").symlink_to("nothing")
    (open_files / "within.bam").symlink_to("demo.bam")
    (open_files / "within.bam.bai").symlink_to("demo.bam.bai")
    status, reports = check(capsys, open_files)
    assert status == 0
    assert findings(reports["out.bam"], "note")["file"] == "link leaves the location; not served"
    assert findings(reports["away"], "note")["file"] == "link leaves the location; not served"
    assert "leads nowhere" in findings(reports["dangling.bcf"], "note")["file"]
    assert "dangling.txt" not in reports
    assert not reports["within.bam"]["findings"]
    assert run(["index", str(open_files)]) == 0
    assert "link leaves the directory" in capsys.readouterr().out
    (open_files / "shut").mkdir()
    unlistable(monkeypatch, open_files / "shut")
    status, reports = check(capsys, open_files)
    assert status == 1
    assert findings(reports["shut"])["file"] == "cannot be read: Permission denied"
    assert run(["index", str(open_files)]) == 1
    assert "cannot be listed: Permission denied" in capsys.readouterr().out


def test_the_reserved_id(open_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (open_files / "demo.bam").rename(open_files / "service-info.bam")
    _, reports = check(capsys, open_files)
    assert "reserved id" in findings(reports["service-info.bam"])["id"]
    assert "id" not in findings(check(capsys, f"x={open_files}")[1]["service-info.bam"])


def test_sequences_that_match_nothing(
    open_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "htsgate.toml"
    config.write_text('[refget]\nsequences = ["/nonexistent/*.fa"]\n')
    status, reports = check(capsys, open_files, "--config", config)
    assert status == 1
    assert "nothing matches" in findings(reports["*.fa"])["fasta"]


def test_lines_are_whole_when_piped(
    open_files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "a-very-long-name-" * 10
    assert run(["check", f"{name}={open_files / 'demo.bam'}"]) == 0
    head, line, total = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["id", "format", "index", "looked at", "findings"]
    assert line.split("\t") == [f"{name}/demo", "BAM", "bai", "first 20,000 records", "fine"]
    assert total == "1 file, 0 problems, 0 notes"
