"""What headers declare of their references, well-formed or not."""

import hashlib
import time
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bam import MAX_REFERENCES
from server.refget.header_references import HeaderReference, references_of

MD5 = hashlib.md5(b"ACGT", usedforsecurity=False).hexdigest()


def test_alignments() -> None:
    text = (
        "@HD\tVN:1.6\n"
        f"@SQ\tSN:1\tLN:4\tM5:{MD5.upper()}\tAN:chr1,one\tTP:circular\r\n"
        "@SQ\tLN:7\tSN:two words\n"
        "@SQ\tSN:1\tLN:9\n"
        "@SQ\tLN:5\n"
        f"@CO\t@SQ\tSN:comment\tLN:4\tM5:{MD5}\n"
        f"@SQ\tSN:odd\tLN:-1\tM5:{MD5}0"
    )
    assert references_of(text) == (
        HeaderReference("1", 4, MD5),
        HeaderReference("two words", 7, None),
        HeaderReference("odd", None, None),
    )


def test_variants() -> None:
    text = (
        "##fileformat=VCFv4.3\n"
        f'##contig=<ID=1,length=4,assembly=B37,md5={MD5},species="Homo, length=9 \\" sapiens">\n'
        "##contig=<length=7,ID=HLA*01:01>\r\n"
        '##contig=<ID="quoted,name",IDX=3>\n'
        "##contig=<ID=1,length=99>\n"
        "##contig=<length=1>\n"
        "##contig=<ID=open,length=1\n"
        "##other=<ID=none,length=4>\n"
        "#CHROM\tPOS\n"
    )
    assert references_of(text) == (
        HeaderReference("1", 4, MD5),
        HeaderReference("HLA*01:01", 7, None),
        HeaderReference("quoted,name", None, None),
    )


def test_no_references() -> None:
    for text in ("", "@HD\tVN:1.6\n", "##fileformat=VCFv4.3\n", "\0" * 100, "@SQ\n@SQ\t\n"):
        assert references_of(text) == ()


def test_real_headers(shared_data: Path) -> None:
    paths = sorted((shared_data / "cram").glob("*.cram"))
    assert paths
    for path in paths:
        with pysam.AlignmentFile(str(path), "rc") as file:
            declared = file.header.to_dict()["SQ"]
            read = references_of(str(file.header))
        assert [each.name for each in read] == [each["SN"] for each in declared]
        assert [each.length for each in read] == [each["LN"] for each in declared]
        assert [each.md5 for each in read] == [each.get("M5") for each in declared]


@given(st.text(st.sampled_from('@SQ\tSN:LM5#contig=<ID,">\\\n\r\0\ud800é'), max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    for start in ("", "@SQ\t", "##contig=<"):
        assert all(each.name for each in references_of(start + text))


@pytest.mark.parametrize(
    "text",
    [
        "##contig=<" + 'ID="' * 400_000 + ">",
        "##contig=<" + "ID=" * 400_000 + ">",
        "##contig=<" + ">   " * 400_000 + "x",
        '##contig=<ID="' + "\\" * 1_600_000 + ">",
        "##contig=<" + "\n##contig=<" * 200_000,
        "@SQ\tSN:x" + "\tLN:" * 400_000,
        "##" + "a" * 1_600_000,
        "".join(f"@SQ\tSN:{number}\tLN:1\n" for number in range(MAX_REFERENCES // 20)),
    ],
    ids=["quotes", "equals", "brackets", "escapes", "lines", "fields", "word", "many"],
)
def test_hostile_headers_take_no_long_time(text: str) -> None:
    begun = time.process_time()
    references_of(text)
    assert time.process_time() - begun < 5
