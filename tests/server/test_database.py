"""The database by itself, on SQLite and PostgreSQL: transactions, processes, locks, and what its
errors tell."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from server.database import Database, DatabaseMissing, DatabaseUnavailable, LockCancelled
from tests.support.postgres import PostgresServer

Open = Callable[..., Database]


@pytest.fixture
def opened(database_url: str) -> Iterator[Open]:
    """Opens the database, once more each time."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(Database(database_url, **options)))


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM refget_files")).scalar_one())


def add(connection: Connection, url: str) -> int:
    values = "VALUES (:url, 'fasta', 'added', 'x', false) RETURNING id"
    columns = "url, kind, source, fingerprint, complete"
    sql = text(f"INSERT INTO refget_files ({columns}) {values}")
    return int(connection.execute(sql, {"url": url}).scalar_one())


def number(connection: Connection) -> int:
    found = connection.execute(text("SELECT fingerprint FROM refget_files WHERE url = 'number'"))
    return int(found.scalar_one())


def set_number(connection: Connection, value: int) -> None:
    sql = text("UPDATE refget_files SET fingerprint = :value WHERE url = 'number'")
    connection.execute(sql, {"value": str(value)})


def begin(url: str, ready: "multiprocessing.synchronize.Barrier") -> None:
    ready.wait()
    Database(url).close()


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_begin_at_once(database_url: str, attempt: int) -> None:
    del attempt
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(4)
    processes = [context.Process(target=begin, args=(database_url, ready)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


def test_a_transaction_sees_one_moment(opened: Open) -> None:
    one, other = opened(), opened()

    def look(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        other.run(lambda each: add(each, "file"))
        return before, count(connection)

    assert one.run(look) == (0, 0)
    assert one.run(count) == 1


def test_what_fails_is_undone(opened: Open) -> None:
    database = opened()

    def fail(connection: Connection) -> None:
        add(connection, "file")
        raise KeyError

    for writing in (False, True):
        with pytest.raises(KeyError):
            database.run(fail, writing=writing)
    assert database.run(count) == 0


def test_numbers_are_given_once(opened: Open) -> None:
    database = opened()
    first = database.run(lambda each: add(each, "a"))
    database.run(lambda each: each.execute(text("DELETE FROM refget_files")))
    assert database.run(lambda each: add(each, "b")) != first


def test_a_writer_that_was_overtaken_begins_again(opened: Open) -> None:
    one, other = opened(), opened()
    one.run(lambda each: add(each, "number"))
    one.run(lambda each: set_number(each, 1))
    seen: list[int] = []

    def write(connection: Connection) -> None:
        seen.append(number(connection))
        if len(seen) == 1:
            other.run(lambda each: set_number(each, 10))
        set_number(connection, seen[-1] + 1)

    one.run(write)
    assert seen == [1, 10]
    assert one.run(number) == 11


def test_what_two_insert_at_once_is_there_once(opened: Open) -> None:
    """Looked for first, by both, so that whoever comes later looks again."""
    one, other = opened(), opened()
    attempts: list[str] = []

    def find_or_add(connection: Connection, who: Database, url: str) -> int:
        attempts.append(url)
        found = connection.execute(
            text("SELECT id FROM refget_files WHERE url = :url"), {"url": url}
        )
        known = found.scalar()
        if known is None and who is one:
            other.run(lambda each: find_or_add(each, other, url))
        return add(connection, url) if known is None else int(known)

    assert one.run(lambda each: find_or_add(each, one, "file")) == one.run(
        lambda each: find_or_add(each, one, "file")
    )
    assert attempts == ["file"] * 4
    assert one.run(count) == 1


def add_ten(url: str, database: Database | None = None, *, writing: bool = True) -> None:
    """To the number, one by one, as others do at the same time."""

    def more(connection: Connection) -> None:
        set_number(connection, number(connection) + 1)

    with closing(database or Database(url)) as database:
        for _ in range(10):
            database.run(more, writing=writing)


def test_writers_of_several_processes_lose_nothing(opened: Open, database_url: str) -> None:
    database = opened()
    database.run(lambda each: add(each, "number"))
    database.run(lambda each: set_number(each, 0))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_ten, args=(database_url,)) for _ in range(3)]
    for process in processes:
        process.start()
    threads = [Database(database_url) for _ in range(3)]
    with ThreadPoolExecutor() as executor:
        list(executor.map(lambda each: add_ten(database_url, each, writing=False), threads))
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert database.run(number) == 60


def test_who_writes_from_the_start_decides_by_all_rows(opened: Open) -> None:
    """A limit that nobody exceeds: each of its writers adds a row of its own."""
    databases = [opened() for _ in range(6)]

    def take(connection: Connection, url: str) -> bool:
        is_free = count(connection) < 3
        if is_free:
            time.sleep(0.02)
            add(connection, url)
        return is_free

    with ThreadPoolExecutor(len(databases)) as threads:
        taken = list(
            threads.map(
                lambda each: each[1].run(lambda one: take(one, f"{each[0]}"), writing=True),
                enumerate(databases),
            )
        )
    assert sorted(taken) == [False] * 3 + [True] * 3
    assert databases[0].run(count) == 3


def test_waiting_to_write_has_an_end(opened: Open) -> None:
    one, other = opened(), opened(busy_seconds=0.2)

    def hold(connection: Connection) -> None:
        add(connection, "file")
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            other.run(count, writing=True)
        assert 0.15 < time.monotonic() - begun < 5
        assert other.run(count) == 0  # who reads does not wait

    one.run(hold, writing=True)
    assert other.run(count, writing=True) == 1


async def test_from_the_event_loop(opened: Open) -> None:
    database = opened(durable=True)
    added = [database.execute(partial(add, url=f"{n}"), writing=True) for n in range(10)]
    assert len(set(await asyncio.gather(*added))) == 10
    assert await database.execute(count) == 10


def test_savepoints(database_url: str) -> None:
    """Part of a transaction may fail; in memory too."""
    for url in (database_url, None):

        def work(connection: Connection) -> None:
            add(connection, "kept")
            savepoint = connection.begin_nested()
            add(connection, "undone")
            savepoint.rollback()

        with closing(Database(url)) as database:
            database.run(work, writing=True)
            assert database.run(count) == 1


def test_locks(opened: Open) -> None:
    one, other = opened(), opened()
    order: list[str] = []

    def wait() -> None:
        with other.exclusively("refget"):
            order.append("other")

    with one.exclusively("refget"):
        thread = threading.Thread(target=wait)
        thread.start()
        with pytest.raises(LockCancelled), other.exclusively("refget", lambda: True):
            pass
        with other.exclusively("else"):
            order.append("another lock")
        one.run(lambda each: add(each, "file"))
        time.sleep(0.2)
        order.append("one")
    thread.join()
    assert order == ["another lock", "one", "other"]
    with pytest.raises(KeyError), one.exclusively("refget"):
        raise KeyError
    with other.exclusively("refget", lambda: True):
        pass


def hold_lock(url: str, is_held: "multiprocessing.synchronize.Event") -> None:
    with Database(url).exclusively("refget"):
        is_held.set()
        time.sleep(60)


def test_the_lock_of_a_process_that_is_killed(opened: Open, database_url: str) -> None:
    database = opened()
    context = multiprocessing.get_context("spawn")
    is_held = context.Event()
    process = context.Process(target=hold_lock, args=(database_url, is_held))
    process.start()
    assert is_held.wait(30)
    with pytest.raises(LockCancelled), database.exclusively("refget", lambda: True):
        pass
    process.kill()
    with database.exclusively("refget"):
        pass
    process.join()


def test_reading_only(opened: Open, database_url: str) -> None:
    with pytest.raises(DatabaseMissing):
        Database(database_url, read_only=True)
    opened().run(lambda each: add(each, "file"))
    reader = opened(read_only=True)
    assert reader.run(count) == 1
    with pytest.raises(DatabaseUnavailable):
        reader.run(lambda each: add(each, "other"))
    assert reader.run(count) == 1


# NORMAL and FULL
@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
def test_durable_commits_of_sqlite(tmp_path: Path, durable: bool, level: int) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/x.db", durable=durable)) as database:
        assert database.run(lambda each: each.scalar(text("PRAGMA synchronous"))) == level


def test_durable_commits_of_postgresql(postgres: PostgresServer, postgres_url: str) -> None:
    """Whatever the database was told; what is stronger stays."""
    name = postgres_url.rpartition("/")[2]
    asked = text("SHOW synchronous_commit")
    for given, durable, found in (
        ("off", False, "off"),
        ("off", True, "on"),
        ("remote_apply", True, "remote_apply"),
    ):
        postgres.query(f"ALTER DATABASE {name} SET synchronous_commit = {given}")
        with closing(Database(postgres_url, durable=durable)) as database:
            assert database.run(lambda each: each.scalar(asked)) == found


def test_timeouts_of_postgresql(postgres: PostgresServer, postgres_url: str) -> None:
    """What the database or the URL says comes first."""
    name = postgres_url.rpartition("/")[2]
    postgres.query(f"ALTER DATABASE {name} SET statement_timeout = '77s'")
    settings = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    url = f"{postgres_url}?application_name=ours&connect_timeout=3"
    with closing(Database(url, busy_seconds=2.5)) as database:
        asked = [
            text(f"SHOW {n}") for n in (*settings, "application_name", "transaction_isolation")
        ]
        shown = database.run(lambda each: [each.scalar(one) for one in asked])
    assert shown == ["77s", "2500ms", "2min", "ours", "repeatable read"]
    postgres.query(f"ALTER DATABASE {name} SET statement_timeout = '100ms'")
    with closing(Database(postgres_url)) as database:
        with pytest.raises(DatabaseUnavailable, match="57014"):
            database.run(lambda each: each.execute(text("SELECT pg_sleep(20)")))
        assert database.run(count) == 0


def test_connections_that_are_lost(postgres: PostgresServer, postgres_url: str) -> None:
    """What was under way fails; what comes next has a new connection."""
    name = postgres_url.rpartition("/")[2]
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    with closing(Database(postgres_url)) as database:

        def lose(connection: Connection) -> int:
            add(connection, "file")
            postgres.query(end)
            return count(connection)

        for writing in (False, True):
            with pytest.raises(DatabaseUnavailable):
                database.run(lose, writing=writing)
            assert database.run(count, writing=writing) == 0
        postgres.query(end)
        assert database.run(count) == 0
        with database.exclusively("refget"):
            postgres.query(end)
        with database.exclusively("refget", lambda: True):
            assert database.run(count) == 0


def test_a_server_that_stops_and_comes_back(postgres: PostgresServer, postgres_url: str) -> None:
    with closing(Database(postgres_url)) as database:
        database.run(lambda each: add(each, "file"), writing=True)
        postgres.stop()
        try:
            for writing in (False, True):
                with pytest.raises(DatabaseUnavailable, match="Connection refused"):
                    database.run(count, writing=writing)
            with pytest.raises(DatabaseUnavailable), database.exclusively("refget"):
                pass
            with pytest.raises(DatabaseUnavailable):
                Database(postgres_url)
        finally:
            postgres.start()
        assert database.run(count) == 1
        with database.exclusively("refget"):
            pass


def test_a_postgresql_that_cannot_hold_all_text(postgres: PostgresServer) -> None:
    options = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with postgres.database(options) as url, pytest.raises(DatabaseUnavailable, match="UTF8"):
        Database(url)


def test_who_may_not_enter(postgres: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    for url, reason in (
        (postgres.url(name, "w0rd"), "password authentication failed"),
        (postgres.url("nonesuch"), "does not exist"),
    ):
        with pytest.raises(DatabaseUnavailable, match=reason) as failure:
            Database(url)
        assert "w0rd" not in str(failure.value)
        assert postgres.password not in str(failure.value)
        assert name not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p@ss:w0rd@db.example/x",
        "postgresql://user:w0rd@127.0.0.1:9/x",
        "postgresql://user:w0rd@127.0.0.1:9/x?sslmode=w0rd",
        "postgresql://user:w0rd@127.0.0.1:9/x?w0rd=w0rd",
        "postgresql+asyncpg://user:w0rd@127.0.0.1:9/x",
        "nonsense",
        "mysql+nothing://u:w0rd@h/x",
        "sqlite:////nonexistent/w0rd/x.db",
    ],
)
def test_errors_hold_no_secret(url: str) -> None:
    with pytest.raises((ValueError, DatabaseUnavailable)) as failure:
        Database(url)
    assert "w0rd" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_what_is_durable_is_for_its_owner_alone(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/state.db", durable=True).close()
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


def test_one_that_was_open_to_all_is_not_any_more(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    url = f"sqlite:///{path}"
    with closing(Database(url)) as before:
        path.chmod(0o644)
        before.run(lambda each: each.execute(text("CREATE TABLE more (id INTEGER)")))
        assert {each.stat().st_mode & 0o777 for each in tmp_path.glob("state.db*")} == {0o644}
        Database(url).close()
        assert path.stat().st_mode & 0o777 == 0o644
        with closing(Database(url, durable=True)):
            kept = [path, *(tmp_path / f"state.db-{each}" for each in ("wal", "shm"))]
            assert [each.stat().st_mode & 0o777 for each in kept] == [0o640] * 3


async def test_who_reads_does_not_wait_for_those_who_write(database_url: str) -> None:
    begun, done = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        begun.set()
        done.wait(10)

    with closing(Database(database_url)) as one, closing(Database(database_url)) as other:
        holding = asyncio.create_task(one.execute(hold, writing=True))
        await asyncio.to_thread(begun.wait)
        waiting = [
            asyncio.create_task(other.execute(lambda each: None, writing=True)) for _ in range(8)
        ]
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(2):
                assert await other.execute(lambda each: each.scalar(text("SELECT 1"))) == 1
        finally:
            done.set()
            await asyncio.gather(holding, *waiting)
