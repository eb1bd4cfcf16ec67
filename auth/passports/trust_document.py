"""The file of whom we believe, `htsget-trust/1`; no default in it trusts anybody.

It belongs to those responsible for security, not to the custodian of the data.
"""

import hashlib
import tomllib
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from auth.errors import InvalidConfiguration
from auth.passports.trust import (
    ACCESS_TOKEN,
    BY_BROKER,
    DOCUMENT,
    INTROSPECTION,
    LINKED,
    PASSPORT,
    SAME_SUB,
    STANDARD_TYPES,
    USERINFO,
    Assertion,
    Broker,
    Trust,
    VisaIssuer,
)
from auth.tables import Table, nearest
from auth.tokens.issuer_metadata import is_loopback
from auth.tokens.key_set import MAX_DOCUMENT, InvalidKeySet, KeySet
from auth.tokens.token_issuer import ALGORITHMS, TokenIssuer

SCHEMA = "htsget-trust/1"

_USUAL_LEEWAY = 30
_USUAL_TOKEN = 86_400
_LONGEST_TOKEN = 31 * 86_400
_INTROSPECTION = ("url", "client", "secret_file")
_BROKER = (
    *("issuer", "algorithms", "audiences", "client_ids", "scopes", "flows", "identity_rule"),
    *("jwks_url", "jwks_file", "userinfo_url", "hosts", "allow_missing_aud", "max_token_lifetime"),
    *("leeway", "introspection_url", "introspection_client", "introspection_secret_file"),
)
_VISA_ISSUER = ("issuer", "jku", "jwks_file", "hosts", "formats", "may_assert", "require_jti")
_ASSERTION = ("type", "sources", "values", "max_assertion_age")


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
        top.fail("schema", f'must be "{SCHEMA}"')
    brokers: dict[str, Broker] = {}
    for table in _tables(top, "broker", _BROKER):
        broker = _broker(table, folder)
        if brokers.setdefault(broker.tokens.issuer, broker) is not broker:
            table.fail("issuer", "another broker has it")
    visa_issuers: dict[str, VisaIssuer] = {}
    for table in _tables(top, "visa_issuer", _VISA_ISSUER):
        visa_issuer = _visa_issuer(table, folder)
        if visa_issuers.setdefault(visa_issuer.issuer, visa_issuer) is not visa_issuer:
            table.fail("issuer", "another visa_issuer has it; list all that it may assert in one")
    version = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Trust(brokers, visa_issuers, version)


def _broker(table: Table, folder: Path) -> Broker:
    flows = table.choices("flows", (USERINFO, PASSPORT, INTROSPECTION))
    introspected = INTROSPECTION in flows
    if any(("introspection_" + name in table) is not introspected for name in _INTROSPECTION):
        each = ", ".join(f"introspection_{name}" for name in _INTROSPECTION)
        table.fail("flows", f"introspection goes with {each}: give all or none")
    if "max_token_lifetime" in table and table.count("max_token_lifetime") > _LONGEST_TOKEN:
        table.fail("max_token_lifetime", f"must be at most {_LONGEST_TOKEN} seconds")
    try:
        tokens = TokenIssuer(
            issuer=_url(table, "issuer"),
            audiences=frozenset(table.texts("audiences", ())),
            client_ids=frozenset(table.texts("client_ids", ())),
            algorithms=table.choices("algorithms", sorted(ALGORITHMS), ("RS256", "ES256")),
            scopes=frozenset(table.texts("scopes", ())),
            jwks_url=_url(table, "jwks_url", "") or None,
            jwks_file=_key_file(table, folder),
            hosts=frozenset(table.texts("hosts", ())),
            allow_missing_aud=table.flag("allow_missing_aud"),
            max_token_lifetime=table.count("max_token_lifetime") or _USUAL_TOKEN,
            leeway=table.count("leeway") or _USUAL_LEEWAY,
            passports=USERINFO in flows,
            introspection_url=_url(table, "introspection_url", ""),
            introspection_client=table.text("introspection_client", ""),
            introspection_secret=_secret(table, folder) if introspected else "",
        )
    except InvalidConfiguration as error:
        if str(error).startswith(table.place):
            raise
        table.fail("", str(error))
    return Broker(
        tokens,
        flows,
        table.choice("identity_rule", (LINKED, SAME_SUB, BY_BROKER), LINKED),
        _url(table, "userinfo_url", ""),
    )


def _visa_issuer(table: Table, folder: Path) -> VisaIssuer:
    formats = table.choices("formats", (DOCUMENT, ACCESS_TOKEN), (DOCUMENT,))
    jwks_file = _key_file(table, folder)
    if DOCUMENT in formats and "jku" not in table:
        table.fail("jku", "is missing: the text that its visas carry, also with a jwks_file")
    if DOCUMENT not in formats and ("jku" in table or jwks_file is not None):
        table.fail("formats", "without document visas there is neither jku nor jwks_file")
    may_assert: dict[str, tuple[Assertion, ...]] = {}
    for each in _tables(table, "may_assert", _ASSERTION):
        name = each.text("type")
        if name not in STANDARD_TYPES and ":" not in name:
            each.fail("type", f"{name!r} is not known; {nearest(name, STANDARD_TYPES)}")
        assertion = Assertion(
            sources=frozenset(each.texts("sources")),
            values=frozenset(each.texts("values")) if "values" in each else None,
            max_age=each.duration("max_assertion_age"),
        )
        may_assert[name] = (*may_assert.get(name, ()), assertion)
    if not may_assert:
        table.fail("may_assert", "is missing: none of its visas would be of use")
    fetched = DOCUMENT in formats and jwks_file is None
    return VisaIssuer(
        issuer=_url(table, "issuer") if ACCESS_TOKEN in formats else table.text("issuer"),
        jku=_url(table, "jku") if fetched else table.text("jku", ""),
        formats=formats,
        may_assert=may_assert,
        jwks_file=jwks_file,
        hosts=frozenset(table.texts("hosts", ())),
        require_jti=table.flag("require_jti"),
    )


def _tables(table: Table, key: str, keys: Collection[str]) -> list[Table]:
    place = f"{table.place}.{key}" if table.place else key
    values = table.tables(key)
    return [Table(f"{place}[{number}]", value, keys) for number, value in enumerate(values, 1)]


def _url(table: Table, key: str, default: str | None = None) -> str:
    """A URL that may be called: https, or http on this machine."""
    text = table.text(key, default)
    if not text:
        return text
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not text.isascii() or set(text) & set("@\\# "):
        table.fail(key, "must be a URL such as https://login.example.org/")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        table.fail(key, "must be a https:// URL")
    return text


def _key_file(table: Table, folder: Path) -> Path | None:
    """A file of keys, which is tried now: better than when the first visa comes."""
    if "jwks_file" not in table:
        return None
    path = folder / table.text("jwks_file")
    try:
        with path.open("rb") as file:
            keys = KeySet.load(file.read(MAX_DOCUMENT + 1))
    except OSError as error:
        table.fail("jwks_file", f"cannot be read: {error.strerror}")
    except InvalidKeySet as error:
        table.fail("jwks_file", f"is not a key set: {error}")
    if not len(keys):
        table.fail("jwks_file", "holds no key that can be used")
    return path


def _secret(table: Table, folder: Path) -> str:
    key = "introspection_secret_file"
    path = folder / table.text(key)
    try:
        if path.stat().st_mode & 0o007:
            table.fail(key, "others may read it; use chmod o=")
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        table.fail(key, "cannot be read")
