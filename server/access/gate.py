"""The gate that every request for controlled data passes: who asks, may they, and is it written
down. It fails closed: what cannot be judged or recorded now is refused.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import TypeVar

from aiohttp import hdrs, web
from sqlalchemy import Connection

from auth.addresses import Network
from auth.audit.record import Event
from auth.consent import STALE
from auth.decision import AccessRequest, Decision, Limits, Outcome
from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.principal import ANONYMOUS, Identity, Principal
from auth.quota import QuotaExceeded
from formats.regions import Region
from server.access import events
from server.access.audit_log import AuditLog, AuditUnavailable
from server.access.authenticator import Authenticator
from server.access.consent_store import ConsentStore
from server.access.decision_point import DecisionPoint
from server.access.events import Visit
from server.access.peer import peer_of
from server.access.policy_file import PolicyFile
from server.access.quota_ledger import QuotaLedger
from server.access.territory import Territory
from server.access.ticket_store import Holder, TicketStore
from server.catalog import DataObject
from server.errors import InvalidAuthentication, NotFound, PermissionDenied
from server.htsget.ticket import Rights

T = TypeVar("T")

_STALE_SECONDS = 5.0  # without a look at consent, nothing is sent
_ABSENT = "object.unknown"
_REFUSAL_SECONDS = 0.025  # a refusal takes as long whatever its reason


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
        self._looked = time.monotonic()

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._clock())

    @property
    def is_stale(self) -> bool:
        """Whether nobody has looked at consent for too long."""
        return time.monotonic() - self._looked > _STALE_SECONDS

    async def look(self) -> None:
        """See what consent says now. Raises `DatabaseUnavailable`."""
        await self._consents.refresh()
        self._looked = time.monotonic()

    async def look_at_policy(self) -> bool:
        """See what policy says now, which may take seconds; whether that is something else."""
        return await self._policies.refresh()

    @property
    def versions(self) -> tuple[str, str]:
        """Of policy and of consent, as capabilities name them."""
        return _short(self._policies.current.version), _short(self._consents.current.version)

    @staticmethod
    def versions_of(decision: Decision) -> tuple[str, str]:
        """Those that a decision was made by, which may have been replaced since."""
        return _short(decision.policy_version), _short(decision.consent_version)

    def governs(self, endpoint: str, object_id: str) -> bool:
        """Whether policy decides about an id."""
        if self.territory.of(object_id).controlled:
            return True
        return self._policies.current.names(endpoint, object_id)

    def visit(self, request: web.Request) -> Visit:
        """A request as the audit knows it."""
        return Visit(request, peer_of(request, self._trusted))

    def is_revoked(self, principal: Principal) -> bool:
        """Whether a caller, or the token it came with, is refused since."""
        return self._authenticator.is_revoked(principal)

    def address(self, visit: Visit) -> str:
        """What stands for the caller's address in a capability; "" if any will do."""
        return self.hidden("address", visit.peer) if self._bind_address else ""

    def pseudonym(self, principal: Principal) -> str:
        """What stands for a caller in a capability; "" for nobody."""
        return "" if principal.is_anonymous else self.hidden("principal", principal.name)

    async def authenticate(self, visit: Visit) -> Principal:
        """Who asks. Raises `InvalidCredential`, `AuthorityUnavailable`."""
        lines = visit.request.headers.getall(hdrs.AUTHORIZATION, ())
        if not lines:
            return ANONYMOUS
        try:
            return await self._authenticator.principal(lines)
        except InvalidCredential as error:
            self.audit.note(events.credential_refused(visit, error.reason))
            await even(visit)
            raise
        except AuthorityUnavailable as error:
            self.audit.note(events.credential_refused(visit, error.reason))
            raise

    async def decide(self, visit: Visit, principal: Principal, asked: AccessRequest) -> Decision:
        """The decision, if it is to allow; a refusal raises, and is written down. Raises
        `AuthorityUnavailable`."""
        try:
            decision = await self.judge(principal, asked)
        except AuthorityUnavailable as error:
            undecided = Decision(Outcome.DENY, error.reason)
            self.audit.note(events.ticket("ticket.denied", visit, principal, asked, undecided))
            raise
        if not decision.allowed:
            raise await self.refused(visit, principal, asked, decision)
        return decision

    async def refused(
        self, visit: Visit, principal: Principal, asked: AccessRequest, decision: Decision
    ) -> Exception:
        """Write a refusal down; what to raise, after a time that tells nothing."""
        self.audit.note(events.ticket("ticket.denied", visit, principal, asked, decision))
        error = self.refusal(decision, principal)
        if not isinstance(error, PermissionDenied):
            await even(visit)
        return error

    async def absent(self, visit: Visit, principal: Principal, asked: AccessRequest) -> Exception:
        """The refusal of an id that is granted and does not exist."""
        decision = Decision(Outcome.NOT_FOUND, _ABSENT)
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
                identities=self.identities(principal, visit.peer),
                dataset=decision.dataset,
                object_id=asked.object_id,
                intervals=[(each.reference_name, each.start, each.end) for each in bases or ()],
                limits=decision.limits,
                now=self._clock(),
            )
            self._tickets.keep(connection, rights.ticket_id, holder, expires)

        # Without the charge nothing is given, whether or not the record may be missing.
        required = decision.audit_required or decision.limits != Limits()
        try:
            await self.record(intent, work, required=required)
        except QuotaExceeded as error:
            spent = replace(decision, outcome=Outcome.DENY, rule=error.rule)
            self.audit.note(events.ticket("ticket.denied", visit, principal, asked, spent))
            raise
        self._tickets.remember(rights.ticket_id, holder)

    @property
    def asks_elsewhere(self) -> bool:
        """Whether an external decision point has its say, whose mind may change at any time."""
        return self._decision_point is not None

    @property
    def audit_required(self) -> bool:
        """Whether nothing may be sent that cannot be recorded."""
        return self._policies.current.audit_required

    async def record(
        self, event: Event, work: Callable[[Connection], T] | None = None, *, required: bool
    ) -> T | None:
        """Write an event down before anything is sent, with what `work` does to the database.

        Raises `AuditUnavailable`; but if the record is not `required` it is written when it can be,
        and `work` is left undone.
        """
        try:
            if work is not None:
                return await self.audit.commit([event], work)
            await self.audit.commit([event])
        except AuditUnavailable:
            if required:
                raise
            self.audit.note(event)
        return None

    async def judge(self, principal: Principal, asked: AccessRequest) -> Decision:
        """What policy, consent and the decision point say now. Raises `AuthorityUnavailable`."""
        if self.is_stale and not principal.is_anonymous:
            raise AuthorityUnavailable("consent.unread")
        decision = self._policies.current.decide(
            principal, asked, consent=self._consents.current, now=self._clock()
        )
        if decision.allowed and self._decision_point is not None:
            return await self._decision_point.restrict(decision, principal, asked)
        return decision

    def refusal(self, decision: Decision, principal: Principal | None) -> Exception:
        """What to raise for a decision that does not allow."""
        if decision.rule == STALE:
            return AuthorityUnavailable(decision.rule)
        if decision.outcome is Outcome.UNAUTHENTICATED:
            return InvalidAuthentication("this needs a credential")
        if decision.outcome is Outcome.DENY:
            return PermissionDenied(f"not permitted: {decision.rule}")
        if self._hide_existence or principal is None or decision.rule == _ABSENT:
            return NotFound()
        return PermissionDenied("not permitted")

    def identities(self, principal: Principal, peer: str) -> frozenset[Identity]:
        """Who is charged: the caller with all linked identities, or an address."""
        return principal.identities or frozenset({("", peer)})

    def hidden(self, purpose: str, text: str) -> str:
        """A pseudonym that is the same on every replica."""
        return hmac.digest(self._key, f"{purpose} {text}".encode(), "sha256").hex()[:24]


def _is_free(decision: Decision) -> bool:
    """Whether an object is open to all, whole and without a limit."""
    return decision.is_whole and decision.limits == Limits()


@lru_cache(maxsize=16)
def _short(version: str) -> str:
    return sha256(version.encode()).hexdigest()[:16]


async def even(visit: Visit) -> None:
    """Wait until a refusal has taken the time that all refusals take."""
    remaining = visit.began + _REFUSAL_SECONDS - time.monotonic()
    if remaining > 0:
        await asyncio.sleep(remaining)
