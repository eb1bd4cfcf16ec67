"""Servers that do not know Range, or not well."""

from dataclasses import replace

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import (
    is_part,
    is_residues,
    places,
    refused,
    residues,
    whole,
    without_header,
)
from tests.conformance.broken_server import Request, Response, Sound


@breaks("refget.range.offered")
def range_ignored(request: Request, sound: Sound) -> Response:
    """As those of refgenie and of htslib's ref-cache of old."""
    return sound(request if is_part(request) else without_header(request, "range"))


@breaks("refget.range.offered", "refget.range.exact")
def part_with_status_200(request: Request, sound: Sound) -> Response:
    """As that of Ensembl."""
    return residues(request, sound, lambda answer: replace(answer, status=200))


@breaks("refget.range.to-the-end")
def range_of_all_is_no_range(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    first, last = places(request)
    return replace(answer, status=200) if first == "0" and last not in ("", "0") else answer


@breaks("refget.range.content-range")
def no_content_range(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""
    return _part(request, sound, content_range=None)


@breaks("refget.range.content-length")
def range_of_no_known_length(request: Request, sound: Sound) -> Response:
    return _part(request, sound, transfer_encoding="chunked")


@breaks("refget.range.clipped")
def last_beyond_is_not_satisfiable(request: Request, sound: Sound) -> Response:
    _, last = places(request)
    over = last.isdecimal() and is_residues(request) and int(last) >= _length(request, sound)
    return refused(request, sound, 416, when=over)


@breaks("refget.range.open")
def both_places_needed(request: Request, sound: Sound) -> Response:
    """As those in Perl and Python, seqrepo-rest-service and refget-cloud."""
    first, last = places(request)
    return refused(request, sound, 400, when=first.isdecimal() and not last)


@breaks("refget.range.suffix")
def suffix_taken_for_a_last_place(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""
    if request.headers.get("range") != "bytes=-7":
        return sound(request)
    return sound(replace(request, headers={**request.headers, "range": "bytes=0-7"}))


@breaks("refget.range.malformed")
def malformed_range_ignored(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    asked = request.headers.get("range", "").startswith("bytes") and not is_part(request)
    several = "," in request.headers.get("range", "")
    return whole(request, sound) if asked and answer.status == 400 and not several else answer


@breaks("refget.range.unit")
def any_unit(request: Request, sound: Sound) -> Response:
    text = request.headers.get("range", "")
    if not text.startswith("units="):
        return sound(request)
    return sound(replace(request, headers={**request.headers, "range": f"bytes={text[6:]}"}))


@breaks("refget.range.backwards")
def backwards_is_ignored(request: Request, sound: Sound) -> Response:
    first, last = places(request)
    both = first.isdecimal() and last.isdecimal() and int(last) < int(first)
    return sound(without_header(request, "range") if both else request)


@breaks("refget.range.beyond")
def beyond_is_ignored(request: Request, sound: Sound) -> Response:
    """As that of the EBI."""
    first, _ = places(request)
    beyond = first.isdecimal() and is_residues(request) and int(first) >= _length(request, sound)
    return whole(request, sound) if beyond else sound(request)


@breaks("refget.range.length-told")
def length_not_told(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(content_range=None) if answer.status == 416 else answer


@breaks("refget.range.with-parameters")
def range_ignored_beside_parameters(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "range") if is_part(request) else request)


@breaks("refget.range.several")
def first_of_several(request: Request, sound: Sound) -> Response:
    first = request.headers.get("range", "").partition(",")[0]
    if not first:
        return sound(request)
    return sound(replace(request, headers={**request.headers, "range": first}))


@breaks("refget.range.across-the-origin")
def ranges_over_the_origin(request: Request, sound: Sound) -> Response:
    first, last = places(request)
    answer = sound(request)
    both = first.isdecimal() and last.isdecimal() and answer.status == 416
    if not both or int(last) >= int(first):
        return answer
    query = f"start={first}&end={int(last) + 1}"
    around = without_header(replace(request, target=f"{request.path}?{query}"), "range")
    wrapped = sound(around)
    return replace(wrapped, status=206) if wrapped.status == 200 else answer


@breaks("refget.range.announced")
def ranges_not_announced(request: Request, sound: Sound) -> Response:
    if is_part(request):
        return sound(request)
    return residues(request, sound, lambda answer: answer.having(accept_ranges=None))


@breaks("refget.range.if-range")
def if_range_ignored(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "if-range"))


def _part(request: Request, sound: Sound, **headers: str | None) -> Response:
    answer = sound(request)
    return answer.having(**headers) if answer.status == 206 else answer


def _length(request: Request, sound: Sound) -> int:
    return len(whole(request, sound).body)
