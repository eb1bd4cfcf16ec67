"""Reading what the database holds of collections.

A collection is there as long as a file is that may be served; the files that serving found in
locations count only while those locations are served.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, Row, Select, select

from server.refget.digests import Digests
from server.refget.registry import Source
from server.refget.seqcol import ATTRIBUTES as LEVEL_1
from server.refget.tables import ATTRIBUTES, COLLECTIONS, FILES, PLACES, SEQUENCES


@dataclass(frozen=True, slots=True)
class Level2:
    """The arrays of a collection but the transient ones, as canonical JSON, deflated; and the
    digests of level 1.

    Inflating and reading those of a large collection takes a while: work for a thread.
    """

    level1: Mapping[str, str]
    deflated: Mapping[str, bytes]

    @property
    def weight(self) -> int:
        """Bytes, deflated."""
        return sum(map(len, self.deflated.values()))

    def json(self) -> bytes:
        """The canonical JSON of the whole."""
        members = (
            b'"%b":%b' % (name.encode(), zlib.decompress(value))
            for name, value in sorted(self.deflated.items())
        )
        return b"{" + b",".join(members) + b"}"

    def arrays(self, like: "Level2 | None" = None) -> dict[str, list[object]]:
        """The arrays, to be compared: pairs as canonical JSON. Those that `like` has too are left
        out."""
        shared = () if like is None else like.level1.items()
        return {
            name: _elements(name, zlib.decompress(value))
            for name, value in self.deflated.items()
            if (name, self.level1[name]) not in shared
        }


@dataclass(frozen=True, slots=True)
class Member:
    """A sequence of a collection, as the collection calls it; `length` in bases."""

    name: str
    length: int
    circular: bool
    digests: Digests


class CollectionStore:
    """Queries on collections. `served`: the URLs of the files in the locations, now."""

    def __init__(self, served: Iterable[str] = ()) -> None:
        self._served = frozenset(served)

    def serve(self, served: Iterable[str]) -> None:
        """From now on these are the files in the locations."""
        self._served = frozenset(served)

    def level1(self, connection: Connection, digest: str) -> dict[str, str] | None:
        """The digests of all attributes, also of the transient ones; None if it is unknown."""
        if not self._there(connection, [digest]):
            return None
        found = select(COLLECTIONS).where(COLLECTIONS.c.digest == digest)
        row = connection.execute(found).mappings().one_or_none()
        return None if row is None else {name: row[name] for name in LEVEL_1}

    def level2(self, connection: Connection, digest: str) -> Level2 | None:
        """The arrays of all attributes but the transient ones; None if it is unknown."""
        level1 = self.level1(connection, digest)
        if level1 is None:
            return None
        values = ((name, _value(connection, name, each)) for name, each in level1.items())
        return Level2(level1, {name: value for name, value in values if value is not None})

    def attribute(self, connection: Connection, name: str, digest: str) -> bytes | None:
        """An attribute's array as canonical JSON, deflated; None if no collection that is there has
        it, and for one that is transient."""
        if name not in LEVEL_1:
            return None
        there = self._there(connection, _having([(name, digest)]))
        return _value(connection, name, digest) if there else None

    def members(self, connection: Connection, digest: str) -> list[Member] | None:
        """The sequences of a collection in order; None if it is unknown."""
        files = self._there(connection, [digest])
        if not files:
            return None
        rows = connection.execute(
            select(PLACES.c.name, SEQUENCES)
            .join(SEQUENCES, SEQUENCES.c.id == PLACES.c.sequence)
            .where(PLACES.c.file == files[digest])
            .order_by(PLACES.c.position)
        )
        return [
            Member(row.name, row.length, row.circular, Digests.from_trunc512(row.md5, row.trunc512))
            for row in rows
        ]

    def urls(self, connection: Connection, digest: str) -> list[str]:
        """The files that hold a collection."""
        return [row.url for row in self._files(connection, [digest])]

    def urls_having(self, connection: Connection, name: str, digest: str) -> list[str]:
        """The files that hold a collection with this attribute; none for one that is transient, or
        that is no attribute."""
        if name not in LEVEL_1 or _value(connection, name, digest) is None:
            return []
        return [row.url for row in self._files(connection, _having([(name, digest)]))]

    def page(
        self, connection: Connection, filters: Sequence[tuple[str, str]], page: int, size: int
    ) -> tuple[list[str], int]:
        """A page of the digests of collections that have all these attributes, and how many there
        are; sorted."""
        there = self._there(connection)
        found = there if not filters else there.keys() & set(connection.scalars(_having(filters)))
        return _page(found, page, size)

    def page_of_attribute(
        self, connection: Connection, name: str, page: int, size: int
    ) -> tuple[list[str], int]:
        """A page of the digests that an attribute has anywhere, and how many there are; sorted."""
        there = self._there(connection)
        rows = connection.execute(select(COLLECTIONS.c.digest, COLLECTIONS.c[name]))
        return _page({value for digest, value in rows if digest in there}, page, size)

    def _there(
        self, connection: Connection, among: Sequence[str] | Select[str] | None = None
    ) -> dict[str, int]:
        """The collections that are there, of all or of some, each with the number of a file."""
        return {row.collection: row.id for row in self._files(connection, among)}

    def _files(
        self, connection: Connection, among: Sequence[str] | Select[str] | None
    ) -> Iterator[Row[str | None, int, str, str]]:
        """The files that are there and hold a collection."""
        chosen = select(FILES.c.collection, FILES.c.id, FILES.c.source, FILES.c.url).where(
            FILES.c.collection.is_not(None), FILES.c.complete
        )
        if among is not None:
            chosen = chosen.where(FILES.c.collection.in_(among))
        for row in connection.execute(chosen):
            if row.source != Source.LOCATION or row.url in self._served:
                yield row


def _elements(name: str, value: bytes) -> list[object]:
    if name == "name_length_pairs":
        # Between pairs there is always this, and rarely within a name: then JSON has to be read.
        pairs: list[object] = [b"{%b}" % pair for pair in value[2:-2].split(b"},{")]
        if len(pairs) == value.count(b'"length":') and b"\\" not in value:
            return pairs
    elements: list[object] = orjson.loads(value)
    return elements


def _having(filters: Sequence[tuple[str, str]]) -> Select[str]:
    return select(COLLECTIONS.c.digest).where(*(COLLECTIONS.c[name] == d for name, d in filters))


def _value(connection: Connection, name: str, digest: str) -> bytes | None:
    kept = select(ATTRIBUTES.c.value).where(
        ATTRIBUTES.c.attribute == name, ATTRIBUTES.c.digest == digest
    )
    value: bytes | None = connection.execute(kept).scalar_one_or_none()
    return value


def _page(found: Iterable[str], page: int, size: int) -> tuple[list[str], int]:
    ordered = sorted(found)
    return ordered[page * size : (page + 1) * size], len(ordered)
