"""An issuer for development and demonstration: a key in a file, and what it signs.

To the server it is an issuer like any other, configured by name and `jwks_file`; nothing in it
knows of this one.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from auth.tokens.key_set import MAX_DOCUMENT, InvalidKeySet, KeySet

ALGORITHMS = ("ES256", "EdDSA")

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class DevIssuer:
    """Signs tokens as `issuer`. Times are in seconds, `now` since the epoch."""

    issuer: str
    key: PrivateKey

    @property
    def algorithm(self) -> str:
        """How it signs: ES256 or EdDSA, by the kind of key."""
        return "ES256" if isinstance(self.key, EllipticCurvePrivateKey) else "EdDSA"

    @property
    def kid(self) -> str:
        """The key's thumbprint (RFC 7638)."""
        members = {
            name: self._public[name] for name in ("crv", "kty", "x", "y") & self._public.keys()
        }
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def jwks(self) -> bytes:
        """The key set for `jwks_file`."""
        key = {"alg": self.algorithm, "kid": self.kid, "use": "sig", **self._public}
        return json.dumps({"keys": [key]}, indent=2).encode() + b"\n"

    @property
    def jku(self) -> str:
        """Where its visas say that the key is."""
        return f"{self.issuer.rstrip('/')}/jwks"

    def access_token(
        self,
        sub: str,
        *,
        audience: str,
        now: float,
        lifetime: int,
        client_id: str = "",
        scope: str = "",
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """An access token (RFC 9068); `claims` come on top."""
        members = {
            **self._claims(sub, now, lifetime, "at"),
            "aud": [audience],
            "client_id": client_id,
            "scope": scope,
            **(claims or {}),
        }
        return self._sign({name: each for name, each in members.items() if each != ""}, "at+jwt")

    def visa(self, sub: str, visa: Mapping[str, Any], *, now: float, lifetime: int) -> str:
        """A visa document (GA4GH Passport 1.2): `visa` has `type`, `value`, `source` and `by`."""
        members = {"asserted": int(now), **visa}
        claims = {**self._claims(sub, now, lifetime, "v"), "ga4gh_visa_v1": members}
        return self._sign(claims, "vnd.ga4gh.visa+jwt", jku=self.jku)

    def passport(
        self, sub: str, visas: Sequence[str], *, audience: str, now: float, lifetime: int
    ) -> str:
        """A passport of signed visas (GA4GH AAI 1.2)."""
        claims = {
            **self._claims(sub, now, lifetime, "pp"),
            "aud": [audience],
            "ga4gh_passport_v1": list(visas),
        }
        return self._sign(claims, "vnd.ga4gh.passport+jwt")

    def _claims(self, sub: str, now: float, lifetime: int, kind: str) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "sub": sub,
            "iat": int(now),
            "exp": int(now) + lifetime,
            "jti": f"{kind}-{secrets.token_hex(8)}",
        }

    def _sign(self, claims: Mapping[str, Any], typ: str, **header: str) -> str:
        payload = json.dumps(claims, separators=(",", ":")).encode()
        headers = {"typ": typ, "kid": self.kid, **header}
        return PyJWS().encode(payload, self.key, self.algorithm, headers=headers)

    @property
    def _public(self) -> dict[str, Any]:
        public = self.key.public_key()
        if isinstance(public, Ed25519PublicKey):
            return OKPAlgorithm.to_jwk(public, as_dict=True)
        return ECAlgorithm.to_jwk(public, as_dict=True)


def open_dev_issuer(issuer: str, key: Path, jwks: Path, algorithm: str = "ES256") -> DevIssuer:
    """The issuer whose key is in a PEM file, with the key set beside it; what is absent is made.

    `ValueError` for files of something else, which are left as they are.
    """
    try:
        data = _read(key)
    except FileNotFoundError:
        data = _new_key(algorithm)
        _write_new(key, data, 0o600)
    else:
        if key.stat().st_mode & 0o007:
            raise ValueError(f"{key}: others may read it; use chmod o=")
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise ValueError(f"{key}: no private key in PEM form") from None
    if isinstance(private, EllipticCurvePrivateKey):
        if not isinstance(private.curve, SECP256R1):
            raise ValueError(f"{key}: a key of another curve than P-256")
    elif not isinstance(private, Ed25519PrivateKey):
        raise ValueError(f"{key}: a key that is neither for ES256 nor for EdDSA")
    made = DevIssuer(issuer, private)
    try:
        published = KeySet.load(_read(jwks))
    except FileNotFoundError:
        _write_new(jwks, made.jwks, 0o644)
    except InvalidKeySet as error:
        raise ValueError(f"{jwks}: no key set: {error}") from None
    else:
        found = published.find(made.kid, made.algorithm)
        if found is None or found.public != private.public_key():
            raise ValueError(f"{jwks}: does not hold the key in {key}; remove one of the two")
    return made


def _new_key(algorithm: str) -> bytes:
    key: PrivateKey
    if algorithm == "ES256":
        key = generate_private_key(SECP256R1())
    elif algorithm == "EdDSA":
        key = Ed25519PrivateKey.generate()
    else:
        raise ValueError(f"algorithm: {' or '.join(ALGORITHMS)}")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT + 1)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
