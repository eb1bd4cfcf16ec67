"""Whom we believe: the brokers that make passports, and who may sign which visas.

Trust in visas is in tuples of issuer, key URL, type and source: who may sign terms of use does not
thereby grant access to data. What a visa is worth is for the custodian's policy to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auth.tokens.token_issuer import TokenIssuer

CONTROLLED_ACCESS_GRANTS = "ControlledAccessGrants"
RESEARCHER_STATUS = "ResearcherStatus"
ACCEPTED_TERMS = "AcceptedTermsAndPolicies"
AFFILIATION_AND_ROLE = "AffiliationAndRole"
LINKED_IDENTITIES = "LinkedIdentities"
STANDARD_TYPES = (
    CONTROLLED_ACCESS_GRANTS,
    RESEARCHER_STATUS,
    ACCEPTED_TERMS,
    AFFILIATION_AND_ROLE,
    LINKED_IDENTITIES,
)
"""Types of Passport 1.2; custom ones are URLs, and known only where an issuer may assert them."""

USERINFO, PASSPORT, INTROSPECTION = "userinfo", "passport", "introspection"
DOCUMENT, ACCESS_TOKEN = "document", "access_token"
LINKED, SAME_SUB, BY_BROKER = "linked", "same_sub", "broker"


@dataclass(frozen=True, slots=True)
class Broker:
    """Who vouches for callers by the `tokens` it makes, and hands out passports.

    `flows`: "userinfo", "passport" (signed ones), "introspection". `identity_rule`: whose visas
    count as the caller's: those of "linked" identities, also those of the "same_sub" at any issuer,
    or all that the "broker" delivers. `userinfo_url` "": found by discovery.
    """

    tokens: TokenIssuer
    flows: frozenset[str]
    identity_rule: str = LINKED
    userinfo_url: str = ""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an issuer may say in visas of one type: on whose behalf, which values (None: any), and
    for how many seconds after it was asserted (0: as long as the visa lives)."""

    sources: frozenset[str]
    values: frozenset[str] | None = None
    max_age: int = 0

    def covers(self, value: str, source: str) -> bool:
        """Whether the texts are among those, to the letter."""
        return source in self.sources and (self.values is None or value in self.values)


@dataclass(frozen=True, slots=True)
class VisaIssuer:
    """Who signs visas, and what is believed of them.

    Its document visas carry `jku` to the letter; their keys are there, or in `jwks_file`. The keys
    of visas that are access tokens are found by discovery, on its host or `hosts`.
    """

    issuer: str
    jku: str
    formats: frozenset[str]
    may_assert: Mapping[str, tuple[Assertion, ...]]
    jwks_file: Path | None = None
    hosts: frozenset[str] = frozenset()
    require_jti: bool = False

    def assertion(self, type_: str, value: str, source: str) -> Assertion | None:
        """What allows it to say this, if anything does."""
        for each in self.may_assert.get(type_, ()):
            if each.covers(value, source):
                return each
        return None


@dataclass(frozen=True, slots=True)
class Trust:
    """Brokers and visa issuers by their `iss`, and a version that changes with the file."""

    brokers: Mapping[str, Broker]
    visa_issuers: Mapping[str, VisaIssuer]
    version: str = ""

    def allows(self, type_: str, value: str, source: str = "") -> bool:
        """Whether anybody may sign such a visa, of this source or ("") of any: a policy that needs
        one that nobody may is a mistake."""
        return any(
            each.covers(value, source or next(iter(each.sources)))
            for issuer in self.visa_issuers.values()
            for each in issuer.may_assert.get(type_, ())
        )
