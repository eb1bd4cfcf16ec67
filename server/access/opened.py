"""The parts of access control, opened together and closed in turn."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.addresses import Network
from auth.audit.checkpoints import read_key
from auth.clock import SteadyClock
from auth.errors import InvalidConfiguration
from auth.passports.reader import PassportReader
from auth.passports.trust import Trust
from auth.passports.trust_document import load_trust
from auth.policy.evaluation import Policy
from auth.principal import Principal
from auth.tokens.access_tokens import TokenVerifier
from auth.tokens.revocations import Revocations
from server.access import events
from server.access.admin_routes import AdminRoutes
from server.access.audit_log import AuditLog
from server.access.authenticator import Authenticator
from server.access.block_gate import BlockGate
from server.access.consent_store import ConsentStore
from server.access.decision_point import DecisionPoint
from server.access.events import Visit
from server.access.exchange import ExchangeRoutes, ExchangeStore
from server.access.gate import Gate
from server.access.issuers import token_issuers, way_out
from server.access.peer import networks, peer_of
from server.access.policy_file import PolicyFile
from server.access.quota_ledger import QuotaLedger
from server.access.territory import Territory
from server.access.ticket_store import TicketStore
from server.access.watch import Watch
from server.auth_settings import AuthSection
from server.database import Database
from server.outbound import Outbound

_LONGEST_KEY = 64 << 10  # bytes of a PEM file


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that access control needs and that lives as long as the application."""

    gate: Gate
    blocks: BlockGate
    ledger: QuotaLedger
    policies: PolicyFile
    _watch: Watch
    _journal: Database | None
    _outbound: Outbound
    _verifier: TokenVerifier
    _passports: PassportReader | None
    _exchange: ExchangeRoutes | None
    _admin: AdminRoutes
    _running: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)

    def add_to(self, app: web.Application) -> None:
        """Register `/admin/consent`, and `/auth/exchange` where passports are believed."""
        self._admin.add_to(app)
        if self._exchange is not None:
            self._exchange.add_to(app)

    async def start(self) -> None:
        """Begin; raises `AuditUnavailable`, `DatabaseUnavailable`."""
        self._outbound.start()
        self._running.push_async_callback(self._outbound.close)
        self._running.push_async_callback(self._verifier.close)
        if self._passports is not None:
            self._running.push_async_callback(self._passports.close)
        if self._journal is not None:
            self._running.push_async_callback(asyncio.to_thread, self._journal.close)
        await self.gate.audit.start()
        self._running.push_async_callback(self.gate.audit.close)
        self.policies.announce()
        await self._watch.start()
        self._running.push_async_callback(self._watch.close)

    async def close(self) -> None:
        """Stop, those who use the others first."""
        await self._running.aclose()


def open_access(
    section: AuthSection,
    policy: Path,
    database: Database,
    territory: Territory,
    judge: Callable[[Policy], None],
    *,
    key: bytes,
    trusted_proxies: Iterable[str] = (),
    journal: Database | None = None,
) -> Access:
    """Access control as configured. `judge` refuses a policy that does not go with the locations;
    `key` makes pseudonyms. `journal` is the same database for the audit, which does not wait long;
    it is closed with the rest. Raises `InvalidConfiguration`."""
    clock = SteadyClock()
    proxies = networks(tuple(trusted_proxies))
    audit = AuditLog(
        journal or database,
        server_id=socket.gethostname(),
        version=version("htsgate"),
        signer=None if section.audit_key is None else _signing_key(section.audit_key),
        checkpoints=section.checkpoints,
    )
    trust = Trust({}, {}) if section.passports is None else load_trust(section.passports)

    def check(policy: Policy) -> None:
        judge(policy)
        _check_trust(policy, section, trust)

    policies = PolicyFile(policy, check, audit.note)
    issuers = token_issuers(section.issuers, trust)
    outbound = way_out(section, issuers.values(), trust)
    revoked = Revocations(section.revoked)
    verifier = TokenVerifier(
        list(issuers.values()),
        outbound,
        clock,
        revoked=revoked,
        claims=policies.current.claims_used,
    )
    passports = exchange = None
    handles = None
    if trust.brokers:
        passports = PassportReader(
            trust,
            outbound,
            clock,
            revoked=revoked,
            wanted=lambda type_, value: policies.current.usable_visas(type_, value),
            keys=verifier.keys,
        )
        store = ExchangeStore(database, clock=clock, check=passports.check)
        exchange, handles = _exchange(passports, store, audit, proxies), store.find

    def changed(policy: Policy) -> None:
        verifier.keep(policy.claims_used)
        if passports is not None:
            passports.forget()

    policies.changed = changed
    point = section.decision_point
    consents = ConsentStore(
        database, lambda: policies.current.datasets, note=audit.note, clock=clock
    )
    ledger, tickets = QuotaLedger(database, key, clock), TicketStore(database)
    gate = Gate(
        territory,
        policies,
        consents,
        Authenticator(verifier, revoked, passports, handles),
        audit,
        ledger,
        tickets,
        key=key,
        decision_point=None if point is None else DecisionPoint(point, outbound, clock=clock),
        hide_existence=section.hide_existence,
        trusted=proxies,
        bind_address=section.bind_address,
        clock=clock,
    )
    administrators = frozenset((each.iss, each.sub) for each in section.administrators)
    blocks = BlockGate(gate, tickets, ledger)
    watch = Watch(gate, blocks, ledger, tickets)
    admin = AdminRoutes(gate, consents.record, watch.look, administrators)
    return Access(
        gate,
        blocks,
        ledger,
        policies,
        watch,
        journal,
        outbound,
        verifier,
        passports,
        exchange,
        admin,
    )


def _exchange(
    passports: PassportReader, store: ExchangeStore, audit: AuditLog, proxies: Sequence[Network]
) -> ExchangeRoutes:
    """The endpoint for passports, with what the audit says of it."""

    async def issued(request: web.Request, principal: Principal) -> None:
        await audit.commit([events.exchanged(Visit(request, peer_of(request, proxies)), principal)])

    def refused(request: web.Request, reason: str) -> None:
        audit.note(events.credential_refused(Visit(request, peer_of(request, proxies)), reason))

    return ExchangeRoutes(passports, store, issued=issued, refused=refused)


def _check_trust(policy: Policy, section: AuthSection, trust: Trust) -> None:
    """A policy that nobody could meet is a mistake of one of the two files."""
    if policy.needs_visas and section.passports is None:
        raise InvalidConfiguration("auth.passports: the policy needs visas; name whom to believe")
    for atom in policy.visa_atoms:
        if not trust.allows(atom.type, atom.value, atom.source):
            raise InvalidConfiguration(
                f"auth.passports: nobody is trusted to assert {atom.type} {atom.value}"
            )


def _signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        if path.stat().st_mode & 0o007:
            raise InvalidConfiguration("auth.audit_key: others may read it; use chmod o=")
        with path.open("rb") as file:
            return read_key(file.read(_LONGEST_KEY))
    except OSError as error:
        raise InvalidConfiguration(f"auth.audit_key: {path}: {error.strerror}") from None
    except ValueError:
        raise InvalidConfiguration(f"auth.audit_key: {path}: no Ed25519 key in PEM form") from None
