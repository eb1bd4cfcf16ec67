"""The audit log: what is on disk when `commit` returns, and what happens when nothing can be."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from auth.audit.chain import GENESIS, verify_chain
from auth.audit.checkpoints import Checkpoint, check_checkpoints
from auth.audit.record import Draft, Pii, pseudonym
from server.access import audit_log
from server.access.audit_chain import (
    CHAIN,
    add_checkpoint,
    append,
    read_checkpoints,
    read_identities,
)
from server.access.audit_checkpoint_files import read_folder
from server.access.audit_log import AuditUnavailable
from server.access.audit_notary import timestamp
from server.database import Database, DatabaseUnavailable
from tests.server.access.audit_trails import (
    SUBJECT,
    entries_of,
    events_of,
    intent,
    records_of,
    running_log,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, durable=True, busy_seconds=1)) as opened:
        # What the work of requests writes.
        execute(opened, "CREATE TABLE spent (id INTEGER PRIMARY KEY)")
        yield opened


def execute(database: Database, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    database.run(work)


def spend(number: int) -> Any:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO spent VALUES (:id)"), {"id": number})
        return number * 10

    return work


def spent(database: Database) -> list[int]:
    query = text("SELECT id FROM spent ORDER BY id")
    return database.run(lambda each: list(each.scalars(query)))


class Refused(Exception):
    pass


def refuse(connection: Connection) -> None:
    spend(99)(connection)
    raise Refused


# ---- what is written


async def test_records(database: Database) -> None:
    async with running_log(database, clock=lambda: 1_790_000_041.12) as log:
        await log.commit([intent(1), intent(2, object="x")])
        assert [each["req"] for each in records_of(database)[1:]] == ["r-1", "r-2"]
    started, first, *_, stopped = records_of(database)
    server, ts = {"id": "srv-1", "version": "0.1.0"}, "2026-09-21T14:14:01.120Z"
    assert started == {"event": "audit.started", "server": server, "ts": ts}
    assert stopped == {"event": "audit.stopped", "server": server, "ts": ts}
    (identity,) = database.run(read_identities)
    assert (identity.kind, identity.value) == ("sub", SUBJECT.value)
    assert identity.is_right
    assert first["subject"] == {
        "pii": pseudonym(identity.salt, SUBJECT.value),
        "client_id": "igv",
    }


async def test_a_chain_goes_on(database: Database, database_url: str) -> None:
    async with running_log(database) as log:
        await log.commit([intent(1)])
    with closing(Database(database_url, durable=True)) as again:
        async with running_log(again) as log:
            await log.commit([intent(2)])
    assert events_of(database) == ["audit.started", "data.intent", "audit.stopped"] * 2


async def test_work_and_record_are_one(database: Database) -> None:
    async with running_log(database) as log:
        assert await log.commit([intent(1)], spend(1)) == 10
        with pytest.raises(Refused):
            await log.commit([intent(2)], refuse)
        assert spent(database) == [1]
        assert len(entries_of(database)) == 2
        assert not log.is_failing


async def test_many_at_once(database: Database) -> None:
    async with running_log(database) as log:
        asked = [
            log.commit([intent(number)], refuse if number % 3 == 0 else spend(number))
            for number in range(300)
        ]
        results = await asyncio.gather(*asked, return_exceptions=True)
    for number, result in enumerate(results):
        assert isinstance(result, Refused) if number % 3 == 0 else result == number * 10
    written = [int(each["req"][2:]) for each in records_of(database) if "req" in each]
    assert written == [number for number in range(300) if number % 3]
    assert spent(database) == written


@pytest.mark.parametrize("statement", ["INSERT INTO spent VALUES (1)", "SELECT * FROM nothing"])
async def test_errors_of_the_database_concern_one(database: Database, statement: str) -> None:
    def broken(connection: Connection) -> int:
        return connection.execute(text(statement)).rowcount

    async with running_log(database) as log:
        await log.commit([], spend(1))
        asked = [
            log.commit([intent(1)], spend(2)),
            log.commit([intent(2)], broken),
            log.commit([intent(3)], spend(3)),
        ]
        log.note(intent(4))
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, third) == (20, 30)
    assert isinstance(second, AuditUnavailable)
    assert isinstance(second, DatabaseUnavailable)
    assert spent(database) == [1, 2, 3]
    written = {each["req"] for each in records_of(database) if "req" in each}
    assert written == {"r-1", "r-3", "r-4"}


async def test_notes(database: Database) -> None:
    async with running_log(database) as log:
        for number in range(1200):
            log.note(intent(number))
        await log.flush()
        assert len(entries_of(database)) == 1201
        thread = threading.Thread(target=log.note, args=(intent(1200), intent(1201)))
        thread.start()
        thread.join()
        async with asyncio.timeout(5):
            while len(entries_of(database)) < 1203:  # noqa: ASYNC110 - of the database
                await asyncio.sleep(0.02)
        log.note(intent(1202))
    written = [each["req"] for each in records_of(database) if "req" in each]
    assert written == [f"r-{number}" for number in range(1203)]


async def test_notes_come_before_what_is_asked_later(database: Database) -> None:
    async with running_log(database) as log:
        log.note(intent(1))
        await log.commit([intent(2)])
        assert [each.get("req") for each in records_of(database)] == [None, "r-1", "r-2"]


async def test_a_caller_who_leaves(database: Database) -> None:
    async with running_log(database) as log:
        waiting = asyncio.create_task(log.commit([intent(1)]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await log.commit([intent(2)])
    assert records_of(database)[-2]["req"] == "r-2"


async def test_only_what_can_be_written_is_taken(database: Database) -> None:
    async with running_log(database) as log:
        with pytest.raises(ValueError, match="float"):
            await log.commit([intent(1, ms=1.5)])
        with pytest.raises(ValueError, match="float"):
            log.note(intent(1, ms=1.5))
    assert events_of(database) == ["audit.started", "audit.stopped"]


async def test_before_and_after(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    log = audit_log.AuditLog(database, server_id="s", version="1")
    with pytest.raises(AuditUnavailable):
        await log.commit([intent(1)])
    await log.close()
    log.note(intent(2))
    await log.start()
    await log.close()
    await log.close()
    with pytest.raises(AuditUnavailable):
        await log.commit([intent(3)])
    assert [each.get("req") for each in records_of(database)] == ["r-2", None, None]
    assert not caplog.records


async def test_in_memory() -> None:
    with closing(Database()) as database:
        async with running_log(database, signer=KEY) as log:
            await log.commit([intent(1)])
        assert len(entries_of(database)) == 3


async def test_erasure(database: Database) -> None:
    async with running_log(database) as log:
        await log.commit([intent(1)])
        execute(database, "DELETE FROM audit_pii")
        await log.commit([intent(2)])
        await log.commit([intent(3)])
    _, first, second, third, _ = records_of(database)
    assert first["subject"]["pii"] != second["subject"]["pii"] == third["subject"]["pii"]


@pytest.mark.security("TA1")
@pytest.mark.parametrize("table", ["audit", "audit_checkpoints", "audit_pii"])
async def test_records_are_not_changed(database: Database, table: str) -> None:
    async with running_log(database, signer=KEY) as log:
        await log.commit([intent(1)])
    statements = [
        "UPDATE {} SET hmac = 'x'" if table == "audit_pii" else "UPDATE {} SET chain = 'x'"
    ]
    if table != "audit_pii":  # which can be erased
        statements.append("DELETE FROM {}")
        statements.append("TRUNCATE {}")
    statements.append("INSERT OR REPLACE INTO {} SELECT * FROM {}")
    for statement in statements:
        with pytest.raises(DatabaseUnavailable):
            execute(database, statement.format(table, table))
    assert len(entries_of(database)) == 3


# ---- what cannot be written


@contextmanager
def locked(url: str) -> Iterator[None]:
    """While somebody else writes, and does not end."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(parsed.database or "", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
    else:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
            yield
            other.rollback()


def is_failing(log: audit_log.AuditLog) -> bool:
    return log.is_failing


@pytest.mark.security("TA2")
async def test_locked(database: Database, database_url: str) -> None:
    async with running_log(database) as log:
        with locked(database_url):
            began = time.monotonic()
            log.note(intent(0))
            assert time.monotonic() - began < 0.1
            with pytest.raises(AuditUnavailable):
                await log.commit([intent(1)], spend(1))
            assert time.monotonic() - began < 4
            assert is_failing(log)
        await log.commit([intent(2)], spend(2))
        assert not is_failing(log)
    assert spent(database) == [2]
    assert [each.get("req") for each in records_of(database)] == [None, "r-0", "r-2", None]


@pytest.mark.security("TA2")
async def test_nobody_waits_longer(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit_log.WAIT_SECONDS == 5
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 0.3)
    with closing(Database(database_url, durable=True, busy_seconds=3)) as database:
        async with running_log(database) as log:
            with locked(database_url):
                began = time.monotonic()
                asked = [log.commit([intent(number)]) for number in range(50)]
                results = await asyncio.gather(*asked, return_exceptions=True)
                assert time.monotonic() - began < 1.5
                assert all(isinstance(each, AuditUnavailable) for each in results)
            monkeypatch.undo()
            await log.commit([intent(50)])
        assert records_of(database)[-2]["req"] == "r-50"


@pytest.mark.security("TA2")
@pytest.mark.parametrize("pragma", ["query_only = ON", "max_page_count = 1"])
async def test_read_only_and_full(tmp_path: Path, pragma: str) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/x.db", durable=True)) as database:
        async with running_log(database) as log:
            big = "x" * 2000
            # For the one connection that there is.
            execute(database, f"PRAGMA {pragma}")
            began = time.monotonic()
            log.note(intent(0))
            asked = [log.commit([intent(each, more=[big] * 10)]) for each in range(100)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert any(isinstance(each, AuditUnavailable) for each in results)
            with pytest.raises(AuditUnavailable):
                await log.commit([intent(100, more=[big] * 10)])
            assert time.monotonic() - began < 2
            back = "query_only = OFF" if "query" in pragma else "max_page_count = 100000"
            execute(database, f"PRAGMA {back}")
            await log.commit([intent(1000)])
        assert [each.get("req") for each in records_of(database)][-2] == "r-1000"
        assert "r-0" in {each.get("req") for each in records_of(database)}


@pytest.mark.security("TA2")
async def test_it_does_not_start_without_a_database(tmp_path: Path) -> None:
    with closing(
        Database(f"sqlite:///{tmp_path}/x.db", durable=True, busy_seconds=0.2)
    ) as database:
        with locked(f"sqlite:///{tmp_path}/x.db"):
            log = audit_log.AuditLog(database, server_id="s", version="1")
            with pytest.raises(AuditUnavailable):
                await log.start()
        await log.start()
        await log.close()
        assert events_of(database) == ["audit.started", "audit.stopped"]


@pytest.mark.security("TA2")
async def test_the_queue_is_bounded(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "_MOST_ASKED", 5)
    monkeypatch.setattr(audit_log, "_AT_ONCE", 5)
    async with running_log(database) as log:
        with locked(database_url):
            waiting = [asyncio.create_task(log.commit([intent(each)])) for each in range(30)]
            await asyncio.sleep(0.1)
            refused = [each for each in waiting if each.done()]
            assert len(refused) >= 20
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(each, AuditUnavailable) for each in results)


async def test_what_is_dropped_is_counted(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "_MOST_NOTED", 10)
    async with running_log(database) as log:
        with locked(database_url):
            for number in range(15):
                log.note(intent(number), {"event": "data.done", "req": f"r-{number}"})
            with pytest.raises(AuditUnavailable):
                await log.commit([intent(99)])
            log.note(intent(100))
        await log.flush()
    records = records_of(database)
    kept = [each for each in records if "req" in each]
    dropped = [each for each in records if each["event"] == "audit.dropped"]
    assert len(kept) == 10
    assert sum(each["count"] for each in dropped) == 21
    assert sum(each["events"]["data.done"] for each in dropped) == 10


async def test_what_is_lost_is_said(
    database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = audit_log.AuditLog(database, server_id="s", version="1")
    await log.start()
    with locked(database_url):
        log.note(intent(1))
        await log.close()
    assert "without 1 records" in caplog.text


async def test_a_server_that_goes_and_comes_back(postgres: Any, postgres_url: str) -> None:
    with closing(Database(postgres_url, durable=True, busy_seconds=1)) as database:
        async with running_log(database) as log:
            await log.commit([intent(1)])
            postgres.stop()
            try:
                with pytest.raises(AuditUnavailable):
                    await log.commit([intent(2)])
                log.note(intent(3))
            finally:
                postgres.start()  # by this thread: it ends with who started it
            await log.commit([intent(4)])
        written = [each.get("req") for each in records_of(database)]
        assert written == [None, "r-1", "r-3", "r-4", None]


# ---- checkpoints


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def checkpoints_in(database: Database) -> list[Checkpoint]:
    documents = database.run(lambda each: read_checkpoints(each, CHAIN))
    return [Checkpoint.from_line(each.encode()) for each in documents]


def assert_right(database: Database, checkpoints: list[Checkpoint]) -> None:
    judged = check_checkpoints(checkpoints, CHAIN, PUBLIC, must_sign=True)
    assert (judged.faults, judged.missing) == ((), 0)
    assert verify_chain(entries_of(database), judged.anchors) is None


async def test_checkpoints_by_number_and_at_the_end(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    options: dict[str, Any] = {"signer": KEY, "checkpoints": folder, "checkpoint_records": 50}
    async with running_log(database, **options) as log:
        for number in range(120):
            await log.commit([intent(number)])
    made = checkpoints_in(database)
    assert [each.seq for each in made] == [1, 51, 101, 122]
    copied, damaged = read_folder(folder)
    assert (copied, damaged) == (made, 0)
    assert_right(database, made)


async def test_checkpoints_when_idle(database: Database, tmp_path: Path) -> None:
    clock = Clock()
    options: dict[str, Any] = {"signer": KEY, "checkpoints": tmp_path, "clock": clock}
    async with running_log(database, checkpoint_seconds=0.2, **options):
        for _ in range(3):
            await asyncio.sleep(0.3)
            clock.now += 60
        await asyncio.sleep(0.3)
    made = checkpoints_in(database)
    assert [each.seq for each in made] == [1, 1, 1, 1, 2]
    assert [each.ts[14:19] for each in made] == ["13:20", "14:20", "15:20", "16:20", "16:20"]
    assert_right(database, made)


async def test_no_checkpoints_that_nobody_wants(database: Database) -> None:
    async with running_log(database, checkpoint_records=1) as log:
        await log.commit([intent(1)])
    assert checkpoints_in(database) == []


async def test_one_process_at_a_time(database: Database, database_url: str) -> None:
    options: dict[str, Any] = {"signer": KEY, "checkpoint_seconds": 0.5, "checkpoint_records": 40}
    with closing(Database(database_url, durable=True)) as other:
        async with running_log(database, **options) as one, running_log(other, **options) as two:
            for number in range(100):
                await asyncio.gather(one.commit([intent(number)]), two.commit([intent(number)]))
            await asyncio.sleep(1.2)
    made = checkpoints_in(database)
    assert_right(database, made)
    assert 6 <= len(made) <= 12


async def test_copies_are_caught_up(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "kept"
    options: dict[str, Any] = {"signer": KEY, "checkpoints": folder, "checkpoint_records": 2}
    async with running_log(database, **options) as log:  # the folder is not there
        for number in range(10):
            await log.commit([intent(number)])
        await log.flush()
    assert "cannot be copied" in caplog.text
    failures = [each for each in records_of(database) if each["event"] == "audit.checkpoint"]
    assert [each["outcome"] for each in failures] == ["failed"]
    folder.mkdir()
    async with running_log(database, **options):
        pass
    async with running_log(database, **options):
        pass
    copied, _ = read_folder(folder)
    assert copied == checkpoints_in(database)
    assert_right(database, copied)


async def test_long_names(database: Database) -> None:
    async with running_log(database) as log:
        names = ["".join(map(chr, range(0x1F000 + at, 0x1F000 + at + 2000))) for at in (0, 1, 0)]
        for name in names:
            log.note({"event": "consent.updated", "value": {"pii": Pii("object", name)}})
        await log.flush()
    first, second, third = (
        each["value"]["pii"] for each in records_of(database) if each["event"] == "consent.updated"
    )
    assert first == third != second


async def test_much_to_copy_keeps_nobody_waiting(database: Database, tmp_path: Path) -> None:
    def fill(connection: Connection) -> None:
        anchor = append(connection, CHAIN, [Draft({"event": "audit.started"})])
        follows = GENESIS
        for number in range(1700):
            ts = timestamp(1_790_000_000 + 60 * number)
            made = Checkpoint(CHAIN, anchor.seq, anchor.hash, ts, follows)
            add_checkpoint(connection, number + 1, made)
            follows = made.digest

    database.run(fill, writing=True)
    folder = tmp_path / "kept"  # somebody took away what was in it
    folder.mkdir()
    async with running_log(database, checkpoints=folder) as log:
        began = time.monotonic()
        await log.commit([intent(1)])
        assert time.monotonic() - began < 1
        for _ in range(100):
            copied, damaged = read_folder(folder)
            if len(copied) >= 1700:
                break
            await asyncio.sleep(0.1)
        assert damaged == 0
        # By number: what was made first is copied first.
        assert copied == checkpoints_in(database)[: len(copied)]
    assert len({each.name for each in folder.iterdir()}) > 1


def test_who_is_named_is_found_by_an_index(tmp_path: Path) -> None:
    statements: list[tuple[str, Any]] = []

    def work(connection: Connection) -> list[str]:
        @event.listens_for(connection, "before_cursor_execute")
        def _(_c: object, _d: object, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("SELECT"):
                statements.append((statement, parameters))

        append(connection, CHAIN, [Draft(intent(1)), Draft({"event": "e", "ua": Pii("ua", "x")})])
        found = tuple(statements)
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p).all() for s, p in found]
        return [str(row[-1]) for plan in plans for row in plan]

    with closing(Database(f"sqlite:///{tmp_path}/state.db")) as database:
        plans = database.run(work, writing=True)
    assert any("audit_pii" in each for each in plans)
    assert not [each for each in plans if each.startswith("SCAN")]


async def test_a_torn_line_spoils_no_other(database: Database, tmp_path: Path) -> None:
    options: dict[str, Any] = {"signer": KEY, "checkpoints": tmp_path}
    async with running_log(database, **options):
        pass
    (path,) = tmp_path.glob("*.checkpoints.jsonl")  # noqa: ASYNC240
    with path.open("a") as file:
        file.write('{"body":{"chain":"htsg')
    async with running_log(database, **options) as log:
        await log.commit([intent(1)])
    copied, damaged = read_folder(tmp_path)
    assert damaged == 1
    assert copied == checkpoints_in(database)
    assert path.read_bytes().endswith(b"\n")
    assert all(json.loads(line) for line in path.read_bytes().splitlines()[3:])
