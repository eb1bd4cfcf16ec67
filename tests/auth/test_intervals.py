import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.intervals import pack, packed_size, unpack
from formats.regions import UNBOUNDED, Interval, merge

raw = st.tuples(
    st.integers(0, 5), st.integers(0, 2**32 - 1), st.integers(1, 2**32) | st.just(UNBOUNDED)
).map(lambda t: Interval(t[0], t[1], min(t[1] + t[2], UNBOUNDED)))


@given(st.lists(raw, max_size=30).map(merge))
def test_round_trip(intervals: tuple[Interval, ...]) -> None:
    packed = pack(intervals)
    assert unpack(packed) == intervals
    pairs = zip((None, *intervals), intervals, strict=False)
    assert len(packed) == sum(packed_size(before, interval) for before, interval in pairs)


@given(st.binary(max_size=40))
def test_any_bytes_are_intervals_or_refused(data: bytes) -> None:
    try:
        intervals = unpack(data)
    except ValueError:
        return
    assert all(interval.start < interval.end for interval in intervals if interval.start < 2**59)


def test_references_in_the_order_of_the_file() -> None:
    intervals = (Interval(7, 5, 9), Interval(2, 8, UNBOUNDED), Interval(300, 0, 1))
    assert unpack(pack(intervals)) == intervals


def test_small() -> None:
    panel = tuple(Interval(0, s, s + 200) for s in range(1_000_000, 101_000_000, 100_000))
    assert len(pack(panel)) < 6 * len(panel)


@pytest.mark.parametrize(
    "intervals",
    [
        (Interval(0, 5, 5),),
        (Interval(0, 5, 4),),
        (Interval(0, -1, 4),),
        (Interval(-1, 1, 4),),
        (Interval(0, 5, 9), Interval(0, 8, 10)),
        (Interval(0, 5, UNBOUNDED), Interval(0, 7, 9)),
    ],
)
def test_refuses_what_is_not_merged(intervals: tuple[Interval, ...]) -> None:
    with pytest.raises(ValueError, match="not merged"):
        pack(intervals)


@pytest.mark.parametrize("data", [b"\x80", b"\x02", b"\x01\x00", b"\xff" * 20, b"\x01"])
def test_refuses_what_ends_early(data: bytes) -> None:
    with pytest.raises(ValueError, match="packed"):
        unpack(data)
