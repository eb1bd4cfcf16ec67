"""What a server with these settings would say to a token, and which check it fails."""

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from auth.clock import SteadyClock
from auth.errors import AuthorityUnavailable, InvalidConfiguration, InvalidCredential
from auth.passports.reader import PassportReader
from auth.passports.trust import Trust
from auth.passports.trust_document import load_trust
from auth.principal import Principal
from auth.tokens.access_tokens import TokenVerifier
from auth.tokens.jose import claims_of, parse
from auth.tokens.revocations import Revocations
from auth.tokens.token_issuer import TokenIssuer
from server.access.authenticator import Authenticator
from server.access.issuers import token_issuers, way_out
from server.auth_settings import AuthSection
from server.cli.findings import printable
from server.config import ConfigurationError, load_settings

_LONGEST = 512 << 10

# What the codes mean; `{}` is what the issuer is configured to want.
_MEANINGS = {
    "bearer.syntax": "it holds characters that no bearer token may hold",
    "bearer.size": "it is too long for a header; exchange it at /auth/exchange",
    "token.size": "it is too long",
    "token.syntax": "it is no JWT in compact form, and nobody is configured who could be asked"
    " about opaque tokens",
    "token.alg": "it is signed in a way that is not accepted: {algorithms}",
    "token.kid": "its issuer has no key of its `kid`, or it names none",
    "token.typ": "its header's `typ` is not that of an access token, at+jwt or JWT;"
    " passports are for the brokers that `auth.passports` names",
    "token.crit": "its header asks for an extension (`crit`, `b64`)",
    "token.key_header": "its header brings or names a key (`jku`, `jwk`, `x5u`)",
    "token.iss": "its `iss` is none of the configured issuers, to the letter: {issuers}",
    "token.signature": "the key of its `kid` did not sign it",
    "token.json": "its claims are no JSON object with one meaning",
    "token.kind": "it is a token for something else: an ID or refresh token, a passport, a visa",
    "token.exp": "it has expired, or does not say when it does",
    "token.iat": "it was issued in the future, or does not say when",
    "token.nbf": "it is not yet good",
    "token.lifetime": "it is good for too long: at most {max_token_lifetime} s are accepted",
    "token.aud": "its `aud` names nobody that is accepted: {audiences}",
    "token.client": "it was issued to a program that is not listed: {client_ids}",
    "token.scope": "it lacks a scope that is needed: {needed_scopes}",
    "token.sub": "it names no subject",
    "token.cnf": "it is bound to a key (`cnf`); bound tokens are not supported",
    "token.revoked": "it, or its subject, is on the list of `auth.revoked`",
    "token.inactive": "its issuer says that it is not active",
}


async def inspect(options: argparse.Namespace) -> int:
    """Print what is in a token and whether it is accepted; 1 if it is not."""
    text = (sys.stdin.read(_LONGEST) if options.token == "-" else options.token).strip()  # noqa: S105
    section = load_settings(options.config, {}).auth
    if section is None:
        raise ConfigurationError("there is no [auth] in the settings: no token is accepted")
    try:
        found = await _judged(section, text)
    except InvalidConfiguration as error:
        raise ConfigurationError(str(error)) from None
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0 if found["accepted"] else 1


async def _judged(section: AuthSection, text: str) -> dict[str, Any]:
    """What is in the token, unverified, and the verdict of all that a server asks."""
    trust = Trust({}, {}) if section.passports is None else load_trust(section.passports)
    issuers = token_issuers(section.issuers, trust)
    found = _contents(text)
    async with AsyncExitStack() as stack:
        fetch, clock = way_out(section, issuers.values(), trust), SteadyClock()
        fetch.start()
        stack.push_async_callback(fetch.close)
        revoked = Revocations(section.revoked)
        verifier = TokenVerifier(list(issuers.values()), fetch, clock, revoked=revoked)
        stack.push_async_callback(verifier.close)
        passports = None
        if trust.brokers:
            passports = PassportReader(trust, fetch, clock, revoked=revoked, keys=verifier.keys)
            stack.push_async_callback(passports.close)
        authenticator = Authenticator(verifier, revoked, passports)
        try:
            principal = await authenticator.principal([f"Bearer {text}"])
        except InvalidCredential as refusal:
            issuer = issuers.get(str(found.get("claims", {}).get("iss")))
            meaning = _meaning(refusal.reason, issuer, issuers)
            return found | {"accepted": False, "check": refusal.reason, "meaning": meaning}
        except AuthorityUnavailable as failure:
            meaning = "who could vouch for it cannot be asked now"
            return found | {"accepted": False, "check": failure.reason, "meaning": meaning}
    return found | {"accepted": True, "caller": _caller(principal)}


def _contents(text: str) -> dict[str, Any]:
    """Header and claims as they stand there; nothing of what cannot be read."""
    found: dict[str, Any] = {}
    with suppress(InvalidCredential):
        compact = parse(text, max_bytes=_LONGEST)
        found["header"] = dict(compact.header)
        found["claims"] = claims_of(compact.payload)
    return found


def _meaning(reason: str, issuer: TokenIssuer | None, issuers: Mapping[str, TokenIssuer]) -> str:
    text = _MEANINGS.get(reason, "it is not accepted")
    wanted = {"issuers": ", ".join(sorted(issuers)) or "there are none"}
    if issuer is not None:
        accepted = issuer.audiences or issuer.client_ids
        wanted |= {
            "algorithms": ", ".join(sorted(issuer.algorithms)),
            "audiences": ", ".join(sorted(accepted)),
            "client_ids": ", ".join(sorted(issuer.client_ids)),
            "needed_scopes": " ".join(sorted(issuer.needed_scopes)),
            "max_token_lifetime": str(issuer.max_token_lifetime),
        }
    try:
        return text.format_map(wanted)
    except KeyError:  # of an opaque token, whose issuer it does not say
        return text.partition(": {")[0]


def _caller(principal: Principal) -> dict[str, Any]:
    return {
        "iss": principal.iss,
        "sub": principal.sub,
        "client_id": principal.client_id,
        "scopes": sorted(principal.scopes),
        "token_id": principal.token_id,
        "until": _date(principal.not_after),
        "identities": sorted(f"{iss}|{sub}" for iss, sub in principal.identities),
        "visas": [
            {
                "type": visa.type,
                "value": visa.value,
                "source": visa.source,
                "by": visa.by,
                "until": _date(visa.exp),
            }
            for visa in principal.visas
        ],
    }


def _show(found: Mapping[str, Any]) -> None:
    for name in ("header", "claims"):
        if name in found:
            print(f"{name}:")
            for member, value in found[name].items():
                print(f"  {_plain(member)}: {_plain(value)}{_as_date(member, value)}")
    if not found["accepted"]:
        print(f"refused ({found['check']}): {found['meaning']}")
        return
    print("accepted:")
    for member, value in found["caller"].items():
        if member == "visas":
            print(f"  visas: {len(value)}")
            for visa in value:
                print(f"    {_plain(visa)}")
        elif value not in ("", []):
            print(f"  {member}: {_plain(value)}")


def _plain(value: object) -> str:
    """A value as a line that a terminal shows and does not obey."""
    text = json.dumps(value)
    if isinstance(value, str) and text[1:-1] == value:
        text = printable(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _as_date(name: str, value: object) -> str:
    if name not in ("exp", "iat", "nbf", "auth_time") or not isinstance(value, int):
        return ""
    return f" ({_date(value)})"


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "no date"
