"""The chain in the database: appended to, read and checkpointed inside transactions.

Whoever writes does so in a transaction that has all other writers wait (`writing=True`).
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, insert, select

from auth.audit.chain import BEGINNING, Anchor, Entry, chained
from auth.audit.checkpoints import Checkpoint
from auth.audit.record import SALT_BYTES, Draft, Pii, pseudonym
from server.access.audit_tables import AUDIT, CHECKPOINTS, PII
from server.database import Database

CHAIN = "htsgate"
"""What the one chain of a database is called."""

READ_AT_ONCE = 2000
"""Records, or checkpoints, that one transaction reads."""

_ASKED_AT_ONCE = 400


class Identity(NamedTuple):
    """Whom a pseudonym stands for."""

    kind: str
    salt: bytes
    value: str
    hmac: str

    @property
    def is_right(self) -> bool:
        """Whether the pseudonym is that of the value."""
        return pseudonym(self.salt, self.value) == self.hmac


def head(connection: Connection, chain: str) -> Anchor:
    """The last record of a chain."""
    query = select(AUDIT.c.seq, AUDIT.c.hash).where(AUDIT.c.chain == chain)
    row = connection.execute(query.order_by(AUDIT.c.seq.desc()).limit(1)).first()
    return BEGINNING if row is None else Anchor(row.seq, bytes(row.hash))


def append(connection: Connection, chain: str, drafts: Sequence[Draft]) -> Anchor:
    """Write records after the last one; what the last one is then."""
    last = head(connection, chain)
    if not drafts:
        return last
    names = _pseudonyms(connection, {each for draft in drafts for each in draft.identifiers})
    rows = []
    for draft in drafts:
        payload, seq = draft.payload(names), last.seq + 1
        last = Anchor(seq, chained(last.hash, seq, payload))
        rows.append({"chain": chain, "seq": seq, "payload": payload, "hash": last.hash})
    connection.execute(insert(AUDIT), rows)
    return last


def _pseudonyms(connection: Connection, wanted: set[Pii]) -> dict[Pii, str]:
    """What stands for these; who has no pseudonym yet gets one.

    Looked up each time: another process may have given it, or an erasure taken it away.
    """
    names: dict[Pii, str] = {}
    asked = sorted(wanted, key=lambda each: (each.kind, each.value))
    for kind, alike in groupby(asked, key=lambda each: each.kind):
        values = [each.value for each in alike]
        for start in range(0, len(values), _ASKED_AT_ONCE):
            # Not by pairs: SQLite would look at every row for those.
            some = values[start : start + _ASKED_AT_ONCE]
            query = select(PII.c.value, PII.c.hmac).where(PII.c.kind == kind, PII.c.value.in_(some))
            for row in connection.execute(query):
                names[Pii(kind, row.value)] = row.hmac
    rows = []
    for each in asked:
        if each not in names:
            salt = secrets.token_bytes(SALT_BYTES)
            names[each] = pseudonym(salt, each.value)
            rows.append({"kind": each.kind, "salt": salt, "value": each.value, "hmac": names[each]})
    if rows:
        connection.execute(insert(PII), rows)
    return names


def last_checkpoint(connection: Connection, chain: str) -> tuple[int, Checkpoint | None]:
    """The number of the last checkpoint, and it; 0 where there is none."""
    query = select(CHECKPOINTS.c.number, CHECKPOINTS.c.document)
    query = query.where(CHECKPOINTS.c.chain == chain).order_by(CHECKPOINTS.c.number.desc())
    row = connection.execute(query.limit(1)).first()
    return (0, None) if row is None else (row.number, read_document(row.document))


def add_checkpoint(connection: Connection, number: int, checkpoint: Checkpoint) -> None:
    """Write down a checkpoint."""
    document = json.dumps(checkpoint.as_json(), sort_keys=True, separators=(",", ":"))
    row = {"chain": checkpoint.chain, "number": number, "document": document}
    connection.execute(insert(CHECKPOINTS), row)


def read_document(text: str) -> Checkpoint:
    """A checkpoint as the database keeps it; `ValueError`."""
    return Checkpoint.from_line(text.encode())


def chains(connection: Connection) -> list[str]:
    """The names of all chains that have a record or a checkpoint."""
    found = {row[0] for row in connection.execute(select(AUDIT.c.chain).distinct())}
    found |= {row[0] for row in connection.execute(select(CHECKPOINTS.c.chain).distinct())}
    return sorted(found)


def read_entries(database: Database, chain: str, after: int = 0) -> Iterator[Entry]:
    """The records of a chain in order; for threads. No transaction is longer than a few thousand
    records, so that nobody waits for the reader."""
    query = select(AUDIT.c.seq, AUDIT.c.payload, AUDIT.c.hash).where(AUDIT.c.chain == chain)
    query = query.order_by(AUDIT.c.seq).limit(READ_AT_ONCE)
    while True:
        rows = database.run(partial(_fetch, query.where(AUDIT.c.seq > after)))
        for row in rows:
            yield Entry(row.seq, bytes(row.payload), bytes(row.hash))
        if len(rows) < READ_AT_ONCE:
            return
        after = rows[-1].seq


def _fetch(query: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(query).all()


def read_checkpoints(
    connection: Connection, chain: str, after: int = 0, most: int = READ_AT_ONCE
) -> list[str]:
    """The checkpoints of a chain after the one with a number, in order, as they were written; not
    more than so many."""
    query = select(CHECKPOINTS.c.document).where(
        CHECKPOINTS.c.chain == chain, CHECKPOINTS.c.number > after
    )
    return list(connection.scalars(query.order_by(CHECKPOINTS.c.number).limit(most)))


def read_identities(connection: Connection) -> list[Identity]:
    """Whom the pseudonyms stand for, but for those that were erased."""
    query = select(PII.c.kind, PII.c.salt, PII.c.value, PII.c.hmac).order_by(PII.c.id)
    return [
        Identity(row.kind, bytes(row.salt), row.value, row.hmac)
        for row in connection.execute(query)
    ]
