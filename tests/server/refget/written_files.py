"""Files as the catalogue would know them, written down without their being there."""

from collections.abc import Mapping

from sqlalchemy import Connection

from formats.fasta import FaiEntry
from server.database import Database
from server.refget.digests import Digests
from server.refget.registry import (
    Alias,
    FileKind,
    Record,
    Source,
    add_aliases,
    add_records,
    add_sequence,
    complete_file,
    open_file,
)
from server.refget.seqcol import Collection


def write_down(
    database: Database,
    url: str,
    records: Mapping[str, bytes],
    *,
    source: Source = Source.ADDED,
    fingerprint: str = "1",
    aliases: Mapping[str, Alias] | None = None,
) -> Collection:
    """A file of these records; `aliases`: of some, by their names."""
    digests = {name: Digests.from_residues(residues) for name, residues in records.items()}
    collection = Collection(
        list(records),
        [len(residues) for residues in records.values()],
        [each.ga4gh for each in digests.values()],
    )

    def work(connection: Connection) -> None:
        file = open_file(connection, url, FileKind.FASTA, source, fingerprint)
        written = [
            Record(
                position,
                FaiEntry(name, len(residues), 0, len(residues), len(residues) + 1),
                digests[name],
                len(residues),
            )
            for position, (name, residues) in enumerate(records.items())
        ]
        add_records(connection, file, written)
        add_aliases(
            connection,
            [
                (add_sequence(connection, digests[name], len(records[name])), alias)
                for name, alias in (aliases or {}).items()
            ],
        )
        complete_file(connection, file, collection)

    database.run(work)
    return collection


def md5_of(residues: bytes) -> str:
    """What `@SQ M5` says of residues."""
    return Digests.from_residues(residues).md5
