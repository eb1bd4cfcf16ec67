"""Refusals that say the wrong thing, or say it so that clients do not understand."""

import gzip
import json
from collections.abc import Callable
from typing import Any

from conformance.cases.htsget_errors import UNKNOWN_ID
from tests.conformance.breaking import breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import error


def worded(request: Request, sound: Sound, change: Callable[[dict[str, Any]], object]) -> Response:
    """The sound answer; if it refuses a ticket to GET, with its document changed in place."""
    answer = sound(request)
    if not is_refused(request, answer) or not answer.body:
        return answer
    document = json.loads(answer.body)
    change(document)
    return answer.holding(json.dumps(document).encode())


def is_refused(request: Request, answer: Response) -> bool:
    """Whether a ticket is refused to GET or HEAD."""
    return is_ticket(request) and request.method in ("GET", "HEAD") and answer.status >= 400


def is_unknown(request: Request) -> bool:
    """Whether a ticket is asked for by an id that nothing has."""
    return is_ticket(request) and request.path.endswith(UNKNOWN_ID) and request.method == "GET"


@breaks("htsget.errors.status", "htsget.errors.not-found")
def errors_with_status_200(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return Response(200, answer.headers, answer.body) if is_unknown(request) else answer


@breaks("htsget.errors.status", "htsget.errors.not-found", "htsget.errors.types")
def storage_fails_on_unknown_ids(request: Request, sound: Sound) -> Response:
    return error(500, "InternalServerError") if is_unknown(request) else sound(request)


@breaks("htsget.errors.not-found")
def unknown_id_is_invalid_input(request: Request, sound: Sound) -> Response:
    return error(400, "InvalidInput") if is_unknown(request) else sound(request)


@breaks("htsget.errors.known-fields")
def request_id_beside_the_message(request: Request, sound: Sound) -> Response:
    return worded(request, sound, lambda document: document["htsget"].update(request="1"))


@breaks("htsget.errors.body")
def status_beside_htsget(request: Request, sound: Sound) -> Response:
    return worded(request, sound, lambda document: document.update(status=400))


@breaks("htsget.errors.body")
def no_message(request: Request, sound: Sound) -> Response:
    return worded(request, sound, lambda document: document["htsget"].pop("message"))


@breaks("htsget.errors.text")
def message_is_a_list(request: Request, sound: Sound) -> Response:
    return worded(request, sound, lambda document: document["htsget"].update(message=["no"]))


@breaks("htsget.errors.text")
def empty_message(request: Request, sound: Sound) -> Response:
    return worded(request, sound, lambda document: document["htsget"].update(message=""))


@breaks("htsget.errors.content-type")
def errors_as_plain_text(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not is_refused(request, answer):
        return answer
    return answer.having(content_type="text/plain; charset=utf-8")


@breaks("htsget.errors.types", "htsget.regions.start-alone")
def type_of_its_own(request: Request, sound: Sound) -> Response:
    def rename(document: dict[str, Any]) -> None:
        document["htsget"]["error"] = "BadRequest"

    alone = "start" in request.query and "referenceName" not in request.query
    return worded(request, sound, rename) if alone else sound(request)


@breaks("htsget.errors.status-of-type")
def unknown_reference_is_400(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if is_refused(request, answer) and "referenceName" in request.query and answer.status == 404:
        return Response(400, answer.headers, answer.body)
    return answer


@breaks("htsget.errors.content-coding")
def compressed_if_accepted(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    coded = "gzip" in request.headers.get("accept-encoding", "")
    if not coded or not is_refused(request, answer):
        return answer
    return answer.holding(gzip.compress(answer.body)).having(content_encoding="gzip")


@breaks("htsget.errors.elsewhere")
def page_of_the_framework(request: Request, sound: Sound) -> Response:
    if request.path.startswith("/no-such-endpoint"):
        return Response(404, {"content-type": "text/html"}, b"<h1>Not Found</h1>")
    return sound(request)


@breaks("htsget.errors.method")
def delete_accepted(request: Request, sound: Sound) -> Response:
    if request.method == "DELETE":
        return Response(202, {}, error(202, "NotFound").body)
    return sound(request)


@breaks("htsget.errors.method")
def allow_left_out(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(allow=None) if answer.status == 405 else answer


@breaks("htsget.errors.method-body")
def empty_405(request: Request, sound: Sound) -> Response:
    """As htsget-rs."""
    answer = sound(request)
    return answer.holding(b"") if answer.status == 405 else answer


@breaks("htsget.errors.hostile-id")
def nul_in_a_path(request: Request, sound: Sound) -> Response:
    """What `open` raises is not caught."""
    if is_ticket(request) and "%00" in request.path:
        return error(500, "InternalServerError")
    return sound(request)


@breaks("htsget.errors.hostile-id")
def way_out_of_the_directory(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "%2E%2E%2F" in request.path.upper():
        return Response(200, {"content-type": "text/plain"}, b"root:x:0:0")
    return sound(request)


@breaks("htsget.errors.hostile-id")
def connection_lost_on_long_ids(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and len(request.path) > 4096:
        return Response(414, {"content-type": "text/plain"}, b"too long", cut=8)
    return sound(request)


@breaks("htsget.errors.hostile-query")
def bytes_that_are_no_utf_8(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "%FF" in request.target.partition("?")[2]:
        return error(500, "InternalServerError")
    return sound(request)


@breaks("htsget.errors.nothing-local")
def path_in_the_message(request: Request, sound: Sound) -> Response:
    """As htsget-rs, whose messages name what the storage said."""

    def tell(document: dict[str, Any]) -> None:
        document["htsget"]["message"] = "cannot open /srv/htsget/private/x.bam: no such file"

    return worded(request, sound, tell)


@breaks("htsget.errors.nothing-local")
def bucket_in_the_message(request: Request, sound: Sound) -> Response:
    def tell(document: dict[str, Any]) -> None:
        document["htsget"]["message"] = "no key s3://clinic-reads/x.bam"

    return worded(request, sound, tell) if is_unknown(request) else sound(request)
