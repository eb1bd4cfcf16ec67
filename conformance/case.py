"""What a case is: a check of one sentence of a specification, and what can come of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.site import Site


class Requirement(IntEnum):
    """How much a specification asks for something, from what every server owes to what none does.

    `EXACT` lies beyond the protocol, which allows an answer to hold more than was asked for.
    """

    MUST = 0
    SHOULD = 1
    MAY = 2
    EXACT = 3


class Outcome(StrEnum):
    """What came of a case. `WARNED` is a failure of something the level does not ask for; `ERROR`
    a case that could not be judged, because the server was away or the suite itself is wrong."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"
    ERROR = "error"


class Failed(Exception):
    """The server does not do what the case asks for; says what it did."""


class Skipped(Exception):
    """There is nothing to judge the case by: what it is about is not offered, or the description
    names no data for it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One check. `name` is stable, dotted, and begins with the protocol; `clause` says where the
    specification asks for it; `title` is one sentence that is true of a server that passes."""

    name: str
    requirement: Requirement
    clause: str
    title: str
    check: "Callable[[Site], None]"

    @property
    def protocol(self) -> str:
        """`htsget`, `refget` or `seqcol`."""
        return self.name.partition(".")[0]

    @property
    def group(self) -> str:
        """The name without its last part: what a report puts together."""
        return self.name.rpartition(".")[0]


def case(
    name: str, requirement: Requirement, clause: str
) -> "Callable[[Callable[[Site], None]], Case]":
    """Make a case of a function that raises `Failed` or `Skipped`; its docstring is the title."""

    def make(check: "Callable[[Site], None]") -> Case:
        title = " ".join((check.__doc__ or "").split())
        return Case(name, requirement, clause, title, check)

    return make


def cases_of(module: ModuleType) -> Iterator[Case]:
    """The cases that a module defines, in its order."""
    return (each for each in vars(module).values() if isinstance(each, Case))


def require(holds: bool, complaint: str) -> None:
    """Raise `Failed` with the complaint unless the condition holds."""
    if not holds:
        raise Failed(complaint)
