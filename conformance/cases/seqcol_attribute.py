"""Attributes by their digests (Sequence Collections 1.0.0, 3.5 Attribute)."""

from collections.abc import Iterator

from conformance.case import Requirement, Skipped, case, require
from conformance.cases.seqcol_collection import UNKNOWN
from conformance.http import Answer
from conformance.seqcol import Collection
from conformance.site import Site

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD
CLAUSE = "Sequence Collections 1.0.0, 3.5 Attribute"


@case("seqcol.attribute.value", MUST, CLAUSE)
def value(site: Site) -> None:
    """An attribute that is neither transient nor passed through is found by its digest: the bare
    value that level 2 has."""
    for each, name in _attributes(site):
        answer = _ask(site, name, each.level1[name]).expect(200)
        require(answer.json() == each.level2[name], f"{answer} with something else than level 2")


@case("seqcol.attribute.hidden", SHOULD, CLAUSE)
def hidden(site: Site) -> None:
    """Attributes that are transient or passed through are not answered."""
    found = [
        (name, str(each.level1[name]))
        for each in site.seqcol.known
        for name in sorted(site.seqcol.hidden & {*each.level1})
    ]
    if not found:
        raise Skipped("no collection has an attribute that is transient or passed through")
    for name, digest in found:
        answer = _ask(site, name, digest)
        require(400 <= answer.status < 500, f"{answer}, not 404")


@case("seqcol.attribute.unknown-digest", SHOULD, "RFC 9110, 15.5.5 404 Not Found")
def unknown_digest(site: Site) -> None:
    """404 answers digests that no collection has for the attribute."""
    for name in {name: None for _, name in _attributes(site)}:
        _ask(site, name, UNKNOWN).expect(404)


@case("seqcol.attribute.another-attribute", SHOULD, CLAUSE)
def another_attribute(site: Site) -> None:
    """404 answers the digest of another attribute."""
    for each in site.seqcol.known:
        if {"names", "lengths"} <= {*each.level1}:
            _ask(site, "names", each.level1["lengths"]).expect(404)


@case("seqcol.attribute.unknown-attribute", SHOULD, "RFC 9110, 15.5.5 404 Not Found")
def unknown_attribute(site: Site) -> None:
    """An attribute that the schema does not have is refused."""
    answer = _ask(site, "no_such_attribute", UNKNOWN)
    require(400 <= answer.status < 500, f"{answer}, not 404")


@case("seqcol.attribute.object-type", SHOULD, f"{CLAUSE}: object_type")
def object_type(site: Site) -> None:
    """The only type of objects is `collection`."""
    each, name = next(_attributes(site))
    answer = site.seqcol.get(f"attribute/sequence/{name}/{each.level1[name]}")
    require(400 <= answer.status < 500, f"{answer}, not 404")


def _ask(site: Site, name: str, digest: str) -> Answer:
    return site.seqcol.get(f"attribute/collection/{name}/{digest}")


def _attributes(site: Site) -> Iterator[tuple[Collection, str]]:
    """The attributes that can be got, each with a collection that has it."""
    found = False
    for each in site.seqcol.known:
        for name in sorted({*each.level1} & {*each.level2} - site.seqcol.hidden):
            found = True
            yield each, name
    if not found:
        raise Skipped("no collection has an attribute that could be asked for")
