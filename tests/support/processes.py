"""`htsgate serve` as real processes: started, asked, stopped, and killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server, and what it says on the standard error so far."""

    process: subprocess.Popen[str]
    url: str
    _log: Path

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def workers(self) -> list[int]:
        """The ids of its server processes, where it has several."""
        return children(self.process.pid)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer, over a connection of its own; `HTTPError` for refusals."""
        return fetch(self.url + path, headers)

    def stop(self) -> int:
        """End as SIGTERM ends it; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=40)

    def kill(self) -> None:
        """End at once, with all of its processes, as power failures do."""
        everyone = [*self.workers, self.process.pid]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # so that none tells another
            for each in everyone:
                os.kill(each, number)
        self.process.wait(timeout=40)
        eventually(lambda: all(map(gone, everyone)))


@contextmanager
def serving(*arguments: str | Path, **environment_of_it: str) -> Iterator[ServerProcess]:
    """`htsgate serve` with these arguments, on a free port unless they name one, from when it
    accepts connections until the block ends. Settings of our own environment do not count."""
    where = [] if {"--port", "--config"} & set(arguments) else ["--port", "0"]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", *map(str, arguments), *where],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(**environment_of_it),
                cwd=ROOT,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("htsgate serves http"), (line, log.read_text())
            yield ServerProcess(process, line.split()[2], log)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def environment(**more: str) -> dict[str, str]:
    """Our environment without settings of the server, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HTSGATE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def fetch(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A body, over a connection of its own, so that workers take turns."""
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        body: bytes = response.read()
        return body


def children(supervisor: int) -> list[int]:
    """The ids of the server processes of a supervisor."""
    found = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [
        int(each) for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so; `AssertionError` if that takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)
