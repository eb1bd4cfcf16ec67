"""What stays of a VCF header, and that the numbers of a BCF mean what they meant."""

import os
import re
import struct
from operator import attrgetter
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bcf import contigs
from formats.errors import CorruptData
from formats.vcf_header_redaction import mark_vcf_header, redact_vcf_header
from tests.support.bgzf_layout import chunked, write_bgzf

FIRST = "##fileformat=VCFv4.3\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts 2\n"
MD5 = "d2ed829b8a1628d16cbeee88e88e39eb"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            f'##contig=<ID=chr1,length=99,md5={MD5},assembly=GRCh38,species="secret",URL=s>',
            f"##contig=<ID=chr1,length=99,md5={MD5},assembly=GRCh38>",
        ),
        (
            f'##contig=<ID=1,md5="{MD5}",assembly="NCBI 37">',
            f'##contig=<ID=1,md5="{MD5}",assembly="NCBI 37">',
        ),
        ("##contig=<ID=1,length=secret,md5=secret,assembly=/secret/x.fa>", "##contig=<ID=1>"),
        ("##contig=<ID=1,assembly=file:secret,IDX=4>", "##contig=<ID=1>"),
        ("##contig=<length=5>", None),
        (
            '##INFO=<ID=DP,Number=1,Type=Integer,Description="Total Depth",Source="s",Version="s">',
            '##INFO=<ID=DP,Number=1,Type=Integer,Description="Total Depth">',
        ),
        (
            '##INFO=<ID=X,Number=.,Type=String,Description="of \\"secret\\", <Ann>">',
            '##INFO=<ID=X,Number=.,Type=String,Description="">',
        ),
        (
            "##FORMAT=<Type=secret, Number=-1 , ID=X,Description=secret, Extra=[a, b]>",
            '##FORMAT=<ID=X,Number=.,Type=String,Description="">',
        ),
        (
            "##FORMAT=<ID=LX,Number=LA,Type=Float>",
            '##FORMAT=<ID=LX,Number=LA,Type=Float,Description="">',
        ),
        ('##FILTER=<ID=low,Description="secret">', '##FILTER=<ID=low,Description="">'),
        (
            '##FILTER=<ID=PASS,Description="All filters passed">',
            '##FILTER=<ID=PASS,Description="All filters passed">',
        ),
        ('##ALT=<ID=DEL:ME:ALU,Description="s">', '##ALT=<ID=DEL:ME:ALU,Description="">'),
        ('##ALT=<ID=*,Description="s">\r', '##ALT=<ID=*,Description="">'),
        (
            "##INFO=<ID=X,Number=1,Type=Float> secret",
            '##INFO=<ID=X,Number=1,Type=Float,Description="">',
        ),
        ("##INFO=<ID=X,ID=secret>", None),
        ("##INFO=<ID=X,Description=a,b>", None),
        ('##INFO=<ID=X,Description="secret>', None),
        ("##INFO=<ID=X,Number=1", None),
        ("##INFO=secret", None),
        ("##INFO=<ID=a\x07>", None),
        ("##info=<ID=secret>", None),
        ("##bcftools_viewCommand=view -s PATIENT_0007 /data/secret/in.bcf; Date=today", None),
        ("##source=secret", None),
        ("##reference=file:///secret/ref.fa", None),
        ("##assembly=https://secret", None),
        ("##SAMPLE=<ID=secret,Description=secret>", None),
        ("##PEDIGREE=<ID=secret,Father=secret>", None),
        ("##META=<ID=x,Type=String,Values=[secret]>", None),
        ("##pedigreeDB=<https://secret>", None),
        ("##htsgate_restriction=secret", None),
        ("##fileformat=VCFv4.2", None),
        ("#secret", None),
        ("secret", None),
        ("", None),
    ],
)
def test_lines(line: str, kept: str | None) -> None:
    text = f"{FIRST}{line}\n{COLUMNS}"
    assert redact_vcf_header(text) == FIRST + (f"{kept}\n" if kept else "") + COLUMNS


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        ("##fileformat=VCFv4.5", "VCFv4.5"),
        ("##fileformat=VCFv4.1 secret\r", "VCFv4.1"),
        ("##fileformat=VCFsecret", "VCFv4.2"),
        ("##source=secret", "VCFv4.2"),
    ],
)
def test_file_format(first: str, kept: str) -> None:
    assert redact_vcf_header(f"{first}\n{COLUMNS}") == f"##fileformat={kept}\n{COLUMNS}"


@pytest.mark.parametrize(
    "columns",
    [
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\té\t",
    ],
)
def test_columns(columns: str) -> None:
    assert redact_vcf_header(f"{FIRST}{columns}\r\n##late=secret\n") == f"{FIRST}{columns}\n"
    assert redact_vcf_header(FIRST + columns) == f"{FIRST}{columns}\n"


@pytest.mark.parametrize(
    "columns",
    [
        "",
        "#CHROM\n",
        "#chrom\n",
        COLUMNS.replace("\t", " "),
        COLUMNS.replace("FORMAT", "secret"),
        "\0" + COLUMNS,
    ],
)
def test_no_columns(columns: str) -> None:
    with pytest.raises(CorruptData):
        redact_vcf_header(FIRST + columns)


def test_marks() -> None:
    marks = ("chr1:1-9; policy sha256:0a", "<ID=x>\n#CHROM")
    lines = (
        "##htsgate_restriction=chr1:1-9; policy sha256:0a\n##htsgate_restriction=?ID=x??#CHROM\n"
    )
    assert redact_vcf_header(FIRST + COLUMNS, marks) == FIRST + lines + COLUMNS
    kept = FIRST + "##source=kept\n"
    assert mark_vcf_header(kept + COLUMNS, marks) == kept + lines + COLUMNS
    with pytest.raises(CorruptData):
        mark_vcf_header(FIRST, marks)


def test_repeated_lines() -> None:
    """The first counts, as to htslib; another kind of the same name is another line."""
    text = FIRST + "".join(f"##{kind}=<ID=X>\n" for kind in ("FILTER", "INFO", "FILTER", "contig"))
    lines = redact_vcf_header(text + COLUMNS).splitlines()
    assert [line[:10] for line in lines[1:-1]] == ["##FILTER=<", "##INFO=<ID", "##contig=<"]


def numbers(text: str) -> list[tuple[str, str, str]]:
    """Kind, ID and IDX of the lines that have one."""
    return re.findall(r"##(\w+)=<ID=([^,]+).*IDX=(\d+)>", text)


def test_numbers_by_order() -> None:
    text = FIRST + (
        "##source=dropped\n"
        "##INFO=<ID=DP,Number=1,Type=Integer>\n"
        "##contig=<ID=b>\n"
        "##FILTER=<ID=PASS>\n"
        "##FORMAT=<ID=DP,Number=1,Type=Integer>\n"
        "##ALT=<ID=DEL>\n"
        "##FILTER=<ID=q10>\n"
        "##contig=<ID=a>\n"
    )
    assert numbers(redact_vcf_header(text + COLUMNS, numbered=True)) == [
        ("INFO", "DP", "1"),
        ("contig", "b", "0"),
        ("FILTER", "PASS", "0"),
        ("FORMAT", "DP", "1"),
        ("FILTER", "q10", "2"),
        ("contig", "a", "1"),
    ]


def test_numbers_with_gaps() -> None:
    text = FIRST + (
        "##contig=<ID=c,IDX=5>\n##contig=<ID=d>\n##contig=<ID=a,IDX=0>\n"
        "##INFO=<ID=X,IDX=9>\n##INFO=<ID=Y>\n##FILTER=<ID=X,IDX=4>\n##FILTER=<ID=Z,IDX=1>\n"
    )
    redacted = redact_vcf_header(text + COLUMNS, numbered=True)
    expected = {"c": 5, "d": 6, "a": 0, "X": 9, "Y": 10, "Z": 1}
    assert {(name, int(number)) for _, name, number in numbers(redacted)} == set(expected.items())
    assert contigs(redacted) == contigs(text) == ("a", "", "", "", "", "c", "d")


@pytest.mark.parametrize(
    "lines",
    [
        "##INFO=<ID=X\n",
        "##INFO=<Number=1>\n",
        "##contig=<ID=c,length=x>\n",
        "##contig=<ID=a,IDX=2>\n##contig=<ID=b,IDX=2>\n",
        "##INFO=<ID=X,IDX=0>\n",
        "##INFO=<ID=X,IDX=-1>\n",
        "##INFO=<ID=X,IDX=x>\n",
        "##INFO=<ID=X,IDX=1048576>\n",
        "##contig=<ID=c> trailing\n",
    ],
)
def test_numbers_that_cannot_be_told(lines: str) -> None:
    with pytest.raises(CorruptData):
        redact_vcf_header(FIRST + lines + COLUMNS, numbered=True)
    redact_vcf_header(FIRST + lines + COLUMNS)


NAMES = st.sampled_from(["A", "B", "PASS", "DP", "GT", "q10", "x_1", "chr1", "HLA:1"])
STRUCTURED = st.tuples(
    st.sampled_from(["contig", "FILTER", "INFO", "FORMAT", "ALT"]),
    NAMES,
    st.sampled_from(["", "", "", ",IDX=3", ",IDX=7", ",IDX=1"]),
).map(lambda each: f'##{each[0]}=<ID={each[1]},Number=1,Type=String,Description="d"{each[2]}>')
OTHER = st.sampled_from(["##source=x", "##META=<ID=a>", "##contig=x", "junk"])


@given(st.lists(STRUCTURED | STRUCTURED | OTHER, max_size=12))
def test_numbers_are_those_of_htslib(lines: list[str]) -> None:
    text = FIRST + "".join(line + "\n" for line in lines) + COLUMNS
    try:
        redacted = redact_vcf_header(text, numbered=True)
    except CorruptData:
        # All that is refused here are numbers given twice, which htslib does not read either.
        assert read_dictionary(text) is None
        return
    assert read_dictionary(text) == read_dictionary(redacted)


def read_dictionary(text: str) -> dict[tuple[str, str], int] | None:
    """What htslib makes of a BCF header; None when it is refused."""
    descriptor = os.memfd_create("header")
    path = f"/proc/self/fd/{descriptor}"
    encoded = text.encode() + b"\0"
    stream = b"BCF\2\2" + struct.pack("<I", len(encoded)) + encoded
    verbosity = pysam.set_verbosity(0)
    try:
        write_bgzf(Path(path), chunked(stream, 60_000))
        with pysam.VariantFile(path) as file:
            header, number_of = file.header, attrgetter("id")
            kinds = {"FILTER": header.filters, "INFO": header.info, "FORMAT": header.formats}
            keys = {
                (kind, key): number_of(keys[key]) for kind, keys in kinds.items() for key in keys
            }
            lines = [each for each in header.records if each.type == "CONTIG"]
            return keys | {("contig", each["ID"]): int(each["IDX"]) for each in lines}
    except (ValueError, OSError):
        return None
    finally:
        os.close(descriptor)
        pysam.set_verbosity(verbosity)


@given(noise=st.text(alphabet='#=<>,"ID \\\n\tX[]contigINFO', max_size=120), numbered=st.booleans())
def test_any_text(noise: str, *, numbered: bool) -> None:
    """A header comes out, or `CorruptData`; what comes out once comes out again."""
    try:
        redacted = redact_vcf_header(f"{FIRST}##INFO=<{noise}\n{COLUMNS}", numbered=numbered)
    except CorruptData:
        return
    assert redact_vcf_header(redacted, numbered=numbered) == redacted
