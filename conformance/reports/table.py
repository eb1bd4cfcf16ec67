"""The table on a terminal."""

from rich.console import Console

from conformance.run import Report, Result

COLOURS = {
    "passed": "green",
    "failed": "red",
    "warned": "yellow",
    "skipped": "dim",
    "error": "magenta",
}


def print_result(console: Console, result: Result) -> None:
    """A line for a case, and one for why it did not pass."""
    colour = COLOURS[result.outcome]
    console.print(
        f"[{colour}]{result.outcome:8}[/] {result.case.requirement.name:7} {result.case.name}",
        highlight=False,
    )
    if result.message:
        console.print(f"         {result.message}", markup=False, highlight=False, style="dim")


def print_summary(console: Console, report: Report) -> None:
    """How many cases came out how, and what that means."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    console.print(f"{report.url}: {counts}")
