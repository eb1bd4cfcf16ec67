"""`htsgate check`: what is wrong with the files of the locations, before a client finds it."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from server.catalog import Catalog
from server.cli.findings import Report, Severity
from server.cli.inspection import inspect_fasta, inspect_object, printable
from server.cli.locations import location_settings, opened
from server.config import Settings
from server.slicing.library import Library
from server.survey import DataFile, data_files, fasta_files
from storage_backends.base import StorageError

_MANY = 10
"""Files from which on a progress bar is worth its line."""

_NARROWEST = 120
_STYLES = {Severity.PROBLEM: "red", Severity.NOTE: "yellow"}


def check(options: argparse.Namespace) -> int:
    """Look at every file and print what was found; 1 when there are problems."""
    reports = asyncio.run(_reports(location_settings(options)))
    problems = sum(report.problems for report in reports)
    if options.json:
        files = [report.as_json() for report in reports]
        print(json.dumps({"files": files, "problems": problems}, indent=2))
    else:
        _show(reports, problems)
    return int(problems > 0)


async def _reports(settings: Settings) -> list[Report]:
    console = Console(stderr=True)
    async with opened(settings) as (catalog, library):
        fastas, files = (
            list(fasta_files(catalog, settings.refget.sequences)),
            list(data_files(catalog)),
        )
        total = len(fastas) + len(files)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        hidden = total < _MANY or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
            task = progress.add_task("checking", total=total)
            reports = []
            async for report in _each(catalog, library, fastas, files):
                reports.append(report)
                progress.advance(task)
            return reports


async def _each(
    catalog: Catalog, library: Library, fastas: list[Path], files: list[DataFile]
) -> AsyncIterator[Report]:
    for path in fastas:
        yield await asyncio.to_thread(inspect_fasta, path)
    for file in files:
        try:
            yield await inspect_object(catalog, library, file)
        except (StorageError, OSError) as error:
            report = Report(printable(str(file.path)), file.format, printable(file.object_id))
            report.problem("file", f"{error}")
            yield report
        except Exception as error:  # noqa: BLE001 - one broken file must not hide the others
            report = Report(printable(str(file.path)), file.format, printable(file.object_id))
            report.problem("file", f"cannot be checked: {error!r}")
            yield report


def _show(reports: list[Report], problems: int) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "format", "index", "looked at"):
        table.add_column(column, overflow="fold")
    table.add_column("findings", overflow="fold", ratio=1)
    for report in reports:
        name = report.file if report.id is None else report.id
        findings = Text("\n").join(
            Text(f"{finding.message}", _STYLES[finding.severity]) for finding in report.findings
        )
        table.add_row(
            Text(name),
            report.format,
            Text(report.index.rpartition(".")[2] if report.index else "-"),
            report.looked_at or "-",
            findings or Text("fine", "green"),
        )
    console.print(table)
    notes = sum(len(report.findings) for report in reports) - problems
    style = "bold red" if problems else "bold green"
    console.print(f"{len(reports)} files, {problems} problems, {notes} notes", style=style)
