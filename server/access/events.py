"""What is written down of a request: the members of audit records (security: no token, no path, no
base; names of people as `Pii`, which the log turns into pseudonyms)."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from auth.audit.record import Event, JsonOrPii, Pii
from auth.capability import Capability
from auth.decision import AccessRequest, Decision
from auth.principal import Principal
from formats.regions import UNBOUNDED, Region

_MOST_REGIONS = 1000  # of one record; more are counted
_MOST_TEXT = 200
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: its id for the audit, where it comes from, and when it began (monotonic
    seconds)."""

    request: web.Request
    peer: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> int:
        """Since it began."""
        return int((time.monotonic() - self.began) * 1000)

    @property
    def members(self) -> dict[str, JsonOrPii]:
        """What every record of the request has."""
        program = self.request.headers.get(hdrs.USER_AGENT, "")
        program = _NOT_PRINTABLE.sub("?", program[:_MOST_TEXT])
        return {
            "req": self.id,
            "peer": Pii("peer", self.peer) if self.peer else None,
            "ua": Pii("ua", program) if program else None,
        }


def credential_refused(visit: Visit, reason: str) -> Event:
    """A credential that was not accepted. Who has none may send what they like, so nothing of what
    they call themselves is kept."""
    return {"event": "auth.fail", **visit.members, "ua": None, "rule": reason}


def exchanged(visit: Visit, principal: Principal) -> Event:
    """A handle is about to be given for a passport."""
    return {"event": "exchange.issued", **visit.members, "subject": _subject(principal)}


def ticket(
    event: str,
    visit: Visit,
    principal: Principal,
    asked: AccessRequest,
    decision: Decision,
    **members: JsonOrPii,
) -> Event:
    """`ticket.intent` or `ticket.denied`: who asked for what, and what policy said."""
    return {
        "event": event,
        **visit.members,
        "subject": _subject(principal),
        "visas": [
            {
                "iss": visa.iss,
                "jti": visa.jti,
                "type": visa.type,
                "value": visa.value,
                "source": visa.source,
                "by": visa.by,
                "exp": visa.exp,
            }
            for visa in decision.visas
        ],
        "dataset": decision.dataset,
        "object": asked.object_id,
        "endpoint": asked.endpoint,
        "format": asked.format,
        "class": asked.data_class,
        "requested": regions(asked.regions),
        "decision": str(decision.outcome),
        "rule": decision.rule,
        "grant_ids": list(decision.grant_ids),
        "policy_version": decision.policy_version,
        "consent_version": decision.consent_version,
        **members,
    }


def block(event: str, visit: Visit, capability: Capability, **members: JsonOrPii) -> Event:
    """`data.intent`, `data.denied`, `data.done` or `data.aborted`, of one data block."""
    terms = capability.terms
    return {
        "event": event,
        **visit.members,
        "tid": capability.ticket_id,
        "n": [capability.part, capability.parts],
        "object": capability.object_id,
        "endpoint": capability.endpoint,
        "format": capability.format,
        "class": capability.data_class,
        "holder": capability.principal,
        "grant_ids": list(terms.grants) if terms else [],
        "policy_version": terms.policy if terms else "",
        "consent_version": terms.consent if terms else "",
        **members,
    }


def forged(visit: Visit, rule: str) -> Event:
    """`data.denied`, of a capability that says nothing that could be believed."""
    return {"event": "data.denied", **visit.members, "rule": rule, "status": 401}


def regions(asked: Sequence[Region] | None) -> JsonOrPii:
    """Regions as lists of name, start and end (0-based, half-open; without an end: to the end of
    the reference), or "all"."""
    if asked is None:
        return "all"
    listed: list[JsonOrPii] = [_region(each) for each in asked[:_MOST_REGIONS]]
    if len(asked) > _MOST_REGIONS:
        listed.append(f"and {len(asked) - _MOST_REGIONS} more")
    return listed


def _region(region: Region) -> list[JsonOrPii]:
    placed: list[JsonOrPii] = [region.reference_name]
    if region.start or region.end < UNBOUNDED:
        placed.append(region.start)
    if region.end < UNBOUNDED:
        placed.append(region.end)
    return placed


def _subject(principal: Principal) -> JsonOrPii:
    if principal.is_anonymous:
        return None
    return {
        "pii": Pii("sub", principal.name),
        "client_id": principal.client_id,
        "token_jti": principal.token_id,
        "closure": principal.closure,
    }
