"""`htsgate refget`: add, list, verify, remove."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from server.cli import run
from tests.server.refget.sequence_files import bgzf, fasta, residues, twobit, write
from tests.support.stores import RunningStore, StaticStore

RECORDS = {"chrI": residues(3000, 1), "chrII": residues(500, 2), "plasmid": residues(90, 3)}
REPORT = (
    "# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type\t"
    "GenBank-Accn\tRelationship\tRefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name\n"
    "1\tassembled-molecule\t1\tChromosome\tGB1.1\t=\tRS1.1\tPrimary\t3000\tchrI\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return Path(write(tmp_path / "refs" / "ref.fa", fasta(RECORDS)))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and messages."""
    capsys.readouterr()
    status = run(["refget", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status, output, _ = said(capsys, "list", "--json")
    assert status == 0
    document: dict[str, Any] = json.loads(output)
    return document


def test_add_and_list(reference: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, messages = said(capsys, "add", "refs/ref.fa")
    known = listed(capsys)
    (collection,) = known["collections"]
    assert status == 0
    assert output == f"added    {reference}: 3 sequences, collection {collection}\n"
    assert messages == f"database: {here / 'htsgate.db'}\n"
    assert known["database"] == str(here / "htsgate.db")
    (file,) = known["files"]
    assert (file["url"], file["source"], file["complete"]) == (str(reference), "added", True)
    assert [each["name"] for each in file["sequences"]] == list(RECORDS)
    status, output, _ = said(capsys, "add", str(reference))
    assert (status, output.partition(" ")[0]) == (0, "has")
    status, output, _ = said(capsys, "list")
    assert status == 0
    assert collection in output
    assert "chrII" in output
    assert output.endswith(f"1 file, 3 sequences, 0 flat in {here / 'htsgate.db'}\n")
    # Nothing beside the file.
    assert [path.name for path in reference.parent.iterdir()] == ["ref.fa"]


def test_names_and_circles(reference: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "report.txt", REPORT.encode())
    write(here / "ref.dict", b"@SQ\tSN:chrII\tLN:500\tAN:two\tTP:circular\n")
    names = ["--aliases", "report.txt", "ref.dict"]
    circles = ["--circular", "plasmid", "nothing"]
    status, output, _ = said(capsys, "add", str(reference), *names, *circles)
    assert status == 1
    assert "--circular nothing" in output
    assert "4 new names" in output
    found = {each["length"]: each for each in listed(capsys)["sequences"]}
    assert [found[length]["circular"] for length in (3000, 500, 90)] == [False, True, True]
    assert found[3000]["aliases"] == ["insdc:GB1.1", "refseq:RS1.1", "ucsc:chrI"]
    assert found[500]["aliases"] == ["sam:two"]


def test_what_cannot_be_added(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "uneven.fa", b">a\nACGT\nAC\nACGT\n")
    write(here / "notes.fa", b"nothing of the kind")
    write(here / "fine.2bit", twobit(RECORDS))
    status, output, _ = said(capsys, "add", "uneven.fa", "notes.fa", "fine.2bit")
    assert status == 1
    lines = output.splitlines()
    assert [line.split()[0] for line in lines] == ["failed", "failed", "added"]
    assert "--flat" in lines[0]
    for arguments, reason in (
        (["missing.fa"], "no such file"),
        ([str(here)], "is a directory"),
        (["https://user:secret@host/x.fa"], "no query and no password"),
        (["fine.2bit", "--aliases", "notes.fa"], "neither an NCBI assembly report"),
        (["fine.2bit", "--aliases", "gone.txt"], "No such file"),
    ):
        status, _, messages = said(capsys, "add", *arguments)
        assert status == 2
        assert reason in messages
        assert "secret" not in messages


def test_no_database(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (["list"], ["verify"], ["remove", "x"]):
        status, _, messages = said(capsys, *action)
        assert status == 2
        assert "refget add makes it" in messages
    assert list(here.iterdir()) == []


def test_another_database(
    reference: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "c.toml").write_text(f'[database]\nurl = "sqlite:///{here}/other.db"\n')
    status, _, messages = said(capsys, "add", str(reference), "--config", "c.toml")
    assert (status, messages) == (0, f"database: {here / 'other.db'}\n")
    monkeypatch.setenv("HTSGATE_DATABASE__URL", "nonsense:secret")
    status, _, messages = said(capsys, "list")
    assert status == 2
    assert "database.url" in messages
    assert "secret" not in messages


def test_verify(reference: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "b.fa.gz", bgzf(fasta(RECORDS, 70)))
    write(here / "c.2bit", twobit(RECORDS))
    said(capsys, "add", str(reference), "b.fa.gz", "c.2bit", "--flat")
    status, output, _ = said(capsys, "verify")
    assert (status, output) == (0, "6 files verified, 0 problems\n")
    # Changed, its times set back: only its bytes tell.
    stat = reference.stat()
    text = bytearray(reference.read_bytes())
    text[100] = ord("A") if text[100] != ord("A") else ord("C")
    reference.write_bytes(text)
    os.utime(reference, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    Path("c.2bit").unlink()
    write(here / "b.fa.gz", bgzf(fasta(RECORDS)))
    stored = next(
        path for path in here.glob("htsgate-sequences/*/*/*") if path.stat().st_size == 90
    )
    stored.chmod(0o644)
    stored.write_bytes(RECORDS["plasmid"] + b"\n")
    status, output, _ = said(capsys, "verify")
    lines = output.splitlines()
    assert status == 1
    assert lines[-1] == "6 files verified, 4 problems"
    told = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines[:-1]}
    assert told[str(reference)].startswith("chrI is not the sequence")
    assert told[str(here / "b.fa.gz")].startswith("has changed")
    assert told[str(here / "c.2bit")].startswith("is gone")
    assert told[str(stored)].startswith("has changed")


def stored_flat(here: Path) -> int:
    return sum(path.is_file() for path in here.glob("htsgate-sequences/**/*"))


def test_remove(reference: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "b.fa", fasta({"other": RECORDS["chrI"]}))
    said(capsys, "add", str(reference), "b.fa", "--flat")
    assert stored_flat(here) == 3
    known = listed(capsys)
    ids = {each["length"]: each["md5"] for each in known["sequences"]}
    status, output, _ = said(capsys, "remove", ids[90], "nobody")
    assert status == 1
    assert [line.split()[0] for line in output.splitlines()] == ["kept", "kept"]
    assert str(reference) in output
    reference.unlink()
    status, output, _ = said(capsys, "remove", "refs/ref.fa")
    assert (status, output.splitlines()[-1]) == (0, "removed  2 sequences stored for nothing else")
    assert stored_flat(here) == 1
    (file,) = (each for each in listed(capsys)["files"] if each["kind"] != "flat")
    status, _, _ = said(capsys, "remove", file["collection"])
    assert status == 0
    assert stored_flat(here) == 0
    assert listed(capsys)["sequences"] == []


def test_files_in_stores(
    moto_store: RunningStore,
    static_store: StaticStore,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_store.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", moto_store.region)
    bucket, folder = moto_store.new_bucket(), uuid.uuid4().hex
    moto_store.put(bucket, "refs/a.fa.gz", bgzf(fasta(RECORDS)))
    static_store.put(f"{folder}/b.2bit", twobit(RECORDS))
    urls = [f"s3://{bucket}/refs/a.fa.gz", f"{static_store.endpoint_url}/{folder}/b.2bit"]
    status, output, _ = said(capsys, "add", *urls)
    assert status == 0, output
    known = listed(capsys)
    assert [each["url"] for each in known["files"]] == urls
    assert len(known["collections"]) == 1
    assert said(capsys, "verify")[0] == 0
    moto_store.put(bucket, "refs/a.fa.gz", bgzf(fasta(RECORDS, 70)))
    status, output, _ = said(capsys, "verify")
    assert status == 1
    assert f"{urls[0]}: has changed" in output
    missing = f"s3://{bucket}/refs/missing.fa"
    status, output, _ = said(capsys, "add", missing)
    assert status == 1
    assert output.startswith(f"failed   {missing}: ")
