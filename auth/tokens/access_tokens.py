"""Access tokens: from a text to a `Principal` (security.md 3.2 to 3.6).

Signed ones (RFC 9068 and the GA4GH's) are verified here, opaque ones by their issuer. An answer is
kept for as long as token, keys and deny-list allow, so most requests cost one look-up.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auth.errors import InvalidConfiguration, InvalidCredential
from auth.fetching import Fetch
from auth.principal import Principal
from auth.tokens.introspection import Introspection
from auth.tokens.jose import MAX_TOKEN, Compact, claims_of, is_compact, parse, verify
from auth.tokens.key_cache import KeyCache
from auth.tokens.revocations import Revocations
from auth.tokens.token_issuer import TokenIssuer

_KEPT_FOR = 300.0  # seconds
_REFUSED_FOR = 10.0
_MOST_KEPT = 4096
_MOST_REFUSED = 1024

_TYPES = frozenset(("at+jwt", "jwt"))
# Headers that bring or name a key: it is not for a token to say what verifies it.
_KEY_HEADERS = ("jku", "jwk", "x5u")


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A principal, good until a time while `keys` (None: introspected) are of the generation."""

    principal: Principal
    digest: str
    until: float
    keys: KeyCache | None
    generation: int


class TokenVerifier:
    """Verifies access tokens of the configured issuers, and of nobody else.

    `clock` gives seconds since the epoch and never goes back (`auth.clock`). `claims` names those
    that a `Principal` keeps for policy. Belongs to one event loop. `InvalidConfiguration` for
    issuers that cannot be told apart.
    """

    def __init__(
        self,
        issuers: Sequence[TokenIssuer],
        fetch: Fetch,
        clock: Callable[[], float],
        *,
        revoked: Revocations,
        claims: frozenset[str] = frozenset(),
    ) -> None:
        self._issuers = {each.issuer: each for each in issuers}
        if len(self._issuers) != len(issuers):
            raise InvalidConfiguration("auth.issuers: two have the same name")
        asked = [each for each in issuers if each.introspection_url]
        if len(asked) > 1:  # a token of one would be shown to the other
            raise InvalidConfiguration("auth.issuers: only one may have an introspection_url")
        self.keys = {each.issuer: keys_of(each, fetch, clock) for each in issuers}
        """The keys of each issuer, to be shared with whoever verifies its passports and visas."""
        self._introspection = next(
            (
                Introspection(
                    each.issuer,
                    each.introspection_url,
                    each.introspection_client,
                    each.introspection_secret,
                    fetch,
                )
                for each in asked
            ),
            None,
        )
        self._clock = clock
        self._revoked = revoked
        self._claims = claims
        self._accepted: OrderedDict[bytes, _Accepted] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[float, InvalidCredential]] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[_Accepted]] = {}

    async def verify(self, token: str) -> Principal:
        """Whose token it is.

        `InvalidCredential`; `InsufficientScope`; `AuthorityUnavailable` when keys or introspection
        cannot be had and nothing good enough is kept.
        """
        if len(token) > MAX_TOKEN:
            raise InvalidCredential("token.size")
        principal = self.cached(token)
        if principal is not None:
            return principal
        if is_compact(token):
            accepted = await self._signed(token)
        elif self._introspection is not None and token.isascii():
            accepted = await self._opaque(token, self._introspection)
        else:
            raise InvalidCredential("token.syntax")
        principal = accepted.principal
        self._revoked.check(principal.iss, principal.sub, principal.token_id, accepted.digest)
        self._accepted[_name(token)] = accepted
        if len(self._accepted) > _MOST_KEPT:
            self._accepted.popitem(last=False)
        return principal

    def cached(self, token: str) -> Principal | None:
        """Whose token it is, if that was found out lately: the quick part of `verify`.

        `InvalidCredential` when it has been revoked since.
        """
        name = _name(token)
        accepted = self._accepted.get(name)
        if accepted is None:
            return None
        keys = accepted.keys
        outdated = keys is not None and keys.generation != accepted.generation
        if outdated or self._clock() >= accepted.until:
            del self._accepted[name]
            return None
        principal = accepted.principal
        self._revoked.check(principal.iss, principal.sub, principal.token_id, accepted.digest)
        return principal

    def keep(self, claims: frozenset[str]) -> None:
        """Keep other claims from now on, because policy names others."""
        if claims != self._claims:
            self._claims = claims
            self._accepted.clear()

    async def close(self) -> None:
        """End all requests that are on their way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        for keys in self.keys.values():
            await keys.close()

    async def _signed(self, token: str) -> _Accepted:
        compact = parse(token)
        claims = claims_of(compact.payload)  # believed only when the signature is found good
        iss = claims.get("iss")
        issuer = self._issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            raise InvalidCredential("token.iss")
        _check_header(compact, issuer)
        keys = self.keys[issuer.issuer]
        key = await keys.key(compact.kid, compact.alg)
        generation, good_until = keys.generation, keys.good_until
        verify(compact, key)
        now = self._clock()
        principal = issuer.principal(claims, now, token_digest=compact.digest, kept=self._claims)
        until = min(principal.not_after + issuer.leeway, now + _KEPT_FOR, good_until)
        return _Accepted(principal, compact.digest, until, keys, generation)

    async def _opaque(self, token: str, introspection: Introspection) -> _Accepted:
        """Ask once, however many requests bring the token at the same time; and remember a no."""
        name = _name(token)
        until, refusal = self._refused.get(name, (0.0, None))
        if refusal is not None and self._clock() < until:
            raise type(refusal)(refusal.reason)
        flight = self._flights.get(name)
        if flight is None:
            flight = asyncio.create_task(self._introspected(token, introspection))
            self._flights[name] = flight
            flight.add_done_callback(lambda done: self._landed(name, done))
        return await asyncio.shield(flight)

    def _landed(self, name: bytes, flight: "asyncio.Task[_Accepted]") -> None:
        del self._flights[name]
        refusal = None if flight.cancelled() else flight.exception()
        if isinstance(refusal, InvalidCredential):
            self._refused[name] = (self._clock() + _REFUSED_FOR, refusal)
            self._refused.move_to_end(name)
            if len(self._refused) > _MOST_REFUSED:
                self._refused.popitem(last=False)

    async def _introspected(self, token: str, introspection: Introspection) -> _Accepted:
        claims = await introspection.claims(token)
        issuer = self._issuers[introspection.issuer]
        digest = f"sha256:{hashlib.sha256(token.encode('ascii')).hexdigest()}"
        now = self._clock()
        principal = issuer.principal(
            claims, now, token_digest=digest, kept=self._claims, iat_required=False
        )
        until = min(principal.not_after + issuer.leeway, now + _KEPT_FOR)
        return _Accepted(principal, digest, until, None, 0)


def _check_header(compact: Compact, issuer: TokenIssuer) -> None:
    if compact.alg not in issuer.algorithms:
        raise InvalidCredential("token.alg")
    if compact.typ not in _TYPES:
        raise InvalidCredential("token.typ")
    if any(name in compact.header for name in _KEY_HEADERS):
        raise InvalidCredential("token.key_header")


def _name(token: str) -> bytes:
    """What a token is remembered by; it itself is not kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def keys_of(issuer: TokenIssuer, fetch: Fetch, clock: Callable[[], float]) -> KeyCache:
    """The keys of an issuer, from where it is configured to have them."""
    return KeyCache(
        issuer.issuer,
        fetch,
        clock,
        jwks_url=issuer.jwks_url,
        jwks_file=issuer.jwks_file,
        hosts=issuer.hosts,
    )
