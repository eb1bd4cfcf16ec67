"""`htsgate refget verify`: whether files still hold what is written down of them."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from formats.errors import FormatError
from server.cli.findings import counted, printable
from server.database import Database
from server.reachability import reason
from server.refget.digests import SequenceDigester
from server.refget.file_locator import FileLocator
from server.refget.pinned import pinned
from server.refget.record_reader import RecordReader, is_readable, read_residues
from server.refget.registry import (
    FileKind,
    KnownFile,
    Record,
    blocks_of,
    known_files,
    records_of,
)
from storage_backends.base import ObjectChanged, ObjectNotFound, StorageBackend, StorageError


async def verify(database: Database, locator: FileLocator) -> int:
    """Read every sequence from every place, as serving does, and digest it; 1 when something is not
    as it is written down."""
    locator.start(asyncio.get_running_loop())
    files = database.run(known_files)
    wrong = 0
    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    try:
        with (
            ThreadPoolExecutor(2, "digests") as threads,
            Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as progress,
        ):
            task = progress.add_task("", total=None)
            for file in files:
                backend, key = locator(file.url)
                check = _Check(database, file, backend, key, threads)
                for finding in await asyncio.to_thread(check.findings):
                    wrong += 1
                    print(printable(f"{file.url}: {finding}"))
                progress.advance(task, check.residues)
    finally:
        await locator.close()
    print(f"{counted(len(files), 'file')} verified, {counted(wrong, 'problem')}")
    return int(wrong > 0)


class _Check:
    """Looks at one file; `residues` were digested."""

    def __init__(
        self,
        database: Database,
        file: KnownFile,
        backend: StorageBackend,
        key: str,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._database = database
        self._file = file
        self._backend = backend
        self._key = key
        self._threads = threads
        self.residues = 0

    def findings(self) -> list[str]:
        """What is wrong."""
        found = [] if self._file.complete else ["not written down whole: add it again"]
        try:
            found += self._differences()
        except ObjectChanged:
            found.append("has changed since it was written down: add it again, or put it back")
        except ObjectNotFound:
            found.append("is gone: put it back, or remove it")
        except StorageError as error:
            found.append(f"cannot be read: {reason(error)}")
        except FormatError as error:
            found.append(f"damaged: {error}")
        return found

    def _differences(self) -> Iterator[str]:
        file = self._file
        records = self._database.run(lambda each: records_of(each, file.id))
        blocks = self._database.run(lambda each: blocks_of(each, file.url, file.fingerprint))
        with pinned(self._backend, self._key, file.fingerprint) as source:
            reader = RecordReader(source, file.kind, lambda: blocks)
            for written in records:
                record = written.record
                if is_readable(record.entry, file.kind) and not self._holds(reader, record):
                    yield f"{record.entry.name} is not the sequence that is written down"

    def _holds(self, reader: RecordReader, record: Record) -> bool:
        digester = SequenceDigester(self._threads)
        for piece in read_residues(reader, record.entry, record.length, 0, record.length):
            self.residues += len(piece)
            if digester.update(piece) != piece and self._file.kind is FileKind.FLAT:
                return False  # it would be sent as it is
        return digester.finish() == (record.digests, record.length)
