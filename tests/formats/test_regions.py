from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from formats.regions import UNBOUNDED, Interval, merge

positions = st.integers(0, 60)
intervals = st.lists(st.builds(Interval, st.integers(0, 2), positions, positions), max_size=12)


def bases(found: list[Interval] | tuple[Interval, ...]) -> set[tuple[int, int]]:
    return {(each.reference, at) for each in found for at in range(each.start, each.end)}


@given(intervals)
def test_merged_intervals_cover_the_same_bases(given_: list[Interval]) -> None:
    merged = merge(given_)
    assert bases(merged) == bases(given_)
    assert list(merged) == sorted(merged)
    for before, after in pairwise(merged):
        assert before.reference < after.reference or before.end < after.start
    assert all(each.start < each.end for each in merged)
    assert merge(merged) == merge(reversed(merged)) == merged


def test_touching_intervals_join_and_empty_ones_vanish() -> None:
    assert merge([Interval(0, 5, 9), Interval(0, 0, 5), Interval(0, 20, 20)]) == (
        Interval(0, 0, 9),
    )
    assert merge([Interval(0, 5, 9), Interval(1, 9, 10)]) == (
        Interval(0, 5, 9),
        Interval(1, 9, 10),
    )
    assert merge([Interval(0, 7, UNBOUNDED), Interval(0, 3, 8)]) == (Interval(0, 3, UNBOUNDED),)
    assert merge([]) == ()
