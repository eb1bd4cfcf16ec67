"""Answers that have more than was asked for, or in other pieces."""

import base64
import json

from tests.conformance.breaking import breaks
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.defects.htsget_records import LAST
from tests.conformance.payloads import (
    asking,
    followed,
    has_records,
    is_header,
    leads_to_body,
    of_format,
    of_interval,
    region_of,
    replaced,
)

_CUT = 100
"""Bytes, in the middle of a block."""


def _widened(request: Request, sound: Sound, by: int) -> Response:
    region = region_of(request)
    if region is None or region.start is None or region.end is None:
        return sound(request)
    return sound(
        asking(request, start=max(0, region.start - by), end=min(region.end + by, 2**32 - 1))
    )


def _is_base(request: Request) -> bool:
    region = region_of(request)
    return region is not None and region.end == (region.start or 0) + 1


@breaks("htsget.exact.reads")
def reads_of_whole_chunks(request: Request, sound: Sound) -> Response:
    """As htsget-rs: the blocks that a region touches, with all that is in them."""
    if request.path == "/reads/demo" and not _is_base(request) and has_records(request, sound):
        return _widened(request, sound, 1000)
    return sound(request)


@breaks("htsget.exact.variants")
def variants_of_whole_chunks(request: Request, sound: Sound) -> Response:
    """As htsget-rs, issue 248: small files have one block."""
    if (
        request.path.startswith("/variants/")
        and not _is_base(request)
        and has_records(request, sound)
    ):
        return _widened(request, sound, 1000)
    return sound(request)


@breaks("htsget.exact.borders")
def regions_are_off_by_one(request: Request, sound: Sound) -> Response:
    """As ga4gh/htsget-refserver, which gives samtools the start as it is."""
    if of_interval(request) and _is_base(request) and request.path.startswith("/reads/"):
        return _widened(request, sound, 1)
    return sound(request)


@breaks("htsget.exact.open-ends")
def half_an_interval_is_none(request: Request, sound: Sound) -> Response:
    region = region_of(request)
    half = region and (region.start is None) != (region.end is None)
    if half and sound(request).status == 200:
        return sound(asking(request, start=None, end=None))
    return sound(request)


@breaks("htsget.exact.reference")
def references_run_on_to_the_end_of_the_file(request: Request, sound: Sound) -> Response:
    if region_of(request) == LAST:
        return sound(asking(request, referenceName=None))
    return sound(request)


@breaks("htsget.exact.unplaced")
def unplaced_reads_from_the_border_of_a_block(request: Request, sound: Sound) -> Response:
    """As htsget-rs (bam_search.rs), which gives the last placed reads, too."""
    if request.query.get("referenceName") == "*" and request.path.startswith("/reads/"):
        return sound(asking(request, referenceName=None))
    return sound(request)


@breaks("htsget.exact.header")
def header_blocks_with_records(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which gives the first blocks of the file for its header."""
    if is_header(request) and of_format("VCF")(request) and sound(request).status == 200:
        answer = sound(asking(request, **{"class": None}))
        return answer.holding(answer.body.replace(b'"class":"body"', b'"class":"header"'))
    return sound(request)


@breaks("htsget.exact.empty-region")
def whole_file_for_an_empty_region(request: Request, sound: Sound) -> Response:
    """As htsgetr, when the index has nothing for a region."""
    whole = asking(request, start=None, end=None, referenceName=None)
    found = sound(request).status != 200 or _is_base(request) or has_records(request, sound)
    return sound(whole if of_interval(request) and not found else request)


@breaks("htsget.exact.regions")
def regions_of_a_post_in_whole_chunks(request: Request, sound: Sound) -> Response:
    """As htsget-rs, where a region of a POST gives all blocks that it touches."""
    if request.method != "POST" or sound(request).status != 200:
        return sound(request)
    document = json.loads(request.body or b"{}")
    for region in document.get("regions", ()):
        if "start" in region and "end" in region:
            region["start"] = max(0, region["start"] - 1000)
    body = json.dumps(document).encode()
    headers = {**request.headers, "content-length": str(len(body))}
    return sound(Request(request.method, request.target, headers, body))


@breaks("htsget.exact.without-headers")
def more_without_the_range(request: Request, sound: Sound) -> Response:
    """As htsget-rs, whose tickets have a Range of a file that is served whole without."""

    def doubled(header: bytes, body: bytes, _: Request) -> bytes:
        return body + header + body

    answer = replaced(request, sound, of_interval, doubled)
    if not leads_to_body(request, answer) or not of_interval(request):
        return answer
    document = json.loads(answer.body)
    last = len(followed(request, sound)[1]) - 1
    document["htsget"]["urls"][-1]["headers"] = {"Range": f"bytes=0-{last}"}
    return answer.holding(json.dumps(document).encode())


@breaks("htsget.exact.whole-blocks")
def urls_that_end_within_a_block(request: Request, sound: Sound) -> Response:
    """Ranges of equal size, wherever blocks begin."""

    def rest(_: bytes, body: bytes, __: Request) -> bytes:
        return body[_CUT:]

    def when(each: Request) -> bool:
        return of_interval(each) and of_format("BAM")(each) and len(followed(each, sound)[1]) > _CUT

    answer = replaced(request, sound, when, rest)
    if not leads_to_body(request, answer) or not when(request):
        return answer
    document = json.loads(answer.body)
    first = base64.b64encode(followed(request, sound)[1][:_CUT]).decode()
    piece = {"url": f"data:;base64,{first}", "headers": {}, "class": "body"}
    document["htsget"]["urls"].insert(1, piece)
    return answer.holding(json.dumps(document).encode())


@breaks("htsget.exact.header-first")
def header_and_records_in_one_url(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which merges ranges that touch."""
    return replaced(
        request, sound, lambda _: True, lambda header, body, _: header + body, alone=True
    )
