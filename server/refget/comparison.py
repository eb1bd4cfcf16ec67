"""How two collections differ (refget Sequence Collections 1.0, section 3.3).

In time that grows with their sizes, not with the product: elements are found by hashing.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from server.refget.seqcol import canonical, canonical_pair

_TRANSIENT = "sorted_name_length_pairs"


def compare(
    a: Mapping[str, object],
    b: Mapping[str, object],
    *,
    a_digest: str,
    b_digest: str | None,
    strict: bool = False,
) -> dict[str, object]:
    """The comparison of two collections at level 2, with their digests, as the JSON of the answer.

    Bytes among the elements are canonical JSON already.

    The compliance suite and the specification differ, and the first is what is done unless
    `strict`. Suite: the order of a single common element is the same; of duplicates only the number
    counts; transient attributes are not listed. Specification: the order of a single element, and
    of duplicates that differ, is undefined (null); transient attributes are listed, not counted.
    """
    listed_a, listed_b = _listed(a, strict), _listed(b, strict)
    arrays_a, arrays_b = _arrays(a), _arrays(b)
    counts: dict[str, int] = {}
    same_order: dict[str, bool | None] = {}
    for name in sorted(arrays_a.keys() & arrays_b.keys()):
        counts[name], same_order[name] = _compare_elements(arrays_a[name], arrays_b[name], strict)
    return {
        "digests": {"a": a_digest, "b": b_digest},
        "attributes": {
            "a_only": sorted(listed_a - listed_b),
            "b_only": sorted(listed_b - listed_a),
            "a_and_b": sorted(listed_a & listed_b),
        },
        "array_elements": {
            "a_count": {name: len(arrays_a[name]) for name in sorted(arrays_a)},
            "b_count": {name: len(arrays_b[name]) for name in sorted(arrays_b)},
            "a_and_b_count": counts,
            "a_and_b_same_order": same_order,
        },
    }


def _listed(level2: Mapping[str, object], strict: bool) -> set[str]:
    # Level 2 does not hold the transient attribute; who has the pairs has it too.
    return {*level2, _TRANSIENT} if strict and "name_length_pairs" in level2 else {*level2}


def _arrays(level2: Mapping[str, object]) -> dict[str, Sequence[object]]:
    """The attributes whose elements are counted: none that passes through as it is."""
    return {name: value for name, value in level2.items() if isinstance(value, list | tuple)}


def _compare_elements(
    a: Sequence[object], b: Sequence[object], strict: bool
) -> tuple[int, bool | None]:
    """How many elements are common, and whether they are in the same order; None: undefined."""
    keys_a, keys_b = _keys(a), _keys(b)
    least = 2 if strict else 1
    if keys_a == keys_b:
        return len(keys_a), True if len(keys_a) >= least else None
    found_a = list(filter(set(keys_b).__contains__, keys_a))
    common = set(found_a)
    found_b = list(filter(common.__contains__, keys_b)) if common else []
    count = min(len(found_a), len(found_b))
    if count < least or len(found_a) != len(found_b):
        return count, None
    if found_a == found_b:
        return count, True
    duplicates = len(common) < count
    if strict and duplicates and Counter(found_a) != Counter(found_b):
        return count, None
    return count, False


def _keys(elements: Sequence[object]) -> list[Hashable]:
    """What is equal, and hashes equally, exactly when the canonical JSON of two elements is."""
    if set(map(type, elements)) <= {str, int, bytes}:
        return list(elements)
    return [_key(element) for element in elements]


def _key(element: object) -> Hashable:
    if type(element) is dict and len(element) == 2:  # pairs, of which there are many
        length, name = element.get("length"), element.get("name")
        if type(length) is int and type(name) is str:
            return canonical_pair(name, length)
    return element if type(element) in (str, int, bytes) else canonical(element)
