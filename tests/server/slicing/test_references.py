"""References are found by digest, else by name and length, and only in the configured files."""

import hashlib
from pathlib import Path

import pysam
import pytest

from formats.errors import CorruptData
from server.slicing.fasta_files import FastaOnDisk
from server.slicing.references import ConfiguredReferences, ReferenceStore

SEQUENCES = {"one": "ACGTNacgtn" * 40, "two": "TTTTNacgtn" * 40, "three": "ACG"}


def digest(name: str) -> str:
    return hashlib.md5(SEQUENCES[name].upper().encode(), usedforsecurity=False).hexdigest()


@pytest.fixture(params=[False, True], ids=["plain", "bgzf"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    plain = tmp_path / "ref.fa"
    plain.write_text("".join(f">{name}\n{bases}\n" for name, bases in SEQUENCES.items()))
    if not request.param:
        pysam.faidx(str(plain))
        return plain
    packed = tmp_path / "ref.fa.gz"
    pysam.tabix_compress(str(plain), str(packed))
    pysam.faidx(str(packed))
    return packed


def test_find(path: Path) -> None:
    store = ReferenceStore([FastaOnDisk(path)])
    for name, bases in SEQUENCES.items():
        for asked in (name, "other name"):
            sequence = store.find(asked, len(bases), digest(name))
            assert sequence is not None
            assert sequence.entry.name == name
            assert sequence.residues(2, 9) == bases.upper()[2:9].encode()
            assert sequence.residues(1, 10_000) == bases.upper()[1:].encode()
            assert sequence.residues(9_000, 10_000) == b""
        assert store.find(name, len(bases), None) is not None
        assert store.find(name, len(bases) + 1, None) is None
        assert store.find(name, len(bases), "0" * 32) is None
        assert store.find(name, len(bases) + 1, digest(name)) is None
    assert store.find("other name", 400, None) is None
    store.close()


def test_file_that_is_replaced_stays_readable(path: Path) -> None:
    store = ReferenceStore([FastaOnDisk(path)])
    path.unlink()
    sequence = store.find("three", 3, None)
    assert sequence is not None
    assert sequence.md5() == digest("three")
    store.close()


def test_missing_and_lying_indexes(path: Path) -> None:
    fai = path.with_name(path.name + ".fai")
    good = fai.read_text()
    fai.unlink()
    with pytest.raises(CorruptData, match=r"\.fai") as raised:
        ReferenceStore([FastaOnDisk(path)])
    assert str(path) not in str(raised.value)
    fai.write_text(good)
    gzi = path.with_name(path.name + ".gzi")
    if gzi.exists():
        gzi.unlink()
        with pytest.raises(CorruptData, match=r"\.gzi"):
            ReferenceStore([FastaOnDisk(path)])
    else:
        fai.write_text(good + "four\t100\t99999\t60\t61\n")
        with pytest.raises(CorruptData):
            ReferenceStore([FastaOnDisk(path)])


def test_configured_files_are_listed_when_needed_and_again(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.fa"
    broken.write_text(">x\nACGT\n")
    files, listed = [FastaOnDisk(broken)], []

    def find_fasta() -> list[FastaOnDisk]:
        listed.append(len(files))
        return files

    at_once, later = (ConfiguredReferences(find_fasta, each) for each in (0, 1000))
    assert not listed
    wanted = "one", len(SEQUENCES["one"]), digest("one")
    for store in (at_once, later):
        assert store.find(*wanted) is None
        assert store.find(*wanted) is None
    assert len(listed) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the FASTA file {broken} is left out: a FASTA file has no .fai index"
    ] * 2
    files.append(FastaOnDisk(path))
    assert later.find(*wanted) is None
    assert at_once.find(*wanted) is not None
    pysam.faidx(str(broken))
    assert at_once.find("x", 4, None) is not None
    assert len(caplog.records) == 2
    at_once.close()
    later.close()
