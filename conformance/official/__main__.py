"""`python -m conformance.official`: the public suites against this server, judged.

Serves what the suites ask for with `htsgate serve`, runs those that are installed, and compares
each outcome with the best there is. What is not run is said, with the reason. `--url` judges
another server, which has the data already. Nothing of ours is imported.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conformance.official import htsget, refget
from conformance.official.judged import describe, judge
from conformance.official.serving import ROOT, NotServed, await_data, serving, write_settings

_SUITES = ROOT / ".venv-conformance" / "bin" / "python"
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Suite:
    """How a suite is given its data, what answers once they are served, how it is installed."""

    write: Callable[[Path, Path], None]
    ready: tuple[str, ...]
    install: str = "make conformance-suites"


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "htsget": Suite(
            htsget.write_files,
            htsget.READY,
            "make conformance-suites HTSGET_COMPLIANCE_SUITE=CHECKOUT, of github.com/ga4gh/"
            "htsget-compliance, which is on no package index; and samtools, bcftools and htsfile",
        ),
        "sequences": Suite(refget.write_sequences, refget.SEQUENCES_READY),
        "collections": Suite(refget.write_collections, refget.COLLECTIONS_READY),
    }
)
"""By the names that `inside.py` knows them by."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: as good as can be, as far as suites were run; 1: not; 2: nothing was judged."""
    parser = argparse.ArgumentParser(prog="python -m conformance.official", description=__doc__)
    parser.add_argument("--url", help="of a server that has the data; default: one is started")
    parser.add_argument("--suites", type=Path, default=_SUITES, help="Python with the suites")
    parser.add_argument("--json", type=Path, help="where to write the outcomes")
    parser.add_argument("--only", choices=SUITES, action="append", help="a suite; repeatable")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds until data must be there")
    options = parser.parse_args(arguments)
    try:
        outcomes = run(options.suites, options.url, options.only or tuple(SUITES), options.wait)
    except NotServed as reason:
        sys.stderr.write(f"{reason}\n")
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(outcomes, indent=1) + "\n")
    return report(outcomes)


def report(outcomes: Sequence[Mapping[str, Any]]) -> int:
    """Print the outcomes and what is wrong with them; the exit status."""
    faults = [fault for outcome in outcomes for fault in judge(outcome)]
    for outcome in outcomes:
        sys.stdout.writelines(f"{line}\n" for line in describe(outcome))
    sys.stdout.writelines(f"FAULT {fault}\n" for fault in faults)
    if all("missing" in outcome for outcome in outcomes):
        return 2
    return int(bool(faults))


def run(suites: Path, url: str | None, names: Sequence[str], wait: float) -> list[dict[str, Any]]:
    """The outcomes of suites at a URL, or at a server started for them. Raises `NotServed` when the
    data are not there after `wait` seconds."""
    found = {name: ask(suites, name) for name in names}
    there = [name for name, about in found.items() if "directory" in about]
    if there:
        with contextlib.ExitStack() as stack:
            if url is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="suites-")))
                served = write_settings(directory)
                for name in there:
                    SUITES[name].write(served, Path(found[name]["directory"]))
                url = stack.enter_context(serving(directory))
            await_data(url, (path for name in there for path in SUITES[name].ready), wait)
            found |= {name: ask(suites, name, url) for name in there}
    return list(found.values())


def ask(suites: Path, name: str, *url: str) -> dict[str, Any]:
    """What `inside.py` says of a suite: without a URL where its data lie, with one the outcome."""
    if not suites.is_file():
        return {"suite": name, "missing": f"{suites}: no such Python: {SUITES[name].install}"}
    script = Path(__file__).with_name("inside.py")
    command = [str(suites), "-I", str(script), name, *url]
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            command, check=True, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.CalledProcessError as failure:
        return {"suite": name, "broken": failure.stderr.strip()[-2000:]}
    except subprocess.TimeoutExpired:
        return {"suite": name, "broken": f"not done after {_SECONDS:g} seconds"}
    result: dict[str, Any] = json.loads(done.stdout)
    if "missing" in result:
        result["missing"] += f": {SUITES[name].install}"
    return result


if __name__ == "__main__":
    sys.exit(main())
