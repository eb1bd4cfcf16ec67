"""`htsgate refget remove`: forgets files, and removes what was stored for them only."""

from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, select

from server.cli.findings import counted, printable
from server.database import Database
from server.refget.catalogue import AmbiguousId, SequenceCatalogue
from server.refget.flat_store import FlatStore
from server.refget.identifiers import UnknownId, parse_id
from server.refget.ingest import LOCK
from server.refget.registry import (
    FileKind,
    KnownFile,
    Source,
    known_files,
    records_of,
    remove_file,
)
from server.refget.tables import FILES, PLACES


class _Refused(Exception):
    """Why something is not removed."""


def remove(database: Database, flat: FlatStore, targets: Mapping[str, str]) -> int:
    """Forget what the targets name, each given with what a file of its name is called in the
    catalogue; 1 when one of them cannot be."""
    failures = 0
    with database.exclusively(LOCK):
        for target, url in targets.items():
            try:
                files = database.run(partial(_files, target=target, url=url, database=database))
            except _Refused as refusal:
                failures += 1
                print(printable(f"kept     {target}: {refusal}"))
                continue
            for file in files:
                database.run(partial(remove_file, file=file.id))
                again = "; serving its location finds it again" * (file.source is Source.LOCATION)
                print(printable(f"removed  {file.url}{again}"))
                if file.kind is FileKind.FLAT:
                    flat.remove(file.url)
        unneeded = database.run(_unneeded)
        for file in unneeded:
            database.run(partial(remove_file, file=file.id))
            flat.remove(file.url)
    if unneeded:
        print(f"removed  {counted(len(unneeded), 'sequence')} stored for nothing else")
    return int(failures > 0)


def _files(connection: Connection, target: str, url: str, database: Database) -> list[KnownFile]:
    """The files that a target names: by URL, by collection, or as the place of a sequence."""
    files = known_files(connection)
    found = [each for each in files if each.url == url or each.collection == target]
    if found:
        return found
    wanted = parse_id(target)
    if isinstance(wanted, UnknownId):
        raise _Refused("nothing is called so")
    everything = SequenceCatalogue(database, [each.url for each in files])
    try:
        sequence = everything.look_up(connection, wanted)
    except AmbiguousId as error:
        raise _Refused(str(error)) from error
    if sequence is None:
        raise _Refused("nothing is called so")
    holders = [each.url for each in sequence.places if each.kind is not FileKind.FLAT]
    if holders:
        raise _Refused(f"a sequence of {', '.join(holders)}: remove that")
    urls = {each.url for each in sequence.places}
    return [each for each in files if each.url in urls]


def _unneeded(connection: Connection) -> list[KnownFile]:
    """Sequences that were stored flat for files that are not there any more."""
    needed = set(
        connection.scalars(
            select(PLACES.c.sequence)
            .join(FILES, FILES.c.id == PLACES.c.file)
            .where(FILES.c.kind != FileKind.FLAT)
        )
    )
    return [
        file
        for file in known_files(connection)
        if file.kind is FileKind.FLAT
        and file.source is not Source.CACHED
        and not needed.intersection(each.id for each in records_of(connection, file.id))
    ]
