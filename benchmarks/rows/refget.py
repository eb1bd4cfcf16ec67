"""Reference sequences over HTTP: short ones, whole ones, and how much memory a whole one takes."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.inputs.genome import genome
from benchmarks.load import Requests
from benchmarks.measure import (
    Gate,
    Row,
    Unmeasurable,
    micros,
    rate,
    row_of,
    speed_ratio,
    take_turns,
    throughput,
)
from benchmarks.processes import ROOT, Server, baseline, htsgate, on_processor
from benchmarks.rows.data import file_server, stream
from benchmarks.rows.setting import Setting

SPAN = 1000
_PIECE = 1 << 20
_START_SECONDS = 120.0
_PAUSE_SECONDS = 0.5


def requests(setting: Setting) -> Iterator[Row]:
    """1 kb at random places over HTTP; both servers get the same requests. Anywhere in a chromosome
    that is larger than what is kept in memory, and in a part that is not."""
    path = genome(setting.directory, quick=setting.quick)
    with (
        htsgate(path, _settings(setting, "plain")) as ours,
        baseline("hello") as hello,
    ):
        digest, length = _served(ours)
        target = f"/sequence/{digest}?start={{start}}&end={{end}}"
        anywhere = Requests(target, "", length, SPAN)
        part = Requests(target, "", length // 10, SPAN)
        samples = take_turns(
            {
                "anywhere": lambda: setting.load.run(ours, anywhere, setting.seconds),
                "part": lambda: setting.load.run(ours, part, setting.seconds),
                "hello": lambda: setting.load.run(hello, anywhere, setting.seconds),
            },
            setting.rounds,
            lambda: setting.warm(path),
        )
    size = length / 1e6
    for name, where, contender in (
        ("sequence-request", f"anywhere in {size:.0f} Mb", "anywhere"),
        ("sequence-request-hot", f"in {size / 10:g} Mb of {size:.0f} Mb", "part"),
    ):
        # How much longer ours takes: the bare answer is the numerator's.
        yield row_of(
            name,
            f"1 kb {where} over HTTP, time / bare aiohttp hello",
            speed_ratio(samples["hello"], samples[contender]),
            gate=Gate(1.2, 1.0, most=True) if setting.load.is_light else None,
            figures={"htsgate": rate(samples[contender]), "hello": rate(samples["hello"])},
        )
        yield row_of(
            f"{name}-cpu",
            f"1 kb {where} over HTTP, processor time / bare aiohttp hello",
            speed_ratio(samples["hello"], samples[contender], "CPU"),
            basis="CPU",
            gate=Gate(1.2, 1.0, most=True),
            figures={"htsgate": micros(samples[contender]), "hello": micros(samples["hello"])},
        )


def chromosomes(setting: Setting) -> Iterator[Row]:
    """A whole chromosome, one stream: from the flat store, and from the FASTA file itself."""
    path = genome(setting.directory, quick=setting.quick)
    flat = _settings(setting, "flat")
    _add_flat(path, flat)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(htsgate(path, flat))
        plain = stack.enter_context(htsgate(path, _settings(setting, "plain")))
        digest, length = _served(ours)
        _served(plain)
        (stored,) = (
            each
            for each in _store(flat).rglob("*")
            if each.is_file() and each.stat().st_size == length
        )
        theirs, target, other = stack.enter_context(file_server(stored, setting.directory))
        if not other.startswith("nginx"):
            target = f"{target}?length={length}"

        def warm() -> None:
            setting.warm(path)
            setting.warm(stored)

        samples = take_turns(
            {
                "flat": partial(stream, ours, f"{ours.url}/sequence/{digest}", None),
                "FASTA": partial(stream, plain, f"{plain.url}/sequence/{digest}", None),
                other: partial(stream, theirs, target, None),
            },
            setting.rounds,
            warm,
        )
        growth = [_growth(plain, f"/sequence/{digest}", length) for _ in range(setting.rounds)]
    if {sample.amount for each in samples.values() for sample in each} != {length}:
        raise ConnectionError("the sequence did not come whole")
    note = "" if other.startswith("nginx") else "nginx is not installed"
    for name, gate in (("flat", Gate(0.8, 0.95)), ("FASTA", None)):
        yield row_of(
            f"chromosome-{name.lower()}",
            f"{length / 1e6:.0f} Mb chromosome, {name} / {other}",
            speed_ratio(samples[name], samples[other]),
            gate=gate,
            figures={each: throughput(samples[each]) for each in (name, other)},
            note=note,
        )
    yield row_of(
        "chromosome-memory",
        f"memory for a stream of {length / 1e6:.0f} Mb from a FASTA",
        growth,
        unit="MB",
        gate=Gate(64, 32, most=True),
        note="the reader pauses in the middle",
    )


def _settings(setting: Setting, name: str) -> Path:
    """A configuration with a database of its own."""
    config = setting.directory / f"refget-{name}.toml"
    database, store = setting.directory / f"{name}.db", _store(config)
    config.write_text(
        f"{setting.config.read_text()}"
        f"[database]\nurl = {json.dumps(f'sqlite:///{database}')}\n"
        f"[refget]\nstore = {json.dumps(str(store))}\n"
    )
    return config


def _store(config: Path) -> Path:
    return config.with_suffix(".store")


def _add_flat(path: Path, config: Path) -> None:
    command = [sys.executable, "-m", "server", "refget"]
    arguments = ["add", "--flat", str(path)]
    done = subprocess.run(
        [*command, *arguments, "--config", str(config)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unmeasurable(f"htsgate refget add: {done.stderr.strip()[-500:]}")


def _served(server: Server) -> tuple[str, int]:
    """The MD5 and the length of the first chromosome, once it is served."""
    parts = urlsplit(server.url)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/sequence/chr1/metadata")
            answer = connection.getresponse()
            text = answer.read()
        if answer.status == 200:
            metadata = json.loads(text)["metadata"]
            return str(metadata["md5"]), int(metadata["length"])
        time.sleep(0.1)
    raise Unmeasurable("the sequences were not served in time")


def _growth(server: Server, path: str, length: int) -> float:
    """By how many megabytes a server grew at most while it sent a sequence to a reader who pauses
    after the first piece, so that what is not sent has to wait somewhere."""
    status = Path(f"/proc/{server.pid}/status")
    try:
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak starts anew
        before = _resident(status, "VmRSS")
        with on_processor(-1):
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=600)
            with contextlib.closing(connection):
                connection.request("GET", path)
                answer = connection.getresponse()
                count = len(answer.read(_PIECE))
                time.sleep(_PAUSE_SECONDS)
                while piece := answer.read(_PIECE):
                    count += len(piece)
        peak = _resident(status, "VmHWM")
    except OSError as error:
        raise Unmeasurable("the memory of another process is not known on this system") from error
    if count != length:
        raise ConnectionError(f"{count} bytes came where {length} were asked for")
    return max(peak - before, 0.0)


def _resident(status: Path, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    if found is None:
        raise Unmeasurable("the memory of another process is not known on this system")
    return int(found[1]) * 1024 / 1e6
