"""CRAI: queries against a plain scan of the rows, and input that breaks the rules."""

import gzip
import random
import time
import tracemalloc
from contextlib import suppress

import pytest

from formats.crai import parse_crai
from formats.cram import MULTIPLE, UNPLACED
from formats.errors import CorruptData

Row = tuple[int, int, int, int, int, int]


def text(rows: list[Row]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def scan(rows: list[Row], reference: int, start: int, end: int) -> list[int]:
    """By the definition; a row reaches one base further than it says (see `Placement`)."""
    return sorted(
        {
            row[3]
            for row in rows
            if row[0] == MULTIPLE
            or (row[0] == reference and row[1] - 1 < end and row[1] + row[2] > start)
        }
    )


def draw_rows(draw: random.Random) -> list[Row]:
    rows: list[Row] = []
    offset = 100
    for _ in range(draw.randrange(1, 60)):
        for slice_number in range(draw.randrange(1, 4)):
            for _ in range(draw.choice([1, 1, 3])):
                reference = draw.choice([-1, 0, 0, 0, 1, 2, 2, 7, *([-2] * (draw.random() < 0.1))])
                start, span = draw.randrange(1, 1000), draw.choice([0, 5, 50, 900])
                if reference < 0:
                    start, span = 0, draw.randrange(2)
                rows.append((reference, start, span, offset, 50 * slice_number, 50))
        offset += 200
    draw.shuffle(rows)
    return rows


def test_queries_equal_a_scan() -> None:
    draw = random.Random(1)
    for _ in range(200):
        rows = draw_rows(draw)
        index = parse_crai(text(rows))
        assert index.offsets == sorted({row[3] for row in rows})
        assert index.unplaced() == sorted({row[3] for row in rows if row[0] < 0})
        for _ in range(20):
            start = draw.randrange(1100)
            query = draw.choice([0, 1, 2, 3, 7]), start, start + draw.randrange(1, 300)
            found = index.containers(*query)
            assert found == scan(rows, *query)
            span = index.span(*query)
            assert (span is None) == (not found)
            assert span is None or (span[0] <= found[0] and found[-1] <= span[1])
        everywhere = [row[3] for row in rows if row[0] == MULTIPLE]
        for reference in (0, 1, 3, 7):
            own = [row[3] for row in rows if row[0] == reference] or everywhere
            assert index.first_offset(reference) == min(own, default=None)
            assert index.span(reference, 5, 5) == (
                (min(everywhere), max(everywhere)) if everywhere else None
            )


def test_spans_of_a_sorted_file_are_exact() -> None:
    index = parse_crai(text([(0, 1 + 10 * n, 25, 1000 + n, 0, 1) for n in range(100)]))
    for start in range(0, 1100, 7):
        found = index.containers(0, start, start + 30)
        assert index.span(0, start, start + 30) == ((found[0], found[-1]) if found else None)


def test_memory_is_told() -> None:
    text_ = text([(n // 4000, 1 + n, 30_000, 1 << 33 | n, 800, 9) for n in range(50_000)])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        index = parse_crai(text_)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * held < index.nbytes < 1.3 * held


def test_spans_take_no_longer_for_more_containers() -> None:
    index = parse_crai(text([(0, 1 + 10 * n, 25, 1000 + n, 0, 1) for n in range(50_000)]))
    started = time.process_time()
    for _ in range(1000):
        assert index.span(0, 0, 1 << 31) == (1000, 50_999)
    assert time.process_time() - started < 0.5  # 0.003 s on an idle machine


def test_placements() -> None:
    index = parse_crai(
        text(
            [
                (0, 101, 50, 1000, 10, 90),
                (0, 121, 80, 1000, 100, 200),
                (0, 301, 10, 2000, 10, 50),
                (1, 1, 10, 2000, 10, 50),
                (-1, 0, 1, 3000, 9, 9),
                (-2, 0, 0, 4000, 9, 9),
            ]
        )
    )
    first = index.placement(1000)
    assert first == (1000, 0, 100, 201, 300)
    references = [index.placement(offset).reference for offset in index.offsets]
    assert references == [0, MULTIPLE, UNPLACED, MULTIPLE]
    assert [index.next_offset(offset) for offset in (0, 1000, 4000)] == [1000, 2000, None]
    assert index.last_reference == 1


def test_a_read_that_covers_no_base_is_found_at_the_end_of_its_row() -> None:
    """A read of insertions only, at 0-based 9, written as start 10 and span 0."""
    index = parse_crai(b"0\t10\t0\t100\t1\t1\n")
    assert index.containers(0, 9, 10) == [100]
    assert index.containers(0, 8, 9) == []
    assert index.containers(0, 10, 11) == []


def test_empty_index_and_unknown_reference() -> None:
    for data in (b"", gzip.compress(b"")):
        index = parse_crai(data)
        assert index.offsets == index.unplaced() == index.containers(0, 0, 10) == []
        assert index.last_reference == -1
    index = parse_crai(b"3\t1\t5\t100\t1\t1\n")
    assert index.containers(2, 0, 10) == index.containers(4, 0, 10) == []


def test_containers_and_line_ends() -> None:
    plain = b"0\t1\t5\t100\t1\t1\n0\t3\t5\t300\t1\t1\n"
    for data in (
        plain,
        plain[:-1],
        plain.replace(b"\n", b"\r\n"),
        gzip.compress(plain),
        gzip.compress(plain[:14]) + gzip.compress(plain[14:]),
    ):
        assert parse_crai(data).offsets == [100, 300]


@pytest.mark.parametrize(
    "data",
    [
        b"0\t1\t5\t100\t1\n",
        b"0\t1\t5\t100\t1\t1\t1\n",
        b"0 1 5 100 1 1\n",
        b"0\t1\t5\t100\t1\tx\n",
        b"0\t1\t5\t100\t1\t\n",
        b"0\t1\t5\t100\t1\t-1\n",
        b"0\t1\t5\t-100\t1\t1\n",
        b"-3\t1\t5\t100\t1\t1\n",
        b"-\t1\t5\t100\t1\t1\n",
        b"1-1\t1\t5\t100\t1\t1\n",
        b"0\t1\t5\t25\t1\t1\n",
        b"0\t1\t5\t9999999999999999999999\t1\t1\n",
        b"\n",
        b"0\t1\t5\n100\t1\t1\n",
        b"0\t1\t5\t100\t1\t1\n\n",
        b"\x00",
        gzip.compress(b"0\t1\t5\t100\t1\t1\n", mtime=0)[:-5],
        b"\x1f\x8bnonsense",
    ],
)
@pytest.mark.security("TI2")
def test_bad_input(data: bytes) -> None:
    with pytest.raises(CorruptData):
        parse_crai(data)


@pytest.mark.security("TI3")
def test_bomb() -> None:
    with pytest.raises(CorruptData):
        parse_crai(gzip.compress(bytes(50_000_000)), limit=1_000_000)
    with pytest.raises(CorruptData):
        parse_crai(b"0\t1\t5\t100\t1\t1\n" * 10, limit=100)


@pytest.mark.security("TI10")
def test_mutations_raise_nothing_but_corrupt_data() -> None:
    draw = random.Random(2)
    packed = gzip.compress(text(draw_rows(draw)))
    for _ in range(500):
        data = bytearray(packed if draw.random() < 0.5 else gzip.decompress(packed))
        for _ in range(3):
            data[draw.randrange(len(data))] = draw.choice(b"\x00\t\n-19\xff")
        with suppress(CorruptData):
            parse_crai(bytes(data))


def test_a_hundred_thousand_rows_load_and_answer_fast() -> None:
    rows = [(n // 4000, 1 + 29_000 * (n % 4000), 30_000, 1000 + n, 800, 9) for n in range(100_000)]
    packed = gzip.compress(text(rows), 1)
    started = time.process_time()
    index = parse_crai(packed)
    assert time.process_time() - started < 0.5  # 0.05 s on an idle machine
    started = time.process_time()
    for n in range(1000):
        assert len(index.containers(n % 25, 29_000 * n, 29_000 * n + 500)) <= 2
    assert time.process_time() - started < 0.1
