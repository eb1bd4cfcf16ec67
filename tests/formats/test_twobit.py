"""2bit against files that are written here field by field, and files that lie."""

import random
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import CorruptData
from formats.source import BytesSource
from formats.twobit import TwoBitEntry, TwoBitReader, parse_twobit


class Sequences(NamedTuple):
    """A name, its bases, and pairs of start and size of N blocks and masked blocks."""

    name: bytes
    bases: str
    n_blocks: Sequence[tuple[int, int]] = ()
    masks: Sequence[tuple[int, int]] = ()


def table(order: str, blocks: Sequence[tuple[int, int]]) -> bytes:
    numbers = [start for start, _ in blocks] + [size for _, size in blocks]
    return struct.pack(f"{order}{len(numbers) + 1}I", len(blocks), *numbers)


def record(order: str, sequence: Sequences) -> bytes:
    digits = "".join({"T": "00", "C": "01", "A": "10", "G": "11"}[base] for base in sequence.bases)
    digits += "0" * (-len(digits) % 8)
    packed = bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8))
    return b"".join(
        [
            struct.pack(f"{order}I", len(sequence.bases)),
            table(order, sequence.n_blocks),
            table(order, sequence.masks),
            struct.pack(f"{order}I", 0),
            packed,
        ]
    )


def twobit(sequences: Sequence[Sequences], order: str = "<", version: int = 0) -> bytes:
    pointer = f"{order}{'Q' if version else 'I'}"
    size = struct.calcsize(pointer)
    at = 16 + sum(1 + len(sequence.name) + size for sequence in sequences)
    index: list[bytes] = []
    data: list[bytes] = []
    for sequence in sequences:
        index.append(
            bytes([len(sequence.name)])
            + sequence.name
            + struct.pack(pointer, at + sum(map(len, data)))
        )
        data.append(record(order, sequence))
    head = struct.pack(f"{order}IIII", 0x1A412743, version, len(sequences), 0)
    return head + b"".join(index) + b"".join(data)


def with_n(sequence: Sequences) -> bytes:
    letters = list(sequence.bases)
    for start, size in sequence.n_blocks:
        letters[start : start + size] = "N" * size
    return "".join(letters).encode()


@st.composite
def sequences(draw: st.DrawFn) -> list[Sequences]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        bases = "".join(random.Random(number).choices("TCAG", k=draw(st.integers(0, 300))))
        borders = sorted(draw(st.sets(st.integers(0, len(bases)), max_size=8)))
        blocks = [
            (start, end - start) for start, end in zip(borders[::2], borders[1::2], strict=False)
        ]
        # Neighbours may touch.
        if draw(st.booleans()) and blocks and sum(blocks[-1]) < len(bases):
            blocks.append((sum(blocks[-1]), 1))
        masks = blocks[: draw(st.integers(0, 2))]
        found.append(Sequences(b"chr%d" % number, bases, blocks, masks))
    return found


@given(
    written=sequences(),
    order=st.sampled_from("<>"),
    version=st.sampled_from([0, 1]),
    data=st.data(),
)
def test_residues(written: list[Sequences], order: str, version: int, data: st.DataObject) -> None:
    source = BytesSource(twobit(written, order, version))
    entries = parse_twobit(source)
    assert [entry.name.encode() for entry in entries] == [each.name for each in written]
    reader = TwoBitReader(source)
    for entry, sequence in zip(entries, written, strict=True):
        expected = with_n(sequence)
        assert entry.length == len(expected)
        assert reader.residues(entry, 0, entry.length) == expected
        for _ in range(5):
            end = data.draw(st.integers(0, entry.length))
            start = data.draw(st.integers(0, end))
            assert reader.residues(entry, start, end) == expected[start:end]


def test_bytes_of_the_format() -> None:
    """The first bases of a file spelled out byte by byte."""
    spelled = bytes.fromhex(
        "4327411a 00000000 01000000 00000000"  # signature, version, count, reserved
        "03 636872 18000000"  # "chr" at 24
        "09000000 01000000 02000000 03000000"  # nine bases; N from 2 on, three of them
        "01000000 00000000 09000000 00000000"  # all in lower case; reserved
        "1b 1b c0"  # TCAG TCAG G
    )
    entries = parse_twobit(BytesSource(spelled))
    assert entries == (TwoBitEntry("chr", 9, 56, 1, 32, "<"),)
    assert TwoBitReader(BytesSource(spelled)).residues(entries[0], 0, 9) == b"TCNNNCAGG"


def test_interval_outside_the_sequence() -> None:
    source = BytesSource(twobit([Sequences(b"a", "ACGT")]))
    (entry,) = parse_twobit(source)
    for start, end in ((-1, 2), (0, 5), (3, 2)):
        with pytest.raises(ValueError, match="outside"):
            TwoBitReader(source).residues(entry, start, end)


def test_cut_short() -> None:
    whole = twobit([Sequences(b"a", "ACGTA", [(1, 2)]), Sequences(b"b", "ACGT")])
    for end in range(len(whole)):
        with pytest.raises(CorruptData):
            parse_twobit(BytesSource(whole[:end]))


@given(
    places=st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from([0, 1, 2, 7, 0x7F, 0x80, 0xFF])), min_size=1
    ),
    version=st.sampled_from([0, 1]),
)
def test_any_bytes_are_read_or_refused(places: list[tuple[int, int]], version: int) -> None:
    whole = [Sequences(b"a", "ACGTA", [(1, 2)], [(0, 1)]), Sequences(b"bc", "ACGT" * 20, [(0, 80)])]
    data = bytearray(twobit(whole, version=version))
    for place, value in places:
        data[place % len(data)] = value
    source = BytesSource(bytes(data))
    try:
        for entry in parse_twobit(source):
            residues = TwoBitReader(source).residues(entry, 0, entry.length)
            assert len(residues) == entry.length
            assert set(residues) <= set(b"ACGTN")
    except CorruptData:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b">a\nACGT\n" * 10,
        struct.pack("<IIII", 0x1A412743, 2, 0, 0),
        struct.pack("<IIII", 0x1A412743, 0, 0, 1),
        struct.pack("<IIII", 0x1A412743, 0, 0xFFFFFFFF, 0),
        struct.pack(">IIII", 0x1A412743, 0, 1, 0) + b"\x01a\xff\xff\xff\xff",
        struct.pack("<IIII", 0x1A412743, 1, 1, 0) + b"\x01a" + b"\xff" * 8,
        twobit([Sequences(b"a", "A"), Sequences(b"a", "C")]),
        twobit([Sequences(b"", "A")]),
        twobit([Sequences(b"a", "ACGT", [(0, 1)] * 5)]),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse_twobit(BytesSource(data))


def test_limit() -> None:
    data = twobit([Sequences(b"a", "A"), Sequences(b"b", "A")])
    assert len(parse_twobit(BytesSource(data), limit=2)) == 2
    with pytest.raises(CorruptData):
        parse_twobit(BytesSource(data), limit=1)


@pytest.mark.parametrize(
    "blocks", [[(0, 0)], [(3, 2)], [(0, 5)], [(2, 1), (0, 1)], [(0, 2), (1, 2)], [(1, 0xFFFFFFFF)]]
)
def test_bad_n_blocks(blocks: list[tuple[int, int]]) -> None:
    source = BytesSource(twobit([Sequences(b"a", "ACGT", blocks)]))
    (entry,) = parse_twobit(source)
    with pytest.raises(CorruptData):
        TwoBitReader(source).residues(entry, 0, 1)


def test_file_that_shrank() -> None:
    data = twobit([Sequences(b"a", "ACGT" * 10, [(0, 1)])])
    (entry,) = parse_twobit(BytesSource(data))
    for end in (len(data) - 1, entry.n_offset + 7):
        with pytest.raises(CorruptData):
            TwoBitReader(BytesSource(data[:end])).residues(entry, 0, 40)


class CountingSource(BytesSource):
    """How often, and where, bytes are read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, end: int) -> bytes:
        self.reads.append((start, end))
        return super().read(start, end)


def test_tables_are_kept_within_bounds() -> None:
    written = [
        Sequences(b"%d" % number, "ACGT" * 50, [(at, 1) for at in range(0, 200, 2)])
        for number in range(5)
    ]
    source = CountingSource(twobit(written))
    entries = parse_twobit(source)
    assert len(source.reads) == 1
    reader = TwoBitReader(source, cache_bytes=2 * 1600)  # two tables of 100 pairs of int64
    source.reads.clear()
    for number in (0, 1, 0, 1, 2, 1, 0):
        assert reader.residues(entries[number], 0, 200) == with_n(written[number])
    tables = [start for start, _ in source.reads if start in {e.n_offset for e in entries}]
    assert tables == [entries[number].n_offset for number in (0, 1, 2, 0)]
    # Only the bytes of the interval are read.
    source.reads.clear()
    reader.residues(entries[0], 5, 13)
    assert source.reads == [(entries[0].offset + 1, entries[0].offset + 4)]
    # A cache that holds nothing is no hindrance.
    assert TwoBitReader(source, 0).residues(entries[0], 0, 9) == with_n(written[0])[:9]


def test_threads_share_a_reader() -> None:
    draw = random.Random(3)
    written = [
        Sequences(b"%d" % number, "".join(draw.choices("ACGT", k=5000)), [(100 * number, 999)])
        for number in range(8)
    ]
    source = BytesSource(twobit(written))
    entries = parse_twobit(source)
    reader = TwoBitReader(source, cache_bytes=64)

    def read(number: int) -> bool:
        expected = with_n(written[number])
        return all(
            reader.residues(entries[number], at, at + 1500) == expected[at : at + 1500]
            for at in range(0, 3500, 7)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, list(range(8)) * 3))
