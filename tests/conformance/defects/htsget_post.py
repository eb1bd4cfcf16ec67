"""POST requests that are not understood, and ones that should not have been."""

import json
from dataclasses import dataclass

from tests.conformance.breaking import Breaking, breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import (
    asked,
    each_read,
    error,
    posted,
    posting,
    rewritten,
    without,
)


def is_post(request: Request) -> bool:
    """Whether a ticket is asked for by POST."""
    return request.method == "POST" and is_ticket(request)


@breaks("htsget.post.offered")
def get_alone(request: Request, sound: Sound) -> Response:
    """All other cases of POST are skipped."""
    if is_post(request):
        return Response(405, {"allow": "GET, HEAD, OPTIONS", "content-type": "text/plain"}, b"no")
    return sound(request)


@breaks("htsget.post.whole")
def header_instead_of_the_whole(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.keys() == {"format"}:
        return sound(posting(request, {**document, "class": "header"}))
    return sound(request)


@breaks("htsget.post.ticket")
def tickets_with_and_without_md5(request: Request, sound: Sound) -> Response:
    document = posted(request)
    answer = sound(request)
    if len(document.get("regions", ())) != 1 or answer.status != 200:
        return answer
    ticket = json.loads(answer.body)
    ticket["htsget"]["md5"] = "0" * 32
    return answer.holding(json.dumps(ticket).encode())


@breaks("htsget.post.ticket")
def default_format_for_one_reference(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.get("regions") == [{"referenceName": "chr1"}] and "format" not in document:
        formats = {"reads": "CRAM", "variants": "BCF"}
        return sound(posting(request, {**document, "format": formats[request.path.split("/")[1]]}))
    return sound(request)


@breaks("htsget.post.format")
def cram_by_default(request: Request, sound: Sound) -> Response:
    if is_post(request) and request.path.startswith("/reads/") and request.body == b"{}":
        return sound(posting(request, {"format": "CRAM"}))
    return sound(request)


@breaks("htsget.post.format-case")
def format_in_upper_case_only(request: Request, sound: Sound) -> Response:
    if str(posted(request).get("format", "BAM")).islower():
        return error(400, "UnsupportedFormat")
    return sound(request)


@breaks("htsget.post.format-unknown")
def unknown_format_ignored(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.get("format") == "GFF":
        return sound(posting(request, {}))
    return sound(request)


@breaks("htsget.post.class-header")
def nothing_for_headers(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document == {"format": "BCF", "class": "header"}:
        answer = sound(request)
        urls = {"url": "data:;base64,", "headers": {}}
        return answer.holding(json.dumps({"htsget": {"format": "BCF", "urls": [urls]}}).encode())
    return sound(request)


@breaks("htsget.post.class-unknown")
def unknown_class_ignored(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.get("class", "header") != "header":
        return sound(posting(request, {**document, "class": "header"}))
    return sound(request)


@breaks("htsget.post.class-header-alone")
def header_with_anything(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if document.get("class") == "header":
        kept = {name: value for name, value in document.items() if name in ("format", "class")}
        return sound(posting(request, kept))
    return sound(request)


@breaks("htsget.post.fields")
def bases_withheld(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if "SEQ" in document.get("fields", ()) and document.get("format") == "BAM":
        hide = each_read(lambda read: setattr(read, "query_sequence", None))
        return rewritten(request, sound, hide)
    return sound(request)


@breaks("htsget.post.tags-none")
def no_tags_is_no_list(request: Request, sound: Sound) -> Response:
    if posted(request).get("tags") == []:
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.post.tags-and-notags")
def notags_wins(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if {"tags", "notags"} <= document.keys():
        return sound(posting(request, {**document, "tags": []}))
    return sound(request)


@breaks("htsget.post.lists")
def strings_are_lists_of_characters(request: Request, sound: Sound) -> Response:
    document = posted(request)
    if isinstance(document.get("tags"), str):
        return sound(posting(request, {**document, "tags": []}))
    return sound(request)


@breaks("htsget.post.query")
def query_of_post_ignored(request: Request, sound: Sound) -> Response:
    return sound(asked(request, {})) if is_post(request) else sound(request)


@breaks("htsget.post.query")
def format_of_the_query_is_used(request: Request, sound: Sound) -> Response:
    if is_post(request) and "format" in request.query:
        format = request.query["format"]
        return sound(posting(without(request, "format"), {**posted(request), "format": format}))
    return sound(request)


@breaks("htsget.post.not-json")
def refused_in_plain_text(request: Request, sound: Sound) -> Response:
    """As htsget-rs, whose framework answers."""
    if is_post(request) and not posted(request) and request.body != b"{}":
        return Response(422, {"content-type": "text/plain"}, b"expected value at line 1")
    return sound(request)


@breaks("htsget.post.not-json")
def any_json_is_an_object(request: Request, sound: Sound) -> Response:
    if is_post(request) and request.body == b"[]":
        return sound(posting(request, {}))
    return sound(request)


@breaks("htsget.post.too-large")
def too_large_is_invalid_input(request: Request, sound: Sound) -> Response:
    if is_post(request) and len(request.body) > 50_000:
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.post.too-large")
def too_large_is_an_internal_error(request: Request, sound: Sound) -> Response:
    if is_post(request) and len(request.body) > 500_000:
        return error(500, "InternalServerError")
    return sound(request)


@breaks("htsget.post.too-large")
def cut_off_when_too_large(request: Request, sound: Sound) -> Response:
    if is_post(request) and len(request.body) > 500_000:
        return Response(413, {"content-type": "text/plain"}, b"too large", cut=9)
    return sound(request)


@breaks("htsget.post.content-type")
def json_alone(request: Request, sound: Sound) -> Response:
    """As frameworks do by themselves."""
    kind = request.headers.get("content-type", "")
    if is_post(request) and not kind.startswith("application/json"):
        return error(415, "InvalidInput")
    return sound(request)


@dataclass
class Remembering:
    """A POST for a region leaves the region behind for the next one who asks for the whole."""

    left: bool = False

    def __call__(self, request: Request, sound: Sound) -> Response:
        left, self.left = self.left, len(posted(request).get("regions", ())) == 1
        if left and request.method == "GET" and request.target in ("/reads/demo", "/variants/demo"):
            return sound(asked(request, {"class": "header"}))
        return sound(request)


region_left_behind = Breaking(frozenset({"htsget.post.safe"}), Remembering(), "region_left_behind")
