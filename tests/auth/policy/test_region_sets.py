import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.policy.region_sets import EVERYTHING, NOTHING, PLACED, RegionSet
from formats.regions import UNBOUNDED, Region

LENGTH = 12
NAMES = ("a", "b", "c")


def regions(*pairs: tuple[int, int], name: str = "a") -> list[Region]:
    return [Region(name, start, end) for start, end in pairs]


UNION = RegionSet.of(regions((10, 20), (20, 30), (35, 40), (5, 5)))


def test_the_algebra_of_the_specification() -> None:
    assert list(UNION.regions()) == regions((10, 30), (35, 40))
    assert UNION.covers(regions((12, 28)))
    assert not UNION.covers(regions((12, 31)))
    gapped = RegionSet.of(regions((10, 20), (20, 30), (31, 40)))
    assert not gapped.covers(regions((19, 36)))
    assert UNION.clip(regions((15, 38)), ["a"]) == tuple(regions((15, 30), (35, 38)))


@pytest.mark.security("TR4")
@pytest.mark.parametrize("start", [9, 10, 11])
@pytest.mark.parametrize("end", [29, 30, 31])
def test_each_border_by_one_base(start: int, end: int) -> None:
    assert UNION.covers(regions((start, end))) is (start >= 10 and end <= 30)


@pytest.mark.security("TR4")
@pytest.mark.parametrize(
    ("asked", "has", "some"),
    [
        ((9, 10), False, False),
        ((30, 31), False, False),
        ((29, 30), True, True),
        ((30, 35), False, False),
        ((34, 36), False, True),
        ((0, UNBOUNDED), False, True),
        ((7, 7), True, False),
    ],
)
def test_touching(asked: tuple[int, int], has: bool, some: bool) -> None:
    assert UNION.covers(regions(asked)) is has
    assert UNION.meets(regions(asked)) is some


@pytest.mark.security("TR5")
def test_adjacent_and_one_base_apart() -> None:
    first, second = (RegionSet.of(regions(each)) for each in ((10, 20), (20, 30)))
    apart = RegionSet.of(regions((21, 30)))
    assert first.union(second).covers(regions((15, 25)))
    assert not first.union(apart).covers(regions((15, 25)))


def test_whole_and_unplaced() -> None:
    assert EVERYTHING.is_whole
    assert not PLACED.is_whole
    assert PLACED.union(RegionSet.of([Region("*")])) == EVERYTHING
    assert EVERYTHING.covers(None)
    assert not PLACED.covers(None)
    assert PLACED.covers([Region("any", 5)])
    assert not PLACED.covers([Region("*")])
    assert not EVERYTHING.difference(UNION).is_whole
    assert EVERYTHING.difference(UNION).union(UNION).is_whole
    assert NOTHING.is_empty
    assert not NOTHING.meets(None)
    assert EVERYTHING.difference(EVERYTHING) == NOTHING


def test_for_records_that_are_all_placed() -> None:
    assert PLACED.for_placed_records().is_whole
    assert EVERYTHING.for_placed_records() is EVERYTHING
    limited = UNION.union(RegionSet.of([Region("*")]))
    assert limited.for_placed_records() == UNION
    assert UNION.for_placed_records() is UNION


def test_clip_is_in_the_order_of_the_header() -> None:
    found = EVERYTHING.difference(RegionSet.of(regions((5, 10), name="b")))
    asked = [Region("*"), Region("z", 1, 2), Region("b", 0, 20), Region("a", 3, 9)]
    assert found.clip(asked, ["a", "b"]) == (
        Region("a", 3, 9),
        Region("b", 0, 5),
        Region("b", 10, 20),
        Region("z", 1, 2),
        Region("*"),
    )
    assert found.clip(None, ["b", "a"]) == (
        Region("b", 0, 5),
        Region("b", 10),
        Region("a"),
        Region("*"),
    )


def test_bases() -> None:
    assert UNION.bases == 25
    assert NOTHING.bases == 0
    assert PLACED.bases is None
    assert RegionSet.of([Region("a", 5)]).bases is None


# The oracle: positions one by one on three references, the unplaced reads, and "d", which stands
# for all references that nothing names; a position at LENGTH stands for all that follow.

spans = st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH) | st.just(UNBOUNDED))
some_regions = st.lists(
    st.builds(lambda name, span: Region(name, *span), st.sampled_from(NAMES), spans)
    | st.just(Region("*")),
    max_size=6,
)


def positions(asked: list[Region]) -> set[tuple[str, int]]:
    return {
        (each.reference_name, at)
        for each in asked
        for at in range(
            0 if each.reference_name == "*" else each.start,
            1 if each.reference_name == "*" else min(each.end, LENGTH + 1),
        )
    }


ALL = {(name, at) for name in (*NAMES, "d") for at in range(LENGTH + 1)}


@st.composite
def sets(draw: st.DrawFn) -> tuple[RegionSet, set[tuple[str, int]]]:
    asked = draw(some_regions)
    made, known = RegionSet.of(asked), positions(asked)
    for _ in range(draw(st.integers(0, 3))):
        other = draw(some_regions)
        second, theirs = RegionSet.of(other), positions(other)
        if draw(st.booleans()):
            second, theirs = second.union(PLACED), theirs | ALL
        match draw(st.sampled_from(["union", "difference", "intersection", "reversed"])):
            case "union":
                made, known = made.union(second), known | theirs
            case "difference":
                made, known = made.difference(second), known - theirs
            case "intersection":
                made, known = made.intersection(second), known & theirs
            case _:
                made, known = second.difference(made), theirs - known
    return made, known


def held(made: RegionSet) -> set[tuple[str, int]]:
    every = {(name, at) for name, at in ALL if made.contains(Region(name, at, at + 1))}
    return every | ({("*", 0)} if made.unplaced else set())


@given(sets(), some_regions)
def test_against_positions(
    drawn: tuple[RegionSet, set[tuple[str, int]]], asked: list[Region]
) -> None:
    made, known = drawn
    wanted = positions(asked)
    assert held(made) == known
    assert made.covers(asked) is (wanted <= known)
    assert made.meets(asked) is bool(wanted & known)
    clipped = made.clip(asked, NAMES)
    assert positions(list(clipped)) == wanted & known
    assert RegionSet.of(clipped) == RegionSet.of(asked).intersection(made)
    placed = [each for each in clipped if each.reference_name != "*"]
    assert placed == sorted(placed, key=lambda each: (each.reference_name, each.start))
    assert all(
        one.reference_name != other.reference_name or one.end < other.start
        for one, other in itertools.pairwise(placed)
    )


@given(sets(), sets())
def test_equal_sets_are_equal(
    one: tuple[RegionSet, set[tuple[str, int]]], other: tuple[RegionSet, set[tuple[str, int]]]
) -> None:
    assert (one[0] == other[0]) is (one[1] == other[1])
    assert one[0].is_empty is (not one[1])


def test_a_denial_by_a_name_that_a_file_does_not_know() -> None:
    """`17` may be what the policy calls `chr17`: such a file cannot be judged by names alone."""
    everything = RegionSet({}, elsewhere=True, unplaced=True)
    denied = everything.difference(RegionSet.of([Region("chr17", 10, 20)]))
    assert denied.fits(["chr16", "chr17"])
    assert not denied.fits(["16", "17"])
    assert everything.fits(["16", "17"])
    assert RegionSet.of([Region("chr17", 10, 20)]).fits(["16", "17"])
