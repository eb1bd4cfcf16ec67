"""What the URLs of a ticket lead to (htsget 1.3.0: Response data blocks)."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from conformance import regions
from conformance.case import Requirement, Skipped, case, require
from conformance.dataset import DataObject
from conformance.http import Answer, shown
from conformance.site import Site, region_query
from conformance.ticket import Block, Ticket

MUST, SHOULD, MAY, EXACT = Requirement

URLS = "htsget 1.3.0, HTTPS data block URLs"

_URL = re.compile(r"https?://[^/?#]+(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
"""RFC 3986, with no fragment, which is never sent."""

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CHANGES = 6
"""Places where a URL is changed."""


def a_ticket(site: Site, data: DataObject, format: str) -> Ticket:
    """The ticket of a region with records where one is known, else of the whole."""
    try:
        region = regions.wide(site.truth(data, format))
    except Skipped:
        region = None
    return site.ticket(data, region_query(region, format) if region else {"format": format})


def remote(site: Site) -> Iterator[tuple[str, Block]]:
    """Some http(s) URLs, the first and the last among them, of a ticket of each object and format.
    Raises `Skipped` at the end when all data are in the tickets."""
    none = True
    for data, format in site.forms():
        blocks = a_ticket(site, data, format).blocks
        for number in regions.some([n for n, block in enumerate(blocks) if not block.inline]):
            none, block = False, blocks[number]
            yield f"{data} as {format}, URL {number}", block
    if none:
        raise Skipped("all data are in the tickets")


def get(site: Site, block: Block, **headers: str) -> Answer:
    """What a URL answers to the ticket's headers and these (underscores for hyphens)."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.client.request("GET", block.url, {**block.headers, **more}, everywhere=True)


def ranged(block: Block) -> bool:
    """Whether the ticket asks for a part of what the URL leads to."""
    return any(name.lower() == "range" for name in block.headers)


@case("htsget.blocks.percent-encoded", MUST, f"{URLS}, 1")
def percent_encoded(site: Site) -> None:
    """Path and query of a URL are percent-encoded."""
    for where, block in remote(site):
        require(
            _URL.fullmatch(block.url) is not None,
            f"{where}: has characters that must be encoded: {shown(block.url)!r}",
        )


@case("htsget.blocks.get", MUST, f"{URLS}, 2")
def accepts_get(site: Site) -> None:
    """GET is answered by 200, or by 206 where the ticket asks for a range."""
    for where, block in remote(site):
        answer = get(site, block)
        wanted = (200, 206) if ranged(block) else (200,)
        require(answer.status in wanted, f"{where}: {answer}")


@case("htsget.blocks.retries", SHOULD, f"{URLS}, 4")
def retries(site: Site) -> None:
    """A URL can be fetched again, and leads to the same bytes."""
    for where, block in remote(site):
        first, second = get(site, block), get(site, block)
        require(second.status == first.status, f"{where}: the second time, {second}")
        require(first.body == second.body, f"{where}: other bytes the second time")


@case("htsget.blocks.https", SHOULD, f"{URLS}, 5")
def https(site: Site) -> None:
    """URLs are https, but those of a machine that nobody reaches from outside, as for testing."""
    for where, block in remote(site):
        parts = urlsplit(block.url)
        safe = parts.scheme == "https" or _is_internal(parts.hostname or "")
        require(safe, f"{where}: is {parts.scheme} and leads to {parts.hostname}")


@case("htsget.blocks.length", MUST, f"{URLS}, 7")
def length(site: Site) -> None:
    """Data come with Content-Length or chunked, so that a client sees when they break off."""
    for where, block in remote(site):
        answer = get(site, block)
        chunked = "chunked" in answer.headers.get("transfer-encoding", "")
        require(
            chunked or "content-length" in answer.headers,
            f"{where}: neither Content-Length nor chunked",
        )


@case("htsget.blocks.content-coding", MUST, "htsget 1.3.0, Protocol essentials")
def content_coding(site: Site) -> None:
    """Data have no content-coding, even for clients that accept one."""
    for where, block in remote(site):
        coding = get(site, block, Accept_Encoding="gzip, deflate, br").headers.get(
            "content-encoding", "identity"
        )
        require(coding == "identity", f"{where}: Content-Encoding is {coding}")


@case("htsget.blocks.accept", MUST, "htsget 1.3.0, HTTPS data block URLs, 6")
def any_accept(site: Site) -> None:
    """Data come to a client that takes any media type, but would rather have another: Java's."""
    for where, block in remote(site):
        answer = get(site, block, Accept="text/html, image/gif, image/jpeg, */*; q=.2")
        require(answer.status in (200, 206), f"{where}: with Accept, {answer}")


@case("htsget.blocks.sub-ranges", MUST, f"{URLS}, 10; RFC 9110, 14.2")
def sub_ranges(site: Site) -> None:
    """A part of a URL's data, asked for by Range, is that part; or all of it with status 200."""
    for where, block in remote(site):
        whole, offset = get(site, block).body, _offset(block)
        if offset is None or len(whole) < 2:
            continue
        first, last = len(whole) // 3, len(whole) // 2
        answer = get(site, _bare(block), Range=f"bytes={offset + first}-{offset + last}")
        part = answer.status == 206 and answer.body == whole[first : last + 1]
        ignored = answer.status == 200 and answer.body == whole and not ranged(block)
        require(part or ignored, f"{where}: {answer} to Range, {len(answer.body)} bytes")


@case("htsget.blocks.content-range", MUST, "RFC 9110, 15.3.7")
def content_range(site: Site) -> None:
    """A part of a URL's data says in Content-Range which one it is."""
    for where, block in remote(site):
        first = _offset(block)
        if first is None:
            continue
        answer = get(site, _bare(block), Range=f"bytes={first}-{first}")
        stated = answer.headers.get("content-range", "")
        right = answer.status != 206 or stated.startswith(f"bytes {first}-{first}/")
        require(right, f"{where}: {answer}, Content-Range is {stated!r}")


@case("htsget.blocks.resume", MAY, "RFC 9110, 14.2; as htslib resumes")
def resume(site: Site) -> None:
    """A download that broke off can be resumed: Range up to the end is answered by 206."""
    for where, block in remote(site):
        whole = get(site, block).body
        if len(whole) < 2 or ranged(block):
            continue
        answer = get(site, block, Range=f"bytes={len(whole) // 2}-")
        rest = answer.status == 206 and answer.body == whole[len(whole) // 2 :]
        require(rest, f"{where}: {answer} to Range, {len(answer.body)} bytes")


@case("htsget.blocks.head", MAY, "RFC 9110, 9.3.2")
def head(site: Site) -> None:
    """HEAD tells the length of the data."""
    for where, block in remote(site):
        size = len(get(site, block).body)
        answer = site.client.request("HEAD", block.url, block.headers, everywhere=True)
        stated = answer.headers.get("content-length")
        require(answer.status in (200, 206), f"{where}: {answer}")
        require(stated == str(size), f"{where}: HEAD says {stated} bytes, GET gives {size}")


@case("htsget.blocks.changed-url", EXACT, "beyond htsget 1.3.0, for data that are controlled")
def changed_url(site: Site) -> None:
    """A URL with a changed character leads to no other data."""
    for where, block in remote(site):
        whole = get(site, block).body
        for changed in _changed(block.url):
            answer = site.client.request("GET", changed, block.headers)
            same = answer.status in (200, 206) and answer.body == whole
            require(
                same or 400 <= answer.status < 500, f"{where}, changed by a character: {answer}"
            )


def _changed(url: str) -> Iterator[str]:
    """The URL with one letter or digit of its last part and query changed, at several places."""
    start = url.rindex("/", 0, url.find("?") if "?" in url else len(url)) + 1
    places = [at for at in range(start, len(url)) if url[at].isascii() and url[at].isalnum()]
    step = max(1, len(places) // _CHANGES)
    for at in places[step // 2 :: step]:
        other = "b" if url[at] in "aA" else "a"
        yield f"{url[:at]}{other}{url[at + 1 :]}"


def _bare(block: Block) -> Block:
    """The block with its headers but Range."""
    kept = {name: value for name, value in block.headers.items() if name.lower() != "range"}
    return Block(block.url, kept, block.kind)


def _offset(block: Block) -> int | None:
    """Where the range begins that the ticket asks for; 0: it asks for none. None: it is counted
    from the end, or several."""
    if not ranged(block):
        return 0
    given = {name.lower(): value for name, value in block.headers.items()}["range"]
    found = _RANGE.fullmatch(given.strip())
    return int(found[1]) if found else None


def _is_internal(host: str) -> bool:
    """Whether a host has a private address, or a name that only its own network knows."""
    if host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
        return address.is_private and not address.is_unspecified
    except ValueError:
        return "." not in host
