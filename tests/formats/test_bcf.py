import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bcf import BcfRecords, contigs, read_header, with_text
from formats.bgzf import EOF_MARKER, BgzfReader, compress
from formats.errors import CorruptData
from formats.source import BytesSource
from tests.formats.byte_records import bcf_header, bcf_record

TEXT = b"##fileformat=VCFv4.3\n##contig=<ID=a,length=9>\n#CHROM\tPOS\n"
HEADER = bcf_header(TEXT)


def reader(stream: bytes) -> BgzfReader:
    return BgzfReader(BytesSource(compress(stream) + EOF_MARKER))


def test_header() -> None:
    header = read_header(reader(HEADER + bcf_record(0, 1, 1)))
    assert header.payload == HEADER
    assert header.text == TEXT.decode()
    assert header.names == ("a",)
    assert header.first_record == len(HEADER)


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_truncated_header(length: int) -> None:
    with pytest.raises(CorruptData):
        read_header(reader(HEADER[:length]))


@pytest.mark.parametrize("magic", [b"BCF\x01\x02", b"BCF\x04\x01", b"VCF\x02\x02", b"##fil"])
def test_other_files(magic: bytes) -> None:
    with pytest.raises(CorruptData):
        read_header(reader(magic + HEADER[5:]))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("##contig=<ID=1>", ("1",)),
        ("##contig=<ID=1>\n##contig=<ID=2>\n##contig=<ID=1>", ("1", "2")),
        ("##contig=<length=5,ID=chrX,assembly=b37>", ("chrX",)),
        ("##contig=<ID=2,IDX=2>\n##contig=<ID=0,IDX=0>", ("0", "", "2")),
        ('##contig=<ID=1,Description="ID=9,IDX=7">', ("1",)),
        ('##contig=<Description="a,ID=9,IDX=7,b",ID="1,2">', ("1,2",)),
        ('##contig=<Description="\\",ID=9,\\"",ID=1,IDX=0>', ("1",)),
        ("##contig=<ID=c,IDX=2>\n##contig=<ID=d>\n##contig=<ID=a,IDX=0>", ("a", "", "c", "d")),
        ("##contig=<ID=HLA-A*01:01:01:01,length=3503>", ("HLA-A*01:01:01:01",)),
        ("##contig=<length=5>", ()),
        ("##INFO=<ID=END,IDX=3>\n##contig=<ID=1>\r", ("1",)),
        ("", ()),
    ],
)
def test_contig_dictionary(lines: str, names: tuple[str, ...]) -> None:
    assert contigs(lines + "\n") == names


def test_other_text() -> None:
    payload = bcf_header(b"##old\n")
    changed = with_text(payload, "##n\udcff\n")
    assert changed == bcf_header(b"##n\xff\n")
    assert with_text(changed, "##old\n") == payload


@pytest.mark.security("TI8")
def test_impossible_dictionary_number() -> None:
    with pytest.raises(CorruptData):
        contigs("##contig=<ID=1,IDX=999999999>\n")


@pytest.mark.parametrize(
    ("position", "length", "interval"),
    [(9, 1, (9, 10)), (9, 500_000, (9, 500_009)), (0, 3, (0, 3)), (-1, 1, (-1, 0))],
)
def test_intervals(position: int, length: int, interval: tuple[int, int]) -> None:
    record = bcf_record(0, position, length, b"xyz")
    assert list(BcfRecords(1).spans(record, 0)) == [(0, len(record), 0, *interval)]


@pytest.mark.parametrize("length", range(len(bcf_record(0, 1, 1))))
def test_truncated_records_are_not_given(length: int) -> None:
    assert list(BcfRecords(1).spans(bcf_record(0, 1, 1)[:length], 0)) == []


@pytest.mark.parametrize(
    ("at", "code", "value"),
    [
        (0, "I", 23),
        (0, "I", 0),
        (0, "I", 1 << 31),
        (4, "I", 0xFFFFFFFF),
        (8, "i", 1),
        (8, "i", -1),
        (12, "i", -2),
    ],
)
@pytest.mark.security("TI8")
def test_hostile_records(at: int, code: str, value: int) -> None:
    record = bytearray(bcf_record(0, 1, 1))
    struct.pack_into(f"<{code}", record, at, value)
    with pytest.raises(CorruptData):
        list(BcfRecords(1).spans(bytes(record), 0))


@given(st.text(alphabet='##contig=<ID,IX">\\\n01a ', max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_dictionary_or_refused(text: str) -> None:
    try:
        names = contigs(text + "\n##contig=<" + text + ">\n")
    except CorruptData:
        return
    assert all(isinstance(name, str) for name in names)
