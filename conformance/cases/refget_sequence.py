"""Whole sequences: by which ids they are found, and what comes (refget 2.0.0: get sequence by
ID)."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.http import Answer
from conformance.sequences import TEXT_TYPE, Sequence, digests, is_proved, normal
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY
CLAUSE = "refget 2.0.0, get sequence by ID"
ALGORITHMS = "refget 2.0.0, Alternative Checksum Algorithms"
CHECKSUMS = "refget 2.0.0, Checksum calculation"
NAMESPACES = "refget 2.0.0, Namespace of the checksums"
MEDIA_TYPES = "refget 2.0.0, Internet Media Types Handling"
UNKNOWN = digests(b"THIS SEQUENCE IS KNOWN TO NOBODY")
"""Digests that no server has a sequence for."""


# -- ids -----------------------------------------------------------------------------------------


@case("refget.sequence.md5", MUST, ALGORITHMS)
def md5(site: Site) -> None:
    """A sequence is found by its MD5, and what is sent has that MD5."""
    described = {*site.dataset.sequences, *site.dataset.circular}
    answers = {name: site.refget.get(name) for name in site.refget.ids}
    for name in [each for each in answers if each not in described]:
        if answers[name].status == 404:  # nobody said that what reads are aligned to is here
            del answers[name]
    if not answers:
        raise Skipped(site.refget.why_none)
    for name, answer in answers.items():
        residues = normal(answer.expect(200).body)
        sequence = Sequence(name, residues, digests(residues), None)
        require(is_proved(sequence), f"{answer} with another sequence")
        _same(site, replace(sequence, id=sequence.digests["md5"]))


@case("refget.sequence.md5-upper-case", MUST, CHECKSUMS)
def md5_upper_case(site: Site) -> None:
    """An MD5 in capitals is the same id."""
    _each(site, lambda sequence: sequence.digests["md5"].upper())


@case("refget.sequence.md5-namespace", SHOULD, NAMESPACES)
def md5_namespace(site: Site) -> None:
    """`md5:` before an MD5 is the same id."""
    _version_2(site)
    _each(site, lambda sequence: f"md5:{sequence.digests['md5']}")


@case("refget.sequence.ga4gh", MUST, ALGORITHMS)
def ga4gh(site: Site) -> None:
    """A sequence is found by its GA4GH digest, where that algorithm is announced."""
    _announced(site, "ga4gh")
    _each(site, lambda sequence: sequence.digests["ga4gh"])


@case("refget.sequence.ga4gh-namespace", SHOULD, NAMESPACES)
def ga4gh_namespace(site: Site) -> None:
    """`ga4gh:` before a GA4GH digest is the same id."""
    _announced(site, "ga4gh")
    _each(site, lambda sequence: f"ga4gh:{sequence.digests['ga4gh']}")


@case("refget.sequence.escaped-namespace", SHOULD, "RFC 3986, 2.1 Percent-Encoding")
def escaped_namespace(site: Site) -> None:
    """The colon behind a namespace may be sent as `%3A`."""
    _version_2(site)
    named = "ga4gh" if site.refget.announces("ga4gh") else "md5"
    _each(site, lambda sequence: f"{named}%3A{sequence.digests[named]}")


@case("refget.sequence.ga4gh-letter-case", MUST, CHECKSUMS)
def ga4gh_letter_case(site: Site) -> None:
    """A GA4GH digest whose letters are of the other case names no sequence."""
    _announced(site, "ga4gh")
    for sequence in site.refget.known():
        other = sequence.digests["ga4gh"].removeprefix("SQ.").swapcase()
        site.refget.get(f"SQ.{other}").expect(404)


@case("refget.sequence.trunc512", MUST, ALGORITHMS)
def trunc512(site: Site) -> None:
    """A sequence is found by its TRUNC512, where that algorithm is announced."""
    _announced(site, "trunc512")
    _each(site, lambda sequence: sequence.digests["trunc512"])


@case("refget.sequence.trunc512-upper-case", MUST, CHECKSUMS)
def trunc512_upper_case(site: Site) -> None:
    """A TRUNC512 in capitals is the same id."""
    _announced(site, "trunc512")
    _each(site, lambda sequence: sequence.digests["trunc512"].upper())


@case("refget.sequence.unknown", MUST, f"{CLAUSE}: Response")
def unknown(site: Site) -> None:
    """404 answers digests of a sequence that the server does not have."""
    for algorithm in ("md5", "ga4gh"):
        if algorithm == "md5" or site.refget.announces(algorithm):
            site.refget.get(UNKNOWN[algorithm]).expect(404)


@case("refget.sequence.garbage", MUST, f"{CLAUSE}: Response")
def garbage(site: Site) -> None:
    """404 answers ids that are no digest of any kind."""
    for name in ("Garbagechecksum", "some1111garbage1111ID"):
        site.refget.get(name).expect(404)


@case("refget.sequence.trailing-slash", MAY, "refget compliance suite 2.0.0, its URLs")
def trailing_slash(site: Site) -> None:
    """A slash behind the id changes nothing."""
    for sequence in site.refget.known():
        answer = site.refget.get(sequence.id, below="/").expect(200)
        require(normal(answer.body) == sequence.residues, f"{answer} with another sequence")


# -- what is sent --------------------------------------------------------------------------------


@case("refget.sequence.upper-case", MUST, f"{CLAUSE}: Response")
def upper_case(site: Site) -> None:
    """The residues are sent in capitals."""
    for answer, _ in _whole(site):
        found = re.search(rb"[a-z]", answer.body)
        require(found is None, f"{answer} with {found[0]!r} at {found.start()}" if found else "")


@case("refget.sequence.bare", MUST, "refget 2.0.0, Protocol essentials")
def bare(site: Site) -> None:
    """Nothing but letters is sent: no line breaks, none at the end either."""
    for answer, _ in _whole(site):
        found = re.search(rb"[^A-Za-z]", answer.body)
        require(found is None, f"{answer} with {found[0]!r} at {found.start()}" if found else "")


@case("refget.sequence.content-type", MUST, "refget 2.0.0, Protocol essentials")
def content_type(site: Site) -> None:
    """Content-Type says text: refget's own, or plain."""
    for answer, found in _own(site):
        kind = answer.media_type
        require(kind == "text/plain" or bool(TEXT_TYPE.fullmatch(kind)), f"{answer} as {found}")


@case("refget.sequence.media-type", SHOULD, f"{CLAUSE}: Default encoding")
def media_type(site: Site) -> None:
    """The media type is refget's, with its version, where the client does not ask for another."""
    for answer, found in _own(site):
        require(answer.media_type != "text/plain", f"{answer} as {found}")


@case("refget.sequence.charset", MUST, "refget 2.0.0, Protocol essentials")
def charset(site: Site) -> None:
    """The character set, where Content-Type names one, is US-ASCII."""
    for answer, found in _own(site):
        named = re.search(r"charset=\"?([^\";,\s]*)", str(found), re.IGNORECASE)
        require(named is None or named[1].lower() == "us-ascii", f"{answer} as {found}")


@case("refget.sequence.no-content-coding", MUST, "refget 2.0.0, Protocol essentials")
def no_content_coding(site: Site) -> None:
    """The body has no content-coding, also for clients that accept gzip."""
    for sequence in site.refget.known():
        answer = site.refget.get(sequence.id, headers={"Accept-Encoding": "gzip, deflate"})
        coding = answer.expect(200).headers.get("content-encoding", "identity")
        require(coding == "identity", f"{answer} with Content-Encoding: {coding}")


@case("refget.sequence.content-length", MAY, "refget compliance suite 2.0.0, Content-Length")
def content_length(site: Site) -> None:
    """Content-Length is the number of residues."""
    for sequence in site.refget.known():
        answer = site.refget.get(sequence.id).expect(200)
        length = answer.headers.get("content-length")
        require(length == str(len(answer.body)), f"{answer} with Content-Length: {length}")


@case("refget.sequence.head", SHOULD, "RFC 9110, 9.3.2 HEAD")
def head(site: Site) -> None:
    """HEAD is answered as GET is, without the body; it may leave the length out."""
    for sequence in site.refget.known():
        answer = site.refget.get(sequence.id, method="HEAD").expect(200)
        like = site.refget.get(sequence.id)
        kind = answer.headers.get("content-type")
        wanted = like.headers.get("content-type")
        require(kind == wanted, f"{answer} with content-type {kind}, GET with {wanted}")
        length = answer.headers.get("content-length", str(len(like.body)))
        complaint = f"{answer} with content-length {length}, GET with {len(like.body)} bytes"
        require(length == str(len(like.body)), complaint)


# -- what clients accept -------------------------------------------------------------------------


@case("refget.sequence.accept", MUST, MEDIA_TYPES)
def accept(site: Site) -> None:
    """It is given to clients that accept refget's text, with a charset or without, or plain."""
    versions = site.refget.versions or ("2.0.0",)
    full = f"text/vnd.ga4gh.refget.v{versions[0]}+plain"
    _accepted(site, (f"{full}; charset=us-ascii", full, "text/plain"))


@case("refget.sequence.accept-version-1", MUST, "refget 1.0.1, Internet Media Types Handling")
def accept_version_1(site: Site) -> None:
    """It is given to clients that accept a version that the block of version 1 announces."""
    announced = [each for each in site.refget.versions if each.startswith("1.")]
    if not announced:
        raise Skipped("service-info announces no version 1")
    _accepted(site, (f"text/vnd.ga4gh.refget.v{each}+plain" for each in announced))


@case("refget.sequence.accept-wildcards", MUST, "RFC 9110, 12.5.1 Accept")
def accept_wildcards(site: Site) -> None:
    """It is given to clients that accept any text, or anything."""
    _accepted(site, ("text/*", "*/*"))


@case("refget.sequence.accept-lists", MUST, "RFC 9110, 12.5.1 Accept")
def accept_lists(site: Site) -> None:
    """It is given to clients that accept several types, one of which is offered."""
    types = [f"text/vnd.ga4gh.refget.v{each}+plain" for each in ("1.0.0", "2.0.0")]
    _accepted(site, (",".join(types), "embl/some_json, text/plain;q=0.5", "image/png,*/*;q=0.1"))


@case("refget.sequence.not-acceptable", SHOULD, f"{CLAUSE}: Accept")
def not_acceptable(site: Site) -> None:
    """406 answers clients that accept nothing that the server has."""
    for sequence in site.refget.known()[:1]:
        site.refget.get(sequence.id, headers={"Accept": "embl/some_json"}).expect(406)


# -- browsers and caches -------------------------------------------------------------------------


@case("refget.sequence.cors", SHOULD, "refget 2.0.0, CORS")
def cors(site: Site) -> None:
    """Pages from anywhere may read sequences, metadata and service-info."""
    sent = {"Origin": "https://browser.example"}
    sequence = site.refget.known()[0]
    for name, below in ((sequence.id, ""), (sequence.id, "/metadata"), ("service-info", "")):
        answer = site.refget.get(name, headers=sent, below=below)
        origin = answer.headers.get("access-control-allow-origin")
        require(
            origin in ("*", sent["Origin"]), f"{answer} with Access-Control-Allow-Origin: {origin}"
        )


@case("refget.sequence.preflight", SHOULD, "refget 2.0.0, CORS")
def preflight(site: Site) -> None:
    """Browsers are told that they may send Range."""
    sent = {
        "Origin": "https://browser.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    for sequence in site.refget.known()[:1]:
        answer = site.refget.get(sequence.id, headers=sent, method="OPTIONS").expect(200, 204)
        allowed = answer.headers.get("access-control-allow-headers", "").lower()
        require(
            "*" in allowed or "range" in re.split(r"\s*,\s*", allowed),
            f"{answer} with Access-Control-Allow-Headers: {allowed or None}",
        )


@case("refget.sequence.cache-control", MAY, "RFC 9111, 5.2 Cache-Control")
def cache_control(site: Site) -> None:
    """What a digest names may be kept: Cache-Control tells for how long."""
    for answer, _ in _whole(site):
        found = answer.headers.get("cache-control", "")
        require("max-age=" in found, f"{answer} with Cache-Control: {found or None}")


@case("refget.sequence.not-modified", MAY, "RFC 9110, 13.1.2 If-None-Match")
def not_modified(site: Site) -> None:
    """304 answers clients that have what the ETag names."""
    for sequence in site.refget.known():
        tag = site.refget.get(sequence.id).headers.get("etag")
        require(bool(tag), f"{sequence} has no ETag")
        site.refget.get(sequence.id, headers={"If-None-Match": str(tag)}).expect(304)


def _whole(site: Site) -> Iterable[tuple[Answer, str | None]]:
    """The answers for whole sequences, with their Content-Types."""
    for sequence in site.refget.known():
        answer = site.refget.get(sequence.id).expect(200)
        yield answer, answer.headers.get("content-type")


def _own(site: Site) -> Iterable[tuple[Answer, str | None]]:
    """The same, where the server answers itself. Raises `Skipped` where it leads to a store."""
    own = [each for each in _whole(site) if each[0].url.startswith(site.endpoint("sequence"))]
    if not own:
        raise Skipped("sequences come from elsewhere, by redirects")
    return own


def _each(site: Site, name: Callable[[Sequence], str]) -> None:
    for sequence in site.refget.known():
        _same(site, replace(sequence, id=name(sequence)))


def _same(site: Site, sequence: Sequence) -> None:
    answer = site.refget.get(sequence.id).expect(200)
    if normal(answer.body) != sequence.residues:
        raise Failed(f"{answer} with another sequence")


def _accepted(site: Site, types: Iterable[str]) -> None:
    sequence = site.refget.known()[0]
    for each in types:
        answer = site.refget.get(sequence.id, "start=0&end=1", {"Accept": each})
        require(answer.status in (200, 206), f"{answer} to Accept: {each}")


def _version_2(site: Site) -> None:
    if site.refget.is_old:
        raise Skipped("the server has version 1 only, which has no namespaces")


def _announced(site: Site, algorithm: str) -> None:
    if not site.refget.announces(algorithm):
        raise Skipped(f"{algorithm} is not announced")
