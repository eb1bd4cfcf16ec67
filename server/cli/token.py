"""`htsgate token`: mint tokens to try things with, and find out why one is refused."""

import argparse
import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from server.cli.token_inspection import inspect
from server.config import ConfigurationError
from server.dev_issuer import ALGORITHMS, DevIssuer, open_dev_issuer

_ISSUER = "https://dev.htsgate.example/"
_KEY, _JWKS = Path("htsgate-dev-key.pem"), Path("htsgate-dev-jwks.json")
_VISA = ("type", "value", "source", "by")
_NEXT_MEMBER = re.compile(rf",(?=(?:{'|'.join(_VISA)})=)")
_LONGEST_LIFE = 31 * 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command and their options."""
    parser.set_defaults(command=token)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    mint = actions.add_parser("mint", help="sign a token with a key of your own, for tests")
    mint.add_argument("--sub", required=True, metavar="NAME", help="who the caller is")
    mint.add_argument("--issuer", default=_ISSUER, metavar="URL", help=f"who signs ({_ISSUER})")
    mint.add_argument("--audience", default="htsgate", metavar="NAME", help="for whom (htsgate)")
    mint.add_argument("--scope", default="", metavar="WORDS", help="scopes, between spaces")
    mint.add_argument("--client-id", default="", metavar="ID", help="to which program")
    mint.add_argument("--lifetime", type=_lifetime, default=3600, metavar="SECONDS", help="(3600)")
    mint.add_argument(
        "--claim",
        action="append",
        default=[],
        type=_claim,
        metavar="NAME=VALUE",
        help="another claim: JSON, or text",
    )
    mint.add_argument(
        "--visa",
        action="append",
        default=[],
        type=_visa,
        metavar="type=T,value=V,source=S,by=B",
        help="a visa; a passport that holds them is the second line",
    )
    mint.add_argument("--key", type=Path, default=_KEY, metavar="FILE", help=f"({_KEY})")
    mint.add_argument("--jwks", type=Path, default=_JWKS, metavar="FILE", help=f"({_JWKS})")
    mint.add_argument(
        "--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0], help="of a new key (ES256)"
    )
    mint.add_argument("--json", action="store_true", help="for programs")
    look = actions.add_parser("inspect", help="say whether a token is accepted, and why not")
    look.add_argument("token", metavar="TOKEN", help="or - to read it from standard input")
    look.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")
    look.add_argument("--json", action="store_true", help="for programs")


def token(options: argparse.Namespace) -> int:
    """Do what was asked for; 1 when the token is not accepted."""
    if options.action == "inspect":
        return asyncio.run(inspect(options))
    return _mint(options)


def _mint(options: argparse.Namespace) -> int:
    is_new = not options.jwks.exists()
    try:
        issuer = open_dev_issuer(options.issuer, options.key, options.jwks, options.algorithm)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    minted = _minted(issuer, options)
    if is_new:
        print(_settings(issuer, options), file=sys.stderr)
    print(json.dumps(minted) if options.json else "\n".join(minted.values()))
    return 0


def _minted(issuer: DevIssuer, options: argparse.Namespace) -> dict[str, str]:
    now, lifetime = time.time(), options.lifetime
    found = {
        "access_token": issuer.access_token(
            options.sub,
            audience=options.audience,
            now=now,
            lifetime=lifetime,
            client_id=options.client_id,
            scope=options.scope,
            claims=dict(options.claim),
        )
    }
    if options.visa:
        visas = [
            issuer.visa(options.sub, each, now=now, lifetime=lifetime) for each in options.visa
        ]
        found["passport"] = issuer.passport(
            options.sub, visas, audience=options.audience, now=now, lifetime=lifetime
        )
    return found


def _settings(issuer: DevIssuer, options: argparse.Namespace) -> str:
    """What makes a server accept tokens of the new key."""
    quoted = {
        name: json.dumps(str(value))
        for name, value in {
            "issuer": issuer.issuer,
            "audience": options.audience,
            "jwks_file": options.jwks.absolute(),
            "algorithm": issuer.algorithm,
        }.items()
    }
    return (
        f"{options.key}: keep it to yourself; whoever has it can be anybody.\n"
        "A server accepts its tokens with these settings:\n\n"
        "  [[auth.issuers]]\n"
        f"  issuer = {quoted['issuer']}\n"
        f"  audience = {quoted['audience']}\n"
        f"  jwks_file = {quoted['jwks_file']}\n"
        f"  algorithms = [{quoted['algorithm']}]\n"
    )


def _claim(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError("write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _visa(text: str) -> dict[str, str]:
    """The members of a visa; commas within a value are its own."""
    visa: dict[str, str] = {}
    for member in _NEXT_MEMBER.split(text):
        name, separator, value = member.partition("=")
        if name not in _VISA or not separator or name in visa:
            raise argparse.ArgumentTypeError("write type=T,value=V,source=S,by=B")
        visa[name] = value
    if not visa.keys() >= {"type", "value", "source"}:
        raise argparse.ArgumentTypeError("a visa has type, value and source")
    return visa


def _lifetime(text: str) -> int:
    seconds = int(text)
    if not 0 < seconds <= _LONGEST_LIFE:
        raise argparse.ArgumentTypeError("1 second to 31 days")
    return seconds
