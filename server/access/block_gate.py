"""The gate of data blocks: a right that was granted is judged anew where policy, consent or the
caller's token changed since, and what is sent is written down before and after.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Connection

from auth.audit.record import Event
from auth.capability import Capability, ExpiredCapability, InvalidCapability
from auth.decision import AccessRequest, Decision, Outcome
from auth.errors import AuthorityUnavailable
from auth.principal import ANONYMOUS
from auth.quota import QuotaExceeded
from formats.regions import Region
from server.access import events
from server.access.begun import begun
from server.access.events import Visit
from server.access.gate import Gate, even
from server.access.live_streams import LiveStream, LiveStreams
from server.access.quota_ledger import QuotaLedger
from server.access.ticket_store import Holder, TicketStore
from server.limits import SENT
from server.slicing.library import Plan

_log = logging.getLogger(__name__)


class Sent:
    """Whether all of an answer went out; and what a whole block held: of which regions it was
    (None: all), and how many records, None where nobody counted."""

    __slots__ = ("is_complete", "records", "served")

    def __init__(self) -> None:
        self.is_complete = False
        self.served: Sequence[Region] | None = ()
        self.records: int | None = None


class BlockGate:
    """See above; `gate` decides."""

    def __init__(self, gate: Gate, tickets: TicketStore, ledger: QuotaLedger) -> None:
        self._gate = gate
        self._tickets = tickets
        self._ledger = ledger
        self._streams = LiveStreams()

    async def reassess(self, visit: Visit, capability: Capability) -> None:
        """Raise unless the right of a data block still stands, for this caller."""
        terms = capability.terms
        if terms is None or terms.address not in ("", self._gate.hidden("address", visit.peer)):
            rule = "capability.terms" if terms is None else "capability.address"
            self._denied(visit, capability, rule, 401)
            raise InvalidCapability
        decision = await self._ending(capability)
        if decision is not None:
            self._denied(visit, capability, decision.rule, 404)
            await even(visit)
            raise self._gate.refusal(decision, None)

    def forged(self, visit: Visit, error: InvalidCapability) -> None:
        """Write down that somebody came with a capability that does not open."""
        rule = f"capability.{'expired' if isinstance(error, ExpiredCapability) else 'invalid'}"
        self._gate.audit.note(events.forged(visit, rule))

    def _denied(self, visit: Visit, capability: Capability, rule: str, status: int) -> None:
        event = events.block("data.denied", visit, capability, rule=rule, status=status)
        self._gate.audit.note(event)

    @asynccontextmanager
    async def sending(
        self, visit: Visit, stream: LiveStream, plan: Plan, byte_range: tuple[int, int]
    ) -> AsyncIterator["Sent"]:
        """Around the sending of a block: what is about to be sent is written down before, and what
        was sent after. Raises `QuotaExceeded`, `AuditUnavailable`."""
        capability = stream.capability
        intent = events.block(
            "data.intent",
            visit,
            capability,
            range=list(byte_range),
            size=plan.size,
            etag=plan.etag,
        )
        await self.reassess(visit, capability)
        if stream.cut:
            self._denied(visit, capability, stream.cut, 404)
            raise self._gate.refusal(Decision(Outcome.NOT_FOUND, stream.cut), None)
        stream.is_sending = True  # from here on, a withdrawal breaks it off
        length = byte_range[1] - byte_range[0]
        what = Sent()

        async def end(lease: str | None, outcome: str = "aborted") -> None:
            sent = visit.request.get(SENT, 0)
            self._gate.audit.note(
                events.block(
                    "data.done" if outcome == "complete" else "data.aborted",
                    visit,
                    capability,
                    bytes=sent,
                    records=what.records,
                    served=events.regions(what.served) if outcome == "complete" else None,
                    outcome=stream.cut or outcome,
                    ms=visit.milliseconds,
                )
            )
            if lease is not None:
                # To the end, though the client may go while this is written.
                await asyncio.shield(self._ledger.end_stream(lease, sent))

        stream.lease = await begun(self._begin(visit, capability, intent, length), end)
        try:
            yield what
            if stream.cut:
                raise ConnectionResetError("the right to this block has ended")
        finally:
            is_complete = what.is_complete and not stream.cut
            await end(stream.lease, "complete" if is_complete else "aborted")

    @contextmanager
    def limited(self, visit: Visit, capability: Capability) -> Iterator[LiveStream]:
        """A stream, from before its block is planned, which may cost more than sending it.
        `QuotaExceeded` where a limit stands against it, which is written down."""
        try:
            with self._streams.watch(visit.request, capability) as stream:
                yield stream
        except QuotaExceeded as error:
            self._denied(visit, capability, error.rule, 429)
            raise

    async def _begin(
        self, visit: Visit, capability: Capability, intent: Event, length: int
    ) -> str | None:
        """Write the intent down, with a lease where streams or bytes are limited."""
        terms = capability.terms
        if terms is None:
            raise InvalidCapability
        if not (terms.streams or terms.bytes_per_day):
            if capability.principal:
                await self._gate.record(intent, required=self._gate.audit_required)
            else:
                self._gate.audit.note(intent)
            return None
        holder = await self._tickets.find(capability.ticket_id)
        if holder is None:
            raise InvalidCapability
        decision = await self._gate.judge(holder.principal, holder.request)
        if not decision.allowed:
            raise self._gate.refusal(decision, holder.principal)

        def work(connection: Connection) -> str:
            return self._ledger.begin_stream(
                connection,
                identities=self._gate.identities(holder.principal, visit.peer),
                dataset=decision.dataset,
                limits=decision.limits,
                now=self._gate.now(),
                length=length,
            )

        lease = await self._gate.audit.commit([intent], work)
        self._ledger.hold(lease)
        return lease

    async def _ending(self, capability: Capability) -> Decision | None:
        """Why the right of a block has ended; None if it has not."""
        terms = capability.terms
        if terms is None:
            raise InvalidCapability
        if self._gate.is_stale and capability.principal:
            raise AuthorityUnavailable("consent.unread")
        is_current = (terms.policy, terms.consent) == self._gate.versions
        if is_current and not (capability.principal or self._gate.asks_elsewhere):
            return None
        holder = await self._tickets.find(capability.ticket_id)
        if holder is None and not capability.principal:
            holder = Holder(ANONYMOUS, self._whole(capability))
        if holder is None:
            return Decision(Outcome.NOT_FOUND, "ticket.unknown")
        if self._gate.is_revoked(holder.principal):
            return Decision(Outcome.NOT_FOUND, "token.revoked")
        if is_current and not self._gate.asks_elsewhere:
            return None
        decision = await self._gate.judge(holder.principal, holder.request)
        if not decision.allowed:
            return decision
        same = decision.projection.digest[:23] == terms.projection
        if decision.clipped or not same:
            return Decision(Outcome.DENY, "ticket.outdated")
        return None

    async def cut(self) -> None:
        """Stop the blocks on their way whose right has ended."""
        for stream in self._streams:
            try:
                decision = await self._ending(stream.capability)
            except AuthorityUnavailable:
                stream.stop("consent.unread")
                continue
            except Exception:  # noqa: BLE001 - what cannot be judged ends
                _log.exception("a block on its way cannot be judged")
                stream.stop("unjudged")
                continue
            if decision is not None:
                stream.stop(decision.rule)

    def drop(self, leases: Collection[str]) -> None:
        """Stop the blocks whose lease was lost: others may have begun in their place."""
        for stream in self._streams:
            if stream.lease in leases:
                stream.stop("quota.lease_lost")

    def _whole(self, capability: Capability) -> AccessRequest:
        """The request for all of an object that is open to all: no other is kept of nobody's."""
        return AccessRequest(
            endpoint=capability.endpoint,
            object_id=capability.object_id,
            format=capability.format,
            data_class=capability.data_class,
            datasets=self._gate.territory.of(capability.object_id).datasets,
        )
