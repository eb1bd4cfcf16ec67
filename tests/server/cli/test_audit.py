"""`htsgate audit`: what it says of trails that are whole and of such as are not."""

import argparse
import asyncio
import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.audit.chain import GENESIS, canonical, chained
from auth.audit.checkpoints import new_key, write_key
from auth.audit.record import Event, Pii
from server.access.audit_export import manifest_of
from server.access.audit_log import AuditLog
from server.cli.audit import add_arguments
from server.cli.audit_reports import harmless
from server.database import Database

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CARDIO = "https://data.hospital.example/datasets/CARDIO-01"
ALICE = Pii("sub", "https://login.example/|alice")
BOB = Pii("sub", "https://login.example/|bob")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        capsys.readouterr()
        options = parser.parse_args([str(each) for each in arguments])
        status: int = options.command(options)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def ticket(tid: str, who: Pii, object_id: str, **more: Any) -> Event:
    return {
        "event": "ticket.intent",
        "req": f"r-{tid}",
        "tid": tid,
        "subject": {"pii": who, "client_id": "igv"},
        "peer": Pii("peer", "10.0.0.1"),
        "dataset": CARDIO,
        "endpoint": "reads",
        "object": object_id,
        "format": "BAM",
        "class": "body",
        "requested": "all",
        "authorised": [["chr2", 178_530_000, 178_530_100], ["chr3", 10], ["chr4"]],
        "rule": "allow.group",
        "grant_ids": ["G-1"],
        **more,
    }


def data(event: str, tid: str, req: str, **more: Any) -> Event:
    return {"event": f"data.{event}", "tid": tid, "req": req, "n": [0, 1], **more}


def events() -> list[Event]:
    return [
        ticket("t1", ALICE, "cardio/1"),
        data("intent", "t1", "r-11"),
        data("done", "t1", "r-11", bytes=2000, records=20, outcome="complete"),
        ticket("t2", BOB, "cardio/2", authorised="all"),
        data("intent", "t2", "r-21"),
        data("aborted", "t2", "r-21", bytes=5, outcome="aborted"),
        ticket("t3", ALICE, "cardio/2", dataset="=cmd|' /C calc'!A0"),
        data("intent", "t3", "r-31"),
        ticket("t4", BOB, "cardio/1"),
        data("denied", "t4", "r-41", rule="consent.withdrawn"),
        ticket("t5", BOB, "cardio/1"),
        {**ticket("", ALICE, "x"), "event": "ticket.denied", "rule": "object.not_visible"},
    ]


async def record(url: str, told: list[Event], folder: Path | None, **options: Any) -> None:
    with closing(Database(url, durable=True)) as database:
        log = AuditLog(
            database, server_id="srv-1", version="1", signer=KEY, checkpoints=folder, **options
        )
        await log.start()
        for each in told:
            await log.commit([each])
        await log.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


@pytest.fixture
def url(database_url: str, folder: Path) -> str:
    """A database with a trail, on both kinds."""
    asyncio.run(record(database_url, events(), folder))
    return database_url


@pytest.fixture
def file(tmp_path: Path, folder: Path) -> Path:
    """A file of SQLite with a trail, to be spoilt."""
    path = tmp_path / "spoilt.db"
    asyncio.run(record(f"sqlite:///{path}", events(), folder))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pub"
    path.write_bytes(write_key(KEY)[1])
    return path


def spoil(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for each in statements:
            connection.execute(each)
        connection.commit()


# ---- verify

_SWAP = (
    "UPDATE audit SET seq = seq * 10 WHERE seq IN (4, 5);"
    "UPDATE audit SET seq = 9 - seq / 10 WHERE seq IN (40, 50)"
)


def test_a_whole_trail(run: Run, url: str, folder: Path, key: Path) -> None:
    status, out, _ = run("verify", "--database", url, "--checkpoints", folder, "--public-key", key)
    assert status == 0
    assert out.startswith(
        "htsgate: 14 records, every hash right\nhtsgate: 2 checkpoints, signed by"
    )
    assert "the last one confirms record 14" in out
    assert "1 transfer without a recorded end:" in out
    assert "r-31 t3" in out
    document = json.loads(run("verify", "--database", url, "--json")[1])
    (chain,) = document["chains"]
    assert document["good"]
    assert (chain["records"], chain["checkpoints"], chain["anchored"]) == (14, 2, 14)
    assert [each["req"] for each in chain["unfinished"]] == ["r-31"]


@pytest.mark.security("TA1")
@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE audit SET payload = replace(payload, 'G-1', 'G-2') WHERE seq = 2", 2),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 7", 7),
        ("DELETE FROM audit WHERE seq > 10", 11),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET chain = 'other'", 1),
        ("INSERT INTO audit SELECT chain, 15, payload, hash FROM audit WHERE seq = 14", 15),
        (_SWAP, 4),
    ],
)
def test_a_spoilt_trail(run: Run, file: Path, folder: Path, statement: str, bad: int) -> None:
    statement = statement.replace("replace(payload", "CAST(replace(CAST(payload AS TEXT)")
    statement = statement.replace("'G-2')", "'G-2') AS BLOB)")
    spoil(file, *statement.split(";"))
    arguments = ("verify", "--database", f"sqlite:///{file}", "--checkpoints", folder)
    status, out, _ = run(*arguments)
    assert status == 1
    assert f"htsgate: BAD: record {bad} " in out
    (chain, *_) = json.loads(run(*arguments, "--json")[1])["chains"]
    assert chain["first_bad"]["seq"] == bad


@pytest.mark.security("TA1")
def test_a_trail_written_anew(run: Run, file: Path, folder: Path, key: Path) -> None:
    """By somebody who has the database and another key."""
    with closing(sqlite3.connect(file)) as connection:
        payloads = [row[0] for row in connection.execute("SELECT payload FROM audit ORDER BY seq")]
    spoil(file, "DROP TABLE audit", "DROP TABLE audit_checkpoints")
    forger = new_key()
    with closing(Database(f"sqlite:///{file}")):
        pass  # makes the tables
    previous = GENESIS
    with closing(sqlite3.connect(file)) as connection:
        for seq, payload in enumerate(payloads, 1):
            forged = payload.replace(b"alice", b"bob").replace(b"cardio/1", b"cardio/9")
            previous = chained(previous, seq, forged)
            row = ("htsgate", seq, forged, previous)
            connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?)", row)
        connection.commit()

    async def sign() -> None:
        with closing(Database(f"sqlite:///{file}")) as database:
            log = AuditLog(database, server_id="srv-1", version="1", signer=forger)
            await log.start()
            await log.close()

    asyncio.run(sign())
    arguments = ("verify", "--database", f"sqlite:///{file}")
    assert run(*arguments)[0] == 0  # nothing in it contradicts anything
    status, out, _ = run(*arguments, "--public-key", key)
    assert status == 1
    assert "a signature that is not right" in out
    assert "no checkpoint" in out
    status, out, _ = run(*arguments, "--checkpoints", folder)
    assert status == 1
    assert "BAD: record 14 an anchor has another hash for it" in out


@pytest.mark.security("TA1")
def test_another_name_for_a_pseudonym(run: Run, file: Path) -> None:
    spoil(file, "UPDATE audit_pii SET value = 'https://login.example/|eve' WHERE value LIKE '%bob'")
    status, out, _ = run("verify", "--database", f"sqlite:///{file}")
    assert status == 1
    assert "1 pseudonym of another name" in out


def test_erasure_keeps_the_trail(run: Run, url: str) -> None:
    with closing(Database(url)) as database:
        database.run(lambda each: each.exec_driver_sql("DELETE FROM audit_pii"))
    assert run("verify", "--database", url)[0] == 0
    status, out, _ = run("report", "--database", url, "--format", "json")
    assert status == 0
    assert all(each["subject"].startswith("erased:") for each in json.loads(out))


def test_nothing_to_verify(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run("verify", "--database", f"sqlite:///{tmp_path}/none.db")
    assert (status, err) == (1, "htsgate: there is no database with an audit in it\n")
    with closing(Database(f"sqlite:///{tmp_path}/empty.db")):
        pass
    status, out, _ = run("verify", "--database", f"sqlite:///{tmp_path}/empty.db")
    assert (status, out) == (0, "nothing is recorded\n")


# ---- export


@pytest.mark.security("TA5")
def test_an_export_proves_itself(
    run: Run, url: str, folder: Path, key: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trail.jsonl"
    status, out, _ = run("export", path, "--database", url)
    assert status == 0
    assert f"{path}: 14 records" in out
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"alice" not in path.read_bytes() + manifest_of(path).read_bytes()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [each["seq"] for each in lines] == list(range(1, 15))
    with pytest.raises(FileExistsError):
        run("export", path, "--database", url)
    # Elsewhere: by a process of its own, in an empty folder, without database or settings.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for each in (path, manifest_of(path), key):
        each.rename(elsewhere / each.name)
    program = (
        "import argparse, sys; from server.cli.audit import add_arguments;"
        " parser = argparse.ArgumentParser(); add_arguments(parser);"
        " options = parser.parse_args(); sys.exit(options.command(options))"
    )
    command = [sys.executable, "-c", program, "verify", "--export", path.name]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.defpath}
    done = subprocess.run(
        [*command, "--public-key", key.name],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("htsgate: 14 records, every hash right\n")
    assert run("verify", "--export", elsewhere / path.name, "--checkpoints", folder)[0] == 0


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:-3]


def edited(lines: list[bytes]) -> list[bytes]:
    return [each.replace(b"G-1", b"G-2") for each in lines]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def respaced(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b":", b": ", 1), *lines[1:]]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[-1]]


def spoilt(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], b"[" * 100_000, *lines[4:]]


def emptied(_: list[bytes]) -> list[bytes]:
    return []


@pytest.mark.security("TA1", "TA5")
@pytest.mark.parametrize("how", [truncated, edited, reordered, respaced, doubled, spoilt, emptied])
def test_a_spoilt_export(
    run: Run, file: Path, tmp_path: Path, how: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = tmp_path / "trail.jsonl"
    run("export", path, "--database", f"sqlite:///{file}")
    path.write_bytes(b"".join(line + b"\n" for line in how(path.read_bytes().splitlines())))
    status, out, err = run("verify", "--export", path)
    assert status == 1
    assert "BAD" in out or err.startswith("htsgate: ")


@pytest.mark.security("TA1")
def test_an_export_that_was_shortened_with_its_manifest(
    run: Run, file: Path, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trail.jsonl"
    spoil(file, "DELETE FROM audit WHERE seq > 10", "DELETE FROM audit_checkpoints")
    run("export", path, "--database", f"sqlite:///{file}")
    status, out, _ = run("verify", "--export", path)
    assert status == 0
    assert "that its end was not cut off is not known" in out
    status, out, _ = run("verify", "--export", path, "--checkpoints", folder)
    assert status == 1
    assert "BAD: record 11 is missing: an anchor knows of record 14" in out


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"schema":"htsget-audit/1"}'])
def test_what_is_no_manifest(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_text("")
    manifest_of(path).write_text(text)
    status, _, err = run("verify", "--export", path)
    assert status == 1
    assert "manifest" in err


# ---- report and tail


def reported(run: Run, url: str, *arguments: str | Path) -> dict[str, dict[str, Any]]:
    status, out, _ = run("report", "--database", url, "--format", "json", *arguments)
    assert status == 0
    return {each["ticket"] or each["request"]: each for each in json.loads(out)}


def test_a_report(run: Run, url: str) -> None:
    rows = reported(run, url)
    assert {name: each["outcome"] for name, each in rows.items()} == {
        "t1": "sent",
        "t2": "aborted",
        "t3": "unfinished",
        "t4": "refused",
        "t5": "not fetched",
        "r-": "denied",
    }
    first = rows["t1"]
    assert (first["bytes"], first["records"], first["object"]) == (2000, 20, "reads/cardio/1")
    assert first["regions"] == "chr2:178530001-178530100 chr3:11- chr4"
    assert first["subject"] == ALICE.value
    assert rows["t2"]["regions"] == "all"
    assert rows["t4"]["rule"] == "consent.withdrawn"


def test_reports_of_some(run: Run, url: str) -> None:
    assert set(reported(run, url, "--dataset", CARDIO)) == {"t1", "t2", "t4", "t5", "r-"}
    assert set(reported(run, url, "--subject", ALICE.value)) == {"t1", "t3", "r-"}
    assert set(reported(run, url, "--subject", "bob")) == {"t2", "t4", "t5"}
    assert not reported(run, url, "--subject", "ob")
    assert not reported(run, url, "--since", "2999-01-01")
    assert len(reported(run, url, "--since", "2020-01")) == 6


def test_a_report_about_a_participant(run: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(
        "object,sample,participant\ncardio/1,S1,P-1\nreads/cardio/2,S2,P-2\ncardio/2,S3,P-3\n"
    )
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'schema = "htsget-policy/1"\ncustodian = "c"\n'
        f'[[dataset]]\nid = "{CARDIO}"\nobjects = ["reads/cardio/*"]\nsamples = "samples.csv"\n'
    )
    about = ("--policy", policy, "--participant")
    assert set(reported(run, url, *about, "P-1")) == {"t1", "t4", "t5"}
    assert set(reported(run, url, *about, "P-2")) == {"t2"}
    assert set(reported(run, url, *about, "P-3")) == {"t2"}
    assert not reported(run, url, *about, "P-4")


def test_spreadsheets_and_tables(run: Run, url: str) -> None:
    status, out, _ = run("report", "--database", url, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert len(rows) == 6
    assert rows[2]["dataset"] == "'=cmd|' /C calc'!A0"
    _, out, _ = run("report", "--database", url)
    assert out.splitlines()[0].split("\t")[:2] == ["time", "subject"]
    assert out.splitlines()[-1] == "6 requests of 2 callers; 2,005 bytes sent"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r", " =1", "\uff1d1"])
def test_formulas_are_harmless(text: str) -> None:
    assert harmless(text) == f"'{text}"


def test_what_is_no_formula() -> None:
    assert [harmless(each) for each in ("", "a=1", "chr1:1-2", "12")] == [
        "",
        "a=1",
        "chr1:1-2",
        "12",
    ]


def test_tail(run: Run, url: str) -> None:
    status, out, _ = run("tail", "--database", url, "-n", "3")
    lines = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert [line[0] for line in lines] == ["12", "13", "14"]
    assert lines[1][2:] == ["ticket.denied", ALICE.value, "x", "object.not_visible", "-", "r-"]
    _, out, _ = run("tail", "--database", url, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert [each["seq"] for each in records] == list(range(5, 15))
    assert records[0]["subject"]["pii"] == BOB.value
    assert run("tail", "--database", url, "-n", "0")[1] == ""


def test_following(url: str) -> None:
    program = (
        "import argparse; from server.cli.audit import add_arguments;"
        " parser = argparse.ArgumentParser(); add_arguments(parser);"
        " options = parser.parse_args(); options.command(options)"
    )
    command = [sys.executable, "-c", program, "tail", "--follow", "-n", "1", "--database", url]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.defpath}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        timer = threading.Timer(60, process.kill)
        timer.start()
        assert "audit.stopped" in process.stdout.readline()
        began = time.monotonic()
        asyncio.run(record(url, [{"event": "ticket.intent", "req": "later"}], None))
        assert "audit.started" in process.stdout.readline()
        assert "later" in process.stdout.readline()
        assert time.monotonic() - began < 10
        timer.cancel()
        process.kill()


# ---- keys


def test_keygen(run: Run, tmp_path: Path, url: str) -> None:
    path = tmp_path / "audit.pem"
    status, out, _ = run("keygen", path)
    assert status == 0
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        run("keygen", path)
    assert path.read_bytes() == before
    public = tmp_path / "audit.pem.pub"
    assert out.splitlines()[-1].startswith("public key: ")
    assert b"PUBLIC KEY" in public.read_bytes()
    for each in (path, public):  # of another key than signed
        assert run("verify", "--database", url, "--public-key", each)[0] == 1


def test_what_is_no_key(run: Run, tmp_path: Path, url: str) -> None:
    (tmp_path / "x").write_text("nonsense")
    status, _, err = run("verify", "--database", url, "--public-key", tmp_path / "x")
    assert (status, err) == (1, "htsgate: not a public key in PEM or hexadecimal\n")


def test_canonical_lines(run: Run, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    run("export", path, "--database", f"sqlite:///{file}")
    for line in path.read_bytes().splitlines():
        assert canonical(json.loads(line)) == line
