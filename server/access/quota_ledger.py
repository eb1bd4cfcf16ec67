"""Quotas: what people have had, charged in the transaction of the record that they are given it.

A limit concerns a person, so every identity that is known to be theirs is charged, and the most
that any of them has had counts; of one object's bases, what they have had together. Linking
accounts, or no longer doing so, therefore makes no budget new. Connections that are given must be
of writing transactions (`Database.run(…, writing=True)`): in those nobody else writes between the
look and the charge, in any process.
"""

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from auth.decision import Limits
from auth.principal import Identity
from auth.quota import (
    QuotaExceeded,
    coverage_by_name,
    day_of,
    minute_of,
    until_next_day,
    until_next_minute,
)
from server.access import quota_counters, quota_coverage
from server.access.quota_counters import BASES, BYTES, REQUESTS, Amounts
from server.access.quota_coverage import ALWAYS, Growth, Owners, growth
from server.access.stream_leases import Lease, StreamLeases
from server.database import Database, DatabaseUnavailable

HEARTBEAT_SECONDS = 15.0
"""How often the leases of streams are renewed."""

_RETRY_SECONDS = 2  # a stream may end at any moment
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charged:
    """What a request came to: its bases, and how many of them were new to the caller, of those that
    a limit counts."""

    bases: int = 0
    distinct_bases: int = 0


class QuotaLedger:
    """The accounts, in a database that all replicas share. `key` makes pseudonyms of identities;
    `clock` gives seconds since the epoch.

    Only what some limit counts is charged: a grant without limits leaves no trace here. Days and
    minutes are those of UTC.
    """

    def __init__(
        self, database: Database, key: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._leases = StreamLeases()
        self._tidied = 0
        self._heartbeat_due = 0.0

    def charge(
        self,
        connection: Connection,
        *,
        identities: Iterable[Identity],
        dataset: str,
        object_id: str,
        intervals: Sequence[tuple[str, int, int]],
        limits: Limits,
        now: float,
        regions: int | None = None,
    ) -> Charged:
        """Charge what a ticket gives: intervals by name, 0-based and half-open, that end where
        their reference does. Unplaced reads (`*`) have no bases. `regions`: how many were asked
        for, where clipping made others of them.

        Raises `QuotaExceeded`; then nothing is charged.
        """
        asked = coverage_by_name(intervals)
        bases = sum(each.bases for each in asked.values())
        if 0 < limits.regions_per_request < (len(intervals) if regions is None else regions):
            raise QuotaExceeded("quota.regions_per_request")
        if 0 < limits.bases_per_request < bases:
            raise QuotaExceeded("quota.bases_per_request")
        rate, daily = limits.requests_per_minute, limits.bases_per_day
        ever = limits.distinct_bases_per_object
        if not (rate or daily or ever):
            return Charged(bases)
        names = self._pseudonyms(identities)
        self._tidy(connection, now)
        grown: list[Growth] = []
        counted: list[tuple[str, int, dict[str, int]]] = []
        if rate or daily:
            amounts = Amounts(connection, names, dataset, now)
            if rate:
                if amounts.most(REQUESTS, 1) > rate:
                    raise QuotaExceeded("quota.requests_per_minute", until_next_minute(now))
                counted.append((REQUESTS, minute_of(now), dict.fromkeys(names, 1)))
            if daily:
                today = growth(connection, Owners(names, dataset, object_id, day_of(now)), asked)
                if today.new and amounts.most(BASES, today.added) > daily:
                    raise QuotaExceeded("quota.bases_per_day", until_next_day(now))
                counted.append((BASES, day_of(now), today.added))
                grown.append(today)
        if ever:
            always = growth(connection, Owners(names, dataset, object_id, ALWAYS), asked)
            if always.new and always.total(connection, ever) > ever:
                raise QuotaExceeded("quota.distinct_bases_per_object")
            grown.append(always)
        for each in grown:
            each.put(connection)
        for counter, period, added in counted:
            quota_counters.add(connection, dataset, counter, period, added)
        return Charged(bases, max((each.new for each in grown), default=0))

    def begin_stream(
        self,
        connection: Connection,
        *,
        identities: Iterable[Identity],
        dataset: str,
        limits: Limits,
        now: float,
        length: int = 0,
    ) -> str:
        """A lease for a data block that is about to be sent; `length` bytes are charged. Once that
        is committed, `hold` it.

        Raises `QuotaExceeded`; then nothing is charged.
        """
        names = self._pseudonyms(identities)
        streams, daily = limits.concurrent_streams, limits.bytes_per_day
        if 0 < streams <= self._leases.count(connection, names, dataset, now):
            raise QuotaExceeded("quota.concurrent_streams", _RETRY_SECONDS)
        if daily:
            self._tidy(connection, now)
            # At least a byte: when all is spent, nothing more begins.
            if Amounts(connection, names, dataset, now).most(BYTES, max(1, length)) > daily:
                raise QuotaExceeded("quota.bytes_per_day", until_next_day(now))
            charged = dict.fromkeys(names, length)
            quota_counters.add(connection, dataset, BYTES, day_of(now), charged)
        lease = Lease(names, dataset, day_of(now), length if daily else None)
        return self._leases.begin(connection, lease, now)

    def hold(self, lease: str) -> None:
        """Renew a lease until its stream ends. One that is not held, because nobody heard of it,
        counts for a minute."""
        self._leases.hold(lease)

    async def end_stream(self, lease: str, sent: int) -> None:
        """End a lease, and charge the bytes that were sent instead of those announced.

        If that fails, it is logged: the lease expires by itself, and what was announced stays
        charged, as it does when the process dies.
        """
        self._leases.abandon([lease])

        def work(connection: Connection) -> None:
            ended = self._leases.end(connection, lease)
            if ended is not None and ended.reserved is not None:
                change = dict.fromkeys(ended.identities, sent - ended.reserved)
                quota_counters.add(connection, ended.dataset, BYTES, ended.day, change)

        try:
            await self._database.execute(work, writing=True)
        except DatabaseUnavailable as error:
            _log.warning("a stream that ended still counts for a minute: %s", error)

    async def heartbeat(self) -> frozenset[str]:
        """Renew the leases of this process if it is time to; call it every second or so.

        Gives those that have expired nevertheless, because nobody could renew them in time: others
        may have begun in their place. Raises `DatabaseUnavailable`.
        """
        if not self._leases.has_any or time.monotonic() < self._heartbeat_due:
            return frozenset()
        now = self._clock()
        lost = await self._database.execute(
            lambda connection: self._leases.renew(connection, now), writing=True
        )
        self._leases.abandon(lost)
        self._heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
        return lost

    def _pseudonyms(self, identities: Iterable[Identity]) -> tuple[str, ...]:
        """What stands for identities; nobody is an identity, too."""
        names = {
            hmac.digest(self._key, f"quota {iss}\0{sub}".encode(), "sha256").hex()[:32]
            for iss, sub in identities
        }
        return tuple(sorted(names)) or self._pseudonyms([("", "")])

    def _tidy(self, connection: Connection, now: float) -> None:
        """Once in an hour, forget what no limit counts any more."""
        hour = int(now // 3600)
        if hour != self._tidied:
            self._tidied = hour
            quota_coverage.forget(connection, now)
            quota_counters.forget(connection, now)
