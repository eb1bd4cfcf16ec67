"""Several server processes on one database, and what becomes of it when they or it are killed."""

import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.cli import run
from server.database import Database
from server.refget.digests import Digests
from server.refget.registry import known_files
from server.refget.tables import PLACES
from tests.server.refget.sequence_files import fasta, residues, write
from tests.support.postgres import PostgresServer
from tests.support.processes import ROOT, ServerProcess, environment, eventually, serving

LETTERS = bytes.maketrans(b"0123456789", b"ACGTNRYKMS")
RECORDS = {f"r{number}": residues(300 + number, number) for number in range(40)}
MANY = {f"r{number}": (b"%030d" % number).translate(LETTERS) for number in range(40_000)}

Serve = Callable[..., ServerProcess]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "served" / "x.fa", fasta(RECORDS))
    return tmp_path / "served"


@pytest.fixture
def serve(folder: Path, database_url: str) -> Iterator[Serve]:
    """Starts another server of the folder and the database."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(
            serving(folder, *arguments, HTSGATE_DATABASE__URL=database_url)
        )


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as opened:
        yield opened


def is_whole(database: Database) -> bool:
    files = database.run(known_files)
    return len(files) == 1 and files[0].complete


def sequence(server: ServerProcess, text: bytes) -> bytes:
    return server.get(f"/sequence/{Digests.from_residues(text).ga4gh}")


def status(server: ServerProcess, text: bytes) -> int:
    try:
        sequence(server, text)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code
    return 200


def test_workers_of_several_servers(serve: Serve, database: Database) -> None:
    """All of them have what one has written down."""
    servers = [serve("--workers", "2"), serve("--workers", "2")]
    eventually(lambda: is_whole(database))
    for server in servers:
        for text in RECORDS.values():
            assert sequence(server, text) == text
    assert database.run(lambda each: each.scalar(select(func.count()).select_from(PLACES))) == 40
    for server in servers:
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_server_that_is_killed_at_work(folder: Path, serve: Serve, database: Database) -> None:
    """Another goes on where it was, while others serve."""
    write(folder / "x.fa", fasta(MANY))
    killed = serve("--workers", "2")
    other = serve()

    def places() -> int:
        found = database.run(lambda each: each.scalar(select(func.count()).select_from(PLACES)))
        return found or 0

    eventually(places)
    assert len(killed.workers) == 2
    killed.kill()
    written = places()
    assert 0 < written < len(MANY)
    eventually(lambda: is_whole(database))
    assert places() == len(MANY)
    last = MANY["r39999"]
    assert sequence(other, last) == last
    assert other.stop() == 0
    assert "Traceback" not in other.log


def test_a_database_that_is_away_for_a_while(
    folder: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    first, second, third, *_ = RECORDS.values()
    options = {"HTSGATE_DATABASE__URL": postgres_url}
    with serving(folder, "--workers", "2", **options) as server:
        eventually(lambda: status(server, first) == 200)
        postgres.stop()
        try:
            assert status(server, second) == 503
            assert server.get("/health/live")
        finally:
            postgres.start()
        assert sequence(server, third) == third
        assert server.stop() == 0
        assert "Traceback" not in server.log
        assert postgres.password not in server.log


def test_a_database_that_is_not_there(folder: Path, postgres: PostgresServer) -> None:
    for url, reason in (
        (postgres.url("postgres", "w0rd"), "password authentication failed"),
        (postgres.url("nonesuch"), "does not exist"),
        ("postgresql://u:w0rd@127.0.0.1:9/x", "Connection refused"),
        ("mysql://u:w0rd@127.0.0.1:9/x", "neither SQLite nor PostgreSQL"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "server", "serve", str(folder), "--port", "0"],
            capture_output=True,
            text=True,
            env=environment(HTSGATE_DATABASE__URL=url),
            cwd=ROOT,
            timeout=40,
            check=False,
        )
        assert done.returncode == 2
        assert reason in done.stderr
        assert "database.url" in done.stderr
        for secret in ("w0rd", postgres.password, "Traceback"):
            assert secret not in done.stderr


def test_the_commands_of_refget(
    folder: Path,
    tmp_path: Path,
    postgres: PostgresServer,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = postgres.password
    monkeypatch.setenv(
        "HTSGATE_DATABASE__URL", postgres_url.replace(f":{secret}@", "@") + f"?password={secret}"
    )
    path = str(folder / "x.fa")
    for action, expected in (
        (["add", path], "40 sequences"),
        (["list"], "1 file, 40 sequences"),
        (["verify"], "0 problems"),
        (["remove", path], "removed"),
        (["list"], "0 files"),
    ):
        assert run(["refget", *action]) == 0, action
        printed = capsys.readouterr()
        assert expected in printed.out
        assert secret not in printed.out + printed.err
        assert "postgresql://htsgate@127.0.0.1" in printed.out + printed.err
