"""URLs that do not lead to data as they should."""

import gzip
import itertools
import json
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from tests.conformance.breaking import breaks, changed
from tests.conformance.broken_server import Request, Response, Sound


def is_block(request: Request) -> bool:
    """Whether a request is one for data."""
    return request.path.startswith("/blocks/")


def is_data(request: Request) -> bool:
    """Whether a request is a GET for data."""
    return is_block(request) and request.method == "GET"


@breaks("htsget.blocks.percent-encoded")
def names_as_they_are(request: Request, sound: Sound) -> Response:
    """File names with blanks and umlauts, in URLs that nobody encoded."""
    if is_block(request):
        return sound(replace(request, target=request.path))

    def named(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            each["url"] += "?file=Müller 1.bam"

    return changed(request, sound, named)


@breaks("htsget.blocks.get")
def always_partial(request: Request, sound: Sound) -> Response:
    """Files are read by ranges, and so is the status."""
    answer = sound(request)
    return replace(answer, status=206) if is_data(request) and answer.status == 200 else answer


class OnceOnly:
    """URLs that are used up by a GET of all of their data."""

    __name__ = "urls_for_one_use"

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._used: Counter[str] = Counter()

    def __call__(self, request: Request, sound: Sound) -> Response:
        if is_block(request):
            if request.method == "GET" and request.headers.keys() <= _PLAIN:
                self._used[request.target] += 1
            used = self._used[request.target] > 1 and "range" not in request.headers
            gone = used and request.method == "GET" and request.headers.keys() <= _PLAIN
            return Response(410, {}) if gone else sound(replace(request, target=request.path))

        def numbered(document: dict[str, Any]) -> None:
            for each in document["htsget"]["urls"]:
                each["url"] += f"?use={next(self._numbers)}"

        return changed(request, sound, numbered)


_PLAIN = {"host", "user-agent", "accept-encoding"}

urls_for_one_use = breaks("htsget.blocks.retries")(OnceOnly())


@breaks("htsget.blocks.https")
def address_that_it_listens_to(request: Request, sound: Sound) -> Response:
    """URLs with the address of the configuration, which is that of no machine."""

    def listening(document: dict[str, Any]) -> None:
        for each in document["htsget"]["urls"]:
            each["url"] = each["url"].replace("//127.0.0.1:", "//0.0.0.0:")

    return changed(request, sound, listening)


@breaks("htsget.blocks.length")
def end_of_connection_is_end_of_data(request: Request, sound: Sound) -> Response:
    """As servers do that speak HTTP/1.0."""
    answer = sound(request)
    return replace(answer, counted=False) if is_data(request) else answer


@breaks("htsget.blocks.content-coding")
def data_compressed_again(request: Request, sound: Sound) -> Response:
    """A proxy that compresses whatever a client accepts so."""
    answer = sound(request)
    if not is_data(request) or "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    return answer.holding(gzip.compress(answer.body)).having(content_encoding="gzip")


@breaks("htsget.blocks.accept")
def not_acceptable(request: Request, sound: Sound) -> Response:
    """As who reads the first type of several alone."""
    preferred = request.headers.get("accept", "*/*").partition(",")[0]
    if is_data(request) and preferred not in ("*/*", "application/octet-stream"):
        return Response(406, {"content-type": "text/plain"}, b"Not Acceptable")
    return sound(request)


@breaks("htsget.blocks.sub-ranges")
def ranges_without_their_last_byte(request: Request, sound: Sound) -> Response:
    """The end of a Range is part of it."""
    answer = sound(request)
    closed = request.headers.get("range", "-").rpartition("-")[2]
    if is_data(request) and closed and answer.status == 206:
        return answer.holding(answer.body[:-1]).having(content_length=None)
    return answer


@breaks("htsget.blocks.sub-ranges", "htsget.blocks.resume")
def whole_data_as_a_part(request: Request, sound: Sound) -> Response:
    """The status is that of a part, the data are all."""
    answer = sound(request)
    if is_data(request) and answer.status == 206:
        kept = {name: value for name, value in request.headers.items() if name != "range"}
        return answer.holding(sound(replace(request, headers=kept)).body)
    return answer


@breaks("htsget.blocks.content-range")
def parts_of_nothing(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(content_range=None) if is_block(request) else answer


@breaks("htsget.blocks.resume")
def ranges_are_ignored(request: Request, sound: Sound) -> Response:
    """As caches and object stores behind proxies; igv.js 1187."""
    if is_data(request):
        kept = {name: value for name, value in request.headers.items() if name != "range"}
        return sound(replace(request, headers=kept))
    return sound(request)


@breaks("htsget.blocks.head")
def no_head(request: Request, sound: Sound) -> Response:
    if is_block(request) and request.method == "HEAD":
        return Response(405, {"allow": "GET"})
    return sound(request)


@breaks("htsget.blocks.changed-url")
def urls_that_are_not_signed(request: Request, sound: Sound) -> Response:
    """As googlegenomics/htsget, whose URLs tell a file and chunks, to whoever writes one."""
    answer = sound(request)
    if is_data(request) and answer.status in (401, 403, 404):
        like = Request("GET", "/reads/demo?class=header", {"host": request.headers["host"]})
        url = json.loads(sound(like).body)["htsget"]["urls"][0]["url"]
        return sound(Request("GET", urlsplit(url).path, like.headers))
    return answer


@breaks("htsget.blocks.changed-url")
def urls_that_make_it_stumble(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if is_data(request) and answer.status in (401, 403, 404):
        return Response(500, {"content-type": "text/plain"}, b"binascii.Error")
    return answer
