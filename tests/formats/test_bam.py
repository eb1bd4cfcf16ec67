import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bam import BamRecords, build_header, read_header, references
from formats.bgzf import EOF_MARKER, BgzfReader, compress
from formats.errors import CorruptData
from formats.records import Pass
from formats.source import BytesSource
from tests.formats.byte_records import OPERATIONS, Cigar, bam_header, bam_record
from tests.support.bgzf_layout import bgzf_block

HEADER = bam_header(b"@HD\tVN:1.6\n", [(b"chr1", 1000), (b"HLA-A*01:01", 5)])


def reader(stream: bytes) -> BgzfReader:
    return BgzfReader(BytesSource(compress(stream) + EOF_MARKER))


def spans(record: bytes, references: int = 3) -> list[tuple[int, int, int, int, int]]:
    return list(BamRecords(references).spans(record, 0))


def test_header() -> None:
    header = read_header(reader(HEADER + bam_record(0, 1)))
    assert header.payload == HEADER
    assert header.text == "@HD\tVN:1.6\n"
    assert header.names == ("chr1", "HLA-A*01:01")
    assert header.first_record == len(HEADER)


def test_first_record_is_in_the_block_that_holds_it() -> None:
    file = bgzf_block(HEADER) + EOF_MARKER + bgzf_block(bam_record(0, 1))
    header = read_header(BgzfReader(BytesSource(file)))
    assert header.first_record == len(bgzf_block(HEADER) + EOF_MARKER) << 16
    empty = bgzf_block(HEADER) + EOF_MARKER
    assert read_header(BgzfReader(BytesSource(empty))).first_record == len(empty) << 16


def test_padded_text_and_no_text() -> None:
    assert read_header(reader(bam_header(b"@CO\tx\n\0\0\0", []))).text == "@CO\tx\n"
    header = read_header(reader(bam_header(b"", [(b"a", 1)])))
    assert (header.text, header.names) == ("", ("a",))


def test_references_and_back() -> None:
    """A name ends at its first NUL; what stands behind it is not written again."""
    listed = [(b"one", 7), (b"t\xff", 2_000_000_000)]
    payload = bam_header(b"@CO\t\xfe\n", listed)
    names = references(payload)
    assert names == [("one", 7), ("t\udcff", 2_000_000_000)]
    assert build_header("@CO\t\udcfe\n", names) == payload
    hidden = bam_header(b"text", [(b"one\0hidden", 7), listed[1]])
    assert references(hidden) == names
    assert references(bam_header(b"", [])) == []


def test_bytes_that_are_not_utf8_survive() -> None:
    header = read_header(reader(bam_header(b"@CO\t\xff\n", [(b"\xe9", 1)])))
    assert header.text.encode("utf-8", "surrogateescape") == b"@CO\t\xff\n"
    assert header.names == ("\udce9",)


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_truncated_header(length: int) -> None:
    with pytest.raises(CorruptData):
        read_header(BgzfReader(BytesSource(compress(HEADER[:length]) + EOF_MARKER)))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"BAI\x01"),
        (3, b"\x02"),
        (4, b"\xff\xff\xff\xff"),
        (4, b"\x00\x00\x00\x80"),
        (19, b"\xff\xff\xff\x7f"),
        (19, b"\x00\x00\x00\x80"),
        (23, b"\x00\x00\x00\x00"),
        (23, b"\xff\xff\xff\xff"),
        (31, b"!"),
    ],
)
@pytest.mark.security("TI6")
def test_hostile_header(at: int, value: bytes) -> None:
    with pytest.raises(CorruptData):
        read_header(reader(HEADER[:at] + value + HEADER[at + len(value) :]))


@pytest.mark.parametrize(
    ("cigar", "flag", "length"),
    [
        ((), 0, 1),
        ((), 4, 1),
        (((10, "M"),), 0, 10),
        (((10, "M"),), 4, 1),
        (((10, "I"),), 0, 1),
        (((5, "S"), (10, "="), (3, "X"), (4, "I"), (6, "D"), (9, "H")), 0, 19),
        (((4, "M"), (500_000, "N"), (4, "M"), (2, "P")), 0, 500_008),
        (((8, "S"), (70_000, "N")), 0, 70_000),
        (((1, "M"), (1, "I")) * 40, 0, 40),
        (((1, "M"), (1, "D")) * 5_000, 0, 10_000),
        (((0, "M"), (0, "N")), 0, 1),
    ],
)
def test_intervals(cigar: Cigar, flag: int, length: int) -> None:
    record = bam_record(2, 100, cigar, flag=flag)
    assert spans(record) == [(0, len(record), 2, 100, 100 + length)]


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.sampled_from(OPERATIONS)), max_size=150))
def test_reference_length(cigar: list[tuple[int, str]]) -> None:
    length = sum(count for count, operation in cigar if operation in "MDN=X")
    assert spans(bam_record(0, 7, cigar, bases=3))[0][4] == 7 + max(1, length)


records = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 40),
        st.sampled_from([(), ((9, "M"),), ((3, "M"), (20, "N"), (4, "M")), ((5, "S"),)]),
        st.sampled_from([0, 4]),
    ),
    max_size=12,
).map(lambda items: sorted(items, key=lambda item: item[:2]))


@given(records, st.integers(0, 2), st.integers(0, 50), st.integers(-2, 50), st.integers(0, 900))
def test_advance_is_the_walk_only_faster(
    items: list[tuple[int, int, Cigar, int]], reference: int, limit: int, since: int, cut: int
) -> None:
    parts = [bam_record(r, p, cigar, flag=flag) for r, p, cigar, flag in items]
    buffer = b"".join(parts)
    first = next((n for n, item in enumerate(items) if item[0] == reference), 0)
    begin = sum(map(len, parts[:first]))
    layout = BamRecords(3)
    for keep in (True, False):
        fast, slow = (Pass(reference, limit, [] if keep else None, since) for _ in range(2))
        expected = slow.over(buffer, layout.spans(buffer, begin), begin)
        # In two steps, as the blocks of a file come.
        at, stopped = layout.advance(buffer[: max(cut, begin)], begin, fast)
        if not stopped:
            at, stopped = layout.advance(buffer, at, fast)
        assert (at, stopped) == expected
        assert (fast.kept, fast.position) == (slow.kept, slow.position)
        assert fast.stopped_on == slow.stopped_on


def test_reads_without_a_place() -> None:
    record = bam_record(-1, -1, flag=4)
    assert spans(record) == [(0, len(record), -1, -1, 0)]


def test_records_in_a_row() -> None:
    first, second = bam_record(0, 1), bam_record(1, 2)
    assert [span[:2] for span in spans(first + second + first[:30])] == [
        (0, len(first)),
        (len(first), len(first + second)),
    ]


@pytest.mark.parametrize("length", range(len(bam_record(0, 1, ((3, "M"),)))))
def test_truncated_records_are_not_given(length: int) -> None:
    assert spans(bam_record(0, 1, ((3, "M"),))[:length]) == []


def with_field(at: int, code: str, value: int) -> bytes:
    record = bytearray(bam_record(0, 1, ((3, "M"),)))
    struct.pack_into(f"<{code}", record, at, value)
    return bytes(record)


@pytest.mark.parametrize(
    "record",
    [
        with_field(0, "I", 31),
        with_field(0, "I", 0),
        with_field(0, "I", 0xFFFFFFFF),
        with_field(0, "I", 1 << 28),
        with_field(4, "i", 3),
        with_field(4, "i", -2),
        with_field(8, "i", -2),
        with_field(12, "B", 255),
        with_field(16, "H", 0xFFFF),
        with_field(20, "i", -1),
        with_field(20, "i", 1 << 30),
    ],
)
@pytest.mark.security("TI6")
def test_hostile_records(record: bytes) -> None:
    with pytest.raises(CorruptData):
        spans(record)


@given(st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.security("TI10")
def test_mutated_headers(data: st.DataObject) -> None:
    broken = bytearray(HEADER)
    for at in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=5)):
        broken[at] = data.draw(st.integers(0, 255))
    try:
        header = read_header(reader(bytes(broken)))
    except CorruptData:
        return
    assert len(header.payload) <= len(HEADER)
