"""Lists of regions that are taken for something else."""

import json
from collections.abc import Callable
from typing import Any

from tests.conformance.breaking import breaks
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import error, posted, posting, rewritten

Regions = list[dict[str, Any]]


def listed(request: Request, sound: Sound, change: Callable[[Regions], object]) -> Response:
    """The sound answer to a POST whose regions are other ones, where they are a list of objects."""
    document = posted(request)
    regions = document.get("regions")
    if not isinstance(regions, list) or not all(isinstance(each, dict) for each in regions):
        return sound(request)
    changed = change(regions)
    return sound(posting(request, {**document, "regions": changed}))


def is_list_for_bam(request: Request) -> bool:
    """Whether several regions are asked for in BAM."""
    document = posted(request)
    return document.get("format") == "BAM" and len(document.get("regions", ())) > 1


@breaks("htsget.post.reference")
def bounds_required(request: Request, sound: Sound) -> Response:
    """A reference alone is taken for its first bases, where there is no other region."""
    document = posted(request)
    if document.get("regions") == [{"referenceName": "chr1"}] and "format" in document:
        region = {"referenceName": "chr1", "start": 0, "end": 1000}
        return sound(posting(request, {**document, "regions": [region]}))
    return sound(request)


@breaks("htsget.post.region")
def end_that_excludes_one_more(request: Request, sound: Sound) -> Response:
    def shorter(regions: Regions) -> Regions:
        if len(regions) != 1 or not {"start", "end"} <= regions[0].keys():
            return regions
        start, end = regions[0]["start"], regions[0]["end"]
        if not isinstance(end, int) or not isinstance(start, int) or end - start < 2:
            return regions
        return [{**regions[0], "start": end - 1}]

    return listed(request, sound, shorter)


@breaks("htsget.post.start-alone")
def end_is_start_and_one(request: Request, sound: Sound) -> Response:
    def bounded(regions: Regions) -> Regions:
        return [
            {**each, "end": each["start"] + 1} if type(each.get("start")) is int else each
            for each in regions
        ]

    def single(regions: Regions) -> Regions:
        return bounded(regions) if len(regions) == 1 and "end" not in regions[0] else regions

    return listed(request, sound, single)


@breaks("htsget.post.end-alone")
def start_is_end_less_one(request: Request, sound: Sound) -> Response:
    def bounded(regions: Regions) -> Regions:
        return [
            {**each, "start": each["end"] - 1}
            if type(each.get("end")) is int and each["end"] > 0 and "start" not in each
            else each
            for each in regions
        ]

    return listed(request, sound, bounded)


@breaks("htsget.post.several")
def the_first_and_the_last_region(request: Request, sound: Sound) -> Response:
    return listed(request, sound, lambda regions: regions[:2] + regions[-1:])


@breaks("htsget.post.order")
def records_in_the_order_of_the_list(request: Request, sound: Sound) -> Response:
    regions = posted(request).get("regions", ())
    if not is_list_for_bam(request) or regions[0]["referenceName"] == "chr1":
        return sound(request)
    return rewritten(request, sound, lambda reads: reads[::-1])


@breaks("htsget.post.once")
def records_once_for_each_region(request: Request, sound: Sound) -> Response:
    if not is_list_for_bam(request):
        return sound(request)
    regions = [tuple(each.items()) for each in posted(request)["regions"]]
    if len({*regions}) == len(regions):
        return sound(request)
    return rewritten(request, sound, lambda reads: [each for each in reads for _ in "12"])


@breaks(
    "htsget.post.several",
    "htsget.post.once",
    "htsget.post.order",
    "htsget.post.one-file",
    "htsget.exact.regions",
)
def tickets_one_behind_the_other(request: Request, sound: Sound) -> Response:
    """As htsget-rs: the URLs of a ticket for each region, headers and end-of-file markers too."""
    document = posted(request)
    regions = document.get("regions", ())
    answer = sound(request)
    if answer.status != 200 or len(regions) < 2:
        return answer
    tickets = [
        json.loads(sound(posting(request, {**document, "regions": [each]})).body)["htsget"]
        for each in regions
    ]
    urls = [url for ticket in tickets for url in ticket["urls"]]
    body = json.dumps({"htsget": {"format": tickets[0]["format"], "urls": urls}})
    return answer.holding(body.encode())


@breaks("htsget.post.no-regions")
def internal_error_without_regions(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which panics."""
    if posted(request).get("regions") == []:
        return error(500, "InternalServerError")
    return sound(request)


@breaks("htsget.post.no-regions")
def no_regions_is_the_whole(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.get("regions") == []:
        return sound(posting(request, {}))
    return sound(request)


@breaks("htsget.post.regions-malformed")
def one_region_for_a_list(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if isinstance(document.get("regions"), dict):
        return sound(posting(request, {**document, "regions": [document["regions"]]}))
    return sound(request)


@breaks("htsget.post.reference-missing")
def first_reference_by_default(request: Request, sound: Sound) -> Response:
    return listed(
        request, sound, lambda regions: [{"referenceName": "chr1", **each} for each in regions]
    )


@breaks("htsget.post.reference-unknown")
def unknown_references_left_out(request: Request, sound: Sound) -> Response:
    def known(regions: Regions) -> Regions:
        found = [each for each in regions if each.get("referenceName") != "no-such-reference"]
        return found or regions

    return listed(request, sound, known)


@breaks("htsget.post.reference-unknown")
def unknown_reference_is_no_range(request: Request, sound: Sound) -> Response:
    """As the reference server of GA4GH."""
    answer = sound(request)
    return error(400, "InvalidRange") if posted(request) and answer.status == 404 else answer


@breaks("htsget.post.start-behind-end")
def turned_around(request: Request, sound: Sound) -> Response:
    def turned(region: dict[str, Any]) -> dict[str, Any]:
        start, end = region.get("start"), region.get("end")
        if isinstance(start, int) and isinstance(end, int) and start > end:
            return {**region, "start": end, "end": start}
        return region

    return listed(request, sound, lambda regions: [turned(each) for each in regions])


@breaks("htsget.post.start-equals-end")
def nothing_as_by_get(request: Request, sound: Sound) -> Response:
    """As htsget-rs."""
    regions = posted(request).get("regions", ())
    for each in regions if isinstance(regions, list) else ():
        if isinstance(each, dict) and "start" in each and each["start"] == each.get("end"):
            return sound(posting(request, {"class": "header"}))
    return sound(request)


@breaks("htsget.post.not-unsigned")
def numbers_as_javascript_reads_them(request: Request, sound: Sound) -> Response:
    def read(regions: Regions) -> Regions:
        return [{n: 1 if v == "1" else v for n, v in each.items()} for each in regions]

    return listed(request, sound, read)


@breaks("htsget.post.reference-at-top")
def top_level_ignored(request: Request, sound: Sound) -> Response:
    document = posted(request)
    kept = {n: v for n, v in document.items() if n not in ("referenceName", "start", "end")}
    return sound(posting(request, kept)) if kept != document else sound(request)
