"""What is told of a sequence (refget 2.0.0: Get known metadata for an id)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.cases.refget_sequence import UNKNOWN
from conformance.http import Answer
from conformance.sequences import JSON_TYPE, Sequence
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY
CLAUSE = "refget 2.0.0, Get known metadata for an id"
MEDIA_TYPES = "refget 2.0.0, Internet Media Types Handling"


@case("refget.metadata.served", MUST, f"{CLAUSE}: Response")
def served(site: Site) -> None:
    """The answer is a JSON object with an object `metadata`."""
    for sequence in site.refget.known():
        answer = _ask(site, sequence.id).expect(200)
        document = answer.json()
        held = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
        require(held, f"{answer} without metadata")


@case("refget.metadata.fields", MUST, f"{CLAUSE}: Response")
def fields(site: Site) -> None:
    """`metadata` has all fields of its version of the protocol."""
    named = {"2": ("md5", "ga4gh", "length", "aliases"), "1": ("md5", "trunc512", "length")}
    for answer, metadata, _ in _all(site):
        for version in site.refget.versions or ("2.0.0",):
            missing = [each for each in named[version[0]] if each not in metadata]
            require(not missing, f"{answer} without {', '.join(missing)}")


@case("refget.metadata.md5", MUST, f"{CLAUSE}: md5")
def md5(site: Site) -> None:
    """`md5` is that of the sequence."""
    for answer, metadata, sequence in _all(site):
        found = str(metadata.get("md5")).lower()
        require(found == sequence.digests["md5"], f"{answer} with md5 {metadata.get('md5')!r}")


@case("refget.metadata.ga4gh", MUST, f"{CLAUSE}: ga4gh")
def ga4gh(site: Site) -> None:
    """`ga4gh` is that of the sequence; null, if that algorithm is not announced."""
    _digest(site, "ga4gh")


@case("refget.metadata.trunc512", MUST, "refget 1.0.1, Get known metadata for an id: trunc512")
def trunc512(site: Site) -> None:
    """`trunc512`, where that algorithm is announced, is that of the sequence."""
    _digest(site, "trunc512")


@case("refget.metadata.length", MUST, f"{CLAUSE}: length")
def length(site: Site) -> None:
    """`length` is the number of the residues of the sequence."""
    for answer, metadata, sequence in _all(site):
        found = metadata.get("length")
        right = found == len(sequence) and isinstance(found, int)
        require(right, f"{answer} with length {found!r}, and there are {len(sequence)} residues")


@case("refget.metadata.aliases", MUST, f"{CLAUSE}: aliases")
def aliases(site: Site) -> None:
    """`aliases` is a list of objects, each with an `alias` and its `naming_authority`."""
    for answer, metadata, _ in _all(site):
        found = metadata.get("aliases", [])
        require(isinstance(found, list), f"{answer} with aliases {found!r}")
        for each in found or ():
            given = isinstance(each, dict) and (each.get("alias"), each.get("naming_authority"))
            texts = given and all(isinstance(text, str) and text for text in given)
            require(bool(texts), f"{answer} with the alias {each!r}")


@case("refget.metadata.aliases-resolve", MUST, "refget 2.0.0, Unique Identifiers")
def aliases_resolve(site: Site) -> None:
    """An alias of an announced type of identifiers leads to the sequence, or is ambiguous."""
    types = site.refget.abilities.get("identifier_types")
    if not isinstance(types, list):
        raise Skipped("service-info announces no types of identifiers")
    announced = {str(each).lower(): str(each) for each in types or ()}
    for _, metadata, sequence in _all(site):
        for authority, alias in _aliases(metadata):
            if authority.lower() in announced:
                name = f"{announced[authority.lower()]}:{alias}"
                answer = _ask(site, name).expect(200, 300, 409)
                if answer.status == 200:
                    found = _metadata(answer).get("md5")
                    require(found == sequence.digests["md5"], f"{answer} with md5 {found!r}")


@case("refget.metadata.ids", MUST, f"{CLAUSE}: id")
def ids(site: Site) -> None:
    """It is found by every digest that is announced, in capitals too where case does not count."""
    for sequence in site.refget.known():
        names = [sequence.digests["md5"], sequence.digests["md5"].upper()]
        names += [
            sequence.digests[each] for each in ("ga4gh", "trunc512") if site.refget.announces(each)
        ]
        for name in names:
            answer = _ask(site, name).expect(200)
            expected = _metadata(_ask(site, sequence.id)).get("length")
            found = _metadata(answer).get("length")
            require(found == expected, f"{answer} with length {found!r}, not {expected!r}")


@case("refget.metadata.unknown", MUST, f"{CLAUSE}: Response")
def unknown(site: Site) -> None:
    """404 answers ids that the server does not know."""
    for name in (UNKNOWN["md5"], "Garbagechecksum", "some1111garbage1111ID"):
        _ask(site, name).expect(404)


@case("refget.metadata.media-type", MUST, "refget 2.0.0, Protocol essentials")
def media_type(site: Site) -> None:
    """Its media type is that of refget's JSON, with the version, also for who accepts any JSON."""
    for sequence in site.refget.known():
        for headers in ({}, {"Accept": "application/json"}):
            answer = _ask(site, sequence.id, headers)
            if answer.status == 200:
                found = answer.headers.get("content-type")
                require(bool(JSON_TYPE.fullmatch(answer.media_type)), f"{answer} as {found}")


@case("refget.metadata.accept", MUST, MEDIA_TYPES)
def accept(site: Site) -> None:
    """It is given to clients that accept refget's JSON of an offered version, or any JSON."""
    types = []
    for version in site.refget.versions or ("2.0.0",):
        full = f"application/vnd.ga4gh.refget.v{version}+json"
        types += [f"{full}; charset=us-ascii", full]
    _accepted(site, (*types, "application/json"))


@case("refget.metadata.accept-lists", MUST, "RFC 9110, 12.5.1 Accept")
def accept_lists(site: Site) -> None:
    """It is given to clients that accept anything, or several types, one of which is offered."""
    types = [f"application/vnd.ga4gh.refget.v{each}+json" for each in ("1.0.0", "2.0.0")]
    _accepted(site, ("*/*", "application/*", ",".join(types), "text/html,application/json;q=0.5"))


@case("refget.metadata.not-acceptable", SHOULD, f"{CLAUSE}: Accept")
def not_acceptable(site: Site) -> None:
    """406 answers clients that accept nothing that the server has."""
    _ask(site, site.refget.known()[0].id, {"Accept": "embl/some_json"}).expect(406)


@case("refget.metadata.trailing-slash", MAY, "refget compliance suite 2.0.0, its URLs")
def trailing_slash(site: Site) -> None:
    """A slash at the end changes nothing."""
    site.refget.get(site.refget.known()[0].id, below="/metadata/").expect(200)


def _ask(site: Site, name: str, headers: Mapping[str, str] | None = None) -> Answer:
    return site.refget.get(name, headers=headers, below="/metadata")


def _metadata(answer: Answer) -> Mapping[str, Any]:
    """What an answer tells. Raises `Skipped` when that is nothing."""
    try:
        document = answer.expect(200).json()
        metadata = document.get("metadata") if isinstance(document, dict) else None
    except Failed as failure:
        raise Skipped(str(failure)) from None
    if not isinstance(metadata, dict):
        raise Skipped(f"{answer} without metadata")
    return metadata


def _all(site: Site) -> Iterator[tuple[Answer, Mapping[str, Any], Sequence]]:
    for sequence in site.refget.known():
        answer = _ask(site, sequence.id)
        yield answer, _metadata(answer), sequence


def _aliases(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    listed = metadata.get("aliases")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and each.keys() >= {"alias", "naming_authority"}:
            yield str(each["naming_authority"]), str(each["alias"])


def _digest(site: Site, algorithm: str) -> None:
    for answer, metadata, sequence in _all(site):
        found = metadata.get(algorithm)
        announced = site.refget.announces(algorithm)
        if algorithm == "trunc512" and isinstance(found, str):
            found = found.lower()  # version 1 writes it in capitals
        right = found == sequence.digests[algorithm] or (found is None and not announced)
        require(right, f"{answer} with {algorithm} {found!r}")


def _accepted(site: Site, types: Iterable[str]) -> None:
    for each in types:
        answer = _ask(site, site.refget.known()[0].id, {"Accept": each})
        require(answer.status == 200, f"{answer} to Accept: {each}")
