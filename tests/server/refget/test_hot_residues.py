"""Blocks in memory: right at their borders, bounded, and given while a file holds them."""

import random
import time
import tracemalloc

import pytest

from server.refget.hot_residues import BLOCK, OVERHEAD, HotResidues
from tests.server.refget.sequence_files import residues

TEXT = residues(3 * BLOCK + 1000)
LATER = time.monotonic() + 1000


@pytest.fixture
def hot() -> HotResidues:
    opened = HotResidues(4 * (BLOCK + OVERHEAD))
    opened.trust(b"x", LATER)
    return opened


def test_what_was_put_comes_back(hot: HotResidues) -> None:
    hot.put(b"x", 0, TEXT)
    draw = random.Random(1)
    starts = [0, BLOCK - 1, BLOCK, 2 * BLOCK - 500, len(TEXT) - 1]
    starts += [draw.randrange(len(TEXT)) for _ in range(200)]
    for start in starts:
        end = min(start + draw.randrange(1, BLOCK), len(TEXT))
        assert hot.get(b"x", start, end) == TEXT[start:end]
    assert hot.get(b"x", 10, 10 + 2 * BLOCK) is None  # larger than anybody asks for
    assert hot.get(b"y", 0, 10) is None


def test_half_of_it_is_nothing(hot: HotResidues) -> None:
    hot.put(b"x", BLOCK, TEXT[BLOCK : 2 * BLOCK])
    assert hot.get(b"x", BLOCK + 1, 2 * BLOCK) == TEXT[BLOCK + 1 : 2 * BLOCK]
    assert hot.get(b"x", BLOCK - 1, BLOCK + 1) is None
    assert hot.get(b"x", 2 * BLOCK - 1, 2 * BLOCK + 1) is None


def test_nothing_without_trust(hot: HotResidues) -> None:
    hot.put(b"x", 0, TEXT)
    hot.trust(b"x", time.monotonic() - 1)
    assert hot.get(b"x", 0, 10) is None
    hot.trust(b"x", LATER)
    assert hot.get(b"x", 0, 10) == TEXT[:10]


def test_the_oldest_give_way(hot: HotResidues) -> None:
    for number in range(20):
        digest = bytes([number])
        hot.trust(digest, LATER)
        hot.put(digest, 0, TEXT[:BLOCK])
    assert [number for number in range(20) if hot.get(bytes([number]), 0, 1)] == [16, 17, 18, 19]
    assert hot._size == 4 * (BLOCK + OVERHEAD)
    hot.put(b"\x13", 0, TEXT[:BLOCK])
    assert hot._size == 4 * (BLOCK + OVERHEAD)
    nothing = HotResidues(0)
    nothing.put(b"x", 0, TEXT)
    assert nothing._size == 0


def test_short_sequences_take_no_more_memory_than_there_is() -> None:
    small = HotResidues(4 << 20)
    tracemalloc.start()
    for number in range(30_000):
        small.put(b"%024d" % number, 0, b"AC%d" % number)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 << 20 < taken < 5 << 20


def test_popularity(hot: HotResidues) -> None:
    assert [hot.is_popular(b"x", 100 + at) for at in range(5)] == [False] * 3 + [True] * 2
    assert not hot.is_popular(b"x", BLOCK)


def test_popularity_where_another_block_would_give_way() -> None:
    full = HotResidues(2 * (BLOCK + OVERHEAD))
    full.put(b"x", 0, TEXT[: 2 * BLOCK])
    answers = [full.is_popular(b"y", 0) for _ in range(100)]
    assert answers[:10] == [False] * 10
    assert answers[-1]
