"""A PostgreSQL server of the tests, started on a free port and stopped at the end."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_START_SECONDS = 60.0
_ROLE = "htsgate"

# A crash of the machine takes the tests with it.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
}


class PostgresUnavailable(Exception):
    """There is no PostgreSQL on this machine; the message says so."""


@dataclass(slots=True)
class PostgresServer:
    """A server, and the databases on it."""

    directory: Path
    binaries: Path
    port: int
    password: str
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def url(self, database: str, password: str | None = None) -> str:
        """Of a database, as settings name it."""
        secret = self.password if password is None else password
        return f"postgresql://{_ROLE}:{secret}@127.0.0.1:{self.port}/{database}"

    def query(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement outside transactions."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return [] if cursor.description is None else cursor.fetchall()

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """The URL of a new, empty database, which is there until the block ends."""
        name = f"test_{secrets.token_hex(8)}"
        self.query(f"CREATE DATABASE {name} {options}")
        try:
            yield self.url(name)
        finally:
            self.query(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Begin to listen; after `stop` on the same port."""
        # A run that is killed cleans nothing up: the server ends with it.
        with_us = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        command = [str(self.binaries / "postgres"), "-D", str(self.directory / "data")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*with_us, *command, f"--port={self.port}", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **_as_nobody_special(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.query("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    printed = (self.directory / "log").read_text(errors="replace")
                    raise RuntimeError(f"did not start:\n{printed[-2000:]}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End, and break off all connections."""
        if self._process is not None:
            self._process.send_signal(2)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server of no databases but its own; raises `PostgresUnavailable`.

    It sorts text as people do, not by bytes, so that nobody relies on that.
    """
    binaries = _binaries()
    password = secrets.token_hex(8)
    # Not below pytest's own, which nobody but who runs the tests may enter.
    with tempfile.TemporaryDirectory(prefix="htsgate-postgres-") as name:
        directory = Path(name)
        (directory / "password").write_text(password)
        identity = _as_nobody_special()
        if identity:
            for path in (directory, directory / "password"):
                os.chown(path, identity["user"], identity["group"])
        make = [str(binaries / "initdb"), "-D", str(directory / "data"), "--username", _ROLE]
        make += ["--pwfile", str(directory / "password"), "--auth", "scram-sha-256"]
        make += ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "icu"]
        make += ["--icu-locale", "en-US", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            make, capture_output=True, text=True, check=False, cwd=directory, **identity
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        server = PostgresServer(directory, binaries, _free_port(), password)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _binaries() -> Path:
    """Where the programs are: of what PATH finds, or of Debian's newest."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda each: float(each.parts[-3]), default=None)
    if newest is None:
        raise PostgresUnavailable("PostgreSQL, the server, is not installed")
    return newest.parent


def _as_nobody_special() -> dict[str, Any]:
    """How a process is started that refuses to run as root: as somebody else, if we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        who = pwd.getpwnam("postgres")
    except KeyError:
        who = pwd.getpwnam("nobody")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
