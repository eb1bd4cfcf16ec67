"""Capabilities: the sealed path segment of a data URL, which says what the URL opens, and for whom.

    CapabilityError
    ├── InvalidCapability       not sealed by us, or altered
    │   └── ExpiredCapability   sealed by us, but too long ago
    └── CapabilityTooLong       more than one URL can carry

The text is `v1.<kid>.<body>.<mac>`: the id of the key, the claims as canonical JSON in base64url,
and an HMAC-SHA256 over all that stands before it. The claims are signed, not secret.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from auth.intervals import pack, packed_size, unpack
from auth.strict_json import strict_json
from auth.terms import Terms
from formats.regions import Interval

MAX_BODY = 4096
"""Characters of the claims in base64url: with it, a URL stays below the 8 kB that proxies pass."""

_KID = r"[A-Za-z0-9_-]{1,16}"
_TOKEN = re.compile(rf"v1\.({_KID})\.([A-Za-z0-9_-]{{1,{MAX_BODY}}})\.([A-Za-z0-9_-]{{43}})")
_CANONICAL_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PURPOSE = b"htsgate capability v1"
_MOST_OPENED = 1024
_CLOCK_SKEW = 30  # seconds by which another replica's clock may be ahead


class CapabilityError(Exception):
    """Base of everything that sealing and opening raise."""


class InvalidCapability(CapabilityError):
    """A text that we did not seal. It does not say why: that would help only a forger."""

    def __init__(self, message: str = "the data URL is not valid") -> None:
        super().__init__(message)


class ExpiredCapability(InvalidCapability):
    """A capability that we sealed, whose time is over."""

    def __init__(self) -> None:
        super().__init__("the data URL has expired; request a new ticket")


class CapabilityTooLong(CapabilityError):
    """Claims that do not fit into one URL."""

    def __init__(self) -> None:
        super().__init__("the request is too long for a data URL")


@dataclass(frozen=True, slots=True)
class Capability:
    """What one data block holds.

    `endpoint` is "reads" or "variants", `data_class` "header" or "body". `intervals`, `unplaced`,
    `sent_until` and `cut` select records as `server.slicing.selection.Selection` says: intervals
    are 0-based, half-open and merged, None stands for every record, `cut` is a range of source
    bytes. `window`: only these bytes of the block, whose ETag is `block_etag`. `part` counts the
    ticket's blocks from 1 to `parts`. `principal` is a pseudonym, "" for anonymous. `expires` is in
    seconds since the epoch; 0 before sealing means "as late as the codec allows". `terms`: by which
    rights, where data are controlled; None for open data.
    """

    endpoint: str
    object_id: str
    fingerprint: str
    format: str
    data_class: str
    ticket_id: str
    intervals: tuple[Interval, ...] | None = None
    unplaced: bool = False
    sent_until: int = 0
    cut: tuple[int, int] | None = None
    window: tuple[int, int] | None = None
    block_etag: str = ""
    part: int = 1
    parts: int = 1
    principal: str = ""
    expires: int = 0
    terms: Terms | None = None


class CapabilityCodec:
    """Seals capabilities and opens what it sealed.

    `keys` maps key ids to master secrets of at least 32 bytes: `signing_kid` names the one that
    seals, all of them open. `audience` is the origin of the data URLs; `lifetime` is in seconds,
    and `clock` gives seconds since the epoch. Replicas that share these values open each other's
    capabilities.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        signing_kid: str,
        audience: str,
        lifetime: int,
        clock: Callable[[], float],
    ) -> None:
        for kid, secret in keys.items():
            if not re.fullmatch(_KID, kid):
                raise ValueError("a key id has 1 to 16 letters, digits, '_' and '-'")
            if len(secret) < 32:
                raise ValueError("a secret has at least 32 bytes")
        self._keys = {kid: derive(secret, _PURPOSE) for kid, secret in keys.items()}
        self._unknown_key = secrets.token_bytes(32)
        self._signing_kid = signing_kid
        self._seal = hmac.new(self._keys[signing_kid], _prefix(signing_kid), "sha256")
        # Clients fetch a block in many ranges: what was opened need not be verified again.
        self._opened: OrderedDict[str, Capability] = OrderedDict()
        self._audience = audience
        self.lifetime = lifetime
        self._clock = clock

    def seal(self, capability: Capability) -> str:
        """The path segment for a capability, or `CapabilityTooLong`."""
        body = self._body(capability)
        if len(body) > MAX_BODY:
            raise CapabilityTooLong
        seal = self._seal.copy()  # the key and the prefix are hashed already
        seal.update(body.encode("ascii"))
        return f"v1.{self._signing_kid}.{body}.{_encode(seal.digest())}"

    def open(self, token: str) -> Capability:
        """The capability that was sealed, or `InvalidCapability`, or `ExpiredCapability`."""
        capability = self._opened.get(token)
        if capability is None:
            capability = self._opened[token] = self._open(token)
            if len(self._opened) > _MOST_OPENED:
                self._opened.popitem(last=False)
        if capability.expires <= self._clock():
            raise ExpiredCapability
        return capability

    def _open(self, token: str) -> Capability:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise InvalidCapability
        kid, body, given = match.groups()
        key = self._keys.get(kid)
        expected = mac(key or self._unknown_key, kid, body)
        if not hmac.compare_digest(given, expected) or key is None:
            raise InvalidCapability
        try:
            claims = strict_json(_decode(body))
            return self._capability(claims)
        except (ValueError, KeyError, TypeError):
            raise InvalidCapability from None

    def fits(self, capability: Capability) -> bool:
        """Whether `seal` can put the capability into one URL."""
        return len(self._body(capability)) <= MAX_BODY

    def split(self, capability: Capability) -> tuple[Capability, ...]:
        """The same records as the fewest capabilities that fit, in file order.

        Each takes up where the one before ended (`sent_until`), so no record comes twice; the
        unplaced reads come with the last. Part numbers are the caller's to set. `CapabilityTooLong`
        if not even one interval fits.
        """
        intervals = capability.intervals
        if intervals is None or self.fits(_longest(capability)):
            return (capability,)
        room = self._room(capability)
        groups: list[Capability] = []
        group: list[Interval] = []
        used = 0
        sent_until = capability.sent_until

        def close() -> None:
            groups.append(
                replace(capability, intervals=tuple(group), sent_until=sent_until, unplaced=False)
            )

        for interval in intervals:
            size = packed_size(group[-1] if group else None, interval)
            if used + size > room:
                if not group:
                    raise CapabilityTooLong
                close()
                last = group[-1]
                sent_until = last.end if last.reference == interval.reference else 0
                group, size, used = [], packed_size(None, interval), 0
            group.append(interval)
            used += size
        close()
        groups[-1] = replace(groups[-1], unplaced=capability.unplaced)
        return tuple(groups)

    def _room(self, capability: Capability) -> int:
        """Bytes of packed intervals that fit besides the other claims at their longest."""
        rest = _longest(replace(capability, intervals=(), unplaced=True, sent_until=1 << 60))
        characters = MAX_BODY // 4 * 3 - len(_canonical(self._claims(rest)))
        return characters // 4 * 3

    def _body(self, capability: Capability) -> str:
        return _encode(_canonical(self._claims(capability)))

    def _claims(self, capability: Capability) -> dict[str, object]:
        now = int(self._clock())
        expires = now + self.lifetime
        if capability.expires:
            expires = min(expires, capability.expires)
        claims: dict[str, object] = {
            "aud": self._audience,
            "cls": capability.data_class,
            "ep": capability.endpoint,
            "exp": expires,
            "fmt": capability.format,
            "fp": capability.fingerprint,
            "iat": now,
            "n": [capability.part, capability.parts],
            "obj": capability.object_id,
            "tid": capability.ticket_id,
        }
        if capability.principal:
            claims["sub"] = capability.principal
        if capability.intervals is not None:
            claims["rg"] = _encode(pack(capability.intervals))
        if capability.unplaced:
            claims["unp"] = True
        if capability.sent_until:
            claims["su"] = capability.sent_until
        if capability.cut is not None:
            claims["cut"] = list(capability.cut)
        if capability.window is not None:
            claims["win"] = list(capability.window)
            claims["etag"] = capability.block_etag
        if capability.terms is not None:
            claims["ac"] = capability.terms.claims()
        return claims

    def _capability(self, claims: object) -> Capability:
        if not isinstance(claims, dict) or claims["aud"] != self._audience:
            raise InvalidCapability
        now = self._clock()
        expires = _integer(claims["exp"])
        if _integer(claims["iat"]) > now + _CLOCK_SKEW:
            raise InvalidCapability
        packed = claims.get("rg")
        cut, window = claims.get("cut"), claims.get("win")
        part, parts = _integers(claims["n"])
        terms = claims.get("ac")
        return Capability(
            endpoint=_one_of(claims["ep"], "reads", "variants"),
            object_id=_text(claims["obj"]),
            fingerprint=_text(claims["fp"]),
            format=_text(claims["fmt"]),
            data_class=_one_of(claims["cls"], "header", "body"),
            ticket_id=_text(claims["tid"]),
            intervals=None if packed is None else unpack(_decode(_text(packed))),
            unplaced=claims.get("unp", False) is True,
            sent_until=_integer(claims.get("su", 0)),
            cut=None if cut is None else _integers(cut),
            window=None if window is None else _integers(window),
            block_etag=_text(claims.get("etag", "")),
            part=part,
            parts=parts,
            principal=_text(claims.get("sub", "")),
            expires=expires,
            terms=None if terms is None else Terms.of_claims(terms),
        )


def _longest(capability: Capability) -> Capability:
    """The capability with everything that is set after it was split, at its longest."""
    return replace(
        capability, window=(1 << 50, 1 << 50), block_etag="0" * 32, part=9999, parts=9999
    )


def derive(master: bytes, purpose: bytes) -> bytes:
    """The 32-byte key for one purpose: HKDF-SHA256 (RFC 5869), no salt, `purpose` as info."""
    pseudorandom = hmac.digest(bytes(hashlib.sha256().digest_size), master, "sha256")
    return hmac.digest(pseudorandom, purpose + b"\x01", "sha256")


def mac(key: bytes, kid: str, body: str) -> str:
    """The base64url HMAC-SHA256 that seals a body under a key."""
    return _encode(hmac.digest(key, _prefix(kid) + body.encode("ascii"), "sha256"))


def _prefix(kid: str) -> bytes:
    return f"htsget-cap/v1.{kid}.".encode("ascii")


def _canonical(claims: dict[str, object]) -> bytes:
    """JSON with sorted keys, without spaces, in ASCII."""
    data = orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
    if data.isascii():
        return data
    return json.dumps(claims, sort_keys=True, separators=(",", ":")).encode("ascii")


def _encode(data: bytes) -> str:
    text = binascii.b2a_base64(data, newline=False)
    return text.translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """The bytes of canonical base64url without padding, or `ValueError`."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(data) != text:
        raise binascii.Error("not canonical")
    return data


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _one_of(value: object, *allowed: str) -> str:
    if value not in allowed:
        raise ValueError
    return _text(value)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _integers(value: object) -> tuple[int, int]:
    if not isinstance(value, list):
        raise TypeError
    first, second = value
    return _integer(first), _integer(second)
