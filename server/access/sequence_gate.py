"""The gate for restricted reference sequences: a grant for the endpoint `refget` opens them.

What is asked of a file is judged like any object; but a digest that says "not for you" would say
"it is here", so there is one refusal only, of which the audit alone has the reason.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import hdrs, web
from sqlalchemy import Connection

from auth.audit.record import Event
from auth.decision import AccessRequest, Decision, Limits, Outcome
from auth.errors import AuthorityUnavailable, ObjectUnusable
from auth.policy.rules import Rule
from auth.principal import Principal
from auth.quota import QuotaExceeded, minute_of, until_next_minute
from server.access import events
from server.access.begun import begun
from server.access.events import Visit
from server.access.gate import Gate, even
from server.access.live_streams import drop
from server.access.quota_ledger import QuotaLedger
from server.limits import SENT
from server.refget.restricted import AskedFile

ENDPOINT = "refget"
"""What grants for sequences name."""

_LOOK_SECONDS = 0.3  # between two looks whether a right still stands
_MOST_CALLERS = 10_000
# How often a caller with a credential may ask one process for what is not there for it; programs
# that decode stop at the first sequence they miss. Who has none learns nothing by asking often.
_MISSES_PER_MINUTE = 100
_UNKNOWN = AccessRequest(ENDPOINT, "", "FASTA")
_UNLIMITED = Limits()
_log = logging.getLogger(__name__)


class SequenceGate:
    """A `server.refget.restricted.Guard`; `gate` decides."""

    def __init__(self, gate: Gate, ledger: QuotaLedger) -> None:
        self.gate = gate
        self.ledger = ledger
        self._misses: OrderedDict[str, tuple[int, int]] = OrderedDict()

    async def meet(self, request: web.Request) -> "SequenceCaller":
        """Who makes a request. Raises `InvalidCredential`, `AuthorityUnavailable`."""
        visit = self.gate.visit(request)
        principal = await self.gate.authenticate(visit)
        if self.gate.is_stale and not principal.is_anonymous:
            # Before anything is looked up: said of what is here alone, it would tell that.
            raise AuthorityUnavailable("consent.unread")
        return SequenceCaller(self, visit, principal)

    def count_miss(self, principal: Principal) -> None:
        """One more; `QuotaExceeded` when that is too many."""
        now = self.gate.now()
        minute, count = self._misses.pop(principal.name, (0, 0))
        count = count + 1 if minute == minute_of(now) else 1
        self._misses[principal.name] = (minute_of(now), count)
        if len(self._misses) > _MOST_CALLERS:
            self._misses.popitem(last=False)
        if count > _MISSES_PER_MINUTE:
            raise QuotaExceeded("quota.not_found", until_next_minute(now))


@dataclass(slots=True)
class SequenceCaller:
    """Who makes a request, and the first refusal of what it means."""

    guard: SequenceGate
    visit: Visit
    principal: Principal
    _refusal: tuple[AccessRequest, Decision] | None = None

    async def may(self, asked: AskedFile) -> "SequencePermit | None":
        """The right to it, if the caller has it. Raises `ObjectUnusable` where regions are granted
        on sequences that are not those of the file."""
        request = AccessRequest(
            endpoint=ENDPOINT,
            object_id=asked.file.object_id,
            format="FASTA",
            data_class="body" if asked.regions else "header",
            regions=asked.regions or None,
            datasets=asked.file.datasets,
            peer=self.visit.peer,
        )
        decision = await self.guard.gate.judge(self.principal, request)
        if decision.clipped:  # a part of a sequence would pass for the whole
            decision = replace(decision, outcome=Outcome.DENY, rule=Rule.REGION)
        if not decision.allowed:
            self._refusal = self._refusal or (request, decision)
            return None
        if decision.seqcol not in ("", asked.collection) and not decision.is_whole:
            _log.error("%a does not hold the sequences of its dataset", asked.file.object_id)
            raise ObjectUnusable("the sequences are not those of the dataset")
        return SequencePermit(self, request, decision, asked.digest)

    async def refused(self) -> None:
        """Write down that nothing was given, after a time that does not tell why not.

        What nobody has is no refusal unless somebody we know asks for it. Raises `QuotaExceeded`.
        """
        is_known = not self.principal.is_anonymous
        if self._refusal is not None or is_known:
            unknown = _UNKNOWN, Decision(Outcome.NOT_FOUND, "object.unknown")
            asked, decision = self._refusal or unknown
            self.guard.gate.audit.note(
                events.ticket("refget.denied", self.visit, self.principal, asked, decision)
            )
        await even(self.visit)
        if is_known:
            self.guard.count_miss(self.principal)


@dataclass(slots=True)
class SequencePermit:
    """The right to what was asked of a file. `digest`: what the client gets of it."""

    caller: SequenceCaller
    asked: AccessRequest
    decision: Decision
    digest: str
    _cut: str = field(init=False, default="")

    @asynccontextmanager
    async def giving(self) -> AsyncIterator[None]:
        """Around all that is sent: written down before and after, charged, and broken off when the
        right ends. Raises `QuotaExceeded`, `AuditUnavailable`."""
        lease = await begun(self._begin(), self._end)
        watch = asyncio.create_task(self._watch(asyncio.current_task()))
        outcome = "aborted"
        try:
            yield
            if self._cut:
                raise ConnectionResetError("the right to this sequence has ended")
            outcome = "complete"
        finally:
            watch.cancel()
            await self._end(lease, outcome)

    async def _end(self, lease: str | None, outcome: str = "aborted") -> None:
        """Write down what was sent."""
        guard, request = self.caller.guard, self.caller.visit.request
        # As announced, but no more than what has gone out.
        sent = min(request.get(SENT, 0), request.writer.output_size)
        guard.gate.audit.note(self._ended(self._cut or outcome, sent))
        if lease is not None:
            # To the end, though the client may go while this is written.
            await asyncio.shield(guard.ledger.end_stream(lease, sent))

    async def _begin(self) -> str | None:
        """Write the intent down and charge it; a lease where streams or bytes are limited."""
        guard, visit, principal = self.caller.guard, self.caller.visit, self.caller.principal
        asked, decision = self.asked, self.decision
        intent = events.ticket(
            "refget.intent",
            visit,
            principal,
            asked,
            decision,
            digest=self.digest,
            authorised=events.regions(asked.regions),
            projection=decision.projection.digest,
            delivery="proxy",
        )
        limits = decision.limits
        if limits == _UNLIMITED:
            if principal.is_anonymous:  # open to all: nobody waits for the record
                guard.gate.audit.note(intent)
            else:
                await guard.gate.record(intent, required=decision.audit_required)
            return None
        identities = guard.gate.identities(principal, visit.peer)
        is_head = visit.request.method == hdrs.METH_HEAD  # which gives no bases
        intervals = [
            (each.reference_name, each.start, each.end)
            for each in (() if is_head else asked.regions or ())
        ]

        def work(connection: Connection) -> str | None:
            now = guard.gate.now()
            guard.ledger.charge(
                connection,
                identities=identities,
                dataset=decision.dataset,
                object_id=f"{ENDPOINT}/{asked.object_id}",
                intervals=intervals,
                limits=limits,
                now=now,
            )
            if not (limits.concurrent_streams or limits.bytes_per_day):
                return None
            return guard.ledger.begin_stream(
                connection,
                identities=identities,
                dataset=decision.dataset,
                limits=limits,
                now=now,
                length=sum(end - start for _, start, end in intervals),
            )

        try:
            lease = await guard.gate.audit.commit([intent], work)
        except QuotaExceeded as error:
            spent = replace(decision, outcome=Outcome.DENY, rule=error.rule)
            denied = events.ticket("refget.denied", visit, principal, asked, spent)
            guard.gate.audit.note(denied)
            raise
        if lease is not None:
            guard.ledger.hold(lease)
        return lease

    def _ended(self, outcome: str, sent: int) -> Event:
        is_complete = outcome == "complete"
        return {
            "event": "refget.done" if is_complete else "refget.aborted",
            **self.caller.visit.members,
            "dataset": self.decision.dataset,
            "object": self.asked.object_id,
            "endpoint": ENDPOINT,
            "class": self.asked.data_class,
            "digest": self.digest,
            "grant_ids": list(self.decision.grant_ids),
            "policy_version": self.decision.policy_version,
            "consent_version": self.decision.consent_version,
            "served": events.regions(self.asked.regions) if is_complete else None,
            "bytes": sent,
            "outcome": outcome,
            "ms": self.caller.visit.milliseconds,
        }

    async def _watch(self, sending: asyncio.Task[object] | None) -> None:
        """Drop the connection when the right ends: what was sent must not look complete."""
        while not self._cut:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self._cut = await self._ending()
            except Exception:  # noqa: BLE001 - what cannot be judged ends
                _log.exception("a sequence on its way cannot be judged")
                self._cut = "unjudged"
        drop(sending, self.caller.visit.request)

    async def _ending(self) -> str:
        """Why the right does not stand any more; "" if it does."""
        gate, principal = self.caller.guard.gate, self.caller.principal
        if gate.is_revoked(principal):
            return "token.revoked"
        decision = await gate.judge(principal, self.asked)
        if decision.clipped:
            return Rule.REGION
        return "" if decision.allowed else decision.rule
