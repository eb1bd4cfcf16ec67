"""Servers under test: each a process, on the same processor as what it is compared with."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Unmeasurable

ROOT = Path(__file__).resolve().parents[1]
_START = 60.0  # seconds that a server may take to start


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` ends without a slash."""

    url: str
    pid: int

    def cpu(self) -> float | None:
        """Processor seconds of the process so far; None where the system does not tell."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_processor(number: int | None) -> Iterator[None]:
    """Run on one of the processors that we have, and start processes there.

    The first, 0, is for servers and the last, -1, for their clients. Without effect on a machine
    with only one, and where a process cannot choose.
    """
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if number is None or len(available) < 2:
        yield
        return
    os.sched_setaffinity(0, {available[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


@contextlib.contextmanager
def htsgate(
    served: Path | None,
    config: Path,
    *,
    workers: int = 1,
    processor: int | None = 0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """`htsgate serve`, as a user would start it; without `served`, what the configuration says."""
    arguments = ["--config", str(config), "--port", "0", "--workers", str(workers)]
    if served is not None:
        arguments.append(str(served))
    with _started(["server", "serve", *arguments], processor, environment) as server:
        yield server


@contextlib.contextmanager
def baseline(*arguments: str, processor: int | None = 0) -> Iterator[Server]:
    """One of the servers of `benchmarks.baselines`."""
    with _started(["benchmarks.baselines", *arguments], processor) as server:
        yield server


@contextlib.contextmanager
def _started(
    module: Sequence[str], processor: int | None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A Python server, which tells its URL as the last word of its first line."""
    with on_processor(processor):
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    with _ended(process):
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise Unmeasurable(f"{module[0]} did not start")
        yield Server(line.split()[-1].rstrip("/"), process.pid)


@contextlib.contextmanager
def nginx(
    program: str, served: Path, directory: Path, tls: tuple[Path, Path] | None = None
) -> Iterator[Server]:
    """nginx with `sendfile`, otherwise as it comes, in one process."""
    port = free_port()
    home = directory / f"nginx-{port}"
    home.mkdir()
    certificate = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {home}/pid; error_log {home}/errors;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ {temporary} access_log off; sendfile on; keepalive_requests 1000000000;\n"
        f"server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; {certificate}\n"
        f"root {served}; }} }}\n"
    )
    with on_processor(0):
        process = subprocess.Popen(
            [program, "-p", str(home), "-c", str(config), "-e", f"{home}/errors"],
            stderr=subprocess.DEVNULL,
        )
    with listening(process, port, "nginx", "https" if tls else "http") as server:
        yield server


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def listening(
    process: subprocess.Popen[bytes], port: int, name: str, scheme: str = "http"
) -> Iterator[Server]:
    """A process from when it accepts connections on a port, until it is ended."""
    with _ended(process):
        _await_port(process, port, name)
        yield Server(f"{scheme}://127.0.0.1:{port}", process.pid)


def _await_port(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise Unmeasurable(f"{name} did not start")


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        with process:
            try:
                yield
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
