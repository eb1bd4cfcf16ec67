"""Data that are not as they should be: what a sound server would send is decoded, changed, and
sent instead."""

import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pysam

from conformance.records import EOF_MARKERS, Record, Records, Region, decode
from tests.conformance.breaking import is_ticket
from tests.conformance.broken_server import Request, Response, Sound

BGZF_EOF = EOF_MARKERS["BAM"][0]
NOTHING = (BGZF_EOF, EOF_MARKERS["CRAM"][0])
"""What stands behind the header when there are no records."""

Choice = Callable[[Request], bool]
Lines = list[str]

_PATH = "/rewritten/"
_MODES = {"BAM": "wb", "VCF": "wz", "BCF": "wb"}
_NUMBER = re.compile(r"[0-9]{1,10}")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def asked_format(request: Request) -> str:
    """The format of the ticket that a request is for."""
    default = "BAM" if request.path.startswith("/reads/") else "VCF"
    given = request.query.get("format") or _body(request).get("format") or default
    return str(given).upper()


def of_format(*formats: str) -> Choice:
    """Tickets for data in one of these formats."""
    return lambda request: asked_format(request) in formats


def of_interval(request: Request) -> bool:
    """Whether a ticket is for a part of a reference with a start and an end."""
    region = region_of(request)
    return region is not None and None not in (region.start, region.end)


def region_of(request: Request) -> Region | None:
    """The region of a GET request that is as it should be."""
    query = request.query
    if request.method != "GET" or "referenceName" not in query:
        return None
    borders = [query.get(name) for name in ("start", "end")]
    if not all(each is None or _NUMBER.fullmatch(each) for each in borders):
        return None
    start, end = (None if each is None else int(each) for each in borders)
    return Region(query["referenceName"], start, end)


def is_header(request: Request) -> bool:
    """Whether a request is for the header alone."""
    return request.query.get("class") == "header"


def is_whole(request: Request) -> bool:
    """Whether a GET request has no reference."""
    return request.method == "GET" and not is_header(request) and region_of(request) is None


def asking(request: Request, **query: object) -> Request:
    """The request with other values in its query; None takes one away."""
    changed = {**request.query, **query}
    kept = {name: value for name, value in changed.items() if value is not None}
    target = f"{request.path}?{urlencode(kept)}" if kept else request.path
    return Request(request.method, target, request.headers, request.body)


def rewritten(
    request: Request,
    sound: Sound,
    when: Choice,
    change: Callable[[list[Record], Request], Lines],
) -> Response:
    """The sound answers; tickets of `when` for BAM, VCF and BCF lead to the records that `change`
    makes of theirs and of the request, behind the header as it was."""

    def body(header: bytes, data: bytes, original: Request) -> bytes:
        format = asked_format(original)
        found = decoded(header + data, format)
        return body_of(found.header, tuple(change([*found.records], original)), format)

    return replaced(request, sound, lambda each: asked_format(each) in _MODES and when(each), body)


def replaced(
    request: Request,
    sound: Sound,
    when: Choice,
    change: Callable[[bytes, bytes, Request], bytes],
    *,
    alone: bool = False,
) -> Response:
    """The sound answers; tickets of `when` have one URL for the body, with the bytes that `change`
    makes of those of header and body, and of the request. Its path says what it is made of, and is
    signed. `alone`: there is no URL of the header, and no class."""
    if request.path.startswith(_PATH):
        original = _signed(request.path)
        if original is None:
            return Response(404, {}, b"")
        header, body, block = followed(original, sound, request)
        return _served(request, sound, block, change(header, body, original))
    answer = sound(request)
    if not leads_to_body(request, answer) or not when(request):
        return answer
    document = json.loads(answer.body)
    urls = document["htsget"]["urls"]
    place = urlsplit(urls[0]["url"])
    new = {"url": f"{place.scheme}://{place.netloc}{_PATH}{_sign(request)}", "headers": {}}
    headers = [each for each in urls if each["class"] == "header"]
    document["htsget"]["urls"] = [new] if alone else [*headers, {**new, "class": "body"}]
    return answer.holding(json.dumps(document).encode())


def leads_to_body(request: Request, answer: Response) -> bool:
    """Whether an answer is a ticket that has more than a header."""
    asked = is_ticket(request) and request.method in ("GET", "POST") and not is_header(request)
    return asked and answer.status == 200 and b'"body"' in answer.body


def followed(
    request: Request, sound: Sound, like: Request | None = None
) -> tuple[bytes, bytes, Request]:
    """Header and body that a sound ticket leads to, and a request for the last of its URLs, with
    method and headers of another."""
    urls = json.loads(sound(request).body)["htsget"]["urls"]
    plain = {"host": request.headers["host"]}
    parts = {"header": b"", "body": b""}
    path = ""
    for each in urls:
        path = urlsplit(each["url"]).path
        parts[each["class"]] += sound(Request("GET", path, plain)).body
    chosen = like or Request("GET", path, plain)
    return parts["header"], parts["body"], Request(chosen.method, path, chosen.headers)


def has_records(request: Request, sound: Sound) -> bool:
    """Whether a request leads to any record."""
    answer = sound(request)
    return leads_to_body(request, answer) and followed(request, sound)[1] not in NOTHING


@lru_cache(maxsize=64)
def decoded(data: bytes, format: str) -> Records:
    """What a file in memory holds."""
    return decode(data, format)


@lru_cache(maxsize=64)
def body_of(header: str, lines: tuple[str, ...], format: str) -> bytes:
    """The records as BAM, VCF or BCF, without the header and with the EOF marker."""
    start = len(written(header, (), format)) - len(BGZF_EOF)
    return written(header, lines, format)[start:]


def written(header: str, lines: tuple[str, ...], format: str) -> bytes:
    """A file of these records."""
    mode = _MODES[format]
    with tempfile.TemporaryDirectory() as directory:
        path, plain = Path(directory, "out"), Path(directory, "in.vcf")
        if format == "BAM":
            made = pysam.AlignmentHeader.from_text(header)
            with pysam.AlignmentFile(str(path), mode, header=made) as reads:
                for line in lines:
                    reads.write(pysam.AlignedSegment.fromstring(line, made))
        else:
            plain.write_text(header + "".join(f"{line}\n" for line in lines))
            with (
                pysam.VariantFile(str(plain)) as source,
                pysam.VariantFile(str(path), mode, header=source.header) as variants,
            ):
                for each in source:
                    variants.write(each)
        return path.read_bytes()


def _served(request: Request, sound: Sound, block: Request, data: bytes) -> Response:
    """The data as the sound server serves blocks: to GET, HEAD, OPTIONS, and one range."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    bare = {name: value for name, value in block.headers.items() if name != "range"}
    answer = sound(Request(block.method, block.target, bare))
    if request.method == "OPTIONS":
        return answer
    answer = answer.having(content_length=str(len(data)), etag=None)
    if not asked:
        return answer.holding(data)
    first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
    part = data[first : last + 1]
    stated = f"bytes {first}-{last}/{len(data)}"
    partial = answer.having(content_range=stated, content_length=str(len(part)))
    return Response(206, partial.headers, part)


def _body(request: Request) -> Mapping[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _sign(request: Request) -> str:
    kept = {"host": request.headers["host"]}
    if "authorization" in request.headers:
        kept["authorization"] = request.headers["authorization"]
    told = json.dumps([request.method, request.target, kept, request.body.decode()])
    text = base64.urlsafe_b64encode(told.encode()).decode()
    return f"{hashlib.sha256(text.encode()).hexdigest()}.{text}"


def _signed(path: str) -> Request | None:
    digest, _, text = path.removeprefix(_PATH).partition(".")
    if digest != hashlib.sha256(text.encode()).hexdigest():
        return None
    method, target, headers, body = json.loads(base64.urlsafe_b64decode(text))
    return Request(method, target, headers, body.encode())
