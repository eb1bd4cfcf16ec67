"""Runs a public suite of refget against a URL, in the environment that has the suites.

`refget_suites.py sequences|collections URL` prints JSON; `refget_suites.py data` prints where the
sequences lie that the first suite asks for. `conformance.refget` calls it; it needs nothing but the
suites, and is started with `-I`, so that no module beside it stands in for one of theirs.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

_OUTCOMES = MappingProxyType({1: "passed", 0: "skipped", -1: "failed"})


def sequences(url: str) -> dict[str, Any]:
    """The GA4GH compliance suite, whichever version is installed. `summary` is that of its report
    where the version has one."""
    runner = import_module("compliance_suite.test_runner").TestRunner(f"{url.rstrip('/')}/")
    runner.run_tests()
    outcomes: dict[str, list[str]] = {name: [] for name in _OUTCOMES.values()}
    for test in runner.results:
        outcomes[_OUTCOMES.get(test["result"], "failed")].append(test["name"])
    release = version("refget-compliance")
    report = runner.generate_report().to_json() if hasattr(runner, "generate_report") else "{}"
    summary = json.loads(report).get("summary", {})
    return {"suite": f"refget-compliance {release}", **outcomes, "summary": summary}


def collections(url: str) -> dict[str, Any]:
    """The checks of the package `refget`."""
    report = import_module("refget.compliance").run_compliance(url.rstrip("/"))
    outcomes: dict[str, list[str]] = {name: [] for name in _OUTCOMES.values()}
    for check in report["results"]:
        outcomes["passed" if check["passed"] else "failed"].append(check["name"])
    return {"suite": f"refget {version('refget')}", **outcomes, "summary": {}}


def data(_: str) -> dict[str, Any]:
    """The directory of I.faa, VI.faa and NC.faa."""
    package = Path(str(import_module("compliance_suite").__file__)).parent
    return {"directory": str(package / "sequences")}


def main() -> None:
    """One JSON document on the standard output, whatever the suite itself prints."""
    commands: Mapping[str, Callable[[str], dict[str, Any]]] = {
        "sequences": sequences,
        "collections": collections,
        "data": data,
    }
    name, url = (*sys.argv[1:], "")[:2]
    with contextlib.redirect_stdout(io.StringIO()):
        result = commands[name](url)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
