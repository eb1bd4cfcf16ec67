"""What a ticket looks like (htsget 1.3.0: Protocol essentials, Response)."""

import hashlib
from urllib.parse import urlsplit

from conformance.case import Requirement, case, require
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD


@case("htsget.ticket.single-key", MUST, "htsget 1.3.0, Protocol essentials")
def single_key(site: Site) -> None:
    """The answer is a JSON object with the single key `htsget`."""
    for data in site.objects():
        ticket = site.ticket(data)
        keys = [*ticket.answer.json()]
        require(keys == ["htsget"], f"{ticket.answer} with the keys {keys}")


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
        urls = [each.get("url", "") for each in site.ticket(data).content["urls"]]
        require(bool(urls), f"{data}: urls is empty")
        for url in urls:
            scheme = urlsplit(url).scheme
            require(scheme in ("http", "https", "data"), f"{data}: a URL is {scheme or 'relative'}")


@case("htsget.ticket.md5", MUST, "htsget 1.3.0, Response JSON fields: md5")
def md5_right(site: Site) -> None:
    """`md5`, where a ticket has it, is that of its blocks one after another."""
    for data in site.objects():
        fetched = site.fetch(site.ticket(data))
        stated = fetched.ticket.content.get("md5")
        if stated is not None:
            found = hashlib.md5(fetched.data, usedforsecurity=False).hexdigest()
            require(stated == found, f"{data}: md5 is {stated!r}, and of the blocks {found}")
