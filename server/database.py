"""The project's one database, behind SQLAlchemy: SQLite embedded, or whatever its URL names.

Work on it runs in threads of its own, one transaction a piece; the event loop never waits for it.
"""

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

METADATA = MetaData()
"""Where the parts that keep state declare their tables."""

T = TypeVar("T")

_THREADS = 4
_ATTEMPTS = 20
_POLL_SECONDS = 0.1
_BUSY_SECONDS = 30


class DatabaseUnavailable(Exception):
    """The database cannot be opened or does not answer; the message never holds its URL."""


class DatabaseMissing(DatabaseUnavailable):
    """There is no such database so far, or its tables were not made yet."""


class LockCancelled(Exception):
    """Who waited for a lock was told to stop."""


class Database:
    """Transactions on the database that `url` names; None: one in memory that ends with us.

    Missing tables are made, unless it is opened `read_only`: then nothing is written, and what is
    not there is a `DatabaseMissing`. Raises `ValueError` for a URL that means nothing, and
    `DatabaseUnavailable`.
    """

    def __init__(self, url: str | None = None, *, read_only: bool = False) -> None:
        self._engine = _open(url, read_only=read_only)
        self._in_memory = self._engine.url.database in (None, "", ":memory:")
        threads = 1 if self._is_sqlite and self._in_memory else _THREADS
        self._threads = ThreadPoolExecutor(threads, "database")
        self._one_at_a_time = threading.RLock()
        try:
            with _translated():
                if not read_only:
                    with self.exclusively("schema"):  # several processes may begin at once
                        METADATA.create_all(self._engine)
                elif not METADATA.tables.keys() <= set(inspect(self._engine).get_table_names()):
                    raise DatabaseMissing("the tables of the database were not made yet")
        except DatabaseUnavailable:
            self.close()
            raise

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` makes of a connection, in one transaction; waits, so for threads only.

        It sees the database as it was at one moment. If another wrote in between, `work` is done
        again. Raises `DatabaseUnavailable`.
        """
        with _translated():
            if self._in_memory and self._is_sqlite:
                with self._one_at_a_time, self._engine.begin() as connection:
                    return work(connection)
            for _ in range(_ATTEMPTS):
                try:
                    with self._engine.begin() as connection:
                        return work(connection)
                except OperationalError as error:
                    if not _is_overtaken(error):
                        raise
            with self._engine.begin() as connection:
                return work(connection)

    async def execute(self, work: Callable[[Connection], T]) -> T:
        """The same from the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run, work)

    @contextlib.contextmanager
    def exclusively(
        self, name: str, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[None]:
        """Hold a lock that all processes share who use the database; waits for it.

        Raises `LockCancelled` when `is_cancelled` says so meanwhile.
        """
        if not self._is_sqlite:
            with _translated(), self._engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
                try:
                    yield
                finally:
                    connection.execute(
                        text("SELECT pg_advisory_unlock(hashtext(:name))"), {"name": name}
                    )
        elif self._in_memory:
            yield
        else:
            path = Path(f"{self._engine.url.database}.{name}.lock")
            try:
                file = path.open("w")
            except OSError as error:
                raise DatabaseUnavailable(f"its folder cannot be used: {error.strerror}") from None
            with file:
                while True:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if is_cancelled is not None and is_cancelled():
                            raise LockCancelled from None
                        time.sleep(_POLL_SECONDS)
                yield

    def close(self) -> None:
        """Let what runs finish, and close the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._engine.dispose()


def _open(url: str | None, *, read_only: bool) -> Engine:
    try:
        parsed = make_url(url or "sqlite://")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() != "sqlite":
            engine = create_engine(parsed, pool_size=_THREADS, pool_pre_ping=True)
            return engine.execution_options(postgresql_readonly=True) if read_only else engine
        if parsed.database in (None, "", ":memory:"):
            memory = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            return create_engine(parsed, **memory)
        if read_only and not Path(parsed.database).is_file():
            raise DatabaseMissing("there is no such database")
        engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        # Not chained: its text may hold a part of the password.
        raise ValueError("not a database URL that can be used") from None

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the module begins transactions for writing only
        cursor = connection.cursor()
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The kind alone: the text may hold the URL, with its password, or values.
        raise DatabaseUnavailable(f"the database does not answer: {_reason(error)}") from None


def _is_overtaken(error: OperationalError) -> bool:
    """Whether a transaction wanted to write after another had changed what it had read."""
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_BUSY_SNAPSHOT"


def _reason(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None)
    return type(original or error).__name__
