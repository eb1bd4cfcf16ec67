"""Which collection of sequences the references of a header are, and which of them are served.

Looks at what is written down, and digests nothing. Names and lengths alone prove no sequence: that
is told apart from references whose MD5s are those of the sequences.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from server.database import Database
from server.refget.collection_store import CollectionStore, Member
from server.refget.digests import Digests
from server.refget.header_references import HeaderReference
from server.refget.registry import Source
from server.refget.seqcol import Collection, InvalidCollection
from server.refget.tables import ALIASES, COLLECTIONS, FILES, PLACES, SEQUENCES

T = TypeVar("T")

_AT_ONCE = 500  # values in one statement
_NO_SEQUENCE = "SQ." + "A" * 32


class Likeness(StrEnum):
    """How the references of a header are like a collection; the first that holds."""

    SAME = "same"  # names and sequences, in order
    REORDERED = "reordered"  # the same in another order
    RENAMED = "renamed"  # the same sequences by other names
    COORDINATES = "coordinates"  # names and lengths
    SHARED = "shared"  # some sequences


@dataclass(frozen=True, slots=True)
class Match:
    """The collection that a header's references are most like, and a file that it was made of.

    `shared`: how many of them are sequences of it. `differing`: those of which an M5 says that they
    are not, though names and lengths are the same.
    """

    likeness: Likeness
    collection: str
    url: str
    shared: int
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matched:
    """What is known of a header's references. `unserved`: those with an M5 that no sequence has."""

    match: Match | None
    unserved: tuple[HeaderReference, ...]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file in the catalogue; `collection` is None for one that holds what no collection may."""

    fingerprint: str
    complete: bool
    collection: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    digests: Digests
    length: int


class CollectionMatcher:
    """Compares headers with what a database holds; waits for it, so for threads only.

    `served`: the URLs of the files in the locations. Everything raises `DatabaseUnavailable`.
    """

    def __init__(self, database: Database, served: Iterable[str]) -> None:
        self._database = database
        self._served = frozenset(served)
        self._store = CollectionStore(self._served)

    def is_empty(self) -> bool:
        """Whether no file is written down that is there."""
        return self._database.run(lambda each: not any(self._there(each, select(*_FILE))))

    def written(self, url: str) -> WrittenFile | None:
        """What is written down of a file."""
        columns = (FILES.c.fingerprint, FILES.c.complete, FILES.c.collection)
        found = select(*columns).where(FILES.c.url == url)
        row = self._database.run(lambda each: each.execute(found).one_or_none())
        return None if row is None else WrittenFile(*row)

    def match(self, references: Sequence[HeaderReference]) -> Matched:
        """What the references of a header are."""
        return self._database.run(lambda each: self._match(each, references))

    def _match(self, connection: Connection, references: Sequence[HeaderReference]) -> Matched:
        known = self._known(connection, {each.md5 for each in references if each.md5 is not None})
        unserved = tuple(each for each in references if each.md5 and each.md5 not in known)
        match = (
            self._by_sequences(connection, references, known)
            or self._by_coordinates(connection, references)
            or self._by_share(connection, references, known)
        )
        return Matched(match, unserved)

    def _by_sequences(
        self,
        connection: Connection,
        references: Sequence[HeaderReference],
        known: dict[str, _Known],
    ) -> Match | None:
        sequences = [known[each.md5] for each in references if each.md5 in known]
        if not references or len(sequences) < len(references):
            return None
        collection = _collection(references, sequences)
        if collection is None:
            return None
        same = self._collections(connection, COLLECTIONS.c.digest == collection.digest)
        for digest, url in same.items():
            return Match(Likeness.SAME, digest, url, len(references))
        wanted = collection.level1()["sorted_sequences"]
        matches = []
        for digest, url in self._collections(
            connection, COLLECTIONS.c.sorted_sequences == wanted
        ).items():
            named = {(each.name, each.digests.ga4gh) for each in self._members(connection, digest)}
            is_named = named == set(zip(collection.names, collection.sequences, strict=True))
            likeness = Likeness.REORDERED if is_named else Likeness.RENAMED
            matches.append(Match(likeness, digest, url, len(references)))
        return min(matches, key=lambda each: each.likeness is Likeness.RENAMED, default=None)

    def _by_coordinates(
        self, connection: Connection, references: Sequence[HeaderReference]
    ) -> Match | None:
        collection = _collection(references)
        if not references or collection is None:
            return None
        wanted = collection.level1()["sorted_name_length_pairs"]
        matches = []
        for digest, url in self._collections(
            connection, COLLECTIONS.c.sorted_name_length_pairs == wanted
        ).items():
            md5s = {each.name: each.digests.md5 for each in self._members(connection, digest)}
            told = [each for each in references if each.md5 is not None]
            differing = tuple(each.name for each in told if md5s.get(each.name) != each.md5)
            shared = len(told) - len(differing)
            matches.append(Match(Likeness.COORDINATES, digest, url, shared, differing))
        return min(matches, key=lambda each: len(each.differing), default=None)

    def _by_share(
        self,
        connection: Connection,
        references: Sequence[HeaderReference],
        known: dict[str, _Known],
    ) -> Match | None:
        """The smallest of the collections that hold most of the sequences."""
        holding: defaultdict[tuple[str, int, str], set[int]] = defaultdict(set)
        for some in _portions({each.id for each in known.values()}):
            joined = select(*_FILE, PLACES.c.sequence).join(PLACES, PLACES.c.file == FILES.c.id)
            joined = joined.where(FILES.c.collection.is_not(None), PLACES.c.sequence.in_(some))
            for row in self._there(connection, joined):
                holding[row.collection, row.id, row.url].add(row.sequence)
        if not holding:
            return None
        most = max(map(len, holding.values()))
        best = [file for file, sequences in holding.items() if len(sequences) == most]
        sizes = select(func.count()).select_from(PLACES)
        digest, number, url = min(
            best[:_AT_ONCE],
            key=lambda file: connection.scalars(sizes.where(PLACES.c.file == file[1])).one(),
        )
        sequences = holding[digest, number, url]
        shared = [each for each in references if each.md5 in known]
        count = sum(known[str(each.md5)].id in sequences for each in shared)
        return Match(Likeness.SHARED, digest, url, count)

    def _known(self, connection: Connection, md5s: Iterable[str]) -> dict[str, _Known]:
        """The sequences that are there, by their MD5, or by their M5 where that differs."""
        known: dict[str, _Known] = {}
        columns = (*_FILE, SEQUENCES.c.id.label("number"), SEQUENCES.c.md5, SEQUENCES.c.trunc512)
        joined = select(*columns, SEQUENCES.c.length, ALIASES.c.alias.label("m5")).distinct()
        joined = (
            joined.join(PLACES, PLACES.c.file == FILES.c.id)
            .join(SEQUENCES, SEQUENCES.c.id == PLACES.c.sequence)
            .outerjoin(
                ALIASES,
                (ALIASES.c.sequence == SEQUENCES.c.id) & (ALIASES.c.authority == "md5"),
            )
        )
        for some in _portions(md5s):
            for column in (SEQUENCES.c.md5, ALIASES.c.alias):
                for row in self._there(connection, joined.where(column.in_(some))):
                    digests = Digests.from_trunc512(row.md5, row.trunc512)
                    for md5 in filter(None, (row.md5, row.m5)):
                        known.setdefault(md5, _Known(row.number, digests, row.length))
        return known

    def _collections(self, connection: Connection, which: ColumnElement[bool]) -> dict[str, str]:
        """Collections that are there, each with a file that it was made of."""
        joined = select(*_FILE).join(COLLECTIONS, COLLECTIONS.c.digest == FILES.c.collection)
        rows = self._there(connection, joined.where(which).order_by(FILES.c.id.desc()))
        return {row.collection: row.url for row in rows}

    def _members(self, connection: Connection, digest: str) -> list[Member]:
        return self._store.members(connection, digest) or []

    def _there(self, connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
        """The rows of files that are written down whole and may be served."""
        for row in connection.execute(query.where(FILES.c.complete)):
            if row.source != Source.LOCATION or row.url in self._served:
                yield row


_FILE = (FILES.c.id, FILES.c.url, FILES.c.source, FILES.c.collection)


def _collection(
    references: Sequence[HeaderReference], sequences: Sequence[_Known] = ()
) -> Collection | None:
    """The collection that references are, the sequences made up unless they are given; None where
    it cannot be one."""
    if sequences:
        lengths: list[int | None] = [each.length for each in sequences]
        digests = [each.digests.ga4gh for each in sequences]
    else:
        lengths = [each.length for each in references]
        digests = [_NO_SEQUENCE] * len(references)
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return None
    try:
        return Collection([each.name for each in references], known, digests)
    except InvalidCollection:
        return None


def _portions(values: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some
