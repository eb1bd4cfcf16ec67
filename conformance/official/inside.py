"""Runs a public suite against a URL, in the environment that has the suites.

`inside.py SUITE URL` prints its outcome as JSON (`conformance.official.judged` says of what form);
`inside.py SUITE` the directory of the data that it asks for; either, why the suite is missing.
It needs nothing but the suites, and is started with `-I`, so that no module beside it stands in for
one of theirs.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

_RESULTS = MappingProxyType({1: "passed", 0: "skipped", -1: "failed"})
_STATUSES = MappingProxyType({"PASS": "passed", "SKIP": "skipped", "FAIL": "failed"})


@dataclass(frozen=True, slots=True)
class Suite:
    """A distribution; what of the data lies in which of its packages; the programs it calls."""

    distribution: str
    data: tuple[str, str]
    run: Callable[[str], dict[str, Any]]
    programs: tuple[str, ...] = ()


class HtsgetCase(Protocol):
    """A case of the htsget suite: one request."""

    def get_formatted_url(self) -> str: ...
    def get_url_params(self) -> Mapping[str, str]: ...


class HtsgetReport(Protocol):
    """What comes of a case."""

    def get_status(self) -> str: ...
    def get_error(self) -> str | None: ...


class HtsgetComparison(Protocol):
    """Its comparison of the file that was returned with the one expected."""

    def get_returned_fp(self) -> str: ...
    def get_expected_fp(self) -> str: ...
    def load(self, fp: str) -> bytes: ...


def sequences(url: str) -> dict[str, Any]:
    """The GA4GH compliance suite, whichever version is installed. `summary` is that of its report
    where the version has one."""
    runner = import_module("compliance_suite.test_runner").TestRunner(f"{url}/")
    runner.run_tests()
    outcome = _empty()
    for test in runner.results:
        outcome[_RESULTS.get(test["result"], "failed")].append(test["name"])
    report = runner.generate_report().to_json() if hasattr(runner, "generate_report") else "{}"
    return {**outcome, "summary": json.loads(report).get("summary", {})}


def collections(url: str) -> dict[str, Any]:
    """The checks of the package `refget`."""
    report = import_module("refget.compliance").run_compliance(url)
    outcome = _empty()
    for check in report["results"]:
        outcome["passed" if check["passed"] else "failed"].append(check["name"])
    return {**outcome, "summary": {}}


def htsget(url: str) -> dict[str, Any]:
    """The GA4GH suite by its own command, watched.

    It reads VCF with `samtools view` and so finds nothing equal to nothing, and of alignments it
    compares neither header nor tags. So all of every file is compared here too: `compared` counts
    where it is equal, `compares_nothing` names where the suite itself had no line to compare.
    """
    outcome, equal, empty = _empty(), dict[str, bool](), list[str]()
    case_name = ""
    cases = import_module("ga4gh.htsget.compliance.test_case")
    execute, validate = cases.TestCase.execute_test, cases.FileValidator.validate

    def watched_case(case: HtsgetCase) -> HtsgetReport:
        nonlocal case_name
        query = "&".join(f"{name}={value}" for name, value in case.get_url_params().items())
        case_name = f"{case.get_formatted_url().removeprefix(url)}?{query}".rstrip("?")
        report: HtsgetReport = execute(case)
        why = f": {report.get_error()}" if report.get_error() else ""
        outcome[_STATUSES.get(report.get_status(), "failed")].append(f"{case_name}{why}")
        return report

    def watched_comparison(validator: HtsgetComparison) -> int:
        result: int = validate(validator)
        returned, expected = validator.get_returned_fp(), validator.get_expected_fp()
        if not validator.load(returned).strip():
            empty.append(case_name)
        equal[case_name] = same_contents(returned, expected)
        return result

    cases.TestCase.execute_test = watched_case
    cases.FileValidator.validate = watched_comparison
    command = import_module("ga4gh.htsget.compliance.entrypoint").main
    printed = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.chdir(directory),  # the suite leaves files
        contextlib.redirect_stdout(printed),
    ):
        command.main(args=[url], standalone_mode=False)
    summary = json.loads(printed.getvalue())["summary"]
    differ = [f"{name}: not all is what the file holds" for name in equal if not equal[name]]
    return {
        **outcome,
        "failed": outcome["failed"] + differ,
        "summary": {**summary, "compared": sum(equal.values())},
        "compares_nothing": empty,
    }


def same_contents(one: str, other: str) -> bool:
    """Whether two files have the same header and records, every column, in samtools' or bcftools'
    text. False where one of them cannot be read, or holds nothing."""
    texts = []
    for file in (one, other):
        command = ["samtools", "view", "-h", "--no-PG"]
        if file.endswith((".vcf.gz", ".bcf")):
            command = ["bcftools", "view", "--no-version"]
        done = subprocess.run([*command, file], check=False, capture_output=True)  # noqa: S603
        texts.append(done.stdout if done.returncode == 0 else b"")
    return texts[0] == texts[1] != b""


def _empty() -> dict[str, list[str]]:
    return {"passed": [], "skipped": [], "failed": []}


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "htsget": Suite(
            "ga4gh-htsget-compliance",
            ("ga4gh.htsget", "data"),
            htsget,
            ("samtools", "bcftools", "htsfile", "crypt4gh"),
        ),
        "sequences": Suite("refget-compliance", ("compliance_suite", "sequences"), sequences),
        "collections": Suite("refget", ("refget", ""), collections),
    }
)


def main() -> None:
    """One JSON document on the standard output, whatever the suite itself prints."""
    suite, urls = SUITES[sys.argv[1]], sys.argv[2:]
    programs = Path(sys.executable).parent  # where the environment has crypt4gh
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    result: dict[str, Any] = {"suite": suite.distribution}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            result["suite"] += f" {version(suite.distribution)}"
        except PackageNotFoundError:
            result["missing"] = f"not installed in {sys.prefix}"
        else:
            absent = [program for program in suite.programs if shutil.which(program) is None]
            if absent:
                result["missing"] = f"{', '.join(absent)} not on PATH"
            elif urls:
                result |= suite.run(urls[0].rstrip("/"))
            else:
                package, folder = suite.data
                place = Path(str(import_module(package).__file__)).parent
                result["directory"] = str(place / folder)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
