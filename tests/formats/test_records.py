import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bam import BamRecords
from formats.bcf import BcfRecords
from formats.bgzf import EOF_MARKER, BgzfReader, compress
from formats.errors import CorruptData
from formats.records import MAX_RECORD, HeaderReader, Record, RecordFormat, walk
from formats.source import BytesSource
from formats.vcf import VcfRecords
from tests.formats.byte_records import bam_record, bcf_record
from tests.support.bgzf_layout import bgzf_block

SIZES = st.lists(st.integers(0, 3_000), min_size=1, max_size=30)


def bam_stream(seed: int) -> tuple[RecordFormat, list[bytes]]:
    draw = random.Random(seed)
    lengths = [draw.choice((0, 5, 90, 4_000)) for _ in range(draw.randrange(12))]
    return BamRecords(1), [
        bam_record(0, at, ((length, "M"),) if length else ()) for at, length in enumerate(lengths)
    ]


def bcf_stream(seed: int) -> tuple[RecordFormat, list[bytes]]:
    draw = random.Random(seed)
    return BcfRecords(1), [
        bcf_record(0, at, 1, bytes(draw.choice((0, 7, 5_000)))) for at in range(draw.randrange(12))
    ]


def vcf_stream(seed: int) -> tuple[RecordFormat, list[bytes]]:
    draw = random.Random(seed)
    return VcfRecords({"c": 0}), [
        b"c\t%d\t.\t%s\tC\t.\t.\t.\n" % (at + 1, b"A" * draw.choice((1, 30, 5_000)))
        for at in range(draw.randrange(12))
    ]


STREAMS = pytest.mark.parametrize("make", [bam_stream, bcf_stream, vcf_stream])


def blocks_of(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in blocks of these sizes (0: empty blocks), the last one however large."""
    payloads, at = [], 0
    for size in sizes:
        payloads.append(stream[at : at + size])
        at += size
    return [*payloads, *(stream[at : at + 60_000] for at in range(at, len(stream), 60_000))]


def walked(file: bytes, layout: RecordFormat, offset: int) -> list[Record]:
    return list(walk(BgzfReader(BytesSource(file)), layout, offset))


@STREAMS
@given(sizes=SIZES, seed=st.integers(0, 1 << 30))
@settings(max_examples=40, deadline=None)
def test_records_that_span_blocks(make: object, sizes: list[int], seed: int) -> None:
    assert callable(make)
    layout, records = make(seed)
    payloads = blocks_of(b"".join(records), sizes)
    file = b"".join(map(bgzf_block, payloads)) + EOF_MARKER
    found = walked(file, layout, 0)
    assert [each.data for each in found] == records
    # A virtual offset lies in the block that holds its byte, and leads to the same record again.
    lengths, at = {}, 0
    for payload in payloads:
        lengths[at] = len(payload)
        at += len(bgzf_block(payload))
    for number, record in enumerate(found):
        assert record.offset & 0xFFFF < lengths[record.offset >> 16]
        if number % 4 == 0:
            assert walked(file, layout, record.offset) == found[number:]


@STREAMS
def test_truncation(make: object) -> None:
    """Every prefix of the stream ends at a record or is refused; a VCF may end without newline."""
    assert callable(make)
    layout, records = make(5)
    stream = b"".join(records)
    borders = {0}
    for record in records:
        borders.add(max(borders) + len(record))
    step = max(1, len(stream) // 700)
    for length in sorted(
        {*range(0, len(stream), step), *borders, *(at - 1 for at in borders if at)}
    ):
        file = compress(stream[:length])
        if length in borders:
            assert b"".join(each.data for each in walked(file, layout, 0)) == stream[:length]
            continue
        try:
            found = walked(file, layout, 0)
        except CorruptData:
            continue
        assert isinstance(layout, VcfRecords)
        assert b"".join(each.data for each in found) == stream[:length]


@STREAMS
@given(data=st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.security("TI10")
def test_mutations(make: object, data: st.DataObject) -> None:
    assert callable(make)
    layout, records = make(3)
    stream = bytearray(b"".join(records))
    for at in data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=8)):
        stream[at] = data.draw(st.integers(0, 255))
    try:
        found = walked(compress(bytes(stream)), layout, 0)
    except CorruptData:
        return
    assert sum(len(each.data) for each in found) <= len(stream)


@STREAMS
@given(noise=st.binary(max_size=400), within=st.integers(0, 450))
@settings(max_examples=60, deadline=None)
def test_noise(make: object, noise: bytes, within: int) -> None:
    assert callable(make)
    layout, _ = make(0)
    try:
        found = walked(bgzf_block(noise), layout, within)
    except CorruptData:
        return
    assert sum(len(each.data) for each in found) <= len(noise)


def test_offset_beyond_its_block() -> None:
    file = bgzf_block(bam_record(0, 1)) + bgzf_block(bam_record(0, 2))
    first = len(bam_record(0, 1))
    assert [each.start for each in walked(file, BamRecords(1), first)] == [2]
    with pytest.raises(CorruptData):
        walked(file, BamRecords(1), first + 1)
    with pytest.raises(CorruptData):
        walked(file, BamRecords(1), len(file) + 1 << 16)


@pytest.mark.security("TI8")
def test_endless_line_is_refused_quickly() -> None:
    """Joining the pieces of a record costs time linear in its size."""
    block = bgzf_block(b"A" * 65_280, level=1)
    file = bgzf_block(b"c\t1\t.\t") + block * (MAX_RECORD // 65_280 + 400)
    begin = time.monotonic()
    with pytest.raises(CorruptData):
        walked(file, VcfRecords({"c": 0}), 0)
    assert time.monotonic() - begin < 15


@given(sizes=SIZES)
@settings(max_examples=40, deadline=None)
def test_header_reader(sizes: list[int]) -> None:
    text = b"".join(b"#%d\n" % (1 << number) for number in range(60)) + b"data\n"
    payloads = blocks_of(text, [size % 40 for size in sizes])
    file = b"".join(map(bgzf_block, payloads)) + EOF_MARKER
    reader = HeaderReader(BgzfReader(BytesSource(file)))
    lines = []
    while (line := reader.take_line(b"#")) is not None:
        lines.append(line)
    assert b"".join(lines) == bytes(reader.payload) == text[:-5]
    rest = b"".join(block.data for block in BgzfReader(BytesSource(file)).blocks(0))
    at = reader.tell()
    begin = BgzfReader(BytesSource(file)).block(at >> 16).data[at & 0xFFFF :]
    assert rest.endswith(begin) or begin.startswith(b"d")
    assert reader.take(5) == b"data\n"
    assert reader.tell() == len(file) << 16
    with pytest.raises(CorruptData):
        reader.take(1)


def test_header_limit() -> None:
    file = BytesSource(compress(b"#" + b"x" * 3_000_000 + b"\n"))
    with pytest.raises(CorruptData):
        HeaderReader(BgzfReader(file), limit=1_000_000).take_line(b"#")
    with pytest.raises(CorruptData):
        HeaderReader(BgzfReader(file), limit=1_000_000).take(1_000_001)
    assert len(HeaderReader(BgzfReader(file), limit=1_000_000).take(1_000_000)) == 1_000_000
