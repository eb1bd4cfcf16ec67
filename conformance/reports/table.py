"""The table on a terminal, and the same as plain lines where there is none."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from conformance.case import Case, Outcome
from conformance.redaction import printable
from conformance.reports.verdict import level_met, protocols, verdict
from conformance.run import Report, Result

COLOURS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PASSED: "green",
        Outcome.FAILED: "bold red",
        Outcome.WARNED: "yellow",
        Outcome.SKIPPED: "dim",
        Outcome.ERROR: "bold magenta",
    }
)
_OUTCOME, _REQUIREMENT, _GAP = 7, 6, 2
_NARROWEST_CLAUSE = 24


class Printer:
    """Prints results as they come: in columns and colours on a terminal, else one a line, its
    fields separated by tabs. `verbose`: with the requests of each."""

    def __init__(self, console: Console, cases: Sequence[Case], *, verbose: bool = False) -> None:
        self._console = console
        self._names = max((len(each.name) for each in cases), default=0)
        self._verbose = verbose
        self._group = ""

    def __call__(self, result: Result) -> None:
        """Print a case, why it did not pass, and before the first of a group a heading."""
        if not self._console.is_terminal:
            self._plain(result)
            return
        if result.case.group != self._group:
            self._group = result.case.group
            self._console.print(Text(f"\n{self._group}", "bold"))
        self._console.print(self._row(result))
        if result.message:
            self._below(Text(printable(result.message)))
        for each in result.exchanges if self._verbose else ():
            self._below(Text(printable(each), "dim"))

    def _row(self, result: Result) -> Table:
        colour, case = COLOURS[result.outcome], result.case
        room = self._console.width - _OUTCOME - _REQUIREMENT - self._names - 3 * _GAP
        row = Table.grid(padding=(0, _GAP, 0, 0))
        row.add_column(width=_OUTCOME)
        row.add_column(width=_REQUIREMENT)
        row.add_column(width=self._names if room >= 0 else None, overflow="fold")
        cells = [Text(result.outcome, colour), Text(case.requirement.name), Text(case.name)]
        if room >= _NARROWEST_CLAUSE:
            row.add_column(width=room)
            cells.append(Text(case.clause, "dim"))
        row.add_row(*cells)
        return row

    def _below(self, text: Text) -> None:
        self._console.print(Padding(text, (0, 0, 0, _OUTCOME + _GAP)))

    def _plain(self, result: Result) -> None:
        case = result.case
        fields = [result.outcome, case.requirement.name, case.name, case.clause, result.message]
        print_fields(self._console, fields)
        for each in result.exchanges if self._verbose else ():
            print_fields(self._console, ["", each])


def print_summary(console: Console, report: Report) -> None:
    """How many cases of what came out how, and what that means in one sentence."""
    if console.is_terminal:
        console.print()
        console.print(_summary(report))
        console.print()
    else:
        for row in summary_rows(report):
            print_fields(console, row)
    print_verdict(console, report)


def print_verdict(console: Console, report: Report) -> None:
    """What all comes to, in one line."""
    colour = "bold green" if report.passed else "bold red"
    line = Text.assemble(f"{report.url} ", (verdict(report), colour))
    console.print(line, soft_wrap=True)


def summary_rows(report: Report) -> list[list[str]]:
    """The head of the summary, and a row for each requirement of each protocol, as text."""
    rows = [["protocol", "requirement", *Outcome, "level"]]
    for part in protocols(report):
        for number, (requirement, counts) in enumerate(part.requirements):
            numbers = [str(counts[outcome]) for outcome in Outcome]
            level = level_met(part) if number == 0 else ""
            rows.append([part.name, requirement.name, *numbers, level])
    return rows


def _summary(report: Report) -> Table:
    head, *rows = summary_rows(report)
    table = Table(box=None, padding=(0, _GAP, 0, 0))
    for name in head:
        table.add_column(name, justify="right" if name in list(Outcome) else "left")
    last = ""
    for protocol, requirement, *numbers, level in rows:
        counts = [
            Text(number, COLOURS[outcome] if number != "0" else "dim")
            for outcome, number in zip(Outcome, numbers, strict=True)
        ]
        name = protocol if protocol != last else ""
        table.add_row(Text(name, "bold"), requirement, *counts, level)
        last = protocol
    return table


def print_fields(console: Console, fields: Sequence[str]) -> None:
    """One line, however long, of fields separated by tabs, which rich would make spaces of."""
    line = "\t".join(printable(" ".join(each.split())) for each in fields)
    try:
        console.file.write(f"{line}\n")
        console.file.flush()
    except BrokenPipeError:
        console.on_broken_pipe()
