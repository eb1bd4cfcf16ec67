"""What a ticket looks like (htsget 1.3.0: Protocol essentials, Response)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from conformance.case import Failed, Requirement, case, require
from conformance.dataset import FORMATS, DataObject
from conformance.http import Unreachable
from conformance.site import Site
from conformance.ticket import Block, Ticket

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

MEDIA_TYPE = re.compile(r"application/vnd\.ga4gh\.htsget\.v1\.[0-9]+\.[0-9]+\+json")
"""The media type of any htsget 1.x."""

ACCEPTS = (
    "application/vnd.ga4gh.htsget.v1.0.0+json",
    "application/vnd.ga4gh.htsget.v1.2.0+json",
    "application/vnd.ga4gh.htsget.v1.99.0+json",
    "application/json,text/plain",
    "text/html, image/gif, image/jpeg, */*; q=0.2",
    "text/html",
)
"""What clients send: htslib and htsjdk, a later version, IGV Desktop, Java, a browser."""

LARGEST_BLOCK = 11 * 10**8
LARGEST_INLINE = 5 * 10**6


def form(data: DataObject) -> dict[str, str]:
    """The query for an object in the format that it is to be had in: empty for the default."""
    return {} if FORMATS[data.endpoint][0] in data.formats else {"format": data.formats[0]}


@case("htsget.ticket.single-key", MUST, "htsget 1.3.0, Protocol essentials")
def single_key(site: Site) -> None:
    """The answer is a JSON object with the single key `htsget`."""
    for data in site.objects():
        ticket = site.ticket(data, form(data))
        keys = [*ticket.answer.json()]
        require(keys == ["htsget"], f"{ticket.answer} with the keys {keys}")


@case("htsget.ticket.prefix", MUST, "htsget 1.3.0, Protocol essentials")
def prefix(site: Site) -> None:
    """White space aside, the answer begins with `{"htsget":`, by which clients know a ticket."""
    for _, ticket in _tickets(site):
        beginning = b"".join(ticket.answer.body.split())[:16]
        require(beginning.startswith(b'{"htsget":'), f"{ticket.answer} begins with {beginning!r}")


@case("htsget.ticket.utf-8", MUST, "htsget 1.3.0, Protocol essentials")
def encoded_as_utf8(site: Site) -> None:
    """Tickets are JSON in UTF-8."""
    for _, ticket in _tickets(site):
        body = ticket.answer.body
        try:
            zeros = "\0" in body.decode()
        except UnicodeDecodeError:
            raise Failed(f"{ticket.answer}: the body is not UTF-8") from None
        require(not zeros, f"{ticket.answer}: the body is UTF-16 or UTF-32")


@case("htsget.ticket.content-type", SHOULD, "htsget 1.3.0, Protocol essentials")
def content_type(site: Site) -> None:
    """Content-Type names the version of htsget, as `application/vnd.ga4gh.htsget.v1.3.0+json`."""
    for _, ticket in _tickets(site):
        found = ticket.answer.media_type
        require(bool(MEDIA_TYPE.fullmatch(found)), f"{ticket.answer} as {found or 'nothing'}")


@case("htsget.ticket.accept", MUST, "htsget 1.3.0, Protocol essentials: Accept")
def version_accepted(site: Site) -> None:
    """An Accept header that names a version of htsget does not keep a client from its ticket."""
    _accepted(site, ACCEPTS[:2])


@case("htsget.ticket.accept-any", MAY, "htsget 1.3.0, Protocol essentials: Accept")
def any_accept(site: Site) -> None:
    """An Accept header never keeps a client from its ticket, whatever it names."""
    _accepted(site, ACCEPTS[2:])


@case("htsget.ticket.version", MAY, "htsget 1.3.0, Protocol essentials: Accept")
def version_asked_for(site: Site) -> None:
    """A version of htsget that Accept asks for is that of the answer; htsjdk warns of others."""
    for data in site.objects():
        for accept in ACCEPTS[:2]:
            found = site.ask(data, form(data), {"Accept": accept}).expect(200).media_type
            require(found == accept, f"{data}: asked for as {accept}, the answer is {found}")


@case("htsget.ticket.content-coding", MUST, "htsget 1.3.0, Protocol essentials")
def no_content_coding(site: Site) -> None:
    """Tickets have no content-coding, even where a client would accept one."""
    for data in site.objects():
        answer = site.ask(data, form(data), {"Accept-Encoding": "gzip, deflate, br, zstd"})
        coding = answer.headers.get("content-encoding", "identity")
        require(coding == "identity", f"{answer} with Content-Encoding: {coding}")


@case("htsget.ticket.format", MUST, "htsget 1.3.0, Response JSON fields: format")
def format_named(site: Site) -> None:
    """The ticket names the format of its data as the specification spells it."""
    for data, format in site.forms():
        named = site.ticket(data, {"format": format}).content.get("format")
        require(named == format, f"{data} as {format}: format is {named!r}")


@case("htsget.ticket.urls", MUST, "htsget 1.3.0, Response JSON fields: urls")
def urls_absolute(site: Site) -> None:
    """`urls` has at least one URL, and each is an absolute http(s) URL or a data URI."""
    for data in site.objects():
        urls = [each.get("url", "") for each in site.ticket(data, form(data)).content["urls"]]
        require(bool(urls), f"{data}: urls is empty")
        for url in urls:
            scheme = urlsplit(url).scheme
            require(scheme in ("http", "https", "data"), f"{data}: a URL is {scheme or 'relative'}")


@case("htsget.ticket.headers", MUST, "htsget 1.3.0, Response JSON fields: headers")
def headers_are_strings(site: Site) -> None:
    """`headers`, where a URL has them, are an object whose values are strings."""
    for data, entry in _entries(site):
        if "headers" in entry:
            given = entry["headers"]
            sound = isinstance(given, dict) and all(isinstance(v, str) for v in given.values())
            require(sound, f"{data}: headers are {_shape(given)}, not one of strings")


@case("htsget.ticket.headers-present", MAY, "htsget 1.3.0, Response JSON fields: headers")
def headers_are_there(site: Site) -> None:
    """Every URL comes with `headers`, if only empty: htsjdk, GATK and JBrowse fail without."""
    for data, entry in _entries(site):
        require("headers" in entry, f"{data}: a URL has no headers")


@case("htsget.ticket.class", MUST, "htsget 1.3.0, Response JSON fields: class")
def class_known(site: Site) -> None:
    """`class`, where a URL has one, is `header` or `body`."""
    for data, entry in _entries(site):
        kind = entry.get("class", "body")
        require(kind in ("header", "body"), f"{data}: the class of a URL is {kind!r}")


@case("htsget.ticket.class-everywhere", MUST, "htsget 1.3.0, Response JSON fields: class")
def class_on_all_or_none(site: Site) -> None:
    """Either all URLs of a ticket have a `class`, or none has."""
    for data, ticket in _tickets(site):
        having = ["class" in entry for entry in ticket.content["urls"]]
        require(len({*having}) <= 1, f"{data}: {sum(having)} of {len(having)} URLs have a class")


@case("htsget.ticket.inline-base64", MUST, "htsget 1.3.0, Inline data block URIs")
def inline_as_base64(site: Site) -> None:
    """Data URIs, where a ticket has them, are base64 of the standard alphabet, with its padding
    and without percent-encoding."""
    for data, block in _inline(site):
        head, _, payload = block.url.partition(",")
        require(head.endswith(";base64"), f"{data}: a data URI begins with {head[:60]!r}")
        try:
            base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Failed(f"{data}: a data URI is not plain base64: {error}") from None


@case("htsget.ticket.inline-size", SHOULD, "htsget 1.3.0, Reliability & performance considerations")
def inline_is_small(site: Site) -> None:
    """Data URIs do not exceed a few megabytes."""
    for data, block in _inline(site):
        size = len(block.url)
        require(size <= LARGEST_INLINE, f"{data}: a data URI has {size} bytes")


@case("htsget.ticket.block-size", SHOULD, "htsget 1.3.0, Reliability & performance considerations")
def blocks_are_bounded(site: Site) -> None:
    """Data blocks do not exceed about a gigabyte, as far as HEAD tells their size."""
    for data, ticket in _tickets(site):
        for block in ticket.blocks:
            if not block.inline:
                try:
                    answer = site.client.request("HEAD", block.url, block.headers, everywhere=True)
                except Unreachable:  # not every server has HEAD
                    continue
                size = answer.headers.get("content-length", "") if answer.status < 300 else ""
                bounded = not size.isdecimal() or int(size) <= LARGEST_BLOCK
                require(bounded, f"{data}: a block has {size} bytes")


@case("htsget.ticket.known-fields", MAY, "htsget 1.3.0, Response JSON fields")
def no_other_fields(site: Site) -> None:
    """Tickets hold what the specification names and nothing else: GATK fails on other keys, as
    does the schema of the GA4GH suite."""
    for data, ticket in _tickets(site):
        found = set(ticket.content) - {"format", "urls", "md5"}
        found.update(*(set(each) - {"url", "headers", "class"} for each in ticket.content["urls"]))
        require(not found, f"{data}: the ticket has the keys {sorted(found)}")


@case("htsget.ticket.md5", MUST, "htsget 1.3.0, Response JSON fields: md5")
def md5_right(site: Site) -> None:
    """`md5`, where a ticket has it, is that of its blocks one after another."""
    for data in site.objects():
        fetched = site.fetch(site.ticket(data, form(data)))
        stated = fetched.ticket.content.get("md5")
        if stated is not None:
            found = hashlib.md5(fetched.data, usedforsecurity=False).hexdigest()
            require(stated == found, f"{data}: md5 is {stated!r}, and of the blocks {found}")


def _accepted(site: Site, named: tuple[str, ...]) -> None:
    for data in site.objects():
        for accept in named:
            answer = site.ask(data, form(data), {"Accept": accept})
            require(answer.status == 200, f"{answer} to Accept: {accept}")


def _tickets(site: Site) -> Iterator[tuple[DataObject, Ticket]]:
    """Tickets for all and for the header of each object, in each of its formats."""
    for data, format in site.forms():
        yield data, site.ticket(data, {"format": format})
        yield data, site.ticket(data, {"format": format, "class": "header"})


def _entries(site: Site) -> Iterator[tuple[DataObject, dict[str, Any]]]:
    return ((data, entry) for data, ticket in _tickets(site) for entry in ticket.content["urls"])


def _inline(site: Site) -> Iterator[tuple[DataObject, Block]]:
    tickets = _tickets(site)
    return ((data, block) for data, ticket in tickets for block in ticket.blocks if block.inline)


def _shape(value: object) -> str:
    if isinstance(value, dict):
        return f"an object of {', '.join(sorted({type(each).__name__ for each in value.values()}))}"
    return type(value).__name__
