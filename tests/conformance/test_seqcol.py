"""Digests and comparisons of collections, by what the specification and its suite know."""

import pytest

from conformance.seqcol import canonical, digest, in_common, pairs, sorted_pairs

NAMES, LENGTHS = ["chrX", "chr1", "chr2"], [8, 4, 4]
PAIRS = [{"length": length, "name": name} for name, length in zip(NAMES, LENGTHS, strict=True)]


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (NAMES, "Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG"),
        (LENGTHS, "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX"),
        ([8.0, 4.0, 4.0], "cGRMZIb3AVgkcAfNv39RN7hnT5Chk7RX"),
        (["染色体-1", "染色体-2", "染色体-3"], "EiYgJtUfGyad7wf5atL5OG4Fkzohp2qe"),
        (PAIRS, "B9MESWM8k-hK_OeQK8bZNAG74pLY0Ujq"),
        (
            {
                "sequences": "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
                "names": "Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG",
            },
            "XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk",
        ),
    ],
)
def test_digests_are_those_of_the_specification(value: object, known: str) -> None:
    assert digest(value) == known


def test_pairs_are_those_of_the_specification() -> None:
    assert pairs(NAMES, LENGTHS) == PAIRS
    assert digest(sorted_pairs(NAMES, LENGTHS)) == "zjM1Ie9m0zFbqsAnZ6jAJSXuFpKTr40J"


def test_canonical_json_has_no_spaces_and_sorted_keys() -> None:
    assert canonical({"name": "é", "length": 1}) == '{"length":1,"name":"é"}'.encode()


@pytest.mark.parametrize(
    ("a", "b", "counts", "orders"),
    [
        ([1, 2, 3], [1, 2, 3], {3}, {True}),
        ([1, 2, 3], [3, 1, 2], {3}, {False}),
        ([1, 2, 3], [2, 3, 4], {2}, {True}),
        ([1, 2], [3, 4], {0}, {None}),
        ([1, 2], [2, 3], {1}, {None, True}),
        ([8, 4, 4], [8, 4], {2}, {None, False}),
        ([8, 4, 4], [8, 8, 4], {2, 3}, {None, False}),
        ([8, 4, 4], [4, 8, 4], {3}, {False}),
        ([{"a": 1, "b": 2}, 5], [5, {"b": 2, "a": 1}], {2}, {False}),
    ],
)
def test_what_arrays_have_in_common(
    a: list[object], b: list[object], counts: set[int], orders: set[bool | None]
) -> None:
    assert in_common(a, b) == (counts, orders)
