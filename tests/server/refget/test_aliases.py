"""Names of sequences, from assembly reports and SAM headers."""

import random

import pytest

from formats.errors import CorruptData
from formats.fasta import FaiEntry
from server.refget import aliases as module
from server.refget.aliases import matches, read_names
from server.refget.digests import Digests
from server.refget.registry import Alias, Record, WrittenRecord

HEADER = (
    "# Assembly name:  R64\r\n# Sequence-Name\tSequence-Role\tAssigned-Molecule\t"
    "Assigned-Molecule-Location/Type\tGenBank-Accn\tRelationship\tRefSeq-Accn\tAssembly-Unit\t"
    "Sequence-Length\tUCSC-style-name\r\n"
)


def line(name: str, genbank: str, relation: str, refseq: str, length: object, ucsc: str) -> str:
    values = (name, "assembled-molecule", name, "Chromosome", genbank, relation, refseq, "Primary")
    return "\t".join((*values, str(length), ucsc)) + "\r\n"


REPORT = (
    HEADER
    + line("I", "BK006935.2", "=", "NC_001133.9", 8, "chrI")
    + line("II", "BK006936.2", "=", "na", 4, "na")
    + line("MT", "GB.1", "<>", "RS.1", 6, "chrM")
    + line("none", "na", "<>", "na", "many", "na")
    + "short\tline\r\n"
).encode()


def record(name: str, residues: bytes, number: int = 1) -> WrittenRecord:
    entry = FaiEntry(name, len(residues), 0, 60, 61)
    digests = Digests.from_residues(residues)
    return WrittenRecord(Record(0, entry, digests, len(residues)), number, circular=False)


def aliases_of(data: bytes, *records: WrittenRecord) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for each, named in matches(read_names(data), records):
        names = {(alias.authority, alias.alias) for alias in named.aliases}
        found.setdefault(each.record.entry.name, set()).update(names)
    return found


@pytest.mark.parametrize("name", ["I", "BK006935.2", "NC_001133.9", "chrI"])
def test_a_report_by_any_of_its_names(name: str) -> None:
    named = {("insdc", "BK006935.2"), ("refseq", "NC_001133.9"), ("ucsc", "chrI")}
    assert aliases_of(REPORT, record(name, b"ACGTACGT")) == {name: named}


def test_the_length_must_be_the_same() -> None:
    assert aliases_of(REPORT, record("I", b"ACGTACG")) == {}


def test_na_is_no_name() -> None:
    assert aliases_of(REPORT, record("II", b"ACGT")) == {"II": {("insdc", "BK006936.2")}}
    assert aliases_of(REPORT, record("na", b"ACGT")) == {}


def test_accessions_of_different_sequences_are_kept_apart() -> None:
    text = b"ACGTAC"
    assert aliases_of(REPORT, record("GB.1", text)) == {"GB.1": {("insdc", "GB.1")}}
    assert aliases_of(REPORT, record("RS.1", text)) == {"RS.1": {("refseq", "RS.1")}}
    assert aliases_of(REPORT, record("MT", text)) == {}
    assert aliases_of(REPORT, record("chrM", text)) == {}


def dictionary(*fields: str) -> bytes:
    return ("@HD\tVN:1.6\n@SQ\t" + "\t".join(fields) + "\n").encode()


def test_a_sam_header() -> None:
    text = b"ACGTACGT"
    md5 = Digests.from_residues(text).md5
    names = {("sam", "chr1"), ("sam", "1"), ("sam", "NC_1")}
    sq = ("SN:chr1", "LN:8", "AN:1,NC_1")
    assert aliases_of(dictionary(*sq), record("1", text)) == {"1": names}
    assert aliases_of(dictionary(*sq, f"M5:{md5.upper()}"), record("x", text)) == {"x": names}
    assert aliases_of(dictionary(*sq, f"M5:{'0' * 32}"), record("chr1", text)) == {}
    assert aliases_of(dictionary(*sq, "M5:nonsense"), record("chr1", text)) == {}
    assert aliases_of(dictionary(*sq[:1], "LN:9"), record("chr1", text)) == {}


def test_circles() -> None:
    named = read_names(dictionary("SN:MT", "LN:8", "TP:circular"))
    assert [each.is_circular for each in named] == [True]
    assert not read_names(dictionary("SN:MT", "LN:8", "TP:linear"))[0].is_circular


@pytest.mark.parametrize("data", [b"", b">chr1\nACGT\n", b"@HD\tVN:1.6\n", b"\x1f\x8b\x00"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptData):
        read_names(data)


def test_hostile_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "n" * 256
    odd = dictionary("SN:a", "LN:8", "AN:" + ",".join([long, "b\0c", "", "d e", "ok"] * 99))
    (named,) = read_names(odd)
    assert set(named.aliases) == {Alias("sam", name) for name in ("a", "d e", "ok")}
    assert len(named.aliases) <= 65
    assert read_names(dictionary("SN:a", "LN:" + "9" * 5000)) == []
    draw = random.Random(2)
    for whole in (REPORT, odd):
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(5):
                data[draw.randrange(len(data))] = draw.randrange(256)
            try:
                read_names(bytes(data))
            except CorruptData:
                continue
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(CorruptData, match="too large"):
        read_names(REPORT)
