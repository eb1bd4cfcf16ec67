"""The JSON, by the rules of the testbed library's schema 0.1.0: its names, types and statuses."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from conformance.reports.testbed import ga4gh_json
from conformance.run import Report

TIMES = {"start_time": str, "end_time": str, "status": str}
SUMMARY = dict.fromkeys(("unknown", "passed", "warned", "failed", "skipped"), int)
SCHEMA: dict[str, dict[str, type]] = {
    "report": TIMES
    | dict.fromkeys(
        (
            "schema_name",
            "schema_version",
            "testbed_name",
            "testbed_version",
            "testbed_description",
            "platform_name",
            "platform_description",
        ),
        str,
    )
    | {"input_parameters": dict, "summary": dict, "phases": list},
    "phase": TIMES | {"phase_name": str, "phase_description": str, "summary": dict, "tests": list},
    "test": TIMES
    | {"test_name": str, "test_description": str, "summary": dict, "message": str, "cases": list},
    "case": TIMES
    | {"case_name": str, "case_description": str, "log_messages": list, "message": str},
}
"""Of each kind of object all properties: the schema allows no others."""


def check(kind: str, found: dict[str, Any]) -> None:
    assert {name: type(value) for name, value in found.items()} == SCHEMA[kind]
    assert found["status"] in {"UNKNOWN", "PASS", "WARN", "FAIL", "SKIP"}
    for name in ("start_time", "end_time"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found[name])
    if kind != "case":
        assert {name: type(value) for name, value in found["summary"].items()} == SUMMARY
    for below, plural in (("phase", "phases"), ("test", "tests"), ("case", "cases")):
        for each in found.get(plural, ()):
            check(below, each)
    assert all(type(each) is str for each in found.get("log_messages", ()))


def status_of(summary: dict[str, int]) -> str:
    """As the library comes from a summary to a status."""
    for name, status in (("failed", "FAIL"), ("unknown", "UNKNOWN"), ("warned", "WARN")):
        if summary[name]:
            return status
    return "SKIP" if summary["skipped"] == sum(summary.values()) else "PASS"


def test_the_schema_is_kept(report: Report) -> None:
    document = json.loads(ga4gh_json(report))
    check("report", document)
    assert document["schema_name"] == "ga4gh-testbed-report"
    assert document["schema_version"] == "0.1.0"
    assert document["start_time"] == "2026-05-04T03:02:01Z"
    assert document["end_time"] == "2026-05-04T03:02:03Z"


def test_statuses_and_counts_are_those_of_what_is_below(report: Report) -> None:
    document = json.loads(ga4gh_json(report))
    assert document["summary"] == {
        "unknown": 1,
        "passed": 3,
        "warned": 1,
        "failed": 1,
        "skipped": 2,
    }
    phases = document["phases"]
    tests = [test for phase in phases for test in phase["tests"]]
    for each in (document, *phases, *tests):
        assert each["status"] == status_of(each["summary"])
    for parent, children in ((document, phases), *((each, each["tests"]) for each in phases)):
        for name, count in parent["summary"].items():
            assert count == sum(each["summary"][name] for each in children)
    assert [each["status"] for each in phases] == ["FAIL", "PASS", "SKIP"]
    assert [each["status"] for each in tests] == ["FAIL", "UNKNOWN", "PASS", "SKIP"]


def test_cases_tell_what_was_seen(report: Report) -> None:
    document = json.loads(ga4gh_json(report))
    case = document["phases"][0]["tests"][0]["cases"][1]
    failed = report.results[1]
    assert case["case_name"] == failed.case.name
    assert case["case_description"].startswith(f"SHOULD ({failed.case.clause}): ")
    assert case["message"] == failed.message
    assert case["log_messages"] == [*failed.exchanges]


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_that_was_cut_short_is_a_report_too(report: Report, count: int) -> None:
    cut = replace(report, results=report.results[:count], asked=len(report.results))
    document = json.loads(ga4gh_json(cut))
    check("report", document)
    assert document["status"] == "UNKNOWN"


def test_it_is_ascii(report: Report) -> None:
    """So that no message, not even one of lone surrogates, can keep it from being written."""
    assert ga4gh_json(report).isascii()
