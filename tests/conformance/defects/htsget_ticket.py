"""Tickets that are not as they should be."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from tests.conformance.breaking import breaks, changed, is_ticket
from tests.conformance.broken_server import Request, Response, Sound


@breaks("htsget.ticket.single-key")
def another_key_behind(request: Request, sound: Sound) -> Response:
    return changed(request, sound, lambda document: document.update(trace="1"))


@breaks("htsget.ticket.single-key", "htsget.ticket.prefix")
def another_key_in_front(request: Request, sound: Sound) -> Response:
    def in_front(document: dict[str, Any]) -> None:
        ticket = document.pop("htsget")
        document.update(trace="1", htsget=ticket)

    return changed(request, sound, in_front)


@breaks("htsget.ticket.prefix")
def byte_order_mark(request: Request, sound: Sound) -> Response:
    return _rewritten(request, sound, lambda body: b"\xef\xbb\xbf" + body)


@breaks("htsget.ticket.utf-8", "htsget.ticket.prefix")
def utf_16(request: Request, sound: Sound) -> Response:
    return _rewritten(request, sound, lambda body: body.decode().encode("utf-16"))


@breaks("htsget.ticket.content-type", "htsget.ticket.version")
def plain_json(request: Request, sound: Sound) -> Response:
    """As htsget-rs sends it."""
    answer = sound(request)
    return answer.having(content_type="application/json") if _given(request, answer) else answer


@breaks("htsget.ticket.content-type")
def version_2_unless_asked(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not _given(request, answer) or "vnd" in request.headers.get("accept", ""):
        return answer
    return answer.having(content_type="application/vnd.ga4gh.htsget.v2.0.0+json")


@breaks("htsget.ticket.version")
def always_the_newest(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not _given(request, answer):
        return answer
    return answer.having(content_type="application/vnd.ga4gh.htsget.v1.3.0+json")


@breaks("htsget.ticket.accept", "htsget.ticket.version")
def older_versions_not_acceptable(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "v1.0.0" in request.headers.get("accept", ""):
        return Response(406, {"content-type": "text/plain"}, b"not acceptable")
    return sound(request)


@breaks("htsget.ticket.accept-any")
def not_acceptable(request: Request, sound: Sound) -> Response:
    accept = request.headers.get("accept", "*/*")
    if is_ticket(request) and "json" not in accept and "*/*" not in accept:
        return Response(406, {"content-type": "text/plain"}, b"not acceptable")
    return sound(request)


@breaks("htsget.ticket.content-coding")
def compressed_if_accepted(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not _given(request, answer) or "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    return answer.holding(gzip.compress(answer.body)).having(content_encoding="gzip")


@breaks("htsget.ticket.format")
def format_in_lower_case(request: Request, sound: Sound) -> Response:
    return changed(
        request,
        sound,
        lambda document: document["htsget"].update(format=document["htsget"]["format"].lower()),
    )


@breaks("htsget.ticket.urls")
def relative_urls(request: Request, sound: Sound) -> Response:
    def relative(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            each["url"] = "/" + each["url"].split("/", 3)[3]

    return changed(request, sound, relative)


@breaks("htsget.ticket.headers")
def number_as_header(request: Request, sound: Sound) -> Response:
    return _each_url(request, sound, lambda entry: entry["headers"].update({"X-Part": 1}))


@breaks("htsget.ticket.headers")
def null_as_headers(request: Request, sound: Sound) -> Response:
    return _each_url(request, sound, lambda entry: entry.update(headers=None))


@breaks("htsget.ticket.headers-present")
def no_headers(request: Request, sound: Sound) -> Response:
    return _each_url(request, sound, lambda entry: entry.pop("headers"))


@breaks("htsget.ticket.class")
def class_in_upper_case(request: Request, sound: Sound) -> Response:
    return _each_url(request, sound, lambda entry: entry.update({"class": entry["class"].upper()}))


@breaks("htsget.ticket.class-everywhere")
def class_of_headers_only(request: Request, sound: Sound) -> Response:
    def unclassed(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"][1:]:
            del each["class"]

    return changed(request, sound, unclassed)


@breaks("htsget.ticket.inline-base64")
def inline_in_the_alphabet_of_urls(request: Request, sound: Sound) -> Response:
    return _inlined(
        request, sound, lambda data: f"data:;base64,{base64.urlsafe_b64encode(data).decode()}"
    )


@breaks("htsget.ticket.inline-base64")
def inline_encoded_twice(request: Request, sound: Sound) -> Response:
    def encode(data: bytes) -> str:
        return f"data:;base64,{quote(base64.b64encode(data), safe='')}"

    return _inlined(request, sound, encode)


@breaks("htsget.ticket.inline-base64")
def inline_without_base64(request: Request, sound: Sound) -> Response:
    return _inlined(request, sound, lambda data: f"data:,{quote(data, safe='')}")


@breaks("htsget.ticket.inline-size")
def inline_header_of_six_megabytes(request: Request, sound: Sound) -> Response:
    if request.query != {"format": "BAM", "class": "header"}:
        return sound(request)
    media = f"text/plain;note={'a' * 6_000_000}"
    return _inlined(
        request, sound, lambda data: f"data:{media};base64,{base64.b64encode(data).decode()}"
    )


@breaks("htsget.ticket.block-size", "htsget.blocks.head")
def blocks_of_two_gigabytes(request: Request, sound: Sound) -> Response:
    if request.method == "HEAD" and request.path.startswith("/blocks/"):
        return sound(request).having(content_length=str(2**31))
    return sound(request)


@breaks("htsget.ticket.known-fields")
def ciphers_named(request: Request, sound: Sound) -> Response:
    return changed(
        request, sound, lambda document: document["htsget"].update(encryptionScheme="none")
    )


@breaks("htsget.ticket.known-fields")
def size_of_each_url(request: Request, sound: Sound) -> Response:
    return _each_url(request, sound, lambda entry: entry.update(size=1))


@breaks("htsget.ticket.md5")
def md5_of_something_else(request: Request, sound: Sound) -> Response:
    return changed(request, sound, lambda document: document["htsget"].update(md5="0" * 32))


def _given(request: Request, answer: Response) -> bool:
    """Whether a ticket is given."""
    return is_ticket(request) and answer.status == 200 and request.method != "OPTIONS"


def _rewritten(request: Request, sound: Sound, change: Callable[[bytes], bytes]) -> Response:
    answer = sound(request)
    return answer.holding(change(answer.body)) if _given(request, answer) else answer


def _each_url(
    request: Request, sound: Sound, change: Callable[[dict[str, Any]], object]
) -> Response:
    def change_all(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            change(each)

    return changed(request, sound, change_all)


def _inlined(request: Request, sound: Sound, encode: Callable[[bytes], str]) -> Response:
    """The ticket, with its first block inline."""
    answer = sound(request)
    if not _given(request, answer) or request.method == "HEAD":
        return answer
    document = json.loads(answer.body)
    first = document["htsget"]["urls"][0]
    block = sound(Request("GET", urlsplit(first["url"]).path, {}))
    first["url"] = encode(block.body)
    return answer.holding(json.dumps(document).encode())
