"""What policy permits, position by position: an oracle that shares nothing with the server.

A reference is an array with a cell for each base and one for all beyond it; rules set cells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tests.server.slicing.sorted_streams import LENGTHS
from tests.support.oracle import UNPLACED, Oracle

OTHERS = "any other reference"
Place: TypeAlias = tuple[str, int, int | None]
"""Name, 0-based start, end beyond the last base; None: without end. `UNPLACED` stands alone."""
EVERYTHING: Place = ("all", 0, None)

_CELLS = {**LENGTHS, OTHERS: 0, UNPLACED: 0}


class Area:
    """A set of positions, and of the reads without one."""

    def __init__(self, places: Iterable[Place] | None = ()) -> None:
        """`places` None: all that a file can hold."""
        self.cells: dict[str, npt.NDArray[np.bool_]] = {
            name: np.full(length + 1, places is None) for name, length in _CELLS.items()
        }
        for name, start, end in places or ():
            if name == EVERYTHING[0]:
                for each in set(_CELLS) - {UNPLACED}:
                    self.cells[each][:] = True
            else:
                self.cells[name][start:end] = True

    def __or__(self, other: "Area") -> "Area":
        return self._with({name: mine | other.cells[name] for name, mine in self.cells.items()})

    def __and__(self, other: "Area") -> "Area":
        return self._with({name: mine & other.cells[name] for name, mine in self.cells.items()})

    def __sub__(self, other: "Area") -> "Area":
        return self._with({name: mine & ~other.cells[name] for name, mine in self.cells.items()})

    def __bool__(self) -> bool:
        return any(each.any() for each in self.cells.values())

    def touches(self, name: str, start: int, end: int) -> bool:
        """Whether anything of an interval belongs to it."""
        return bool(self.cells[name][start:end].any())

    def _with(self, cells: dict[str, npt.NDArray[np.bool_]]) -> "Area":
        made = Area()
        made.cells = cells
        return made


@dataclass(frozen=True)
class Rule:
    """A grant; without `subject` for everybody. `formats`, `classes` as in the policy."""

    id: str
    subject: str
    dataset: str
    endpoints: tuple[str, ...]
    formats: tuple[str, ...]
    classes: tuple[str, ...]
    places: tuple[Place, ...]
    header: str
    clips: bool


@dataclass(frozen=True)
class Denial:
    """What a dataset's grants do not give, but for some of them."""

    id: str
    dataset: str
    places: tuple[Place, ...]
    except_for: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A request; "" is nobody. `places` None: everything; `header`: nothing but the header."""

    subject: str
    endpoint: str
    format: str
    places: tuple[Place, ...] | None
    header: bool
    post: bool


@dataclass(frozen=True)
class Verdict:
    """The status of the answer, and if that is 200: by which grants at most, how the header is
    shown, whether less is given than was asked for, and what."""

    status: int
    header: str = "minimal"
    clipped: bool = False
    area: Area = field(default_factory=Area)


def judge(
    rules: Sequence[Rule], denials: Sequence[Denial], datasets: Sequence[str], asked: Asked
) -> Verdict:
    """What becomes of a request for an object of some datasets (security.md 13.3)."""
    known = [
        rule
        for rule in rules
        if rule.dataset in datasets
        and rule.subject in ("", asked.subject)
        and asked.endpoint in rule.endpoints
    ]
    if not known:
        return Verdict(404 if asked.subject else 401)
    wanted = Area(asked.places)
    if asked.endpoint == "variants":
        wanted.cells[UNPLACED][:] = False
    groups: dict[tuple[str, str], list[Rule]] = {}
    for rule in known:
        if asked.format in rule.formats and ("header" if asked.header else "body") in rule.classes:
            groups.setdefault((rule.dataset, rule.header), []).append(rule)

    def united(some: Iterable[Rule]) -> Area:
        found = Area()
        for rule in some:
            own = Area(rule.places)
            for denial in denials:
                if denial.dataset in datasets and rule.id not in denial.except_for:
                    own = own - Area(denial.places)
            found = found | own
        return found

    for (_, header), group in groups.items():
        if asked.header:
            return Verdict(200, header)
        if not wanted - united(group):
            return Verdict(200, header, area=wanted)
    for (_, header), group in groups.items():
        part = united(rule for rule in group if rule.clips) & wanted
        if part:
            return Verdict(200, header, clipped=True, area=part)
    return Verdict(403)


def records_in(oracle: Oracle, area: Area) -> list[str]:
    """The records of a file that touch an area, in file order."""
    names = {number: name for name, number in oracle.numbers.items()}
    rows = zip(oracle.references, oracle.starts, oracle.ends, oracle.records, strict=True)
    return [
        record
        for reference, start, end, record in rows
        if (
            area.touches(UNPLACED, 0, 1)
            if names[int(reference)] == UNPLACED
            else area.touches(names[int(reference)], int(start), int(end))
        )
    ]
