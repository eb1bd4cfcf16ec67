"""How collections differ (Sequence Collections 1.0.0, 3.3 Comparison)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.cases.seqcol_collection import UNKNOWN
from conformance.http import Answer
from conformance.seqcol import Collection, canonical, digest, in_common, pairs
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD
CLAUSE = "Sequence Collections 1.0.0, 3.3 Comparison"
SAME_ORDER = "Sequence Collections 1.0.0, 3.3 Comparison: Same-order specification"
_KEYS = {
    "digests": {"a", "b"},
    "attributes": {"a_only", "b_only", "a_and_b"},
    "array_elements": {"a_count", "b_count", "a_and_b_count", "a_and_b_same_order"},
}
_NOT_OFFERED = (404, 405, 501)
_MOST_POSTED = 1000
_DERIVED = {"name_length_pairs", "sorted_name_length_pairs", "sorted_sequences"}
"""What a server may add to a posted collection, and of transient ones may list or not: about these
the specification and its suite differ."""


@case("seqcol.comparison.offered", SHOULD, CLAUSE)
def offered(site: Site) -> None:
    """Two collections of the server can be compared."""
    _get(site, site.seqcol.known[0], site.seqcol.known[-1]).expect(200)


@case("seqcol.comparison.post-offered", SHOULD, CLAUSE)
def post_offered(site: Site) -> None:
    """A collection can be compared with one that is posted."""
    for each in site.seqcol.known:
        site.seqcol.post(f"comparison/{each.digest}", _posted(each)).expect(200)


@case("seqcol.comparison.keys", MUST, CLAUSE)
def keys(site: Site) -> None:
    """The answer has `digests`, `attributes` and `array_elements`, each with all it consists of."""
    for answer in _answers(site):
        document = answer.json()
        for name, inner in _KEYS.items():
            held = document.get(name) if isinstance(document, dict) else None
            missing = inner - {*held} if isinstance(held, dict) else {"everything"}
            require(not missing, f"{answer}: {name} without {', '.join(sorted(missing))}")


@case("seqcol.comparison.digests", MUST, f"{CLAUSE}: digests")
def digests(site: Site) -> None:
    """`digests` has the digests that were asked about."""
    for a in site.seqcol.known:
        for b in site.seqcol.known:
            answer = _asked(_get(site, a, b))
            found = _part(answer, "digests")
            require(
                (found.get("a"), found.get("b")) == (a.digest, b.digest),
                f"{answer} with digests {dict(found)}",
            )


@case("seqcol.comparison.posted-digests", MUST, f"{CLAUSE}: digests")
def posted_digests(site: Site) -> None:
    """The digest of a posted collection is null, or right; that of the other is right."""
    for a, b, answer in _variants(site):
        found = _part(answer, "digests")
        inherent = site.seqcol.qualified("inherent")
        right = digest({name: digest(b[name]) for name in inherent if name in b})
        told = found.get("b") is None or found.get("b") == right
        require(found.get("a") == a.digest and told, f"{answer} with digests {dict(found)}")


@case("seqcol.comparison.values", MUST, SAME_ORDER)
def of_the_server(site: Site) -> None:
    """Collections of the server differ as their values do: one from itself in nothing."""
    for a in site.seqcol.known:
        for b in site.seqcol.known:
            for each in _arrays(_asked(_get(site, a, b)), _values(site, a), _values(site, b)):
                right = each.count in each.counts and each.order in each.orders
                require(right, f"{each}: {each.count!r} in common, same order: {each.order!r}")


@case("seqcol.comparison.attributes", MUST, f"{CLAUSE}: attributes")
def attributes(site: Site) -> None:
    """`attributes` tells which attributes are in both collections, and which in one alone."""
    for a in site.seqcol.known:
        b = {name: a.level2[name] for name in ("names", "lengths") if name in a.level2}
        answer = site.seqcol.post(f"comparison/{a.digest}", b)
        if answer.status != 200:
            raise Skipped(f"{answer} to one without sequences")
        found, in_a, in_b = _part(answer, "attributes"), {*a.level1} - _DERIVED, {*b}
        right = {"a_only": in_a - in_b, "b_only": in_b - in_a, "a_and_b": in_a & in_b}
        for name, wanted in right.items():
            told = {*map(str, found.get(name) or ())} - _DERIVED
            shown = [", ".join(sorted(each)) or "nothing" for each in (told, wanted)]
            require(told == wanted, f"{answer}: {name} is {shown[0]}, not {shown[1]}")


@case("seqcol.comparison.counts", MUST, f"{CLAUSE}: array_elements")
def counts(site: Site) -> None:
    """`a_count` and `b_count` are the numbers of elements of each array, on either side."""
    for a, b, answer in _variants(site):
        found = _part(answer, "array_elements")
        for side, values in (("a_count", _values(site, a)), ("b_count", b)):
            for name, value in values.items():
                if isinstance(value, list):
                    told = _at(found, side, name)
                    require(told == len(value), f"{answer}: {side} of {name} is {told!r}")


@case("seqcol.comparison.common", MUST, f"{CLAUSE}: array_elements")
def common(site: Site) -> None:
    """`a_and_b_count` is the number of elements that both arrays have."""
    for a, b, answer in _variants(site):
        for each in _arrays(answer, _values(site, a), b):
            wanted = " or ".join(map(str, sorted(each.counts)))
            require(each.count in each.counts, f"{each}: {each.count!r} in common, not {wanted}")


@case("seqcol.comparison.same-order", MUST, SAME_ORDER)
def same_order(site: Site) -> None:
    """`a_and_b_same_order` tells whether the elements that both have are in the same order."""
    for a, b, answer in _variants(site):
        for each in _arrays(answer, _values(site, a), b):
            wanted = " or ".join(sorted(map(str, each.orders)))
            require(each.order in each.orders, f"{each}: same order: {each.order!r}, not {wanted}")


@case("seqcol.comparison.sorted", SHOULD, "Sequence Collections compliance suite, comparisons")
def sorted_lists(site: Site) -> None:
    """The lists of attributes are sorted."""
    for answer in _answers(site):
        for name, listed in _part(answer, "attributes").items():
            texts = [*map(str, listed)] if isinstance(listed, list) else []
            require(texts == sorted(texts), f"{answer}: {name} is {', '.join(texts)}")


@case("seqcol.comparison.unknown", SHOULD, "RFC 9110, 15.5.5 404 Not Found")
def unknown(site: Site) -> None:
    """404 answers digests of collections that the server does not have, on either side."""
    known = site.seqcol.known[0].digest
    _asked(_get(site, site.seqcol.known[0], site.seqcol.known[0]))
    for a, b in ((known, UNKNOWN), (UNKNOWN, known)):
        site.seqcol.get(f"comparison/{a}/{b}").expect(404)


@case("seqcol.comparison.garbage", SHOULD, "RFC 9110, 15.5.1 400 Bad Request")
def garbage(site: Site) -> None:
    """A posted text that is no collection is refused."""
    path = f"comparison/{site.seqcol.known[0].digest}"
    _asked(site.seqcol.post(path, _posted(site.seqcol.known[0])))
    for document in ([1, 2], "collection", {"names": "chr1", "lengths": 5}):
        answer = site.seqcol.post(path, document)
        require(400 <= answer.status < 500, f"{answer} to {document!r}, not 400")


def _get(site: Site, a: Collection, b: Collection) -> Answer:
    return site.seqcol.get(f"comparison/{a.digest}/{b.digest}")


def _asked(answer: Answer) -> Answer:
    """An answer that holds a comparison. Raises `Skipped` when the server has none."""
    if answer.status in _NOT_OFFERED:
        raise Skipped(str(answer))
    return answer.expect(200)


def _answers(site: Site) -> Iterator[Answer]:
    """Comparisons in both ways, or the one that is offered. Raises `Skipped` when none is."""
    got = _get(site, site.seqcol.known[0], site.seqcol.known[-1])
    if got.status not in _NOT_OFFERED:
        yield got.expect(200)
    try:
        for _, _, answer in _variants(site):
            yield answer
    except Skipped:
        if got.status != 200:
            raise


def _variants(site: Site) -> Iterator[tuple[Collection, dict[str, Any], Answer]]:
    """Each collection compared with itself, and with some that differ in one thing."""
    for a in site.seqcol.known:
        whole = _posted(a)
        for b in (whole, *map(_with_pairs, _different(whole))):
            yield a, b, _asked(site.seqcol.post(f"comparison/{a.digest}", b))


def _different(b: Mapping[str, list[Any]]) -> Iterator[dict[str, list[Any]]]:
    """Without the first, the other way round, named otherwise, with names that moved on by one,
    and the first alone."""
    yield {name: value[1:] for name, value in b.items()}
    yield {name: value[::-1] for name, value in b.items()}
    yield {**b, "names": [f"other_{each}" for each in b["names"]]}
    yield {**b, "names": [*b["names"][1:], *b["names"][:1]]}
    yield {name: value[:1] for name, value in b.items()}


def _posted(collection: Collection) -> dict[str, Any]:
    """What can be made of a collection and be changed: what follows from it is made anew."""
    base = ("names", "lengths", "sequences")
    level2 = json.loads(canonical(collection.level2))
    found = {name: level2.get(name) for name in base}
    arrays = {name: each for name, each in found.items() if isinstance(each, list)}
    if {*arrays} != {*base}:
        raise Skipped(f"{collection.digest} has not all of names, lengths and sequences")
    few = {name: each[:_MOST_POSTED] for name, each in arrays.items()}
    derived = {"name_length_pairs", "sorted_sequences"} & {*level2}
    return _with_pairs({**few, **{name: [] for name in derived}})


def _values(site: Site, collection: Collection) -> dict[str, Any]:
    """What comparisons are of: transient attributes, and those passed through, do not count."""
    shared = {*collection.level1} & {*collection.level2} - site.seqcol.hidden
    return {name: collection.level2[name] for name in shared}


def _with_pairs(b: Mapping[str, list[Any]]) -> dict[str, Any]:
    """With what follows from the rest, as far as it is there."""
    made = {
        "name_length_pairs": pairs(b["names"], b["lengths"]),
        "sorted_sequences": sorted(b["sequences"]),
    }
    return {name: made.get(name, value) for name, value in b.items()}


def _part(answer: Answer, name: str) -> Mapping[str, Any]:
    document = answer.json()
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise Failed(f"{answer} without {name}")
    return found


def _at(elements: Mapping[str, Any], part: str, name: str) -> object:
    found = elements.get(part)
    return found.get(name) if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class _Array:
    """What an answer tells of an attribute that both collections have, and what would be right."""

    answer: Answer
    name: str
    count: object
    order: object
    counts: set[int]
    orders: set[bool | None]

    def __str__(self) -> str:
        return f"{self.answer}: {self.name}"


def _arrays(answer: Answer, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[_Array]:
    found = _part(answer, "array_elements")
    for name in sorted({*a} & {*b}):
        if isinstance(a[name], list) and isinstance(b[name], list):
            count, order = (_at(found, f"a_and_b_{each}", name) for each in ("count", "same_order"))
            yield _Array(answer, name, count, order, *in_common(a[name], b[name]))
