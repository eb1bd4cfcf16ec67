"""What results come to."""

from dataclasses import replace

import pytest

from conformance.case import Outcome, Requirement
from conformance.cases import CASES
from conformance.reports.verdict import level_met, protocols, verdict
from conformance.run import Report, Result


def whole(report: Report, **outcomes: Outcome) -> Report:
    """A report of all the cases of the suite, by their protocols' outcomes."""
    some = report.results[0]
    results = tuple(
        Result(case, outcomes.get(case.protocol, Outcome.PASSED), "", (), some.started, 0.0)
        for case in CASES
    )
    return replace(report, results=results, asked=len(results))


def having(report: Report, protocol: str, found: dict[Requirement, Outcome]) -> Report:
    """A report with other outcomes of the cases of a protocol, by what they require."""
    results = tuple(
        replace(each, outcome=found.get(each.case.requirement, each.outcome))
        if each.case.protocol == protocol
        else each
        for each in report.results
    )
    return replace(report, results=results)


def met(report: Report) -> str:
    return {part.name: level_met(part) for part in protocols(report)}["htsget"]


def test_all_passed(report: Report) -> None:
    found = whole(report)
    assert found.passed
    assert verdict(found).startswith("passes htsget 1.3, refget 2.0")
    assert verdict(found).endswith(" at level should")
    assert met(found) == "meets exact"


def test_warnings_do_not_fail_and_are_counted(report: Report) -> None:
    found = having(whole(report), "htsget", {Requirement.EXACT: Outcome.WARNED})
    assert found.passed
    count = sum(each.outcome is Outcome.WARNED for each in found.results)
    assert f" at level should; {count} warnings" in verdict(found)
    assert met(found) == "meets may"


def test_failures_and_errors_do(report: Report) -> None:
    found = having(whole(report), "htsget", {Requirement.MUST: Outcome.FAILED})
    assert not found.passed
    assert verdict(found).startswith("does not pass htsget 1.3")
    assert met(found) == "does not meet must"
    error = having(whole(report), "htsget", {Requirement.SHOULD: Outcome.ERROR})
    assert not error.passed
    assert met(error) == "meets must"


def test_a_level_of_which_nothing_was_judged_is_not_met(report: Report) -> None:
    found = having(
        whole(report),
        "htsget",
        {Requirement.MAY: Outcome.SKIPPED, Requirement.EXACT: Outcome.SKIPPED},
    )
    assert met(found) == "meets should"


def test_what_was_not_judged_is_said(report: Report) -> None:
    found = whole(report, refget=Outcome.SKIPPED, seqcol=Outcome.SKIPPED)
    assert verdict(found).startswith("passes htsget 1.3 at level should; ")
    assert "could not be judged" in verdict(found)
    nothing = replace(found, results=tuple(_skipped(each) for each in found.results))
    assert not nothing.passed
    assert not nothing.judged
    assert verdict(nothing) == "nothing could be judged: no case passed or failed"


def test_some_cases_are_not_a_protocol(report: Report) -> None:
    assert "4 cases of htsget 1.3" in verdict(report)
    assert met(report) == ""


def test_an_interrupted_run_has_no_verdict(report: Report) -> None:
    cut = replace(report, results=report.results[:3])
    assert not cut.passed
    assert verdict(cut) == "interrupted after 3 of 8 cases: no verdict"


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIPPED])
def test_errors_and_skips_judge_nothing(report: Report, outcome: Outcome) -> None:
    results = tuple(replace(each, outcome=outcome) for each in report.results)
    assert not replace(report, results=results).judged


def _skipped(result: Result) -> Result:
    return replace(result, outcome=Outcome.SKIPPED)
