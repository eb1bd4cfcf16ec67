"""Servers that keep to the specifications, each in a way of its own, are not failed for it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from conformance.case import Outcome, Requirement
from conformance.cases import select
from conformance.dataset import Dataset
from conformance.http import Client
from conformance.run import run
from conformance.seqcol import digest
from tests.conformance.breaking_refget import (
    asking,
    comparison,
    document,
    is_metadata,
    is_part,
    is_residues,
    metadata,
    places,
    positions,
    refused,
    residues,
    schema,
    service_info,
    whole,
)
from tests.conformance.broken_server import (
    BrokenServer,
    Defect,
    Request,
    Response,
    Sound,
    no_defect,
)
from tests.conformance.defects.refget_range import range_ignored

DERIVED = {"name_length_pairs", "sorted_name_length_pairs", "sorted_sequences"}


def version_1(request: Request, sound: Sound) -> Response:
    """Without namespaces and GA4GH digests, and with TRUNC512 in capitals, as in the text of it."""
    if re.search(r":|%3A|SQ\.", request.path):
        return Response(404, {}, b"")
    accepted = request.headers.get("accept", "")
    if "v2.0.0" in accepted and "," not in accepted:
        return Response(406, {}, b"")

    def old(found: dict[str, Any]) -> None:
        del found["ga4gh"]
        found["trunc512"] = found["trunc512"].upper()

    if is_metadata(request):
        return metadata(request, sound, old)
    return service_info(request, sound, lambda found: found.pop("refget"))


def chunked(request: Request, sound: Sound) -> Response:
    """HEAD tells no length then."""
    return residues(
        request,
        sound,
        lambda answer: answer.having(transfer_encoding="chunked", content_length=None),
    )


def in_a_store(request: Request, sound: Sound) -> Response:
    """Whole sequences and ranges come from a store, which knows nothing of media types."""
    if request.path.startswith("/store/"):
        inside = replace(request, target=request.target.replace("/store/", "/sequence/"))
        return sound(inside).having(content_type="binary/octet-stream")
    answer = sound(request)
    if not is_residues(request) or is_part(request) or answer.status not in (200, 206):
        return answer
    place = request.target.replace("/sequence/", "/store/")
    return Response(302, {"location": place, "access-control-allow-origin": "*"})


def without_circular_ones(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    if is_part(request) and 0 <= end < start <= len(whole(request, sound).body):
        return Response(501, {}, b"")
    return service_info(request, sound, _no_circles)


def without_any_notion_of_circles(request: Request, sound: Sound) -> Response:
    """All sequences are linear to it."""
    start, end = positions(request)
    if is_part(request) and 0 <= end < start:
        return Response(416, {}, b"")
    return service_info(request, sound, _no_circles)


def _no_circles(found: dict[str, Any]) -> None:
    for name in ("refget", "service"):
        found[name]["circular_supported"] = False


def with_a_limit(request: Request, sound: Sound) -> Response:
    def limit(found: dict[str, Any]) -> None:
        found["refget"]["subsequence_limit"] = found["service"]["subsequence_limit"] = 1000

    answer = sound(request)
    part = answer.status == 206 or (is_part(request) and answer.status == 200)
    if part and len(answer.body) > 1000:
        return Response(416, {}, b"")
    return service_info(request, sound, limit)


def units_ignored(request: Request, sound: Sound) -> Response:
    """As RFC 9110 wants it, with all of the sequence where all is asked for."""
    first, last = places(request)
    n = len(whole(request, sound).body) if is_residues(request) and not is_part(request) else 0
    everything = first == "0" and last.isdecimal() and int(last) == n - 1
    if n and (everything or request.headers.get("range", "").startswith("units")):
        return whole(request, sound)
    return sound(request)


PAGING = {"page", "page_size"}
CIRCULAR = {"92d0c0eddd54964c907bb7cbdbe4a8b3"}

WAYS: Mapping[Defect, frozenset[str]] = {
    version_1: frozenset(),
    chunked: frozenset(
        {
            "refget.sequence.content-length",
            "refget.subsequence.content-length",
            "refget.range.content-length",
        }
    ),
    in_a_store: frozenset(),
    without_circular_ones: frozenset(),
    without_any_notion_of_circles: frozenset(),
    with_a_limit: frozenset(),
    units_ignored: frozenset({"refget.range.to-the-end"}),
    range_ignored.defect: frozenset({"refget.range.offered"}),
}
"""Servers of sequences, with what they do not meet of what is recommended or left to them."""


def minimal(request: Request, sound: Sound) -> Response:
    """Collections of the base schema alone; what is posted beyond it is passed over."""

    def bare(found: dict[str, Any]) -> None:
        strip(found["properties"])
        found["ga4gh"].pop("transient")

    def strip(found: dict[str, Any]) -> None:
        for name in DERIVED & {*found}:
            del found[name]

    def compare(found: dict[str, Any]) -> None:
        for name, listed in found["attributes"].items():
            found["attributes"][name] = [each for each in listed if each not in DERIVED]
        for table in found["array_elements"].values():
            strip(table)

    if request.path == "/service-info":
        return schema(request, sound, bare)
    if request.path.startswith("/comparison/"):
        return comparison(request, sound, request.method, compare)
    return document(request, sound, "/collection/", strip)


def minimal_by_get_alone(request: Request, sound: Sound) -> Response:
    return (
        refused(request, sound, 405, when=True)
        if request.method == "POST"
        else minimal(request, sound)
    )


def judged(
    broken: BrokenServer, dataset: Dataset, defect: Defect, protocol: str
) -> dict[str, tuple[Outcome, str]]:
    broken.defect = defect
    cases = select([protocol], [])
    report = run(broken.url, dataset, cases, Requirement.EXACT, Client(timeout=10))
    return {each.case.name: (each.outcome, each.message) for each in report.results}


def wrong(found: Mapping[str, tuple[Outcome, str]]) -> dict[str, str]:
    bad = (Outcome.FAILED, Outcome.ERROR)
    return {name: why for name, (outcome, why) in found.items() if outcome in bad}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_servers_of_sequences(broken: BrokenServer, dataset: Dataset, way: Defect) -> None:
    plain = replace(dataset, circular=()) if way is without_any_notion_of_circles else dataset
    found = wrong(judged(broken, plain, way, "refget"))
    assert found.keys() == WAYS[way], found


@pytest.mark.parametrize("way", [minimal, minimal_by_get_alone])
def test_collections_without_what_may_be_added(
    broken: BrokenServer, dataset: Dataset, way: Defect
) -> None:
    found = judged(broken, dataset, way, "seqcol")
    lacking = {f"seqcol.collection.{each}" for each in ("name-length-pairs", "sorted-pairs")}
    lacking |= {"seqcol.collection.sorted-sequences"}
    posted = {"seqcol.comparison.post-offered"} if way is minimal_by_get_alone else set()
    assert wrong(found).keys() == lacking | posted, wrong(found)
    assert found["seqcol.comparison.keys"][0] == Outcome.PASSED
    assert found["seqcol.collection.transient"][0] == Outcome.SKIPPED
    assert found["seqcol.list.filter-transient"][0] == Outcome.SKIPPED


@pytest.mark.parametrize("status", [200, 401, 403, 405, 503])
def test_servers_of_reads_alone_answer_anything_to_what_they_do_not_know(
    broken: BrokenServer, dataset: Dataset, status: int
) -> None:
    def gateway(request: Request, sound: Sound) -> Response:
        if request.path.startswith(("/reads/", "/variants/")):
            return sound(request)
        return Response(status, {"content-type": "text/html"}, b"<!doctype html><p>Welcome")

    for protocol in ("refget", "seqcol"):
        found = judged(broken, dataset, gateway, protocol)
        assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}


def test_what_reads_are_aligned_to_need_not_be_there(
    broken: BrokenServer, dataset: Dataset
) -> None:
    def others(request: Request, sound: Sound) -> Response:
        return refused(request, sound, 404, when=is_residues(request) or is_metadata(request))

    found = judged(broken, replace(dataset, circular=()), others, "refget")
    assert wrong(found) == {}
    assert found["refget.sequence.md5"][0] == Outcome.SKIPPED
    described = replace(dataset, circular=(), sequences=tuple(CIRCULAR))
    assert wrong(judged(broken, described, others, "refget")).keys() == {"refget.sequence.md5"}


def test_long_sequences_are_not_fetched(broken: BrokenServer, dataset: Dataset) -> None:
    fetched = []

    def long(request: Request, sound: Sound) -> Response:
        if is_residues(request) and sound(request).status == 200:
            fetched.append(request.target)
        return metadata(request, sound, lambda found: found.update(length=248_956_422))

    found = judged(broken, dataset, long, "refget")
    assert wrong(found) == {}
    assert fetched == []
    outcome, why = found["refget.sequence.md5"]
    assert outcome == Outcome.SKIPPED
    assert why.endswith("has 248956422 residues, which are too many to be fetched")


def test_many_collections_on_small_pages(broken: BrokenServer, dataset: Dataset) -> None:
    """Sixty that have the same attributes, five on a page; the one that is known is the last."""
    others = [digest(number) for number in range(59)]

    def many(request: Request, sound: Sound) -> Response:
        first, _, name = request.path.rpartition("/")
        if first == "/collection" and name in others:
            return sound(replace(request, target=request.target.replace(name, real)))
        if request.path != "/list/collection" or sound(request).status != 200:
            return sound(request)
        page = int(request.query.get("page", 0))
        size = min(int(request.query.get("page_size", 5)), 5)

        def fill(found: dict[str, Any]) -> None:
            every = [*others, real] if found["pagination"]["total"] else []
            found["results"] = every[page * size : (page + 1) * size]
            found["pagination"] = {"page": page, "page_size": size, "total": len(every)}

        query = {name: each for name, each in request.query.items() if name not in PAGING}
        return document(asking(request, query), sound, "/list/", fill)

    broken.defect = no_defect
    listed = Client().get(f"{broken.url}/list/collection").json()
    (real,) = listed["results"]
    known = replace(dataset, collections=(real,))
    assert wrong(judged(broken, known, many, "seqcol")) == {}
