"""What the tests of the audit share: events, a running log, and what a chain holds."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from auth.audit.chain import Entry, verify_chain
from auth.audit.record import Event, Pii
from server.access.audit_chain import CHAIN, read_entries
from server.access.audit_log import AuditLog
from server.database import Database

SUBJECT = Pii("sub", "https://login.example/|someone")


def intent(number: int, **more: Any) -> Event:
    return {
        "event": "data.intent",
        "req": f"r-{number}",
        "tid": "00112233",
        "n": [0, 1],
        "subject": {"pii": SUBJECT, "client_id": "igv"},
        "object": "reads/cardio/7f3a",
        **more,
    }


@asynccontextmanager
async def running_log(database: Database, **options: Any) -> AsyncIterator[AuditLog]:
    log = AuditLog(database, server_id="srv-1", version="0.1.0", **options)
    await log.start()
    try:
        yield log
    finally:
        await log.close()


def entries_of(database: Database, chain: str = CHAIN) -> list[Entry]:
    """The records of a chain, which is right."""
    entries = list(read_entries(database, chain))
    assert verify_chain(entries) is None
    return entries


def records_of(database: Database, chain: str = CHAIN) -> list[dict[str, Any]]:
    """What the records of a chain say, which is right."""
    return [json.loads(each.payload) for each in entries_of(database, chain)]


def events_of(database: Database) -> list[str]:
    return [each["event"] for each in records_of(database)]
