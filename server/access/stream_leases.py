"""The data blocks on their way, counted over all replicas.

Each holds a lease, which a process renews for all of its streams as long as it lives.
"""

import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from server.access.quota_tables import STREAMS

LEASE_SECONDS = 60.0
"""How long a stream counts that nobody renews."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Lease:
    """What one stream was charged in advance: `reserved` bytes of a day's budget, for each of the
    identities; None where nothing limits them."""

    identities: tuple[str, ...]
    dataset: str
    day: int
    reserved: int | None


class StreamLeases:
    """The table, and which of its leases are this process's."""

    def __init__(self) -> None:
        self._own: set[str] = set()
        self._lock = threading.Lock()  # transactions run in several threads

    def count(
        self, connection: Connection, identities: Sequence[str], dataset: str, now: float
    ) -> int:
        """How many streams of a dataset these identities have together."""
        query = select(func.count(STREAMS.c.lease.distinct())).where(
            STREAMS.c.identity.in_(identities),
            STREAMS.c.dataset == dataset,
            STREAMS.c.expires > now,
        )
        return int(connection.execute(query).scalar_one())

    def begin(self, connection: Connection, lease: Lease, now: float) -> str:
        """Write a lease down; its id. What has expired is forgotten."""
        connection.execute(delete(STREAMS).where(STREAMS.c.expires <= now))
        name = uuid.uuid4().hex
        connection.execute(
            insert(STREAMS),
            [
                {
                    "lease": name,
                    "identity": identity,
                    "dataset": lease.dataset,
                    "day": lease.day,
                    "reserved": lease.reserved,
                    "expires": now + LEASE_SECONDS,
                }
                for identity in lease.identities
            ],
        )
        return name

    def hold(self, name: str) -> None:
        """Renew one from now on."""
        with self._lock:
            self._own.add(name)

    def end(self, connection: Connection, name: str) -> Lease | None:
        """Remove a lease; None if it has expired."""
        query = select(STREAMS).where(STREAMS.c.lease == name)
        rows = connection.execute(query).all()
        connection.execute(delete(STREAMS).where(STREAMS.c.lease == name))
        if not rows:
            return None
        identities = tuple(row.identity for row in rows)
        return Lease(identities, rows[0].dataset, rows[0].day, rows[0].reserved)

    def abandon(self, names: Iterable[str]) -> None:
        """Renew these no more."""
        with self._lock:
            self._own.difference_update(names)

    def renew(self, connection: Connection, now: float) -> frozenset[str]:
        """Renew all leases of this process; those that have expired nevertheless, and count no
        more."""
        with self._lock:
            own = sorted(self._own)
        lost = set(own)
        for start in range(0, len(own), _AT_ONCE):
            alive = STREAMS.c.lease.in_(own[start : start + _AT_ONCE]), STREAMS.c.expires > now
            lost.difference_update(
                connection.execute(select(STREAMS.c.lease).where(*alive)).scalars()
            )
            connection.execute(update(STREAMS).where(*alive).values(expires=now + LEASE_SECONDS))
        return frozenset(lost)

    @property
    def has_any(self) -> bool:
        """Whether this process has streams."""
        return bool(self._own)
