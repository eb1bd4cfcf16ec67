"""The demo, as a server that is sound, and behind one that is not."""

import hashlib
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from conformance import records, site
from conformance.dataset import Dataset, load_dataset
from conformance.description import DEMO
from conformance.records import Records
from tests.conformance.broken_server import BrokenServer, Response, broken_server, no_defect
from tests.support.processes import ROOT, environment, eventually

FEW = ("--only", "htsget.ticket.single-key", "--only", "htsget.ticket.content-type")
"""Arguments: two cases, which ask for one ticket each."""

MOST_KEPT = 400
"""Decoded answers; a run of all cases has some two hundred."""


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
def broken(demo: tuple[str, Path], decoded_once: None) -> Iterator[BrokenServer]:
    """A server that answers as the demo does, until a defect is set."""
    with broken_server(demo[0]) as server:
        yield server


@pytest.fixture(scope="session")
def decoded_once() -> Iterator[None]:
    """Answers that were decoded are not decoded again: most are the same whatever is broken."""
    kept: OrderedDict[object, Records] = OrderedDict()

    def decode(data: bytes, format: str, reference: Path | None = None) -> Records:
        key = (hashlib.sha256(data).digest(), format, reference is None)
        if key not in kept:
            kept[key] = records.decode(data, format, reference)
        kept.move_to_end(key)
        if len(kept) > MOST_KEPT:
            kept.popitem(last=False)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "decode", decode)
        yield


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFORMANCE_TOKEN", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sound(broken: BrokenServer) -> str:
    """The URL of the demo."""
    broken.defect = no_defect
    return broken.url


@pytest.fixture
def empty() -> Iterator[BrokenServer]:
    """A server that has nothing."""
    with broken_server("http://127.0.0.1:9") as server:
        server.defect = lambda *_: Response(404, {"content-type": "text/plain"}, b"no such thing")
        yield server
