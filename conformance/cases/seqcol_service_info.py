"""What a server of collections says of itself (Sequence Collections 1.0.0, 3.1 and 4.7)."""

from collections.abc import Mapping
from typing import Any

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.seqcol import BASE
from conformance.service_info import untold
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD
CLAUSE = "Sequence Collections 1.0.0, 3.1 Service info"
SCHEMA = "Sequence Collections 1.0.0, 1 Schema"
QUALIFIERS = "Sequence Collections 1.0.0, 4.7 Method of specifying attribute qualifiers"


@case("seqcol.service-info.served", MUST, CLAUSE)
def served(site: Site) -> None:
    """`/service-info` answers with a JSON object."""
    answer = site.seqcol.service_info.expect(200)
    require(isinstance(answer.json(), dict), f"{answer} with no object")


@case("seqcol.service-info.schema", MUST, f"{CLAUSE}: schema")
def schema(site: Site) -> None:
    """`seqcol.schema` is a JSON Schema of an object, with its properties."""
    document = _document(site)
    block = document.get("seqcol")
    found = block.get("schema") if isinstance(block, dict) else None
    held = isinstance(found, dict) and isinstance(found.get("properties"), dict)
    require(held and bool(found), f"{site.seqcol.service_info} without a schema's properties")


@case("seqcol.service-info.fields", SHOULD, "GA4GH service-info 1.0.0, Service")
def fields(site: Site) -> None:
    """`id`, `name`, `type`, `organization` and `version` are there, of the type that they have."""
    wrong = untold(_document(site))
    require(not wrong, f"{site.seqcol.service_info}: not text: {', '.join(wrong)}")


@case("seqcol.service-info.type", SHOULD, f"{CLAUSE}: artifact")
def type_named(site: Site) -> None:
    """`type` is that of collections: `org.ga4gh`, `refget-seqcol` or `refget.seqcol`, as the
    specification's example and its text have it."""
    kind = _document(site).get("type")
    if not isinstance(kind, dict):
        raise Failed(f"{site.seqcol.service_info}: type is {kind!r}")
    right = kind.get("artifact") in ("refget-seqcol", "refget.seqcol")
    require(right and kind.get("group") == "org.ga4gh", f"type is {kind!r}")


@case("seqcol.service-info.schema-covers", MUST, CLAUSE)
def schema_covers(site: Site) -> None:
    """The schema has every attribute of every collection."""
    described = _properties(site)
    for each in site.seqcol.known:
        missing = sorted({*each.level1, *each.level2} - {*described})
        require(not missing, f"of {each.digest}, not in the schema: {', '.join(missing)}")


@case("seqcol.service-info.base", SHOULD, SCHEMA)
def base(site: Site) -> None:
    """The schema extends the base schema: it has names, lengths and sequences."""
    missing = [each for each in BASE if each not in _properties(site)]
    require(not missing, f"not in the schema: {', '.join(missing)}")


@case("seqcol.service-info.inherent", MUST, QUALIFIERS)
def inherent(site: Site) -> None:
    """`ga4gh.inherent` lists the attributes that count for the digest, which the schema has."""
    found = _qualifiers(site).get("inherent")
    named = isinstance(found, list) and all(each in site.seqcol.properties for each in found)
    require(named and bool(found), f"ga4gh.inherent is {found!r}")


@case("seqcol.service-info.inherent-base", SHOULD, SCHEMA)
def inherent_base(site: Site) -> None:
    """Names and sequences alone are inherent, so that digests are the same everywhere."""
    found = site.seqcol.qualified("inherent")
    require(found == {"names", "sequences"}, f"inherent are {', '.join(sorted(found)) or 'none'}")


@case("seqcol.service-info.qualifiers", MUST, QUALIFIERS)
def qualifiers(site: Site) -> None:
    """`transient` and `passthru`, where the schema has them, are lists of its attributes."""
    for name in ("transient", "passthru"):
        found = _qualifiers(site).get(name, [])
        named = isinstance(found, list) and all(each in _properties(site) for each in found)
        require(named, f"ga4gh.{name} is {found!r}")


@case("seqcol.service-info.collated", SHOULD, SCHEMA)
def collated(site: Site) -> None:
    """Names, lengths and sequences are marked as collated, unless they refer to another schema."""
    for name in BASE:
        found = _properties(site).get(name)
        if isinstance(found, dict) and "$ref" not in found:
            require(found.get("collated") is True, f"{name} has collated: {found.get('collated')}")


@case("seqcol.service-info.openapi", SHOULD, "Sequence Collections 1.0.0, 3.6 OpenAPI")
def openapi(site: Site) -> None:
    """`/openapi.json` describes the endpoints."""
    answer = site.seqcol.get("openapi.json").expect(200)
    document = answer.json()
    require(isinstance(document, dict) and "openapi" in document, f"{answer} without openapi")


@case("seqcol.service-info.cors", SHOULD, "refget 2.0.0, CORS")
def cors(site: Site) -> None:
    """Pages from anywhere may read all endpoints."""
    digest = site.seqcol.known[0].digest
    sent = {"Origin": "https://browser.example"}
    for path in ("service-info", "list/collection", f"collection/{digest}"):
        answer = site.seqcol.get(path, sent)
        origin = answer.headers.get("access-control-allow-origin")
        require(
            origin in ("*", sent["Origin"]), f"{answer} with Access-Control-Allow-Origin: {origin}"
        )


@case("seqcol.service-info.preflight", SHOULD, "refget 2.0.0, CORS")
def preflight(site: Site) -> None:
    """Browsers are told that they may post a collection to compare with."""
    sent = {
        "Origin": "https://browser.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    path = f"comparison/{site.seqcol.known[0].digest}"
    if site.seqcol.post(path, {}).status in (404, 405, 501):
        raise Skipped("nothing is posted to this server")
    answer = site.seqcol.options(path, sent).expect(200, 204)
    for name, wanted in (("methods", "post"), ("headers", "content-type")):
        allowed = answer.headers.get(f"access-control-allow-{name}", "").lower()
        complaint = f"{answer} with Access-Control-Allow-{name.title()}: {allowed or None}"
        require("*" in allowed or wanted in allowed, complaint)


def _document(site: Site) -> Mapping[str, Any]:
    """The document. Raises `Skipped` when there is none."""
    answer = site.seqcol.service_info
    document = answer.json() if answer.status == 200 else None
    if not isinstance(document, dict):
        raise Skipped(f"{answer} with no object")
    return document


def _properties(site: Site) -> Mapping[str, Any]:
    found = site.seqcol.schema.get("properties")
    if not isinstance(found, dict):
        raise Skipped("the schema has no properties")
    return found


def _qualifiers(site: Site) -> Mapping[str, Any]:
    found = site.seqcol.schema.get("ga4gh")
    return found if isinstance(found, dict) else {}
