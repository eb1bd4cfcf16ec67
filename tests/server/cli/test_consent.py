"""`htsgate consent`: withdraw, restore, list."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auth.policy.document import Dataset
from server.access.audit_chain import CHAIN, read_entries
from server.access.consent_store import ConsentStore
from server.cli.consent import add_arguments
from server.config import ConfigurationError
from server.database import Database

POLICY = """
schema = "htsget-policy/1"
custodian = "A hospital"
[[dataset]]
id = "D"
objects = ["reads/**"]
samples = "samples.csv"
[[dataset]]
id = "E"
objects = ["variants/**"]
"""
MAP = "object,sample,participant\nreads/a,S-1,P-1\nreads/b,S-1b,P-1\nreads/c,S-2,P-2\n"

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as found:
        yield found


@pytest.fixture
def say(database_url: str, database: Database, capsys: pytest.CaptureFixture[str]) -> Say:
    """Exit status, output and messages of a command on a database that is there."""

    def command(*arguments: str) -> tuple[int, str, str]:
        return run(capsys, *arguments, "--database", database_url)

    return command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(arguments)
    capsys.readouterr()
    status = options.command(options)
    output = capsys.readouterr()
    return status, output.out, output.err


def listed(say: Say) -> list[dict[str, Any]]:
    status, output, _ = say("list", "--json")
    assert status == 0
    found: list[dict[str, Any]] = json.loads(output)
    return found


def records(database: Database) -> list[dict[str, Any]]:
    return [json.loads(each.payload) for each in read_entries(database, CHAIN)]


async def test_withdraw_and_restore(say: Say, database: Database) -> None:
    store = ConsentStore(database, lambda: datasets)
    datasets = {"D": Dataset("D")}
    await store.refresh()
    status, output, _ = say("withdraw", "--object", "reads/a", "--from", "2026-01-31")
    assert status == 0
    assert output == "withdrawn: object reads/a in all datasets, from 2026-01-31T00:00:00.000Z\n"
    await store.refresh()
    assert store.current.withheld("D", "reads/a", time.time() + 1) == "consent.withdrawn"
    status, output, _ = say("restore", "--object", " reads/a", "--dataset", "D", "--reason", "ok")
    assert output.startswith("restored: object reads/a in dataset D, from 20")
    await store.refresh()
    assert store.current.withheld("D", "reads/a", time.time() + 1) is None
    assert store.current.withheld("E", "reads/a", time.time() + 1) == "consent.withdrawn"
    first, second = listed(say)
    assert (first["action"], first["kind"], first["value"]) == ("withdraw", "object", "reads/a")
    assert (first["dataset"], first["reason"], first["listed"]) == (None, None, False)
    assert first["effective_from"] == "2026-01-31T00:00:00.000Z"
    assert (second["action"], second["dataset"], second["reason"]) == ("restore", "D", "ok")
    assert first["by"]


def test_the_audit_names_no_person(say: Say, database: Database) -> None:
    say("withdraw", "--participant", "P-00017", "--reason", "wrote on Monday")
    say("withdraw", "--sample", "S-00017", "--dataset", "D")
    found = records(database)
    assert [each["event"] for each in found] == ["consent.updated"] * 2
    assert (found[0]["action"], found[0]["kind"]) == ("withdraw", "participant")
    assert len(found[0]["value"]["pii"]) == 64
    text = json.dumps(found)
    assert "00017" not in text
    assert "Monday" not in text


def test_list(say: Say) -> None:
    assert say("list") == (0, "nothing is recorded\n", "")
    say("withdraw", "--participant", "P-[red]1", "--from", "2030-01-01T01:00:00+01:00")
    status, output, _ = say("list")
    assert status == 0
    for text in ("withdraw", "participant", "P-[red]1", "all", "2030"):
        assert text in output


def test_a_name_that_no_map_holds(say: Say, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(MAP)
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    told = ("--policy", str(policy))
    assert "about 2 objects" in say("withdraw", "--participant", "P-1", *told)[1]
    assert "about 1 object\n" in say("withdraw", "--sample", "S-2", "--dataset", "D", *told)[1]
    for arguments in (
        ("--participant", "S-1"),
        ("--sample", "P-1"),
        ("--participant", "P-1", "--dataset", "E"),
    ):
        status, _, messages = say("withdraw", *arguments, *told)
        assert status == 0
        assert "no sample map names" in messages
    (tmp_path / "samples.csv").write_text("nonsense")
    status, _, messages = say("withdraw", "--participant", "P-1", *told)
    assert status == 0
    assert "cannot say which objects: line 1" in messages
    assert len(listed(say)) == 6


def test_a_database_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/none.db"
    for arguments in (("list",), ("withdraw", "--participant", "P-1")):
        status, _, messages = run(capsys, *arguments, "--database", url)
        assert status == 1
        assert "no such database" in messages
        assert not list(tmp_path.iterdir())
        with pytest.raises(ConfigurationError, match="--database"):
            run(capsys, *arguments)
        with pytest.raises(ConfigurationError, match="--database"):
            run(capsys, *arguments, "--database", "nonsense")


@pytest.mark.parametrize(
    "arguments",
    [
        ("withdraw",),
        ("withdraw", "--participant", "P-1", "--sample", "S-1"),
        ("withdraw", "--participant", "P-1", "--from", "tomorrow"),
        (),
    ],
)
def test_arguments_that_cannot_be(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as error:
        run(capsys, *arguments)
    assert error.value.code == 2


def test_names_that_cannot_be(say: Say) -> None:
    with pytest.raises(ConfigurationError, match="the sample is empty"):
        say("withdraw", "--sample", " ")
    assert listed(say) == []
