import random
import struct
import zlib
from itertools import pairwise

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bgzf import (
    EOF_MARKER,
    MAX_BLOCK,
    MAX_PAYLOAD,
    BgzfReader,
    block_size,
    compress,
    data_end,
    inflate,
)
from formats.errors import CorruptData, LimitExceeded
from formats.source import BytesSource
from tests.support.bgzf_layout import bgzf_block, bgzf_blocks, inflated

# A block of the five bytes "htsga", field by field (SAMv1 § 4.1).
STORED = b"".join(
    (
        b"\x1f\x8b",  # ID1 ID2
        b"\x08",  # CM: deflate
        b"\x04",  # FLG: extra fields
        bytes(4),  # MTIME
        b"\x00",  # XFL
        b"\xff",  # OS: unknown
        b"\x06\x00",  # XLEN
        b"BC\x02\x00",  # SI1 SI2 SLEN
        b"\x23\x00",  # BSIZE: the block's size, 36, less one
        b"\x01\x05\x00\xfa\xffhtsga",  # one stored deflate block
        struct.pack("<I", zlib.crc32(b"htsga")),  # CRC32
        b"\x05\x00\x00\x00",  # ISIZE
    )
)


def test_annotated_block() -> None:
    assert len(STORED) == block_size(STORED) == 36
    assert inflate(STORED) == b"htsga"


def test_eof_marker_is_an_empty_block() -> None:
    assert block_size(EOF_MARKER) == len(EOF_MARKER) == 28
    assert inflate(EOF_MARKER) == b""


@pytest.mark.parametrize("length", range(36))
def test_truncation(length: int) -> None:
    if length:
        with pytest.raises(CorruptData):
            block_size(STORED[: min(length, 17)])
    with pytest.raises(CorruptData):
        BgzfReader(BytesSource(STORED[:length])).block(0)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"\x1e"),
        (2, b"\x07"),
        (3, b"\x00"),
        (10, b"\x05\x00"),
        (12, b"XC"),
        (14, b"\x03\x00"),
        (16, b"\x00\x00"),
        (16, b"\x18\x00"),
        (16, b"\xff\xff"),
        (18, b"\x07"),
        (23, b"H"),
        (28, b"\x00\x00"),
        (32, b"\x06\x00"),
        (32, b"\x04\x00"),
        (32, b"\x00\x00\x00\x80"),
    ],
)
@pytest.mark.security("TI5")
def test_broken_blocks(at: int, value: bytes) -> None:
    broken = STORED[:at] + value + STORED[at + len(value) :]
    with pytest.raises(CorruptData):
        BgzfReader(BytesSource(broken + EOF_MARKER)).block(0)


@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
@settings(deadline=None)
def test_round_trip(piece: bytes, times: int, noisy: bool) -> None:
    data = piece * times
    if noisy:
        data += random.Random(times).randbytes(len(data))
    packed = compress(data)
    assert inflated(packed) == data
    reader = BgzfReader(BytesSource(packed))
    assert b"".join(block.data for block in reader.blocks(0)) == data
    assert all(extra == 6 for _, _, extra in bgzf_blocks(packed))


@pytest.mark.parametrize("size", [1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 200_000])
@pytest.mark.parametrize("noisy", [False, True])
def test_block_sizes(size: int, *, noisy: bool) -> None:
    data = random.Random(size).randbytes(size) if noisy else bytes(size)
    packed = compress(data)
    assert inflated(packed) == data
    assert all(length <= MAX_BLOCK for _, length, _ in bgzf_blocks(packed))
    assert compress(data) == packed


def test_nothing_compresses_to_nothing() -> None:
    assert compress(b"") == b""


@given(st.lists(st.integers(0, 65_280), min_size=1, max_size=12), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_reader_over_blocks_of_any_size(sizes: list[int], subfield: int) -> None:
    draw = random.Random(sum(sizes))
    payloads = [draw.randbytes(8) * (size // 8) for size in sizes]
    extra = b"ZZ" + struct.pack("<H", subfield) + bytes(subfield)
    data = b"".join(bgzf_block(payload, subfield=extra) for payload in payloads)
    reader = BgzfReader(BytesSource(data))
    found = list(reader.blocks(0))
    assert [block.data for block in found] == payloads
    assert [block.offset for block in found] == [at for at, _, _ in bgzf_blocks(data)]
    assert all(before.end == after.offset for before, after in pairwise(found))
    for block in reversed(found):
        assert reader.block(block.offset) == block


@pytest.mark.parametrize("gap", range(60))
def test_header_cut_by_the_read_ahead(gap: int) -> None:
    """The buffer may end anywhere in the next block's header, also within its extra fields."""
    ahead = 1 << 17
    noise = random.Random(1).randbytes(60_000)
    first = bgzf_block(noise) * 2
    filler = ahead - len(first) - gap
    # a stored block of exactly the size that is left
    body = filler - 31
    first += b"".join(
        (
            b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0",
            struct.pack("<H", filler - 1),
            b"\x01" + struct.pack("<HH", body, body ^ 0xFFFF) + noise[:body],
            struct.pack("<II", zlib.crc32(noise[:body]), body),
        )
    )
    assert len(first) == ahead - gap
    data = first + bgzf_block(b"found", subfield=b"ZZ\x14\x00" + bytes(20))
    reader = BgzfReader(BytesSource(data), ahead=ahead)
    assert [block.data for block in reader.blocks(0)][-1] == b"found"


def test_empty_blocks_are_not_the_end() -> None:
    data = EOF_MARKER + bgzf_block(b"one") + EOF_MARKER + EOF_MARKER + bgzf_block(b"two")
    found = [block.data for block in BgzfReader(BytesSource(data)).blocks(0)]
    assert found == [b"", b"one", b"", b"", b"two"]


def test_offsets_beyond_the_end() -> None:
    reader = BgzfReader(BytesSource(EOF_MARKER))
    assert list(reader.blocks(28)) == []
    with pytest.raises(CorruptData):
        list(reader.blocks(29))
    with pytest.raises(CorruptData):
        reader.block(28)
    with pytest.raises(CorruptData):
        reader.block(1 << 48)


def test_limit_of_inflated_bytes() -> None:
    data = bgzf_block(b"x" * 5000) * 10
    with pytest.raises(LimitExceeded):
        list(BgzfReader(BytesSource(data), limit=49_999).blocks(0))
    assert len(list(BgzfReader(BytesSource(data), limit=50_000).blocks(0))) == 10
    with pytest.raises(LimitExceeded):
        list(BgzfReader(BytesSource(bgzf_block(b"") * 10), limit=9 << 10).blocks(0))


def test_limit_counts_anew() -> None:
    reader = BgzfReader(BytesSource(bgzf_block(b"x" * 5000) * 10), limit=50_000)
    for _ in range(3):
        assert len(list(reader.blocks(0))) == 10
        reader.renew()


@pytest.mark.security("TI5")
def test_bomb_does_not_unfold() -> None:
    """ISIZE says how much is allocated; a block that holds more is refused."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(bytes(50_000_000)) + packer.flush()
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    for claimed in (1, MAX_BLOCK, MAX_BLOCK + 1, 50_000_000, 0xFFFFFFFF):
        with pytest.raises(CorruptData):
            inflate(header + body + struct.pack("<II", deflate.crc32(b""), claimed))


@given(st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.security("TI10")
def test_mutations(data: st.DataObject) -> None:
    valid = bgzf_block(b"ACGT" * 30, subfield=b"ZZ\x01\x00!") + bgzf_block(b"N" * 99) + EOF_MARKER
    broken = bytearray(valid)
    for at in data.draw(st.lists(st.integers(0, len(valid) - 1), min_size=1, max_size=6)):
        broken[at] = data.draw(st.integers(0, 255))
    try:
        blocks = list(BgzfReader(BytesSource(bytes(broken))).blocks(0))
    except CorruptData:
        return
    assert sum(len(block.data) for block in blocks) <= 3 * MAX_BLOCK


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=20), st.data())
@settings(max_examples=60, deadline=None)
def test_borders_tile(sizes: list[int], data: st.DataObject) -> None:
    draw = random.Random(len(sizes))
    file = b"".join(bgzf_block(draw.randbytes(size)) for size in sizes) + EOF_MARKER
    borders = [*(at for at, _, _ in bgzf_blocks(file)), len(file)]
    reader = BgzfReader(BytesSource(file))
    for offset in data.draw(st.lists(st.integers(0, len(file)), max_size=10)):
        assert reader.next_border(offset) == next(at for at in borders if at >= offset)
    assert reader.next_border(len(file) + 5) == len(file)


def test_borders_are_not_faked_by_magic_numbers_in_data() -> None:
    """A stored block may hold what looks like the start of another."""
    noise = random.Random(3)
    fake = noise.randbytes(500) + EOF_MARKER[:16] + noise.randbytes(500) + bgzf_block(b"x")[:-1]
    body = b"\x01" + struct.pack("<HH", len(fake), len(fake) ^ 0xFFFF) + fake
    block = STORED[:16] + struct.pack("<H", len(body) + 25) + body
    block += struct.pack("<II", zlib.crc32(fake), len(fake))
    file = block + bgzf_block(b"next") + EOF_MARKER
    assert BgzfReader(BytesSource(file)).next_border(1) == len(block)


def test_data_end() -> None:
    block = bgzf_block(b"data")
    for tail in (b"", EOF_MARKER, EOF_MARKER * 3):
        assert data_end(BytesSource(block + tail)) == len(block)
    assert data_end(BytesSource(EOF_MARKER)) == 0
    assert data_end(BytesSource(b"")) == 0
