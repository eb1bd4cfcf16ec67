"""A strict htsget client: what it accepts, every real client accepts.

It fetches the URLs of a ticket in order and checks the ticket, each block and their concatenation.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from tests.support.bgzf_layout import BGZF_EOF, bgzf_blocks
from tests.support.cram_layout import FILE_DEFINITION, containers, eof_marker
from tests.support.oracle import Region
from tests.support.sample_recipes import Sample

TICKET_TYPE = "application/vnd.ga4gh.htsget.v1."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a ticket led to: the bytes of its URLs, in order, and the class of each."""

    format: str
    blocks: tuple[bytes, ...]
    classes: tuple[str, ...]

    @property
    def header(self) -> bytes:
        """The bytes of the URLs of class `header`."""
        return b"".join(
            block for block, kind in zip(self.blocks, self.classes, strict=True) if kind == "header"
        )

    @property
    def data(self) -> bytes:
        """The file that the client ends up with."""
        return b"".join(self.blocks)


class RefusedError(Exception):
    """The server answered a ticket request with an htsget error."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(f"{status} {kind}: {message}")
        self.status = status
        self.kind = kind


class BrokenProfileError(AssertionError):
    """A ticket or its blocks break the profile that every client reads."""


def require(holds: bool, complaint: str) -> None:
    """Raise `BrokenProfileError` unless the condition holds."""
    if not holds:
        raise BrokenProfileError(complaint)


class HtsgetClient:
    """Asks one server; `session` is the caller's to close."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base.rstrip("/")

    def url(self, endpoint: str, object_id: str, query: Sequence[tuple[str, str]] = ()) -> URL:
        """The ticket URL, every reserved character of id and values escaped."""
        text = f"{self._base}/{endpoint}/{quote(object_id)}"
        return URL(f"{text}?{urlencode(query)}" if query else text, encoded=True)

    async def get(self, sample: Sample, region: Region | None = None, **query: str) -> Answer:
        """Ask by GET for a region of the sample, or for all of it."""
        asked = [("format", sample.format)]
        if region is not None:
            names = ("referenceName", "start", "end")
            values = zip(names, region, strict=True)
            asked += [(name, str(value)) for name, value in values if value is not None]
        asked += [(name.rstrip("_"), value) for name, value in query.items()]
        return await self.ticket("GET", self.url(sample.endpoint, sample.object_id, asked))

    async def post(self, sample: Sample, regions: Iterable[Region] | None = None) -> Answer:
        """Ask by POST for many regions, or for all of the sample."""
        body: dict[str, Any] = {"format": sample.format}
        if regions is not None:
            names = ("referenceName", "start", "end")
            body["regions"] = [
                {
                    name: value
                    for name, value in zip(names, region, strict=True)
                    if value is not None
                }
                for region in regions
            ]
        return await self.ticket("POST", self.url(sample.endpoint, sample.object_id), body)

    async def ticket(self, method: str, url: URL, body: Any = None) -> Answer:
        """Ask for a ticket and fetch what it names; `RefusedError` for an htsget error."""
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(method, url, data=data) as response:
            text = await response.text()
            require("Content-Encoding" not in response.headers, "a ticket must not be compressed")
            if response.status != 200:
                raise _refusal(response, text)
            require(response.content_type.startswith(TICKET_TYPE), "content type of the ticket")
        ticket = _checked_ticket(text)
        urls = ticket["urls"]
        blocks = [await self._fetch(URL(each["url"], encoded=True)) for each in urls]
        answer = Answer(ticket["format"], tuple(blocks), tuple(each["class"] for each in urls))
        check_layout(answer)
        return answer

    async def _fetch(self, url: URL) -> bytes:
        async with self._session.get(url) as response:
            require(response.status == 200, f"a data block answered {response.status}")
            require("Content-Encoding" not in response.headers, "a block must not be compressed")
            data = await response.read()
            length = response.headers.get("Content-Length")
            require(length == str(len(data)), f"Content-Length {length} for {len(data)} bytes")
            return data


def _refusal(response: aiohttp.ClientResponse, text: str) -> RefusedError:
    require(response.content_type == "application/json", f"{response.status} with no JSON: {text}")
    error = json.loads(text)["htsget"]
    require(set(error) == {"error", "message"}, f"keys of an error: {sorted(error)}")
    return RefusedError(response.status, error["error"], error["message"])


def _checked_ticket(text: str) -> dict[str, Any]:
    """The profile: htslib wants one top-level key, htsjdk `headers`, @gmod/bam the header alone."""
    require(text.replace(" ", "").startswith('{"htsget":'), "a ticket begins with its only key")
    document = json.loads(text)
    require(set(document) == {"htsget"}, "htsget is the only top-level key")
    ticket: dict[str, Any] = document["htsget"]
    require(set(ticket) <= {"format", "urls", "md5"}, f"keys of a ticket: {sorted(ticket)}")
    require(bool(ticket["urls"]), "urls must not be empty")
    for each in ticket["urls"]:
        require(set(each) == {"url", "headers", "class"}, f"keys of a URL: {sorted(each)}")
        require(each["headers"] == {}, "headers is an empty object")
        require(each["class"] in ("header", "body"), f"class {each['class']!r}")
        require(each["url"].startswith(("http://", "https://")), "URLs are absolute")
    classes = [each["class"] for each in ticket["urls"]]
    require(classes[0] == "header", "the first URL is the header")
    require("header" not in classes[1:] or "body" not in classes, "one URL for the header")
    return ticket


def check_layout(answer: Answer) -> None:
    """Every URL a whole number of blocks or containers, one EOF marker, at the very end."""
    if answer.format == "CRAM":
        _check_containers(answer)
    else:
        _check_blocks(answer)


def _check_blocks(answer: Answer) -> None:
    for number, block in enumerate(answer.blocks):
        try:
            parts = list(bgzf_blocks(block))
        except ValueError as broken:
            raise BrokenProfileError(f"URL {number}: {broken}") from broken
        for _, _, extra_length in parts:
            require(extra_length == 6, "a block has subfields beside BC")
    require(answer.data.endswith(BGZF_EOF), "no EOF marker at the end")
    # Empty blocks inside a file are no end: those of the source go out with the rest.
    require(not answer.data.endswith(BGZF_EOF * 2), "two EOF markers at the end")


def _check_containers(answer: Answer) -> None:
    version, marker = answer.data[4], eof_marker(answer.data)
    markers = 0
    for number, block in enumerate(answer.blocks):
        try:
            start = 0 if number else FILE_DEFINITION
            parts = list(containers(block, start, version))
        except (ValueError, IndexError) as broken:
            raise BrokenProfileError(f"URL {number}: {broken}") from broken
        markers += sum(block[at : at + size] == marker for at, size in parts)
    require(answer.data.endswith(marker), "no EOF marker at the end")
    require(markers == 1, f"{markers} EOF markers")
