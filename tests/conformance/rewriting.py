"""Requests and answers as a defect makes them: other parameters, other reads, other errors."""

import base64
import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pysam

from tests.conformance.breaking import is_ticket
from tests.conformance.broken_server import Request, Response, Sound

Reads = list[pysam.AlignedSegment]


def asked(request: Request, query: Mapping[str, str]) -> Request:
    """The same request with another query."""
    return replace(request, target=f"{request.path}?{urlencode(query)}" if query else request.path)


def without(request: Request, *names: str) -> Request:
    """The same request without some parameters, as a server sees it that does not know them."""
    query = {name: value for name, value in request.query.items() if name not in names}
    return asked(request, query)


def error(status: int, kind: str, message: str = "that will not do") -> Response:
    """A refusal in the form of htsget."""
    body = json.dumps({"htsget": {"error": kind, "message": message}}).encode()
    return Response(status, {"content-type": "application/json"}, body)


def posted(request: Request) -> dict[str, Any]:
    """What the body of a POST for a ticket says; empty for other requests, and where it is no JSON
    object."""
    if request.method != "POST" or not is_ticket(request):
        return {}
    try:
        document = json.loads(request.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def posting(request: Request, document: Mapping[str, Any]) -> Request:
    """The same POST with another body."""
    kept = {name: value for name, value in request.headers.items() if name != "content-length"}
    return replace(request, headers=kept, body=json.dumps(document).encode())


def rewritten(request: Request, sound: Sound, arrange: Callable[[Reads], Reads]) -> Response:
    """A ticket for BAM with other reads, inline; what is no ticket is left as it is."""
    answer = sound(request)
    if answer.status != 200:
        return answer
    document = json.loads(answer.body)
    urls = [urlsplit(each["url"]).path for each in document["htsget"]["urls"]]
    data = b"".join(sound(Request("GET", each, {})).body for each in urls)
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "in.bam", Path(directory) / "out.bam"
        source.write_bytes(data)
        with (
            pysam.AlignmentFile(str(source), check_sq=False) as reads,
            pysam.AlignmentFile(str(target), "wb", template=reads) as out,
        ):
            for read in arrange([*reads.fetch(until_eof=True)]):
                out.write(read)
        url = f"data:;base64,{base64.b64encode(target.read_bytes()).decode()}"
    document["htsget"]["urls"] = [{"url": url, "headers": {}}]
    return answer.holding(json.dumps(document).encode())


def each_read(change: Callable[[pysam.AlignedSegment], object]) -> Callable[[Reads], Reads]:
    """Arrange reads by changing each in its place."""

    def arrange(reads: Reads) -> Reads:
        for read in reads:
            change(read)
        return reads

    return arrange


def with_tags(read: pysam.AlignedSegment, kept: Collection[str]) -> None:
    """Drop all other tags of a read."""
    read.set_tags([tag for tag in read.get_tags(with_value_type=True) if tag[0] in kept])
