"""`htsgate check`: what is wrong with the files of the locations, before a client finds it."""

import argparse
import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from server.catalog import Catalog
from server.cli.findings import Report, Severity, counted, printable
from server.cli.inspection import inspect_fasta, inspect_object
from server.cli.listing_reports import not_listed, passed_over
from server.cli.locations import location_settings, opened
from server.cli.reference_collections import opened_matcher
from server.config import Settings
from server.reachability import reason
from server.refget.collection_match import CollectionMatcher
from server.slicing.fasta_files import FastaFile, StoredFasta
from server.slicing.library import Library
from server.survey import DataFile, fasta_among, listing, unmatched
from storage_backends.base import StorageBackend, StorageError

T = TypeVar("T")

_AT_A_TIME = 4
"""Files that are looked at together: stores take their time."""

_MANY = 10
"""Files from which on a progress bar is worth its line."""

_COLUMNS = ("id", "format", "index", "looked at", "findings")
_STYLES = {Severity.PROBLEM: "red", Severity.NOTE: "yellow", Severity.FACT: ""}


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
    async with AsyncExitStack() as exits:
        catalog, library = await exits.enter_async_context(opened(settings))
        listings = await asyncio.to_thread(lambda: list(map(listing, catalog.locations)))
        fastas = list(fasta_among(listings, settings.refget.sequences))
        reports = [*passed_over(listings), *_unmatched(settings)]
        for each in listings:
            reports += await not_listed(each)
        matcher = exits.enter_context(opened_matcher(settings, fastas, reports))
        inspector = _Inspector(catalog, library, matcher)
        work = [partial(inspector.fasta, file) for file in fastas]
        work += [partial(inspector.object, file) for each in listings for file in each.data_files()]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        hidden = len(work) < _MANY or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
            task = progress.add_task("checking", total=len(work))
            async for report in _in_turn(work):
                reports += [] if report is None else [report]
                progress.advance(task)
        return reports


async def _in_turn(work: Iterable[Callable[[], Coroutine[Any, Any, T]]]) -> AsyncIterator[T]:
    """The results in order, of some at a time."""
    ahead: deque[asyncio.Task[T]] = deque()
    try:
        for each in work:
            ahead.append(asyncio.create_task(each()))
            if len(ahead) == _AT_A_TIME:
                yield await ahead.popleft()
        while ahead:
            yield await ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()


def _unmatched(settings: Settings) -> Iterator[Report]:
    for pattern in unmatched(settings.refget.sequences):
        report = Report(printable(pattern), "FASTA")
        report.problem("fasta", "refget.sequences: nothing matches")
        yield report


class _Inspector:
    """Looks at files, whatever fails. Of a store that stopped answering, once is enough."""

    def __init__(
        self, catalog: Catalog, library: Library, matcher: CollectionMatcher | None
    ) -> None:
        self._catalog = catalog
        self._library = library
        self._matcher = matcher
        self._silent: list[StorageBackend] = []

    async def object(self, file: DataFile) -> Report | None:
        """The report of a data file; none if its store has stopped answering."""
        report = Report(printable(file.name), file.format, printable(file.object_id))
        inspect = partial(inspect_object, self._catalog, self._library, file, self._matcher)
        alone = file.location.only is not None
        return await self._guarded(None if alone else file.location.backend, report, inspect)

    async def fasta(self, file: FastaFile) -> Report | None:
        """The same of a FASTA file."""
        backend = file.backend if isinstance(file, StoredFasta) else None
        report = Report(printable(file.name), "FASTA")
        return await self._guarded(backend, report, partial(inspect_fasta, file, self._matcher))

    async def _guarded(
        self,
        backend: StorageBackend | None,
        report: Report,
        inspect: Callable[[], Coroutine[Any, Any, Report]],
    ) -> Report | None:
        if backend in self._silent:
            return None
        try:
            return await inspect()
        except StorageError as error:
            report.problem("file", reason(error))
            if backend is not None and not await backend.available():
                if backend in self._silent:
                    return None
                self._silent.append(backend)
                report = Report(printable(backend.describe()), "-")
                report.problem("location", f"{reason(error)}; not every file was looked at")
        except OSError as error:
            report.problem("file", str(error))
        except Exception as error:  # noqa: BLE001 - one broken file must not hide the others
            report.problem("file", f"cannot be checked: {error!r}")
        return report


def _show(reports: list[Report], problems: int) -> None:
    notes = sum(report.count(Severity.NOTE) for report in reports)
    totals = ((len(reports), "file"), (problems, "problem"), (notes, "note"))
    total = ", ".join(counted(number, noun) for number, noun in totals)
    console = Console()
    if not console.is_terminal:
        print("\t".join(_COLUMNS))
        for report in reports:
            told = ["fine"] if report.is_fine else []
            told += [finding.message for finding in report.findings]
            print("\t".join((*_cells(report), "; ".join(told))))
        print(total)
        return
    table = Table(*_COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[-1].ratio = 1
    for report in reports:
        texts = [Text("fine", "green")] if report.is_fine else []
        texts += [Text(each.message, _STYLES[each.severity]) for each in report.findings]
        table.add_row(*map(Text, _cells(report)), Text("\n").join(texts))
    console.print(table)
    console.print(total, style="bold red" if problems else "bold green")


def _cells(report: Report) -> tuple[str, str, str, str]:
    return (
        report.file if report.id is None else report.id,
        report.format,
        report.index.rpartition(".")[2] if report.index else "-",
        report.looked_at or "-",
    )
