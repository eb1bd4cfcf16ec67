"""The table: columns and colours on a terminal, one line a case elsewhere."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from conformance.case import Outcome
from conformance.reports.table import Printer, print_summary, print_verdict
from conformance.run import Report

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def shown(report: Report, console: Console, *, verbose: bool = False) -> str:
    printer = Printer(console, [each.case for each in report.results], verbose=verbose)
    for each in report.results:
        printer(each)
    print_summary(console, report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system="standard")


def plain() -> Console:
    return Console(file=io.StringIO())


def test_piped_output_is_one_line_a_case_however_long(report: Report) -> None:
    first, long = report.results[0], "why " * 100
    report = replace(report, results=(first, replace(report.results[1], message=f"{long}\n\tend")))
    lines = shown(report, plain()).splitlines()
    assert lines[0].split("\t") == [
        "passed",
        "MUST",
        first.case.name,
        first.case.clause,
        "",
    ]
    assert lines[1].split("\t")[-1] == f"{long}end"
    assert not ESCAPE.search("".join(lines))


def test_verbose_tells_the_requests(report: Report) -> None:
    assert "GET /reads/demo 200" not in shown(report, plain())
    assert "\n\tGET /reads/demo 200\n" in shown(report, plain(), verbose=True)
    assert "GET /reads/demo 200" in shown(report, terminal(120), verbose=True)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_terminal_is_not_exceeded(report: Report, width: int) -> None:
    long = tuple(replace(each, message="a word or two " * 20) for each in report.results)
    console = terminal(width)
    printer = Printer(console, [each.case for each in long])
    for each in long:
        printer(each)
    assert isinstance(console.file, io.StringIO)
    lines = ESCAPE.sub("", console.file.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    messages = [line for line in lines if "word or two" in line]
    assert all(line.startswith(" " * 9) for line in messages)
    for each in report.results:
        assert each.case.name in "".join(line.strip() for line in lines)


def test_columns_are_aligned_under_their_groups(report: Report) -> None:
    text = ESCAPE.sub("", shown(report, terminal(120)))
    lines = text.splitlines()
    headings = [line for line in lines if re.fullmatch(r"[a-z]+\.[a-z]+", line)]
    assert headings == ["htsget.ticket", "htsget.post", "refget.range", "seqcol.list"]
    rows = [line for line in lines if re.search(r"MUST|SHOULD|MAY|EXACT", line) and ".t" in line]
    assert len({line.index("clause of") for line in rows if "clause of" in line}) == 1


def test_colour_says_no_more_than_words(report: Report) -> None:
    text = shown(report, terminal(120))
    assert "\x1b[1;31mfailed" in text
    assert "\x1b[32mpassed" in text
    assert all(outcome in ESCAPE.sub("", text) for outcome in Outcome)


def test_no_color_is_heeded(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[(\d;)?3\d", shown(report, terminal(120)))


def test_messages_are_no_markup(report: Report) -> None:
    message = "[bold]not bold[/bold] [/] :smile:"
    report = replace(report, results=(replace(report.results[1], message=message),))
    assert message in ESCAPE.sub("", shown(report, terminal(120)))
    assert message in shown(report, plain())


def test_the_summary_counts_by_protocol_and_requirement(report: Report) -> None:
    rows = [line.split("\t") for line in shown(report, plain()).splitlines()]
    head = next(row for row in rows if row[0] == "protocol")
    assert head[2:] == [*Outcome, "level"]
    assert ["htsget", "SHOULD", "0", "1", "0", "0", "0", ""] in rows
    assert ["refget", "MUST", "1", "0", "0", "0", "0", ""] in rows
    assert ["seqcol", "MUST", "0", "0", "0", "1", "0", "not judged"] in rows


def test_the_verdict_is_one_line(report: Report) -> None:
    for console in (plain(), terminal(40)):
        print_verdict(console, report)
        assert isinstance(console.file, io.StringIO)
        (line,) = ESCAPE.sub("", console.file.getvalue()).splitlines()
        assert line.startswith("http://host/<b> does not pass ")
        assert "1 failure, 1 error, 1 warning" in line
