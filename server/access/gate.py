"""The gate that every request for controlled data passes: who asks, may they, and is it written
down.

It fails closed: what cannot be judged or recorded now is refused. Policy, consent and revocations
are looked at anew several times a second; when they change, the blocks on their way are judged
again, and cut where the right is gone.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

from aiohttp import hdrs, web
from sqlalchemy import Connection

from auth.audit_record import Event
from auth.capability import Capability, InvalidCapability
from auth.decision import AccessRequest, Decision, Limits, Outcome
from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.principal import ANONYMOUS, Identity, Principal
from formats.regions import Region
from server.access import events
from server.access.audit_log import AuditLog
from server.access.authenticator import Authenticator
from server.access.consent_store import ConsentStore
from server.access.decision_point import DecisionPoint
from server.access.events import Visit
from server.access.live_streams import LiveStreams
from server.access.peer import Network, peer_of
from server.access.policy_file import PolicyFile
from server.access.quota_ledger import QuotaLedger
from server.access.territory import Territory
from server.access.ticket_store import Holder, TicketStore
from server.catalog import DataObject
from server.errors import HtsgetError, InvalidAuthentication, NotFound, PermissionDenied
from server.htsget.ticket import Rights
from server.limits import SENT
from server.slicing.library import Plan

_REFRESH_SECONDS = 0.3
_STALE_SECONDS = 5.0  # without a look at consent, nothing is sent
_REFUSAL_SECONDS = 0.025  # a refusal takes as long whatever its reason
_SWEEP_SECONDS = 600.0
_log = logging.getLogger(__name__)


class Gate:
    """See above. `key` makes pseudonyms; `clock` gives seconds since the epoch; `trusted` are the
    networks of proxies that are believed."""

    def __init__(
        self,
        territory: Territory,
        policies: PolicyFile,
        consents: ConsentStore,
        authenticator: Authenticator,
        audit: AuditLog,
        ledger: QuotaLedger,
        tickets: TicketStore,
        *,
        key: bytes,
        decision_point: DecisionPoint | None = None,
        hide_existence: bool = True,
        trusted: Sequence[Network] = (),
        bind_address: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.territory = territory
        self.audit = audit
        self._policies = policies
        self._consents = consents
        self._authenticator = authenticator
        self._ledger = ledger
        self._tickets = tickets
        self._key = key
        self._decision_point = decision_point
        self._hide_existence = hide_existence
        self._trusted = trusted
        self._bind_address = bind_address
        self._clock = clock
        self._streams = LiveStreams()
        self._versions = ("", ""), ("", "")
        self._watching: asyncio.Task[None] | None = None
        self._looked = time.monotonic()

    async def start(self) -> None:
        """Begin to look for changes."""
        await self._consents.refresh()
        self._looked = time.monotonic()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._clock())

    @property
    def versions(self) -> tuple[str, str]:
        """What capabilities carry of policy and of consent."""
        full = self._policies.current.version, self._consents.current.version
        if full != self._versions[0]:
            self._versions = full, (_short(full[0]), _short(full[1]))
        return self._versions[1]

    def governs(self, endpoint: str, object_id: str) -> bool:
        """Whether policy decides about an id."""
        if self.territory.of(object_id).controlled:
            return True
        asked = AccessRequest(endpoint, object_id, "")
        return bool(self._policies.current.datasets_of(asked))

    def visit(self, request: web.Request) -> Visit:
        """A request as the audit knows it."""
        return Visit(request, peer_of(request, self._trusted))

    def address(self, visit: Visit) -> str:
        """What stands for the caller's address in a capability; "" if any will do."""
        return self._hidden("address", visit.peer) if self._bind_address else ""

    def pseudonym(self, principal: Principal) -> str:
        """What stands for a caller in a capability; "" for nobody."""
        return "" if principal.is_anonymous else self._hidden("principal", principal.name)

    async def authenticate(self, visit: Visit) -> Principal:
        """Who asks. Raises `InvalidCredential`, `AuthorityUnavailable`."""
        lines = visit.request.headers.getall(hdrs.AUTHORIZATION, ())
        if not lines:
            return ANONYMOUS
        try:
            return await self._authenticator.principal(lines)
        except InvalidCredential as error:
            self.audit.note(events.credential_refused(visit, error.reason))
            await _even(visit)
            raise
        except AuthorityUnavailable as error:
            self.audit.note(events.credential_refused(visit, error.reason))
            raise

    async def decide(self, visit: Visit, principal: Principal, asked: AccessRequest) -> Decision:
        """The decision, if it is to allow; a refusal raises, and is written down. Raises
        `AuthorityUnavailable`."""
        try:
            decision = await self._judge(principal, asked)
        except AuthorityUnavailable as error:
            undecided = Decision(Outcome.DENY, error.reason)
            self.audit.note(events.ticket("ticket.denied", visit, principal, asked, undecided))
            raise
        if not decision.allowed:
            raise await self.refused(visit, principal, asked, decision)
        return decision

    async def refused(
        self, visit: Visit, principal: Principal, asked: AccessRequest, decision: Decision
    ) -> HtsgetError:
        """Write a refusal down; what to raise, after a time that tells nothing."""
        self.audit.note(events.ticket("ticket.denied", visit, principal, asked, decision))
        error = self._refusal(decision, principal)
        if not isinstance(error, PermissionDenied):
            await _even(visit)
        return error

    async def absent(self, visit: Visit, principal: Principal, asked: AccessRequest) -> HtsgetError:
        """The refusal of an id that is granted and does not exist."""
        decision = Decision(Outcome.NOT_FOUND, "object.unknown")
        return await self.refused(visit, principal, asked, decision)

    async def issue(
        self,
        visit: Visit,
        rights: Rights,
        holder: Holder,
        decision: Decision,
        item: DataObject,
        bases: Sequence[Region] | None,
        expires: int,
    ) -> None:
        """Write down that a ticket is about to be given, and charge it. `bases`: what it gives,
        None where no limit counts that.

        Raises `QuotaExceeded`, `AuditUnavailable`.
        """
        principal, asked = holder.principal, holder.request
        intent = events.ticket(
            "ticket.intent",
            visit,
            principal,
            asked,
            decision,
            tid=rights.ticket_id,
            source_fingerprint=item.stat.fingerprint,
            authorised=events.regions(asked.regions),
            projection=decision.projection.digest,
            delivery=decision.delivery,
            not_after=min(expires, rights.expires) if rights.expires else expires,
        )
        if principal.is_anonymous and _is_free(decision):  # nobody waits for the record
            self.audit.note(intent)
            return

        def work(connection: Connection) -> None:
            self._ledger.charge(
                connection,
                identities=self._identities(principal, visit.peer),
                dataset=decision.dataset,
                object_id=asked.object_id,
                intervals=[(each.reference_name, each.start, each.end) for each in bases or ()],
                limits=decision.limits,
                now=self._clock(),
            )
            self._tickets.keep(connection, rights.ticket_id, holder, expires)

        await self.audit.commit([intent], work)
        self._tickets.remember(rights.ticket_id, holder)

    async def reassess(self, visit: Visit, capability: Capability) -> None:
        """Raise unless the right of a data block still stands, for this caller."""
        terms = capability.terms
        if terms is None or terms.address not in ("", self._hidden("address", visit.peer)):
            raise InvalidCapability
        decision = await self._second_thoughts(capability)
        if decision is not None:
            self.audit.note(
                events.block("data.denied", visit, capability, rule=decision.rule, status=404)
            )
            await _even(visit)
            raise self._refusal(decision, None)

    @asynccontextmanager
    async def sending(
        self, visit: Visit, capability: Capability, plan: Plan, byte_range: tuple[int, int]
    ) -> AsyncIterator[None]:
        """Around the sending of a block: what is about to be sent is written down before, and what
        was sent after. Raises `QuotaExceeded`, `AuditUnavailable`."""
        intent = events.block(
            "data.intent",
            visit,
            capability,
            range=list(byte_range),
            size=plan.size,
            etag=plan.etag,
        )
        with self._streams.watch(visit.request, capability) as stream:
            await self.reassess(visit, capability)  # from here on, a withdrawal finds the stream
            length = byte_range[1] - byte_range[0]
            stream.lease = await self._begin(visit, capability, intent, length)
            outcome = "aborted"
            try:
                yield
                if stream.cut:
                    raise ConnectionResetError("the right to this block has ended")
                outcome = "complete"
            finally:
                sent = visit.request.get(SENT, 0)
                event = "data.done" if outcome == "complete" else "data.aborted"
                self.audit.note(
                    events.block(
                        event,
                        visit,
                        capability,
                        bytes=sent,
                        outcome=stream.cut or outcome,
                        ms=visit.milliseconds,
                    )
                )
                if stream.lease is not None:
                    await self._ledger.end_stream(stream.lease, sent)

    async def _begin(
        self, visit: Visit, capability: Capability, intent: Event, length: int
    ) -> str | None:
        """Write the intent down, with a lease where streams or bytes are limited."""
        terms = capability.terms
        if terms is None:
            raise InvalidCapability
        if not (terms.streams or terms.bytes_per_day):
            if capability.principal:
                await self.audit.commit([intent])
            else:
                self.audit.note(intent)
            return None
        holder = await self._tickets.find(capability.ticket_id)
        if holder is None:
            raise InvalidCapability
        decision = await self._judge(holder.principal, holder.request)
        if not decision.allowed:
            raise self._refusal(decision, holder.principal)

        def work(connection: Connection) -> str:
            return self._ledger.begin_stream(
                connection,
                identities=self._identities(holder.principal, visit.peer),
                dataset=decision.dataset,
                limits=decision.limits,
                now=self._clock(),
                length=length,
            )

        return await self.audit.commit([intent], work)

    async def _judge(self, principal: Principal, asked: AccessRequest) -> Decision:
        if time.monotonic() - self._looked > _STALE_SECONDS:
            raise AuthorityUnavailable("consent.unread")
        decision = self._policies.current.decide(
            principal, asked, consent=self._consents.current, now=self._clock()
        )
        if decision.allowed and self._decision_point is not None:
            return await self._decision_point.restrict(decision, principal, asked)
        return decision

    async def _second_thoughts(self, capability: Capability) -> Decision | None:
        """Why the right of a block has ended; None if it has not."""
        terms = capability.terms
        if terms is None:
            raise InvalidCapability
        if time.monotonic() - self._looked > _STALE_SECONDS:
            raise AuthorityUnavailable("consent.unread")
        is_current = (terms.policy, terms.consent) == self.versions
        if is_current and not capability.principal:
            return None
        holder = await self._tickets.find(capability.ticket_id)
        if holder is None and not capability.principal:
            holder = Holder(ANONYMOUS, self._whole(capability))
        if holder is None:
            return Decision(Outcome.NOT_FOUND, "ticket.unknown")
        if self._authenticator.is_revoked(holder.principal):
            return Decision(Outcome.NOT_FOUND, "token.revoked")
        if is_current:
            return None
        decision = await self._judge(holder.principal, holder.request)
        if not decision.allowed:
            return decision
        same = decision.projection.digest[:23] == terms.projection
        if decision.clipped or not same:
            return Decision(Outcome.DENY, "ticket.outdated")
        return None

    def _whole(self, capability: Capability) -> AccessRequest:
        """The request for all of an object that is open to all: no other is kept of nobody's."""
        return AccessRequest(
            endpoint=capability.endpoint,
            object_id=capability.object_id,
            format=capability.format,
            data_class=capability.data_class,
            datasets=self.territory.of(capability.object_id).datasets,
        )

    def _refusal(self, decision: Decision, principal: Principal | None) -> HtsgetError:
        if decision.outcome is Outcome.UNAUTHENTICATED:
            return InvalidAuthentication("this needs a credential")
        if decision.outcome is Outcome.DENY:
            return PermissionDenied(f"not permitted: {decision.rule}")
        if self._hide_existence or principal is None:
            return NotFound()
        return PermissionDenied("not permitted")

    def _identities(self, principal: Principal, peer: str) -> frozenset[Identity]:
        """Who is charged: the caller with all linked identities, or an address."""
        return principal.identities or frozenset({("", peer)})

    def _hidden(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose} {text}".encode(), "sha256").hex()[:24]

    async def _watch(self) -> None:
        swept = time.monotonic()
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.look()
                if time.monotonic() - swept > _SWEEP_SECONDS:
                    swept = time.monotonic()
                    await self._tickets.forget_expired(self.now())
            except Exception:  # noqa: BLE001 - data stay closed until it is mended
                _log.exception("policy and consent cannot be looked at")

    async def look(self) -> None:
        """See what policy and consent say now, and stop what they no longer allow."""
        await self._policies.refresh()
        await self._consents.refresh()
        self._looked = time.monotonic()
        lost = await self._ledger.heartbeat()
        for stream in self._streams:
            if stream.lease in lost:  # others may have begun in its place
                stream.stop("quota.lease_lost")
        await self._cut()

    async def _cut(self) -> None:
        """Stop the blocks on their way whose right has ended."""
        for stream in self._streams:
            try:
                decision = await self._second_thoughts(stream.capability)
            except Exception:  # noqa: BLE001 - what cannot be judged ends
                _log.exception("a block on its way cannot be judged")
                stream.stop("unjudged")
                continue
            if decision is not None:
                stream.stop(decision.rule)


def _is_free(decision: Decision) -> bool:
    """Whether an object is open to all, whole and without a limit."""
    is_whole = decision.permitted is not None and decision.permitted.is_whole
    return is_whole and decision.limits == Limits()


def _short(version: str) -> str:
    return sha256(version.encode()).hexdigest()[:16]


async def _even(visit: Visit) -> None:
    """Wait until a refusal has taken the time that all refusals take."""
    remaining = visit.began + _REFUSAL_SECONDS - time.monotonic()
    if remaining > 0:
        await asyncio.sleep(remaining)
