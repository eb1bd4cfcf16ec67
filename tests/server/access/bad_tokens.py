"""Access tokens that are wrong in one way each, and what the audit says of them."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.broker import AUDIENCE, Broker, SigningKey, segment

EVIL = SigningKey.make("ES256", number=9)
RSA = SigningKey.make("RS256", "rsa-1")
KIDS: tuple[Any, ...] = (
    *("../../../../dev/null", "/etc/passwd", "' OR 1=1--", "%00", "${jndi:ldap://x/a}"),
    *(7, [], "", "k" * 257, None),
)

Forge = Callable[[Broker], str]


def with_header(**changes: Any) -> Forge:
    """A token that is right but for its header."""

    def forge(broker: Broker) -> str:
        return broker.key.sign(broker.claims("alice"), **changes)

    return forge


def unsigned(alg: str) -> Forge:
    def forge(broker: Broker) -> str:
        return broker.key.sign(broker.claims("alice"), alg=alg).rpartition(".")[0] + "."

    return forge


def with_claims(**changes: Any) -> Forge:
    return lambda broker: broker.key.sign(broker.claims("alice", **changes))


def with_text(name: str, value: bytes) -> Forge:
    """A claim as it is written, which a JSON library might not write."""

    def forge(broker: Broker) -> str:
        claims = broker.claims("alice")
        claims.pop(name)
        text = json.dumps(claims).encode()[:-1] + b', "' + name.encode() + b'": ' + value + b"}"
        return broker.key.sign(text)

    return forge


def hmac_with(kind: str) -> Forge:
    """HS256, the published key as secret."""
    public = RSA.private.public_key()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    secret: bytes = {
        "pem": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "der": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "jwk": json.dumps(RSA.jwk).encode(),
    }[kind]

    def forge(broker: Broker) -> str:
        head = json.dumps({"typ": "at+jwt", "alg": "HS256", "kid": RSA.kid}).encode()
        signed = f"{segment(head)}.{segment(json.dumps(broker.claims('alice')).encode())}"
        return f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    return forge


def by_stranger(**header: Any) -> Forge:
    """Signed by an attacker, who uses the id of a published key."""
    return lambda broker: EVIL.sign(broker.claims("alice"), kid=broker.key.kid, **header)


def deep(part: int) -> Forge:
    def forge(broker: Broker) -> str:
        nested = b'{"a":' + b"[" * 5_500 + b"]" * 5_500 + b"}"
        head = json.dumps({"typ": "at+jwt", "alg": "ES256", "kid": broker.key.kid}).encode()
        payload = json.dumps(broker.claims("alice")).encode()
        return broker.key.sign_bytes(*((nested, payload), (head, nested))[part])

    return forge


def wrong_issuer(change: Callable[[str], Any]) -> Forge:
    return lambda broker: broker.key.sign(broker.claims("alice", iss=change(broker.issuer)))


def visa(broker: Broker) -> str:
    return broker.visa("ControlledAccessGrants", "https://d.example/1", "https://dac.example")


def case(name: str, *rows: tuple[Forge, str]) -> list[Any]:
    return [
        pytest.param(forge, rule, id=f"{name}-{number}")
        for number, (forge, rule) in enumerate(rows)
    ]


BAD = [
    *case("TT1", *((unsigned(alg), "token.syntax") for alg in ("none", "None", "NONE", "ES256"))),
    *case("TT1s", *((with_header(alg=alg), "token.alg") for alg in ("none", "None", "NONE"))),
    *case("TT2", *((hmac_with(kind), "token.alg") for kind in ("pem", "der", "ssh", "jwk"))),
    *case(
        "TT3",
        *((with_header(alg=a), "token.alg") for a in (["ES256"], {"a": 1}, "ES256 ", "es256")),
        (with_header(alg="E" * 10_000), "token.syntax"),
        (with_header(alg=None), "token.alg"),
    ),
    *case(
        "TT5",
        *((with_header(kid=kid), "token.kid") for kid in KIDS),
        (with_header(kid="k" * 5_000), "token.syntax"),
    ),
    *case(
        "TT6",
        (by_stranger(jku="http://169.254.169.254/latest"), "token.key_header"),
        (by_stranger(jku="file:///etc/passwd"), "token.key_header"),
        (by_stranger(x5u="http://127.0.0.1:22/"), "token.key_header"),
    ),
    *case(
        "TT7",
        (by_stranger(jwk=EVIL.jwk), "token.key_header"),
        (by_stranger(x5c=[segment(b"a certificate")]), "token.signature"),
        (by_stranger(), "token.signature"),
    ),
    *case(
        "TT9",
        (with_claims(exp=None), "token.exp"),
        *((with_text("exp", v), "token.exp") for v in (b"null", b"[]", b"{}", b"true", b"-1")),
        (with_text("exp", b'"9999999999"'), "token.exp"),
        *((with_text("exp", v), "token.json") for v in (b"1e400", b"Infinity", b"NaN")),
        (with_text("exp", b"9" * 5_000), "token.json"),
    ),
    *case(
        "TT10",
        (deep(0), "token.syntax"),
        (deep(1), "token.json"),
        (lambda b: "." * 15_000, "token.syntax"),
    ),
    *case(
        "TT11",
        *(
            (wrong_issuer(change), "token.iss")
            for change in (
                lambda iss: iss + "/",
                lambda iss: iss.upper(),
                lambda iss: iss.replace("http", "https"),
                lambda iss: f"{iss}@evil.example/",
                lambda iss: iss.replace("1", "\uff11"),
                lambda iss: iss[:-1],
            )
        ),
    ),
    *case(
        "TT12",
        *(
            (with_claims(aud=aud), "token.aud")
            for aud in (
                *(None, "https://other.example", AUDIENCE[:-1], AUDIENCE + "/x"),
                *({AUDIENCE: 1}, 7, [[AUDIENCE]]),
            )
        ),
    ),
    *case(
        "TT14",
        (with_claims(nonce="n", at_hash="h"), "token.kind"),
        (with_claims(typ="Refresh"), "token.kind"),
        (with_claims(events={"x": {}}), "token.kind"),
        (visa, "token.typ"),
        *((with_header(typ=t), "token.typ") for t in ("dpop+jwt", "logout+jwt", None)),
        (lambda broker: broker.passport([visa(broker)]), "token.typ"),
    ),
    *case("TT15", (with_claims(ga4gh_passport_v1=["x"]), "token.kind")),
]
