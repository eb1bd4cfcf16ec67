"""Writing down what files hold: sequences, their places, names and collections.

A file is written record by record, so work that was interrupted goes on where it stopped. What the
catalogue says of a file holds for one fingerprint only: a file that changed begins anew.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from formats.fasta import FaiEntry
from server.refget.digests import Digests
from server.refget.seqcol import Collection
from server.refget.tables import (
    ALIASES,
    ATTRIBUTES,
    COLLECTIONS,
    FILES,
    PLACES,
    SEQUENCES,
)


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


def open_file(
    connection: Connection, url: str, kind: FileKind, source: Source, fingerprint: str
) -> OpenedFile:
    """Begin, or go on with, a file; everything known of another version of it is forgotten."""
    row = connection.execute(select(FILES).where(FILES.c.url == url)).one_or_none()
    if row is not None and (row.fingerprint, row.kind) == (fingerprint, kind):
        # What somebody added stays added, also where serving finds it in a location.
        if source is Source.ADDED and row.source != source:
            connection.execute(update(FILES).where(FILES.c.id == row.id).values(source=source))
        count = select(func.count()).where(PLACES.c.file == row.id)
        return OpenedFile(row.id, connection.execute(count).scalar_one(), row.complete)
    if row is not None:
        remove_file(connection, row.id)
        source = max(source, Source(row.source), key=lambda each: each is Source.ADDED)
    values = {"url": url, "kind": kind, "source": source, "fingerprint": fingerprint}
    made = insert(FILES).values(**values, complete=False).returning(FILES.c.id)
    return OpenedFile(connection.execute(made).scalar_one(), 0, complete=False)


def add_record(
    connection: Connection,
    file: OpenedFile,
    position: int,
    entry: FaiEntry,
    digests: Digests,
    length: int,
) -> int:
    """Write down the record at a position of a file, whose sequence has `length` residues; the id
    of the sequence."""
    sequence = add_sequence(connection, digests, length)
    values = {
        "file": file.id,
        "position": position,
        "sequence": sequence,
        "name": entry.name,
        "length": entry.length,
        "offset": entry.offset,
        "line_bases": entry.line_bases,
        "line_width": entry.line_width,
    }
    connection.execute(insert(PLACES).values(**values))
    return sequence


def add_sequence(connection: Connection, digests: Digests, length: int) -> int:
    """The id of the sequence with these digests, which becomes known if it is not."""
    known = select(SEQUENCES.c.id).where(SEQUENCES.c.trunc512 == digests.trunc512)
    found: int | None = connection.execute(known).scalar_one_or_none()
    if found is None:
        values = {"md5": digests.md5, "trunc512": digests.trunc512, "length": length}
        made = insert(SEQUENCES).values(**values, circular=False).returning(SEQUENCES.c.id)
        found = int(connection.execute(made).scalar_one())
    return found


def add_alias(connection: Connection, sequence: int, alias: Alias) -> None:
    """Give a sequence a name, if it has not got it."""
    values = {"authority": alias.authority, "alias": alias.alias, "sequence": sequence}
    same = [ALIASES.c[name] == value for name, value in values.items()]
    if connection.execute(select(ALIASES).where(*same)).first() is None:
        connection.execute(insert(ALIASES).values(**values))


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
    connection.execute(insert(COLLECTIONS).values(digest=collection.digest, **level1))
    for attribute, value in collection.canonical_level2().items():
        key = {"attribute": attribute, "digest": level1[attribute]}
        same = [ATTRIBUTES.c[name] == text for name, text in key.items()]
        if connection.execute(select(ATTRIBUTES.c.digest).where(*same)).first() is None:
            connection.execute(insert(ATTRIBUTES).values(**key, value=zlib.compress(value, 1)))


def remove_file(connection: Connection, file: int) -> None:
    """Forget a file, and what no other file holds."""
    connection.execute(delete(PLACES).where(PLACES.c.file == file))
    connection.execute(delete(FILES).where(FILES.c.id == file))
    forget_orphans(connection)


def forget_orphans(connection: Connection) -> None:
    """Forget sequences without a place, and collections and attributes that nothing names."""
    placed = select(PLACES.c.sequence)
    connection.execute(delete(ALIASES).where(ALIASES.c.sequence.not_in(placed)))
    connection.execute(delete(SEQUENCES).where(SEQUENCES.c.id.not_in(placed)))
    held = select(FILES.c.collection).where(FILES.c.collection.is_not(None))
    connection.execute(delete(COLLECTIONS).where(COLLECTIONS.c.digest.not_in(held)))
    named = or_(
        *(
            (ATTRIBUTES.c.attribute == column.name) & ATTRIBUTES.c.digest.in_(select(column))
            for column in COLLECTIONS.c
            if column.name != "digest"
        )
    )
    connection.execute(delete(ATTRIBUTES).where(~named))


def files_of(connection: Connection, sources: Sequence[Source]) -> list[str]:
    """The URLs of the files that are in the catalogue for one of these reasons."""
    rows = select(FILES.c.url).where(FILES.c.source.in_(sources)).order_by(FILES.c.url)
    return list(connection.execute(rows).scalars())
