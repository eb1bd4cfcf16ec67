"""Consent over HTTP, for the systems in which participants say what they want.

`POST /admin/consent` with a JSON object: `action` ("withdraw" or "restore"), one of `participant`,
`sample` and `object`, and if wanted `dataset`, `from` (an RFC 3339 time or date) and `reason`. The
caller is one of the configured administrators.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aiohttp import web
from sqlalchemy import Connection

from auth.audit.record import Pii
from auth.consent import Action, Kind, Statement
from auth.consent_files import read_instant
from auth.principal import Identity
from auth.strict_json import strict_json
from server.access.consent_journal import checked
from server.access.gate import Gate
from server.errors import InvalidAuthentication, InvalidInput, PermissionDenied
from server.limits import read_body

_MAX_BYTES = 16 << 10
_SECONDS = 10.0
_MOST_TEXT = 1024
_MEMBERS = frozenset({"action", "dataset", "from", "reason", *Kind})


class Record(Protocol):
    """Writes a statement down, in the transaction of its audit record."""

    def __call__(
        self, connection: Connection, statement: Statement, reason: str, by: str
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """See above. `look` makes a statement hold at once; `administrators` by issuer and subject."""

    gate: Gate
    record: Record
    look: Callable[[], Awaitable[None]]
    administrators: frozenset[Identity]

    def add_to(self, app: web.Application) -> None:
        """Register `/admin/consent`."""
        app.router.add_post("/admin/consent", self.consent)

    async def consent(self, request: web.Request) -> web.Response:
        """Record a statement; it holds when the answer arrives, on other replicas within a second.

        Raises `InvalidAuthentication`, `PermissionDenied`, `InvalidInput`, `AuditUnavailable`.
        """
        visit = self.gate.visit(request)
        principal = await self.gate.authenticate(visit)
        if principal.is_anonymous:
            raise InvalidAuthentication("this needs a credential")
        if (principal.iss, principal.sub) not in self.administrators:
            self.gate.audit.note({"event": "admin.denied", **visit.members})
            raise PermissionDenied("this is for administrators")
        body = await read_body(request, seconds=_SECONDS, max_bytes=_MAX_BYTES)
        statement, reason = _statement(body, self.gate.now())
        event = {
            "event": "consent.updated",
            **visit.members,
            "subject": {"pii": Pii("sub", principal.name)},
            "action": str(statement.action),
            "kind": str(statement.kind),
            "value": {"pii": Pii(str(statement.kind), statement.value)},
            "dataset": statement.dataset,
            "effective_from": statement.effective_from,
        }
        record = partial(
            self.record, statement=statement, reason=reason, by=self.gate.pseudonym(principal)
        )
        await self.gate.audit.commit([event], record)
        await self.look()
        return web.json_response({"recorded": True}, headers={"Cache-Control": "no-store"})


def _statement(body: bytes, now: int) -> tuple[Statement, str]:
    try:
        members = strict_json(body)
    except ValueError:
        raise InvalidInput("the request body is not valid JSON") from None
    if not isinstance(members, dict) or not members.keys() <= _MEMBERS:
        raise InvalidInput(f"the members are of {', '.join(sorted(_MEMBERS))}")
    kinds = [kind for kind in Kind if kind in members]
    if len(kinds) != 1:
        raise InvalidInput("give one of participant, sample and object")
    action = _text(members, "action")
    if action not in tuple(Action):
        raise InvalidInput("action is withdraw or restore")
    try:
        since = read_instant(_text(members, "from")) if "from" in members else now
    except ValueError:
        raise InvalidInput("from is a date or an RFC 3339 time") from None
    dataset = _text(members, "dataset") if "dataset" in members else ""
    reason = _text(members, "reason") if "reason" in members else ""
    statement = Statement(Action(action), kinds[0], _text(members, kinds[0]), dataset, since)
    try:
        return checked(statement), reason
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value or len(value) > _MOST_TEXT:
        raise InvalidInput(f"{name} is a text of 1 to {_MOST_TEXT} characters")
    if not value.isprintable():
        raise InvalidInput(f"{name} holds what cannot be printed")
    return value
