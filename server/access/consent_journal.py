"""The statements of consent in the database: recorded, taken from lists, read again.

All that writes here needs a writing transaction (`Database.run(…, writing=True)`): then the order
of ids is that in which others see them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, insert, select, text

from auth.consent import Action, Kind, Statement
from auth.consent_files import MAX_VALUE, Withdrawals, check_value
from auth.errors import InvalidConfiguration
from server.access.consent_tables import LISTS, STATEMENTS

MAX_REASON = 1024

_MARK = select(
    select(func.max(STATEMENTS.c.id)).scalar_subquery(),
    select(func.count()).select_from(LISTS).scalar_subquery(),
    select(func.sum(LISTS.c.as_of)).scalar_subquery(),
)
_CONFIRM = text(
    f"INSERT INTO {LISTS.name} (dataset, as_of) VALUES (:dataset, :as_of)"  # noqa: S608
    " ON CONFLICT (dataset) DO UPDATE SET as_of = excluded.as_of"
    f" WHERE excluded.as_of > {LISTS.name}.as_of"
)

Mark = tuple[int, int, float]
"""What differs when anything was written: the last id, the number of lists, their ages."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A statement as it was written down: `listed` by its dataset's list, or recorded by somebody
    at a time (seconds since the epoch) for a reason."""

    id: int
    statement: Statement
    listed: bool
    reason: str
    by: str
    at: float

    @property
    def in_force(self) -> Statement:
        """The statement, without its date if that had come when it was recorded: a replica whose
        clock is behind does not wait for it."""
        statement = self.statement
        if 0 < statement.effective_from <= self.at:
            return replace(statement, effective_from=0)
        return statement


class ListShrunk(InvalidConfiguration):
    """A list lacks what it held before."""


def checked(statement: Statement) -> Statement:
    """The statement without spaces around its names. Raises `ValueError` for names that cannot
    be."""
    limit = 4 * MAX_VALUE if statement.kind is Kind.OBJECT else MAX_VALUE
    try:
        value = check_value(statement.value, limit)
    except ValueError as error:
        raise ValueError(f"the {statement.kind} {error}") from None
    try:
        dataset = check_value(statement.dataset, 4 * MAX_VALUE) if statement.dataset else ""
    except ValueError as error:
        raise ValueError(f"the dataset {error}") from None
    return replace(statement, value=value, dataset=dataset)


def record(
    connection: Connection, statement: Statement, *, reason: str, by: str, now: float
) -> None:
    """Write a statement down. Raises `ValueError` for names that cannot be."""
    row = _row(checked(statement), now)
    row.update(listed=False, reason=reason[:MAX_REASON], recorded_by=by)
    connection.execute(insert(STATEMENTS), [row])


def take_list(
    connection: Connection, dataset: str, withdrawals: Withdrawals, as_of: float, now: float
) -> int:
    """Write down what a list says and did not say before; how much that is.

    Raises `ListShrunk`; then nothing of it is taken.
    """
    query = select(STATEMENTS.c.value, STATEMENTS.c.effective_from).where(
        STATEMENTS.c.dataset == dataset, STATEMENTS.c.listed
    )
    known = {(row.value, row.effective_from) for row in connection.execute(query)}
    missing = len(known.difference(withdrawals.rows))
    if missing:
        raise ListShrunk(f"{missing} of {len(known)} lines that it held before are gone")
    rows = [
        _row(Statement(Action.WITHDRAW, Kind.PARTICIPANT, participant, dataset, since), now)
        for participant, since in withdrawals.rows
        if (participant, since) not in known
    ]
    if rows:
        connection.execute(insert(STATEMENTS), rows)
    connection.execute(_CONFIRM, {"dataset": dataset, "as_of": as_of})
    return len(rows)


def mark(connection: Connection) -> Mark:
    """What to compare, to see whether anything was written."""
    last, lists, ages = connection.execute(_MARK).one()
    return last or 0, lists, ages or 0.0


def read(connection: Connection, after: int = 0) -> Iterable[Recorded]:
    """The statements with greater ids, in their order."""
    query = select(STATEMENTS).where(STATEMENTS.c.id > after).order_by(STATEMENTS.c.id)
    for row in connection.execute(query):
        statement = Statement(
            Action(row.action), Kind(row.kind), row.value, row.dataset, row.effective_from
        )
        yield Recorded(row.id, statement, row.listed, row.reason, row.recorded_by, row.recorded)


def ages(connection: Connection) -> dict[str, float]:
    """When the list of each dataset was last known to be complete."""
    return {row.dataset: row.as_of for row in connection.execute(select(LISTS))}


def _row(statement: Statement, now: float) -> dict[str, object]:
    return {
        "action": str(statement.action),
        "kind": str(statement.kind),
        "value": statement.value,
        "dataset": statement.dataset,
        "effective_from": statement.effective_from,
        "listed": True,
        "reason": "",
        "recorded_by": "",
        "recorded": now,
    }
