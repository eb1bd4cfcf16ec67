"""Writing down what files hold: sequences, their places, names and collections.

A file is written record by record, so work that was interrupted goes on where it stopped. What the
catalogue says of a file holds for one fingerprint only: a file that changed begins anew.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from formats.fasta import FaiEntry, GziEntry, parse_gzi
from formats.fasta_index import write_gzi
from server.refget.digests import Digests
from server.refget.seqcol import Collection
from server.refget.tables import (
    ALIASES,
    ATTRIBUTES,
    BLOCKS,
    COLLECTIONS,
    FILES,
    PLACES,
    SEQUENCES,
)

T = TypeVar("T")

_AT_ONCE = 500  # values in one statement: databases have limits


class FileKind(StrEnum):
    """How the residues of a file are stored."""

    FASTA = "fasta"  # plain or BGZF
    TWOBIT = "2bit"
    FLAT = "flat"  # one sequence, and nothing else


class Source(StrEnum):
    """Why a file is in the catalogue."""

    LOCATION = "location"
    ADDED = "added"
    CACHED = "cached"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of a sequence, and who gave it: `insdc`, `refseq`, `ucsc` and so on."""

    authority: str
    alias: str


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that is being written down. `known`: how many of its records are already."""

    id: int
    known: int
    complete: bool


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file in the catalogue; `collection`: the digest of what it holds, once it is `complete`."""

    id: int
    url: str
    kind: FileKind
    source: Source
    fingerprint: str
    complete: bool
    collection: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """The record at a position of a file, and its sequence of `length` residues."""

    position: int
    entry: FaiEntry
    digests: Digests
    length: int


@dataclass(frozen=True, slots=True)
class WrittenRecord:
    """A record that the catalogue knows; `id`: of its sequence."""

    record: Record
    id: int
    circular: bool


def open_file(
    connection: Connection, url: str, kind: FileKind, source: Source, fingerprint: str
) -> OpenedFile:
    """Begin, or go on with, a file; the records of another version of it are forgotten.

    What their sequences are called is not: `forget_orphans` does that, when it is known which of
    them the new version holds as well.
    """
    row = connection.execute(select(FILES).where(FILES.c.url == url)).one_or_none()
    if row is not None and (row.fingerprint, row.kind) == (fingerprint, kind):
        # What somebody added stays added, also where serving finds it in a location.
        if source is Source.ADDED and row.source != source:
            connection.execute(update(FILES).where(FILES.c.id == row.id).values(source=source))
        count = select(func.count()).where(PLACES.c.file == row.id)
        return OpenedFile(row.id, connection.execute(count).scalar_one(), row.complete)
    if row is not None:
        _remove(connection, row.id)
        source = max(source, Source(row.source), key=lambda each: each is Source.ADDED)
    values = {"url": url, "kind": kind, "source": source, "fingerprint": fingerprint}
    made = insert(FILES).values(**values, complete=False).returning(FILES.c.id)
    return OpenedFile(connection.execute(made).scalar_one(), 0, complete=False)


def add_records(connection: Connection, file: OpenedFile, records: Sequence[Record]) -> list[int]:
    """Write down records of a file; the ids of their sequences."""
    ids = add_sequences(connection, [(each.digests, each.length) for each in records])
    rows = [
        {
            "file": file.id,
            "position": each.position,
            "sequence": number,
            "name": each.entry.name,
            "length": each.entry.length,
            "offset": each.entry.offset,
            "line_bases": each.entry.line_bases,
            "line_width": each.entry.line_width,
        }
        for each, number in zip(records, ids, strict=True)
    ]
    if rows:
        connection.execute(insert(PLACES), rows)
    return ids


def add_record(
    connection: Connection,
    file: OpenedFile,
    position: int,
    entry: FaiEntry,
    digests: Digests,
    length: int,
) -> int:
    """The same for one record."""
    return add_records(connection, file, [Record(position, entry, digests, length)])[0]


def add_sequence(connection: Connection, digests: Digests, length: int) -> int:
    """The id of the sequence with these digests, which becomes known if it is not."""
    return add_sequences(connection, [(digests, length)])[0]


def add_sequences(connection: Connection, sequences: Sequence[tuple[Digests, int]]) -> list[int]:
    """The same for several, each with its length."""
    wanted = {digests.trunc512: (digests.md5, length) for digests, length in sequences}
    known = _ids_of(connection, wanted)
    missing = [
        {"trunc512": trunc512, "md5": md5, "length": length, "circular": False}
        for trunc512, (md5, length) in wanted.items()
        if trunc512 not in known
    ]
    if missing:
        _insert_new(connection, SEQUENCES, missing)
        known |= _ids_of(connection, [str(each["trunc512"]) for each in missing])
    return [known[digests.trunc512] for digests, _ in sequences]


def _ids_of(connection: Connection, trunc512s: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _portions(trunc512s):
        rows = select(SEQUENCES.c.trunc512, SEQUENCES.c.id).where(SEQUENCES.c.trunc512.in_(some))
        found.update((row.trunc512, row.id) for row in connection.execute(rows))
    return found


def records_of(connection: Connection, file: int) -> list[WrittenRecord]:
    """What is written down of a file, in its order."""
    joined = select(PLACES, SEQUENCES.c.md5, SEQUENCES.c.trunc512, SEQUENCES.c.circular)
    joined = joined.add_columns(SEQUENCES.c.length.label("residues"))
    rows = connection.execute(
        joined.join(SEQUENCES, SEQUENCES.c.id == PLACES.c.sequence)
        .where(PLACES.c.file == file)
        .order_by(PLACES.c.position)
    )
    return [
        WrittenRecord(
            Record(
                row.position,
                FaiEntry(row.name, row.length, row.offset, row.line_bases, row.line_width),
                Digests.from_trunc512(row.md5, row.trunc512),
                row.residues,
            ),
            row.sequence,
            row.circular,
        )
        for row in rows
    ]


def set_blocks(connection: Connection, file: OpenedFile, blocks: Sequence[GziEntry]) -> None:
    """Write down where the BGZF blocks of a file begin."""
    connection.execute(delete(BLOCKS).where(BLOCKS.c.file == file.id))
    packed = zlib.compress(write_gzi(blocks), 1)
    connection.execute(insert(BLOCKS).values(file=file.id, gzi=packed))


def blocks_of(connection: Connection, url: str, fingerprint: str) -> tuple[GziEntry, ...] | None:
    """Where the BGZF blocks of that version of a file begin, if it is written down."""
    joined = select(BLOCKS.c.gzi).join(FILES, FILES.c.id == BLOCKS.c.file)
    found = joined.where(FILES.c.url == url, FILES.c.fingerprint == fingerprint)
    packed = connection.execute(found).scalar_one_or_none()
    return None if packed is None else parse_gzi(zlib.decompress(packed))


def add_alias(connection: Connection, sequence: int, alias: Alias) -> None:
    """Give a sequence a name, if it has not got it."""
    add_aliases(connection, [(sequence, alias)])


def add_aliases(connection: Connection, aliases: Iterable[tuple[int, Alias]]) -> int:
    """Give sequences names that they have not got; how many were new."""
    wanted = dict.fromkeys((each.authority, each.alias, number) for number, each in aliases)
    for some in _portions({number for _, _, number in wanted}):
        rows = select(ALIASES.c.authority, ALIASES.c.alias, ALIASES.c.sequence)
        for row in connection.execute(rows.where(ALIASES.c.sequence.in_(some))):
            wanted.pop((row.authority, row.alias, row.sequence), None)
    names = ("authority", "alias", "sequence")
    if wanted:
        new = [dict(zip(names, each, strict=True)) for each in wanted]
        _insert_new(connection, ALIASES, new)
    return len(wanted)


def set_circular(connection: Connection, sequence: int) -> None:
    """A sequence is known to be circular: somebody who knows says so, no file denies it."""
    connection.execute(update(SEQUENCES).where(SEQUENCES.c.id == sequence).values(circular=True))


def complete_file(connection: Connection, file: OpenedFile, collection: Collection | None) -> None:
    """All records of a file are written down; `collection` is what they are together."""
    digest = None
    if collection is not None:
        add_collection(connection, collection)
        digest = collection.digest
    values = {"complete": True, "collection": digest}
    connection.execute(update(FILES).where(FILES.c.id == file.id).values(**values))


def add_collection(connection: Connection, collection: Collection) -> None:
    """Write down a collection and its attributes, if they are not known."""
    known = select(COLLECTIONS.c.digest).where(COLLECTIONS.c.digest == collection.digest)
    if connection.execute(known).first() is not None:
        return
    level1 = collection.level1()
    _insert_new(connection, COLLECTIONS, [{"digest": collection.digest, **level1}])
    for attribute, value in collection.canonical_level2().items():
        key = {"attribute": attribute, "digest": level1[attribute]}
        same = [ATTRIBUTES.c[name] == text for name, text in key.items()]
        if connection.execute(select(ATTRIBUTES.c.digest).where(*same)).first() is None:
            _insert_new(connection, ATTRIBUTES, [{**key, "value": zlib.compress(value, 1)}])


def remove_file(connection: Connection, file: int) -> None:
    """Forget a file, and what no other file holds."""
    _remove(connection, file)
    forget_orphans(connection)


def _remove(connection: Connection, file: int) -> None:
    connection.execute(delete(PLACES).where(PLACES.c.file == file))
    connection.execute(delete(BLOCKS).where(BLOCKS.c.file == file))
    connection.execute(delete(FILES).where(FILES.c.id == file))


def forget_orphans(connection: Connection) -> None:
    """Forget sequences without a place, and collections and attributes that nothing names."""
    # Not "not in", which PostgreSQL takes long for when there are many.
    placed = select(PLACES.c.sequence).where(PLACES.c.sequence == ALIASES.c.sequence)
    connection.execute(delete(ALIASES).where(~placed.exists()))
    placed = select(PLACES.c.sequence).where(PLACES.c.sequence == SEQUENCES.c.id)
    connection.execute(delete(SEQUENCES).where(~placed.exists()))
    held = select(FILES.c.id).where(FILES.c.collection == COLLECTIONS.c.digest)
    connection.execute(delete(COLLECTIONS).where(~held.exists()))
    for column in COLLECTIONS.c:
        if column.name != "digest":
            named = select(COLLECTIONS.c.digest).where(column == ATTRIBUTES.c.digest)
            mine = ATTRIBUTES.c.attribute == column.name
            connection.execute(delete(ATTRIBUTES).where(mine, ~named.exists()))


def known_file(connection: Connection, url: str) -> KnownFile | None:
    """What is written down of a file as a whole."""
    row = connection.execute(select(FILES).where(FILES.c.url == url)).one_or_none()
    return None if row is None else _known_file(row)


def known_files(connection: Connection) -> list[KnownFile]:
    """The same of every file, in the order they came."""
    return [_known_file(row) for row in connection.execute(select(FILES).order_by(FILES.c.id))]


def flat_urls(connection: Connection) -> list[str]:
    """The URLs of the files that are one sequence and nothing else."""
    return list(connection.scalars(select(FILES.c.url).where(FILES.c.kind == FileKind.FLAT)))


def _known_file(row: Row[Any]) -> KnownFile:
    kind, source = FileKind(row.kind), Source(row.source)
    return KnownFile(row.id, row.url, kind, source, row.fingerprint, row.complete, row.collection)


def _portions(values: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some


def _insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows but for those that another process has inserted meanwhile."""
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
