"""What participants have withdrawn, and which objects are withheld for it.

Withdrawals and restorations are *statements*, in the order in which they were recorded. Of those
that are in effect, the one recorded last counts: a withdrawal holds from its date on until a later
statement says otherwise, and nothing recorded is ever changed.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from auth.consent_files import SampleMap, Withdrawals

WITHDRAWN = "consent.withdrawn"
JOINT = "consent.joint"
UNMAPPED = "consent.unmapped"
STALE = "consent.stale"


class Action(StrEnum):
    """What a statement does."""

    WITHDRAW = "withdraw"
    RESTORE = "restore"


class Kind(StrEnum):
    """What a statement is about: a person, one sample of theirs, or one object."""

    PARTICIPANT = "participant"
    SAMPLE = "sample"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Statement:
    """A withdrawal or a restoration. `dataset` "" is every dataset; `effective_from` is in seconds
    since the epoch."""

    action: Action
    kind: Kind
    value: str
    dataset: str = ""
    effective_from: int = 0

    def is_in_effect(self, dataset: str, at: float) -> bool:
        """Whether it says anything of a dataset at a time."""
        return self.dataset in ("", dataset) and self.effective_from <= at


@dataclass(frozen=True, slots=True)
class DatasetConsent:
    """What is known of the participants of one dataset.

    `samples`: None where nobody mapped its objects. `is_listed`: it has a list of withdrawals,
    which was last known to be complete at `as_of` (seconds since the epoch; None: never yet), and
    which is stale `max_age` seconds later (0: never).
    """

    samples: SampleMap | None = None
    is_listed: bool = False
    max_age: int = 0
    as_of: float | None = None

    @property
    def stale_from(self) -> float:
        """When nothing of the dataset may leave any more, for its list is too old."""
        if not self.is_listed:
            return math.inf
        if self.as_of is None:
            return -math.inf
        return self.as_of + self.max_age if self.max_age else math.inf


@dataclass(frozen=True, slots=True)
class _View:
    """What holds for one dataset: the objects withheld and why, whether all of it is, and whether
    an object must be in the map."""

    held: Mapping[str, str]
    is_stale: bool
    mapped: Mapping[str, object] | None


class ConsentState:
    """Implements `auth.decision.Consent`: what holds from a time on, until something changes.

    `statements` come in the order in which they were recorded. Within `[since, until)` an answer
    costs a look into a dictionary; for another time all is worked out again.
    """

    def __init__(
        self,
        datasets: Mapping[str, DatasetConsent],
        statements: Iterable[Statement],
        at: float,
    ) -> None:
        self._datasets = dict(datasets)
        self._statements = tuple(statements)
        self.since = at
        self.until = min((each for each in self._turns() if each > at), default=math.inf)
        self._about: dict[tuple[Kind, str], list[Statement]] = {}
        for statement in self._statements:
            self._about.setdefault((statement.kind, statement.value), []).append(statement)
        named = {each.dataset for each in self._statements if each.dataset}
        self._views = {
            name: self._view(name, self._datasets.get(name, DatasetConsent()))
            for name in named | self._datasets.keys()
        }
        self._elsewhen: ConsentState | None = None

    @cached_property
    def version(self) -> str:
        """`sha256:` and a digest of all that answers follow from; the same on every replica."""
        content = [
            sorted(
                (
                    name,
                    each.samples.digest if each.samples else "",
                    each.is_listed,
                    self.is_stale(name),
                )
                for name, each in self._datasets.items()
            ),
            [
                (each.action, each.kind, each.value, each.dataset, each.effective_from)
                for each in self._statements
                if each.effective_from <= self.since
            ],
        ]
        text = json.dumps(content, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def is_stale(self, dataset: str) -> bool:
        """Whether the dataset's list is too old to go by."""
        view = self._views.get(dataset)
        return view is not None and view.is_stale

    def withheld(self, dataset: str, object_id: str, at: float) -> str | None:
        """Why no part of the object may leave at a time; see `auth.decision.Consent`.

        `object_id` is as policy names objects, `reads/x`. What was stated or mapped of `x` alone
        holds for it, too.
        """
        if not self.since <= at < self.until:
            return self._at(at).withheld(dataset, object_id, at)
        alone = object_id.partition("/")[2]
        if self._is_withdrawn(Kind.OBJECT, object_id, dataset) or (
            self._is_withdrawn(Kind.OBJECT, alone, dataset)
        ):
            return WITHDRAWN
        view = self._views.get(dataset)
        if view is None:
            return None
        reason = view.held.get(object_id) or view.held.get(alone)
        if reason is not None:
            return reason
        if view.is_stale:
            return STALE
        mapped = view.mapped
        return None if mapped is None or object_id in mapped or alone in mapped else UNMAPPED

    def _turns(self) -> Iterator[float]:
        """The times at which an answer may change by itself."""
        yield from (each.effective_from for each in self._statements)
        yield from (each.stale_from for each in self._datasets.values())

    def _at(self, at: float) -> "ConsentState":
        state = self._elsewhen
        if state is None or not state.since <= at < state.until:
            state = self._elsewhen = ConsentState(self._datasets, self._statements, at)
        return state

    def _is_withdrawn(self, kind: Kind, value: str, dataset: str) -> bool:
        for statement in reversed(self._about.get((kind, value), ())):
            if statement.is_in_effect(dataset, self.since):
                return statement.action is Action.WITHDRAW
        return False

    def _view(self, name: str, dataset: DatasetConsent) -> _View:
        withdrawn = {
            key
            for key in self._about
            if key[0] is not Kind.OBJECT and self._is_withdrawn(*key, name)
        }
        rows = dataset.samples.rows if dataset.samples is not None else {}
        held = {
            object_id: reason
            for object_id, pairs in (rows.items() if withdrawn else ())
            if (reason := _reason(pairs, withdrawn)) is not None
        }
        # Nobody can say whether those who have withdrawn are in an object that is not in the map.
        # A statement for every dataset does not reach into those that have neither map nor list.
        asks_for_map = dataset.is_listed or any(
            dataset.samples is not None or self._names(name, *key) for key in withdrawn
        )
        is_stale = dataset.stale_from <= self.since
        return _View(held, is_stale, rows if asks_for_map else None)

    def _names(self, dataset: str, kind: Kind, value: str) -> bool:
        return any(each.dataset == dataset for each in self._about[kind, value])


def _reason(pairs: Sequence[tuple[str, str]], withdrawn: set[tuple[Kind, str]]) -> str | None:
    """Why an object of these samples and participants is withheld."""
    count = sum(
        (Kind.PARTICIPANT, participant) in withdrawn or (Kind.SAMPLE, sample) in withdrawn
        for sample, participant in pairs
    )
    if not count:
        return None
    return WITHDRAWN if count == len(pairs) else JOINT


def statements_of(withdrawals: Withdrawals, dataset: str) -> tuple[Statement, ...]:
    """A dataset's list as statements."""
    return tuple(
        Statement(Action.WITHDRAW, Kind.PARTICIPANT, participant, dataset, effective_from)
        for participant, effective_from in withdrawals.rows
    )
