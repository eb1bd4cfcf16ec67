"""Connections to the two databases that there are, SQLite and PostgreSQL, as `Database` needs them.

On both a transaction sees the database as it was at one moment, waits a bounded time for others,
and one that begins as `WRITING` has all other such transactions wait until it ends.
"""

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

METADATA = MetaData()
"""Where the parts that keep state declare their tables."""

WRITING = {"htsgate_writing": True}
"""The execution options of a connection whose transactions write from their start on."""

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 120
_IDLE_SECONDS = 120
_MOST_KEPT = 4
_MOST_CONNECTIONS = 16

# What is locked on PostgreSQL, and holds no rows. Not an advisory lock: asking for one is a
# statement that sees the database as it was before the wait, and so does the whole transaction.
WRITERS = Table("database_writers", MetaData(), Column("id", Integer, primary_key=True))

_REFUSALS = (
    "Connection refused",
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "too many clients",
    "timeout expired",
    "failed to resolve host",
)

_OVERTAKEN = {
    "SQLITE_BUSY",  # who has read does not wait for another who writes
    "SQLITE_BUSY_SNAPSHOT",
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "23505",  # unique_violation, 23503 foreign_key_violation: by a row that another has written or
    "23503",  # deleted since, for a transaction looks before it writes
}


def parse_url(url: str | None) -> URL:
    """The URL of a database, with its driver; None: of SQLite in memory.

    Raises `ValueError`, which tells nothing of the URL.
    """
    try:
        parsed = make_url(url or "sqlite://")
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        # Not chained: its text may hold a part of the password.
        raise ValueError("not a database URL that can be used") from None
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ValueError("neither SQLite nor PostgreSQL")
    return parsed


def is_in_memory(url: URL) -> bool:
    """Whether it is SQLite's, of this process, and ends with it."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def open_engine(url: URL, *, read_only: bool, durable: bool, busy_seconds: float) -> Engine:
    """What connects to a database. Raises `ValueError`."""
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, read_only=read_only, durable=durable, busy_seconds=busy_seconds)
        engine = _postgresql(url, durable=durable, busy_seconds=busy_seconds)
    except (ArgumentError, TypeError, ValueError):
        raise ValueError("not a database URL that can be used") from None
    return engine.execution_options(postgresql_readonly=True) if read_only else engine


def is_overtaken(error: DBAPIError) -> bool:
    """Whether a transaction wanted to write after another had changed what it had read."""
    return code(error) in _OVERTAKEN


def code(error: DBAPIError) -> str:
    """What the database calls an error: `SQLITE_FULL`, or the SQLSTATE; or why nothing was
    connected, in words that hold nothing of the URL; empty if nobody knows."""
    original = error.orig
    name = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    return str(name or next((each for each in _REFUSALS if each in str(original)), ""))


def _sqlite(url: URL, *, read_only: bool, durable: bool, busy_seconds: float) -> Engine:
    arguments: dict[str, Any] = {"timeout": busy_seconds}
    if is_in_memory(url):
        arguments["check_same_thread"] = False
        engine = create_engine(url, poolclass=StaticPool, connect_args=arguments)
    else:
        engine = create_engine(url, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the module begins transactions for writing only
        cursor = connection.cursor()
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_writing(connection) else "BEGIN")

    return engine


def _postgresql(url: URL, *, durable: bool, busy_seconds: float) -> Engine:
    # What the URL says of these comes first. A server that has gone is noticed.
    patience = {
        "application_name": "htsgate",
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    engine = create_engine(
        url,
        connect_args={name: value for name, value in patience.items() if name not in url.query},
        isolation_level="REPEATABLE READ",
        pool_size=_MOST_KEPT,
        max_overflow=_MOST_CONNECTIONS - _MOST_KEPT,
        pool_timeout=busy_seconds,
        pool_pre_ping=True,
    )
    # And what the role or the database says of these, but for what is not durable.
    limits = {
        "statement_timeout": _STATEMENT_SECONDS * 1000,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS * 1000,
        "lock_timeout": max(1, round(busy_seconds * 1000)),
    }

    @event.listens_for(engine, "connect")
    def configure(connection: psycopg.Connection[Any], _: object) -> None:
        connection.autocommit = True  # what a transaction sets is gone if it fails
        with connection.cursor() as cursor:
            for name, value in limits.items():
                cursor.execute(
                    "SELECT set_config(%s, %s, false) WHERE current_setting(%s) = '0'",
                    (name, str(value), name),
                )
            if durable:
                cursor.execute(
                    "SELECT set_config('synchronous_commit', 'on', false)"
                    " WHERE current_setting('synchronous_commit') = 'off'"
                )
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if _is_writing(connection):
            connection.exec_driver_sql(f"LOCK TABLE {WRITERS.name} IN EXCLUSIVE MODE")

    return engine


def _is_writing(connection: Connection) -> bool:
    return connection.get_execution_options().keys() >= WRITING.keys()
