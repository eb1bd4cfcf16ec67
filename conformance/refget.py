"""`python -m conformance.refget`: the two public suites of refget against this server, judged.

Serves the sequences the suites ask for with `htsgate serve`, runs the GA4GH compliance suite
(sequences) and the checks of the PyPI package `refget` (collections), and compares the outcome with
the best there is: nothing fails, and only what contradicts another test is skipped. `--url` judges
another server, which has the sequences already. Nothing of ours is imported.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_SUITES = ROOT / ".venv-conformance" / "bin" / "python"
_SECONDS = 60.0

COLLECTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "base": {"chrX": "TTGGGGAA", "chr1": "GGAA", "chr2": "GCGC"},
        "different_names": {"X": "TTGGGGAA", "1": "GGAA", "2": "GCGC"},
        "different_order": {"chr1": "GGAA", "chr2": "GCGC", "chrX": "TTGGGGAA"},
        "pair_swap": {"chr2": "TTGGGGAA", "chr1": "GGAA", "chrX": "GCGC"},
        "subset": {"chrX": "TTGGGGAA", "chr1": "GGAA"},
        "swap_wo_coords": {"chrX": "TTGGGGAA", "chr2": "GGAA", "chr1": "GCGC"},
    }
)
"""The files of the collections' suite: what their records are called, in order, and hold."""

_READY = (
    "/sequence/6681ac2f62509cfc220d78751b8dc524/metadata",
    "/sequence/b7ebc601f9a7df2e1ec5863deeae88a3/metadata",
    "/sequence/3332ed720ac7eaa9b3655c06f6b9e196/metadata",
    "/collection/XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk",
    "/collection/QvT5tAQ0B8Vkxd-qFftlzEk2QyfPtgOv",
    "/collection/Tpdsg75D4GKCGEHtIiDSL9Zx-DSuX5V8",
    "/collection/UNGAdNDmBbQbHihecPPFxwTydTcdFKxL",
    "/collection/sv7GIP1K0qcskIKF3iaBmQpaum21vH74",
    "/collection/aVzHaGFlUDUNF2IEmNdzS_A8lCY0stQH",
)
"""What answers 200 once all of the data are served."""

_REPORT = (
    "# Sequence-Name\tGenBank-Accn\tRelationship\tRefSeq-Accn\tSequence-Length\tUCSC-style-name\n"
    "I\tBK006935.2\t=\tna\t230218\tna\n"
    "VI\tBK006940.2\t=\tna\t270161\tna\n"
)
"""Accessions that the sequences' suite asks for, as an NCBI assembly report."""

_CIRCULAR = "NC_001422.1"


@dataclass(frozen=True, slots=True)
class Best:
    """What a server can reach: how many tests pass, and which are skipped.

    `summary`: the counts in the suite's own report, as far as it makes one.
    """

    passed: int
    skipped: frozenset[str] = frozenset()
    summary: Mapping[str, int] = field(default_factory=dict)


BEST: Mapping[str, Best] = MappingProxyType(
    {
        # A server with circular sequences cannot be tested for having none; and who has the block
        # of version 2 in service-info is not asked for that of version 1.
        "refget-compliance 2.": Best(
            35,
            frozenset({"test_sequence_circular_support_false_errors", "test_info_api_version"}),
            {"passed": 68, "skipped": 2, "failed": 0, "warned": 0, "unknown": 0},
        ),
        "refget-compliance 1.": Best(
            29, frozenset({"test_sequence_circular_support_false_errors"})
        ),
        "refget 0.12.": Best(65),
    }
)
"""By what the name and version of a suite begin with."""


class SuitesMissing(Exception):
    """The suites are not installed; says how they would be."""


class NotServed(Exception):
    """The server did not start, or does not have the data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: as good as can be; 1: not; 2: nothing was judged."""
    parser = argparse.ArgumentParser(prog="python -m conformance.refget", description=__doc__)
    parser.add_argument("--url", help="of a server that has the data; default: one is started")
    parser.add_argument("--suites", type=Path, default=_SUITES, help="Python with the suites")
    parser.add_argument("--json", type=Path, help="where to write the outcomes")
    options = parser.parse_args(arguments)
    try:
        outcomes = run(options.suites, options.url)
    except (SuitesMissing, NotServed) as reason:
        sys.stderr.write(f"{reason}\n")
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(outcomes, indent=1) + "\n")
    faults = [fault for outcome in outcomes for fault in judge(outcome)]
    for outcome in outcomes:
        counts = ", ".join(
            f"{len(outcome[name])} {name}" for name in ("passed", "skipped", "failed")
        )
        sys.stdout.write(f"{outcome['suite']}: {counts}\n")
    for fault in faults:
        sys.stdout.write(f"  {fault}\n")
    return int(bool(faults))


def run(suites: Path, url: str | None = None) -> list[dict[str, Any]]:
    """The outcomes of both suites at a URL, or at a server started for it."""
    if not suites.is_file():
        raise SuitesMissing(f"{suites}: no such Python; `make conformance` installs the suites")
    with contextlib.ExitStack() as stack:
        if url is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refget-")))
            write_data(directory, Path(_ask(suites, "data")["directory"]))
            url = stack.enter_context(serving(directory))
        await_data(url)
        return [_ask(suites, "sequences", url), _ask(suites, "collections", url)]


def judge(outcome: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the outcome of a suite; nothing when it is the best there is."""
    suite = str(outcome["suite"])
    best = next((each for name, each in BEST.items() if suite.startswith(name)), None)
    if best is None:
        yield f"{suite}: no score is known for this version"
        return
    for name in outcome["failed"]:
        yield f"{suite}: failed: {name}"
    for name in sorted(best.skipped.symmetric_difference(outcome["skipped"])):
        skipped = name in outcome["skipped"]
        yield f"{suite}: {'skipped' if skipped else 'not skipped'}: {name}"
    if len(outcome["passed"]) != best.passed:
        yield f"{suite}: {len(outcome['passed'])} passed, not {best.passed}"
    for name, count in best.summary.items():
        if outcome["summary"].get(name) != count:
            yield f"{suite}: its report says {name}: {outcome['summary'].get(name)}, not {count}"


def write_data(directory: Path, sequences: Path) -> None:
    """What is to be served: the sequences of one suite, from the directory they come in, and the
    files of the other. Beside them the accessions, and the settings in `htsgate.toml`."""
    served = directory / "served"
    served.mkdir()
    for name in ("I", "VI", "NC"):
        (served / f"{name}.fa").write_bytes((sequences / f"{name}.faa").read_bytes())
    for name, records in COLLECTIONS.items():
        text = "".join(f">{title}\n{residues}\n" for title, residues in records.items())
        (served / f"{name}.fa").write_text(text)
    report = directory / "assembly_report.txt"
    report.write_text(_REPORT)
    places = [json.dumps(str(path)) for path in (served, report)]  # TOML's strings are JSON's
    (directory / "htsgate.toml").write_text(
        f"[[locations]]\nurl = {places[0]}\n\n"
        f'[refget]\naliases = [{places[1]}]\ncircular = ["{_CIRCULAR}"]\n'
    )


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """`htsgate serve` with the settings of a directory; its URL."""
    settings = directory / "htsgate.toml"
    environment = {name: value for name, value in os.environ.items() if name[:8] != "HTSGATE_"}
    environment["PYTHONPATH"] = str(ROOT)
    server = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "server", "serve", "--config", str(settings), "--port", "0"],
        cwd=directory,  # where no database lies
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise NotServed("htsgate serve did not start")
        yield line.split()[-1].rstrip("/")
    finally:
        server.terminate()
        server.communicate(timeout=30)


def await_data(url: str, seconds: float = _SECONDS) -> None:
    """Wait until all of the data are served. Raises `NotServed`."""
    deadline = time.monotonic() + seconds
    for path in _READY:
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


def _ask(suites: Path, *arguments: str) -> dict[str, Any]:
    script = Path(__file__).with_name("refget_suites.py")
    done = subprocess.run(  # noqa: S603 - our own script
        [str(suites), "-I", str(script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise SuitesMissing(f"the suites cannot be run: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
