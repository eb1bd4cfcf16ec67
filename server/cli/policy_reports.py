"""What `htsgate policy` prints for people: tables in a terminal."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.findings import counted, printable

_ATOM = ("type", "claim", "value", "contains", "source", "iss", "sub")
_SHOWN = 6
"""Regions of one cell."""


def refused(message: str) -> None:
    """A policy that cannot be used."""
    _console().print(Text.assemble(("refused", "bold red"), f": {printable(message)}"))


def checked(told: Mapping[str, Any]) -> None:
    """A policy that can be used, and what is odd about it."""
    console = _console()
    parts = ("dataset", "grant", "denial", "expectation")
    sizes = ", ".join(counted(told[f"{part}s"], part) for part in parts)
    console.print(Text.assemble(("usable", "bold green"), f": {sizes}, {told['version']}"))
    for name, bases in told["panels"].items():
        console.print(Text(f"panel {printable(name)}: {bases:,} bases"))
    for name, why in told["restricted"].items():
        console.print(Text(f"{printable(name)}: never raw or presigned: {printable(why)}"))
    if told["notes"]:
        table = _table("about", "note")
        for note in told["notes"]:
            table.add_row(*map(_cell, (note["about"], note["message"])))
        console.print(table)


def explained(told: Mapping[str, Any]) -> None:
    """The steps to a decision, and the decision."""
    console = _console()
    for number, step in enumerate(told["steps"], 1):
        console.print(Text(f"{number:>2}. {printable(step)}"))
    if told["outcome"] != "allow":
        return
    table = _table("", "")
    table.show_header = False
    end = told["not_after"]
    for name, value in (
        ("grants", ", ".join(told["grants"])),
        ("regions", _listed(told["permitted"] or ())),
        ("all that was asked for", "no: the file is cut and marked" if told["clipped"] else "yes"),
        ("shown as", f"{told['mode']}, {told['header']} header, {told['delivery']}"),
        ("until", datetime.fromtimestamp(end, UTC).isoformat() if end else "nothing ends it"),
    ):
        table.add_row(name, _cell(value))
    console.print(table)


def tested(results: Iterable[Mapping[str, Any]], failed: int) -> None:
    """What was expected, and what is."""
    console = _console()
    table = _table("", "object", "regions", "expected", "found", "")
    count = 0
    for each in results:
        count += 1
        holds = each["expected"] == each["found"]
        table.add_row(
            str(each["number"]),
            *map(_cell, (each["object"], _listed(each["regions"]))),
            *map(_cell, (each["expected"], each["found"])),
            Text("holds", "green") if holds else Text("fails", "bold red"),
        )
    if count:
        console.print(table)
    console.print(f"{counted(count, 'expectation')}, {failed} failed")


def compared(told: Mapping[str, Any]) -> None:
    """Who gains and who loses what."""
    console = _console()
    for name, what in told["datasets"].items():
        console.print(Text(f"dataset {printable(name)}: {', '.join(what)}"))
    if told["changes"]:
        table = _table("dataset", "endpoint", "who", "grants", "gains", "loses", "otherwise")
        for each in told["changes"]:
            table.add_row(
                _cell(each["dataset"]),
                each["endpoint"],
                _cell(_who(each["who"])),
                _cell(", ".join(each["grants"])),
                *(_cell(_moved(each[name])) for name in ("gained", "lost")),
                ", ".join(each["terms"]),
            )
        console.print(table)
    elif not told["datasets"]:
        same = " (one version)" if told["old"] == told["new"] else ""
        console.print(f"nobody gains or loses anything{same}")


def _moved(part: Mapping[str, Any]) -> str:
    if not part["regions"]:
        return ""
    bases = part["bases"]
    number = f"{bases:,}" if isinstance(bases, int) else bases
    return f"{number} bases: {_listed(part['regions'])}"


def _who(who: Mapping[str, Any]) -> str:
    if who["public"]:
        return "everybody"
    parts = [_atom(each) for each in who["all_of"]]
    if who["any_of"]:
        parts.append(f"any of: {' or '.join(map(_atom, who['any_of']))}")
    parts += [f"{name}: {json.dumps(who[name])}" for name in ("clients", "networks") if who[name]]
    return "; ".join(parts)


def _atom(atom: Mapping[str, Any]) -> str:
    said = [str(atom[name]) for name in _ATOM if atom.get(name)]
    if atom.get("by"):
        said.append(f"by {' or '.join(atom['by'])}")
    if atom.get("max_assertion_age"):
        said.append(f"asserted at most {atom['max_assertion_age']:,} s ago")
    return " ".join(said)


def _listed(regions: Iterable[str]) -> str:
    texts = list(regions)
    more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(text: str) -> Text:
    return Text(printable(text))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)
