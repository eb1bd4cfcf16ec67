import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.bgzf import EOF_MARKER, compress
from formats.binning import BinningIndex, parse_index
from formats.errors import CorruptData
from tests.support.bgzf_layout import bgzf_block

PSEUDO = 37_450
Chunk = tuple[int, int]


def u32(*values: int) -> bytes:
    return b"".join(struct.pack("<I", value & 0xFFFFFFFF) for value in values)


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def bin_(number: int, chunks: Sequence[Chunk], loffset: int | None = None) -> bytes:
    lead = u32(number) if loffset is None else u32(number) + u64(loffset)
    return lead + u32(len(chunks)) + b"".join(u64(*chunk) for chunk in chunks)


# One reference with a record, one without, byte by byte (SAMv1 § 5.2).
BAI = b"".join(
    (
        b"BAI\x01",  # magic
        u32(2),  # n_ref
        u32(2),  # n_bin
        u32(4681, 1),  # bin, n_chunk
        u64(0x100, 0x2000),  # chunk
        u32(PSEUDO, 2),  # the pseudo-bin
        u64(0x100, 0x2000),  # ref_beg, ref_end
        u64(7, 2),  # n_mapped, n_unmapped
        u32(1),  # n_intv
        u64(0x100),  # ioffset
        u32(0),  # n_bin
        u32(0),  # n_intv
        u64(5),  # n_no_coor
    )
)
NAMES = b"chr1\0chrM\0"
TBI_HEAD = b"TBI\x01" + u32(2, 2, 1, 2, 0, ord("#"), 0, len(NAMES)) + NAMES
TBI = TBI_HEAD + BAI[8:]
CSI_BODY = b"".join(
    (
        u32(1),  # n_ref
        u32(2),  # n_bin
        bin_(73, [(0x100, 0x2000)], 0x100),
        bin_(586, [(0x100, 0x2000), (7, 2)], 0),
        u64(5),  # n_no_coor
    )
)
CSI = b"CSI\x01" + u32(14, 3, 0) + CSI_BODY
TEXT_CSI = b"CSI\x01" + u32(14, 3, 28 + 5) + u32(2, 1, 2, 0, 35, 0, 5) + b"chr1\0" + CSI_BODY

KINDS = pytest.mark.parametrize(
    ("data", "count", "names"),
    [(BAI, 2, None), (TBI, 2, ("chr1", "chrM")), (CSI, 1, None), (TEXT_CSI, 1, ("chr1",))],
    ids=["BAI", "TBI", "CSI", "text CSI"],
)


def use(index: BinningIndex) -> None:
    """Touch everything that is built on demand."""
    assert index.placed_start >= 0 <= index.placed_end
    for number in range(min(index.references, 50)):
        table = index.table(number)
        if table is not None:
            table.query(0, 5)
            table.query(1 << 28, 1 << 60, unmapped=True)
            table.path_chunks(1 << 20, 0, 1 << 62)


@KINDS
@pytest.mark.parametrize("packed", [False, True])
def test_annotated(data: bytes, count: int, names: tuple[str, ...] | None, *, packed: bool) -> None:
    index = parse_index(compress(data) + EOF_MARKER if packed else data)
    assert (index.references, index.names) == (count, names)
    assert (index.placed_start, index.placed_end) == (0x100, 0x2000)
    table = index.table(0)
    assert table is not None
    assert (table.first, table.last, table.min_shift) == (0x100, 0x2000, 14)
    assert table.query(0, 100) == (0x100, 0x100, 0x100, 0x2000)
    assert index.table(count - 1 if count > 1 else 1) is None
    assert index.table(-1) is None
    assert index.table(99) is None
    assert index.nbytes > len(BAI) - 60


@KINDS
def test_without_count_of_unplaced_reads(
    data: bytes, count: int, names: tuple[str, ...] | None
) -> None:
    index = parse_index(data[:-8])
    assert (index.references, index.names) == (count, names)


@KINDS
@pytest.mark.security("TI1")
def test_truncation(data: bytes, count: int, names: object) -> None:
    del count, names
    for length in range(len(data)):
        if length == len(data) - 8:
            continue
        with pytest.raises(CorruptData):
            use(parse_index(data[:length]))
        if length:
            with pytest.raises(CorruptData):
                use(parse_index(compress(data[:length])))


@KINDS
def test_truncated_blocks(data: bytes, count: int, names: object) -> None:
    del count, names
    packed = compress(data)
    for length in range(1, len(packed)):
        with pytest.raises(CorruptData):
            parse_index(packed[:length])


@KINDS
@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4, b"\0" * 9, b"\0" * 16])
@pytest.mark.security("TI1")
def test_trailing_bytes(data: bytes, count: int, names: object, tail: bytes) -> None:
    del count, names
    with pytest.raises(CorruptData):
        parse_index(data + tail)


@pytest.mark.parametrize("data", [b"", b"BAI\x02", b"bai\x01" + BAI[4:], b"CRAI", bytes(100)])
@pytest.mark.security("TI1")
def test_other_files(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse_index(data)


HUGE = (1 << 31) - 1


@pytest.mark.parametrize("count", [HUGE, 1 << 31, 0xFFFFFFFF, 1 << 24, 1 << 20, 9])
@pytest.mark.security("TI1")
def test_hostile_counts(count: int) -> None:
    """No count is believed before the bytes are there."""
    for data in (
        BAI[:4] + u32(count) + BAI[8:],
        BAI[:8] + u32(count) + BAI[12:],
        BAI[:16] + u32(count) + BAI[20:],
        BAI[:76] + u32(count) + BAI[80:],
        TBI[:4] + u32(count) + TBI[8:],
        TBI[:32] + u32(count) + TBI[36:],
        CSI[:12] + u32(count) + CSI[16:],
        CSI[:16] + u32(count) + CSI[20:],
        CSI[:20] + u32(count) + CSI[24:],
        TEXT_CSI[:40] + u32(count) + TEXT_CSI[44:],
    ):
        with pytest.raises(CorruptData):
            parse_index(data)


@pytest.mark.parametrize(
    ("min_shift", "depth"),
    [(0, 5), (-1, 5), (31, 5), (14, -1), (14, 11), (HUGE, HUGE), (30, 10 + 1), (14, 1 << 31)],
)
def test_impossible_geometry(min_shift: int, depth: int) -> None:
    with pytest.raises(CorruptData):
        parse_index(b"CSI\x01" + u32(min_shift, depth, 0) + CSI_BODY)


def one_reference(*bins: bytes, linear: bytes = b"") -> bytes:
    return b"BAI\x01" + u32(1, len(bins)) + b"".join(bins) + u32(len(linear) // 8) + linear


@pytest.mark.parametrize(
    "data",
    [
        one_reference(bin_(37_449, [(1, 2)])),
        one_reference(bin_(37_451, [(1, 2)])),
        one_reference(bin_(0xFFFFFFFF, [(1, 2)])),
        one_reference(bin_(PSEUDO, [(1, 2)])),
        one_reference(bin_(PSEUDO, [(1, 2)] * 3)),
        one_reference(bin_(4681, [(2, 1)])),
        one_reference(bin_(4681, [(1, 2), (9, 3)])),
        b"CSI\x01" + u32(14, 10, 0) + u32(1, 1) + bin_(0x49249249 - 2, [(1, 2)], 0),
    ],
)
@pytest.mark.security("TI2")
def test_hostile_bins(data: bytes) -> None:
    with pytest.raises(CorruptData):
        use(parse_index(data))


@pytest.mark.parametrize("names", [b"", b"a\0", b"a\0b", b"a\0a\0", b"a\0b\0c\0", b"ab"])
@pytest.mark.security("TI3")
def test_names_that_do_not_fit(names: bytes) -> None:
    data = TBI[:32] + u32(len(names)) + names + BAI[8:]
    with pytest.raises(CorruptData):
        parse_index(data)


def test_empty_bins_hold_nothing() -> None:
    index = parse_index(one_reference(bin_(4681, [])))
    assert index.table(0) is None
    assert (index.placed_start, index.placed_end) == (0, 0)


def test_repeated_bins_and_overlapping_chunks() -> None:
    index = parse_index(one_reference(bin_(4681, [(5, 9), (1, 7)]), bin_(4681, [(3, 12)])))
    table = index.table(0)
    assert table is not None
    assert (table.first, table.last) == (1, 12)


def test_offsets_use_all_their_bits() -> None:
    top = (1 << 64) - 1
    index = parse_index(one_reference(bin_(4681, [(1 << 63, top)])))
    table = index.table(0)
    assert table is not None
    assert table.query(0, 1) == (1 << 63, 1 << 63, 1 << 63, top)


@pytest.mark.security("TI3")
def test_bomb() -> None:
    """A small file of well-packed zeros is refused by its inflated size."""
    block = bgzf_block(bytes(65_280), level=9)
    with pytest.raises(CorruptData):
        parse_index(bgzf_block(TBI_HEAD) + block * ((1 << 29) // 65_280 + 1))


def test_plain_gzip() -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with pytest.raises(CorruptData):
        parse_index(packer.compress(TBI) + packer.flush())


@given(st.sampled_from([BAI, TBI, CSI, TEXT_CSI]), st.data())
@settings(max_examples=500, deadline=None)
@pytest.mark.security("TI10")
def test_mutated(valid: bytes, data: st.DataObject) -> None:
    broken = bytearray(valid)
    for at in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=5)):
        broken[at] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255, broken[at] ^ 4]))
    try:
        use(parse_index(bytes(broken)))
    except CorruptData:
        return


def test_threads_share_tables() -> None:
    index = parse_index(BAI)
    assert index.table(0) is index.table(0)


def test_many_references_cost_little() -> None:
    index = parse_index(b"BAI\x01" + u32(200_000) + bytes(8 * 200_000))
    assert index.references == 200_000
    assert index.table(199_999) is None
    assert np.iinfo(np.uint64).max > index.nbytes
