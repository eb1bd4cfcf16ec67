"""Tokens that open too much, or too little."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.conformance.breaking import breaks, changed, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.defects.htsget_blocks import is_data
from tests.conformance.payloads import asking, region_of

_CLINIC = "/reads/clinic/case-7"


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").rpartition(" ")[2]


def _scheme(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[0]


def _bearing(request: Request, token: str) -> Request:
    return replace(request, headers={**request.headers, "authorization": f"Bearer {token}"})


def _opened(request: Request, sound: Sound) -> Response:
    """A ticket, as if what was asked for were open."""
    host = {"host": request.headers["host"]}
    return sound(Request("GET", "/reads/demo?referenceName=chr2&start=1000&end=1200", host))


def _let_in(request: Request, sound: Sound, when: Callable[[Request], bool]) -> Response:
    answer = sound(request)
    refused = is_ticket(request) and request.method == "GET" and answer.status in (401, 403)
    return _opened(request, sound) if refused and when(request) else answer


def _refused(status: int, error: str, message: str = "no") -> Response:
    body = json.dumps({"htsget": {"error": error, "message": message}}).encode()
    challenge = {"www-authenticate": "Bearer"} if status == 401 else {}
    return Response(status, {"content-type": "application/json", **challenge}, body)


@breaks(
    "htsget.auth.token",
    "htsget.auth.scheme-in-any-case",
    "htsget.auth.permitted",
    "htsget.auth.blocks-need-no-token",
    "htsget.auth.token-not-in-ticket",
    "htsget.auth.not-cached",
)
def clock_that_is_slow(request: Request, sound: Sound) -> Response:
    """Tokens are not valid yet."""
    region = region_of(request)
    if request.path == _CLINIC and region and region.start == 40_000 and _token(request):
        return _refused(401, "InvalidAuthentication")
    return sound(request)


@breaks("htsget.auth.scheme-in-any-case")
def scheme_as_in_the_example(request: Request, sound: Sound) -> Response:
    if _scheme(request) == "bearer":
        return _refused(401, "InvalidAuthentication")
    return sound(request)


@breaks("htsget.auth.no-token")
def headers_for_everybody(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which takes `class=header` for harmless."""
    asked = request.query.get("class") == "header"
    return _let_in(request, sound, lambda each: asked and not _token(each))


@breaks("htsget.auth.no-token")
def posts_are_not_guarded(request: Request, sound: Sound) -> Response:
    """A middleware that was put before one of two routes."""
    if request.method == "POST" and request.path == _CLINIC and not _token(request):
        return _opened(request, sound)
    return sound(request)


@breaks("htsget.auth.no-token-error", "htsget.auth.malformed-token-error")
def nobody_is_forbidden(request: Request, sound: Sound) -> Response:
    """The error is named after the status of another one."""
    answer = sound(request)
    if answer.status == 401 and is_ticket(request):
        return answer.holding(answer.body.replace(b"InvalidAuthentication", b"PermissionDenied"))
    return answer


@breaks("htsget.auth.challenge")
def nothing_to_answer_to(request: Request, sound: Sound) -> Response:
    return sound(request).having(www_authenticate=None)


@breaks("htsget.auth.malformed-token")
def tokens_that_make_it_stumble(request: Request, sound: Sound) -> Response:
    if request.path == _CLINIC and _token(request) == "a.b.c":
        return Response(500, {"content-type": "text/plain"}, b"binascii.Error")
    return sound(request)


@breaks("htsget.auth.malformed-token-error")
def forbidden_instead_of_unknown(request: Request, sound: Sound) -> Response:
    """As htsget-rs: a token that is none is answered by 403."""
    answer = sound(request)
    if answer.status == 401 and 0 < len(_token(request)) < 20:
        return replace(answer, status=403)
    return answer


@breaks("htsget.auth.changed-token")
def signatures_are_not_checked(request: Request, sound: Sound) -> Response:
    def whole(each: Request) -> bool:
        parts = _token(each).split(".")
        return len(parts) == 3 and len(parts[2]) == 86 and _scheme(each) == "Bearer"

    return _let_in(request, sound, lambda each: whole(each) and sound(each).status == 401)


@breaks("htsget.auth.unsigned-token")
def algorithm_none(request: Request, sound: Sound) -> Response:
    """As libraries did that took the token's word for how it is signed."""
    return _let_in(request, sound, lambda each: _token(each).endswith("."))


@breaks("htsget.auth.other-scheme")
def any_scheme(request: Request, sound: Sound) -> Response:
    if _scheme(request) != "Bearer" and _token(request):
        return sound(_bearing(request, _token(request)))
    return sound(request)


@breaks("htsget.auth.other-header")
def bearers_in_any_header(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which takes the first header that looks like a bearer's."""
    if "authorization" not in request.headers:
        for value in request.headers.values():
            if value.startswith("Bearer "):
                return sound(_bearing(request, value.removeprefix("Bearer ")))
    return sound(request)


@breaks("htsget.auth.token-in-url")
def tokens_of_the_query(request: Request, sound: Sound) -> Response:
    token = request.query.get("access_token")
    if token:
        return sound(_bearing(asking(request, access_token=None), token))
    return sound(request)


@breaks("htsget.auth.token-not-echoed")
def errors_that_tell_the_token(request: Request, sound: Sound) -> Response:
    if sound(request).status == 401 and _token(request):
        return _refused(401, "InvalidAuthentication", f"{_token(request)!r} is no token")
    return sound(request)


@breaks("htsget.auth.blocks-need-no-token", "htsget.auth.token", "htsget.auth.permitted")
def data_ask_for_the_token_again(request: Request, sound: Sound) -> Response:
    """As CanDIG's htsget_app."""
    if is_data(request) and _is_controlled(request.path) and not _token(request):
        return _refused(401, "InvalidAuthentication")
    return sound(request)


def _is_controlled(path: str) -> bool:
    payload = path.split(".")[2]
    return b"clinic" in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


@breaks("htsget.auth.token-not-in-ticket")
def token_handed_on(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which copies the user's header into the ticket."""
    given = request.headers.get("authorization")

    def copied(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            each["headers"] = {"Authorization": given}

    return changed(request, sound, copied) if given else sound(request)


@breaks("htsget.auth.permitted")
def more_than_permitted(request: Request, sound: Sound) -> Response:
    """A policy of regions, and blocks as they are."""
    if request.path == _CLINIC and region_of(request) and sound(request).status == 200:
        return _opened(request, sound)
    return sound(request)


@breaks("htsget.auth.forbidden")
def any_token_opens_all(request: Request, sound: Sound) -> Response:
    return _let_in(request, sound, lambda each: "start=1000" in each.target and bool(_token(each)))


@breaks("htsget.auth.forbidden-error")
def unauthorized_instead_of_forbidden(request: Request, sound: Sound) -> Response:
    """As sda-download."""
    answer = sound(request)
    return _refused(401, "InvalidAuthentication") if answer.status == 403 else answer


@breaks("htsget.auth.forbidden-whole")
def requests_without_region_are_not_judged(request: Request, sound: Sound) -> Response:
    return _let_in(request, sound, lambda each: not each.query and bool(_token(each)))


@breaks("htsget.auth.forbidden-among-permitted")
def first_region_is_judged(request: Request, sound: Sound) -> Response:
    """One rule has to cover a request, and one region is looked at."""
    if request.method == "POST" and sound(request).status == 403:
        return _opened(request, sound)
    return sound(request)


@breaks("htsget.auth.hidden")
def absent_is_not_refused(request: Request, sound: Sound) -> Response:
    """Access is judged when a file was found."""
    answer = sound(request)
    if answer.status == 401 and request.path not in (_CLINIC, "/variants/clinic/case-7"):
        return _refused(404, "NotFound") if is_ticket(request) else answer
    return answer


@breaks("htsget.auth.cors")
def refusals_without_cors(request: Request, sound: Sound) -> Response:
    """A guard that stands before CORS."""
    answer = sound(request)
    return answer.having(access_control_allow_origin=None) if answer.status == 401 else answer


@breaks("htsget.auth.preflight")
def preflight_is_guarded(request: Request, sound: Sound) -> Response:
    """A guard that stands before CORS, and asks browsers for what they never send."""
    if request.method == "OPTIONS" and request.path == _CLINIC:
        return _refused(401, "InvalidAuthentication")
    return sound(request)


@breaks("htsget.auth.not-cached")
def caches_may_keep_data(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(cache_control="public, max-age=3600") if is_data(request) else answer
