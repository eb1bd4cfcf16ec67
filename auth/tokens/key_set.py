"""The keys of one issuer, from a JWK set (RFC 7517): only those fit to verify, each with its use.

A set is taken as a whole or not at all; what it holds besides good keys is left out.
"""

from collections.abc import Iterable, Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from auth.errors import AccessError
from auth.strict_json import strict_json
from auth.tokens.jose import MAX_KID, Key, PublicKey, decode

MAX_DOCUMENT = 256 << 10
"""Bytes of a key set."""

MAX_KEYS = 100

# What an issuer may be configured to sign with, by the type and curve of the key.
_ALGORITHMS: Mapping[tuple[str, object], frozenset[str]] = {
    ("RSA", None): frozenset(("RS256", "PS256")),
    ("EC", "P-256"): frozenset(("ES256",)),
    ("OKP", "Ed25519"): frozenset(("EdDSA",)),
}
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_RSA_BITS = range(2048, 8193)
_MOST_EXPONENT_BITS = 64


class InvalidKeySet(AccessError):
    """A document that is no key set, or one whose meaning is doubtful."""


class KeySet:
    """Keys by id. Two keys share an id only when they are of different types."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: dict[tuple[str, str], Key] = {
            (key.kid, alg): key for key in keys for alg in key.algorithms
        }

    @classmethod
    def load(cls, document: bytes) -> "KeySet":
        """The usable keys of a JWK set; `InvalidKeySet`. Its messages tell nothing of the keys."""
        if len(document) > MAX_DOCUMENT:
            raise InvalidKeySet("too large")
        try:
            parsed = strict_json(document)
        except ValueError:
            raise InvalidKeySet("not JSON") from None
        entries = parsed.get("keys") if isinstance(parsed, dict) else None
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise InvalidKeySet("no array of keys")
        if len(entries) > MAX_KEYS:
            raise InvalidKeySet("too many keys")
        names = [
            (each["kid"], each.get("kty"))
            for each in entries
            if isinstance(each.get("kid"), str) and isinstance(each.get("kty"), str)
        ]
        if len(set(names)) != len(names):
            raise InvalidKeySet("two keys of one type share a kid")
        return cls(key for each in entries if (key := _usable(each)) is not None)

    def find(self, kid: str, alg: str) -> Key | None:
        """The key of an id that may be used with an algorithm."""
        return self._keys.get((kid, alg))

    def __len__(self) -> int:
        return len({id(key) for key in self._keys.values()})


def _usable(jwk: Mapping[str, object]) -> Key | None:
    """The key of a JWK that may verify, and whose private half is not in it; else None."""
    kid, kty, alg = jwk.get("kid"), jwk.get("kty"), jwk.get("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID or not isinstance(kty, str):
        return None
    if not _PRIVATE.isdisjoint(jwk) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    curve = None if kty == "RSA" else jwk.get("crv")
    if not isinstance(curve, str | None):
        return None
    algorithms = _ALGORITHMS.get((kty, curve), frozenset())
    if "alg" in jwk:
        algorithms = frozenset((alg,)) & algorithms if isinstance(alg, str) else frozenset()
    if not algorithms:
        return None
    try:
        return Key(kid, algorithms, _public_key(kty, jwk))
    except (ValueError, UnsupportedAlgorithm):
        return None


def _public_key(kty: str, jwk: Mapping[str, object]) -> PublicKey:
    if kty == "RSA":
        modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
        if modulus.bit_length() not in _RSA_BITS or exponent < 3 or exponent % 2 == 0:
            raise ValueError("a weak RSA key")
        if exponent.bit_length() > _MOST_EXPONENT_BITS:
            raise ValueError("a costly RSA key")
        return RSAPublicNumbers(exponent, modulus).public_key()
    if kty == "EC":
        x, y = _bytes(jwk, "x", 32), _bytes(jwk, "y", 32)
        numbers = EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()
        )
        return numbers.public_key()
    return Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x", 32))


def _number(jwk: Mapping[str, object], name: str) -> int:
    return int.from_bytes(_bytes(jwk, name), "big")


def _bytes(jwk: Mapping[str, object], name: str, size: int = 0) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise ValueError(f"no {name}")
    data = decode(text)
    if size and len(data) != size:
        raise ValueError(f"{name} has another size")
    return data
