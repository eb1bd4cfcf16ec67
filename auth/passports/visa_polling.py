"""Visas that are access tokens (deprecated in AAI 1.2): whether an older one still holds.

Its issuer is asked at its UserInfo, with the visa itself, at most once an hour and less often while
that fails. What is not confirmed is not used.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from auth.errors import AuthorityUnavailable
from auth.fetching import Fetch, FetchFailed
from auth.passports.visas import Claimed
from auth.strict_json import strict_json
from auth.tokens.key_cache import KeyCache

FRESH_FOR = 3600
"""Seconds after `iat`, or after it was confirmed, that a visa needs no confirmation."""

_MOST_KEPT = 4096
_LONGEST_PAUSE = 86_400
_MAX_ANSWER = 2 << 20
_RETRYABLE = frozenset((408, 425, 429))


@dataclass(slots=True)
class _Poll:
    """What was found last, when to ask again, and after how long if that fails."""

    holds: bool = False
    at: float = 0.0
    pause: float = FRESH_FOR


class VisaPolling:
    """What issuers said of visas; `clock` gives seconds since the epoch."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._polls: OrderedDict[str, _Poll] = OrderedDict()

    async def confirms(self, claimed: Claimed, issued: int, issuer: KeyCache) -> bool:
        """Whether a verified visa holds, that was issued at a time (seconds since the epoch)."""
        now = self._clock()
        if now - issued <= FRESH_FOR:
            return True
        poll = self._polls.setdefault(claimed.compact.digest, _Poll())
        if len(self._polls) > _MOST_KEPT:
            self._polls.popitem(last=False)
        if now < poll.at:
            return poll.holds
        poll.holds, poll.at = False, now + poll.pause  # also for who asks meanwhile
        try:
            poll.holds = await self._ask(claimed, issuer)
        except AuthorityUnavailable:
            poll.pause = min(2 * poll.pause, _LONGEST_PAUSE)
        else:
            poll.pause = FRESH_FOR
            if not poll.holds:
                poll.at = inf  # it was told for good
        return poll.holds

    async def _ask(self, claimed: Claimed, issuer: KeyCache) -> bool:
        url = (await issuer.metadata()).userinfo_endpoint
        if not url:
            raise AuthorityUnavailable("userinfo.unknown")
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {claimed.compact.text}",
        }
        try:
            answer = await self._fetch("GET", url, headers=headers)
        except FetchFailed:
            raise AuthorityUnavailable("userinfo.unreachable") from None
        if answer.status >= 500 or answer.status in _RETRYABLE:
            raise AuthorityUnavailable("userinfo.status")
        if answer.status != 200 or len(answer.body) > _MAX_ANSWER:
            return False
        try:
            document = strict_json(answer.body)
        except ValueError:
            return False
        if not isinstance(document, dict) or document.get("sub") != claimed.claims.get("sub"):
            return False
        # An updated set takes the place of the visa: without it, the visa is no more.
        updated = document.get("ga4gh_passport_v1", [claimed.compact.text])
        return isinstance(updated, list) and claimed.compact.text in updated
