"""Servers that keep to htsget 1.3, each in a way of its own, are not failed for it."""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from conformance.case import Outcome, Requirement
from conformance.cases import select
from conformance.dataset import Dataset
from conformance.run import run
from tests.conformance.breaking import changed, is_ticket
from tests.conformance.broken_server import BrokenServer, Defect, Request, Response, Sound
from tests.conformance.defects.htsget_blocks import is_block
from tests.conformance.direct import DirectClient
from tests.conformance.payloads import BGZF_EOF, of_format, replaced
from tests.conformance.rewriting import error

Entries = list[dict[str, Any]]


def _urls(request: Request, sound: Sound, change: Callable[[Entries], Entries]) -> Response:
    def changing(document: dict[str, Any]) -> None:
        document["htsget"]["urls"] = change(document["htsget"]["urls"])

    return changed(request, sound, changing)


def all_in_the_ticket(request: Request, sound: Sound) -> Response:
    """One data URI, without a media type, headers or a class."""

    def inline(entries: Entries) -> Entries:
        host = {"host": request.headers["host"]}
        paths = [urlsplit(each["url"]).path for each in entries]
        data = b"".join(sound(Request("GET", path, host)).body for path in paths)
        return [{"url": f"data:;base64,{base64.b64encode(data).decode()}"}]

    return _urls(request, sound, inline)


def ranges_of_what_wants_credentials(request: Request, sound: Sound) -> Response:
    """Halves of a stored file, for which the ticket has a token of its own."""
    if is_block(request) and request.method != "OPTIONS":
        if request.headers.get("x-storage-token") != "for-an-hour":
            return Response(403, {"content-type": "application/xml"}, b"<Error/>")
        kept = {name: v for name, v in request.headers.items() if name != "x-storage-token"}
        return sound(replace(request, headers=kept))

    def halved(entries: Entries) -> Entries:
        found = []
        for each in entries:
            path, host = urlsplit(each["url"]).path, {"host": request.headers["host"]}
            size = len(sound(Request("GET", path, host)).body)
            for part in (f"0-{size // 2 - 1}", f"{size // 2}-{size - 1}"):
                headers = {"X-Storage-Token": "for-an-hour", "Range": f"bytes={part}"}
                found.append({**each, "headers": headers})
        return found

    return _urls(request, sound, halved)


def blocks_that_have_moved(request: Request, sound: Sound) -> Response:
    if request.path.startswith("/moved/"):
        return sound(replace(request, target=request.target.removeprefix("/moved")))
    if is_block(request) and request.method != "OPTIONS":
        headers = {"location": f"/moved{request.target}", "access-control-allow-origin": "*"}
        return Response(307, headers)
    return sound(request)


def chunked_blocks_for_any_origin(request: Request, sound: Sound) -> Response:
    """Storage that knows neither ranges nor HEAD."""
    if not is_block(request):
        return sound(request)
    if request.method == "HEAD":
        return Response(403, {})
    plain = {name: value for name, value in request.headers.items() if name != "range"}
    answer = sound(replace(request, headers=plain))
    found = answer.having(accept_ranges=None)
    if "access-control-allow-origin" in answer.headers:
        found = found.having(access_control_allow_origin="*", vary=None)
    if "access-control-allow-headers" in answer.headers:
        return found.having(access_control_allow_headers="*")
    return found.having(transfer_encoding="chunked", content_length=None)


def variants_as_plain_gzip(request: Request, sound: Sound) -> Response:
    def packed(header: bytes, body: bytes, _: Request) -> bytes:
        return gzip.compress(gzip.decompress(header + body), mtime=0)

    return replaced(request, sound, of_format("VCF"), packed, alone=True)


def markers_among_blocks(request: Request, sound: Sound) -> Response:
    """SAMv1, 4.1.2: a file that was written to again has one inside."""
    return replaced(
        request,
        sound,
        of_format("BAM"),
        lambda header, body, _: header + BGZF_EOF + body,
        alone=True,
    )


def strict_about_what_it_knows(request: Request, sound: Sound) -> Response:
    known = {"format", "class", "referenceName", "start", "end", "fields", "tags", "notags"}
    if is_ticket(request) and request.query.keys() - known - {"access_token", "token"}:
        return error(400, "InvalidInput")
    if is_ticket(request) and request.headers.get("accept") == "text/html":
        return Response(406, {"content-type": "text/plain"}, b"Not Acceptable")
    return sound(request)


def more_in_every_answer(request: Request, sound: Sound) -> Response:
    """Keys that the specification does not know, and does not forbid."""
    answer = sound(request)
    if answer.body[:10] != b'{"htsget":':
        if request.path.endswith("/service-info") and answer.status == 200:
            document = json.loads(answer.body)
            document.setdefault("htsget", {})["regionsLimit"] = 100
            return answer.holding(json.dumps(document).encode())
        return answer
    document = json.loads(answer.body)
    document["htsget"]["requestId"] = "2f1c"
    return answer.holding(json.dumps(document).encode())


def no_posts_through_the_gateway(request: Request, sound: Sound) -> Response:
    if request.method == "POST" and is_ticket(request):
        return Response(403, {"content-type": "text/plain"}, b"Missing Authentication Token")
    return sound(request)


def authorization_is_required(request: Request, sound: Sound) -> Response:
    """403 and `PermissionDenied`, as the table of errors words it, for those without a token."""
    answer = sound(request)
    if answer.status == 401 and "authorization" not in request.headers:
        return replace(answer, status=403).holding(
            answer.body.replace(b"InvalidAuthentication", b"PermissionDenied")
        )
    return answer


def starts_behind_the_reference(request: Request, sound: Sound) -> Response:
    start = request.query.get("start", "")
    if is_ticket(request) and start.isdecimal() and 2**28 < int(start[:20]) < 2**32:
        return error(400, "InvalidRange")
    return sound(request)


def no_sequences(request: Request, sound: Sound) -> Response:
    """CRAM is all that there is: nobody gives what it is decoded with."""
    if request.path.startswith("/sequence/"):
        return Response(404, {}, b"")
    return sound(request)


def hidden_objects(request: Request, sound: Sound) -> Response:
    """Who may not see an object is told that there is none."""
    answer = sound(request)
    if answer.status in (401, 403) and is_ticket(request):
        return replace(answer, status=404).holding(error(404, "NotFound").body)
    return answer


CONFORMING = [
    all_in_the_ticket,
    ranges_of_what_wants_credentials,
    blocks_that_have_moved,
    chunked_blocks_for_any_origin,
    variants_as_plain_gzip,
    markers_among_blocks,
    strict_about_what_it_knows,
    more_in_every_answer,
    no_posts_through_the_gateway,
    authorization_is_required,
    starts_behind_the_reference,
    no_sequences,
    hidden_objects,
]


@pytest.mark.parametrize("way", CONFORMING, ids=lambda each: each.__name__)
def test_no_server_is_failed_for_what_it_may_do(
    broken: BrokenServer, dataset: Dataset, way: Defect
) -> None:
    broken.defect = way
    client = DirectClient(broken)
    report = run(broken.url, dataset, select(["htsget"], []), Requirement.SHOULD, client)
    failed = {
        each.case.name: each.message
        for each in report.results
        if each.outcome in (Outcome.FAILED, Outcome.ERROR)
    }
    assert failed == {}
    assert report.counts[Outcome.PASSED] > 120
