"""The report as JUnit's XML, which continuous integration reads."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from conformance.case import Outcome
from conformance.reports.verdict import Part, protocols, suite_version, verdict
from conformance.run import Report, Result

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What an XML 1.0 document cannot hold, not even escaped (2.2, Char)."""


def junit_xml(report: Report) -> str:
    """A suite for each group. A warning counts as skipped: it does not fail the build, and is
    shown."""
    groups = [group for part in protocols(report) for group in part.groups]
    root = ET.Element("testsuites", {"name": "conformance", **_counted(report.results)})
    for group in groups:
        root.append(_suite(group, report))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(group: Part, report: Report) -> ET.Element:
    started = f"{group.results[0].started:%Y-%m-%dT%H:%M:%S}"
    about = {
        "name": _text(group.name),
        "timestamp": started,
        "hostname": _text(urlsplit(report.url).netloc),
    }
    suite = ET.Element("testsuite", {**about, **_counted(group.results)})
    properties = {
        "url": report.url,
        "data": report.dataset,
        "level": report.level.name.lower(),
        "verdict": verdict(report),
        "version": suite_version(),
    }
    suite.append(_properties(properties))
    suite.extend(_case(each) for each in group.results)
    return suite


def _case(result: Result) -> ET.Element:
    case = result.case
    name = case.name.removeprefix(f"{case.group}.")
    element = ET.Element(
        "testcase",
        {"classname": _text(case.group), "name": _text(name), "time": f"{result.seconds:.3f}"},
    )
    about = {"requirement": case.requirement.name, "clause": case.clause, "title": case.title}
    element.append(_properties(about))
    match result.outcome:
        case Outcome.FAILED:
            _reason(element, "failure", result, f"{result.message}\n\n{case.clause}: {case.title}")
        case Outcome.ERROR:
            _reason(element, "error", result, result.message)
        case Outcome.WARNED:
            _reason(element, "skipped", result, "", f"warning: {result.message}")
        case Outcome.SKIPPED:
            _reason(element, "skipped", result, "")
        case Outcome.PASSED:
            pass
    if result.exchanges:
        ET.SubElement(element, "system-out").text = _text("\n".join(result.exchanges))
    return element


def _reason(
    element: ET.Element, tag: str, result: Result, text: str, message: str | None = None
) -> None:
    line = result.message if message is None else message
    about = {"message": _text(line), "type": result.case.requirement.name}
    ET.SubElement(element, tag, about).text = _text(text) or None


def _properties(values: dict[str, str]) -> ET.Element:
    element = ET.Element("properties")
    for name, value in values.items():
        ET.SubElement(element, "property", {"name": name, "value": _text(value)})
    return element


def _counted(results: Sequence[Result]) -> dict[str, str]:
    def count(*outcomes: Outcome) -> str:
        return str(sum(each.outcome in outcomes for each in results))

    return {
        "tests": str(len(results)),
        "failures": count(Outcome.FAILED),
        "errors": count(Outcome.ERROR),
        "skipped": count(Outcome.SKIPPED, Outcome.WARNED),
        "time": f"{sum(each.seconds for each in results):.3f}",
    }


def _text(text: str) -> str:
    return _NOT_XML.sub("", text)
