"""The visas of one person out of many texts: which are needed, good, and hold together.

Cheap and trust-narrowing checks come first, so that nobody makes us verify or fetch much. A visa
that fails is left out, and only that; but what cannot be found out now is `AuthorityUnavailable`,
for with fewer visas somebody would get another answer than is right.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from auth.errors import InvalidCredential
from auth.fetching import Fetch
from auth.passports.conditions import are_met
from auth.passports.linked_identities import closure
from auth.passports.trust import (
    ACCESS_TOKEN,
    BY_BROKER,
    DOCUMENT,
    LINKED_IDENTITIES,
    SAME_SUB,
    Trust,
)
from auth.passports.visa_polling import VisaPolling
from auth.passports.visas import Accepted, Claimed, accept, screen
from auth.principal import Identity, Visa
from auth.tokens.claims import numeric_date
from auth.tokens.jose import verify
from auth.tokens.key_cache import KeyCache
from auth.tokens.revocations import Revocations

MAX_SIGNATURES = 64
"""Signatures of visas that one passport makes us verify."""

Wanted = Callable[[str, str], bool]
"""Whether policy can use a visa of a type and a value."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What somebody has: visas in the order given, all identities that are known to be theirs, and
    how many visas were left out, by reason."""

    visas: tuple[Visa, ...]
    identities: frozenset[Identity]
    left_out: Counter[str]


class VisaReader:
    """Reads visas as `trust` allows. Belongs to one event loop."""

    def __init__(
        self,
        trust: Trust,
        fetch: Fetch,
        clock: Callable[[], float],
        *,
        wanted: Wanted,
        revoked: Revocations,
    ) -> None:
        self._trust = trust
        self._clock = clock
        self._revoked = revoked
        self._wanted = wanted
        self._polling = VisaPolling(fetch, clock)
        self.keys: dict[tuple[str, str], KeyCache] = {}
        """The keys of each issuer, by its `iss` and the format of its visas."""
        for issuer in trust.visa_issuers.values():
            name = issuer.issuer
            if DOCUMENT in issuer.formats:
                self.keys[name, DOCUMENT] = KeyCache(
                    name, fetch, clock, jwks_url=issuer.jku, jwks_file=issuer.jwks_file
                )
            if ACCESS_TOKEN in issuer.formats:
                self.keys[name, ACCESS_TOKEN] = KeyCache(name, fetch, clock, hosts=issuer.hosts)

    async def read(self, tokens: Iterable[str], root: Identity, identity_rule: str) -> Holdings:
        """The visas among the tokens that count as those of `root`, by the rule of its broker.

        `InvalidCredential` when they would take more signatures than `MAX_SIGNATURES`;
        `AuthorityUnavailable` when the keys of a needed one cannot be had.
        """
        left_out: Counter[str] = Counter()
        claimed: list[Claimed] = []
        for token in dict.fromkeys(tokens):
            try:
                claimed.append(screen(token, self._trust))
            except InvalidCredential as error:
                left_out[error.reason] += 1
        needed = self._needed(claimed)
        left_out["visa.unneeded"] += len(claimed) - len(needed)
        if len(needed) > MAX_SIGNATURES:
            raise InvalidCredential("passport.signatures")
        caches = {self._keys_of(each) for each in needed}
        await asyncio.gather(*(cache.warm() for cache in caches))
        accepted: list[Accepted] = []
        for each in needed:
            try:
                accepted.append(await self._verified(each))
            except InvalidCredential as error:
                left_out[error.reason.replace("token.", "visa.")] += 1
        visas, identities = bind(accepted, root, identity_rule)
        left_out["visa.unbound"] += len(accepted) - len(visas)
        if left_out := +left_out:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in left_out.items())
            _log.info("visas left out: %s", reasons)
        return Holdings(visas, identities, left_out)

    async def close(self) -> None:
        """End all requests that are on their way."""
        for cache in self.keys.values():
            await cache.close()

    def _needed(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Those that policy can use, that link identities, or that others' conditions ask for."""
        of_use = {
            each.compact.text: each
            for each in claimed
            if each.type == LINKED_IDENTITIES or self._wanted(each.type, each.value)
        }
        types = {
            clause.type
            for each in of_use.values()
            for alternative in each.conditions or ()
            for clause in alternative
        }
        return [
            each
            for each in claimed
            if each.compact.text in of_use or (each.conditions is None and each.type in types)
        ]

    def _keys_of(self, claimed: Claimed) -> KeyCache:
        return self.keys[claimed.issuer.issuer, claimed.form]

    async def _verified(self, claimed: Claimed) -> Accepted:
        keys = self._keys_of(claimed)
        verify(claimed.compact, await keys.key(claimed.compact.kid, claimed.compact.alg))
        accepted = accept(claimed, self._clock())
        self._revoked.check(*accepted.holder, accepted.visa.jti, claimed.compact.digest)
        if claimed.form == ACCESS_TOKEN:
            issued = numeric_date(claimed.claims["iat"])
            if not await self._polling.confirms(claimed, issued, keys):
                raise InvalidCredential("visa.poll")
        return accepted


def bind(
    accepted: Sequence[Accepted], root: Identity, identity_rule: str
) -> tuple[tuple[Visa, ...], frozenset[Identity]]:
    """Those visas whose conditions are met and whose holder is the caller (V14, V17), with all the
    identities of the caller.

    Conditions are met by visas of the caller that have none themselves; a link that has conditions
    may be met by visas that another link brings, so this goes on until nothing is added.
    """
    identities = frozenset((root,))
    if identity_rule == BY_BROKER:
        identities |= {each.holder for each in accepted}
    elif identity_rule == SAME_SUB:
        identities |= {each.holder for each in accepted if each.visa.sub == root[1]}
    while True:
        held = [each.visa for each in accepted if _is_plain(each) and each.holder in identities]
        standing = [each for each in accepted if are_met(each.conditions or (), held)]
        grown = closure(identities, (each.linked for each in standing))
        if grown == identities:
            break
        identities = grown
    return tuple(each.visa for each in standing if each.holder in identities), identities


def _is_plain(accepted: Accepted) -> bool:
    return accepted.conditions is None
