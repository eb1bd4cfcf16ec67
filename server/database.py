"""The project's one database, behind SQLAlchemy: SQLite embedded, or PostgreSQL.

Work on it runs in threads of its own, one transaction a piece; the event loop never waits for it.
"""

import asyncio
import contextlib
import fcntl
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.database_engines import (
    METADATA,
    WRITERS,
    WRITING,
    code,
    is_in_memory,
    is_overtaken,
    open_engine,
    parse_url,
)

__all__ = ["METADATA", "Database", "DatabaseMissing", "DatabaseUnavailable", "LockCancelled"]

T = TypeVar("T")

_THREADS = 4
_ATTEMPTS = 20
_AGAIN_SECONDS = 0.01
_POLL_SECONDS = 0.1
_BUSY_SECONDS = 30.0


class DatabaseUnavailable(Exception):
    """The database cannot be opened or does not answer; the message never holds its URL."""


class DatabaseMissing(DatabaseUnavailable):
    """There is no such database so far, or its tables were not made yet."""


class LockCancelled(Exception):
    """Who waited for a lock was told to stop."""


class Database:
    """Transactions on the database that `url` names; None: one in memory that ends with us.

    Missing tables are made, unless it is opened `read_only`: then nothing is written, and what is
    not there is a `DatabaseMissing`. What is committed outlives a crash of the process, and with
    `durable` one of the machine, too. `busy_seconds`: how long a transaction waits for others.

    Raises `ValueError` for a URL that means nothing, and `DatabaseUnavailable`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        read_only: bool = False,
        durable: bool = False,
        busy_seconds: float = _BUSY_SECONDS,
    ) -> None:
        parsed = parse_url(url)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        self._in_memory = is_in_memory(parsed)
        self._file = parsed.database or ""
        if read_only and self._is_sqlite and not self._in_memory and not Path(self._file).is_file():
            raise DatabaseMissing("there is no such database")
        self._busy_seconds = busy_seconds
        if durable and self._is_sqlite and not (self._in_memory or read_only):
            with contextlib.suppress(OSError):  # what is wrong is said when it is opened
                _close_to_others(Path(self._file))
        self._engine = open_engine(
            parsed, read_only=read_only, durable=durable, busy_seconds=busy_seconds
        )
        self._writer = self._engine.execution_options(**WRITING)
        self._threads = ThreadPoolExecutor(1 if self._in_memory else _THREADS, "database")
        # Apart, for they wait for each other, and for other processes: who only reads does not.
        self._writing_threads = ThreadPoolExecutor(1, "database-writing")
        # In memory there is one connection for all threads.
        self._in_turn = threading.RLock() if self._in_memory else contextlib.nullcontext()
        try:
            with _translated():
                self._prepare(read_only=read_only)
        except DatabaseUnavailable:
            self.close()
            raise

    def _prepare(self, *, read_only: bool) -> None:
        if not self._is_sqlite:
            with self._engine.connect() as connection:
                if connection.scalar(text("SHOW server_encoding")) != "UTF8":
                    raise DatabaseUnavailable("its encoding is not UTF8")
        if not read_only:
            with self.exclusively("schema"):  # several processes may begin at once
                METADATA.create_all(self._engine)
                if not self._is_sqlite:
                    WRITERS.create(self._engine, checkfirst=True)
        elif not METADATA.tables.keys() <= set(inspect(self._engine).get_table_names()):
            raise DatabaseMissing("the tables of the database were not made yet")

    def run(self, work: Callable[[Connection], T], *, writing: bool = False) -> T:
        """What `work` makes of a connection, in one transaction; waits, so for threads only.

        It sees the database as it was at one moment. If another wrote in between what it wants to
        write, `work` is done again. With `writing` such transactions come one after the other, in
        all processes, and each sees what those before have written: for what is decided by more
        than the rows that are written. Raises `DatabaseUnavailable`, also when waiting would take
        longer than `busy_seconds`.
        """
        engine = self._writer if writing else self._engine
        until = time.monotonic() + self._busy_seconds
        with _translated(), self._in_turn:
            attempt = 1
            while True:
                try:
                    with engine.begin() as connection:
                        return work(connection)
                except DBAPIError as error:
                    is_last = attempt == _ATTEMPTS or time.monotonic() > until
                    if is_last or not is_overtaken(error):
                        raise
                engine = self._writer  # which waits for its turn
                time.sleep(random.uniform(0, _AGAIN_SECONDS * attempt))  # noqa: S311
                attempt += 1

    async def execute(self, work: Callable[[Connection], T], *, writing: bool = False) -> T:
        """The same from the event loop."""
        loop = asyncio.get_running_loop()
        threads = self._writing_threads if writing else self._threads
        return await loop.run_in_executor(threads, lambda: self.run(work, writing=writing))

    @contextlib.contextmanager
    def exclusively(
        self, name: str, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[None]:
        """Hold a lock that all processes share who use the database; waits for it.

        Raises `LockCancelled` when `is_cancelled` says so meanwhile.
        """
        if self._in_memory:
            yield
            return
        with self._file_lock(name) if self._is_sqlite else self._advisory_lock(name) as is_held:
            while not is_held():
                if is_cancelled is not None and is_cancelled():
                    raise LockCancelled
                time.sleep(_POLL_SECONDS)
            yield

    @contextlib.contextmanager
    def _file_lock(self, name: str) -> Iterator[Callable[[], bool]]:
        """What tries to lock a file beside the database, until the block ends."""
        try:
            file = Path(f"{self._file}.{name}.lock").open("w")  # noqa: SIM115
        except OSError as error:
            raise DatabaseUnavailable(f"its folder cannot be used: {error.strerror}") from None

        def is_held() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        with file:
            yield is_held

    @contextlib.contextmanager
    def _advisory_lock(self, name: str) -> Iterator[Callable[[], bool]]:
        """What tries to lock a name, for a connection of its own, until the block ends."""
        key = {"name": name}
        lock = text("SELECT pg_try_advisory_lock(hashtext('htsgate'), hashtext(:name))")
        unlock = text("SELECT pg_advisory_unlock(hashtext('htsgate'), hashtext(:name))")
        with _translated():
            # Outside transactions, which would keep the database from tidying up meanwhile.
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

        def is_held() -> bool:
            with _translated():
                return bool(connection.scalar(lock, key))

        try:
            yield is_held
        finally:
            try:
                connection.execute(unlock, key)
            except SQLAlchemyError:
                connection.invalidate()  # with it goes its lock
            connection.close()

    def close(self) -> None:
        """Let what runs finish, and close the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._writing_threads.shutdown(cancel_futures=True)
        self._engine.dispose()


def _close_to_others(path: Path) -> None:
    """It will hold who saw what. One that was made before it did is still open to all."""
    path.touch(mode=0o600)
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(each.stat().st_mode)
            if mode & 0o007:
                each.chmod(mode & ~0o007)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The kind alone: the text may hold the URL, with its password, or values.
        raise DatabaseUnavailable(f"the database does not answer: {_reason(error)}") from None


def _reason(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    kind, more = type(error.orig or error).__name__, code(error)
    return f"{kind} ({more})" if more else kind
