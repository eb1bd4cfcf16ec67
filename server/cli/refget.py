"""`htsgate refget`: the reference sequences that the database knows."""

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from formats.errors import FormatError
from server.cli.findings import counted, printable
from server.cli.refget_listing import show
from server.cli.refget_removal import remove
from server.cli.refget_verification import verify
from server.config import ConfigurationError, Settings, load_settings
from server.database import Database, DatabaseUnavailable
from server.reachability import reason
from server.refget.aliases import MAX_BYTES, NamedSequence, read_names
from server.refget.digesting import UnevenLines
from server.refget.file_locator import FileLocator
from server.refget.flat_store import FlatStore
from server.refget.ingest import Ingested, ingest, open_pinned, settled_stat
from server.refget.registry import Source
from server.storage import open_file
from storage_backends.base import StorageBackend, StorageError

_DATABASE = "htsgate.db"


def refget(options: argparse.Namespace) -> int:
    """Do what was asked for; 1 when some of it could not be done or something is wrong."""
    settings = load_settings(options.config, {})
    locator = FileLocator(partial(_open_remote, settings), settings.cache.descriptors)
    flat = FlatStore(settings.refget.store)
    try:
        with _database(settings, may_make=options.action == "add") as (database, name):
            if options.action == "add":
                print(f"database: {name}", file=sys.stderr)
                return asyncio.run(_Addition(options, settings, database, locator, flat).run())
            if options.action == "list":
                return show(database, name, as_json=options.json)
            print(f"database: {name}", file=sys.stderr)
            if options.action == "verify":
                return asyncio.run(verify(database, locator))
            return remove(database, flat, {each: _known_as(each) for each in options.targets})
    except DatabaseUnavailable as error:
        print(f"htsgate: {name_of(settings)}: {error}", file=sys.stderr)
        return 1


def name_of(settings: Settings) -> str:
    """What the operator knows the database by, without its password."""
    url = settings.database.url
    if url is None:
        return str(Path(_DATABASE).absolute())
    try:
        parsed = make_url(url.get_secret_value())
    except (ArgumentError, ValueError):  # its text may hold a part of the password
        raise ConfigurationError("database.url: not a URL of a database") from None
    if parsed.get_backend_name() == "sqlite":
        return str(Path(parsed.database).absolute()) if parsed.database else "in memory"
    return parsed.set(query={}).render_as_string(hide_password=True)  # which may hold one too


@contextmanager
def _database(settings: Settings, *, may_make: bool) -> Iterator[tuple[Database, str]]:
    """The database of the settings, and its name; one on disk is made by who may."""
    name, url = name_of(settings), settings.database.url
    text = f"sqlite:///{name}" if url is None else url.get_secret_value()
    is_file = text.startswith("sqlite")
    if is_file and name == "in memory":
        raise ConfigurationError("database.url: what is in memory ends with this command")
    if is_file and not may_make and not Path(name).exists():
        raise ConfigurationError(f"{name}: no such database; htsgate refget add makes it")
    try:
        database = Database(text)
    except ValueError as error:
        raise ConfigurationError(f"database.url: {error}") from error
    with closing(database):
        yield database, name


def _open_remote(settings: Settings, url: str) -> tuple[StorageBackend, str]:
    return open_file(url, settings.locations, settings.cache)


def _known_as(text: str) -> str:
    """What a file of this name is called in the catalogue."""
    if "://" in text and not text.startswith("file://"):
        return text
    path = Path(text.removeprefix("file://")).expanduser()
    return f"{os.path.realpath(path.parent).rstrip('/')}/{path.name}"


@dataclass(slots=True)
class _Addition:
    """`htsgate refget add`."""

    options: argparse.Namespace
    settings: Settings
    database: Database
    locator: FileLocator
    flat: FlatStore

    async def run(self) -> int:
        self.locator.start(asyncio.get_running_loop())
        files = [self._file(each) for each in self.options.files]
        names = self._names()
        unknown = set(self.options.circular)
        failures = 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        try:
            with Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as progress:
                for url in dict.fromkeys(files):
                    try:
                        result = await self._add(url, names, progress)
                    except UnevenLines as error:
                        failures += 1
                        self._say(f"failed   {url}: {error}; --flat can store its sequences")
                    except FormatError as error:
                        failures += 1
                        self._say(f"failed   {url}: {error}")
                    except StorageError as error:
                        failures += 1
                        self._say(f"failed   {url}: {reason(error)}")
                    else:
                        unknown &= result.unknown
                        self._tell(result)
        finally:
            await self.locator.close()
        for name in sorted(unknown):
            self._say(f"unknown  --circular {name}: no sequence of these files is called so")
        return int(failures > 0 or bool(unknown))

    def _file(self, text: str) -> str:
        url = _known_as(text)
        if "://" in url:
            if "?" in url or "@" in url:
                told = url.partition("?")[0].rpartition("@")[2]
                raise ConfigurationError(
                    f"{told}: the database keeps the URL, so it must hold no query and no password"
                )
            return url
        path = Path(text.removeprefix("file://")).expanduser()
        if not path.is_file():
            what = "is a directory; name its files" if path.is_dir() else "no such file"
            raise ConfigurationError(f"{path}: {what}")
        return url

    def _names(self) -> list[NamedSequence]:
        paths: list[Path] = list(self.options.aliases)
        for pattern in self.settings.refget.aliases:
            paths += map(Path, sorted(glob(pattern, recursive=True)))  # noqa: PTH207
        named: list[NamedSequence] = []
        for path in dict.fromkeys(paths):
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            try:
                named += read_names(data)
            except FormatError as error:
                raise ConfigurationError(f"{path}: {error}") from error
        return named

    async def _add(self, url: str, names: Sequence[NamedSequence], progress: Progress) -> Ingested:
        backend, key = self.locator(url)
        stat = await settled_stat(backend, key)
        task = progress.add_task(printable(url.rpartition("/")[2]), total=stat.size)
        is_cancelled = threading.Event()
        try:
            result = await asyncio.to_thread(
                ingest,
                self.database,
                url,
                Source.ADDED,
                stat.fingerprint,
                open_pinned(backend, key, stat.fingerprint),
                flat=self.flat if self.options.flat else None,
                aliases=names,
                circular=[*self.options.circular, *self.settings.refget.circular],
                progress=lambda done: progress.update(task, completed=done),
                is_cancelled=is_cancelled.is_set,
            )
        except asyncio.CancelledError:
            is_cancelled.set()
            self._say("stopped: what was digested is kept; the same command goes on there")
            raise
        progress.remove_task(task)
        return result

    def _tell(self, result: Ingested) -> None:
        what = "added" if result.digested else "has"
        parts = [counted(result.records, "sequence")]
        parts += [f"collection {result.collection}"] if result.collection else []
        parts += [counted(result.aliases, "new name")] if result.aliases else []
        parts += [result.note] if result.note else []
        self._say(f"{what:8} {result.url}: {', '.join(parts)}")

    @staticmethod
    def _say(text: str) -> None:
        print(printable(text))
