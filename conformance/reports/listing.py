"""The cases themselves: for people, programs, and the documentation."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case import Case
from conformance.reports.table import print_fields
from conformance.reports.verdict import SPECIFICATIONS


def print_cases(console: Console, cases: Sequence[Case]) -> None:
    """A row for each; elsewhere than on a terminal a line, its fields separated by tabs."""
    rows = [(each.name, each.requirement.name, each.clause, each.title) for each in cases]
    if not console.is_terminal:
        for row in rows:
            print_fields(console, row)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("case", "requires", "clause", "title"):
        table.add_column(name, no_wrap=name == "requires", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def cases_json(cases: Sequence[Case]) -> str:
    """An array of objects, in the order of the cases."""
    entries = [
        {
            "name": each.name,
            "requirement": each.requirement.name,
            "clause": each.clause,
            "title": each.title,
        }
        for each in cases
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def cases_markdown(cases: Sequence[Case]) -> str:
    """A heading and a table for each protocol."""
    lines = []
    for protocol in dict.fromkeys(each.protocol for each in cases):
        lines += [
            f"### {SPECIFICATIONS.get(protocol, protocol)}",
            "",
            "| case | requires | what is true of a server that passes | clause |",
            "|---|---|---|---|",
        ]
        lines += [_markdown(each) for each in cases if each.protocol == protocol]
        lines.append("")
    return "\n".join(lines)


def _markdown(case: Case) -> str:
    title, clause = (each.replace("|", "\\|") for each in (case.title, case.clause))
    return f"| `{case.name}` | {case.requirement.name} | {title} | {clause} |"
