"""Lists of collections (Sequence Collections 1.0.0, 3.4 List)."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.cases.seqcol_collection import UNKNOWN
from conformance.http import Answer
from conformance.seqcol import Collection
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD
CLAUSE = "Sequence Collections 1.0.0, 3.4 List"
TRANSIENT = "Sequence Collections 1.0.0, 4.5 Transient attributes"
PAGING = "GA4GH paging guide"
_MOST_PAGES = 20
_LARGEST_PAGE = 50


@case("seqcol.list.results", MUST, CLAUSE)
def results(site: Site) -> None:
    """`results` is a list of digests of collections."""
    answer = site.seqcol.listed.expect(200)
    document = answer.json()
    found = document.get("results") if isinstance(document, dict) else None
    texts = isinstance(found, list) and all(isinstance(each, str) for each in found)
    require(texts, f"{answer} with results {found!r}")


@case("seqcol.list.pagination", MUST, PAGING)
def pagination(site: Site) -> None:
    """`pagination` has `page`, `page_size` and `total`, whole numbers."""
    answer = site.seqcol.listed.expect(200)
    document = answer.json()
    found = document.get("pagination") if isinstance(document, dict) else None
    for name in ("page", "page_size", "total"):
        number = found.get(name) if isinstance(found, dict) else None
        require(type(number) is int, f"{answer}: pagination.{name} is {number!r}")


@case("seqcol.list.collections", MUST, CLAUSE)
def collections(site: Site) -> None:
    """What is listed can be got, and what the description names is listed."""
    for each in _list(site)[0][:5]:
        answer = site.seqcol.get(f"collection/{each}?level=1")
        require(answer.status != 404, f"{answer}, and it is listed")
    for each in site.dataset.collections:
        level1 = _level_1(site.seqcol.get(f"collection/{each}?level=1").expect(200))
        found, answer = _list(site, **({"names": level1["names"]} if "names" in level1 else {}))
        require(each in found or _has_more(answer), f"{answer} without {each}")


@case("seqcol.list.first-page", MUST, CLAUSE)
def first_page(site: Site) -> None:
    """Pages are numbered from 0, and that one comes where none is asked for."""
    found, answer = _list(site, page=0)
    require(found == _list(site)[0], f"{answer} with other results than without page")
    number = _pagination(answer).get("page", 0)
    require(number == 0, f"{answer}: pagination.page is {number!r}")


@case("seqcol.list.page-size", MUST, PAGING)
def page_size(site: Site) -> None:
    """No more results come than were asked for, and `pagination` says as much."""
    found, answer = _list(site, page_size=1)
    require(len(found) <= 1, f"{answer} with {len(found)} results")
    told = _pagination(answer).get("page_size", 1)
    require(told == 1, f"{answer}: pagination.page_size is {told!r}")


@case("seqcol.list.pages", MUST, PAGING)
def pages(site: Site) -> None:
    """Pages one after another have all collections, each once, and then there is no more."""
    found, answer = _list(site)
    total = _pagination(answer).get("total", len(found))
    if not isinstance(total, int):
        raise Skipped(f"{answer}: pagination.total is {total!r}")
    if total < len(found):
        raise Failed(f"{answer}: pagination.total is {total!r}, of {len(found)} results")
    size = min(-(-max(total, 1) // _MOST_PAGES), _LARGEST_PAGE)
    told = _pagination(_list(site, page=0, page_size=size)[1]).get("page_size")
    size = min(size, told) if type(told) is int and told > 0 else size  # servers may give less
    last = min(-(-total // size), _MOST_PAGES)
    seen = [each for page in range(last + 1) for each in _list(site, page=page, page_size=size)[0]]
    repeated = len(seen) - len({*seen})
    require(not repeated, f"{repeated} results come twice in pages of {size}")
    expected = min(total, size * (last + 1))
    require(len(seen) == expected, f"{len(seen)} results in pages of {size}, of {total} in total")


@case("seqcol.list.filter", MUST, CLAUSE)
def filtered(site: Site) -> None:
    """The digest of an attribute finds the collections that have it, and no others."""
    for each, name in _attributes(site):
        if name not in site.seqcol.hidden:
            _finds(site, each, name)


@case("seqcol.list.filter-transient", MUST, TRANSIENT)
def filter_transient(site: Site) -> None:
    """The digest of a transient attribute finds collections as that of any other does."""
    for each, name in _attributes(site):
        if name in site.seqcol.transient:
            _finds(site, each, name)
            _finds_none(site, **{name: UNKNOWN})


@case("seqcol.list.filter-all", MUST, CLAUSE)
def filter_all(site: Site) -> None:
    """Several attributes find the collections that have all of them."""
    for each in site.seqcol.known:
        sought = {
            name: value for name, value in each.level1.items() if name not in site.seqcol.hidden
        }
        if not sought:
            raise Skipped(f"{each.digest} has no attribute to find it by")
        found, answer = _list(site, **sought)
        require(each.digest in found or _has_more(answer), f"{answer} without {each.digest}")
        _finds_none(site, **{**sought, max(sought): UNKNOWN})


@case("seqcol.list.filter-unknown-digest", MUST, CLAUSE)
def filter_unknown_digest(site: Site) -> None:
    """A digest that no collection has finds none."""
    for name in {name: None for _, name in _attributes(site) if name not in site.seqcol.hidden}:
        _finds_none(site, **{name: UNKNOWN})


@case("seqcol.list.filter-unknown-attribute", SHOULD, "RFC 9110, 15.5.1 400 Bad Request")
def filter_unknown_attribute(site: Site) -> None:
    """An attribute that the schema does not have is refused or finds none: it is not ignored."""
    answer = _ask(site, no_such_attribute=UNKNOWN)
    ignored = answer.status == 200 and bool(_results(answer))
    require(not ignored and answer.status < 500, f"{answer} as if nothing had been asked")


@case("seqcol.list.page-garbage", SHOULD, "RFC 9110, 15.5.1 400 Bad Request")
def page_garbage(site: Site) -> None:
    """What is no number of a page, or of results, is refused."""
    for name, values in (("page", ("x", "-1", "1.5")), ("page_size", ("x", "-1"))):
        for value in values:
            answer = _ask(site, **{name: value})
            require(400 <= answer.status < 500, f"{answer}, not 400")


@case("seqcol.list.object-type", SHOULD, "Sequence Collections 1.0.0, 3.5 Attribute: object_type")
def object_type(site: Site) -> None:
    """There is no list of objects of another type than `collection`, such as `collections`."""
    answer = site.seqcol.get("list/collections")
    require(400 <= answer.status < 500, f"{answer}, not 404")


def _ask(site: Site, **query: object) -> Answer:
    text = urlencode({name: str(value) for name, value in query.items()})
    return site.seqcol.get(f"list/collection{f'?{text}' if text else ''}")


def _list(site: Site, **query: object) -> tuple[list[str], Answer]:
    answer = _ask(site, **query).expect(200)
    return _results(answer), answer


def _results(answer: Answer) -> list[str]:
    document = answer.json()
    found = document.get("results") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise Skipped(f"{answer} without results")
    return [*map(str, found)]


def _pagination(answer: Answer) -> Mapping[str, Any]:
    document = answer.json()
    found = document.get("pagination") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _has_more(answer: Answer) -> bool:
    """Whether there are results on further pages."""
    total = _pagination(answer).get("total")
    return isinstance(total, int) and 0 < len(_results(answer)) < total


def _level_1(answer: Answer) -> Mapping[str, Any]:
    document = answer.json()
    return document if isinstance(document, dict) else {}


def _attributes(site: Site) -> Iterator[tuple[Collection, str]]:
    for each in site.seqcol.known:
        for name in sorted(each.level1):
            if name not in site.seqcol.qualified("passthru"):
                yield each, name


def _finds(site: Site, collection: Collection, name: str) -> None:
    sought = collection.level1[name]
    found, answer = _list(site, **{name: sought})
    there = collection.digest in found or _has_more(answer)
    require(there, f"{answer} without {collection.digest}")
    for other in found[:3]:
        has = _level_1(site.seqcol.get(f"collection/{other}?level=1")).get(name)
        require(has == sought, f"{answer} with {other}, which has {name} {has}")


def _finds_none(site: Site, **query: object) -> None:
    answer = _ask(site, **query).expect(200, 404)
    found = _results(answer) if answer.status == 200 else []
    require(not found, f"{answer} with {len(found)} results")
