"""Answers that browsers keep from pages."""

from collections.abc import Callable
from dataclasses import replace

from tests.conformance.breaking import breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.defects.htsget_blocks import is_block

Choice = Callable[[Request, Response], bool]

_ORIGIN = "https://browser.example"


def _asks(method: str) -> Choice:
    return lambda request, _: is_ticket(request) and request.method == method


def _without_cors(request: Request, sound: Sound, when: Choice) -> Response:
    answer = sound(request)
    if request.method == "OPTIONS" or not when(request, answer):
        return answer
    return answer.having(access_control_allow_origin=None)


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS"


@breaks("htsget.cors.ticket")
def one_origin_alone(request: Request, sound: Sound) -> Response:
    """The origin of the configuration is allowed, whoever asks."""
    answer = sound(request)
    found = answer.headers.get("access-control-allow-origin")
    if found and is_ticket(request) and request.method == "GET" and answer.status == 200:
        return answer.having(access_control_allow_origin=_ORIGIN)
    return answer


@breaks("htsget.cors.post")
def gets_alone_have_cors(request: Request, sound: Sound) -> Response:
    return _without_cors(request, sound, _asks("POST"))


@breaks("htsget.cors.error")
def errors_without_cors(request: Request, sound: Sound) -> Response:
    """A middleware that errors go past; as ga4gh/htsget-refserver 23."""
    return _without_cors(request, sound, lambda _, answer: answer.status in (400, 404))


@breaks("htsget.cors.service-info")
def service_info_without_cors(request: Request, sound: Sound) -> Response:
    return _without_cors(request, sound, lambda each, _: each.path.endswith("/service-info"))


@breaks("htsget.cors.block")
def data_without_cors(request: Request, sound: Sound) -> Response:
    """As htsget-rs 100 and googlegenomics/htsget 27."""
    return _without_cors(request, sound, lambda each, _: is_block(each))


@breaks("htsget.cors.vary")
def caches_are_not_told(request: Request, sound: Sound) -> Response:
    return sound(request).having(vary=None)


@breaks("htsget.cors.preflight")
def origin_missing_before_tickets(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    asked = request.headers.get("access-control-request-method")
    if _is_preflight(request) and asked == "GET" and request.path.endswith("/demo"):
        return answer.having(access_control_allow_origin="*")
    return answer


@breaks("htsget.cors.preflight-post")
def posts_are_not_foreseen(request: Request, sound: Sound) -> Response:
    """As npg_ranger, whose methods lack POST."""
    if _is_preflight(request) and request.headers.get("access-control-request-method") == "POST":
        return Response(403, {})
    return sound(request)


@breaks("htsget.cors.preflight-block")
def data_refuse_preflight(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if _is_preflight(request) and is_block(request):
        return replace(answer, status=405)
    return answer


@breaks("htsget.cors.preflight-headers")
def all_headers_but_authorization(request: Request, sound: Sound) -> Response:
    """`*` does not cover Authorization, says Fetch."""
    answer = sound(request)
    if _is_preflight(request) and is_ticket(request):
        headers = "content-type" if "POST" in str(request.headers) else "*"
        return answer.having(access_control_allow_headers=headers)
    return answer


@breaks("htsget.cors.preflight-block-headers")
def ranges_are_not_foreseen(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if _is_preflight(request) and is_block(request):
        return answer.having(access_control_allow_headers="content-type")
    return answer


@breaks("htsget.cors.max-age")
def half_an_hour(request: Request, sound: Sound) -> Response:
    """As npg_ranger."""
    answer = sound(request)
    return answer.having(access_control_max_age="1800") if _is_preflight(request) else answer
