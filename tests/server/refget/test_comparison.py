import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.refget.comparison import compare
from server.refget.seqcol import Collection, canonical

SEQUENCES = {
    "TTGGGGAA": "SQ.iYtREV555dUFKg2_agSJW6suquUyPpMw",
    "GGAA": "SQ.YBbVX0dLKG1ieEDCiMmkrTZFt_Z5Vdaj",
    "GCGC": "SQ.AcLxtBuKEPk_7PGE_H4dGElwZHCujwH6",
}
ATTRIBUTES = ["lengths", "name_length_pairs", "names", "sequences", "sorted_sequences"]


def collection(records: str) -> Collection:
    names, bases = (records.split()[at::2] for at in (0, 1))
    return Collection(names, [len(each) for each in bases], [SEQUENCES[each] for each in bases])


BASE = collection("chrX TTGGGGAA chr1 GGAA chr2 GCGC")


# The five fixtures of the compliance suite: what is in b, what is common, in the same order.
@pytest.mark.parametrize(
    ("records", "sizes", "common", "same", "strictly"),
    [
        (
            "X TTGGGGAA 1 GGAA 2 GCGC",
            3,
            (3, 0, 0, 3, 3),
            (True, None, None, True, True),
            (True, None, None, True, True),
        ),
        (
            "chr1 GGAA chr2 GCGC chrX TTGGGGAA",
            3,
            (3, 3, 3, 3, 3),
            (False, False, False, False, True),
            (False, False, False, False, True),
        ),
        (
            "chr2 TTGGGGAA chr1 GGAA chrX GCGC",
            3,
            (3, 1, 3, 3, 3),
            (True, True, False, True, True),
            (True, None, False, True, True),
        ),
        (
            "chrX TTGGGGAA chr1 GGAA",
            2,
            (2, 2, 2, 2, 2),
            (None, True, True, True, True),
            (None, True, True, True, True),
        ),
        (
            "chrX TTGGGGAA chr2 GGAA chr1 GCGC",
            3,
            (3, 3, 3, 3, 3),
            (True, False, False, True, True),
            (True, False, False, True, True),
        ),
        (
            "chrX TTGGGGAA chr1 GGAA chr2 GCGC",  # the same
            3,
            (3, 3, 3, 3, 3),
            (True, True, True, True, True),
            (True, True, True, True, True),
        ),
    ],
    ids=["different_names", "different_order", "pair_swap", "subset", "swap_wo_coords", "base"],
)
def test_the_fixtures_of_the_compliance_suite(
    records: str,
    sizes: int,
    common: tuple[int, ...],
    same: tuple[bool | None, ...],
    strictly: tuple[bool | None, ...],
) -> None:
    other = collection(records)
    a, b = BASE.level2(), other.level2()
    expected: dict[str, Any] = {
        "digests": {"a": BASE.digest, "b": other.digest},
        "attributes": {"a_only": [], "b_only": [], "a_and_b": ATTRIBUTES},
        "array_elements": {
            "a_count": dict.fromkeys(ATTRIBUTES, 3),
            "b_count": dict.fromkeys(ATTRIBUTES, sizes),
            "a_and_b_count": dict(zip(ATTRIBUTES, common, strict=True)),
            "a_and_b_same_order": dict(zip(ATTRIBUTES, same, strict=True)),
        },
    }
    found = compare(a, b, a_digest=BASE.digest, b_digest=other.digest)
    assert found == expected
    assert canonical(found) == canonical(expected)
    listed = sorted([*ATTRIBUTES, "sorted_name_length_pairs"])
    expected["attributes"]["a_and_b"] = listed
    expected["array_elements"]["a_and_b_same_order"] = dict(zip(ATTRIBUTES, strictly, strict=True))
    found = compare(a, b, a_digest=BASE.digest, b_digest=other.digest, strict=True)
    assert canonical(found) == canonical(expected)


def test_attributes_of_one_side() -> None:
    a = {"names": ["a", "b"], "sequences": ["x"], "name_length_pairs": []}
    b = {"names": ["b"], "masks": ["m", "n"], "author": "somebody", "passed": {"on": [1]}}
    found = compare(a, b, a_digest="A", b_digest=None)
    assert found["digests"] == {"a": "A", "b": None}
    assert found["attributes"] == {
        "a_only": ["name_length_pairs", "sequences"],
        "b_only": ["author", "masks", "passed"],
        "a_and_b": ["names"],
    }
    assert found["array_elements"] == {
        "a_count": {"name_length_pairs": 0, "names": 2, "sequences": 1},
        "b_count": {"masks": 2, "names": 1},
        "a_and_b_count": {"names": 1},
        "a_and_b_same_order": {"names": True},
    }
    strictly = compare(a, b, a_digest="A", b_digest=None, strict=True)["attributes"]
    assert isinstance(strictly, dict)
    assert strictly["a_only"] == ["name_length_pairs", "sequences", "sorted_name_length_pairs"]


def elements(
    a: Sequence[object], b: Sequence[object], *, strict: bool = False
) -> tuple[object, object]:
    found: Any = compare({"x": a}, {"x": b}, a_digest="", b_digest="", strict=strict)
    arrays = found["array_elements"]
    assert (arrays["a_count"], arrays["b_count"]) == ({"x": len(a)}, {"x": len(b)})
    return arrays["a_and_b_count"]["x"], arrays["a_and_b_same_order"]["x"]


@pytest.mark.parametrize(
    ("a", "b", "suite", "strictly"),
    [
        ([], [], (0, None), (0, None)),
        ([1], [], (0, None), (0, None)),
        ([1], [1], (1, True), (1, None)),
        ([1, 2], [2, 3], (1, True), (1, None)),
        ([1, 2], [1, 2], (2, True), (2, True)),
        ([1, 2], [2, 1], (2, False), (2, False)),
        ([1, 9, 2], [8, 1, 2, 7], (2, True), (2, True)),
        # duplicates, balanced
        ([1, 1, 2], [1, 1, 2], (3, True), (3, True)),
        ([1, 1, 2], [1, 2, 1], (3, False), (3, False)),
        # and not
        ([1, 1, 2], [1, 2], (2, None), (2, None)),
        ([1, 1], [1], (1, None), (1, None)),
        ([1, 1, 2], [1, 2, 2], (3, False), (3, None)),
        # what is not the same
        ([1], ["1"], (0, None), (0, None)),
        ([1, 0], [True, False], (0, None), (0, None)),
        ([None, "null"], ["null", [None]], (1, True), (1, None)),
        ([{"a": 1, "b": 2}, {}], [{}, {"b": 2, "a": 1}], (2, False), (2, False)),
        (
            [{"name": "a", "length": 1}, {"name": "a", "length": True}],
            [{"length": 1, "name": "a"}, 5, {"name": "a", "length": 1, "x": 0}],
            (1, True),
            (1, None),
        ),
    ],
)
def test_elements(a: list[object], b: list[object], suite: object, strictly: object) -> None:
    assert elements(a, b) == suite
    assert elements(a, b, strict=True) == strictly


def naive(a: Sequence[object], b: Sequence[object], strict: bool) -> tuple[int, bool | None]:
    """By scanning the lists, as the specification reads (section 3.3)."""
    a = [json.dumps(each, sort_keys=True) for each in a]
    b = [json.dumps(each, sort_keys=True) for each in b]
    found_a, found_b = [each for each in a if each in b], [each for each in b if each in a]
    count = min(len(found_a), len(found_b))
    if count == 0 or (strict and count < 2) or len(found_a) != len(found_b):
        return count, None
    if strict and any(found_a.count(each) != found_b.count(each) for each in found_a):
        return count, None
    return count, found_a == found_b


_ELEMENTS: st.SearchStrategy[object] = (
    st.integers(0, 4)
    | st.sampled_from(["a", "b", "1", '"a"'])
    | st.booleans()
    | st.fixed_dictionaries({"name": st.sampled_from("ab"), "length": st.integers(0, 2)})
    | st.dictionaries(st.sampled_from("ab"), st.integers(0, 1))
)


@given(a=st.lists(_ELEMENTS, max_size=6), b=st.lists(_ELEMENTS, max_size=6), strict=st.booleans())
def test_elements_as_if_scanned(a: list[object], b: list[object], strict: bool) -> None:
    assert elements(a, b, strict=strict) == naive(a, b, strict)


@given(data=st.data(), strict=st.booleans())
def test_permutations_as_if_scanned(data: st.DataObject, strict: bool) -> None:
    a = data.draw(st.lists(_ELEMENTS, min_size=1, max_size=5))
    b = data.draw(st.permutations(a))
    assert elements(a, b, strict=strict) == naive(a, b, strict)
