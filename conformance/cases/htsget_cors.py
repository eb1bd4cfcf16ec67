"""What browsers need (htsget 1.3.0: CORS)."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice

from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_blocks import remote
from conformance.cases.htsget_ticket import form
from conformance.dataset import FORMATS
from conformance.http import Answer
from conformance.refusals import NOT_OFFERED
from conformance.site import Site
from conformance.ticket import Block

SHOULD = Requirement.SHOULD

CORS = "htsget 1.3.0, CORS"
BLOCKS = "htsget 1.3.0, HTTPS data block URLs, 3"

ORIGIN = "https://browser.example"
THIRTY_DAYS = 2_592_000
"""Seconds."""

_ASKED = "authorization, x-requested-with"


def allowed(answer: Answer, origin: str = ORIGIN, *, repeated: bool = True) -> None:
    """Raise `Failed` unless a browser gives the answer to a page of the origin. `repeated`: it is
    not enough that all origins are allowed."""
    found = answer.headers.get("access-control-allow-origin")
    right = found == origin or (found == "*" and not repeated)
    require(right, f"{answer}: Access-Control-Allow-Origin is {found!r}")


def preflight(site: Site, url: str, method: str = "GET", **headers: str) -> Answer:
    """What a server answers to a browser's question beforehand, which never has credentials."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": method, **more}
    return site.client.request("OPTIONS", url, asked)


def accepted(answer: Answer, method: str = "GET", *, repeated: bool = True) -> None:
    """Raise `Failed` unless a browser goes on with a request of this method."""
    require(200 <= answer.status < 300, str(answer))
    allowed(answer, repeated=repeated)
    listed = answer.headers.get("access-control-allow-methods", "")
    methods = {each.strip().upper() for each in listed.split(",")}
    simple = method in ("GET", "HEAD", "POST")  # allowed without being listed
    require(simple or method in methods or "*" in methods, f"{answer}: allows {listed!r}")


def _endpoints(site: Site) -> list[str]:
    return [name for name in FORMATS if any(each.endpoint == name for each in site.objects())]


def _urls(site: Site) -> Iterator[str]:
    for name in _endpoints(site):
        yield site.url(site.objects(name)[0])


def _blocks(site: Site) -> Iterator[Block]:
    return (block for _, block in remote(site))


def _with_origin(block: Block) -> Mapping[str, str]:
    return {**block.headers, "Origin": ORIGIN}


@case("htsget.cors.ticket", SHOULD, CORS)
def ticket(site: Site) -> None:
    """The origin of a request for a ticket is allowed, whichever it is."""
    for data in site.objects():
        for origin in (ORIGIN, "http://localhost:8000"):
            allowed(site.ask(data, form(data), {"Origin": origin}).expect(200), origin)


@case("htsget.cors.post", SHOULD, CORS)
def post(site: Site) -> None:
    """The origin of a POST request for a ticket is allowed, where POST is offered."""
    refusal = None
    for data in site.objects():
        headers = {"Origin": ORIGIN, "Content-Type": "application/json", **site.bearer}
        body = json.dumps({"class": "header"}).encode()
        answer = site.client.request("POST", site.url(data), headers, body)
        if answer.status in NOT_OFFERED:
            refusal = str(answer)
        else:
            allowed(answer)
    if refusal:
        raise Skipped(f"POST is not offered: {refusal}")


@case("htsget.cors.error", SHOULD, CORS)
def error(site: Site) -> None:
    """The origin is allowed to see errors: an unknown object, a wrong parameter."""
    for name in _endpoints(site):
        headers = {"Origin": ORIGIN, **site.bearer}
        allowed(site.client.get(f"{site.endpoint(name)}/no-such-object", headers))
        allowed(site.client.get(site.url(site.objects(name)[0], {"start": "x"}), headers))


@case("htsget.cors.service-info", SHOULD, CORS)
def service_info(site: Site) -> None:
    """The origin of a request for service-info is allowed, where it is offered."""
    missing = None
    for name in _endpoints(site):
        answer = site.client.get(f"{site.endpoint(name)}/service-info", {"Origin": ORIGIN})
        if answer.status == 404:
            missing = str(answer)
        else:
            allowed(answer)
    if missing:
        raise Skipped(missing)


@case("htsget.cors.block", SHOULD, BLOCKS)
def block_data(site: Site) -> None:
    """The origin of a request for data is allowed."""
    for block in _blocks(site):
        answer = site.client.request("GET", block.url, _with_origin(block), everywhere=True)
        allowed(answer, repeated=False)


@case("htsget.cors.vary", SHOULD, "Fetch, CORS protocol and HTTP caches")
def vary(site: Site) -> None:
    """An answer that repeats the origin says so in Vary, for caches."""
    tickets = (site.ask(data, form(data), {"Origin": ORIGIN}) for data in site.objects())
    parts = (
        site.client.request("GET", block.url, _with_origin(block), everywhere=True)
        for block in islice(_blocks(site), 2)
    )
    for answer in (*tickets, *parts):
        varies = {each.strip().lower() for each in answer.headers.get("vary", "").split(",")}
        repeats = answer.headers.get("access-control-allow-origin") == ORIGIN
        require(not repeats or bool(varies & {"origin", "*"}), f"{answer}: Vary has no Origin")


@case("htsget.cors.preflight", SHOULD, CORS)
def preflight_ticket(site: Site) -> None:
    """A preflight request for a ticket by GET is accepted."""
    for url in _urls(site):
        accepted(preflight(site, url))


@case("htsget.cors.preflight-post", SHOULD, CORS)
def preflight_post(site: Site) -> None:
    """A preflight request for a POST with a JSON body is accepted, where POST is offered."""
    for name in _endpoints(site):
        data = site.objects(name)[0]
        offered = site.post(data, b'{"class": "header"}')
        if offered.status in NOT_OFFERED:
            raise Skipped(f"POST is not offered: {offered}")
        asked = {"Access_Control_Request_Headers": "content-type"}
        answer = preflight(site, site.url(data), "POST", **asked)
        accepted(answer, "POST")
        listed = answer.headers.get("access-control-allow-headers", "").lower()
        require("content-type" in listed, f"{answer}: the allowed headers are {listed!r}")


@case("htsget.cors.preflight-block", SHOULD, BLOCKS)
def preflight_block(site: Site) -> None:
    """A preflight request for data is accepted."""
    for block in _blocks(site):
        accepted(preflight(site, block.url), repeated=False)


@case("htsget.cors.preflight-headers", SHOULD, CORS)
def preflight_headers(site: Site) -> None:
    """The headers that a preflight request names are allowed, Authorization among them."""
    for url in _urls(site):
        _headers_allowed(preflight(site, url, Access_Control_Request_Headers=_ASKED), _ASKED)


@case("htsget.cors.preflight-block-headers", SHOULD, BLOCKS)
def preflight_block_headers(site: Site) -> None:
    """The headers that a preflight request for data names are allowed, Range among them."""
    for block in _blocks(site):
        asked = ", ".join(sorted({"range", *(name.lower() for name in block.headers)}))
        _headers_allowed(preflight(site, block.url, Access_Control_Request_Headers=asked), asked)


@case("htsget.cors.max-age", SHOULD, CORS)
def max_age(site: Site) -> None:
    """The answer to a preflight request holds for 30 days."""
    for url in _urls(site):
        answer = preflight(site, url)
        found = answer.headers.get("access-control-max-age")
        require(found == str(THIRTY_DAYS), f"{answer}: Access-Control-Max-Age is {found!r}")


def _headers_allowed(answer: Answer, asked: str) -> None:
    listed = answer.headers.get("access-control-allow-headers", "")
    names = {each.strip().lower() for each in listed.split(",")}
    wanted = {each.strip() for each in asked.split(",")}
    missing = sorted((wanted & {"authorization"} if "*" in names else wanted) - names)
    require(not missing, f"{answer}: headers that are not allowed: {', '.join(missing)}")
