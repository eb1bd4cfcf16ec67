"""What a server of sequences says of itself (refget 2.0.0: Fetch information on the service)."""

from collections.abc import Mapping
from typing import Any

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.sequences import JSON_TYPE
from conformance.service_info import untold
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD
CLAUSE = "refget 2.0.0, Fetch information on the service"


@case("refget.service-info.served", MUST, CLAUSE)
def served(site: Site) -> None:
    """`/sequence/service-info` answers with a JSON object."""
    answer = site.refget.service_info.expect(200)
    require(isinstance(answer.json(), dict), f"{answer} with no object")


@case("refget.service-info.block", MUST, f"{CLAUSE}: refget")
def block(site: Site) -> None:
    """What the server can do is in a block `refget`, or in `service` as version 1 has it."""
    _document(site)
    require(bool(site.refget.abilities), f"{site.refget.service_info} with no block refget")


@case("refget.service-info.fields", MUST, "GA4GH service-info 1.0.0, Service")
def fields(site: Site) -> None:
    """`id`, `name`, `type`, `organization` and `version` are there, of the type that they have."""
    wrong = untold(_version_2(site))
    require(not wrong, f"{site.refget.service_info}: not text: {', '.join(wrong)}")


@case("refget.service-info.type", SHOULD, f"{CLAUSE}: its example")
def type_named(site: Site) -> None:
    """`type` is that of refget: `org.ga4gh`, `refget-sequence` or, as formerly, `refget`."""
    kind = _version_2(site).get("type")
    if not isinstance(kind, dict):
        raise Failed(f"{site.refget.service_info}: type is {kind!r}")
    found = kind.get("group"), kind.get("artifact")
    wanted = {("org.ga4gh", "refget-sequence"), ("org.ga4gh", "refget")}
    require(found in wanted, f"{site.refget.service_info}: type is {':'.join(map(str, found))}")


@case("refget.service-info.algorithms", MUST, "refget 2.0.0, Alternative Checksum Algorithms")
def algorithms(site: Site) -> None:
    """`algorithms` is a list of names, and `md5` is among them."""
    for name, each in _blocks(site):
        found = each.get("algorithms")
        require("md5" in _names(found), f"{name}.algorithms is {found!r}")


@case("refget.service-info.ga4gh", SHOULD, "refget 2.0.0, Alternative Checksum Algorithms")
def ga4gh(site: Site) -> None:
    """`algorithms` names `ga4gh`."""
    found = _block(site, "refget").get("algorithms")
    require("ga4gh" in _names(found), f"refget.algorithms is {found!r}")


@case("refget.service-info.circular", MUST, f"{CLAUSE}: circular_supported")
def circular(site: Site) -> None:
    """`circular_supported` is true or false."""
    for name, each in _blocks(site):
        found = each.get("circular_supported")
        require(isinstance(found, bool), f"{name}.circular_supported is {found!r}")


@case("refget.service-info.identifier-types", MUST, f"{CLAUSE}: identifier_types")
def identifier_types(site: Site) -> None:
    """`identifier_types` is a list of names, which may be empty."""
    found = _block(site, "refget").get("identifier_types")
    require(found == [] or bool(_names(found)), f"refget.identifier_types is {found!r}")


@case("refget.service-info.subsequence-limit", MUST, f"{CLAUSE}: subsequence_limit")
def subsequence_limit(site: Site) -> None:
    """`subsequence_limit` is there, a whole number or null."""
    for name, each in _blocks(site):
        found = each.get("subsequence_limit", "missing")
        whole = found is None or (isinstance(found, int) and not isinstance(found, bool))
        require(whole, f"{name}.subsequence_limit is {found!r}")


@case("refget.service-info.api-versions", MUST, "refget 1.0.1, Fetch information on the service")
def api_versions(site: Site) -> None:
    """`supported_api_versions` of the block of version 1 is a list of one version or more."""
    found = _block(site, "service").get("supported_api_versions")
    require(bool(_names(found)), f"service.supported_api_versions is {found!r}")


@case("refget.service-info.media-type", MUST, "refget 2.0.0, Protocol essentials")
def media_type(site: Site) -> None:
    """Its media type is that of refget's JSON, with the version."""
    _document(site)
    answer = site.refget.service_info
    found = answer.headers.get("content-type")
    require(bool(JSON_TYPE.fullmatch(answer.media_type)), f"{answer} as {found}")


@case("refget.service-info.accept", MUST, "refget 2.0.0, Internet Media Types Handling")
def accept(site: Site) -> None:
    """It is given to clients that accept refget's JSON of an offered version, or any JSON."""
    refget = site.refget
    if not refget.versions:
        raise Skipped("service-info announces no version")
    for version in refget.versions:
        full = f"application/vnd.ga4gh.refget.v{version}+json"
        for accepted in (f"{full}; charset=us-ascii", full, "application/json", "*/*"):
            answer = refget.get("service-info", headers={"Accept": accepted})
            require(answer.status == 200, f"{answer} to Accept: {accepted}")


@case("refget.service-info.not-acceptable", SHOULD, f"{CLAUSE}: Accept")
def not_acceptable(site: Site) -> None:
    """406 answers a client that accepts nothing that the server has."""
    _document(site)
    site.refget.get("service-info", headers={"Accept": "embl/some_json"}).expect(406)


def _names(value: object) -> list[str]:
    """A list of texts; empty if it is anything else."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return []


def _document(site: Site) -> Mapping[str, Any]:
    """The document. Raises `Skipped` when there is none."""
    answer = site.refget.service_info
    document = answer.json() if answer.status == 200 else None
    if not isinstance(document, dict):
        raise Skipped(f"{answer} with no object")
    return document


def _version_2(site: Site) -> Mapping[str, Any]:
    document = _document(site)
    if "refget" not in document and "service" in document:
        raise Skipped("the server has version 1 only")
    return document


def _block(site: Site, name: str) -> Mapping[str, Any]:
    found = site.refget.block(name)
    if not found:
        raise Skipped(f"service-info has no block {name}")
    return found


def _blocks(site: Site) -> list[tuple[str, Mapping[str, Any]]]:
    found = [(name, site.refget.block(name)) for name in ("refget", "service")]
    present = [each for each in found if each[1]]
    if not present:
        raise Skipped("service-info has neither refget nor service")
    return present
