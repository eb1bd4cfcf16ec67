"""Servers that are killed at any moment, a trail that is tampered with, a database that is gone."""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from auth.audit.chain import chained
from server.cli import run
from tests.server.access.replicas import (
    Answer,
    Download,
    Shared,
    claims,
    fetched,
    heavy_folder,
    received,
    shared,
)
from tests.support.postgres import PostgresServer
from tests.support.processes import ServerProcess, eventually

SMALL = "/reads/study/small"
HEAVY = "/reads/study/heavy"
ROUNDS = 2
UNAVAILABLE_SECONDS = 7  # in which what cannot be recorded is refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heavy_folder(tmp_path_factory.mktemp("outages"), 18)


@dataclass(slots=True)
class Load:
    """Clients that fetch as fast as they can, and note of which blocks they had a byte."""

    site: Shared
    servers: list[ServerProcess]
    had: set[tuple[str, int]] = field(default_factory=set)

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; servers may go at any time."""
        while not stop.is_set():
            try:
                answer = self.site.ask(random.choice(self.servers), SMALL, "alice")
            except OSError:
                time.sleep(0.01)
                continue
            if answer.status != 200:
                continue
            for url in answer.urls:
                said = claims(url)
                if received(url):
                    self.had.add((said["tid"], said["n"][0]))


@dataclass(frozen=True, slots=True)
class Aftermath:
    """A database whose servers were killed, and what clients know of it."""

    site: Shared
    had: set[tuple[str, int]]
    broken_off: list[str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def killed(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aftermath]:
    """Servers of two processes are killed under load, one after the other; one serves again."""
    home = tmp_path_factory.mktemp("killed")
    with ExitStack() as stack:
        url = f"sqlite:///{home}/htsgate.db"
        if request.param == "postgresql":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            url = stack.enter_context(postgres.database())
        site = stack.enter_context(shared(home, url, folder))
        with site.together(*[2] * ROUNDS) as others:
            load = Load(site, others)
            broken_off: list[str] = []
            stop = threading.Event()
            with ThreadPoolExecutor(4) as threads:
                running = [threads.submit(load.run, stop) for _ in range(4)]
                try:
                    for each in others:
                        url = site.ask(each, HEAVY, "alice").urls[1]
                        broken_off.append(claims(url)["tid"])
                        with closing(Download(url)) as slow:
                            time.sleep(random.uniform(0.1, 0.6))
                            each.kill()
                            slow.go_on()
                            slow.wait()
                            assert not slow.is_whole
                finally:
                    stop.set()
                for one in running:
                    one.result()
        with site.replica() as again:
            assert len(b"".join(map(body_of, site.ask(again, SMALL, "alice").urls))) > 10_000
            assert again.stop() == 0
        yield Aftermath(site, load.had, broken_off)


def body_of(url: str) -> bytes:
    answer = fetched(url)
    assert answer.status == 200
    return answer.body


def verdict(site: Shared, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What `htsgate audit verify` finds."""
    given = ["audit", "verify", "--json", "--config", str(site.config), *options]
    capsys.readouterr()
    status = run(given)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status == (0 if found["good"] else 1)
    (chain,) = found["chains"]
    return {"good": found["good"], **chain}


@pytest.mark.security("TA3")
def test_nothing_that_was_sent_is_missing(
    killed: Aftermath, capsys: pytest.CaptureFixture[str]
) -> None:
    intents = {(each["tid"], each["n"][0]) for each in killed.site.events("data.intent")}
    assert len(killed.had) > 10
    assert killed.had <= intents
    found = verdict(killed.site, capsys, "--checkpoints", str(killed.site.checkpoints))
    assert found["good"]
    assert found["first_bad"] is None
    assert found["anchored"] == found["records"]
    unfinished = {each["tid"] for each in found["unfinished"]}
    assert set(killed.broken_off) <= unfinished
    assert len(unfinished) <= ROUNDS + 4 * ROUNDS


Tamper = Callable[[Connection], None]


def edited(seq: int) -> Tamper:
    def tamper(connection: Connection) -> None:
        payload = bytes(select(connection, seq).payload).replace(b"data.", b"lies.", 1)
        put(connection, seq, payload, None)

    return tamper


def swapped(seq: int) -> Tamper:
    def tamper(connection: Connection) -> None:
        one, two = select(connection, seq), select(connection, seq + 1)
        put(connection, seq, two.payload, two.hash)
        put(connection, seq + 1, one.payload, one.hash)

    return tamper


def removed(condition: str) -> Tamper:
    def tamper(connection: Connection) -> None:
        connection.exec_driver_sql(f"DELETE FROM audit WHERE {condition}")  # noqa: S608

    return tamper


def renumbered(seq: int) -> Tamper:
    """A record is taken out, and those after it close the gap, with hashes that are right."""

    def tamper(connection: Connection) -> None:
        rows = connection.exec_driver_sql(
            f"SELECT * FROM audit WHERE seq >= {seq - 1} ORDER BY seq"  # noqa: S608
        ).all()
        removed(f"seq >= {seq}")(connection)
        insert = text("INSERT INTO audit VALUES (:chain, :seq, :payload, :hash)")
        previous = bytes(rows[0].hash)
        for number, row in enumerate(rows[2:], start=seq):
            previous = chained(previous, number, bytes(row.payload))
            values = {"chain": row.chain, "seq": number, "payload": bytes(row.payload)}
            connection.execute(insert, {**values, "hash": previous})

    return tamper


def select(connection: Connection, seq: int) -> Any:
    return connection.execute(text("SELECT * FROM audit WHERE seq = :seq"), {"seq": seq}).one()


def put(connection: Connection, seq: int, payload: bytes, digest: bytes | None) -> None:
    query = text(
        "UPDATE audit SET payload = :payload, hash = coalesce(:hash, hash) WHERE seq = :seq"
    )
    connection.execute(query, {"seq": seq, "payload": payload, "hash": digest})


def unprotected(engine: Engine) -> None:
    """As an administrator of the database can: without the triggers, and with a copy."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for name in connection.exec_driver_sql(query).scalars().all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in ("audit", "audit_checkpoints"):
                connection.exec_driver_sql(f"DROP TRIGGER {table}_no_change ON {table}")
        for table in ("audit", "audit_checkpoints"):
            connection.exec_driver_sql(f"CREATE TABLE {table}_copy AS SELECT * FROM {table}")  # noqa: S608


@pytest.mark.security("TA1")
def test_tampering(killed: Aftermath, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs after what needs the trail as it was. Only a copy elsewhere of the checkpoints finds
    what somebody does who may write everything."""
    site = killed.site
    engine = create_engine(site.database.replace("postgresql:", "postgresql+psycopg:"))
    unprotected(engine)
    folder = ("--checkpoints", str(site.checkpoints))
    records = site.records()
    seq = next(at for at, each in enumerate(records, start=1) if each["event"] == "data.done")
    last = len(records)

    def after(tamper: Tamper, *options: str) -> dict[str, Any]:
        with engine.begin() as connection:
            for table in ("audit", "audit_checkpoints"):
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
                copy = f"INSERT INTO {table} SELECT * FROM {table}_copy"  # noqa: S608
                connection.exec_driver_sql(copy)
            tamper(connection)
        return verdict(site, capsys, *options)

    def without_checkpoints(tamper: Tamper) -> Tamper:
        def both(connection: Connection) -> None:
            tamper(connection)
            connection.exec_driver_sql("DELETE FROM audit_checkpoints")

        return both

    assert after(removed("seq = 0"), *folder)["good"]
    assert after(edited(seq))["first_bad"]["seq"] == seq
    assert after(swapped(seq))["first_bad"]["seq"] == seq
    assert after(removed(f"seq = {seq}"))["first_bad"]["seq"] == seq
    for unseen in (renumbered(seq), removed(f"seq > {last - 3}"), removed("seq > 0")):
        assert not after(unseen)["good"]
    for unseen in (renumbered(seq), removed(f"seq > {last - 3}")):
        assert after(without_checkpoints(unseen))["good"]
        assert not after(without_checkpoints(unseen), *folder)["good"]
    assert not after(without_checkpoints(removed("seq > 0")), *folder)["good"]
    engine.dispose()


@pytest.mark.security("TA2")
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_database_that_is_gone(
    folder: Path,
    tmp_path: Path,
    database_url: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What needs it is refused, everything else goes on; and then it is as it was."""
    with (
        shared(tmp_path, database_url, folder) as site,
        site.replica() as server,
        ThreadPoolExecutor(8) as threads,
    ):
        urls = site.ask(server, SMALL, "alice").urls
        begun = site.ask(server, HEAVY, "alice").urls[1]

        def timed(ask: Callable[[], Answer]) -> tuple[Answer, float]:
            began = time.monotonic()
            answer = ask()
            return answer, time.monotonic() - began

        def public() -> Answer:
            opened = site.ask(server, "/reads/open/small").urls
            return fetched(opened[1])

        with closing(Download(begun, pace=1 << 12)) as slow:
            with away(database_url, request):
                controlled = [
                    threads.submit(timed, lambda: site.ask(server, SMALL, "alice")),
                    *(threads.submit(timed, partial(fetched, each)) for each in urls),
                ]
                for ask in [public, lambda: fetched(f"{server.url}/health/live")] * 5:
                    answer, took = timed(ask)
                    assert answer.status == 200
                    assert took < 3
                for each in controlled:
                    answer, took = each.result()
                    assert answer.status == 503
                    assert int(answer.headers["retry-after"]) > 0
                    assert took < UNAVAILABLE_SECONDS
                if "sqlite" in database_url:  # which can be read still
                    assert not slow.ended
                    policy = site.policy.read_text()
                    site.policy.write_text(policy.replace('sub = "alice"', 'sub = "zoe"'))
                    eventually(lambda: slow.ended, 2)
                    site.policy.write_text(policy)
                else:  # whether it still may, nobody can tell
                    eventually(lambda: slow.ended, UNAVAILABLE_SECONDS)
            eventually(lambda: site.ask(server, SMALL, "alice").status == 200, 10)
            eventually(lambda: fetched(urls[1]).status == 200, 5)
            assert not slow.is_whole
        (cut,) = (each["outcome"] for each in site.events("data.aborted"))
        assert cut == ("object.not_visible" if "sqlite" in database_url else "consent.unread")
        assert server.stop() == 0
        assert "Traceback" not in server.log
        assert verdict(site, capsys, "--checkpoints", str(site.checkpoints))["good"]


@contextmanager
def away(database_url: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """PostgreSQL stopped; SQLite locked by somebody."""
    if database_url.startswith("sqlite"):
        path = database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()
