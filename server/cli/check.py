"""`htsgate check`: what is wrong with the files of the locations, before a client finds it."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from server.catalog import Catalog
from server.cli.findings import Report, Severity, counted
from server.cli.inspection import inspect_fasta, inspect_object, printable
from server.cli.locations import location_settings, opened
from server.config import Settings
from server.slicing.library import Library
from server.survey import DataFile, data_files, fasta_files, passed_over, unmatched
from storage_backends.base import StorageError

_MANY = 10
"""Files from which on a progress bar is worth its line."""

_COLUMNS = ("id", "format", "index", "looked at", "findings")
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
            reports = [*_passed_over(catalog), *_unmatched(settings)]
            async for report in _each(catalog, library, fastas, files):
                reports.append(report)
                progress.advance(task)
            return reports


def _passed_over(catalog: Catalog) -> list[Report]:
    """What keeps files of the locations from being found at all."""
    reports = []

    def unreadable(error: OSError) -> None:
        report = Report(printable(str(error.filename)), "-")
        report.problem("file", f"cannot be read: {error.strerror}")
        reports.append(report)

    def link(path: Path) -> None:
        report = Report(printable(str(path)), "-")
        where = "leaves the location" if path.exists() else "leads nowhere"
        report.note("file", f"link {where}; not served")
        reports.append(report)

    passed_over(catalog, unreadable, link)
    return reports


def _unmatched(settings: Settings) -> Iterator[Report]:
    for pattern in unmatched(settings.refget.sequences):
        report = Report(printable(pattern), "FASTA")
        report.problem("fasta", "refget.sequences: nothing matches")
        yield report


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
    notes = sum(len(report.findings) for report in reports) - problems
    totals = ((len(reports), "file"), (problems, "problem"), (notes, "note"))
    total = ", ".join(counted(number, noun) for number, noun in totals)
    console = Console()
    if not console.is_terminal:
        print("\t".join(_COLUMNS))
        for report in reports:
            findings = "; ".join(finding.message for finding in report.findings)
            print("\t".join((*_cells(report), findings or "fine")))
        print(total)
        return
    table = Table(*_COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[-1].ratio = 1
    for report in reports:
        told = Text("\n").join(
            Text(finding.message, _STYLES[finding.severity]) for finding in report.findings
        )
        table.add_row(*map(Text, _cells(report)), told or Text("fine", "green"))
    console.print(table)
    console.print(total, style="bold red" if problems else "bold green")


def _cells(report: Report) -> tuple[str, str, str, str]:
    return (
        report.file if report.id is None else report.id,
        report.format,
        report.index.rpartition(".")[2] if report.index else "-",
        report.looked_at or "-",
    )
