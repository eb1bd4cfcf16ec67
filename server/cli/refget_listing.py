"""`htsgate refget list`: what the database knows."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, select

from server.cli.findings import counted, printable
from server.database import Database
from server.refget.registry import FileKind, KnownFile, WrittenRecord, known_files, records_of
from server.refget.tables import ALIASES

_FILES = ("file", "kind", "why", "sequences", "collection")
_SEQUENCES = ("sequence", "md5", "length", "circular", "names")


@dataclass(slots=True)
class _Known:
    """All that is known."""

    files: list[tuple[KnownFile, list[WrittenRecord]]]
    names: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def sequences(self) -> dict[int, WrittenRecord]:
        """Every sequence once, by one of its records."""
        return {each.id: each for _, records in self.files for each in records}


def show(database: Database, name: str, *, as_json: bool) -> int:
    """Print it: tables for people, tab-separated text into a pipe, or JSON."""
    known = database.run(_read)
    if as_json:
        print(json.dumps({"database": name, **_as_json(known)}, indent=2))
        return 0
    called: dict[int, list[str]] = defaultdict(list)
    for file, records in known.files:
        for each in records if file.kind is not FileKind.FLAT else ():
            if each.record.entry.name not in called[each.id]:
                called[each.id].append(each.record.entry.name)
    files = [
        (
            printable(file.url),
            file.kind,
            file.source if file.complete else f"{file.source}, not whole",
            str(len(records)),
            file.collection or "-",
        )
        for file, records in known.files
        if file.kind is not FileKind.FLAT
    ]
    sequences = [
        (
            each.record.digests.ga4gh,
            each.record.digests.md5,
            str(each.record.length),
            "circular" if each.circular else "-",
            printable(", ".join([*called[number], *known.names[number]])) or "-",
        )
        for number, each in known.sequences().items()
    ]
    flat = sum(file.kind is FileKind.FLAT for file, _ in known.files)
    total = f"{counted(len(files), 'file')}, {counted(len(sequences), 'sequence')}, {flat} flat"
    console = Console()
    if console.is_terminal:
        for titles, rows in ((_FILES, files), (_SEQUENCES, sequences)):
            table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False)
            for column in table.columns:
                column.overflow = "fold"
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table)
        console.print(f"{total} in {printable(name)}", highlight=False)
    else:
        for titles, rows in ((_FILES, files), (_SEQUENCES, sequences)):
            for row in (titles, *rows):
                print("\t".join(row))
        print(f"{total} in {printable(name)}")
    return 0


def _as_json(known: _Known) -> dict[str, object]:
    return {
        "files": [
            {
                "url": file.url,
                "kind": file.kind,
                "source": file.source,
                "complete": file.complete,
                "collection": file.collection,
                "sequences": [
                    {
                        "name": each.record.entry.name,
                        "length": each.record.length,
                        "md5": each.record.digests.md5,
                        "ga4gh": each.record.digests.ga4gh,
                    }
                    for each in records
                ],
            }
            for file, records in known.files
        ],
        "sequences": [
            {
                "ga4gh": each.record.digests.ga4gh,
                "md5": each.record.digests.md5,
                "trunc512": each.record.digests.trunc512,
                "length": each.record.length,
                "circular": each.circular,
                "aliases": known.names[number],
            }
            for number, each in known.sequences().items()
        ],
        "collections": sorted({file.collection for file, _ in known.files if file.collection}),
    }


def _read(connection: Connection) -> _Known:
    known = _Known([(file, records_of(connection, file.id)) for file in known_files(connection)])
    order = (ALIASES.c.sequence, ALIASES.c.authority, ALIASES.c.alias)
    for row in connection.execute(select(ALIASES).order_by(*order)):
        known.names[row.sequence].append(f"{row.authority}:{row.alias}")
    return known
