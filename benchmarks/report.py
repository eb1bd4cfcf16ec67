"""Rows as a table for people, as JSON for machines, and as Markdown for the README."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Gate, Row


def print_table(console: Console, rows: Sequence[Row], machine: dict[str, str]) -> None:
    """The rows, and below them what they were measured on."""
    table = Table(title="htsgate: ratios within one run, medians over rounds", title_justify="left")
    for name in ("measured", "value", "quartiles", "by", "gate", "stretch", ""):
        table.add_column(name, justify="left" if name in ("measured", "") else "right")
    table.add_column("medians", overflow="fold")
    for row in rows:
        table.add_row(
            row.title, _value(row), _spread(row), row.basis, str(row.gate or ""),
            f"{row.gate.stretch:g}" if row.gate else "", _verdict(row, rich=True), _figures(row),
        )  # fmt: skip
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the README's table."""
    yield "| measured | value | gate | | medians |"
    yield "|---|---:|---:|---|---|"
    for row in rows:
        cells = (row.title, _value(row), str(row.gate or ""), _verdict(row), _figures(row))
        yield f"| {' | '.join(cells)} |"


def as_json(rows: Iterable[Row], machine: dict[str, str], run: dict[str, Any]) -> dict[str, Any]:
    """All that is known of a run. `run` says how it was made."""
    return {
        "run": run,
        "machine": machine,
        "rows": [{**asdict(row), "missed": row.missed} for row in rows],
    }


def from_json(document: dict[str, Any]) -> list[Row]:
    """The rows of a document that `as_json` made."""
    rows = []
    for entry in document["rows"]:
        fields = {name: value for name, value in entry.items() if name != "missed"}
        gate = fields.pop("gate")
        rows.append(Row(**fields, gate=None if gate is None else Gate(**gate)))
    return rows


def _value(row: Row) -> str:
    if row.value is None:
        return "—"
    return _number(row.value) + (f" {row.unit}" if row.unit != "x" else "")


def _spread(row: Row) -> str:
    return "" if row.value is None else f"{_number(row.low)} to {_number(row.high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def _verdict(row: Row, *, rich: bool = False) -> str:
    if row.value is None:
        return "not measured"
    if row.gate is None:
        return ""
    if row.missed:
        return "[bold red]missed[/]" if rich else "**missed**"
    return "[green]met[/]" if rich else "met"


def _figures(row: Row) -> str:
    text = ", ".join(f"{name} {value}" for name, value in row.figures.items())
    return "; ".join(part for part in (text, row.note) if part)
