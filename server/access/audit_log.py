"""The audit: what is to be on disk before a byte leaves, and what may be written a little later.

A thread of its own writes. All that is asked for while a transaction is being committed goes into
the next one, so that many share the wait for the disk and one alone does not wait for others.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from auth.audit.record import Draft, Event
from server.access.audit_chain import CHAIN, append
from server.access.audit_notary import Notary, timestamp
from server.database import Database, DatabaseUnavailable

T = TypeVar("T")

WAIT_SECONDS = 5.0
"""How long a caller waits for the disk before the audit counts as unavailable."""

_MOST_ASKED = 5_000
_MOST_NOTED = 20_000
_AT_ONCE = 500
_NOTES_SECONDS = 0.1
_AGAIN_SECONDS = 1.0
_SPOILED = (DataError, IntegrityError, ProgrammingError)  # it is the record, not the database
_log = logging.getLogger(__name__)


class AuditUnavailable(DatabaseUnavailable):
    """The record could not be written, so what it is of must not happen."""

    def __init__(self, message: str = "the audit cannot be written") -> None:
        super().__init__(message)


@dataclass(slots=True, eq=False)
class _Request:
    """What somebody waits for."""

    drafts: list[Draft]
    work: Callable[[Connection], Any] | None
    future: asyncio.Future[Any]
    is_abandoned: bool = False


@dataclass(frozen=True, slots=True)
class _Refused:
    """How a request ended whose own work failed."""

    error: Exception


class _WorkBroke(Exception):
    """The work of one of several requests met an error of the database: nothing is certain."""


class AuditLog:
    """One chain of records, which several processes may append to.

    `database` must be `durable`, its `busy_seconds` at most `WAIT_SECONDS`. `signer` signs
    checkpoints, `checkpoints` is the folder they are copied to. `clock` gives seconds since the
    epoch. Every record gets the members `ts` and `server`.
    """

    def __init__(
        self,
        database: Database,
        *,
        server_id: str,
        version: str,
        signer: Ed25519PrivateKey | None = None,
        checkpoints: Path | None = None,
        clock: Callable[[], float] = time.time,
        chain: str = CHAIN,
        checkpoint_seconds: float = 60.0,
        checkpoint_records: int = 1000,
    ) -> None:
        self._database = database
        self._server = {"id": server_id, "version": version}
        self._chain = chain
        self._clock = clock
        self._notary = Notary(
            chain,
            signer,
            checkpoints,
            clock,
            every_seconds=checkpoint_seconds,
            every_records=checkpoint_records,
        )
        self._changed = threading.Condition()
        self._asked: deque[_Request] = deque()
        self._noted: deque[Draft] = deque()
        self._notes_due = 0.0  # 0: nothing is noted
        self._again = 0.0
        self._dropped: Counter[str] = Counter()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self.is_failing = False
        """Whether the last attempt to write failed."""

    async def start(self) -> None:
        """Begin to write, first that we started. Raises `AuditUnavailable`."""
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()
        try:
            await self.commit([{"event": "audit.started"}])
        except AuditUnavailable:
            await self._stop()
            raise

    async def close(self) -> None:
        """Write what was noted, that we stopped, and a last checkpoint, if that is possible."""
        if self._thread is None:
            return
        with contextlib.suppress(AuditUnavailable):
            await self.flush()
            await self.commit([{"event": "audit.stopped"}])
        await self._stop()

    async def _stop(self) -> None:
        thread = self._thread
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            self._thread = None
        lost = len(self._noted) + self._dropped.total()
        if lost:
            _log.error("the audit ends without %d records, which could not be written", lost)

    @overload
    async def commit(self, events: Sequence[Event], work: None = None) -> None: ...

    @overload
    async def commit(self, events: Sequence[Event], work: Callable[[Connection], T]) -> T: ...

    async def commit(
        self, events: Sequence[Event], work: Callable[[Connection], object] | None = None
    ) -> object:
        """Write events down for good, together with what `work` does to the database before.

        They are on disk when it returns, with what `work` made. What `work` raises comes out, and
        then nothing of either is written. `work` may be done again when another transaction was
        quicker. Raises `AuditUnavailable`, after `WAIT_SECONDS` at most; a record may exist then
        nonetheless, of an intent that came to nothing.
        """
        request = _Request(self._drafts(events), work, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._thread is None or self._is_closing:
                raise AuditUnavailable("the audit is not running")
            if len(self._asked) >= _MOST_ASKED:
                raise AuditUnavailable("too many wait for the audit")
            self._asked.append(request)
            self._changed.notify()
        try:
            done, _ = await asyncio.wait({request.future}, timeout=WAIT_SECONDS)
        finally:
            request.is_abandoned = True
        if not done:
            raise AuditUnavailable
        return request.future.result()

    def note(self, *events: Event) -> None:
        """Have events written soon; waits for nothing. From any thread.

        While nothing can be written some thousands are kept; what is more is counted, and the
        number is recorded.
        """
        drafts = self._drafts(events)
        with self._changed:
            for draft in drafts:
                if len(self._noted) < _MOST_NOTED:
                    self._noted.append(draft)
                else:
                    self._dropped[draft.event] += 1
            if not self._notes_due:
                self._notes_due = time.monotonic() + _NOTES_SECONDS
                self._changed.notify()
            elif len(self._noted) >= _AT_ONCE:
                self._changed.notify()

    async def flush(self) -> None:
        """Wait until all that was noted so far is written. Raises `AuditUnavailable`."""
        for _ in range(len(self._noted) // _AT_ONCE + 1):
            await self.commit([])

    def _drafts(self, events: Sequence[Event]) -> list[Draft]:
        ts = timestamp(self._clock())
        return [Draft({"ts": ts, "server": self._server, **event}) for event in events]

    # What follows runs in the thread.

    def _write_all(self) -> None:
        while not (self._is_closing and (self.is_failing or not (self._asked or self._noted))):
            requests, notes = self._next()
            try:
                self._write(requests, notes)
            except Exception:  # noqa: BLE001 - who waits must be told, and the thread live on
                _log.exception("the audit cannot be written")
                self._failed(requests, notes)
        _finish([(each, _Refused(AuditUnavailable())) for each in self._asked])
        self._asked.clear()
        if not self.is_failing:
            with contextlib.suppress(DatabaseUnavailable):
                self._database.run(partial(self._together, [], [], last=True), writing=True)
                self._notary.copy(self._database)

    def _next(self) -> tuple[list[_Request], list[Draft]]:
        """What to write now; nothing if only a checkpoint may be due."""
        with self._changed:
            while not (self._asked or self._is_closing):
                now = time.monotonic()
                waits = [] if self._notary.due is None else [self._notary.due - now]
                if len(self._noted) >= _AT_ONCE:
                    waits.append(0.0)
                elif self._noted:
                    waits.append(self._notes_due - now)
                wait = min(waits, default=None)
                if wait is not None and self.is_failing:
                    wait = max(wait, self._again - now)
                if wait is not None and wait <= 0:
                    break
                self._changed.wait(wait)
            notes = [self._noted.popleft() for _ in range(min(_AT_ONCE, len(self._noted)))]
            asked = [self._asked.popleft() for _ in range(min(_AT_ONCE, len(self._asked)))]
            if not self._noted:
                self._notes_due = 0.0  # 0: nothing is noted
        self._again = 0.0
        return [each for each in asked if not each.is_abandoned], notes

    def _write(self, requests: list[_Request], notes: list[Draft]) -> None:
        with self._changed:
            dropped = self._dropped.copy()
        if dropped:
            total = dropped.total()
            told: Event = {"event": "audit.dropped", "count": total, "events": dict(dropped)}
            written = [*notes, *self._drafts([told])]
        else:
            written = notes
        try:
            work = partial(self._together, requests, written)
            outcomes = self._database.run(work, writing=True)
        except _WorkBroke:
            # One after the other, so that it concerns nobody else.
            self._write([], notes)
            for each in requests:
                self._write_alone(each)
            return
        except DatabaseUnavailable as error:
            if isinstance(error.__context__, _SPOILED) and len(written) > 1:
                self._write_apart(requests, written)
                return
            if not self.is_failing:
                _log.error("the audit cannot be written: %s", error)
            self._failed(requests, notes)
            return
        with self._changed:
            self._dropped -= dropped
        self.is_failing = False
        _finish(list(zip(requests, outcomes, strict=True)))
        if self._notary.copy(self._database):
            self.note({"event": "audit.checkpoint", "outcome": "failed"})

    def _write_apart(self, requests: list[_Request], notes: list[Draft]) -> None:
        """One record that no database takes must not keep the others from being written."""
        for note in notes:
            try:
                self._database.run(partial(self._together, [], [note]), writing=True)
            except DatabaseUnavailable as error:
                if not isinstance(error.__context__, _SPOILED):
                    self._failed(requests, notes[notes.index(note) :])
                    return
                with self._changed:
                    self._dropped[note.event] += 1
        for each in requests:
            self._write_alone(each)

    def _write_alone(self, request: _Request) -> None:
        try:
            outcome = self._database.run(partial(self._alone, request), writing=True)
        except DatabaseUnavailable:
            outcome = _Refused(AuditUnavailable())
        except Exception as error:  # noqa: BLE001 - it is for who asked
            outcome = _Refused(error)
        _finish([(request, outcome)])

    def _failed(self, requests: list[_Request], notes: list[Draft]) -> None:
        """Nothing was written: say so, and keep the notes for later."""
        self._notary.forget()
        self.is_failing = True
        self._again = time.monotonic() + _AGAIN_SECONDS
        with self._changed:
            self._noted.extendleft(reversed(notes))
            while len(self._noted) > _MOST_NOTED:
                self._dropped[self._noted.pop().event] += 1
        _finish([(each, _Refused(AuditUnavailable())) for each in requests])

    def _together(
        self,
        requests: list[_Request],
        notes: list[Draft],
        connection: Connection,
        *,
        last: bool = False,
    ) -> list[object]:
        """Write notes, then requests, each with its work or not at all; how they ended."""
        outcomes: list[object] = []
        drafts = list(notes)
        for request in requests:
            outcome: object = None
            if request.work is not None:
                try:
                    with connection.begin_nested():
                        outcome = request.work(connection)
                except SQLAlchemyError:
                    raise _WorkBroke from None
                except Exception as error:  # noqa: BLE001 - it is for who asked
                    outcome = _Refused(error)
            outcomes.append(outcome)
            if not isinstance(outcome, _Refused):
                drafts += request.drafts
        self._notary.look(connection, append(connection, self._chain, drafts), last=last)
        return outcomes

    def _alone(self, request: _Request, connection: Connection) -> object:
        outcome = None if request.work is None else request.work(connection)
        append(connection, self._chain, request.drafts)
        return outcome


def _finish(outcomes: Sequence[tuple[_Request, object]]) -> None:
    """Tell those who wait, in one step of their event loop."""

    def tell() -> None:
        for request, outcome in outcomes:
            if request.future.done():
                continue
            if isinstance(outcome, _Refused):
                request.future.set_exception(outcome.error)
            else:
                request.future.set_result(outcome)

    if outcomes:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            outcomes[0][0].future.get_loop().call_soon_threadsafe(tell)
