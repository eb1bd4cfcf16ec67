"""`htsgate serve` for as long as the suites need it, as a user starts it: by its command."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_REPORT = (
    "# Sequence-Name\tGenBank-Accn\tRelationship\tRefSeq-Accn\tSequence-Length\tUCSC-style-name\n"
    "I\tBK006935.2\t=\tna\t230218\tna\n"
    "VI\tBK006940.2\t=\tna\t270161\tna\n"
)
"""Accessions that the sequences' suite asks for, as an NCBI assembly report."""

_CIRCULAR = "NC_001422.1"


class NotServed(Exception):
    """The server did not start, or does not have the data."""


def write_settings(directory: Path) -> Path:
    """The folder that is served, made in a directory; the settings lie beside it."""
    served = directory / "served"
    served.mkdir()
    report = directory / "assembly_report.txt"
    report.write_text(_REPORT)
    places = [json.dumps(str(path)) for path in (served, report)]  # TOML's strings are JSON's
    (directory / "htsgate.toml").write_text(
        f"[[locations]]\nurl = {places[0]}\n\n"
        f'[refget]\naliases = [{places[1]}]\ncircular = ["{_CIRCULAR}"]\n'
    )
    return served


@contextlib.contextmanager
def serving(directory: Path, *command: str) -> Iterator[str]:
    """The URL of an `htsgate` command, started in a directory; of `serve` with the settings there,
    if none is given."""
    command = command or ("serve", "--config", "htsgate.toml")
    environment = {name: value for name, value in os.environ.items() if name[:8] != "HTSGATE_"}
    environment["PYTHONPATH"] = str(ROOT)
    server = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "server", "--log-level", "error", *command, "--port", "0"],
        cwd=directory,  # where no database lies
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise NotServed(f"htsgate {command[0]} did not start")
        yield line.split()[2].rstrip("/")
    finally:
        server.terminate()
        server.communicate(timeout=30)


def await_data(url: str, paths: Iterable[str], seconds: float) -> None:
    """Wait until all paths below a URL answer 200, so many seconds at most. Raises `NotServed`."""
    deadline = time.monotonic() + seconds
    for path in paths:
        while (status := _status(f"{url.rstrip('/')}{path}")) != 200:
            if time.monotonic() > deadline:
                raise NotServed(f"{path}: status {status} after {seconds:g} seconds")
            time.sleep(0.1)


def _status(url: str) -> int:
    """The status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - the user's URL
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
