"""What `htsgate check` says of references: which collection they are, and which M5s are served."""

import json
from pathlib import Path
from typing import Any

import pysam
import pytest

from server.cli import run
from server.database import Database
from server.refget.registry import Source
from storage_backends.local import fingerprint_of
from tests.server.refget.written_files import md5_of, write_down

ONE, TWO = b"ACGTACGTAC", b"TTTTTTTTTTTT"
RECORDS = {"1": ONE, "2": TWO}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FASTA, and files that refer to it in several ways; the working directory is another."""
    folder = tmp_path / "data"
    folder.mkdir()
    text = "".join(f">{name}\n{residues.decode()}\n" for name, residues in RECORDS.items())
    (folder / "ref.fa").write_text(text)
    pysam.faidx(str(folder / "ref.fa"))
    write_bam(folder / "same.bam", {"1": ONE, "2": TWO})
    write_bam(folder / "renamed.bam", {"chr1": ONE, "chr2": TWO})
    write_bam(folder / "bare.bam", {"1": ONE, "2": TWO}, md5s=False)
    write_bam(folder / "other.bam", {"1": ONE, "2": TWO.lower().replace(b"t", b"A")})
    write_bam(folder / "more.bam", {"1": ONE, "2": TWO, "decoy": b"ACAC"})
    write_bam(folder / "none.bam", {})
    (folder / "v.vcf").write_text(
        "##fileformat=VCFv4.3\n##contig=<ID=1,length=10>\n##contig=<ID=2,length=12>\n"
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t1\t.\tA\tC\t.\t.\t.\n"
    )
    pysam.tabix_index(str(folder / "v.vcf"), preset="vcf")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


def write_bam(path: Path, records: dict[str, bytes], *, md5s: bool = True) -> None:
    lines = [
        {"SN": name, "LN": len(residues), **({"M5": md5_of(residues)} if md5s else {})}
        for name, residues in records.items()
    ]
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": lines}
    with pysam.AlignmentFile(str(path), "wb", header=header):
        pass
    pysam.index(str(path))


def known(folder: Path) -> str:
    """The FASTA, digested by a server in the working directory."""
    database = Database("sqlite:///htsgate.db")
    path = folder / "ref.fa"
    digest = write_down(
        database,
        str(path),
        RECORDS,
        source=Source.LOCATION,
        fingerprint=fingerprint_of(path.stat()),
    ).digest
    database.close()
    return digest


def check(
    capsys: pytest.CaptureFixture[str], *arguments: Path | str
) -> dict[str, list[tuple[str, str, str]]]:
    capsys.readouterr()
    run(["check", "--json", *map(str, arguments)])
    reports: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return {
        Path(report["file"]).name: [
            (each["severity"], each["about"], each["message"]) for each in report["findings"]
        ]
        for report in reports
    }


def test_matches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = known(folder)
    before = Path("htsgate.db").read_bytes()
    found = check(capsys, folder)
    name = f"{digest} ({folder / 'ref.fa'})"
    alike = f"its references have the names and lengths of collection {name}"
    served = ("fact", "m5", "every M5 is served")
    assert found == {
        "ref.fa": [("fact", "collection", f"it is collection {digest}")],
        "same.bam": [("fact", "collection", f"its references are collection {name}"), served],
        "renamed.bam": [
            (
                "fact",
                "collection",
                f"its references are the sequences of collection {name}, by other names",
            ),
            served,
        ],
        "bare.bam": [
            ("fact", "collection", alike),
        ],
        "other.bam": [
            ("note", "collection", f"{alike}, but other sequences: 2"),
            ("note", "m5", f"1 of 2 M5s are not served: 2 (M5 {md5_of(b'A' * 12)})"),
        ],
        "more.bam": [
            (
                "note",
                "collection",
                f"2 of its 3 references are sequences of collection {name}",
            ),
            ("note", "m5", f"1 of 3 M5s are not served: decoy (M5 {md5_of(b'ACAC')})"),
        ],
        "none.bam": [],
        "v.vcf.gz": [
            ("fact", "collection", alike),
        ],
    }
    assert Path("htsgate.db").read_bytes() == before


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = known(folder)
    assert run(["check", str(folder / "same.bam"), str(folder / "ref.fa")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 files, 0 problems, 0 notes"
    assert f"fine; it is collection {digest}" in "\n".join(lines)
    assert f"fine; its references are collection {digest}" in "\n".join(lines)


def test_nothing_is_said_without_a_catalogue(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(check(capsys, folder).values())
    monkeypatch.setenv("HTSGATE_DATABASE__URL", "sqlite:///nowhere.db")
    assert not any(check(capsys, folder).values())
    assert not list(Path().iterdir())


def test_what_is_not_digested(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = "its sequences are not yet digested; serving it does so, or `refget add`"
    Database("sqlite:///htsgate.db").close()
    found = check(capsys, folder)
    assert found.pop("ref.fa") == [("note", "collection", note)]
    assert not any(found.values())
    known(folder)
    (folder / "ref.fa").write_text(">1\nAC\n")
    pysam.faidx(str(folder / "ref.fa"))
    assert check(capsys, folder)["ref.fa"] == [("note", "collection", note)]


def test_a_file_that_is_not_served_does_not_count(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known(folder)
    assert check(capsys, folder / "same.bam") == {"same.bam": []}
    database = Database("sqlite:///htsgate.db")
    write_down(database, "/added.fa", {"x": b"AAAA"})
    database.close()
    found = check(capsys, folder / "same.bam")["same.bam"]
    assert found[0] == ("note", "collection", "its references are those of no collection")
    assert found[1][:2] == ("note", "m5")
    assert found[1][2].startswith("2 of 2 M5s are not served: 1 (M5 ")


def test_a_database_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("htsgate.db").write_bytes(b"no database at all" * 1000)
    found = check(capsys, folder)
    ((severity, about, message),) = found.pop("database")
    assert (severity, about) == ("problem", "database")
    assert "does not answer" in message
    assert not any(found.values())
    monkeypatch.setenv("HTSGATE_DATABASE__URL", "nonsense")
    assert run(["check", str(folder)]) == 2
    assert "database.url" in capsys.readouterr().err
