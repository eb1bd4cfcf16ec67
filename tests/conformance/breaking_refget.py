"""What a sound server says of sequences and collections, changed on the way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from tests.conformance.broken_server import Request, Response, Sound

Change = Callable[[Response], Response]
ChangeDocument = Callable[[dict[str, Any]], object]


def is_residues(request: Request) -> bool:
    """Whether a request is one for a sequence, or a part of one."""
    parts = request.path.strip("/").split("/")
    return len(parts) == 2 and parts[0] == "sequence" and parts[1] != "service-info"


def is_metadata(request: Request) -> bool:
    """Whether a request is one for the metadata of a sequence."""
    return request.path.startswith("/sequence/") and "/metadata" in request.path


def is_part(request: Request) -> bool:
    """Whether a request is one for a part of a sequence by start and end."""
    return is_residues(request) and bool({"start", "end"} & {*request.query})


def sequence_id(request: Request) -> str:
    """The id in the path, as it was sent."""
    return request.path.strip("/").split("/")[1]


def whole(request: Request, sound: Sound) -> Response:
    """The sound answer with all of the sequence that a part is asked of."""
    headers = {name: value for name, value in request.headers.items() if name != "range"}
    return sound(replace(request, method="GET", target=request.path, headers=headers))


def positions(request: Request) -> tuple[int, int]:
    """`start` and `end`; -1 for what is missing or no number."""
    start, end = (request.query.get(name, "") for name in ("start", "end"))
    return int(start) if start.isdecimal() else -1, int(end) if end.isdecimal() else -1


def places(request: Request) -> tuple[str, str]:
    """First and last place in Range, as they were sent; empty where there are none."""
    first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
    return first, last


def without_header(request: Request, name: str) -> Request:
    headers = {key: value for key, value in request.headers.items() if key != name}
    return replace(request, headers=headers)


def asking(request: Request, query: Mapping[str, object]) -> Request:
    """The request with another query."""
    text = urlencode({name: str(value) for name, value in query.items()})
    return replace(request, target=f"{request.path}?{text}" if text else request.path)


def residues(request: Request, sound: Sound, change: Change) -> Response:
    """The sound answer, changed if it holds residues, or is the HEAD of one."""
    answer = sound(request)
    given = is_residues(request) and request.method in ("GET", "HEAD")
    return change(answer) if given and answer.status in (200, 206) else answer


def refused(request: Request, sound: Sound, status: int, *, when: bool) -> Response:
    """A refusal `when` that is so, else the sound answer."""
    answer = sound(request)
    if not when:
        return answer
    return replace(answer, status=status).holding(b"refused")


def document(request: Request, sound: Sound, path: str, change: ChangeDocument) -> Response:
    """The sound answer; if it is one for a path below this and is a JSON object, with that changed
    in place."""
    answer = sound(request)
    if not request.path.startswith(path) or answer.status != 200 or not answer.body:
        return answer
    found = json.loads(answer.body)
    if isinstance(found, dict):
        change(found)
    return answer.holding(json.dumps(found).encode())


def service_info(request: Request, sound: Sound, change: ChangeDocument) -> Response:
    """The sound answer; the service-info of sequences changed in place."""
    return document(request, sound, "/sequence/service-info", change)


def metadata(request: Request, sound: Sound, change: ChangeDocument) -> Response:
    """The sound answer; metadata changed in place."""
    if not is_metadata(request):
        return sound(request)
    return document(request, sound, "/", lambda found: change(found["metadata"]))


def schema(request: Request, sound: Sound, change: ChangeDocument) -> Response:
    """The sound answer; the schema of collections changed in place."""
    return document(
        request, sound, "/service-info", lambda found: change(found["seqcol"]["schema"])
    )


def collection(request: Request, sound: Sound, level: int, change: ChangeDocument) -> Response:
    """The sound answer; collections of this level changed in place."""
    if request.query.get("level", "2") != str(level):
        return sound(request)
    return document(request, sound, "/collection/", change)


def listing(request: Request, sound: Sound, change: ChangeDocument) -> Response:
    """The sound answer; lists of collections changed in place."""
    return document(request, sound, "/list/collection", change)


def comparison(request: Request, sound: Sound, method: str, change: ChangeDocument) -> Response:
    """The sound answer; comparisons, asked for by this method, changed in place."""
    if request.method != method:
        return sound(request)
    return document(request, sound, "/comparison/", change)
