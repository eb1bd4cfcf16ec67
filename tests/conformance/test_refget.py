"""The driver of the refget suites; and the suites themselves, where they are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.refget import (
    BEST,
    COLLECTIONS,
    NotServed,
    SuitesMissing,
    await_data,
    judge,
    run,
    serving,
    write_data,
)

ROOT = Path(__file__).parents[2]
SUITES = Path(os.environ.get("CONFORMANCE_PYTHON", ROOT / ".venv-conformance/bin/python"))


def outcome(suite: str, passed: int, **others: Any) -> dict[str, Any]:
    names = [f"test_{number}" for number in range(passed)]
    return {"suite": suite, "passed": names, "skipped": [], "failed": [], "summary": {}, **others}


def test_the_suites_give_the_best_score(tmp_path: Path) -> None:
    if not SUITES.is_file():
        pytest.skip("the suites are not installed: make conformance")
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "conformance.refget", "--suites", SUITES, "--json", report],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sequences, collections = json.loads(report.read_text())
    assert sequences["suite"].startswith("refget-compliance ")
    assert collections["suite"].startswith("refget 0.12.")


def test_what_the_suites_ask_for_is_served(tmp_path: Path, shared_data: Path) -> None:
    write_data(tmp_path, shared_data / "refget-compliance")
    assert len(list((tmp_path / "served").iterdir())) == 3 + len(COLLECTIONS)
    with serving(tmp_path) as url:
        await_data(url)


def test_a_server_without_the_data_is_not_judged(tmp_path: Path) -> None:
    settings = tmp_path / "htsgate.toml"
    settings.write_text(f'[[locations]]\nurl = "{tmp_path}"\n')
    with serving(tmp_path) as url, pytest.raises(NotServed, match="status 404"):
        await_data(url, seconds=1)
    with pytest.raises(NotServed, match="status 0"):
        await_data(url, seconds=0)


def test_a_server_that_does_not_start_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "htsgate.toml").write_text("nonsense = 1\n")
    with pytest.raises(NotServed), serving(tmp_path):
        pass


def test_missing_suites_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SuitesMissing, match="make conformance"):
        run(tmp_path / "python")
    with pytest.raises(SuitesMissing, match="cannot be run"):
        run(Path(sys.executable))


@pytest.mark.parametrize("suite", BEST)
def test_the_best_score_has_no_faults(suite: str) -> None:
    best = BEST[suite]
    good = outcome(
        f"{suite}0", best.passed, skipped=sorted(best.skipped), summary=dict(best.summary)
    )
    assert list(judge(good)) == []


def test_everything_less_is_a_fault() -> None:
    assert list(judge(outcome("refget 0.13.0", 65)))
    assert len(list(judge(outcome("refget 0.12.0", 64, failed=["comparison"])))) == 2
    assert list(judge(outcome("refget 0.12.0", 65, skipped=["service_info"])))
    skipped = sorted(BEST["refget-compliance 2."].skipped)
    good = {"passed": 68, "skipped": 2, "failed": 0, "warned": 0, "unknown": 0}
    suite = "refget-compliance 2.0.0"
    assert list(judge(outcome(suite, 35, skipped=skipped[:1], summary=good)))
    assert list(judge(outcome(suite, 35, skipped=skipped, summary={**good, "warned": 1})))
    assert not list(judge(outcome(suite, 35, skipped=skipped, summary=good)))
