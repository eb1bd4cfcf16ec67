"""Consent over processes, restarts and broken lists, on both databases."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from auth.consent import Action, Kind, Statement
from auth.errors import InvalidConfiguration
from auth.policy.document import Dataset
from server.access.consent_files import WatchedList, WatchedMap
from server.access.consent_journal import read
from server.access.consent_store import ConsentStore
from server.access.consent_tables import STATEMENTS
from server.database import Database, DatabaseUnavailable

MAP = "object,sample,participant\nreads/a,S-1,P-1\nreads/b,S-2,P-2\n"
MAP += "variants/joint,S-1,P-1\nvariants/joint,S-2,P-2\n"
HEAD = "participant,effective_from\n"
OBJECTS = ("reads/a", "reads/b", "variants/joint", "reads/unknown")
OLD = 10.0  # seconds: nobody writes to the file any more


def write(path: Path, text: str, age: float = OLD) -> Path:
    """A file that was written to so long before, the whole of it at once."""
    part = path.with_suffix(".part")
    part.write_text(text)
    then = time.time() - age
    os.utime(part, (then, then))
    return part.replace(path)


class Custodian:
    """The files of a dataset, the policy that names them, and a store that follows both."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.map = write(folder / "samples.csv", MAP)
        self.list = write(folder / "withdrawn.csv", HEAD)
        self.database = database
        self.datasets = {"D": Dataset("D", samples=self.map, withdrawn=self.list)}
        self.ahead = 0.0
        self.notes: list[Any] = []
        self.store = self.replica()

    def replica(self) -> ConsentStore:
        return ConsentStore(
            self.database,
            lambda: self.datasets,
            self.notes.append,
            lambda: time.time() + self.ahead,
        )

    def withheld(self, store: ConsentStore | None = None, dataset: str = "D") -> dict[str, str]:
        current = (store or self.store).current
        now = time.time() + self.ahead
        found = {name: current.withheld(dataset, name, now) for name in OBJECTS}
        return {name: reason.removeprefix("consent.") for name, reason in found.items() if reason}

    def record(self, action: str, kind: str, value: str, dataset: str = "", start: int = 0) -> None:
        statement = Statement(Action(action), Kind(kind), value, dataset, start)
        self.database.run(
            lambda connection: self.store.record(connection, statement, "asked", "custodian"),
            writing=True,
        )

    def events(self, name: str) -> list[Any]:
        return [each for each in self.notes if each["event"] == name]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as found:
        yield found


@pytest.fixture
def custodian(tmp_path: Path, database: Database) -> Custodian:
    return Custodian(tmp_path, database)


P1 = {"reads/a": "withdrawn", "variants/joint": "joint", "reads/unknown": "unmapped"}
P2 = {"reads/b": "withdrawn", "variants/joint": "joint", "reads/unknown": "unmapped"}
NOBODY = {"reads/unknown": "unmapped"}
NOTHING_LEAVES = dict.fromkeys(OBJECTS, "stale")


@pytest.mark.security("TU4")
async def test_withdraw_and_restore_on_two_replicas(custodian: Custodian) -> None:
    other = custodian.replica()
    assert await custodian.store.refresh()
    assert await other.refresh()
    assert custodian.withheld() == custodian.withheld(other) == NOBODY
    assert not await other.refresh()
    custodian.record("withdraw", "participant", "P-1")
    assert await custodian.store.refresh()
    assert await other.refresh()
    assert custodian.withheld() == custodian.withheld(other) == P1
    assert custodian.store.current.version == other.current.version
    before = other.current.version
    custodian.record("restore", "participant", "P-1", "D", int(time.time()))
    assert await other.refresh()
    assert custodian.withheld(other) == NOBODY
    assert other.current.version != before
    assert custodian.withheld() == P1
    assert not await other.refresh()


async def test_before_the_first_look_nothing_leaves(custodian: Custodian) -> None:
    assert custodian.withheld() == NOTHING_LEAVES
    assert custodian.withheld(dataset="another") == NOTHING_LEAVES
    await custodian.store.refresh()
    assert custodian.withheld(dataset="another") == {}
    assert abs(custodian.store.fresh_at - time.time()) < 5


async def test_a_list_grows(custodian: Custodian) -> None:
    await custodian.store.refresh()
    write(custodian.list, HEAD + "P-1,2020-01-01\n")
    assert await custodian.store.refresh()
    assert custodian.withheld() == P1
    write(custodian.list, HEAD + "P-1,2020-01-01\nP-9,2020-01-01\nP-2,2999-01-01\n")
    await custodian.store.refresh()
    assert custodian.withheld() == P1
    assert [each["count"] for each in custodian.events("consent.updated")] == [1, 2]
    assert not custodian.events("consent.stale")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD, "2 of 2 lines that it held before are gone"),
        (HEAD + "P-1,2020-01-01\nP-3,2020-01-01\n", "1 of 2 lines"),
        (HEAD + "P-1,2020-01-01\nP-2,2020-01-02\n", "1 of 2 lines"),
        (HEAD + "P-1,2020-01-01\nP-2,2020-01-01\nP-3\n", "line 4: 2 fields"),
        ("", "line 1: the header is participant,effective_from"),
        (None, "cannot be read: No such file or directory"),
    ],
)
async def test_a_list_that_is_not_taken(
    custodian: Custodian, text: str | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    write(custodian.list, HEAD + "P-1,2020-01-01\nP-2,2020-01-01\n")
    await custodian.store.refresh()
    before = custodian.withheld()
    assert before["variants/joint"] == "withdrawn"
    if text is None:
        custodian.list.unlink()
    else:
        write(custodian.list, text)
    assert not await custodian.store.refresh()
    assert custodian.withheld() == before
    assert problem in caplog.text
    assert "P-" not in caplog.text
    assert [each["rule"] for each in custodian.events("consent.stale")] == ["consent.list_refused"]
    assert not await custodian.store.refresh()
    assert len(custodian.events("consent.stale")) == 1, "said once"

    restarted = custodian.replica()
    await restarted.refresh()
    assert custodian.withheld(restarted) == before, "what was said stays said"
    write(custodian.list, HEAD + "P-1,2020-01-01\nP-2,2020-01-01\nP-4,2020-01-01\n", OLD - 1)
    await custodian.store.refresh()
    assert custodian.withheld() == before
    assert custodian.events("consent.updated")[-1]["count"] == 1


async def test_restored_although_listed(custodian: Custodian) -> None:
    write(custodian.list, HEAD + "P-1,2020-01-01\n")
    await custodian.store.refresh()
    custodian.record("restore", "participant", "P-1", "D")
    await custodian.store.refresh()
    assert custodian.withheld() == NOBODY
    restarted = custodian.replica()
    await restarted.refresh()
    assert custodian.withheld(restarted) == NOBODY
    write(custodian.list, HEAD + "P-1,2020-01-01\nP-1,2020-01-02\n")
    await restarted.refresh()
    assert custodian.withheld(restarted) == P1, "another line withdraws again, whatever its date"


async def test_a_list_that_is_being_written(custodian: Custodian) -> None:
    write(custodian.list, HEAD + "P-1,2020-01-01\n")
    await custodian.store.refresh()
    custodian.list.write_text("")
    assert not await custodian.store.refresh()
    custodian.list.write_text(HEAD + "P-1,2020-01-01\nP-2,2020-01-01T00:00:00+00:0")
    await custodian.store.refresh()
    custodian.list.write_text(HEAD + "P-1,2020-01-01\nP-2,2020-01-01")
    await custodian.store.refresh()
    assert custodian.withheld() == P1
    assert not custodian.events("consent.stale"), "no alarm before it is certain"
    with custodian.list.open("a") as file:
        file.write("T12:00:00Z\n")
    await custodian.store.refresh()
    assert custodian.withheld()["reads/b"] == "withdrawn"
    assert not custodian.events("consent.stale")


async def test_a_list_without_a_last_line_end(custodian: Custodian) -> None:
    write(custodian.list, HEAD + "P-1,2020-01-01")
    await custodian.store.refresh()
    write(custodian.list, HEAD + "P-1,2020-01-01\nP-2,2020-01-01")
    await custodian.store.refresh()
    assert custodian.withheld()["reads/b"] == "withdrawn"


async def test_consent_that_gets_old(custodian: Custodian) -> None:
    old = Dataset("D", samples=custodian.map, withdrawn=custodian.list, consent_max_age=3600)
    custodian.datasets = {"D": old}
    await custodian.store.refresh()
    version = custodian.store.current.version
    assert custodian.withheld() == NOBODY
    custodian.ahead = 3600
    assert custodian.withheld() == NOTHING_LEAVES
    assert await custodian.store.refresh()
    assert custodian.store.current.version != version
    assert [each["rule"] for each in custodian.events("consent.stale")] == ["consent.stale"]
    restarted = custodian.replica()
    await restarted.refresh()
    assert custodian.withheld(restarted) == NOTHING_LEAVES
    write(custodian.list, HEAD, -1800)  # touched since
    assert await custodian.store.refresh()
    assert custodian.withheld() == NOBODY
    assert custodian.store.current.version == version
    await restarted.refresh()
    assert custodian.withheld(restarted) == NOBODY


async def test_what_comes_into_effect_without_anybody_doing_anything(custodian: Custodian) -> None:
    custodian.record("withdraw", "object", "reads/b", "D", int(time.time()) + 1000)
    await custodian.store.refresh()
    version = custodian.store.current.version
    custodian.ahead = 1001
    assert custodian.withheld()["reads/b"] == "withdrawn", "even before the next look"
    assert custodian.store.current.version == version
    assert await custodian.store.refresh()
    assert custodian.store.current.version != version


async def test_a_replica_whose_clock_is_behind(custodian: Custodian) -> None:
    await custodian.store.refresh()
    custodian.record("withdraw", "participant", "P-1", "", int(time.time()))
    behind = ConsentStore(
        custodian.database, lambda: custodian.datasets, None, lambda: time.time() - 300
    )
    await behind.refresh()
    assert behind.current.withheld("D", "reads/a", time.time() - 300) == "consent.withdrawn"
    await custodian.store.refresh()
    assert behind.current.version == custodian.store.current.version


async def test_a_map_that_changes(custodian: Custodian, caplog: pytest.LogCaptureFixture) -> None:
    custodian.record("withdraw", "participant", "P-3")
    await custodian.store.refresh()
    version = custodian.store.current.version
    write(custodian.map, MAP + "variants/joint,S-3,P-3\n", 0)
    assert not await custodian.store.refresh(), "it may be half of one"
    write(custodian.map, MAP + "variants/joint,S-3,P-3\n")
    assert await custodian.store.refresh()
    assert custodian.withheld()["variants/joint"] == "joint"
    assert custodian.store.current.version != version
    for text in (MAP + "x,y\n", None):
        if text is None:
            custodian.map.unlink()
        else:
            write(custodian.map, text)
        assert not await custodian.store.refresh()
        assert custodian.withheld()["variants/joint"] == "joint"
        assert custodian.events("consent.stale")[-1]["rule"] == "consent.map_refused"
    assert "line 6: 3 fields" in caplog.text
    assert len(custodian.events("consent.stale")) == 2


@pytest.mark.parametrize("broken", ["map", "list"])
async def test_nothing_begins_without_lists(custodian: Custodian, broken: str) -> None:
    path = getattr(custodian, broken)
    write(path, "nonsense\n")
    for _ in range(2):
        with pytest.raises(InvalidConfiguration, match=f"{path.name}: line 1: the header is"):
            await custodian.store.refresh()
        assert custodian.withheld() == NOTHING_LEAVES
    write(path, MAP if broken == "map" else HEAD, OLD - 1)
    await custodian.store.refresh()
    assert custodian.withheld() == NOBODY


async def test_policy_names_another_dataset(custodian: Custodian, tmp_path: Path) -> None:
    """No moment in which its participants are not asked for."""
    await custodian.store.refresh()
    custodian.record("withdraw", "participant", "P-1")
    await custodian.store.refresh()
    known = custodian.datasets["D"]
    other = Dataset("E", samples=custodian.map)
    custodian.datasets = {"D": known, "E": other}
    assert custodian.withheld() == P1
    assert custodian.withheld(dataset="E") == NOTHING_LEAVES
    assert await custodian.store.refresh()
    assert custodian.withheld(dataset="E") == P1
    custodian.datasets = {"D": known, "E": Dataset("E", samples=tmp_path / "missing.csv")}
    assert custodian.withheld(dataset="E") == NOTHING_LEAVES
    assert custodian.withheld() == P1
    await custodian.store.refresh()
    assert custodian.withheld(dataset="E") == NOTHING_LEAVES
    assert custodian.events("consent.stale")[0]["rule"] == "consent.map_refused"
    custodian.datasets = {"D": known}
    await custodian.store.refresh()
    assert custodian.withheld() == P1
    assert custodian.withheld(dataset="E") == {}


async def test_what_fails_in_between_is_done_again(
    custodian: Custodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    await custodian.store.refresh()
    fresh_at = custodian.store.fresh_at
    write(custodian.map, MAP + "reads/unknown,S-9,P-9\n")
    run = custodian.database.run

    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(custodian.database, "run", fail)
    with pytest.raises(DatabaseUnavailable):
        await custodian.store.refresh()
    assert custodian.store.fresh_at == fresh_at
    monkeypatch.setattr(custodian.database, "run", run)
    assert await custodian.store.refresh()
    assert custodian.withheld() == {}
    assert custodian.store.fresh_at > fresh_at


WRITING = """
import sys
from auth.consent import Action, Kind, Statement
from server.access import consent_journal
from server.database import Database

database = Database(sys.argv[1])
for number in range(50):
    statement = Statement(Action.WITHDRAW, Kind.OBJECT, f"reads/{sys.argv[2]}-{number}", "", 0)
    database.run(lambda connection: consent_journal.record(
        connection, statement, reason="", by="", now=0.0), writing=True)
"""


def write_much(url: str, number: int) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", WRITING, url, str(number)], cwd=root)


async def test_several_processes_write(database_url: str, custodian: Custodian) -> None:
    """No statement is overlooked, in whatever order transactions end."""
    await custodian.store.refresh()
    processes = [write_much(database_url, number) for number in range(3)]
    while any(process.poll() is None for process in processes):
        await custodian.store.refresh()
        await asyncio.sleep(0.01)
    assert [process.returncode for process in processes] == [0, 0, 0]
    await custodian.store.refresh()
    now, current = time.time(), custodian.store.current
    for number in range(150):
        name = f"reads/{number // 50}-{number % 50}"
        assert current.withheld("D", name, now) == "consent.withdrawn"


async def test_replicas_read_one_list(custodian: Custodian) -> None:
    write(custodian.list, HEAD + "".join(f"P-{number},2020-01-01\n" for number in range(500)))
    replicas = [custodian.replica() for _ in range(4)]
    await asyncio.gather(*(each.refresh() for each in replicas))
    assert {each.current.version for each in replicas} == {replicas[0].current.version}
    assert len(custodian.database.run(lambda connection: list(read(connection)))) == 500


async def test_a_look_costs_a_query(custodian: Custodian) -> None:
    await custodian.store.refresh()
    statements: list[str] = []

    @event.listens_for(custodian.database._engine, "before_cursor_execute")
    def executed(*arguments: Any) -> None:
        statements.append(arguments[2])

    await custodian.store.refresh()
    assert len([each for each in statements if each.startswith("SELECT")]) == 1


@pytest.mark.parametrize(
    ("value", "dataset", "problem"),
    [
        ("", "", "the participant is empty"),
        ("P\n1", "", "the participant holds a control character"),
        ("P" * 256, "", "the participant has more than 255 characters"),
        ("P-1", "D\x00", "the dataset holds a control character"),
    ],
)
def test_names_that_cannot_be(custodian: Custodian, value: str, dataset: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        custodian.record("withdraw", "participant", value, dataset)


def test_what_is_kept_of_a_statement(custodian: Custodian) -> None:
    custodian.record("withdraw", "participant", " P-1 ", "D", 7)
    (found,) = custodian.database.run(lambda connection: list(read(connection)))
    assert found.statement == Statement(Action.WITHDRAW, Kind.PARTICIPANT, "P-1", "D", 7)
    assert (found.reason, found.by, found.listed) == ("asked", "custodian", False)
    assert abs(found.at - time.time()) < 60


def execute(statement: Any, connection: Connection) -> None:
    connection.execute(statement)


def test_statements_are_never_changed(custodian: Custodian) -> None:
    custodian.record("withdraw", "participant", "P-1")
    for change in (STATEMENTS.delete(), STATEMENTS.update().values(value="P-2")):
        with pytest.raises(DatabaseUnavailable):
            custodian.database.run(partial(execute, change))
    assert len(custodian.database.run(lambda connection: list(read(connection)))) == 1


def test_watched_files(tmp_path: Path) -> None:
    path = write(tmp_path / "map.csv", MAP)
    watched = WatchedMap(path)
    assert watched.look()
    assert not watched.look()
    write(path, MAP, OLD - 1)
    assert not watched.look(), "touched, not changed"
    listed = WatchedList(tmp_path / "none.csv")
    with pytest.raises(InvalidConfiguration):
        listed.look()
    assert listed.refuse()
    assert listed.look() is None
