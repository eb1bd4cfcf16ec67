"""Writes down the sequences of the files that serving finds, in the background."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from formats.errors import FormatError
from server.database import Database, DatabaseUnavailable
from server.refget.aliases import NamedSequence
from server.refget.file_locator import FileLocator
from server.refget.ingest import Cancelled, ingest, open_pinned, settled_stat
from server.refget.registry import Source, known_file
from server.slicing.fasta_files import FastaFile, StoredFasta
from storage_backends.base import (
    DescriptorLender,
    ObjectChanged,
    ObjectNotFound,
    StorageBackend,
    StorageDenied,
    StorageError,
)

T = TypeVar("T")

_AGAIN_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_CLOSING_SECONDS = 10.0

_log = logging.getLogger(__name__)


class LocationIngest:
    """One thread that digests what is not known yet, one file after another.

    `find` lists the files of the locations and of the configuration, and may end with a
    `StorageError`. A file in a store is digested only where one of `patterns` names it or somebody
    added it, for reading gigabytes costs money; others are served once they are known. `found` is
    told, on the event loop, the names of all files of each listing, and `written` when one of them
    was written down. Files of one database are written down by one process at a time.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[], Iterable[FastaFile]],
        locate: FileLocator,
        *,
        patterns: Sequence[str] = (),
        aliases: Sequence[NamedSequence] = (),
        circular: Sequence[str] = (),
        found: Callable[[Sequence[str]], None] = lambda names: None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._find = find
        self._locate = locate
        self._patterns = patterns
        self._aliases = aliases
        self._circular = circular
        self._found = found
        self._written = written
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self._is_pending = True
        self._refused: set[tuple[str, str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A daemon: it may wait, for as long as it takes, for another process to finish a file.
        self._thread = threading.Thread(target=self._run, name="refget-ingest", daemon=True)

    @property
    def pending(self) -> bool:
        """Whether there may be files that are not digested yet."""
        return self._is_pending

    async def start(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._locate.start(self._loop)
        self._wake.set()
        self._thread.start()

    def look_again(self) -> None:
        """List the files anew, soon: one of them has changed. From any thread."""
        self._is_pending = True
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is under way goes on at the next start."""
        self._is_closing.set()
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _CLOSING_SECONDS)

    def _run(self) -> None:
        is_whole = True
        while True:
            self._wake.wait(None if is_whole else _AGAIN_SECONDS)
            self._wake.clear()
            if self._is_closing.is_set():
                return
            try:
                is_whole = self._look()
            except Cancelled:
                return
            except Exception:  # noqa: BLE001 - one odd file must not end it all
                _log.exception("the files of reference sequences could not be written down")
                is_whole = False
            # What could not be read now is looked at again; nobody waits for it.
            self._is_pending = self._wake.is_set()

    def _look(self) -> bool:
        """Go through all files; whether none was left out that may be readable later."""
        files: dict[str, FastaFile | None] = dict.fromkeys(
            each for each in self._patterns if "://" in each and not set("*?[") & set(each)
        )
        is_whole = True
        try:
            for file in self._find():
                files[file.name] = file
        except StorageError as error:
            _log.warning("files of reference sequences cannot be listed now: %s", error)
            is_whole = False
        self._locate.serve(file for file in files.values() if file is not None)
        self._tell(self._found, list(files))
        for name, each in files.items():
            if self._is_closing.is_set():
                raise Cancelled
            is_whole = self._try(name, each) and is_whole
        return is_whole

    def _try(self, url: str, file: FastaFile | None) -> bool:
        try:
            self._write_down(url, file)
        except (ObjectNotFound, StorageDenied) as error:
            _log.warning("%s cannot be read: %s", url, error)
        except ObjectChanged:
            return False  # while it was digested: once more
        except (StorageError, OSError, DatabaseUnavailable) as error:
            if isinstance(error.__cause__, PermissionError):
                _log.warning("%s cannot be read: permission denied", url)
                return True
            if not self._is_closing.is_set():
                _log.warning("%s could not be written down now: %s", url, error)
            return False
        return True

    def _write_down(self, url: str, file: FastaFile | None) -> None:
        if isinstance(file, StoredFasta):
            backend, key = file.backend, file.key
        else:
            backend, key = self._locate(url)
        stat = self._wait(settled_stat(backend, key))
        known = self._database.run(lambda each: known_file(each, url))
        is_same = known is not None and known.fingerprint == stat.fingerprint
        is_known = known is not None and is_same and known.complete
        is_added = known is not None and known.source is Source.ADDED
        if (url, stat.fingerprint) in self._refused:
            return
        if not is_known and not (is_added or self._may_be_read(url, backend)):
            _log.info("%s is not digested: refget.sequences does not name it", url)
            return
        if is_known and not self._aliases and not self._circular:
            return
        begun = time.monotonic()
        try:
            result = ingest(
                self._database,
                url,
                Source.LOCATION,
                stat.fingerprint,
                open_pinned(backend, key, stat.fingerprint),
                aliases=self._aliases,
                circular=self._circular,
                is_cancelled=self._is_closing.is_set,
            )
        except FormatError as error:
            self._refused.add((url, stat.fingerprint))
            _log.warning("the sequences of %s are not served: %s", url, error)
            return
        if result.digested:
            took = time.monotonic() - begun
            _log.info("%s: %d sequences in %.1f s", url, result.digested, took)
        self._tell(self._written)

    def _may_be_read(self, url: str, backend: StorageBackend) -> bool:
        if isinstance(backend, DescriptorLender):
            return True
        return any(url == each or fnmatchcase(url, each) for each in self._patterns)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work on the event loop."""
        if self._loop is None:
            raise RuntimeError("start() comes first")
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise Cancelled from None
        while True:
            try:
                return future.result(_LOOK_SECONDS)
            except FutureTimeout:
                if future.done():
                    raise
                if self._is_closing.is_set():
                    future.cancel()
                    raise Cancelled from None
            except CancelledError:
                raise Cancelled from None

    def _tell(self, listener: Callable[..., None], *values: object) -> None:
        if self._loop is not None and not self._is_closing.is_set():
            try:
                self._loop.call_soon_threadsafe(listener, *values)
            except RuntimeError:
                raise Cancelled from None
