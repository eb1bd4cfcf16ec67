"""A report of every outcome, in which a server has said what would break a careless writer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conformance.case import Case, Outcome, Requirement
from conformance.run import Report, Result
from conformance.site import Site

HOSTILE = (
    "]]> <script>alert('x')</script> & \"quotes\" --> <!-- \x00\x08\x1b[31mred\x1b[0m\x7f\ufffe"
    "\ud800 ünïcode 日本語 😀 | `tick` {{braces}} [bold]markup[/bold] %s\r\nsecond line\tend"
)

STARTED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def _unused(_: Site) -> None:
    raise AssertionError


def result(
    name: str,
    requirement: Requirement,
    outcome: Outcome,
    message: str = "",
    exchanges: tuple[str, ...] = ("GET /reads/demo 200",),
) -> Result:
    case = Case(name, requirement, f"clause of <{name}>", "It does `what` it <should>.", _unused)
    return Result(case, outcome, message, exchanges, STARTED, 0.25)


@pytest.fixture
def report() -> Report:
    """Outcomes of all kinds in two protocols, and a third of which nothing was judged."""
    must, should, may, exact = Requirement
    results = (
        result("htsget.ticket.one", must, Outcome.PASSED),
        result("htsget.ticket.two", should, Outcome.FAILED, HOSTILE, (HOSTILE, "GET / 500")),
        result("htsget.post.three", may, Outcome.WARNED, HOSTILE),
        result("htsget.post.four", exact, Outcome.ERROR, HOSTILE),
        result("refget.range.five", must, Outcome.PASSED, "", ()),
        result("refget.range.six", should, Outcome.SKIPPED, HOSTILE),
        result("refget.range.seven", may, Outcome.PASSED),
        result("seqcol.list.eight", must, Outcome.SKIPPED, "not offered"),
    )
    return Report(
        "http://host/<b>",
        "data & more",
        should,
        results,
        STARTED,
        STARTED + timedelta(seconds=2),
        8,
    )


@pytest.fixture
def sound_report(report: Report) -> Report:
    """The same, in which everything passed."""
    passed = tuple(replace(each, outcome=Outcome.PASSED, message="") for each in report.results)
    return replace(report, results=passed, url="http://host")
