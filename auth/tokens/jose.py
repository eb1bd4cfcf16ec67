"""Signed tokens in compact form (RFC 7515): one spelling, a strict header, one algorithm per key.

Every fault is `InvalidCredential` with a code `token.…`. What is in a token is not to be believed
before `verify`, and even then only as far as its issuer is.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from auth.errors import InvalidCredential
from auth.strict_json import strict_json_object

MAX_TOKEN = 16 << 10
"""Characters of an access token or a visa."""

MAX_HEADER = 4 << 10
"""Bytes of a decoded header."""

MAX_KID = 256
"""Characters of a key id."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

# Judged before anything is decoded: decoders skip, pad and mend what they are given.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Compact:
    """A token taken apart and not verified.

    `kid` is good for nothing but to look a key up. `typ` is the media type in lower case, without
    `application/`, "" when there is none. `payload` and `signature` are decoded.
    """

    text: str
    header: Mapping[str, object]
    alg: str
    kid: str
    typ: str
    payload: bytes
    signature: bytes

    @property
    def signing_input(self) -> bytes:
        """What the signature is over."""
        return self.text.rpartition(".")[0].encode("ascii")

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of what was signed: a name that another signature over the same
        (ECDSA has two for each) does not change."""
        return f"sha256:{hashlib.sha256(self.signing_input).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the algorithms that may be used with it."""

    kid: str
    algorithms: frozenset[str]
    public: PublicKey


def is_compact(token: str) -> bool:
    """Whether a token has the form of a signed one; others are opaque."""
    return _COMPACT.fullmatch(token) is not None


def parse(token: str, *, max_bytes: int = MAX_TOKEN, max_header: int = MAX_HEADER) -> Compact:
    """Take a token apart. Its header is a JSON object with `alg` and `kid`, no `crit` and `b64`."""
    if len(token) > max_bytes:
        raise InvalidCredential("token.size")
    segments = _COMPACT.fullmatch(token)
    if segments is None or len(segments[1]) > (max_header + 2) // 3 * 4:
        raise InvalidCredential("token.syntax")
    try:
        header_bytes, payload = decode(segments[1]), decode(segments[2])
        signature = decode(segments[3])
        header = strict_json_object(header_bytes)
    except ValueError:
        raise InvalidCredential("token.syntax") from None
    if len(header_bytes) > max_header:
        raise InvalidCredential("token.syntax")
    if "crit" in header or "b64" in header:
        raise InvalidCredential("token.crit")
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "")
    if not isinstance(alg, str):
        raise InvalidCredential("token.alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise InvalidCredential("token.kid")
    if not isinstance(typ, str):
        raise InvalidCredential("token.typ")
    media_type = typ.lower().removeprefix("application/")
    return Compact(token, header, alg, kid, media_type, payload, signature)


def verify(compact: Compact, key: Key) -> bytes:
    """The payload, once the signature over the received bytes is found good."""
    if compact.alg not in key.algorithms:
        raise InvalidCredential("token.alg")
    # The library's algorithms, not its decoder: that reads header and payload once more, by rules
    # of its own, and takes 30 ms over a large passport.
    algorithm = get_default_algorithms()[compact.alg]
    try:
        public = algorithm.prepare_key(key.public)
        good = algorithm.check_key_length(public) is None and algorithm.verify(
            compact.signing_input, public, compact.signature
        )
    except (PyJWTError, TypeError, ValueError):
        good = False
    if good is not True:
        raise InvalidCredential("token.signature")
    return compact.payload


def claims_of(payload: bytes) -> dict[str, object]:
    """The claims of a payload: strict JSON, an object."""
    try:
        return strict_json_object(payload)
    except ValueError:
        raise InvalidCredential("token.json") from None


def decode(text: str) -> bytes:
    """The bytes of canonical base64url without padding, or `ValueError`."""
    characters = text.encode("ascii")
    padded = characters.translate(_STANDARD) + b"=" * (-len(characters) % 4)
    data = binascii.a2b_base64(padded, strict_mode=True)
    if binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE) != characters:
        raise ValueError("not canonical base64url")
    return data
