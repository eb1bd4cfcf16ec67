"""Servers that do not list what they have, or list what they do not have."""

from dataclasses import replace
from typing import Any

from conformance.cases.seqcol_collection import UNKNOWN
from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import asking, listing, refused
from tests.conformance.broken_server import Request, Response, Sound

PATH = "/list/collection"
PAGING = {"page", "page_size"}
TRANSIENT = "sorted_name_length_pairs"


def filters(request: Request) -> dict[str, str]:
    """The attributes that a list is asked for by; none for other requests."""
    query = request.query if request.path == PATH else {}
    return {name: value for name, value in query.items() if name not in PAGING}


@breaks("seqcol.list.results", "seqcol.list.pagination")
def another_shape(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""

    def flat(found: dict[str, Any]) -> None:
        found.update(found.pop("pagination"))
        found["items"] = found.pop("results")

    return listing(request, sound, flat)


@breaks("seqcol.list.pagination")
def total_not_told(request: Request, sound: Sound) -> Response:
    return listing(request, sound, lambda found: found["pagination"].pop("total"))


@breaks("seqcol.list.collections", "seqcol.collection.level-1", "seqcol.collection.level-2")
def listed_but_gone(request: Request, sound: Sound) -> Response:
    def add(found: dict[str, Any]) -> None:
        paging = found["pagination"]
        first = paging["page"] * paging["page_size"]
        paging["total"] = 2
        everything = [*sound(asking(request, {})).body.decode().split('"')[3:4], UNKNOWN]
        found["results"] = everything[first : first + paging["page_size"]]

    return sound(request) if filters(request) else listing(request, sound, add)


@breaks("seqcol.list.first-page")
def pages_from_one(request: Request, sound: Sound) -> Response:
    page = request.query.get("page", "")
    if not page.isdecimal():
        return sound(request)
    before = sound(asking(request, {**request.query, "page": max(0, int(page) - 1)}))
    return before if page != "0" else listing(request, sound, _emptied)


@breaks("seqcol.list.page-size")
def as_many_as_the_server_likes(request: Request, sound: Sound) -> Response:
    query = {name: value for name, value in request.query.items() if name != "page_size"}
    large = request.path == PATH and request.query.get("page_size") == "1"
    return sound(asking(request, query) if large else request)


@breaks("seqcol.list.pages")
def the_same_page_again(request: Request, sound: Sound) -> Response:
    numbered = request.path == PATH and request.query.get("page", "").isdecimal()
    return sound(asking(request, {**request.query, "page": 0}) if numbered else request)


@breaks("seqcol.list.filter", "seqcol.list.filter-all")
def not_found_by_lengths(request: Request, sound: Sound) -> Response:
    return listing(request, sound, _emptied) if "lengths" in filters(request) else sound(request)


@breaks("seqcol.list.filter-transient")
def transient_filter_ignored(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    return sound(asking(request, {}) if TRANSIENT in filters(request) else request)


@breaks("seqcol.list.filter-all")
def first_filter_alone(request: Request, sound: Sound) -> Response:
    sought = [*filters(request).items()]
    return sound(asking(request, dict(sought[:1])) if len(sought) > 1 else request)


@breaks("seqcol.list.filter-unknown-digest")
def everything_if_nothing_is_found(request: Request, sound: Sound) -> Response:
    sought = filters(request)
    alone = [*sought.values()] == [UNKNOWN] and sought.keys() != {TRANSIENT}
    known = alone and sound(request).status == 200
    return sound(asking(request, {}) if known else request)


@breaks("seqcol.list.filter-unknown-attribute")
def unknown_filter_ignored(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    return sound(asking(request, {}) if "no_such_attribute" in filters(request) else request)


@breaks("seqcol.list.page-garbage")
def garbage_is_the_first_page(request: Request, sound: Sound) -> Response:
    paged = request.path == PATH and bool(PAGING & {*request.query})
    return sound(asking(request, {}) if paged and sound(request).status == 400 else request)


@breaks("seqcol.list.object-type")
def objects_in_the_plural(request: Request, sound: Sound) -> Response:
    return sound(replace(request, target=request.target.replace("/list/collections", PATH)))


@breaks("seqcol.collection.level-1", "seqcol.collection.level-2", "seqcol.list.collections")
def collections_are_not_found(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=request.path.startswith("/collection/"))


def _emptied(found: dict[str, Any]) -> None:
    found["results"] = []
