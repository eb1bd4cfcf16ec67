"""The XML is well-formed whatever a server says, and says what the exit status says."""

from dataclasses import replace
from xml.etree import ElementTree as ET

from conformance.reports.junit import junit_xml
from conformance.run import Report


def suites(report: Report) -> ET.Element:
    text = junit_xml(report)
    return ET.fromstring(text.encode())  # noqa: S314 - our own


def test_hostile_messages_come_back_without_what_xml_cannot_hold(report: Report) -> None:
    (failure,) = suites(report).iter("failure")
    assert failure.text is not None
    for kept in ("]]>", "<script>alert('x')</script>", '"quotes"', "日本語 😀", "[31mred", "\tend"):
        assert kept in failure.text
    for lost in ("\x00", "\x08", "\x1b", "\ufffe", "\ud800"):
        assert lost not in failure.text
    assert failure.get("message", "").startswith("]]> <script>")


def test_outcomes_have_their_elements(report: Report) -> None:
    root = suites(report)
    found = {
        f"{case.get('classname')}.{case.get('name')}": [
            child.tag for child in case if child.tag in ("failure", "error", "skipped")
        ]
        for case in root.iter("testcase")
    }
    assert found == {
        "htsget.ticket.one": [],
        "htsget.ticket.two": ["failure"],
        "htsget.post.three": ["skipped"],
        "htsget.post.four": ["error"],
        "refget.range.five": [],
        "refget.range.six": ["skipped"],
        "refget.range.seven": [],
        "seqcol.list.eight": ["skipped"],
    }
    warned, skipped, _ = root.iter("skipped")
    assert warned.get("message", "").startswith("warning: ")
    assert not skipped.get("message", "").startswith("warning: ")


def test_counts_are_those_of_the_elements(report: Report) -> None:
    root = suites(report)
    for each in (root, *root.iter("testsuite")):
        for attribute, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(each.get(attribute, "")) == len([*each.iter(tag)])
    assert root.get("time") == "2.000"


def test_what_a_case_is_about_is_told(report: Report) -> None:
    root = suites(report)
    case = next(root.iter("testcase"))
    told = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert told == {
        "requirement": "MUST",
        "clause": "clause of <htsget.ticket.one>",
        "title": "It does `what` it <should>.",
    }
    assert case.get("time") == "0.250"
    assert case.findtext("system-out") == "GET /reads/demo 200"
    suite = next(root.iter("testsuite"))
    about = {each.get("name"): each.get("value") for each in suite[0]}
    assert about["url"] == report.url
    assert about["level"] == "should"


def test_nothing_is_a_document(report: Report) -> None:
    root = suites(replace(report, results=()))
    assert root.get("tests") == "0"
