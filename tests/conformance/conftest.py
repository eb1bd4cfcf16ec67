"""The demo, as a server that is sound, and behind one that is not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from conformance.dataset import Dataset, load_dataset
from conformance.description import DEMO
from tests.conformance.broken_server import BrokenServer, broken_server
from tests.support.processes import ROOT, environment, eventually


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`htsgate demo`: its URL, and the directory of its data; it knows its sequences by then."""
    directory = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(
        [sys.executable, "-m", "server", "demo", "--port", "0", "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("htsgate serves http"), line
            url = line.split()[2]
            eventually(lambda: urllib3.request("GET", f"{url}/collection/none").status == 404)
            yield url, directory
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def dataset(demo: tuple[str, Path]) -> Dataset:
    """The suite's own description of the demo, with its token."""
    return load_dataset(DEMO, (demo[1] / "access" / "token").read_text().strip())


@pytest.fixture(scope="session")
def broken(demo: tuple[str, Path]) -> Iterator[BrokenServer]:
    """A server that answers as the demo does, until a defect is set."""
    with broken_server(demo[0]) as server:
        yield server
