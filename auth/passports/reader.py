"""Passports: what a caller may show besides who they are (GA4GH AAI and Passport 1.2).

Either their broker's UserInfo gives the visas of whoever has an access token, or a client brings a
passport that the broker signed. A defective passport is refused; a defective visa is left out.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from auth.errors import InsufficientScope, InvalidCredential
from auth.fetching import Fetch
from auth.passports.cache import PassportCache
from auth.passports.trust import BY_BROKER, PASSPORT, USERINFO, Broker, Trust
from auth.passports.userinfo import UserInfo, visa_texts
from auth.passports.visa_reader import VisaReader, Wanted
from auth.principal import Principal
from auth.tokens.access_tokens import keys_of
from auth.tokens.claims import check_times, subject, token_id
from auth.tokens.jose import Compact, claims_of, is_compact, parse, verify
from auth.tokens.key_cache import KeyCache
from auth.tokens.revocations import Revocations
from auth.tokens.token_issuer import PASSPORT_SCOPES, TokenIssuer

MAX_PASSPORT = 512 << 10
"""Characters of a passport."""

_TYPE = "vnd.ga4gh.passport+jwt"
_KEY_HEADERS = ("jku", "jwk", "x5u")

_log = logging.getLogger(__name__)


def is_passport(token: str) -> bool:
    """Whether a token says that it is a passport; nothing of it is verified."""
    if not is_compact(token):
        return False
    try:
        return parse(token, max_bytes=MAX_PASSPORT).typ == _TYPE
    except InvalidCredential:
        return False


class PassportReader:
    """Reads passports of the brokers that `trust` names, with the visas that policy wants.

    `keys` are those of issuers that somebody else holds already (`TokenVerifier.keys`). `wanted`
    says whether policy can use a visa of a type and value; when what it says changes, `forget`.
    `clock` gives seconds since the epoch and never goes back. Belongs to one event loop.
    """

    def __init__(
        self,
        trust: Trust,
        fetch: Fetch,
        clock: Callable[[], float],
        *,
        revoked: Revocations | None = None,
        wanted: Wanted = lambda type_, value: True,
        keys: Mapping[str, KeyCache] | None = None,
    ) -> None:
        self._brokers = trust.brokers
        self._clock = clock
        self._revoked = revoked or Revocations()
        self.visas = VisaReader(trust, fetch, clock, wanted=wanted, revoked=self._revoked)
        self._own_keys = {
            broker.tokens.issuer: keys_of(broker.tokens, fetch, clock)
            for broker in trust.brokers.values()
            if broker.tokens.issuer not in (keys or {})
        }
        self._keys = {**(keys or {}), **self._own_keys}
        self._userinfo = {
            name: UserInfo(broker, self._keys[name], fetch)
            for name, broker in trust.brokers.items()
            if USERINFO in broker.flows
        }
        self._cache = PassportCache(clock)
        for name, broker in trust.brokers.items():
            if broker.identity_rule == BY_BROKER:
                _log.warning("broker %s is believed that all visas are of one person", name)

    def asks_userinfo(self, issuer: str) -> bool:
        """Whether the visas of an issuer's callers come from its UserInfo."""
        return issuer in self._userinfo

    async def of_userinfo(self, principal: Principal, token: str) -> Principal:
        """The caller of a verified access token, with visas and all identities.

        `InvalidCredential`; `InsufficientScope` when the token was not made for that;
        `AuthorityUnavailable`. An answer is kept for at most five minutes.
        """
        if principal.iss not in self._userinfo:
            raise InvalidCredential("passport.flow")
        if not principal.scopes >= PASSPORT_SCOPES:
            raise InsufficientScope("token.scope")
        known = self.cached(token)
        return known or await self._cache.find(token, lambda: self._asked(principal, token))

    def cached(self, token: str) -> Principal | None:
        """The same, if it was found out lately: the quick part of `of_userinfo`."""
        known = self._cache.known(token)
        if known is not None:
            try:
                self.check(known)
            except InvalidCredential:  # a visa of theirs: they may have others
                self._cache.drop(token)
                return None
        return known

    async def of_passport(self, token: str) -> Principal:
        """The caller whose signed passport it is, as bearer or in exchange.

        `InvalidCredential`; `AuthorityUnavailable`. Nothing is kept.
        """
        compact = parse(token, max_bytes=MAX_PASSPORT)
        if compact.typ != _TYPE:
            raise InvalidCredential("passport.typ")
        if any(name in compact.header for name in _KEY_HEADERS):
            raise InvalidCredential("token.key_header")
        claims = claims_of(compact.payload)  # believed only when the signature is found good
        broker = self._broker(claims.get("iss"))
        issuer = broker.tokens
        if compact.alg not in issuer.algorithms:
            raise InvalidCredential("token.alg")
        verify(compact, await self._keys[issuer.issuer].key(compact.kid, compact.alg))
        principal = self._principal(compact, claims, issuer)
        texts = visa_texts(claims.get("ga4gh_passport_v1"))
        if texts is None:
            raise InvalidCredential("passport.visas")
        return await self._with_visas(principal, texts, broker)

    def check(self, principal: Principal) -> None:
        """`InvalidCredential` when a caller or one of their visas has been revoked."""
        self._revoked.check(principal.iss, principal.sub, principal.token_id)
        for visa in principal.visas:
            self._revoked.check(visa.iss, visa.sub, visa.jti)

    def forget(self) -> None:
        """Read visas anew: what policy wants has changed."""
        self._cache.clear()

    async def close(self) -> None:
        """End all requests that are on their way."""
        await self._cache.close()
        for keys in self._own_keys.values():
            await keys.close()
        await self.visas.close()

    def _broker(self, iss: object) -> Broker:
        broker = self._brokers.get(iss) if isinstance(iss, str) else None
        if broker is None:
            raise InvalidCredential("token.iss")
        if PASSPORT not in broker.flows:
            raise InvalidCredential("passport.flow")
        return broker

    def _principal(
        self, compact: Compact, claims: Mapping[str, object], issuer: TokenIssuer
    ) -> Principal:
        exp = check_times(
            claims, self._clock(), leeway=issuer.leeway, max_lifetime=issuer.max_token_lifetime
        )
        issuer.check_audience(claims)
        sub = subject(claims)
        client = claims.get("azp", claims.get("client_id"))
        name = token_id(claims) or compact.digest
        self._revoked.check(issuer.issuer, sub, name, compact.digest)
        return Principal(
            iss=issuer.issuer,
            sub=sub,
            client_id=client if isinstance(client, str) else "",
            identities=frozenset(((issuer.issuer, sub),)),
            not_after=exp,
            token_id=name,
        )

    async def _with_visas(
        self, principal: Principal, texts: tuple[str, ...], broker: Broker
    ) -> Principal:
        root = (principal.iss, principal.sub)
        holdings = await self.visas.read(texts, root, broker.identity_rule)
        return replace(principal, visas=holdings.visas, identities=holdings.identities)

    async def _asked(self, principal: Principal, token: str) -> Principal:
        texts = await self._userinfo[principal.iss].visas(principal, token, self._clock())
        return await self._with_visas(principal, texts, self._brokers[principal.iss])
