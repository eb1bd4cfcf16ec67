"""Servers that do not find attributes, or find the wrong ones."""

import json
from dataclasses import replace

from conformance.cases.seqcol_collection import UNKNOWN
from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import refused
from tests.conformance.broken_server import Request, Response, Sound

BELOW = "/attribute/collection/"


@breaks("seqcol.attribute.value")
def wrapped_in_an_object(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not request.path.startswith(BELOW) or answer.status != 200:
        return answer
    return answer.holding(json.dumps({"value": json.loads(answer.body)}).encode())


@breaks("seqcol.attribute.hidden")
def nothing_for_what_is_transient(request: Request, sound: Sound) -> Response:
    hidden = request.path.startswith(f"{BELOW}sorted_name_length_pairs")
    return refused(request, sound, 200, when=hidden)


@breaks("seqcol.attribute.unknown-digest")
def null_for_an_unknown_digest(request: Request, sound: Sound) -> Response:
    """As those that answer what their database does."""
    unknown = request.path.startswith(BELOW) and request.path.endswith(UNKNOWN)
    if not unknown or "no_such" in request.path:
        return sound(request)
    return replace(sound(request), status=200).holding(b"null")


@breaks("seqcol.attribute.another-attribute")
def by_digest_alone(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not request.path.startswith(f"{BELOW}names/") or answer.status != 404:
        return answer
    return sound(replace(request, target=request.target.replace("/names/", "/lengths/")))


@breaks("seqcol.attribute.unknown-attribute")
def unknown_attribute_is_an_error_of_the_server(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 500, when="/no_such_attribute/" in request.path)


@breaks("seqcol.attribute.object-type")
def any_type_of_objects(request: Request, sound: Sound) -> Response:
    target = request.target.replace("/attribute/sequence/", BELOW)
    return sound(replace(request, target=target))
