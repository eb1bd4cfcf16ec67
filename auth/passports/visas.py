"""One visa: what it says, and whether that is to be believed (GA4GH Passport 1.2, AAI 1.2).

`screen` looks at what costs nothing, before any key is asked for; `accept` judges what a good
signature is over. A fault is `InvalidCredential` with a code `visa.…`: the visa is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auth.errors import InvalidCredential
from auth.passports.conditions import Conditions, parse_conditions
from auth.passports.linked_identities import parse_linked_identities
from auth.passports.trust import (
    ACCEPTED_TERMS,
    ACCESS_TOKEN,
    CONTROLLED_ACCESS_GRANTS,
    DOCUMENT,
    LINKED_IDENTITIES,
    RESEARCHER_STATUS,
    Trust,
    VisaIssuer,
)
from auth.principal import Identity, Visa
from auth.tokens.claims import check_times, numeric_date, subject
from auth.tokens.jose import MAX_TOKEN, Compact, claims_of, parse

LEEWAY = 30
"""Seconds that an issuer's clock may be ahead of ours. A visa ends when it says."""

MAX_VALUE = 255
"""Characters of a value, and of an id."""

AUTHORITIES = frozenset(("self", "peer", "system", "so", "dac"))

_ALGORITHMS = frozenset(("RS256", "ES256"))
_TYPES = frozenset(("", "jwt", "vnd.ga4gh.visa+jwt"))
_ACCESS_TOKEN_TYPES = _TYPES | {"at+jwt"}
_KEY_HEADERS = ("jwk", "x5u")
_BY_WHOM = {CONTROLLED_ACCESS_GRANTS: AUTHORITIES, ACCEPTED_TERMS: frozenset(("self", "so"))}


@dataclass(frozen=True, slots=True)
class Claimed:
    """What claims to be a visa of a trusted issuer that it may give, and is not verified.

    `form` is "document" or "access_token". `conditions` None: it has no such member.
    """

    compact: Compact
    claims: Mapping[str, object]
    issuer: VisaIssuer
    form: str
    type: str
    value: str
    source: str
    by: str
    asserted: int
    conditions: Conditions | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A visa that is good by itself; its conditions and its holder are still to be judged.

    `linked` are the identities that it says are one person, its holder's among them.
    """

    visa: Visa
    conditions: Conditions | None
    linked: frozenset[Identity] = frozenset()

    @property
    def holder(self) -> Identity:
        """Whose visa it is."""
        return self.visa.iss, self.visa.sub


def screen(token: str, trust: Trust) -> Claimed:
    """A token as a visa that an issuer we trust may give (V1 to V6); its signature is not looked
    at, and nobody is asked."""
    try:
        compact = parse(token, max_bytes=MAX_TOKEN)
        typ = compact.typ
        claims = claims_of(compact.payload)
    except InvalidCredential as error:
        raise _as_visa(error) from None
    if compact.alg not in _ALGORITHMS:
        raise InvalidCredential("visa.alg")
    form = _form(compact, claims)
    if typ not in (_TYPES if form == DOCUMENT else _ACCESS_TOKEN_TYPES):
        raise InvalidCredential("visa.typ")
    iss = claims.get("iss")
    issuer = trust.visa_issuers.get(iss) if isinstance(iss, str) else None
    if issuer is None:
        raise InvalidCredential("visa.iss")
    if form not in issuer.formats:
        raise InvalidCredential("visa.format")
    if form == DOCUMENT and compact.header["jku"] != issuer.jku:
        raise InvalidCredential("visa.jku")
    if any(name in compact.header for name in _KEY_HEADERS):
        raise InvalidCredential("visa.key_header")
    visa = claims.get("ga4gh_visa_v1")
    if not isinstance(visa, dict):
        raise InvalidCredential("visa.object")
    return _assertion(compact, claims, issuer, form, visa)


def accept(claimed: Claimed, now: float) -> Accepted:
    """What a visa says, once its signature is found good (V8 to V15).

    Its end is when it expires, or when what it asserts becomes too old.
    """
    claims = claimed.claims
    try:
        exp = check_times(claims, now, leeway=LEEWAY)
        sub = subject(claims)
    except InvalidCredential as error:
        raise _as_visa(error) from None
    jti = claims.get("jti", "")
    if not isinstance(jti, str) or len(jti) > MAX_VALUE or (claimed.issuer.require_jti and not jti):
        raise InvalidCredential("visa.jti")
    if claimed.asserted > now + LEEWAY:
        raise InvalidCredential("visa.asserted")
    assertion = claimed.issuer.assertion(claimed.type, claimed.value, claimed.source)
    if assertion is None:
        raise InvalidCredential("visa.source")
    end = min(exp, claimed.asserted + assertion.max_age) if assertion.max_age else exp
    if now >= end:
        raise InvalidCredential("visa.exp")
    found = Visa(
        iss=claimed.issuer.issuer,
        sub=sub,
        type=claimed.type,
        value=claimed.value,
        source=claimed.source,
        by=claimed.by,
        asserted=claimed.asserted,
        exp=end,
        jti=jti,
    )
    linked = frozenset[Identity]()
    if found.type == LINKED_IDENTITIES:
        try:
            linked = parse_linked_identities(found.value) | {(found.iss, found.sub)}
        except ValueError:
            raise InvalidCredential("visa.linked") from None
    return Accepted(found, claimed.conditions, linked)


def registered_access(visas: Iterable[Visa], now: float) -> frozenset[str]:
    """The terms under which somebody has registered access (Passport 1.2): whoever is a researcher
    and has accepted the terms, in two visas of one value."""
    held = [visa for visa in visas if now < visa.exp]
    accepted = {visa.value for visa in held if visa.type == ACCEPTED_TERMS}
    return frozenset(
        visa.value for visa in held if visa.type == RESEARCHER_STATUS and visa.value in accepted
    )


def _form(compact: Compact, claims: Mapping[str, object]) -> str:
    """Exactly one of a `jku` and the scope `openid` tells which kind of visa it is (AAI 1.2)."""
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise InvalidCredential("visa.format")
    has_jku, has_openid = "jku" in compact.header, "openid" in scope.split(" ")
    if has_jku is has_openid:
        raise InvalidCredential("visa.format")
    return DOCUMENT if has_jku else ACCESS_TOKEN


def _assertion(
    compact: Compact,
    claims: Mapping[str, object],
    issuer: VisaIssuer,
    form: str,
    visa: Mapping[str, object],
) -> Claimed:
    """The texts of the visa object, as far as this issuer may say them."""
    type_, value, source = visa.get("type"), visa.get("value"), visa.get("source")
    by = visa.get("by", "")
    if not isinstance(type_, str) or type_ not in issuer.may_assert:
        raise InvalidCredential("visa.type")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_VALUE:
        raise InvalidCredential("visa.value")
    if not isinstance(source, str) or issuer.assertion(type_, value, source) is None:
        raise InvalidCredential("visa.source")
    if not isinstance(by, str) or ("by" in visa and by not in AUTHORITIES):
        raise InvalidCredential("visa.by")
    if type_ in _BY_WHOM and by not in _BY_WHOM[type_]:
        raise InvalidCredential("visa.by")
    try:
        asserted = numeric_date(visa.get("asserted"))
    except ValueError:
        raise InvalidCredential("visa.asserted") from None
    try:
        conditions = parse_conditions(visa["conditions"]) if "conditions" in visa else None
    except ValueError:
        raise InvalidCredential("visa.conditions") from None
    return Claimed(compact, claims, issuer, form, type_, value, source, by, asserted, conditions)


def _as_visa(error: InvalidCredential) -> InvalidCredential:
    return InvalidCredential(f"visa.{error.reason.partition('.')[2]}")
