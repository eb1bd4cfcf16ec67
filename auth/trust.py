"""Whom we believe: the brokers that make passports, and who may sign which visas.

The file (`htsget-trust/1`) belongs to those responsible for security, not to the custodian of the
data, whose policy says what a visa is worth. Trust in visas is in tuples of issuer, key URL, type
and source: who may sign terms of use does not thereby grant access to data.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from auth.errors import InvalidConfiguration
from auth.issuer_metadata import is_loopback
from auth.key_set import MAX_DOCUMENT, InvalidKeySet, KeySet
from auth.toml_tables import Table, nearest

SCHEMA = "htsget-trust/1"

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

_ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
_BROKER = (
    *("issuer", "algorithms", "audiences", "client_ids", "scopes", "flows", "identity_rule"),
    *("jwks_url", "jwks_file", "userinfo_url", "hosts", "allow_missing_aud"),
    *("accept_unaudienced_tokens", "max_token_lifetime", "leeway"),
    *("introspection_url", "introspection_client", "introspection_secret_file"),
)
_VISA_ISSUER = ("issuer", "jku", "jwks_file", "hosts", "formats", "may_assert", "require_jti")
_ASSERTION = ("type", "sources", "values", "max_assertion_age")


@dataclass(frozen=True, slots=True)
class Broker:
    """Who vouches for callers and hands out passports. Names as in `[[auth.issuers]]`.

    `flows`: "userinfo", "passport" (signed ones), "introspection". `identity_rule`: whose visas
    count as the caller's: those of "linked" identities, also those of the "same_sub" at any issuer,
    or all that the "broker" delivers. "" and None: found by discovery, or not used.
    """

    issuer: str
    algorithms: frozenset[str]
    audiences: frozenset[str]
    client_ids: frozenset[str]
    scopes: frozenset[str]
    flows: frozenset[str]
    identity_rule: str = LINKED
    jwks_url: str = ""
    jwks_file: Path | None = None
    userinfo_url: str = ""
    hosts: frozenset[str] = frozenset()
    allow_missing_aud: bool = False
    accept_unaudienced_tokens: bool = False
    max_token_lifetime: int = 86_400
    leeway: int = 30
    introspection_url: str = ""
    introspection_client: str = ""
    introspection_secret_file: Path | None = None


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

    def allows(self, type_: str, value: str, source: str) -> bool:
        """Whether anybody may sign such a visa: a policy that needs another is a mistake."""
        issuers = self.visa_issuers.values()
        return any(each.assertion(type_, value, source) is not None for each in issuers)


def load_trust(path: Path) -> Trust:
    """The trust of a file; `InvalidConfiguration`. Files it names are relative to its folder."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidConfiguration(f"{path.name}: cannot be read: {error.strerror}") from None
    try:
        return parse_trust(data, path.parent)
    except InvalidConfiguration as error:
        raise InvalidConfiguration(f"{path.name}: {error}") from None


def parse_trust(data: bytes, folder: Path) -> Trust:
    """The trust that a file's content says; `InvalidConfiguration`."""
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:
        raise InvalidConfiguration(f"not TOML: {error}") from None
    top = Table("", document, ("schema", "broker", "visa_issuer"))
    if top.text("schema") != SCHEMA:
        top.fail(f'schema is "{SCHEMA}"')
    brokers: dict[str, Broker] = {}
    for table in top.tables("broker", _BROKER):
        broker = _broker(table, folder)
        if brokers.setdefault(broker.issuer, broker) is not broker:
            table.fail("another broker has this issuer")
    visa_issuers: dict[str, VisaIssuer] = {}
    for table in top.tables("visa_issuer", _VISA_ISSUER):
        visa_issuer = _visa_issuer(table, folder)
        if visa_issuers.setdefault(visa_issuer.issuer, visa_issuer) is not visa_issuer:
            table.fail("another visa_issuer has this issuer; list all it may assert in one")
    version = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Trust(brokers, visa_issuers, version)


def _broker(table: Table, folder: Path) -> Broker:
    broker = Broker(
        issuer=_url(table, "issuer"),
        algorithms=table.choices("algorithms", _ALGORITHMS, ("RS256", "ES256")),
        audiences=frozenset(table.texts("audiences", ())),
        client_ids=frozenset(table.texts("client_ids", ())),
        scopes=frozenset(table.texts("scopes", ())),
        flows=table.choices("flows", (USERINFO, PASSPORT, INTROSPECTION)),
        identity_rule=table.choice("identity_rule", (LINKED, SAME_SUB, BY_BROKER), LINKED),
        jwks_url=_url(table, "jwks_url", ""),
        jwks_file=_key_file(table, folder),
        userinfo_url=_url(table, "userinfo_url", ""),
        hosts=frozenset(table.texts("hosts", ())),
        allow_missing_aud=table.flag("allow_missing_aud"),
        accept_unaudienced_tokens=table.flag("accept_unaudienced_tokens"),
        max_token_lifetime=table.number("max_token_lifetime", 86_400, 60, 31 * 86_400),
        leeway=table.number("leeway", 30, 0, 120),
        introspection_url=_url(table, "introspection_url", ""),
        introspection_client=table.text("introspection_client", ""),
        introspection_secret_file=_file(table, "introspection_secret_file", folder),
    )
    if not (broker.audiences or broker.client_ids):
        table.fail("give audiences or client_ids: what is made for another service is not for us")
    if broker.jwks_url and broker.jwks_file:
        table.fail("give either jwks_url or jwks_file")
    needed = (broker.introspection_client, broker.introspection_secret_file)
    if INTROSPECTION in broker.flows and not all(needed):
        table.fail("introspection needs introspection_client and introspection_secret_file")
    if INTROSPECTION not in broker.flows and (broker.introspection_url or any(needed)):
        table.fail('without "introspection" among the flows nothing is introspected')
    return broker


def _visa_issuer(table: Table, folder: Path) -> VisaIssuer:
    formats = table.choices("formats", (DOCUMENT, ACCESS_TOKEN), (DOCUMENT,))
    jwks_file = _key_file(table, folder)
    if DOCUMENT in formats and not table.has("jku"):
        table.fail("jku is missing: the text that its visas carry, also with a jwks_file")
    if DOCUMENT not in formats and (table.has("jku") or jwks_file is not None):
        table.fail('jku and jwks_file are for visas of the format "document"')
    fetched = DOCUMENT in formats and jwks_file is None
    may_assert: dict[str, tuple[Assertion, ...]] = {}
    for each in table.tables("may_assert", _ASSERTION):
        name = each.text("type")
        if name not in STANDARD_TYPES and ":" not in name:
            each.fail(f"type {name!a} is not known{nearest(name, STANDARD_TYPES)}")
        assertion = Assertion(
            sources=frozenset(each.texts("sources")),
            values=frozenset(each.texts("values")) if each.has("values") else None,
            max_age=each.seconds("max_assertion_age"),
        )
        may_assert[name] = (*may_assert.get(name, ()), assertion)
    if not may_assert:
        table.fail("may_assert is missing: none of its visas would be of use")
    return VisaIssuer(
        issuer=_url(table, "issuer") if ACCESS_TOKEN in formats else table.text("issuer"),
        jku=_url(table, "jku") if fetched else table.text("jku", ""),
        formats=formats,
        may_assert=may_assert,
        jwks_file=jwks_file,
        hosts=frozenset(table.texts("hosts", ())),
        require_jti=table.flag("require_jti"),
    )


def _url(table: Table, name: str, default: str | None = None) -> str:
    """A URL that may be called: https, or http on this machine."""
    text = table.text(name, default)
    if not text:
        return text
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not text.isascii() or set(text) & set("@\\# "):
        table.fail(f"{name} is a URL such as https://login.example.org/")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        table.fail(f"{name} is a https:// URL")
    return text


def _key_file(table: Table, folder: Path) -> Path | None:
    """A file of keys, which is tried now: better than when the first visa comes."""
    path = _file(table, "jwks_file", folder)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            keys = KeySet.load(file.read(MAX_DOCUMENT + 1))
    except OSError as error:
        table.fail(f"jwks_file cannot be read: {error.strerror}")
    except InvalidKeySet as error:
        table.fail(f"jwks_file: {error}")
    if not len(keys):
        table.fail("jwks_file holds no key that can be used")
    return path


def _file(table: Table, name: str, folder: Path) -> Path | None:
    return folder / table.text(name) if table.has(name) else None
