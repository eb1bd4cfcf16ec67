"""Server processes of controlled data that share a secret and a database, and clients of them.

The location `study` is controlled, `open` is not. Tokens come from an issuer of the test; the
policy, the list of revocations and the folder of checkpoints are files that all replicas obey.
"""

import base64
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any

from sqlalchemy import create_engine, text

from tests.formats.byte_records import bam_record
from tests.server.access.guarded import HEAD, grant, person
from tests.server.slicing.sorted_streams import drawn_reads, make_bam
from tests.support.broker import AUDIENCE, Broker
from tests.support.processes import ROOT, ServerProcess, environment, serving

SECRET = "zQ7vN2kX9pLr4TfW8sYc1HbJ6mDg3EaU"  # noqa: S105
ADMINISTRATOR = "dana"
_LARGEST_READ = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def urls(self) -> list[str]:
        """Those of a ticket."""
        assert self.status == 200, (self.status, self.body)
        return [each["url"] for each in json.loads(self.body)["htsget"]["urls"]]


@dataclass(slots=True)
class Shared:
    """What the replicas share. `locations` and `policy` may be changed before one is started."""

    directory: Path
    database: str
    broker: Broker
    locations: list[dict[str, Any]]
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def policy(self) -> Path:
        """The policy in force."""
        return self.directory / "policy.toml"

    @property
    def revoked(self) -> Path:
        """The list of revocations."""
        return self.directory / "revoked"

    @property
    def checkpoints(self) -> Path:
        """The folder that checkpoints are copied to."""
        return self.directory / "checkpoints"

    @property
    def config(self) -> Path:
        """The settings, as written last."""
        return self.directory / "htsgate.toml"

    def configure(self, **server: Any) -> None:
        """Write the settings."""
        issuers = [
            {"issuer": self.broker.issuer, "audience": AUDIENCE, "jwks_url": self.broker.jku}
        ]
        lines = [
            "[server]",
            *_pairs({"secret": SECRET, **server}),
            "[database]",
            *_pairs({"url": self.database}),
            "[auth]",
            *_pairs(
                {
                    "policy": str(self.policy),
                    "revoked": str(self.revoked),
                    "checkpoints": str(self.checkpoints),
                }
            ),
            *(line for each in issuers for line in ("[[auth.issuers]]", *_pairs(each))),
            "[[auth.administrators]]",
            *_pairs({"iss": self.broker.issuer, "sub": ADMINISTRATOR}),
            *(line for each in self.locations for line in ("[[locations]]", *_pairs(each))),
        ]
        self.config.write_text("\n".join(lines) + "\n")

    @contextmanager
    def together(self, *workers: int) -> Iterator[list[ServerProcess]]:
        """A replica of so many processes each, begun at the same time."""
        with ExitStack() as stack:
            with ThreadPoolExecutor() as threads:
                starting = [
                    threads.submit(stack.enter_context, self.replica("--workers", str(each)))
                    for each in workers
                ]
            yield [each.result() for each in starting]

    @contextmanager
    def replica(self, *arguments: str) -> Iterator[ServerProcess]:
        """One more server."""
        given: list[str | Path] = ["--config", self.config, "--port", "0", *arguments]
        with serving(*given) as server:
            yield server

    def token(self, sub: str) -> str:
        """An access token of somebody, the same each time."""
        return self.tokens.setdefault(sub, self.broker.access_token(sub))

    def ask(
        self, server: ServerProcess, path: str, sub: str = "", *, body: object = None
    ) -> Answer:
        """One request, over a connection of its own; a POST with a `body`."""
        headers = {"Authorization": f"Bearer {self.token(sub)}"} if sub else {}
        return fetched(server.url + path, headers, body)

    def withdraw(self, name: str) -> None:
        """As the operator does, of an object."""
        done = self.command("consent", "withdraw", "--object", name)
        assert done.returncode == 0, done.stderr

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of htsgate, with the settings of the replicas."""
        return subprocess.run(
            [sys.executable, "-m", "server", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment(),
        )

    def records(self) -> list[dict[str, Any]]:
        """The audit so far."""
        engine = create_engine(self.database.replace("postgresql:", "postgresql+psycopg:"))
        try:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT payload FROM audit ORDER BY seq")).scalars()
                return [json.loads(bytes(each)) for each in rows]
        finally:
            engine.dispose()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The audit records of some kinds."""
        return [each for each in self.records() if each["event"] in kinds]


@contextmanager
def shared(directory: Path, database: str, data: Path, *, policy: str = "") -> Iterator[Shared]:
    """Everything that replicas need, until the block ends. `policy` has what comes after the usual
    grant, which lets alice see everything."""
    with Broker().running() as broker:
        study = {"url": str(data), "name": "study", "dataset": "study"}
        copytree(data, directory / "open", copy_function=os.link)  # what is controlled is not open
        public = {"url": str(directory / "open"), "name": "open", "access": "open"}
        site = Shared(directory, database, broker, [study, public])
        usual = HEAD + grant("G-ALL", person("ISSUER", "alice")) + policy
        site.policy.write_text(usual.replace("ISSUER", broker.issuer))
        site.revoked.write_text("")
        site.checkpoints.mkdir()
        site.configure()
        yield site


def claims(url: str) -> dict[str, Any]:
    """What the capability of a data URL says."""
    body = url.rpartition("/")[2].split(".")[2]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def at(server: ServerProcess, url: str) -> str:
    """The data URL of another server, at this one."""
    return f"{server.url}/blocks/{url.rpartition('/')[2]}"


def heavy_folder(home: Path, megabytes: int = 60) -> Path:
    """`small`, the same as `gone`, and `heavy` of bytes that do not compress."""
    for name in ("small", "gone"):
        make_bam(home / f"{name}.bam", drawn_reads(30), 900)
    draw = random.Random(5)
    noise = [
        bam_record(0, 100 + at * 40, [(60, "M")], name=b"n\0", tail=draw.randbytes(60_000))
        for at in range(megabytes * 1000 // 60)
    ]
    make_bam(home / "heavy.bam", noise, 60_000)
    return home


def fetched(url: str, headers: Mapping[str, str] | None = None, body: object = None) -> Answer:
    """What a URL answers, over a connection of its own."""
    with _asked(url, headers, body) as response:
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())


def received(url: str) -> int:
    """How many bytes of a data block came, also when the connection broke."""
    count = 0
    with suppress(OSError, http.client.HTTPException), _asked(url) as response:
        while response.status == 200 and (piece := response.read1(4096)):
            count += len(piece)
    return count


@contextmanager
def _asked(
    url: str, headers: Mapping[str, str] | None = None, body: object = None
) -> Iterator[http.client.HTTPResponse]:
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=30, context=_unchecked())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=30)
    )
    with closing(connection):
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        data = None if body is None else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", target, data, dict(headers or {}))
        yield connection.getresponse()


class Refused(Exception):
    """A download that was not begun; `status` says what came instead."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Download:
    """A client that reads an answer slowly, in a thread of its own: `pace` bytes at a time, a
    hundred times a second; 0: it reads the header and then nothing until `go_on`."""

    def __init__(self, url: str, *, pace: int = 1 << 15) -> None:
        parts = urllib.parse.urlsplit(url)
        self._pace = pace
        self._stop = threading.Event()
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        plain.settimeout(30)
        plain.connect((parts.hostname, parts.port))
        self._socket = _unchecked().wrap_socket(plain) if parts.scheme == "https" else plain
        self._socket.sendall(_get(parts))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self._socket.recv(1024)
            assert piece, head
            head += piece
        head, _, first = head.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status != 200:
            self._socket.close()
            raise Refused(status)
        lines = (line.partition(b": ") for line in head.lower().split(b"\r\n")[1:])
        self.length = int({name: value for name, _, value in lines}[b"content-length"])
        self.received = len(first)
        self.ended = 0.0
        """When the connection ended, by the monotonic clock; 0: it has not."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):
            while self.received < self.length and not self._stop.is_set():
                if not self._pace:
                    time.sleep(0.01)
                    continue
                piece = self._socket.recv(min(self._pace, _LARGEST_READ))
                if not piece:
                    break
                self.received += len(piece)
                if self._pace < _LARGEST_READ:
                    time.sleep(0.01)
        self.ended = time.monotonic()

    def go_on(self) -> None:
        """Read as fast as possible from now on."""
        self._pace = _LARGEST_READ

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer came."""
        return self.received == self.length

    def wait(self, seconds: float = 30.0) -> None:
        """Until the connection ended."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "still on its way"

    def close(self) -> None:
        """Leave, however far it is."""
        self._stop.set()
        self._thread.join(10)
        self._socket.close()


def abandon(url: str) -> None:
    """Ask, and leave before the answer."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as plain:
        plain.sendall(_get(parts))


def _get(parts: urllib.parse.SplitResult) -> bytes:
    return f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()


def _unchecked() -> ssl.SSLContext:
    """Certificates of tests are signed by nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _pairs(values: Mapping[str, object]) -> list[str]:
    """As lines of TOML."""
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
