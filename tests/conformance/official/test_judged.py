"""Every way in which a suite's outcome can be less than the best is a fault, and said."""

import re
from typing import Any

import pytest

from conformance.official.judged import BEST, describe, judge

OLD_REFGET, NEW_REFGET = "refget-compliance 1.2.6", "refget-compliance 2.0.0"
HTSGET, COLLECTIONS = "ga4gh-htsget-compliance 1.0.0", "refget 0.12.0"
SUITES = (HTSGET, OLD_REFGET, NEW_REFGET, COLLECTIONS)


def best(suite: str, **others: Any) -> dict[str, Any]:
    score = next(each for name, each in BEST.items() if suite.startswith(name))
    return {
        "suite": suite,
        "passed": [f"test_{number}" for number in range(score.passed)],
        "skipped": sorted(score.skipped),
        "failed": [],
        "summary": dict(score.summary),
        **others,
    }


@pytest.mark.parametrize("suite", SUITES)
def test_the_best_score_has_no_faults(suite: str) -> None:
    assert list(judge(best(suite))) == []


@pytest.mark.parametrize("suite", SUITES)
def test_a_test_that_fails_is_named(suite: str) -> None:
    assert list(judge(best(suite, failed=["of all"]))) == [f"{suite}: failed: of all"]


@pytest.mark.parametrize("suite", SUITES)
def test_fewer_or_more_tests_than_known_are_a_fault(suite: str) -> None:
    names = best(suite)["passed"]
    for passed in (names[1:], [*names, "one more"], []):
        faults = list(judge(best(suite, passed=passed)))
        assert faults == [f"{suite}: {len(passed)} passed, not {len(names)}"]


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_skipped_unexpectedly_or_no_longer_is_named(suite: str) -> None:
    skipped = best(suite)["skipped"]
    assert list(judge(best(suite, skipped=[*skipped, "this"]))) == [f"{suite}: skipped: this"]
    assert list(judge(best(suite, skipped=[]))) == [f"{suite}: not skipped: {n}" for n in skipped]


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        (suite, name)
        for suite in (HTSGET, NEW_REFGET)
        for name in next(each for key, each in BEST.items() if suite.startswith(key)).summary
    ],
)
def test_every_count_of_a_report_matters(suite: str, name: str) -> None:
    summary = best(suite)["summary"]
    (fault,) = judge(best(suite, summary={**summary, name: summary[name] + 1}))
    assert fault.startswith(f"{suite}: its report says {name}: {summary[name] + 1}, not")
    del summary[name]
    (fault,) = judge(best(suite, summary=summary))
    assert f"{name}: None" in fault


def test_an_unknown_version_has_no_score() -> None:
    (fault,) = judge({**best(COLLECTIONS), "suite": "refget 0.13.0"})
    assert "no score is known" in fault


def test_a_suite_that_breaks_off_is_a_fault_and_one_that_is_missing_is_not() -> None:
    broken = {"suite": "htsget", "broken": "ImportError: crypt"}
    assert list(judge(broken)) == ["htsget: broke off: ImportError: crypt"]
    assert list(describe(broken)) == ["htsget: could not be run to its end"]
    missing = {"suite": "htsget", "missing": "no such Python"}
    assert list(judge(missing)) == []
    assert list(describe(missing)) == ["htsget: not run: no such Python"]


def test_an_outcome_is_described_in_a_line() -> None:
    assert list(describe(best(NEW_REFGET))) == [f"{NEW_REFGET}: 35 passed, 2 skipped, 0 failed"]
    first, second = describe(best(HTSGET, compares_nothing=["/variants/x", "/variants/y"]))
    assert first == f"{HTSGET}: 12 passed, 0 skipped, 0 failed"
    assert re.search(r"in 2 of these it compares nothing: /variants/x, /variants/y; .* 12", second)
