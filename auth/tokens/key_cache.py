"""The keys of one issuer, kept: fresh while it answers, the last good ones for a while if not.

Nobody can make us ask an issuer often: one request at a time, early renewal in the background, and
a pause after what failed and after key ids that nobody knows.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.fetching import Fetch
from auth.tokens.issuer_metadata import IssuerMetadata
from auth.tokens.jose import Key
from auth.tokens.key_set import KeySet
from auth.tokens.key_sources import DiscoveredKeys, KeyFile, KeySource, PinnedKeys

STALE_FOR = 86_400
"""Seconds that old keys are used while no new ones can be had."""

_RENEW_AT = 0.8  # of the lifetime
_PAUSE = 30.0  # seconds between two requests because of unknown key ids, and after failures
_PAUSE_WITHOUT_KEYS = 5.0
_UNKNOWN_FOR = 60.0

_log = logging.getLogger(__name__)


class KeyCache:
    """Keys of `issuer` from its discovery document, from `jwks_url`, or from `jwks_file`.

    `hosts` may hold its keys and UserInfo besides its own host. `stale_for`: seconds that old keys
    stay good when newer ones are not to be had, after their lifetime; 0: not at all. `clock` gives
    seconds, and should never go back. Belongs to one event loop.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Fetch,
        clock: Callable[[], float],
        *,
        jwks_url: str | None = None,
        jwks_file: Path | None = None,
        hosts: Collection[str] = (),
        stale_for: float = STALE_FOR,
    ) -> None:
        self.issuer = issuer
        self.unknown_kids = 0
        """How often a key was asked for that nobody has; for metrics."""
        self.generation = 0
        """Changes with the keys: what was verified with other ones is to be verified again."""
        self._discovery = DiscoveredKeys(issuer, fetch, clock, hosts)
        self._source: KeySource = self._discovery
        if jwks_file is not None:
            self._source = KeyFile(jwks_file)
        elif jwks_url is not None:
            self._source = PinnedKeys(jwks_url, fetch)
        self._clock = clock
        self._stale_for = stale_for
        self._keys: KeySet | None = None
        self._renew_at = self._good_until = self._stale_until = 0.0
        self._not_before = 0.0  # no earlier request, after a failure
        self._failure = "issuer.unreachable"
        self._asked_for_unknown = -_PAUSE
        self._unknown: dict[tuple[str, str], float] = {}
        self._flight: asyncio.Task[None] | None = None

    async def key(self, kid: str, alg: str) -> Key:
        """The key for a key id and an algorithm.

        `InvalidCredential`: the issuer has no such key. `AuthorityUnavailable`: its keys cannot be
        had, and there are none that are good enough.
        """
        now = self._clock()
        if self._keys is None or now >= self._good_until:
            await self._renew_unless_paused()
        elif now >= self._renew_at and now >= self._not_before:
            self._renewal()
        key = self._usable().find(kid, alg)
        if key is None:
            key = await self._find_new(kid, alg)
        return key

    @property
    def good_until(self) -> float:
        """Until when the keys need not be asked for again."""
        return max(self._good_until, self._not_before)

    async def metadata(self) -> IssuerMetadata:
        """What the issuer says of itself, by discovery; `AuthorityUnavailable`."""
        return await self._discovery.metadata()

    async def warm(self) -> None:
        """Fetch the keys before they are needed; whether that works is not told."""
        if self._keys is None:
            await self._renew_unless_paused()

    def flush(self) -> None:
        """Forget all keys: in an emergency, when one must not be used any more."""
        self._keys = None
        self.generation += 1
        self._good_until = self._renew_at = self._stale_until = self._not_before = 0.0
        self._unknown.clear()
        self._flight = None  # what is on its way may be the old ones

    async def close(self) -> None:
        """End a request that is on its way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _usable(self) -> KeySet:
        if self._keys is None or self._clock() >= self._stale_until:
            raise AuthorityUnavailable(self._failure)
        return self._keys

    async def _find_new(self, kid: str, alg: str) -> Key:
        """A key that is not in the set: it may be newer than the set."""
        self.unknown_kids += 1
        now = self._clock()
        if self._flight is not None:
            await asyncio.shield(self._flight)
        elif self._may_ask_for(kid, alg, now):
            _log.warning("%s: a token names a key that it does not have", self.issuer)
            await asyncio.shield(self._renewal())
        key = self._usable().find(kid, alg)
        if key is None:
            raise InvalidCredential("token.kid")
        return key

    def _may_ask_for(self, kid: str, alg: str, now: float) -> bool:
        """Whether the issuer is to be asked because of a key id, which is noted. Few are, so what
        is noted stays small."""
        if now < max(self._asked_for_unknown + _PAUSE, self._not_before):
            return False
        self._unknown = {each: until for each, until in self._unknown.items() if now < until}
        if (kid, alg) in self._unknown:
            return False
        self._unknown[kid, alg] = now + _UNKNOWN_FOR
        self._asked_for_unknown = now
        return True

    async def _renew_unless_paused(self) -> None:
        if self._flight is not None or self._clock() >= self._not_before:
            await asyncio.shield(self._renewal())

    def _renewal(self) -> asyncio.Task[None]:
        """The one request that is on its way, or a new one. Who waits for it may go away."""
        if self._flight is None:
            self._flight = asyncio.create_task(self._renew())
        return self._flight

    async def _renew(self) -> None:
        this = asyncio.current_task()
        try:
            keys, lifetime = await self._source.load()
        except AuthorityUnavailable as error:
            if self._flight is this:
                self._failed(error.reason)
        else:
            if self._flight is this:
                self._take(keys, lifetime)
        finally:
            if self._flight is this:
                self._flight = None

    def _take(self, keys: KeySet, lifetime: float) -> None:
        now = self._clock()
        if keys is not self._keys:
            self.generation += 1
        self._keys = keys
        self._good_until = now + lifetime
        self._renew_at = now + lifetime * _RENEW_AT
        self._stale_until = self._good_until + self._stale_for
        self._not_before = 0.0
        if not len(keys):
            _log.error("%s: its key set holds no key that can be used", self.issuer)

    def _failed(self, reason: str) -> None:
        now = self._clock()
        self._failure = reason
        stale = self._keys is not None and now < self._stale_until
        self._not_before = now + (_PAUSE if stale else _PAUSE_WITHOUT_KEYS)
        _log.error(
            "%s: its keys cannot be renewed (%s); %s",
            self.issuer,
            reason,
            "the last good ones are used" if stale else "its tokens are not accepted",
        )
