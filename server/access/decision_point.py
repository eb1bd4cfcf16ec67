"""An external decision point that may say no (OpenID AuthZEN Authorization API 1.0).

It restricts what policy allows and never adds to it: the effective right is what both permit. A
condition that is not understood is a denial, an answer that cannot be had is none.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from auth.decision import AccessRequest, Decision, Outcome, Projection
from auth.errors import AuthorityUnavailable
from auth.fetching import Fetch, Fetched, FetchFailed
from auth.policy.region_sets import RegionSet
from auth.policy.rules import Rule
from auth.principal import Principal
from server.access.authzen import BOUNDARIES, PATH, Verdict, question, verdict_of

_FAILURES = ((TimeoutError, "timeout"), (FetchFailed, "unreachable"), (ValueError, "answer"))


class DecisionPoint:
    """Asks the service at a URL. `credential`: our own, sent as a bearer token. `timeout`: seconds
    for an answer, one more attempt included. After `failures` in a row it is left alone for
    `pause` seconds. Answers are kept for `keep` seconds, at most 30.
    """

    def __init__(
        self,
        url: str,
        fetch: Fetch,
        *,
        credential: str | None = None,
        timeout: float = 2.0,
        failures: int = 5,
        pause: float = 10.0,
        keep: float = 30.0,
        most_kept: int = 4096,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url if url.endswith(PATH) else url.rstrip("/") + PATH
        self._fetch = fetch
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if credential is not None:
            self._headers["Authorization"] = f"Bearer {credential}"
        self._timeout = timeout
        self._breaker = _Breaker(failures, pause, monotonic)
        self._keep = min(keep, 30.0)
        self._most_kept = most_kept
        self._clock = clock
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    async def restrict(
        self, decision: Decision, principal: Principal, request: AccessRequest
    ) -> Decision:
        """What remains of a decision. Raises `AuthorityUnavailable`.

        It is not asked about what policy refuses already, so it learns of no such request.
        """
        if not decision.allowed:
            return decision
        asked = question(decision, principal, request)
        key = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()
        kept = self._kept.get(key)
        if kept is None or kept[0] <= self._monotonic():
            kept = await self._ask(asked)
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
        return _restricted(decision, kept[1], request, self._clock())

    async def _ask(self, asked: dict[str, dict[str, object]]) -> tuple[float, Verdict]:
        if not self._breaker.is_closed():
            raise AuthorityUnavailable("decision_point.circuit_open")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._posted(self._body(asked))
            verdict = verdict_of(answer)
        except (TimeoutError, FetchFailed, ValueError) as error:
            self._breaker.failed()
            kind = next(name for each, name in _FAILURES if isinstance(error, each))
            raise AuthorityUnavailable(f"decision_point.{kind}") from error
        self._breaker.succeeded()
        keep = self._keep if answer.max_age is None else min(self._keep, answer.max_age)
        return self._monotonic() + keep, verdict

    def _body(self, asked: dict[str, dict[str, object]]) -> bytes:
        now = datetime.fromtimestamp(int(self._clock()), UTC).isoformat().replace("+00:00", "Z")
        return orjson.dumps({**asked, "context": {**asked["context"], "time": now}})

    async def _posted(self, body: bytes) -> Fetched:
        try:
            return await self._fetch("POST", self._url, headers=self._headers, body=body)
        except FetchFailed:  # a connection that was closed meanwhile: asking changes nothing
            return await self._fetch("POST", self._url, headers=self._headers, body=body)


class _Breaker:
    """Whether to ask at all: not for a while after many failures in a row, then by one trial."""

    def __init__(self, failures: int, pause: float, monotonic: Callable[[], float]) -> None:
        self._most = failures
        self._pause = pause
        self._monotonic = monotonic
        self._failures = 0
        self._until = 0.0

    def is_closed(self) -> bool:
        """Whether to ask; where it was left alone, the first who asks is the trial."""
        if self._failures < self._most:
            return True
        now = self._monotonic()
        if now < self._until:
            return False
        self._until = now + self._pause
        return True

    def failed(self) -> None:
        """Count a failure."""
        self._failures += 1
        if self._failures >= self._most:
            self._until = self._monotonic() + self._pause

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0


def _restricted(
    decision: Decision, verdict: Verdict, request: AccessRequest, now: float
) -> Decision:
    """What both permit."""
    if not verdict.allowed:
        return _denied(decision, verdict.rule)
    if verdict.not_after and verdict.not_after <= now:
        return _denied(decision, Rule.DECISION_POINT)
    permitted = decision.permitted
    if verdict.regions is not None:
        if not isinstance(permitted, RegionSet):
            return _denied(decision, Rule.DECISION_POINT_REGION)
        permitted = permitted.intersection(verdict.regions)
        if request.data_class != "header":
            enough = permitted.meets if decision.clipped else permitted.covers
            if not enough(request.regions):
                return _denied(decision, Rule.DECISION_POINT_REGION)
    projection = _narrowed(decision.projection, verdict)
    delivery = "proxy" if projection.mode != "blocks" else decision.delivery
    if projection.unsupported:
        return replace(
            _denied(decision, Rule.PROJECTION),
            projection=projection,
            details=projection.unsupported,
        )
    ends = [each for each in (decision.not_after, verdict.not_after) if each]
    return replace(
        decision,
        permitted=permitted,
        projection=projection,
        delivery=delivery,
        not_after=min(ends, default=0),
        grant_ids=decision.grant_ids + verdict.grant_ids,
    )


def _narrowed(projection: Projection, verdict: Verdict) -> Projection:
    fields = projection.fields
    if verdict.fields is not None:
        fields = verdict.fields if fields is None else fields & verdict.fields
    boundary = max(projection.boundary, verdict.boundary, key=BOUNDARIES.index)
    # Stored blocks hold more than regions: where there are any, only exact slices will do.
    is_cut = verdict.regions is not None and projection.mode == "blocks"
    mode = "exact" if is_cut else projection.mode
    return replace(projection, fields=fields, boundary=boundary, mode=mode)


def _denied(decision: Decision, rule: Rule) -> Decision:
    """The refusal of a request for an object that the caller knows of."""
    return replace(
        decision,
        outcome=Outcome.DENY,
        rule=rule,
        grant_ids=(),
        permitted=None,
        clipped=False,
        not_after=0,
        visas=(),
    )
