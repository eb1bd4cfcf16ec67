"""The command: what it says of suites that are missing or broken, and the suites themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.official.__main__ import SUITES, ask, main, report, run

NOTHING: dict[str, object] = {"passed": [], "skipped": [], "failed": [], "summary": {}}


def python_that(tmp_path: Path, commands: str) -> Path:
    """What stands in for the Python that has the suites."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("suite", SUITES)
def test_a_missing_suite_is_said_to_be_missing_and_how_it_is_installed(
    suite: str, tmp_path: Path
) -> None:
    for python in (tmp_path / "python", Path(sys.executable)):
        missing = str(ask(python, suite)["missing"])
        assert "make conformance-suites" in missing
        assert ("HTSGET_COMPLIANCE_SUITE=" in missing) is (suite == "htsget")


def test_nothing_installed_is_not_a_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--suites", str(tmp_path / "python")]) == 2
    assert capsys.readouterr().out.count("not run") == len(SUITES)


def test_a_suite_that_does_not_start_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = python_that(tmp_path, "echo no module named crypt >&2; exit 1")
    assert main(["--suites", str(python), "--only", "htsget"]) == 1
    assert "FAULT htsget: broke off: no module named crypt" in capsys.readouterr().out


def test_a_suite_that_breaks_off_at_the_url_is_a_fault(tmp_path: Path) -> None:
    found = json.dumps({"suite": "refget 0.12.0", "directory": str(tmp_path)})
    python = python_that(tmp_path, f"test $# = 3 && echo '{found}' && exit; echo gone >&2; exit 1")
    (outcome,) = run(python, None, ["collections"], wait=60)
    assert outcome == {"suite": "collections", "broken": "gone"}


def test_a_server_without_the_data_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.dumps({"suite": "refget 0.12.0", "directory": str(tmp_path)})
    python = python_that(tmp_path, f"echo '{found}'")
    only = ["--suites", str(python), "--only", "collections"]
    assert main([*only, "--url", "http://127.0.0.1:9", "--wait", "0"]) == 2
    assert "status 0" in capsys.readouterr().err


def test_a_missing_suite_hides_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    missing = {"suite": "htsget", "missing": "not installed"}
    good = {**NOTHING, "suite": "refget 0.12.0", "passed": [str(number) for number in range(65)]}
    assert report([missing, good]) == 0
    assert report([missing, {**good, "failed": ["comparison"]}]) == 1
    assert "FAULT refget 0.12.0: failed: comparison" in capsys.readouterr().out


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_gives_the_best_score(suite: str, tmp_path: Path, suites: Path) -> None:
    missing = ask(suites, suite).get("missing")
    if missing:
        pytest.skip(str(missing))
    outcomes = tmp_path / "outcomes.json"
    command = [sys.executable, "-m", "conformance.official", "--only", suite]
    done = subprocess.run(
        [*command, "--suites", str(suites), "--json", str(outcomes)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(outcomes.read_text())
    assert outcome["passed"]
    assert not outcome["failed"]
