"""The bases that people have had, in the database: what a request adds to them, and their total."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, text

from auth.quota import Coverage, day_of
from server.access.quota_tables import COVERAGE

ALWAYS = 0
"""The number of no day: what was had is had for ever."""

_MOST_NAMED = 100
_NOTHING = Coverage().pack()

_OF_OBJECT = select(COVERAGE.c.identity, COVERAGE.c.reference, COVERAGE.c.packed).where(
    COVERAGE.c.identity.in_(bindparam("identities", expanding=True)),
    COVERAGE.c.dataset == bindparam("dataset"),
    COVERAGE.c.object == bindparam("object"),
    COVERAGE.c.day == bindparam("day"),
)
_OF_REFERENCES = _OF_OBJECT.where(COVERAGE.c.reference.in_(bindparam("references", expanding=True)))
_TOTALS = _OF_OBJECT.with_only_columns(func.sum(COVERAGE.c.bases)).group_by(COVERAGE.c.identity)
_PUT = text(
    f"INSERT INTO {COVERAGE.name}"  # noqa: S608
    " (identity, dataset, object, day, reference, bases, packed)"
    " VALUES (:identity, :dataset, :object, :day, :reference, :bases, :packed)"
    " ON CONFLICT (identity, dataset, object, day, reference)"
    " DO UPDATE SET bases = excluded.bases, packed = excluded.packed"
)


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose coverage of what: identities (pseudonyms) of one person, and an object on a day."""

    identities: Sequence[str]
    dataset: str
    object_id: str
    day: int

    def parameters(self) -> dict[str, object]:
        """Of the statements here."""
        return {
            "identities": self.identities,
            "dataset": self.dataset,
            "object": self.object_id,
            "day": self.day,
        }


class _Step(NamedTuple):
    """How one coverage grows: bases added, bases then, and all of it then."""

    added: int
    bases: int
    packed: bytes


@dataclass(slots=True)
class Growth:
    """What a request adds: `new` bases to what its owners have had together, and to what each has
    had by itself (`added`, by identity). `grown` is what is to be kept, by identity and reference;
    nothing is written before `put`."""

    owners: Owners
    new: int = 0
    added: dict[str, int] = field(default_factory=dict)
    grown: dict[tuple[str, str], _Step] = field(default_factory=dict)

    def total(self, connection: Connection, most: int) -> int:
        """Bases of the object that the owners have had together, those of the request included.

        Exact if it is more than `most`, and otherwise not less than it is.
        """
        owners = self.owners
        totals = connection.execute(_TOTALS, owners.parameters()).scalars().all()
        bound = int(sum(totals)) + self.new
        if bound <= most or len(owners.identities) == 1:
            return bound
        together: dict[str, Coverage] = {}
        seen: set[tuple[str, bytes]] = set()
        for _, reference, packed in connection.execute(_OF_OBJECT, owners.parameters()):
            if (reference, packed) not in seen:
                seen.add((reference, packed))
                before = together.get(reference, Coverage())
                together[reference] = before.union(Coverage.unpack(packed))
        return sum(each.bases for each in together.values()) + self.new

    def put(self, connection: Connection) -> None:
        """Write down what has grown."""
        owners = self.owners
        rows = [
            {
                "identity": identity,
                "dataset": owners.dataset,
                "object": owners.object_id,
                "day": owners.day,
                "reference": reference,
                "bases": step.bases,
                "packed": step.packed,
            }
            for (identity, reference), step in self.grown.items()
        ]
        if rows:
            connection.execute(_PUT, rows)


def growth(connection: Connection, owners: Owners, asked: Mapping[str, Coverage]) -> Growth:
    """What the bases of a request, by the name of their reference, add for its owners."""
    parameters = owners.parameters()
    if len(asked) <= _MOST_NAMED:
        rows = connection.execute(_OF_REFERENCES, {**parameters, "references": list(asked)})
    else:
        rows = connection.execute(_OF_OBJECT, parameters)
    had = {(identity, reference): packed for identity, reference, packed in rows}
    found = Growth(owners, added=dict.fromkeys(owners.identities, 0))
    for reference, coverage in asked.items():
        together = Coverage()
        steps: dict[bytes, _Step] = {}  # linked identities have mostly had the same
        for identity in owners.identities:
            packed = had.get((identity, reference), _NOTHING)
            step = steps.get(packed)
            if step is None:
                before = Coverage.unpack(packed)
                steps[packed] = step = _step(before, coverage)
                together = before if len(steps) == 1 else together.union(before)
            if step.added:
                found.added[identity] += step.added
                found.grown[identity, reference] = step
        if len(steps) == 1:
            found.new += next(iter(steps.values())).added
        else:
            found.new += together.union(coverage).bases - together.bases
    return found


def _step(before: Coverage, asked: Coverage) -> _Step:
    after = before.union(asked)
    bases = after.bases
    return _Step(bases - before.bases, bases, after.pack())


def forget(connection: Connection, now: float) -> None:
    """Remove what was had on days before the last one."""
    old = COVERAGE.c.day.between(ALWAYS + 1, day_of(now) - 2)
    connection.execute(delete(COVERAGE).where(old))
