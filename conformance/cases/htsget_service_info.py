"""What an endpoint says of itself (htsget 1.3.0: GA4GH service-info), and whether it is true."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.cases.htsget_fields import Alignment, Sample, samples
from conformance.dataset import FORMATS
from conformance.http import Answer
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

HERE = "htsget 1.3.0, GA4GH service-info"
GENERAL = "GA4GH service-info 1.0, Service"

KEYS = {"datatype", "formats", "fieldsParameterEffective", "tagsParametersEffective"}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")

RESTORED = {"MD", "NM"}
"""Tags that readers of CRAM make themselves."""


@dataclass(frozen=True, slots=True)
class Info:
    """The document of an endpoint, as far as it is one."""

    endpoint: str
    answer: Answer
    document: dict[str, Any]

    def part(self, name: str) -> dict[str, Any]:
        """An object in it; empty where there is none."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}


def endpoints(site: Site) -> list[str]:
    """The endpoints that the description has objects of."""
    return [*dict.fromkeys(each.endpoint for each in site.objects())]


def ask(site: Site, endpoint: str) -> Answer:
    """What the server answers for an endpoint, whatever that is."""
    return site.client.get(f"{site.endpoint(endpoint)}/service-info", site.bearer)


def infos(site: Site) -> Iterator[Info]:
    """The documents of the endpoints. Raises `Skipped` when there are none."""
    answers = {each: ask(site, each) for each in endpoints(site)}
    found = {endpoint: answer for endpoint, answer in answers.items() if _is_info(answer)}
    if not found:
        raise Skipped("there is no service-info")
    for endpoint, answer in found.items():
        document = answer.json()
        yield Info(endpoint, answer, document if isinstance(document, dict) else {})


@case("htsget.service-info.offered", SHOULD, HERE)
def offered(site: Site) -> None:
    """Each endpoint has a service-info document."""
    for endpoint in endpoints(site):
        answer = ask(site, endpoint).expect(200)
        require(_is_info(answer), f"{answer} with a ticket")


@case("htsget.service-info.reserved", SHOULD, "htsget 1.3.0, URL parameters: id")
def reserved(site: Site) -> None:
    """The id `service-info` is reserved: it leads to no ticket."""
    for endpoint in endpoints(site):
        answer = ask(site, endpoint)
        require(not _is_ticket(answer), f"{answer} with a ticket")


@case("htsget.service-info.content-type", SHOULD, "htsget 1.3.0, Protocol essentials")
def content_type(site: Site) -> None:
    """The document comes as JSON, in a type that ends with `json`."""
    for info in infos(site):
        found = info.answer.media_type
        require(bool(re.search(r"[/+]json$", found)), f"{info.answer} as {found or 'nothing'}")


@case("htsget.service-info.required", MUST, GENERAL)
def required(site: Site) -> None:
    """The fields that GA4GH requires of any service are there, and are texts."""
    for info in infos(site):
        found = {
            **{name: info.document.get(name) for name in ("id", "name", "version")},
            **{f"type.{name}": info.part("type").get(name) for name in ("group", "artifact")},
            "type.version": info.part("type").get("version"),
            "organization.name": info.part("organization").get("name"),
        }
        lacking = [name for name, value in found.items() if not isinstance(value, str)]
        require(not lacking, f"{info.answer} without a text as {', '.join(lacking)}")


@case("htsget.service-info.organization", MUST, GENERAL)
def organization(site: Site) -> None:
    """The URL of the organization is absolute."""
    for info in infos(site):
        url = info.part("organization").get("url")
        absolute = isinstance(url, str) and _SCHEME.match(url)
        require(bool(absolute), f"{info.answer}: organization.url is {url!r}")


@case("htsget.service-info.type", MUST, HERE)
def type_named(site: Site) -> None:
    """The type of the service is the artifact `htsget` of the group `org.ga4gh`."""
    for info in infos(site):
        found = (info.part("type").get("group"), info.part("type").get("artifact"))
        require(found == ("org.ga4gh", "htsget"), f"{info.answer}: the type is {found}")


@case("htsget.service-info.version", MUST, HERE)
def version(site: Site) -> None:
    """The version of the type is one of htsget, as `1.3.0`."""
    for info in infos(site):
        found = str(info.part("type").get("version"))
        known = bool(re.fullmatch(r"1\.[0-9]+\.[0-9]+", found))
        require(known, f"{info.answer}: type.version is {found}")


@case("htsget.service-info.times", MUST, "htsget 1.3.0, Protocol essentials")
def times(site: Site) -> None:
    """Times, where there are any, are as ISO 8601 writes them."""
    for info in infos(site):
        for name in {"createdAt", "updatedAt"} & info.document.keys():
            stated = info.document[name]
            require(_is_time(stated), f"{info.answer}: {name} is {stated!r}")


@case("htsget.service-info.htsget", SHOULD, HERE)
def described(site: Site) -> None:
    """The document has an object `htsget`."""
    for info in infos(site):
        require(bool(info.part("htsget")), f"{info.answer} without htsget")


@case("htsget.service-info.keys", MUST, HERE)
def keys(site: Site) -> None:
    """The keys of `htsget` are spelled as in the specification: one with Parameter, the other
    with Parameters. There may be more keys."""
    known = {*map(_folded, KEYS)}
    for info in infos(site):
        others = set(info.part("htsget")) - KEYS
        wrong = sorted(each for each in others if _folded(each) in known)
        require(not wrong, f"{info.answer}: htsget has the keys {wrong}")


@case("htsget.service-info.datatype", MUST, f"{HERE}: datatype")
def datatype(site: Site) -> None:
    """`datatype`, if given, is that of the endpoint: `reads` or `variants`."""
    for info in infos(site):
        found = info.part("htsget").get("datatype", info.endpoint)
        require(found == info.endpoint, f"{info.answer}: datatype is {found!r}")


@case("htsget.service-info.formats", MUST, f"{HERE}: formats")
def formats(site: Site) -> None:
    """`formats`, if given, is a list of formats of the datatype."""
    for info in infos(site):
        found = info.part("htsget").get("formats", [])
        known = isinstance(found, list) and all(each in FORMATS[info.endpoint] for each in found)
        require(known, f"{info.answer}: formats are {found}")


@case("htsget.service-info.formats-complete", MUST, f"{HERE}: formats")
def formats_complete(site: Site) -> None:
    """`formats` has each format that an object can be had in."""
    for info in infos(site):
        stated = info.part("htsget").get("formats")
        if isinstance(stated, list):
            for data in site.objects(info.endpoint):
                left_out = [each for each in data.formats if each not in _upper(stated)]
                require(not left_out, f"{data} is served as {left_out}, and formats are {stated}")


@case("htsget.service-info.booleans", MUST, HERE)
def booleans(site: Site) -> None:
    """`fieldsParameterEffective` and `tagsParametersEffective`, if given, are booleans."""
    for info in infos(site):
        for name in ("fieldsParameterEffective", "tagsParametersEffective"):
            found = info.part("htsget").get(name, False)
            require(isinstance(found, bool), f"{info.answer}: {name} is {found!r}")


@case("htsget.service-info.fields-effective", MUST, f"{HERE}: fieldsParameterEffective")
def fields_effective(site: Site) -> None:
    """`fieldsParameterEffective` is true if `fields` leaves other fields out, else false."""

    def has_bases(read: Alignment) -> bool:
        return read.fields("SEQ") != ("*",)

    _effective(site, "fieldsParameterEffective", has_bases, {"fields": "QNAME"})


@case("htsget.service-info.tags-effective", MUST, f"{HERE}: tagsParametersEffective")
def tags_effective(site: Site) -> None:
    """`tagsParametersEffective` is true if `tags` leaves other tags out, else false."""

    def has_tags(read: Alignment) -> bool:
        return bool(read.tags.keys() - RESTORED)

    _effective(site, "tagsParametersEffective", has_tags, {"tags": ""})


@case("htsget.service-info.ids", MAY, "htsget 1.3.0, GA4GH Service Registry")
def ids_differ(site: Site) -> None:
    """Reads and variants are services of their own, each with an id of its own."""
    found = [info.document.get("id") for info in infos(site)]
    require(len({*map(str, found)}) == len(found), f"the ids are {found}")


def _effective(
    site: Site, name: str, has: Callable[[Alignment], bool], hints: dict[str, str]
) -> None:
    """Raise `Failed` unless a claim is true exactly if hints remove what reads have otherwise, in
    one format at least."""
    claims = {info.endpoint: info.part("htsget").get(name) for info in infos(site)}
    claimed = claims.get("reads")
    able: list[Sample] = [each for each in samples(site) if any(map(has, each.reads))]
    if not able or claimed is None:
        raise Skipped(f"{name} is not given for reads, or no read would show it")
    try:
        effect = any(not any(map(has, sample.ask(site, **hints))) for sample in able)
    except Failed as reason:  # another case is about that
        raise Skipped(str(reason)) from None
    require(claimed == effect, f"{name} is {claimed}, and what {hints} leaves out: {effect}")


def _folded(key: str) -> str:
    """A key as those remember it who spell it wrong."""
    return re.sub("[_s-]", "", key.lower())


def _is_info(answer: Answer) -> bool:
    return answer.status == 200 and not _is_ticket(answer)


def _is_ticket(answer: Answer) -> bool:
    return answer.status == 200 and b'"urls"' in answer.body


def _upper(names: list[object]) -> list[str]:
    return [str(each).upper() for each in names]


def _is_time(text: object) -> bool:
    try:
        return "T" in str(text) and bool(datetime.fromisoformat(str(text)))
    except ValueError:
        return False
