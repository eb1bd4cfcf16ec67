"""Tokens (htsget 1.3.0: Security)."""

import json
import re
from collections.abc import Mapping

from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_cors import ORIGIN, accepted, allowed, preflight
from conformance.cases.htsget_exact import outside
from conformance.cases.htsget_records import excerpt
from conformance.dataset import FORMATS, Controlled, DataObject
from conformance.http import Answer
from conformance.records import Region
from conformance.refusals import NOT_OFFERED, STATUSES, error_of
from conformance.site import Site, region_query
from conformance.ticket import Ticket, read_ticket

MUST, SHOULD, EXACT = Requirement.MUST, Requirement.SHOULD, Requirement.EXACT

SECURITY = "htsget 1.3.0, Security"
ERRORS = "htsget 1.3.0, Errors"

_FEW = 200
"""Bases of what is permitted that are asked for: some servers count them."""

_ERRORS = ("InvalidAuthentication", "PermissionDenied", "NotFound")

Query = Mapping[str, object]


def controlled(site: Site) -> Controlled:
    """The object that a token is needed for. Raises `Skipped` when the description has none."""
    found = site.dataset.controlled
    if found is None:
        raise Skipped("the description names no controlled object, or there is no token for it")
    return found


def few(region: Region) -> Region:
    """The first bases of a region."""
    start = region.start or 0
    return Region(region.reference, start, min(start + _FEW, region.end or start + _FEW))


def allowed_query(found: Controlled) -> Query:
    """A small query that the token opens: of a region, or of the header."""
    return region_query(few(found.permitted)) if found.permitted else {"class": "header"}


def ask(
    site: Site, data: DataObject, query: Query, headers: Mapping[str, str] | None = None
) -> Answer:
    """What a request answers that has these headers alone."""
    return site.client.get(site.url(data, query), headers)


def bearer(token: str) -> Mapping[str, str]:
    """The header that a token belongs into."""
    return {"Authorization": f"Bearer {token}"}


def permitted_ticket(site: Site) -> Ticket:
    """A ticket that the token opens. Raises `Failed` when there is none."""
    found = controlled(site)
    answer = ask(site, found.object, allowed_query(found), bearer(found.token))
    return read_ticket(answer, FORMATS[found.object.endpoint][0])


def refused(answer: Answer) -> None:
    """Raise `Failed` unless the request was refused, whatever the reason it is given."""
    require(400 <= answer.status < 500, f"{answer}: it is not refused")


def _refused_with(site: Site, *headers: Mapping[str, str]) -> None:
    found = controlled(site)
    for each in headers:
        refused(ask(site, found.object, allowed_query(found), each))


@case("htsget.auth.token", MUST, SECURITY)
def token(site: Site) -> None:
    """A token in the Authorization header opens what it is for."""
    site.decoded(controlled(site).object, site.fetch(permitted_ticket(site)))


@case("htsget.auth.scheme-in-any-case", MUST, "RFC 9110, 11.1")
def scheme_in_any_case(site: Site) -> None:
    """The scheme `Bearer` may be written in lower case."""
    found = controlled(site)
    ask(
        site, found.object, allowed_query(found), {"Authorization": f"bearer {found.token}"}
    ).expect(200)


@case("htsget.auth.no-token", MUST, SECURITY)
def no_token(site: Site) -> None:
    """Without a token there is no ticket: of a region, of the header, or by POST."""
    found = controlled(site)
    for query in (allowed_query(found), {"class": "header"}, {}):
        answer = ask(site, found.object, query)
        require(400 <= answer.status < 500, f"{answer} without a token")
    answer = site.client.request(
        "POST", site.url(found.object), {"Content-Type": "application/json"}, b"{}"
    )
    require(400 <= answer.status < 500, f"{answer} without a token")


@case("htsget.auth.no-token-error", SHOULD, ERRORS)
def no_token_error(site: Site) -> None:
    """A request without a token is answered by 401 and `InvalidAuthentication`, by 403 and
    `PermissionDenied`, or by 404 and `NotFound` where what there is stays hidden."""
    found = controlled(site)
    _refusal(ask(site, found.object, allowed_query(found)), *_ERRORS)


@case("htsget.auth.challenge", MUST, "RFC 6750, 3")
def challenge(site: Site) -> None:
    """A 401 names the scheme `Bearer` in WWW-Authenticate."""
    found = controlled(site)
    for headers in ({}, bearer("not-a-token")):
        answer = ask(site, found.object, allowed_query(found), headers)
        given = answer.headers.get("www-authenticate", "")
        right = answer.status != 401 or re.search(r"(?:^|,)\s*bearer\b", given, re.IGNORECASE)
        require(bool(right), f"{answer}: WWW-Authenticate is {given!r}")


@case("htsget.auth.malformed-token", MUST, ERRORS)
def malformed_token(site: Site) -> None:
    """What is no token is refused as none, and makes no server error."""
    cut = controlled(site).token[:-8]
    _refused_with(
        site, bearer("not-a-token"), bearer("a.b.c"), bearer(cut), {"Authorization": "Bearer"}
    )


@case("htsget.auth.malformed-token-error", SHOULD, ERRORS)
def malformed_token_error(site: Site) -> None:
    """What is no token is answered by 401 and `InvalidAuthentication`, or by 404 and `NotFound`."""
    found = controlled(site)
    answer = ask(site, found.object, allowed_query(found), bearer("not-a-token"))
    _refusal(answer, "InvalidAuthentication", "NotFound")


@case("htsget.auth.changed-token", MUST, SECURITY)
def changed_token(site: Site) -> None:
    """A token with a changed character, in whichever of its parts, is refused."""
    _refused_with(site, *(bearer(each) for each in _changed(controlled(site).token)))


@case("htsget.auth.unsigned-token", MUST, "RFC 8725, 3.1")
def unsigned_token(site: Site) -> None:
    """A JSON web token without a signature is refused, whatever it says."""
    parts = controlled(site).token.split(".")
    if len(parts) != 3:
        raise Skipped("the token is no JSON web token")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"  # {"alg":"none","typ":"JWT"}
    _refused_with(site, bearer(f"{none}.{parts[1]}."), bearer(f"{parts[0]}.{parts[1]}."))


@case("htsget.auth.other-scheme", MUST, SECURITY)
def other_scheme(site: Site) -> None:
    """A token with another scheme than `Bearer`, or none, is refused."""
    text = controlled(site).token
    _refused_with(site, {"Authorization": f"Basic {text}"}, {"Authorization": text})


@case("htsget.auth.other-header", MUST, SECURITY)
def other_header(site: Site) -> None:
    """A token in another header than Authorization opens nothing."""
    value = f"Bearer {controlled(site).token}"
    _refused_with(site, {"X-Forwarded-Authorization": value}, {"X-Token": value}, {"Cookie": value})


@case("htsget.auth.token-in-url", SHOULD, "RFC 6750, 2.3")
def token_in_url(site: Site) -> None:
    """A token in the URL, where logs keep it, opens nothing."""
    found = controlled(site)
    site.client.redaction.learn_headers(bearer(found.token))
    for name in ("access_token", "token"):
        answer = ask(site, found.object, {**allowed_query(found), name: found.token})
        require(400 <= answer.status < 500, f"{answer.method} with {name}= answers {answer.status}")


@case("htsget.auth.token-not-echoed", SHOULD, "htsget 1.3.0, Security considerations")
def token_not_echoed(site: Site) -> None:
    """An error does not repeat the token that it is about."""
    found, text = controlled(site), "no-such-token-0123456789"
    answer = ask(site, found.object, allowed_query(found), bearer(text))
    said = answer.body.decode(errors="replace") + " ".join(answer.headers.values())
    require(text not in said, f"{answer}: the token is repeated")


@case("htsget.auth.blocks-need-no-token", MUST, "htsget 1.3.0, HTTPS data block URLs, 6")
def blocks_need_no_token(site: Site) -> None:
    """The data of a controlled object come by what the ticket says alone, without the token."""
    fetched = site.fetch(permitted_ticket(site))
    require(bool(fetched.data), f"{fetched.ticket.answer}: its URLs lead to no data")


@case("htsget.auth.token-not-in-ticket", EXACT, "beyond htsget 1.3.0, which allows it")
def token_not_in_ticket(site: Site) -> None:
    """A ticket hands the token on to no other server: it has credentials of its own."""
    ticket = permitted_ticket(site)
    text = controlled(site).token
    holds = text.encode() in ticket.answer.body
    require(not holds, f"{ticket.answer}: the token is in the ticket")


@case("htsget.auth.permitted", MUST, SECURITY)
def permitted(site: Site) -> None:
    """With a token for a region, no record comes that does not overlap it."""
    found = controlled(site)
    if found.permitted is None:
        raise Skipped("the token opens all of the object")
    _nothing_forbidden(site, found, permitted_ticket(site).answer)


@case("htsget.auth.forbidden", MUST, SECURITY)
def forbidden(site: Site) -> None:
    """Of a region that a token is not for, no record comes."""
    _nothing_forbidden(site, controlled(site), _ask_forbidden(site))


@case("htsget.auth.forbidden-error", SHOULD, ERRORS)
def forbidden_error(site: Site) -> None:
    """A region that a token is not for is refused by 403 and `PermissionDenied`, if it is, or by
    404 and `NotFound`."""
    answer = _ask_forbidden(site)
    if answer.status < 300:
        return
    _refusal(answer, "PermissionDenied", "NotFound")


@case("htsget.auth.forbidden-whole", MUST, SECURITY)
def forbidden_whole(site: Site) -> None:
    """With a token for a region, neither the whole object nor the whole reference is given, nor
    the unplaced reads."""
    found, region = _forbidden(site)
    queries: list[Query] = [{}, {"referenceName": region.reference}]
    if found.object.endpoint == "reads":
        queries.append({"referenceName": "*"})
    for query in queries:
        answer = ask(site, found.object, query, bearer(found.token))
        _nothing_forbidden(site, found, answer)


@case("htsget.auth.forbidden-among-permitted", MUST, f"{SECURITY}; Region list")
def forbidden_among_permitted(site: Site) -> None:
    """A region that a token is not for is not given beside one that it is for."""
    found, region = _forbidden(site)
    wanted = [few(found.permitted), region] if found.permitted else [region]
    body = json.dumps({"regions": [region_query(each) for each in wanted]}).encode()
    headers = {"Content-Type": "application/json", **bearer(found.token)}
    answer = site.client.request("POST", site.url(found.object), headers, body)
    if answer.status in NOT_OFFERED and not _error(answer):
        raise Skipped(f"POST is not offered: {answer}")
    _nothing_forbidden(site, found, answer)


@case("htsget.auth.hidden", EXACT, "beyond htsget 1.3.0: who may not see an object learns nothing")
def hidden(site: Site) -> None:
    """Who may not see an object is answered as if there were none."""
    found = controlled(site)
    asked: list[tuple[DataObject, Mapping[str, str]]] = [(found.object, {})]
    if found.other:
        asked.append((found.other, bearer(found.token)))
    for data, headers in asked:
        absent = DataObject(data.endpoint, f"{data.id}-that-is-not", data.formats)
        there, none = (ask(site, each, {}, headers) for each in (data, absent))
        same = (there.status, _error(there)) == (none.status, _error(none))
        require(same, f"{there}, and for an object that is not, {none.status}")


@case("htsget.auth.cors", SHOULD, "htsget 1.3.0, CORS")
def refusal_cors(site: Site) -> None:
    """A page of another origin is allowed to see that a token is missing."""
    found = controlled(site)
    allowed(ask(site, found.object, allowed_query(found), {"Origin": ORIGIN}))


@case("htsget.auth.preflight", SHOULD, "htsget 1.3.0, CORS")
def preflight_without_token(site: Site) -> None:
    """Preflight requests, which browsers send without a token, are accepted."""
    found = controlled(site)
    accepted(
        preflight(site, site.url(found.object), Access_Control_Request_Headers="authorization")
    )


@case("htsget.auth.not-cached", SHOULD, f"{SECURITY}; RFC 9111, 3.5")
def not_cached(site: Site) -> None:
    """Neither a ticket for a controlled object nor its data may be kept for others."""
    ticket = permitted_ticket(site)
    parts = (
        site.client.request("GET", block.url, block.headers, everywhere=True)
        for block in ticket.blocks
        if not block.inline
    )
    for answer in (ticket.answer, *parts):
        given = {
            each.strip().partition("=")[0].lower()
            for each in answer.headers.get("cache-control", "").split(",")
        }
        shared = given & {"public", "s-maxage"}
        require(not shared, f"{answer}: Cache-Control has {', '.join(sorted(shared))}")


def _forbidden(site: Site) -> tuple[Controlled, Region]:
    found = controlled(site)
    if found.forbidden is None:
        raise Skipped("the description names no region that the token is not for")
    return found, found.forbidden


def _ask_forbidden(site: Site) -> Answer:
    found, region = _forbidden(site)
    return ask(site, found.object, region_query(region), bearer(found.token))


def _nothing_forbidden(site: Site, found: Controlled, answer: Answer) -> None:
    """Raise `Failed` unless a request was refused, or gives only records that the token is for."""
    if 400 <= answer.status < 500:
        return
    fetched = site.fetch(read_ticket(answer, FORMATS[found.object.endpoint][0]))
    records = site.decoded(found.object, fetched).records
    if found.permitted:
        more = outside(records, [found.permitted])
    else:
        more = [each.text for each in records if found.forbidden and found.forbidden.holds(each)]
    require(not more, f"{answer}: records that the token is not for: {excerpt(more)}")


def _error(answer: Answer) -> object:
    """The type of an htsget error; None: there is none."""
    return error_of(answer).get("error")


def _refusal(answer: Answer, *errors: str) -> None:
    """Raise `Failed` unless a request was refused with one of these errors and its status."""
    wanted = {STATUSES[each]: each for each in errors}
    answer.expect(*wanted)
    right = _error(answer) == wanted[answer.status]
    require(right, f"{answer}: the error is {_error(answer)!r}, not {wanted[answer.status]}")


def _changed(token: str) -> list[str]:
    """The token with the character in the middle of each of its parts changed."""
    parts = token.split(".")
    found = []
    for number, part in enumerate(parts):
        if part:
            at = len(part) // 2
            other = "b" if part[at] in "aA" else "a"
            changed = [*parts[:number], f"{part[:at]}{other}{part[at + 1 :]}", *parts[number + 1 :]]
            found.append(".".join(changed))
    return found
