"""Interval-union accounting, against sets of positions."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.quota import (
    Coverage,
    QuotaExceeded,
    Span,
    coverage_by_name,
    day_of,
    minute_of,
    until_next_day,
    until_next_minute,
)
from formats.regions import UNBOUNDED

SPANS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), max_size=12)


def positions(spans: list[Span] | tuple[Span, ...]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


def merged(found: set[int]) -> tuple[Span, ...]:
    starts = sorted(at for at in found if at - 1 not in found)
    ends = sorted(at + 1 for at in found if at + 1 not in found)
    return tuple(zip(starts, ends, strict=True))


@given(st.lists(SPANS, max_size=6))
def test_what_is_covered_after_many_requests(requests: list[list[Span]]) -> None:
    coverage, oracle = Coverage(), set[int]()
    for spans in requests:
        before = coverage
        coverage = coverage.extended(spans)
        new = positions(spans) - oracle
        assert coverage.bases - before.bases == len(new)
        assert before.spans == merged(oracle), "what was before is left as it was"
        oracle |= new
        assert coverage.spans == merged(oracle)
        assert Coverage.unpack(coverage.pack()).spans == coverage.spans


@given(SPANS, SPANS)
@pytest.mark.security("L25")
def test_differencing_is_charged_the_union(first: list[Span], second: list[Span]) -> None:
    """A, and then A with B, cost what the union costs, however it is cut."""
    together = Coverage(first + second)
    apart = Coverage(first).extended(second).extended(first)
    assert apart.spans == together.spans
    assert Coverage(first).union(Coverage(second)).spans == together.spans
    assert together.union(together).spans == together.spans
    assert apart.bases == len(positions(first) | positions(second))


@given(st.lists(SPANS, max_size=8), st.integers(1, 6))
def test_of_too_many_pieces_the_gaps_count_as_had(requests: list[list[Span]], most: int) -> None:
    coverage, oracle = Coverage(most_pieces=most), set[int]()
    for spans in requests:
        coverage = coverage.extended(spans)
        oracle |= positions(spans)
        assert len(coverage.spans) <= most
        assert oracle <= positions(coverage.spans)
        assert coverage.spans == merged(positions(coverage.spans))
        if oracle:
            assert coverage.spans[0][0] == min(oracle)
            assert coverage.spans[-1][1] == max(oracle) + 1


def test_the_narrowest_gaps_are_closed() -> None:
    coverage = Coverage([(0, 10), (11, 20), (500, 600), (605, 700), (900, 901)], most_pieces=4)
    assert coverage.spans == ((0, 20), (500, 700), (900, 901))


@pytest.mark.parametrize(
    ("spans", "size"),
    [
        ([], 1),
        ([(0, (1 << 32) - 1)], 9),
        ([(0, 1 << 32)], 17),
        ([(5, UNBOUNDED)], 17),
        ([(at, at + 1) for at in range(0, 2000, 2)], 8001),
    ],
)
def test_packed(spans: list[Span], size: int) -> None:
    packed = Coverage(spans).pack()
    assert len(packed) == size
    assert Coverage.unpack(packed).spans == tuple(spans)


@pytest.mark.parametrize("data", [b"", b"I\0", b"I\0\0\0\0", b"Z", b"\xff\0\0", b"Q" + b"\0" * 12])
def test_not_packed(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Coverage.unpack(data)


def test_a_genome_wide_panel_stays_small() -> None:
    draw = random.Random(5)
    starts = sorted(draw.sample(range(0, 248_000_000, 3000), 2000))
    coverage = Coverage((start, start + 200) for start in starts)
    assert len(coverage.pack()) == 16_001
    assert coverage.bases == 400_000


def test_intervals_of_a_request() -> None:
    found = coverage_by_name(
        [("chr2", 5, 9), ("chr1", 10, 20), ("chr1", 15, 30), ("*", 0, UNBOUNDED), ("chr3", 7, 7)]
    )
    assert {name: coverage.spans for name, coverage in found.items()} == {
        "chr2": ((5, 9),),
        "chr1": ((10, 30),),
    }


@pytest.mark.parametrize(
    ("now", "day", "until"),
    [
        (0, 1, 86_400),
        (86_399, 1, 1),
        (86_399.5, 1, 1),
        (86_400, 2, 86_400),
        (1_790_000_000.25, 20718, 35_200),
    ],
)
def test_days(now: float, day: int, until: int) -> None:
    assert (day_of(now), until_next_day(now)) == (day, until)


@pytest.mark.parametrize(
    ("now", "minute", "until"), [(0, 1, 60), (59.99, 1, 1), (60, 2, 60), (90, 2, 30)]
)
def test_minutes(now: float, minute: int, until: int) -> None:
    assert (minute_of(now), until_next_minute(now)) == (minute, until)


def test_what_is_said_of_an_exceeded_quota() -> None:
    error = QuotaExceeded("quota.bases_per_day", 30)
    assert (error.rule, error.retry_after, str(error)) == (
        "quota.bases_per_day",
        30,
        "quota.bases_per_day",
    )
    assert QuotaExceeded("quota.bases_per_request").retry_after == 0
