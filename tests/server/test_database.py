"""The database by itself: transactions, processes, locks, and what its errors tell."""

import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from server.database import Database, DatabaseUnavailable, LockCancelled


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM refget_files")).scalar_one())


def add(connection: Connection, url: str) -> int:
    values = "VALUES (:url, 'fasta', 'added', 'x', 0) RETURNING id"
    columns = "url, kind, source, fingerprint, complete"
    sql = text(f"INSERT INTO refget_files ({columns}) {values}")
    return int(connection.execute(sql, {"url": url}).scalar_one())


def url_of(directory: Path) -> str:
    return f"sqlite:///{directory}/x.db"


def begin(url: str, ready: "multiprocessing.synchronize.Barrier") -> None:
    ready.wait()
    Database(url).close()


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_begin_at_once(tmp_path: Path, attempt: int) -> None:
    del attempt
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(4)
    processes = [context.Process(target=begin, args=(url_of(tmp_path), ready)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


def test_a_transaction_sees_one_moment(tmp_path: Path) -> None:
    one, other = Database(url_of(tmp_path)), Database(url_of(tmp_path))

    def look(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        other.run(lambda each: add(each, "file"))
        return before, count(connection)

    assert one.run(look) == (0, 0)
    assert one.run(count) == 1


def test_numbers_are_given_once(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    first = database.run(lambda each: add(each, "a"))
    database.run(lambda each: each.execute(text("DELETE FROM refget_files")))
    assert database.run(lambda each: add(each, "b")) != first


def test_a_writer_that_was_overtaken_begins_again(tmp_path: Path) -> None:
    one, other = Database(url_of(tmp_path)), Database(url_of(tmp_path))
    seen: list[int] = []

    def write(connection: Connection) -> None:
        seen.append(count(connection))
        if len(seen) == 1:
            other.run(lambda each: add(each, "overtakes"))
        add(connection, f"file {len(seen)}")

    one.run(write)
    assert seen == [0, 1]
    assert one.run(count) == 2


def test_locks(tmp_path: Path) -> None:
    one, other = Database(url_of(tmp_path)), Database(url_of(tmp_path))
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
        time.sleep(0.2)
        order.append("one")
    thread.join()
    assert order == ["another lock", "one", "other"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p@ss:w0rd@db.example/x",
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
