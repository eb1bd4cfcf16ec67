"""What is counted by the minute and by the day, in the database: requests, bases and bytes."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, text

from auth.quota import day_of, minute_of
from server.access.quota_tables import COUNTERS

REQUESTS, BASES, BYTES = "requests", "bases", "bytes"

_OF_NOW = select(COUNTERS.c.identity, COUNTERS.c.counter, COUNTERS.c.amount).where(
    COUNTERS.c.identity.in_(bindparam("identities", expanding=True)),
    COUNTERS.c.dataset == bindparam("dataset"),
    or_(
        and_(COUNTERS.c.counter == REQUESTS, COUNTERS.c.period == bindparam("minute")),
        and_(COUNTERS.c.counter != REQUESTS, COUNTERS.c.period == bindparam("day")),
    ),
)
_ADD = text(
    f"INSERT INTO {COUNTERS.name} (identity, dataset, counter, period, amount)"  # noqa: S608
    " VALUES (:identity, :dataset, :counter, :period, :amount)"
    " ON CONFLICT (identity, dataset, counter, period)"
    f" DO UPDATE SET amount = {COUNTERS.name}.amount + excluded.amount"
)
_OLD = delete(COUNTERS).where(
    or_(
        and_(COUNTERS.c.counter == REQUESTS, COUNTERS.c.period < bindparam("minute")),
        and_(COUNTERS.c.counter.in_((BASES, BYTES)), COUNTERS.c.period < bindparam("day")),
    )
)


class Amounts:
    """What each identity of a person has had by now, in this minute and on this day."""

    __slots__ = ("_found", "_identities")

    def __init__(
        self, connection: Connection, identities: Sequence[str], dataset: str, now: float
    ) -> None:
        parameters = {"identities": identities, "dataset": dataset, **_periods(now)}
        rows = connection.execute(_OF_NOW, parameters)
        self._found = {(row.identity, row.counter): int(row.amount) for row in rows}
        self._identities = identities

    def most(self, counter: str, added: Mapping[str, int] | int) -> int:
        """The most that any identity has had when so much is added to it."""
        return max(
            self._found.get((identity, counter), 0)
            + (added if isinstance(added, int) else added.get(identity, 0))
            for identity in self._identities
        )


def add(
    connection: Connection, dataset: str, counter: str, period: int, added: Mapping[str, int]
) -> None:
    """Charge identities, or give back what is below 0."""
    rows = [
        {
            "identity": identity,
            "dataset": dataset,
            "counter": counter,
            "period": period,
            "amount": amount,
        }
        for identity, amount in added.items()
        if amount
    ]
    if rows:
        connection.execute(_ADD, rows)


def forget(connection: Connection, now: float) -> None:
    """Remove what was counted on days, and in minutes, before the last ones."""
    periods = {name: number - 1 for name, number in _periods(now).items()}
    connection.execute(_OLD, periods)


def _periods(now: float) -> dict[str, int]:
    return {"minute": minute_of(now), "day": day_of(now)}
