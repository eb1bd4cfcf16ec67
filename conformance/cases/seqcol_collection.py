"""Collections at both levels, and their digests (Sequence Collections 1.0.0, 2, 3.2, 4 and 5)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from conformance.case import Requirement, Skipped, case, require
from conformance.http import Answer
from conformance.seqcol import BASE, STANDARD, Collection, digest, pairs, sorted_pairs
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY
CLAUSE = "Sequence Collections 1.0.0, 3.2 Collection"
ENCODING = "Sequence Collections 1.0.0, 2 Encoding"
TRANSIENT = "Sequence Collections 1.0.0, 4.5 Transient attributes"
ANCILLARY = "Sequence Collections 1.0.0, 5 Custom and recommended ancillary attributes"
UNKNOWN = digest("a collection that nobody has")
"""A digest that no server has a collection or an attribute for."""


@case("seqcol.collection.level-1", MUST, CLAUSE)
def level_1(site: Site) -> None:
    """Level 1 has a digest for each attribute."""
    for each in _listed(site):
        document = _at(site, each, "?level=1").expect(200).json()
        digests = {
            name: value
            for name, value in _object(document).items()
            if name not in site.seqcol.qualified("passthru")
        }
        wrong = [
            name
            for name, value in digests.items()
            if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_-]{32}", value)
        ]
        require(digests != {} and not wrong, f"{each}: no digests: {', '.join(wrong) or 'any'}")


@case("seqcol.collection.level-2", MUST, CLAUSE)
def level_2(site: Site) -> None:
    """Level 2 has the values of the attributes: those of the base schema are arrays."""
    for each in _listed(site):
        answer = _at(site, each, "?level=2").expect(200)
        document = _object(answer.json())
        beside = _at(site, each, "?level=1")
        level1 = _object(beside.json()) if beside.status == 200 else {}
        wrong = [
            name
            for name in BASE
            if (name in level1 or name in document) and not isinstance(document.get(name), list)
        ]
        require(document != {} and not wrong, f"{answer} without arrays of {', '.join(wrong)}")


@case("seqcol.collection.default-level", MUST, CLAUSE)
def default_level(site: Site) -> None:
    """Level 2 is what comes where no level is asked for."""
    for each in site.seqcol.known:
        answer = _at(site, each.digest).expect(200)
        require(answer.json() == each.level2, f"{answer} with something else than level 2")


@case("seqcol.collection.attribute-digests", MUST, f"{ENCODING}, steps 2 and 3")
def attribute_digests(site: Site) -> None:
    """The digests of level 1 are those of the canonical JSON of the values of level 2, of the
    attributes that the specification describes."""
    for each in site.seqcol.known:
        for name, value in each.level2.items():
            if name in STANDARD & {*each.level1} - site.seqcol.hidden:
                found, right = each.level1[name], digest(value)
                require(found == right, f"{each.digest}: {name} is {found}, and digests to {right}")


@case("seqcol.collection.passthru", MUST, "Sequence Collections 1.0.0, 4.4 Passthru attributes")
def passthru(site: Site) -> None:
    """Attributes that pass through, if there are any, are the same at both levels."""
    for each in site.seqcol.known:
        for name in sorted(site.seqcol.qualified("passthru")):
            same = each.level1.get(name) == each.level2.get(name)
            require(same, f"{each.digest}: {name} differs between the levels")


@case("seqcol.collection.digest", MUST, f"{ENCODING}, steps 4 and 5")
def top_digest(site: Site) -> None:
    """The digest of a collection is that of the digests of its inherent attributes."""
    for each in site.seqcol.known:
        inherent = site.seqcol.qualified("inherent")
        right = digest({name: each.level1[name] for name in inherent if name in each.level1})
        require(each.digest == right, f"{each.digest}: its attributes digest to {right}")


@case("seqcol.collection.all-attributes", MUST, CLAUSE)
def all_attributes(site: Site) -> None:
    """Level 2 has all attributes of level 1, those too that are not inherent."""
    for each in site.seqcol.known:
        missing = {*each.level1} - {*each.level2} - site.seqcol.qualified("transient")
        require(not missing, f"{each.digest}: not at level 2: {', '.join(sorted(missing))}")


@case("seqcol.collection.transient", SHOULD, TRANSIENT)
def transient(site: Site) -> None:
    """Level 2 leaves transient attributes out."""
    for each in site.seqcol.known:
        found = sorted({*each.level2} & site.seqcol.transient)
        require(not found, f"{each.digest}: at level 2: {', '.join(found)}")


@case("seqcol.collection.transient-digests", SHOULD, TRANSIENT)
def transient_digests(site: Site) -> None:
    """Level 1 of some collection has the digests of the transient attributes in the schema, which
    may hold attributes that are not used, and should not."""
    if not site.seqcol.schema.get("properties"):
        raise Skipped("the schema has no properties")
    known = site.seqcol.known
    missing = sorted(site.seqcol.transient - {name for each in known for name in each.level1})
    require(not missing, f"{known[0].digest}: not at level 1: {', '.join(missing)}")


@case("seqcol.collection.required", MUST, "Sequence Collections 1.0.0, 1 Schema")
def required(site: Site) -> None:
    """A collection has all attributes that the schema requires."""
    named = site.seqcol.schema.get("required")
    if not isinstance(named, list):
        raise Skipped("the schema requires nothing")
    for each in site.seqcol.known:
        missing = [str(name) for name in named if name not in each.level1]
        require(not missing, f"{each.digest}: without {', '.join(missing)}")


@case("seqcol.collection.types", MUST, "Sequence Collections 1.0.0, 1 Schema")
def types(site: Site) -> None:
    """Names are texts, lengths are whole numbers, sequences are identifiers as `SQ.…`."""
    for each in site.seqcol.known:
        for name, is_one in _TYPES.items():
            values = each.level2.get(name)
            for value in values if isinstance(values, list) else ():
                require(is_one(value), f"{each.digest}: among {name} is {value!r}")


_TYPES: Mapping[str, Callable[[object], bool]] = {
    "names": lambda value: isinstance(value, str) and value != "",
    "lengths": lambda value: type(value) is int and value >= 0,
    "sequences": lambda value: isinstance(value, str) and value.startswith("SQ."),
}


@case("seqcol.collection.collated", MUST, "Sequence Collections 1.0.0, 4.2 Collated attributes")
def collated(site: Site) -> None:
    """Collated attributes have an element for each sequence."""
    marked = {
        name
        for name, found in site.seqcol.properties.items()
        if isinstance(found, dict) and found.get("collated") is True
    }
    for each in site.seqcol.known:
        values = {name: each.level2.get(name) for name in marked | {*BASE}}
        counts = {name: len(found) for name, found in values.items() if isinstance(found, list)}
        require(len({*counts.values()}) <= 1, f"{each.digest}: numbers of elements: {counts}")


@case("seqcol.collection.name-length-pairs", SHOULD, f"{ANCILLARY}: name_length_pairs")
def name_length_pairs(site: Site) -> None:
    """`name_length_pairs` is there: names with lengths, in their order."""
    for each in _with_lengths(site):
        found = each.level2.get("name_length_pairs")
        right = pairs(each.level2["names"], each.level2["lengths"])
        require(found == right, f"{each.digest}: name_length_pairs is {_short(found)}")


@case("seqcol.collection.sorted-pairs", SHOULD, f"{ANCILLARY}: sorted_name_length_pairs")
def sorted_name_length_pairs(site: Site) -> None:
    """`sorted_name_length_pairs` is there: its digest is that of the sorted digests of pairs."""
    for each in _with_lengths(site):
        found = each.level1.get("sorted_name_length_pairs")
        right = digest(sorted_pairs(each.level2["names"], each.level2["lengths"]))
        complaint = f"{each.digest}: sorted_name_length_pairs is {found}, not {right}"
        require(found == right, complaint)


@case("seqcol.collection.sorted-sequences", MAY, f"{ANCILLARY}: sorted_sequences")
def sorted_sequences(site: Site) -> None:
    """`sorted_sequences` is there: its digest is that of the sorted sequences."""
    for each in site.seqcol.known:
        if "sequences" not in each.level2:
            raise Skipped(f"{each.digest} has no sequences")
        found = each.level1.get("sorted_sequences")
        right = digest(sorted(map(str, each.level2["sequences"])))
        require(found == right, f"{each.digest}: sorted_sequences is {found}, not {right}")


@case("seqcol.collection.unknown", SHOULD, "RFC 9110, 15.5.5 404 Not Found")
def unknown(site: Site) -> None:
    """404 answers digests of collections that the server does not have; what is no digest is
    refused, too."""
    for level in ("", "?level=1"):
        _at(site, UNKNOWN, level).expect(404)
        answer = _at(site, "garbage", level)
        require(400 <= answer.status < 500, f"{answer}, not 404")


@case("seqcol.collection.level-garbage", SHOULD, "RFC 9110, 15.5.1 400 Bad Request")
def level_garbage(site: Site) -> None:
    """A level that is no level is refused, not taken for another."""
    for level in ("x", "7", "-1", "1.5"):
        answer = _at(site, site.seqcol.known[0].digest, f"?level={level}")
        require(400 <= answer.status < 500, f"{answer}, not 400")


@case("seqcol.collection.media-type", SHOULD, "RFC 8259, 11 IANA Considerations")
def media_type(site: Site) -> None:
    """Collections come as JSON, and say so."""
    for each in site.seqcol.known:
        answer = _at(site, each.digest, "?level=1").expect(200)
        kind = answer.media_type
        right = kind == "application/json" or bool(re.fullmatch(r"application/.+\+json", kind))
        require(right, f"{answer} as {kind or 'nothing'}")


@case("seqcol.collection.sequences-served", MAY, "Sequence Collections 1.0.0, Seqcol protocol")
def sequences_served(site: Site) -> None:
    """The sequences of collections are on this server, and as long as the collections say."""
    lengths = site.seqcol.sequences
    if not lengths:
        raise Skipped("no collection has sequences with lengths")
    for name, length in [*lengths.items()][:5]:
        answer = site.refget.get(name, below="/metadata").expect(200)
        metadata = _object(answer.json()).get("metadata")
        found = _object(metadata).get("length")
        require(found == length, f"{answer} with length {found!r}, in a collection {length}")


def _at(site: Site, name: str, query: str = "") -> Answer:
    return site.seqcol.get(f"collection/{name}{query}")


def _listed(site: Site) -> tuple[str, ...]:
    """Digests of collections, whatever can be got of them."""
    found = site.seqcol.digests
    if not found:
        raise Skipped("no collection is known")
    return found


def _with_lengths(site: Site) -> list[Collection]:
    found = [each for each in site.seqcol.known if {"names", "lengths"} <= {*each.level2}]
    if not found:
        raise Skipped("no collection has names and lengths")
    return found


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
