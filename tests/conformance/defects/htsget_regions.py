"""Regions that are refused without need, and taken that are none."""

from dataclasses import replace

from tests.conformance.breaking import breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import asked, error, without


def number(request: Request, name: str) -> int | None:
    """A parameter that is an unsigned integer, not too long; None: it is not, or not there."""
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None


def bound_alone(request: Request, name: str) -> bool:
    """Whether a GET for a ticket has a bound but no reference."""
    query = request.query
    lonely = name in query and query.keys().isdisjoint({"referenceName", "class"})
    return lonely and is_ticket(request) and request.method == "GET"


@breaks("htsget.regions.reference")
def reference_that_the_index_lacks(request: Request, sound: Sound) -> Response:
    """As htsget-rs: what the index does not name is not found, though the header does."""
    if is_ticket(request) and request.query == {"referenceName": "chrM"}:
        return error(404, "NotFound")
    return sound(request)


@breaks("htsget.regions.reference-encoded")
def references_not_decoded(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "referenceName=%63" in request.target:
        return error(404, "NotFound")
    return sound(request)


@breaks("htsget.regions.reference-unknown")
def unknown_reference_is_empty(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "no-such" in request.query.get("referenceName", ""):
        return sound(asked(request, {"class": "header"}))
    return sound(request)


@breaks("htsget.regions.reference-unknown")
def unknown_reference_is_no_range(request: Request, sound: Sound) -> Response:
    """As the reference server of GA4GH."""
    answer = sound(request)
    if is_ticket(request) and answer.status == 404 and "referenceName" in request.query:
        return error(400, "InvalidRange")
    return answer


@breaks("htsget.regions.start-alone")
def start_ignored(request: Request, sound: Sound) -> Response:
    if bound_alone(request, "start"):
        return sound(without(request, "start"))
    return sound(request)


@breaks("htsget.regions.end-alone")
def end_ignored(request: Request, sound: Sound) -> Response:
    if bound_alone(request, "end"):
        return sound(without(request, "end"))
    return sound(request)


@breaks("htsget.regions.start-of-unplaced")
def start_of_unplaced_ignored(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("referenceName") == "*":
        return sound(without(request, "start"))
    return sound(request)


@breaks("htsget.regions.end-of-unplaced")
def end_of_unplaced_ignored(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("referenceName") == "*":
        return sound(without(request, "end"))
    return sound(request)


@breaks("htsget.regions.start-behind-end")
def turned_around(request: Request, sound: Sound) -> Response:
    start, end = number(request, "start"), number(request, "end")
    if is_ticket(request) and start is not None and end is not None and start > end:
        return sound(asked(request, {**request.query, "start": str(end), "end": str(start)}))
    return sound(request)


@breaks("htsget.regions.start-behind-end")
def range_is_invalid_input(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if is_ticket(request) and request.method == "GET" and b"InvalidRange" in answer.body:
        return error(400, "InvalidInput")
    return answer


@breaks("htsget.regions.not-unsigned")
def integers_as_python_reads_them(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "1_0" in (request.query.get("start"), request.query.get("end")):
        return sound(replace(request, target=request.target.replace("1_0", "10")))
    return sound(request)


@breaks("htsget.regions.not-unsigned")
def negative_start_is_an_internal_error(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("start") == "-1":
        return error(500, "InternalServerError")
    return sound(request)


@breaks("htsget.regions.empty")
def nothing_is_no_range(request: Request, sound: Sound) -> Response:
    start, end = number(request, "start"), number(request, "end")
    if is_ticket(request) and start is not None and start == end:
        return error(400, "InvalidRange")
    return sound(request)


@breaks("htsget.regions.empty")
def no_urls_for_nothing(request: Request, sound: Sound) -> Response:
    """What htslib cannot read, and makes an empty file of the htsget client of Python."""
    answer = sound(request)
    start, end = number(request, "start"), number(request, "end")
    if not is_ticket(request) or start is None or start != end or answer.status != 200:
        return answer
    return answer.holding(b'{"htsget":{"format":"BAM","urls":[]}}')


@breaks("htsget.regions.unsigned")
def positions_of_31_bits(request: Request, sound: Sound) -> Response:
    numbers = (number(request, "start"), number(request, "end"))
    if is_ticket(request) and 2**31 <= max((each or 0 for each in numbers), default=0) < 2**32:
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.regions.unsigned")
def positions_that_bai_holds(request: Request, sound: Sound) -> Response:
    """As htsget-rs."""
    answer = sound(request)
    if is_ticket(request) and (number(request, "end") or 0) > 2**29 and answer.status == 200:
        return error(400, "InvalidRange")
    return answer
