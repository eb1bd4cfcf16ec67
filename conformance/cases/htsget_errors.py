"""How requests are refused (htsget 1.3.0: Errors); which are, stands with what they ask for."""

import re
from collections.abc import Iterator

from conformance.case import Failed, Requirement, case, require
from conformance.cases.htsget_ticket import MEDIA_TYPE, form
from conformance.http import Answer, Unreachable
from conformance.refusals import STATUSES, error_of, refused
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

_KEYS = {"error", "message"}

UNKNOWN_ID = "no-such-object-2f1c"
WRONG: tuple[dict[str, object], ...] = (
    {"format": "GFF"},
    {"class": "body"},
    {"start": 1},
    {"referenceName": "no-such-reference"},
    {"referenceName": "no-such-reference", "start": 2, "end": 1},
)

HOSTILE_IDS = (
    "a" * 6000,
    "a%00b",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%2Fetc%2Fpasswd",
    "%FF%FE",
    "a%0D%0ASet-Cookie:%20a=b",
    "%F0%9F%A7%AC",
    "%25s%25n%2500",
    "%27%20OR%20%271%27=%271",
    "%7B%7B7*7%7D%7D",
    "..%5C..%5Cwindows",
)
HOSTILE_QUERIES = (
    "referenceName=a%00b",
    "referenceName=%FF%FE",
    "referenceName=..%2F..%2Fetc%2Fpasswd",
    "referenceName=" + "a" * 6000,
    "format=" + "A" * 6000,
    "start=" + "9" * 6000,
    "fields=" + ",".join(["QNAME"] * 1000),
    "tags=" + "," * 6000,
    "&".join(f"x{number}=1" for number in range(600)),
    "format=BAM&format=CRAM&format=VCF",
    "=&&==&%00=%00",
)

_LOCAL = re.compile(
    r"""(?:^|[\s'"(:=])(?:/(?:etc|home|mnt|opt|root|srv|tmp|usr|var)/|[A-Z]:\\|(?:file|s3|gs)://)"""
)


def unknown(site: Site) -> Iterator[Answer]:
    """Answers to requests for an id that no endpoint has."""
    for endpoint in dict.fromkeys(each.endpoint for each in site.objects()):
        yield site.client.get(f"{site.endpoint(endpoint)}/{UNKNOWN_ID}", site.bearer)


def refusals(site: Site) -> Iterator[Answer]:
    """Answers to requests that a server should refuse; those to which it does."""
    asked = (site.ask(data, {**form(data), **query}) for data in site.objects() for query in WRONG)
    yield from (each for each in (*unknown(site), *asked) if each.status >= 400)


@case("htsget.errors.status", MUST, "htsget 1.3.0, Errors")
def status_of_errors(site: Site) -> None:
    """A request for an id that does not exist is answered with a status of the 400s."""
    for answer in unknown(site):
        require(400 <= answer.status < 500, f"{answer}")


@case("htsget.errors.not-found", SHOULD, "htsget 1.3.0, Error Response JSON fields")
def not_found(site: Site) -> None:
    """An id that does not exist is `NotFound`."""
    for answer in unknown(site):
        refused(answer, "NotFound")


@case("htsget.errors.body", SHOULD, "htsget 1.3.0, Error Response JSON fields")
def body_of_errors(site: Site) -> None:
    """Errors are `{"htsget": {"error": …, "message": …}}`."""
    for answer in refusals(site):
        document = answer.json()
        outer = [*document] if isinstance(document, dict) else type(document).__name__
        require(outer == ["htsget"], f"{answer} with {outer}, not htsget alone")
        found = sorted(error_of(answer))
        require({*found} >= _KEYS, f"{answer} with {found}, not error and message")


@case("htsget.errors.known-fields", MAY, "htsget 1.3.0, Error Response JSON fields")
def no_other_fields(site: Site) -> None:
    """Errors have a type and a message, and no more: GATK fails on other keys."""
    for answer in refusals(site):
        more = sorted(error_of(answer).keys() - _KEYS)
        require(not more, f"{answer} with {more}")


@case("htsget.errors.text", SHOULD, "htsget 1.3.0, Error Response JSON fields")
def text_of_errors(site: Site) -> None:
    """The type and the message of an error are strings, and say something."""
    for answer in refusals(site):
        for name in _KEYS & error_of(answer).keys():
            value = error_of(answer)[name]
            require(bool(value) and isinstance(value, str), f"{answer}: {name} is {value!r}")


@case("htsget.errors.content-type", SHOULD, "htsget 1.3.0, Errors")
def content_type(site: Site) -> None:
    """The Content-Type of errors is `application/json`, or that of other answers of htsget."""
    for answer in refusals(site):
        found = answer.media_type
        right = found == "application/json" or MEDIA_TYPE.fullmatch(found)
        require(bool(right), f"{answer} as {found or 'nothing'}")


@case("htsget.errors.types", SHOULD, "htsget 1.3.0, Error Response JSON fields: error")
def types_known(site: Site) -> None:
    """The type of an error is one of the specification's."""
    for answer in refusals(site):
        found = error_of(answer).get("error")
        require(found in [*STATUSES], f"{answer} with the error {found!r}")


@case("htsget.errors.status-of-type", SHOULD, "htsget 1.3.0, Error Response JSON fields")
def status_of_type(site: Site) -> None:
    """The type of an error comes with the status that the specification gives it."""
    for answer in refusals(site):
        found = str(error_of(answer).get("error"))
        wanted = STATUSES.get(found, answer.status)
        require(answer.status == wanted, f"{answer} with the error {found}, which is {wanted}")


@case("htsget.errors.content-coding", MUST, "htsget 1.3.0, Protocol essentials")
def no_content_coding(site: Site) -> None:
    """Errors have no content-coding, even where a client would accept one."""
    for data in site.objects():
        answer = site.ask(data, {"format": "GFF"}, {"Accept-Encoding": "gzip, deflate, br, zstd"})
        coding = answer.headers.get("content-encoding", "identity")
        require(coding == "identity", f"{answer} with Content-Encoding: {coding}")


@case("htsget.errors.elsewhere", MAY, "htsget 1.3.0, Errors")
def errors_elsewhere(site: Site) -> None:
    """What is no resource at all is not found in the same form, so that clients need read one."""
    answer = site.client.get(f"{site.base}/no-such-endpoint/{UNKNOWN_ID}", site.bearer).expect(404)
    found = error_of(answer).get("error")
    require(found == "NotFound", f"{answer} with the error {found!r}, not NotFound")


@case("htsget.errors.method", MUST, "htsget 1.3.0, Errors (RFC 9110, 15.5.6)")
def methods_refused(site: Site) -> None:
    """A method that nobody offers is refused, and a 405 names in Allow those that are."""
    for answer in _deleted(site):
        require(400 <= answer.status < 500 or answer.status == 501, f"{answer}")
        named = answer.status != 405 or "GET" in answer.headers.get("allow", "")
        require(named, f"{answer} with Allow: {answer.headers.get('allow', '')}")


@case("htsget.errors.method-body", MAY, "htsget 1.3.0, Errors")
def methods_refused_in_form(site: Site) -> None:
    """The refusal of a method has the form of other errors."""
    for answer in _deleted(site):
        require(bool(error_of(answer)), f"{answer} without an error of htsget in JSON")


@case("htsget.errors.hostile-id", MUST, "htsget 1.3.0, Errors")
def hostile_ids(site: Site) -> None:
    """Ids that no honest client sends are refused with a status of the 400s."""
    for endpoint in dict.fromkeys(each.endpoint for each in site.objects()):
        for hostile in HOSTILE_IDS:
            answer = _survived(site, f"{site.endpoint(endpoint)}/{hostile}")
            require(400 <= answer.status < 500, f"{answer}, asked for {hostile[:60]}")


@case("htsget.errors.hostile-query", MUST, "htsget 1.3.0, Errors")
def hostile_queries(site: Site) -> None:
    """Queries that no honest client sends never make an internal error."""
    for data in site.objects():
        for hostile in HOSTILE_QUERIES:
            answer = _survived(site, f"{site.url(data)}?{hostile}")
            require(answer.status < 500, f"{answer}, asked for {hostile[:60]}")


@case("htsget.errors.nothing-local", SHOULD, "htsget 1.3.0, Security considerations")
def nothing_local(site: Site) -> None:
    """Messages name no file, bucket or directory of the server."""
    for answer in refusals(site):
        found = _LOCAL.search(str(error_of(answer).get("message", "")))
        require(found is None, f"{answer}: the message names {found and found[0].strip()}…")


def _deleted(site: Site) -> Iterator[Answer]:
    """Answers to DELETE, of nothing that exists."""
    for endpoint in dict.fromkeys(each.endpoint for each in site.objects()):
        url = f"{site.endpoint(endpoint)}/{UNKNOWN_ID}"
        yield site.client.request("DELETE", url, site.bearer)


def _survived(site: Site, url: str) -> Answer:
    """An answer. Raises `Failed` when there is none."""
    try:
        return site.client.get(url, site.bearer)
    except Unreachable as error:
        raise Failed(str(error)) from None
