"""What stays of a SAM header, field by field, and that nothing else does."""

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import CorruptData
from formats.sam_header_redaction import mark_sam_header, redact_sam_header

OWN = "@PG\tID:htsgate\tPN:htsgate\n"
MD5 = "d2ed829b8a1628d16cbeee88e88e39eb"
REFERENCES = [("chr1", 1_000), ("HLA-A*01:01", 30)]
SEQUENCES = "@SQ\tSN:chr1\tLN:1000\n@SQ\tSN:HLA-A*01:01\tLN:30\n"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("@HD\tVN:1.6\tSO:coordinate", "@HD\tVN:1.6\tSO:coordinate"),
        ("@HD\tSO:queryname\tVN:1.0\tGO:query", "@HD\tVN:1.0\tSO:queryname\tGO:query"),
        ("@HD\tVN:1.6\tSS:coordinate:secret\tXX:secret", "@HD\tVN:1.6"),
        ("@HD\tVN:secret\tSO:secret\tGO:secret", "@HD\tVN:1.6"),
        ("@HD\tVN:1.6\r", "@HD\tVN:1.6"),
        ("@RG\tID:a", "@RG\tID:a"),
        ("@RG\tPL:ILLUMINA\tID:a b", "@RG\tID:a b\tPL:ILLUMINA"),
        ("@RG\tID:é\tPL:secret", "@RG\tID:é"),
        (
            "@RG\tID:a\tSM:secret\tPL:illumina\tLB:s\tDS:s\tCN:s\tDT:s\tPU:s\tPI:9\tPG:s\tPM:s",
            "@RG\tID:a\tSM:sample1\tPL:illumina",
        ),
        ("@RG\tFO:s\tKS:s\tBC:s\tCB:s\txx:s\tID:a", "@RG\tID:a"),
        ("@RG\tID:first\tID:second\tbad\t:", "@RG\tID:first"),
        ("@PG\tID:bwa\tPN:bwa\tVN:1\tCL:bwa mem /secret\tDS:s\tPP:s", None),
        ("@PG\tID:htsgate\tCL:secret", None),
        ("@CO\tsecret", None),
        ("@co\tsecret", None),
        ("@XX\tID:secret", None),
        ("@HDsecret", None),
        ("secret", None),
        ("#secret", None),
        ("\t", None),
        ("@CO\tx\0\n@RG\tID:secret", None),
    ],
)
def test_lines(line: str, kept: str | None) -> None:
    redacted = redact_sam_header(line + "\n", [])
    assert redacted == (f"{kept}\n" if kept else "") + OWN


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ("LN:1000", ""),
        (f"LN:5\tM5:{MD5}", f"\tM5:{MD5}"),
        ("AS:GRCh38.p13\tSP:Homo sapiens", "\tAS:GRCh38.p13\tSP:Homo sapiens"),
        ("AN:1,chr01,CM000663.2\tTP:linear", "\tAN:1,chr01,CM000663.2\tTP:linear"),
        ("UR:file:///secret/ref.fa\tDS:secret\tAH:secret\txx:secret", ""),
        ("M5:secret\tAS:/secret/ref.fa\tSP:a:b\tAN:a b\tTP:secret", ""),
        ("AS:file:secret\tSP:" + "x" * 65, ""),
    ],
)
def test_sequence_lines(fields: str, kept: str) -> None:
    redacted = redact_sam_header(f"@SQ\tSN:chr1\t{fields}\n", REFERENCES)
    assert redacted == SEQUENCES.replace("LN:1000", "LN:1000" + kept) + OWN


def test_references_are_the_files() -> None:
    """Lines that the text lacks are written; others than the file has are not."""
    text = f"@SQ\tSN:other\tLN:5\n@SQ\tSN:HLA-A*01:01\tLN:9\tM5:{MD5}\n@SQ\tM5:{MD5}"
    last = f"@SQ\tSN:HLA-A*01:01\tLN:30\tM5:{MD5}\n"
    assert redact_sam_header(text, REFERENCES) == "@SQ\tSN:chr1\tLN:1000\n" + last + OWN
    assert redact_sam_header("", REFERENCES) == SEQUENCES + OWN


def test_lengths_that_bam_cannot_tell() -> None:
    longest = 0xFFFFFFFF
    for said, length in (("5000000000", 5_000_000_000), ("7", longest), ("x", longest)):
        text = redact_sam_header(f"@SQ\tSN:lily\tLN:{said}", [("lily", longest)])
        assert text == f"@SQ\tSN:lily\tLN:{length}\n" + OWN


def test_read_groups_keep_their_order_and_samples_stay_apart() -> None:
    groups = [("b", "Ann"), ("a", "Bob"), ("c", "Ann"), ("b", "Eve"), ("d", "")]
    text = "".join(f"@RG\tID:{name}\tSM:{sample}\n@CO\tx\n" for name, sample in groups)
    expected = (("b", 1), ("a", 2), ("c", 1), ("d", 4))
    lines = "".join(f"@RG\tID:{name}\tSM:sample{number}\n" for name, number in expected)
    assert redact_sam_header(text, []) == lines + OWN


def test_marks() -> None:
    marks = ("chr1:1-9; policy sha256:0a", "evil\n@RG\tID:x <é>")
    lines = (
        "@CO\thtsgate_restriction=chr1:1-9; policy sha256:0a\n"
        "@CO\thtsgate_restriction=evil?@RG?ID:x ???\n"
    )
    assert redact_sam_header("@CO\tsecret", [], marks) == OWN + lines
    assert mark_sam_header("@CO\tkept", marks) == "@CO\tkept\n" + lines
    assert mark_sam_header("", marks) == lines


@pytest.mark.parametrize("name", ["", "a\x07", "a\0", "\x7f", "a\tb", "a\nb", "a\rb"])
def test_names_that_cannot_stand_in_a_header(name: str) -> None:
    with pytest.raises(CorruptData):
        redact_sam_header("", [(name, 5)])


@pytest.mark.parametrize("line", ["@RG\tSM:x", "@RG\tID:", "@RG\t", "@RG\tID:a\x07", "@RG\tid:x"])
def test_read_groups_without_a_name(line: str) -> None:
    with pytest.raises(CorruptData):
        redact_sam_header(line, [])


TAGS = (
    *("VN", "SO", "GO", "SS", "SN", "LN", "M5", "AS", "SP", "AN", "TP", "UR", "AH", "DS", "ID"),
    *("SM", "LB", "CN", "DT", "PU", "PL", "PI", "PG", "PN", "CL", "PP", "xx"),
)
VALUES = st.sampled_from(
    [
        "canary",
        "/home/canary/x.bam",
        "canary canary",
        "coordinate\tcanary",
        "1.6 canary",
        "é canary",
    ]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["@HD", "@SQ", "@RG", "@PG", "@CO", "@XX", ""]),
            st.lists(st.tuples(st.sampled_from(TAGS), VALUES), max_size=6),
        ),
        max_size=8,
    )
)
def test_no_value_passes_but_names(lines: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Assemblies, species and other names of references may be any words, but no paths."""
    text = "".join(
        "\t".join((kind, "SN:chr1", f"ID:g{number}", *(f"{tag}:{value}" for tag, value in fields)))
        + "\n"
        for number, (kind, fields) in enumerate(lines)
    )
    redacted = redact_sam_header(text, REFERENCES)
    for line in redacted.splitlines():
        words = [field for field in line.split("\t") if field[:3] not in ("AS:", "SP:", "AN:")]
        assert "canary" not in "".join(words)
    assert "/home" not in redacted
    header = pysam.AlignmentHeader.from_text(redacted)
    assert header.references == tuple(name for name, _ in REFERENCES)


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=3))
def test_any_text(text: str, marks: list[str]) -> None:
    """A header comes out, or `CorruptData`; what comes out once comes out again."""
    try:
        redacted = redact_sam_header(text, REFERENCES, marks)
    except CorruptData:
        return
    assert redact_sam_header(redacted, REFERENCES, marks) == redacted
