"""Servers that compare collections wrongly, or not at all."""

from typing import Any

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import comparison, refused
from tests.conformance.broken_server import Request, Response, Sound


def _of(request: Request, method: str) -> bool:
    return request.path.startswith("/comparison/") and request.method == method


@breaks("seqcol.comparison.offered")
def no_comparisons(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 501, when=_of(request, "GET"))


@breaks("seqcol.comparison.post-offered")
def nothing_posted(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 405, when=_of(request, "POST"))


@breaks("seqcol.comparison.keys")
def nothing_of_b_alone(request: Request, sound: Sound) -> Response:
    return _both(request, sound, lambda found: found["attributes"].pop("b_only"))


@breaks("seqcol.comparison.digests")
def only_one_digest(request: Request, sound: Sound) -> Response:
    return comparison(request, sound, "GET", lambda found: found["digests"].update(b=None))


@breaks("seqcol.comparison.posted-digests")
def words_for_a_digest(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    posted = "POSTed seqcol"
    return comparison(request, sound, "POST", lambda found: found["digests"].update(b=posted))


@breaks("seqcol.comparison.values")
def order_never_told(request: Request, sound: Sound) -> Response:
    def forget(found: dict[str, Any]) -> None:
        order = found["array_elements"]["a_and_b_same_order"]
        order.update(dict.fromkeys(order))

    return comparison(request, sound, "GET", forget)


@breaks("seqcol.comparison.attributes")
def attributes_of_the_other_side(request: Request, sound: Sound) -> Response:
    def swap(found: dict[str, Any]) -> None:
        _swap(found["attributes"], "a_only", "b_only")

    return _both(request, sound, swap)


@breaks("seqcol.comparison.counts")
def numbers_of_the_other_side(request: Request, sound: Sound) -> Response:
    return _both(request, sound, lambda found: _swap(found["array_elements"], "a_count", "b_count"))


@breaks("seqcol.comparison.common")
def all_of_a_in_common(request: Request, sound: Sound) -> Response:
    def count(found: dict[str, Any]) -> None:
        elements = found["array_elements"]
        elements["a_and_b_count"] = elements["a_count"]

    return _both(request, sound, count)


@breaks("seqcol.comparison.same-order")
def always_in_the_same_order(request: Request, sound: Sound) -> Response:
    def always(found: dict[str, Any]) -> None:
        order = found["array_elements"]["a_and_b_same_order"]
        order.update({name: True for name, each in order.items() if each is not None})

    return _both(request, sound, always)


@breaks("seqcol.comparison.sorted")
def attributes_in_any_order(request: Request, sound: Sound) -> Response:
    return _both(request, sound, lambda found: found["attributes"]["a_and_b"].reverse())


@breaks("seqcol.comparison.unknown")
def comparing_with_nothing_is_an_error_of_the_server(request: Request, sound: Sound) -> Response:
    unknown = _of(request, "GET") and sound(request).status == 404
    return refused(request, sound, 500, when=unknown)


@breaks("seqcol.comparison.garbage")
def garbage_is_an_error_of_the_server(request: Request, sound: Sound) -> Response:
    garbage = _of(request, "POST") and sound(request).status == 400
    return refused(request, sound, 500, when=garbage)


def _both(request: Request, sound: Sound, change: Any) -> Response:
    return comparison(request, sound, request.method, change)


def _swap(table: dict[str, Any], a: str, b: str) -> None:
    table[a], table[b] = table[b], table[a]
