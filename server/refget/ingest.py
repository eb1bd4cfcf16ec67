"""Writing down what files hold: one pass over their bytes, and none that is not needed.

Records are written down as they are digested, so that work which was interrupted goes on where it
stopped. No file of the user's is touched.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from formats.errors import CorruptData
from formats.source import ByteSource
from server.database import Database, LockCancelled
from server.refget import registry
from server.refget.aliases import SAM, NamedSequence, matches
from server.refget.digesting import DigestedRecord, DigestingPass, kind_of
from server.refget.flat_store import FlatStore, flat_entry
from server.refget.identifiers import Md5Id, TruncatedId, parse_id
from server.refget.pinned import pinned
from server.refget.registry import Alias, FileKind, Record, Source, WrittenRecord
from server.refget.seqcol import Collection, InvalidCollection
from storage_backends.base import ObjectStat, StorageBackend
from storage_backends.local import fingerprint_of

LOCK = "refget"
"""What `Database.exclusively` is asked for by who writes files down."""

_MOST_RECORDS = 5000
_SECONDS = 2.0
_SETTLED_NS = 50_000_000

Progress = Callable[[int], None]
"""Told how many bytes of the file have been passed."""

OpenSource = Callable[[], AbstractContextManager[ByteSource]]


class Cancelled(Exception):
    """Somebody wanted no more of it; what was done so far is written down."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A file that is written down whole.

    `digested`: how many of its `records` were digested now. `collection` is None when it holds what
    no collection may; `note` says why. `unknown`: names that were said to be circular and that no
    record has.
    """

    url: str
    kind: FileKind
    records: int
    digested: int
    collection: str | None
    note: str = ""
    aliases: int = 0
    unknown: frozenset[str] = field(default_factory=frozenset)


def ingest(
    database: Database,
    url: str,
    source: Source,
    fingerprint: str,
    open_source: OpenSource,
    *,
    flat: FlatStore | None = None,
    aliases: Sequence[NamedSequence] = (),
    circular: Sequence[str] = (),
    progress: Progress | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Ingested:
    """Write down a file, unless this version of it is. In a thread that may wait.

    `open_source` opens the bytes that `fingerprint` pins; see `open_pinned`. With `flat` all
    sequences are stored flat too, and lines of uneven length are no hindrance. A file that is
    refused leaves nothing behind.

    Raises `CorruptData` for a file that cannot be served, storage errors, `OSError` of the flat
    store, `DatabaseUnavailable`, and `Cancelled`.
    """
    try:
        with database.exclusively(LOCK, is_cancelled):
            work = _Work(database, url, source, fingerprint, flat)
            if work.is_needed():
                with open_source() as bytes_of_it:
                    watched = _Watched(bytes_of_it, progress, is_cancelled)
                    work.digest(watched)
            return work.finish(aliases, circular)
    except LockCancelled:
        raise Cancelled from None


def open_pinned(backend: StorageBackend, key: str, fingerprint: str) -> OpenSource:
    """An object as `ingest` opens it: any change to it is noticed."""
    return lambda: pinned(backend, key, fingerprint)


async def settled_stat(backend: StorageBackend, key: str) -> ObjectStat:
    """What an object is now, a moment after it was last written, or later.

    A file that is written to twice within one tick of the clock has the same time of modification
    after both; the second write must not go unnoticed.
    """
    while True:
        stat = await backend.stat(key, fresh=True)
        age = time.time_ns() - (stat.modified_ns or 0)
        if not 0 <= age < _SETTLED_NS:
            return stat
        await asyncio.sleep(_SETTLED_NS / 1e9)


class _Work:
    """What is to be done for one file."""

    def __init__(
        self,
        database: Database,
        url: str,
        source: Source,
        fingerprint: str,
        flat: FlatStore | None,
    ) -> None:
        self._database = database
        self._url = url
        self._source = source
        self._fingerprint = fingerprint
        self._flat = flat
        self._digested = 0
        self._known: list[WrittenRecord] = []
        self._stored: frozenset[str] = frozenset()
        if flat is not None:
            flat.tidy()
            self._stored = frozenset(database.run(registry.flat_urls))
        found = database.run(lambda connection: registry.known_file(connection, url))
        self._found = found if found is not None and found.fingerprint == fingerprint else None
        if self._found is not None and (flat is not None or not self._found.complete):
            number = self._found.id
            self._known = database.run(lambda each: registry.records_of(each, number))

    def is_needed(self) -> bool:
        """Whether the file must be read."""
        complete = self._found is not None and self._found.complete
        return not complete or any(map(self._wants, range(len(self._known))))

    def _wants(self, position: int) -> bool:
        """Whether a record is to be digested: it is not known, or not stored flat as is wanted."""
        if position >= len(self._known):
            return True
        if self._flat is None:
            return False
        record = self._known[position].record
        is_known = str(self._flat.path(record.digests)) in self._stored
        return not (is_known and self._flat.holds(record.digests, record.length))

    def digest(self, source: ByteSource) -> None:
        """Pass over the file, writing down what is new."""
        kind = kind_of(source)
        url, why, fingerprint = self._url, self._source, self._fingerprint
        file = self._database.run(
            lambda each: registry.open_file(each, url, kind, why, fingerprint)
        )
        with ThreadPoolExecutor(2, "digests") as threads:
            whole = DigestingPass(source, kind, threads, self._flat, self._wants)
            try:
                with self._batches(file) as add:
                    for digested in whole:
                        add(digested)
                        self._digested += 1
            except CorruptData:
                self._database.run(lambda each: registry.remove_file(each, file.id))
                raise
        if whole.blocks:
            self._database.run(lambda each: registry.set_blocks(each, file, whole.blocks))

    @contextmanager
    def _batches(self, file: registry.OpenedFile) -> Iterator[Callable[[DigestedRecord], None]]:
        """Takes records and writes them down, some at a time; the last ones whatever happens."""
        batch: list[DigestedRecord] = []
        since = time.monotonic()

        def write() -> None:
            nonlocal since
            if batch:
                self._database.run(lambda connection: self._write(connection, file, batch))
                batch.clear()
            since = time.monotonic()

        def add(record: DigestedRecord) -> None:
            batch.append(record)
            if len(batch) >= _MOST_RECORDS or time.monotonic() - since > _SECONDS:
                write()

        try:
            yield add
        finally:
            write()

    def _write(
        self, connection: Connection, file: registry.OpenedFile, batch: Sequence[DigestedRecord]
    ) -> None:
        new = [each for each in batch if each.record.position >= len(self._known)]
        ids = registry.add_records(connection, file, [each.record for each in new])
        registry.add_aliases(
            connection,
            [
                (number, Alias("md5", each.m5))
                for number, each in zip(ids, new, strict=True)
                if each.m5 is not None
            ],
        )
        if self._flat is not None:
            for record in (each.record for each in batch if each.is_flat):
                write_flat(connection, self._flat, record, self._source)

    def finish(self, aliases: Sequence[NamedSequence], circular: Sequence[str]) -> Ingested:
        """Write down that the file is whole, and what its sequences are called."""
        return self._database.run(lambda each: self._finish(each, aliases, circular))

    def _finish(
        self, connection: Connection, aliases: Sequence[NamedSequence], circular: Sequence[str]
    ) -> Ingested:
        known = registry.known_file(connection, self._url)
        if known is None:
            raise CorruptData("the file was removed from the catalogue meanwhile")
        file = registry.open_file(
            connection, self._url, known.kind, self._source, self._fingerprint
        )
        if known.complete and not aliases and not circular:
            return Ingested(self._url, known.kind, file.known, self._digested, known.collection)
        records = registry.records_of(connection, file.id)
        digest, note = known.collection, ""
        if not known.complete:
            collection, note = _collection(records)
            registry.complete_file(connection, file, collection)
            registry.forget_orphans(connection)
            digest = None if collection is None else collection.digest
        added, unknown = _name(connection, records, aliases, circular)
        return Ingested(
            self._url, known.kind, len(records), self._digested, digest, note, added, unknown
        )


def write_flat(connection: Connection, flat: FlatStore, record: Record, source: Source) -> None:
    """Write down that a sequence is in the flat store."""
    path = flat.path(record.digests)
    fingerprint = fingerprint_of(path.stat())
    file = registry.open_file(connection, str(path), FileKind.FLAT, source, fingerprint)
    if not file.known:
        entry = flat_entry(record.digests, record.length)
        registry.add_record(connection, file, 0, entry, record.digests, record.length)
    registry.complete_file(connection, file, None)


def _collection(records: Sequence[WrittenRecord]) -> tuple[Collection | None, str]:
    written = [each.record for each in records]
    if any("\ufffd" in each.entry.name for each in written):
        return None, "it is no collection: names are not UTF-8"
    try:
        return Collection(
            [each.entry.name for each in written],
            [each.length for each in written],
            [each.digests.ga4gh for each in written],
        ), ""
    except InvalidCollection as error:
        return None, f"it is no collection: {error}"


def _name(
    connection: Connection,
    records: Sequence[WrittenRecord],
    named: Sequence[NamedSequence],
    circular: Sequence[str],
) -> tuple[int, frozenset[str]]:
    """Give sequences their aliases, and circles their closing; how many aliases are new, and which
    of `circular` nothing is called."""
    found = list(matches(named, records)) if named else []
    aliases = [
        (written.id, alias)
        for written, sequence in found
        for alias in sequence.aliases
        if alias != Alias(SAM, written.record.entry.name)  # known as the name of the record
    ]
    closed = {written.id for written, sequence in found if sequence.is_circular}
    unknown = set(circular)
    for name in circular:
        for written in records:
            if _is_called(written.record, name):
                closed.add(written.id)
                unknown.discard(name)
    for number in closed - {each.id for each in records if each.circular}:
        registry.set_circular(connection, number)
    return registry.add_aliases(connection, aliases), frozenset(unknown)


def _is_called(record: Record, name: str) -> bool:
    if record.entry.name == name:
        return True
    wanted = parse_id(name)
    if isinstance(wanted, Md5Id):
        return wanted.md5 == record.digests.md5
    return isinstance(wanted, TruncatedId) and wanted.digest == record.digests.truncated


class _Watched:
    """A source whose reader is watched, and stopped when nobody wants to know any more."""

    __slots__ = ("_is_cancelled", "_progress", "_source", "size")

    def __init__(
        self, source: ByteSource, progress: Progress | None, is_cancelled: Callable[[], bool]
    ) -> None:
        self._source = source
        self._progress = progress
        self._is_cancelled = is_cancelled
        self.size = source.size

    def read(self, start: int, end: int) -> bytes:
        if self._is_cancelled():
            raise Cancelled
        data = self._source.read(start, end)
        if self._progress is not None:
            self._progress(start + len(data))
        return data
