"""A policy as custodians write it, in TOML or JSON, as values: datasets, denials, grants.

What a table says by itself is judged here, what tables say of each other in
`auth.policy.document_rules`. Relative file names are seen from the policy's own folder.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_network
from pathlib import Path

from auth.decision import Limits, Projection
from auth.policy.expectations import Expectation, read_expectation
from auth.policy.grants import (
    AFFILIATION,
    NOBODY,
    USUAL_AUTHORITIES,
    Atom,
    ClaimAtom,
    IdentityAtom,
    VisaAtom,
    Who,
)
from auth.policy.object_patterns import segments_of
from auth.policy.panels import Panel, parse_region, read_panel
from auth.tables import Table
from formats.regions import UNPLACED

SCHEMA = "htsget-policy/1"
ENDPOINTS = ("reads", "variants", "refget")
FORMATS = ("BAM", "CRAM", "VCF", "BCF")
CLASSES = ("header", "body")
FIELDS = (
    *("QNAME", "FLAG", "RNAME", "POS", "MAPQ", "CIGAR"),
    *("RNEXT", "PNEXT", "TLEN", "SEQ", "QUAL"),
)
AUTHORITIES = ("self", "peer", "system", "so", "dac")
ALL = "all"
PANEL = "panel:"

_ID = re.compile(r"[!-~]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEQCOL = re.compile(r"[A-Za-z0-9_-]{32}")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]")
_DUO = re.compile(r"DUO:[0-9]{7}")

_TOP = ("schema", "custodian", "audit", "panel", "dataset", "deny", "grant", "expect")
_PANEL = ("bed", "sha256", "assembly", "seqcol")
_DATASET = ("id", "objects", "samples", "withdrawn", "consent_max_age", "duo", "seqcol")
_DENY = ("id", "dataset", "regions", "samples", "except_for")
_GRANT = ("id", "dataset", "reason", "who", "what", "how", "limits", "valid")
_WHO = ("all_of", "any_of", "clients", "networks", "public")
_WHAT = ("endpoints", "formats", "classes", "regions", "samples", "fields", "tags_deny")
_HOW = {
    "mode": ("exact", "blocks", "header"),
    "boundary": ("overlap", "contained", "mask"),
    "partial": ("deny", "clip"),
    "qname": ("keep", "hash"),
    "header": ("minimal", "full"),
    "crypt4gh": ("off", "optional", "required"),
    "delivery": ("proxy", "direct"),
    "nonvariant_sites": ("drop", "keep"),
}
"""What may be said of how; the first is what is meant where nothing is said."""
_LIMITS = tuple(Limits.__dataclass_fields__)
_VISA = ("visa", "value", "source", "by", "max_assertion_age")
_CLAIM = ("claim", "contains", "iss")
_PLAIN = Projection()
_UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is granted as a whole. `objects`: patterns over `endpoint/id`; `samples`, `withdrawn`:
    CSV files for `auth.consent`; `consent_max_age`: seconds, 0 for any; `seqcol`: the collection
    that all regions are on, "" where nothing is said."""

    id: str
    objects: tuple[str, ...] = ()
    samples: Path | None = None
    withdrawn: Path | None = None
    consent_max_age: int = 0
    duo: tuple[str, ...] = ()
    seqcol: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """What nobody is granted but by the grants in `except_for`. `regions`: texts, where () stands
    for everything; `samples` None: all of them."""

    id: str
    dataset: str
    regions: tuple[str, ...] = ()
    samples: frozenset[str] | None = None
    except_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may see what of a dataset, and how. `regions`: texts. `begins`, `ends`: days of UTC, both
    included; None where it is open."""

    id: str
    dataset: str
    reason: str
    endpoints: frozenset[str]
    classes: frozenset[str]
    regions: tuple[str, ...]
    formats: frozenset[str] = frozenset(FORMATS)
    who: Who = NOBODY
    projection: Projection = _PLAIN
    partial: str = "deny"
    delivery: str = "proxy"
    limits: Limits = _UNLIMITED
    begins: date | None = None
    ends: date | None = None


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy, file order kept."""

    custodian: str = ""
    audit: str = "required"
    panels: Mapping[str, Panel] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    denies: tuple[Deny, ...] = ()
    grants: tuple[Grant, ...] = ()
    expectations: tuple[Expectation, ...] = ()


def read_document(value: object, folder: Path) -> PolicyDocument:
    """The policy in a parsed file; panels are read from `folder`. `InvalidConfiguration`."""
    top = Table("", value, _TOP)
    if top.text("schema") != SCHEMA:
        top.fail("schema", f"must be {SCHEMA!r}")
    return PolicyDocument(
        custodian=top.text("custodian", ""),
        audit=top.choice("audit", ("required", "best_effort"), "required"),
        panels={name: _panel(name, each, folder) for name, each in top.named("panel").items()},
        datasets=tuple(_dataset(n, each, folder) for n, each in _numbered(top, "dataset")),
        denies=tuple(_deny(number, each) for number, each in _numbered(top, "deny")),
        grants=tuple(_grant(number, each) for number, each in _numbered(top, "grant")),
        expectations=tuple(read_expectation(n, each) for n, each in _numbered(top, "expect")),
    )


def _numbered(top: Table, key: str) -> list[tuple[int, object]]:
    return list(enumerate(top.tables(key), 1))


def _opened(kind: str, number: int, value: object, keys: Collection[str]) -> Table:
    """A table, at a place that people find: by its id where it has one."""
    name = value.get("id") if isinstance(value, dict) else None
    place = f"{kind} {name}" if isinstance(name, str) and name.isprintable() else f"{kind} {number}"
    return Table(place, value, keys)


def _panel(name: str, value: object, folder: Path) -> Panel:
    table = Table(f"panel.{name}", value, _PANEL)
    if not _ID.fullmatch(name):
        table.fail("", "a name has printable characters and no spaces")
    sha256 = table.text("sha256")
    if not _SHA256.fullmatch(sha256):
        table.fail("sha256", "must be 64 hexadecimal digits in lower case; sha256sum tells them")
    path = _file(table, "bed", folder)
    assembly, seqcol = table.text("assembly", ""), _seqcol(table)
    return Panel(name, path, sha256, assembly, seqcol, read_panel(path, sha256))


def _dataset(number: int, value: object, folder: Path) -> Dataset:
    table = _opened("dataset", number, value, _DATASET)
    objects = table.texts("objects", ())
    for pattern in objects:
        try:
            segments = segments_of(pattern)
        except ValueError as error:
            table.fail("objects", str(error))
        if segments[0] not in (*ENDPOINTS, "*", "**"):
            table.fail("objects", f"{pattern!r} must begin with reads/, variants/ or refget/")
    duo = table.texts("duo", ())
    for term in duo:
        if not _DUO.fullmatch(term):
            table.fail("duo", f"{term!r} is no term; write DUO:0000042")
    return Dataset(
        id=table.text("id"),
        objects=objects,
        samples=_file(table, "samples", folder) if "samples" in table else None,
        withdrawn=_file(table, "withdrawn", folder) if "withdrawn" in table else None,
        consent_max_age=table.duration("consent_max_age"),
        duo=duo,
        seqcol=_seqcol(table),
    )


def _deny(number: int, value: object) -> Deny:
    table = _opened("deny", number, value, _DENY)
    if "regions" not in table and "samples" not in table:
        table.fail("", 'says nothing; give regions, such as ["chr1:1-1000"], or samples')
    return Deny(
        id=_identifier(table),
        dataset=table.text("dataset"),
        regions=_regions(table, ()),
        samples=_samples(table),
        except_for=frozenset(table.texts("except_for", ())),
    )


def _grant(number: int, value: object) -> Grant:
    table = _opened("grant", number, value, _GRANT)
    what = table.table("what", _WHAT)
    if what is None:
        table.fail("what", "is missing: endpoints, classes and regions must be said")
    how = table.table("how", _HOW) or Table("", {}, ())
    limits = table.table("limits", _LIMITS) or Table("", {}, ())
    valid = table.table("valid", ("from", "until")) or Table("", {}, ())
    who = table.table("who", _WHO)
    ways = {key: how.choice(key, options, options[0]) for key, options in _HOW.items()}
    partial, delivery = ways.pop("partial"), ways.pop("delivery")
    grant = Grant(
        id=_identifier(table),
        dataset=table.text("dataset"),
        reason=table.text("reason"),
        who=NOBODY if who is None else _who(who),
        endpoints=what.choices("endpoints", ENDPOINTS),
        formats=what.choices("formats", FORMATS, FORMATS),
        classes=what.choices("classes", CLASSES),
        regions=_regions(what),
        projection=Projection(
            samples=_samples(what),
            fields=what.choices("fields", FIELDS) if "fields" in what else None,
            tags_deny=frozenset(what.texts("tags_deny", ())),
            **ways,
        ),
        partial=partial,
        delivery=delivery,
        limits=Limits(**{name: limits.count(name) for name in _LIMITS}),
        begins=valid.day("from"),
        ends=valid.day("until"),
    )
    if grant.begins and grant.ends and grant.begins > grant.ends:
        valid.fail("until", "is before from")
    if grant.classes == {"body"}:
        what.fail("classes", "records come with their header; say header, too")
    for tag in grant.projection.tags_deny:
        if not _TAG.fullmatch(tag):
            what.fail("tags_deny", f"{tag!r} is no tag; they have two characters, such as SA")
    if grant.projection.fields is not None and grant.endpoints != {"reads"}:
        what.fail("fields", "are those of reads; give variants their own grant")
    return grant


def _who(table: Table) -> Who:
    all_of, any_of = (
        tuple(_atom(f"{table.place}.{key}", each) for each in table.tables(key))
        for key in ("all_of", "any_of")
    )
    networks = []
    for text in table.texts("networks", ()):
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            table.fail("networks", f"{error}; write 10.20.0.0/16")
    who = Who(
        all_of=all_of,
        any_of=any_of,
        clients=frozenset(table.texts("clients")) if "clients" in table else None,
        networks=tuple(networks) or None,
        public=table.flag("public"),
    )
    if who.public and (who.atoms or who.clients is not None):
        table.fail("public", "is everybody: there is nothing else to ask of them but networks")
    if who.is_nobody and (who.clients or who.networks):
        table.fail("", "names programs and networks, but nobody; give all_of, any_of or public")
    return who


def _atom(place: str, value: object) -> Atom:
    kinds = ("visa", "iss", "claim")
    given = [kind for kind in kinds if isinstance(value, dict) and kind in value]
    if "claim" in given:
        table = Table(place, value, _CLAIM)
        return ClaimAtom(table.text("claim"), table.text("contains"), table.text("iss", ""))
    if "visa" not in given:
        table = Table(place, value, ("iss", "sub"))
        return IdentityAtom(table.text("iss"), table.text("sub"))
    table = Table(place, value, _VISA)
    type_ = table.text("visa")
    usual = USUAL_AUTHORITIES.get(type_)
    text = table.text("value")
    if type_ == AFFILIATION and "@" not in text:
        table.fail("value", "is a role@affiliation; *@affiliation is any role there")
    return VisaAtom(
        type=type_,
        value=text,
        source=table.text("source", ""),
        by=table.choices("by", AUTHORITIES) if "by" in table else usual,
        max_assertion_age=table.duration("max_assertion_age"),
    )


def _regions(table: Table, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    regions = table.texts("regions", default)
    for text in regions:
        if text in (ALL, UNPLACED) or text.startswith(PANEL):
            continue
        if text.lower() in (ALL, "unmapped", "unplaced"):
            table.fail("regions", f'{text!r}: write "all" for every reference, "*" for unplaced')
        try:
            parse_region(text)
        except ValueError as error:
            table.fail("regions", str(error))
    return regions


def _samples(table: Table) -> frozenset[str] | None:
    if "samples" not in table or table.is_text("samples", ALL):
        return None
    samples = frozenset(table.texts("samples"))
    if ALL in samples:
        table.fail("samples", 'write samples = "all", without brackets')
    return samples


def _identifier(table: Table) -> str:
    text = table.text("id")
    if not _ID.fullmatch(text):
        table.fail("id", "has at most 128 printable ASCII characters and no spaces")
    return text


def _seqcol(table: Table) -> str:
    text = table.text("seqcol", "")
    if text and not _SEQCOL.fullmatch(text):
        table.fail("seqcol", "is the 32 characters of a level-1 collection digest")
    return text


def _file(table: Table, key: str, folder: Path) -> Path:
    """A file that can be read."""
    path = folder / table.text(key)
    if path.exists() and not path.is_file():
        table.fail(key, "is no file")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        table.fail(key, f"cannot be read: {error.strerror}")
    return path
