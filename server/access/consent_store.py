"""Consent as it stands: what was recorded in the database, and the lists of the custodian.

What a list says is taken into the database, where it stays said: a list that shrank is noticed by
every replica and after every restart, and one that cannot be read takes nothing back.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection

from auth.audit.record import Event
from auth.consent import STALE, ConsentState, DatasetConsent, Statement
from auth.decision import Consent
from auth.errors import InvalidConfiguration
from auth.policy.document import Dataset
from server.access import consent_journal
from server.access.consent_files import WatchedList, WatchedMap
from server.access.consent_journal import Mark
from server.database import Database

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """A dataset with its files; `problem`: why one of them cannot be used, for the operator."""

    dataset: Dataset
    samples: WatchedMap | None
    withdrawn: WatchedList | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Behind:
    """Consent while policy is newer: it stands for datasets that are as they were, and no other."""

    state: ConsentState | None
    known: Mapping[str, Dataset]
    named: Mapping[str, Dataset]

    @property
    def version(self) -> str:
        return "" if self.state is None else self.state.version

    def withheld(self, dataset: str, object_id: str, at: float) -> str | None:
        if self.state is None or self.known.get(dataset) != self.named.get(dataset):
            return STALE
        return self.state.withheld(dataset, object_id, at)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The statements read so far."""

    mark: Mark = (-1, 0, 0.0)
    statements: list[Statement] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)


class ConsentStore:
    """What participants have withdrawn, kept up to date by `refresh`.

    `datasets` gives those of the policy in force. `note` writes an audit record of what changed, or
    could not be taken. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        datasets: Callable[[], Mapping[str, Dataset]],
        note: Callable[[Event], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._datasets = datasets
        self._note = note or (lambda event: None)
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._recorded = _Recorded()
        self._is_due = True  # to be worked out again
        self._state: ConsentState | None = None
        self._seen: Mapping[str, Dataset] = {}  # what the state is of
        self.fresh_at = 0.0
        """When it was last known to be up to date, in seconds since the epoch."""

    @property
    def current(self) -> Consent:
        """What holds now. Before the first `refresh`, and of datasets that policy has changed since
        the last one, all is withheld as `consent.stale`."""
        named = self._datasets()
        if self._state is not None and named is self._seen:
            return self._state
        return _Behind(self._state, self._seen, named)

    async def refresh(self) -> bool:
        """Look whether anything has changed, at the cost of a query and of a look at each file;
        whether the version is another now.

        Raises `DatabaseUnavailable`, and the first time `InvalidConfiguration` for a list that
        cannot be used; later on that is an alert, and what was before stays.
        """
        return await asyncio.to_thread(self._look)

    def record(
        self, connection: Connection, statement: Statement, reason: str = "", by: str = ""
    ) -> None:
        """Write a statement down, in a writing transaction. It holds when that is committed, and
        every replica has looked. Raises `ValueError` for names that cannot be."""
        now = self._clock()
        consent_journal.record(connection, statement, reason=reason, by=by, now=now)

    # What follows runs in a thread.

    def _look(self) -> bool:
        with self._lock:
            now = self._clock()
            named = self._datasets()
            self._watch(named)
            for name, watched in self._watched.items():
                self._look_at_map(name, watched)
                self._look_at_list(name, watched)
            self._database.run(self._read_statements)
            before = state = self._state
            if before is None:
                self._check()
            if state is None or self._is_due or not state.since <= now < state.until:
                state = ConsentState(self._definitions(), self._recorded.statements, now)
                self._alert(before, state)
            has_changed = before is None or state.version != before.version
            self._state, self._seen, self._is_due = state, named, False
            self.fresh_at = now
            return has_changed

    def _watch(self, named: Mapping[str, Dataset]) -> None:
        """Take up the datasets that policy names now."""
        if named is self._seen:
            return
        watched = {}
        for name, dataset in named.items():
            known = self._watched.get(name)
            if known is None or known.dataset != dataset:
                self._is_due = True
                known = _Watched(
                    dataset,
                    None if dataset.samples is None else WatchedMap(dataset.samples),
                    None if dataset.withdrawn is None else WatchedList(dataset.withdrawn),
                )
            watched[name] = known
        self._is_due |= watched.keys() != self._watched.keys()
        self._watched = watched

    def _look_at_map(self, name: str, watched: _Watched) -> None:
        samples = watched.samples
        if samples is None:
            return
        try:
            self._is_due |= samples.look()
        except InvalidConfiguration as error:
            self._refuse(name, watched, f"{samples.path}: {error}", "consent.map_refused")

    def _look_at_list(self, name: str, watched: _Watched) -> None:
        withdrawn = watched.withdrawn
        if withdrawn is None:
            return
        try:
            found = withdrawn.look()
            if found is None:
                return
            rows, modified = found
            now = self._clock()
            work = partial(
                consent_journal.take_list,
                dataset=name,
                withdrawals=rows,
                as_of=min(modified, now),
                now=now,
            )
            count = self._database.run(work, writing=True)
        except InvalidConfiguration as error:
            if withdrawn.refuse():
                self._refuse(name, watched, f"{withdrawn.path}: {error}", "consent.list_refused")
            return
        withdrawn.take()
        if count:
            self._note({"event": "consent.updated", "dataset": name, "count": count})

    def _read_statements(self, connection: Connection) -> None:
        """Read what was written since the last time, by whomever."""
        known = self._recorded
        mark = consent_journal.mark(connection)
        if mark == known.mark:
            return
        if mark[0] < known.mark[0]:  # another database in its place
            known = _Recorded()
        new = [each.in_force for each in consent_journal.read(connection, known.mark[0])]
        ages = consent_journal.ages(connection)
        self._recorded = _Recorded(mark, [*known.statements, *new], ages)
        self._is_due = True

    def _definitions(self) -> dict[str, DatasetConsent]:
        found = {}
        for name, watched in self._watched.items():
            samples = watched.samples.current if watched.samples is not None else None
            if watched.samples is not None and samples is None:
                found[name] = DatasetConsent(is_listed=True)  # stale: nobody knows whose data it is
            else:
                found[name] = DatasetConsent(
                    samples,
                    watched.withdrawn is not None,
                    watched.dataset.consent_max_age,
                    self._recorded.ages.get(name),
                )
        return found

    def _check(self) -> None:
        """Refuse to begin without lists that never could be read."""
        for name, each in self._definitions().items():
            if each.is_listed and each.as_of is None:
                raise InvalidConfiguration(self._watched[name].problem)

    def _refuse(self, name: str, watched: _Watched, problem: str, rule: str) -> None:
        watched.problem = problem
        _log.error("%s: not taken, what was before stays: %s", name, problem)
        self._note({"event": "consent.stale", "dataset": name, "rule": rule})

    def _alert(self, before: ConsentState | None, state: ConsentState) -> None:
        """Write down which lists have become too old."""
        for name in sorted(self._watched):
            if state.is_stale(name) and not (before is not None and before.is_stale(name)):
                _log.error("%s: the list of withdrawals is too old: nothing leaves", name)
                self._note({"event": "consent.stale", "dataset": name, "rule": STALE})
