"""Servers that do not know where a part of a sequence begins and ends."""

from dataclasses import replace
from urllib.parse import urlsplit

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import (
    asking,
    is_part,
    positions,
    refused,
    residues,
    service_info,
    whole,
)
from tests.conformance.broken_server import Request, Response, Sound


@breaks("refget.subsequence.start-end")
def end_included(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or not 0 <= start < end:
        return answer
    longer = sound(asking(request, {"start": start, "end": end + 1}))
    return longer if longer.status == 200 == answer.status else answer


@breaks("refget.subsequence.start-alone")
def both_ends_needed(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not is_part(request) or "end" in request.query or answer.status != 200:
        return answer
    return answer.holding(whole(request, sound).body)


@breaks("refget.subsequence.start-zero")
def zero_is_no_start(request: Request, sound: Sound) -> Response:
    alone = is_part(request) and request.query == {"start": "0"}
    return refused(request, sound, 400, when=alone)


@breaks("refget.subsequence.end-alone")
def from_one_without_a_start(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    alone = is_part(request) and urlsplit(request.target).query.startswith("end=")
    return answer.holding(answer.body[1:]) if alone and answer.status == 200 else answer


@breaks("refget.subsequence.end-zero")
def zero_is_no_end(request: Request, sound: Sound) -> Response:
    """As that of Ensembl, which asks `if start or end`."""
    answer = sound(request)
    alone = is_part(request) and request.query == {"end": "0"} and answer.status == 200
    return whole(request, sound).having(accept_ranges="none") if alone else answer


@breaks("refget.subsequence.empty")
def zeros_are_no_positions(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    zeros = request.query == {"start": "0", "end": "0"} and answer.status == 200
    return whole(request, sound) if is_part(request) and zeros else answer


@breaks("refget.subsequence.empty-pair")
def empty_pair_is_a_bad_request(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 400, when=urlsplit(request.target).query.startswith("&"))


@breaks("refget.subsequence.status")
def partial_content_for_parameters(request: Request, sound: Sound) -> Response:
    return _part(request, sound, 206)


@breaks("refget.subsequence.accept-ranges")
def ranges_of_parts(request: Request, sound: Sound) -> Response:
    return _part(request, sound, 200, accept_ranges="bytes")


@breaks("refget.subsequence.content-length")
def part_of_no_known_length(request: Request, sound: Sound) -> Response:
    return _part(request, sound, 200, transfer_encoding="chunked")


@breaks("refget.subsequence.not-a-number")
def numbers_as_python_reads_them(request: Request, sound: Sound) -> Response:
    return sound(replace(request, target=request.target.replace("1_0", "10")))


@breaks("refget.subsequence.negative")
def negative_is_missing(request: Request, sound: Sound) -> Response:
    kept = {name: value for name, value in request.query.items() if value[:1] != "-"}
    return sound(asking(request, kept) if len(kept) < len(request.query) else request)


@breaks("refget.subsequence.beyond-32-bits")
def numbers_that_do_not_fit(request: Request, sound: Sound) -> Response:
    long = is_part(request) and max(positions(request)) >= 2**32
    return refused(request, sound, 500, when=long)


@breaks("refget.subsequence.no-value")
def no_value_is_no_parameter(request: Request, sound: Sound) -> Response:
    kept = {name: value for name, value in request.query.items() if value}
    return sound(asking(request, kept) if len(kept) < len(request.query) else request)


@breaks("refget.subsequence.start-beyond")
def nothing_beyond_the_sequence(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or answer.status != 416 or start >= 2**32 or -1 < end < start:
        return answer
    length = len(whole(request, sound).body)
    return replace(answer, status=200).holding(b"") if start > length else answer


@breaks("refget.subsequence.start-at-length")
def out_of_an_array(request: Request, sound: Sound) -> Response:
    start, _ = positions(request)
    at_length = start > 0 and is_part(request) and start == len(whole(request, sound).body)
    return refused(request, sound, 500, when=at_length)


@breaks("refget.subsequence.end-beyond")
def end_clipped(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or answer.status != 416 or end >= 2**32:
        return answer
    body = whole(request, sound).body
    beyond = start < len(body) < end
    return replace(answer, status=200).holding(body[max(start, 0) :]) if beyond else answer


@breaks("refget.subsequence.start-behind-end")
def nothing_where_start_is_behind_end(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or answer.status != 416 or not 0 <= end < start:
        return answer
    inside = start < len(whole(request, sound).body)
    return replace(answer, status=200).holding(b"") if inside else answer


@breaks("refget.subsequence.circular")
def not_beyond_the_origin(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or answer.status != 200 or not 0 <= end < start:
        return answer
    return answer.holding(answer.body[: len(answer.body) - end])


@breaks("refget.subsequence.circular-bounds")
def round_and_round(request: Request, sound: Sound) -> Response:
    start, end = positions(request)
    answer = sound(request)
    if not is_part(request) or answer.status != 416 or not 0 <= end < start:
        return answer
    length = len(whole(request, sound).body)
    if start <= length:
        return answer
    return sound(asking(request, {"start": start % length, "end": end % length}))


@breaks("refget.subsequence.limit")
def limit_announced_but_not_kept(request: Request, sound: Sound) -> Response:
    return service_info(
        request, sound, lambda document: document["refget"].update(subsequence_limit=1000)
    )


@breaks("refget.subsequence.unknown")
def nothing_of_what_is_unknown(request: Request, sound: Sound) -> Response:
    """As that of Ensembl."""
    start, end = positions(request)
    answer = sound(request)
    empty = is_part(request) and start == end and answer.status == 404
    return replace(answer, status=200).holding(b"") if empty else answer


def _part(request: Request, sound: Sound, status: int, **headers: str) -> Response:
    """Parts with another status and other headers."""
    if not is_part(request):
        return sound(request)
    return residues(request, sound, lambda answer: replace(answer, status=status).having(**headers))
