"""What a policy must answer, written beside it by its custodians: the `[[expect]]` tables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from auth.decision import AccessRequest, Outcome
from auth.policy.grants import USUAL_AUTHORITIES, VisaAtom
from auth.policy.panels import parse_region
from auth.principal import ANONYMOUS, Principal, Visa
from auth.tables import Table
from formats.regions import UNPLACED, Region

_EXPECT = ("at", "subject", "request", "outcome")
_SUBJECT = ("public", "iss", "sub", "client_id", "peer", "visas", "claims")
_REQUEST = ("endpoint", "object", "format", "region", "regions", "class", "fields", "tags")
_VISA = ("type", "value", "source", "by", "asserted_ago")
_ENDPOINTS = ("reads", "variants", "refget")
_SOMEBODY = ("https://issuer.invalid/", "somebody")
_YEAR = 365 * 86_400


@dataclass(frozen=True, slots=True)
class ExpectedVisa:
    """A visa that the subject holds. What is "" is whatever the policy names for such a visa."""

    type: str
    value: str = ""
    source: str = ""
    by: str = ""
    asserted_ago: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """At a time (seconds since the epoch), a subject that asks for something, and what it is told:
    `allow:GRANT`, `deny`, `not_found` or `unauthenticated`.

    It is about the rights as written: a grant counts also where its projection is not served yet.
    """

    number: int
    at: float
    request: AccessRequest
    outcome: str
    identity: tuple[str, str] = _SOMEBODY
    client_id: str = ""
    visas: tuple[ExpectedVisa, ...] = ()
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    anonymous: bool = False

    def principal(self, atoms: Iterable[VisaAtom]) -> Principal:
        """The subject; `atoms` are all visas that the policy names."""
        if self.anonymous:
            return ANONYMOUS
        iss, sub = self.identity
        known = tuple(atoms)
        return Principal(
            iss=iss,
            sub=sub,
            client_id=self.client_id,
            visas=tuple(
                visa
                for each in self.visas
                for visa in visas_of(each, known, self.identity, self.at)
            ),
            identities=frozenset((self.identity,)),
            claims=self.claims,
        )


def visas_of(
    expected: ExpectedVisa, atoms: Iterable[VisaAtom], identity: tuple[str, str], at: float
) -> list[Visa]:
    """The visas that a short description stands for, good for a year."""
    described = [
        (
            expected.value or atom.value.replace("*@", "member@", 1),
            expected.source or atom.source,
            expected.by or min(atom.by or ("",)),
        )
        for atom in atoms
        if atom.type == expected.type
        and (not expected.value or atom.usable(expected.type, expected.value))
    ]
    if expected.value and not described:
        described = [(expected.value, expected.source, expected.by)]
    usual = min(USUAL_AUTHORITIES.get(expected.type, ("",)))
    return [
        Visa(
            iss=identity[0],
            sub=identity[1],
            type=expected.type,
            value=value,
            source=source,
            by=by or usual,
            asserted=int(at) - expected.asserted_ago,
            exp=int(at) + _YEAR,
        )
        for value, source, by in dict.fromkeys(described)
    ]


def read_expectation(number: int, value: object) -> Expectation:
    """One `[[expect]]`; `InvalidConfiguration`."""
    table = Table(f"expect {number}", value, _EXPECT)
    subject, request = table.table("subject", _SUBJECT), table.table("request", _REQUEST)
    if subject is None or request is None:
        table.fail("", "needs a subject and a request")
    anonymous = subject.flag("public")
    if anonymous and any(key in subject for key in _SUBJECT if key not in ("public", "peer")):
        subject.fail("public", "is nobody in particular: there is no more to say but peer")
    outcome = table.text("outcome")
    word, colon, grant = outcome.partition(":")
    is_allowed = word == Outcome.ALLOW
    if word not in {*Outcome} or bool(colon) is not is_allowed or bool(grant) is not is_allowed:
        table.fail("outcome", "is allow:GRANT, deny, not_found or unauthenticated")
    claims = subject.named("claims")
    claim_table = Table(f"expect {number}.subject.claims", claims, claims)
    return Expectation(
        number=number,
        at=table.moment("at"),
        request=_request(request, subject.text("peer", "")),
        outcome=outcome,
        identity=(subject.text("iss", _SOMEBODY[0]), subject.text("sub", _SOMEBODY[1])),
        client_id=subject.text("client_id", ""),
        visas=tuple(_visa(subject, each) for each in subject.tables("visas")),
        claims={name: claim_table.texts(name) for name in claims},
        anonymous=anonymous,
    )


def _request(table: Table, peer: str) -> AccessRequest:
    endpoint = table.choice("endpoint", _ENDPOINTS)
    asked: tuple[str, ...] = ()
    if "region" in table:
        asked = (table.text("region"),)
    elif "regions" in table:
        asked = table.texts("regions")
    return AccessRequest(
        endpoint=endpoint,
        object_id=table.text("object").removeprefix(f"{endpoint}/"),
        format=table.text("format", ""),
        data_class=table.choice("class", ("header", "body"), "body"),
        regions=asked_regions(table, asked),
        fields=frozenset(table.texts("fields")) if "fields" in table else None,
        tags=frozenset(table.texts("tags")) if "tags" in table else None,
        peer=peer,
    )


def asked_regions(table: Table, texts: Iterable[str]) -> tuple[Region, ...] | None:
    """The regions that a request names; `all`, or none, is the whole object."""
    regions = []
    for text in texts:
        if text == "all":
            return None
        try:
            regions.append(Region(UNPLACED) if text == UNPLACED else parse_region(text))
        except ValueError as error:
            table.fail("region", str(error))
    return tuple(regions) or None


def _visa(subject: Table, value: object) -> ExpectedVisa:
    place = f"{subject.place}.visas"
    if isinstance(value, str):
        return ExpectedVisa(value)
    table = Table(place, value, _VISA)
    return ExpectedVisa(
        type=table.text("type"),
        value=table.text("value", ""),
        source=table.text("source", ""),
        by=table.text("by", ""),
        asserted_ago=table.duration("asserted_ago"),
    )
