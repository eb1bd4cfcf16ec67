"""Intervals of VCF and BCF records, against htslib's own on the same lines."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pysam
import pysam.bcftools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bcf import BcfRecords
from formats.bcf import read_header as read_bcf_header
from formats.bgzf import EOF_MARKER, BgzfReader, compress
from formats.errors import CorruptData
from formats.records import walk
from formats.source import BytesSource
from formats.vcf import VcfRecords, read_header

HEADER = """##fileformat=VCFv4.4
##contig=<ID=1,length=1000000>
##contig=<ID=2,length=1000000>
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="Length">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Kind">
##INFO=<ID=CIEND,Number=2,Type=Integer,Description="Not END">
##INFO=<ID=XEND,Number=1,Type=Integer,Description="Not END">
##ALT=<ID=DEL,Description="d">
##ALT=<ID=DUP,Description="d">
##ALT=<ID=INS,Description="i">
##ALT=<ID=INV,Description="v">
##ALT=<ID=CNV,Description="c">
##ALT=<ID=NON_REF,Description="n">
##FORMAT=<ID=GT,Number=1,Type=String,Description="g">
##FORMAT=<ID=LEN,Number=1,Type=Integer,Description="l">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2
"""

# POS, REF, ALT, INFO, FORMAT and samples
LINES = [
    (100, "A", "C", ".", "GT\t0/1\t0/0"),
    (100, "ACGTACGT", "A", ".", "GT\t0/1\t0/0"),
    (0, "A", "C", ".", "GT\t0/1\t0/0"),
    (1, "A", "C", ".", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "END=200", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "SVTYPE=DEL;END=200;SVLEN=-100", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "SVTYPE=DEL;SVLEN=-100", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "SVTYPE=DEL;SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<DUP>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<INV>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<CNV>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<CNV:TR>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<DUP:TANDEM>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<DEL:ME>", "SVLEN=-100", "GT\t0/1\t0/0"),
    (100, "A", "<INS>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<INS:ME>", "SVLEN=100", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>,<INS>", "SVLEN=-30,700", "GT\t0/1\t0/0"),
    (100, "A", "<INS>,<DEL>", "SVLEN=700,-30", "GT\t0/1\t0/0"),
    (100, "A", "C,<DEL>", "SVLEN=.,-30", "GT\t0/1\t0/0"),
    (100, "A", "C", "SVLEN=500", "GT\t0/1\t0/0"),
    (100, "ACGTACGTAC", "<DEL>", "SVLEN=-3", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "SVLEN=-30;END=500", "GT\t0/1\t0/0"),
    (100, "A", "<DEL>", "SVLEN=-500;END=130", "GT\t0/1\t0/0"),
    (100, "A", "C", "END=50", "GT\t0/1\t0/0"),
    (100, "A", "C", "END=100", "GT\t0/1\t0/0"),
    (100, "ACGT", "C", "END=101", "GT\t0/1\t0/0"),
    (100, "ACGT", "C", "END=.", "GT\t0/1\t0/0"),
    (100, "A", "C", "XEND=900", "GT\t0/1\t0/0"),
    (100, "A", "C", "XEND=900;END=150", "GT\t0/1\t0/0"),
    (100, "A", "C", "CIEND=5,900", "GT\t0/1\t0/0"),
    (100, "A", "<*>", ".", "GT:LEN\t0/0:77\t0/0:30"),
    (100, "A", "<NON_REF>", ".", "GT:LEN\t0/0:30\t0/0:77"),
    (100, "A", "<NON_REF>", "END=160", "GT\t0/0\t0/0"),
    (100, "A", "C,<NON_REF>", "END=160", "GT:LEN\t0/0:300\t0/0:."),
    (100, "A", "C", ".", "GT:LEN\t0/0:77\t0/0:30"),
    (100, "A", "<*>", ".", "GT:LEN\t0/0\t0/0:30"),
    (100, "A", "<*>", ".", "LEN\t77\t30"),
    (100, "A", "G]2:321]", "SVTYPE=BND", "GT\t0/1\t0/0"),
    (100, "A", "*", ".", "GT\t0/1\t0/0"),
    (100, "A", ".", "END=300", "GT\t0/1\t0/0"),
    (900_000, "A", "<DEL>", "END=999999", "GT\t0/1\t0/0"),
]


def line(row: tuple[int, str, str, str, str]) -> str:
    position, ref, alt, info, samples = row
    return f"1\t{position}\t.\t{ref}\t{alt}\t.\t.\t{info}\t{samples}\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Path]]:
    """A VCF and a BCF for each line, both indexed by htslib."""
    directory = tmp_path_factory.mktemp("vcf")
    verbosity = pysam.set_verbosity(0)
    made = {}
    for number, row in enumerate(LINES):
        text = directory / f"{number}.vcf"
        text.write_text(HEADER + line(row) + "2\t1\t.\tA\tC\t.\t.\t.\tGT\t0/0\t0/0\n")
        vcf = directory / f"{number}.vcf.gz"
        pysam.tabix_compress(str(text), str(vcf))
        pysam.tabix_index(str(vcf), preset="vcf")
        bcf = directory / f"{number}.bcf"
        with (
            pysam.VariantFile(str(text)) as source,
            pysam.VariantFile(str(bcf), "wb", header=source.header) as target,
        ):
            for record in source:
                target.write(record)
        pysam.bcftools.index(str(bcf), catch_stdout=False)
        made[number] = vcf, bcf
    pysam.set_verbosity(verbosity)
    return made


def edges(start: int, stop: int) -> Iterable[int]:
    around = {each + step for each in (start, stop) for step in (-2, -1, 0, 1)}
    return sorted(at for at in {*around, *range(95, 110), 128, 129, 130, 160, 499} if at >= 0)


@pytest.mark.parametrize("number", range(len(LINES)), ids=[" ".join(map(str, x)) for x in LINES])
def test_vcf_intervals_are_those_of_tabix(files: dict[int, tuple[Path, Path]], number: int) -> None:
    data = files[number][0].read_bytes()
    reader = BgzfReader(BytesSource(data))
    header = read_header(reader)
    record = next(iter(walk(reader, VcfRecords({"1": 0, "2": 1}), header.first_record)))
    with pysam.TabixFile(str(files[number][0])) as tabix:
        for at in edges(record.start, record.stop):
            held = any(True for _ in tabix.fetch("1", at, at + 1))
            assert held == (record.start < at + 1 and record.stop > at), at


@pytest.mark.parametrize("number", range(len(LINES)), ids=[" ".join(map(str, x)) for x in LINES])
def test_bcf_intervals_are_those_of_htslib(
    files: dict[int, tuple[Path, Path]], number: int
) -> None:
    data = files[number][1].read_bytes()
    reader = BgzfReader(BytesSource(data))
    header = read_bcf_header(reader)
    record = next(iter(walk(reader, BcfRecords(len(header.names)), header.first_record)))
    with pysam.VariantFile(str(files[number][1])) as variants:
        for at in edges(record.start, record.stop):
            held = any(True for _ in variants.fetch("1", at, at + 1))
            assert held == (record.start < at + 1 and record.stop > at), at


def spans(lines: bytes, names: Iterable[str] = ("1",)) -> list[tuple[int, int, int, int, int]]:
    numbers = {name: number for number, name in enumerate(names)}
    return list(VcfRecords(numbers).spans(lines, 0))


def test_positions_of_lines() -> None:
    first, second = b"1\t5\t.\tACG\tA\t.\t.\t.\n", b"2\t9\t.\tA\tC\t.\t.\t.\tGT\t0\n"
    assert spans(first + second + b"1\t10\t.\tA") == [
        (0, len(first), 0, 4, 7),
        (len(first), len(first + second), -1, 8, 9),
    ]


def test_last_line_without_newline() -> None:
    text = b"##fileformat=VCFv4.2\n#CHROM\n1\t5\t.\tACG\tA\t.\t.\t."
    reader = BgzfReader(BytesSource(compress(text) + EOF_MARKER))
    header = read_header(reader)
    found = list(walk(reader, VcfRecords({"1": 0}), header.first_record))
    assert [(each.data, each.start, each.stop) for each in found] == [
        (b"1\t5\t.\tACG\tA\t.\t.\t.", 4, 7)
    ]


def test_windows_line_ends() -> None:
    assert spans(b"1\t5\t.\tA\t<DEL>\t.\t.\tEND=9\r\n")[0][3:] == (4, 9)


@pytest.mark.parametrize(
    "line_",
    [
        b"1\t5\t.\tA\tC\t.\t.\n",
        b"1\t.\t.\tA\tC\t.\t.\t.\n",
        b"1\t-5\t.\tA\tC\t.\t.\t.\n",
        b"1\t\t.\tA\tC\t.\t.\t.\n",
        b"1\t1e3\t.\tA\tC\t.\t.\t.\n",
        b"1\t\xd9\xa5\t.\tA\tC\t.\t.\t.\n",
        b"1\t" + b"9" * 400 + b"\t.\tA\tC\t.\t.\t.\n",
        b"1 5 . A C . . .\n",
        b"nonsense\n",
    ],
)
@pytest.mark.security("TI8")
def test_malformed_lines(line_: bytes) -> None:
    with pytest.raises(CorruptData):
        spans(line_)


def header_of(text: str) -> tuple[str, ...]:
    return read_header(BgzfReader(BytesSource(compress(text.encode()) + EOF_MARKER))).names


def test_header() -> None:
    assert header_of(HEADER) == ("1", "2")
    assert header_of(HEADER + line(LINES[0])) == ("1", "2")
    assert header_of("##fileformat=VCFv4.2\n#CHROM\n") == ()
    assert header_of("##fileformat=VCFv4.2") == ()


@pytest.mark.parametrize(
    "text", ["", "1\t5\n", "#CHROM\n", "@HD\tVN:1.6\n", "##fileformat=BCF\n", "\n##fileformat=VCF"]
)
def test_other_files(text: str) -> None:
    with pytest.raises(CorruptData):
        header_of(text)


@pytest.mark.parametrize("number", range(12, 42, 6))
def test_many_samples_and_alleles(number: int) -> None:
    alleles = ",".join(["<*>"] * (1 << number // 3))
    samples = "\t".join(["0/0:5"] * 3)
    row = f"1\t5\t.\tA\t{alleles}\t.\t.\t.\tGT:LEN\t{samples}\n"
    assert spans(row.encode())[0][3:] == (4, 9)


def _fields() -> Iterator[st.SearchStrategy[str]]:
    info = st.sampled_from(["END=", "SVLEN=", "LEN", ".", ";", "-5", "99", ",", "=", "XEND=", "é"])
    text = st.lists(info, max_size=8).map("".join)
    yield from (
        st.sampled_from(["1", "x"]), st.integers(0, 10**19).map(str), text, st.just("A"),
        st.sampled_from(["<DEL>", "<", "<*>,<DEL>", "<CNV:x", "C"]), text, text, text,
        st.sampled_from(["GT:LEN", "LEN", "", "LEN:LEN"]), text, text,
    )  # fmt: skip


@given(st.tuples(*_fields()))
@settings(max_examples=200, deadline=None)
def test_any_line_has_an_interval_or_is_refused(fields: tuple[str, ...]) -> None:
    try:
        found = spans("\t".join(fields).encode() + b"\n")
    except CorruptData:
        return
    assert all(start >= 0 and stop > 0 for _, _, _, start, stop in found)


@pytest.mark.parametrize("tail", [b"", b"\n", b"#comment\n", b"##a\n#b\n\n", b"#unfinished"])
def test_comments_may_end_a_file(tail: bytes) -> None:
    line = b"c\t5\t.\tA\tC\t.\t.\t.\n"
    reader = BgzfReader(BytesSource(compress(line + tail) + EOF_MARKER))
    assert [record.data for record in walk(reader, VcfRecords({"c": 0}), 0)] == [line]
