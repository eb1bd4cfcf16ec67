"""The report as JSON, in the format of the GA4GH testbed library (ga4gh-testbed-report 0.1.0)."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from conformance.case import Outcome
from conformance.reports.verdict import SPECIFICATIONS, Part, protocols, suite_version
from conformance.run import Report, Result

STATUSES: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PASSED: "PASS",
        Outcome.FAILED: "FAIL",
        Outcome.WARNED: "WARN",
        Outcome.SKIPPED: "SKIP",
        Outcome.ERROR: "UNKNOWN",
    }
)
_COUNTED = (("unknown", "UNKNOWN"), ("passed", "PASS"), ("warned", "WARN"), ("failed", "FAIL"))


def ga4gh_json(report: Report) -> str:
    """Protocols are the phases, groups of cases the tests; requests are the log of a case."""
    return json.dumps(_report(report), indent=2) + "\n"


def _report(report: Report) -> dict[str, Any]:
    return {
        "schema_name": "ga4gh-testbed-report",
        "schema_version": "0.1.0",
        "testbed_name": "htsgate conformance",
        "testbed_version": suite_version(),
        "testbed_description": "Black-box checks of htsget, refget and Sequence Collections",
        "platform_name": report.url,
        "platform_description": f"The server at this URL, with {report.dataset}",
        "input_parameters": {
            "url": report.url,
            "data": report.dataset,
            "level": report.level.name.lower(),
        },
        **_times(report.started, report.ended),
        **_summed(report.results),
        **({"status": "UNKNOWN"} if report.interrupted else {}),  # of the cases that are left
        "phases": [_phase(each) for each in protocols(report)],
    }


def _phase(part: Part) -> dict[str, Any]:
    return {
        "phase_name": part.name,
        "phase_description": SPECIFICATIONS.get(part.name, part.name),
        **_span(part),
        **_summed(part.results),
        "tests": [_test(each) for each in part.groups],
    }


def _test(part: Part) -> dict[str, Any]:
    return {
        "test_name": part.name,
        "test_description": f"All cases whose names begin with {part.name}",
        **_span(part),
        **_summed(part.results),
        "message": ", ".join(f"{count} {outcome}" for outcome, count in part.counts.items()),
        "cases": [_case(each) for each in part.results],
    }


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "case_name": case.name,
        "case_description": f"{case.requirement.name} ({case.clause}): {case.title}",
        "log_messages": [*result.exchanges],
        **_times(result.started, result.ended),
        "status": STATUSES[result.outcome],
        "message": result.message,
    }


def _summed(results: Iterable[Result]) -> dict[str, Any]:
    """Summary and status, as the library comes from the one to the other."""
    counts = Counter(STATUSES[each.outcome] for each in results)
    order = ("FAIL", "UNKNOWN", "WARN", "PASS")
    summary = {name: counts[status] for name, status in _COUNTED}
    return {
        "status": next((status for status in order if counts[status]), "SKIP"),
        "summary": {**summary, "skipped": counts["SKIP"]},
    }


def _span(part: Part) -> dict[str, str]:
    return _times(part.results[0].started, part.results[-1].ended)


def _times(started: datetime, ended: datetime) -> dict[str, str]:
    return {
        "start_time": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
    }
