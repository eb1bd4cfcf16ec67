"""The list of cases: for people, for programs, and the one in the documentation."""

import io
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from conformance.cases import CASES
from conformance.reports.listing import cases_json, cases_markdown, print_cases

DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"


def test_the_documentation_has_all_cases() -> None:
    """Else: `python -m conformance --list --markdown`, between the two marks of the document."""
    text = DOCUMENT.read_text()
    found = text.partition("<!-- cases -->\n")[2].partition("<!-- end of cases -->")[0]
    assert found.strip() == cases_markdown(CASES).strip()


def test_programs_get_what_a_case_is() -> None:
    found = json.loads(cases_json(CASES))
    assert [each["name"] for each in found] == [each.name for each in CASES]
    assert set(found[0]) == {"name", "requirement", "clause", "title"}
    assert {each["requirement"] for each in found} <= {"MUST", "SHOULD", "MAY", "EXACT"}


def test_a_pipe_gets_a_line_for_each_and_a_terminal_a_table() -> None:
    pipe = Console(file=io.StringIO())
    print_cases(pipe, CASES)
    assert isinstance(pipe.file, io.StringIO)
    rows = [line.split("\t") for line in pipe.file.getvalue().splitlines()]
    assert [row[0] for row in rows] == [each.name for each in CASES]
    assert {len(row) for row in rows} == {4}
    wide = Console(file=io.StringIO(), force_terminal=True, width=400)
    print_cases(wide, CASES)
    assert isinstance(wide.file, io.StringIO)
    assert all(each.title in wide.file.getvalue() for each in CASES)


def test_tables_of_markdown_hold_whatever_a_title_has() -> None:
    (row,) = (
        line
        for line in cases_markdown([replace(CASES[0], title="One | two.")]).splitlines()
        if "One" in line
    )
    assert "One \\| two." in row
