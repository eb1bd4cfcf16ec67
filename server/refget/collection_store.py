"""Reading what the catalogue holds of collections.

A collection is there as long as a file is that may be served; the files that serving found in
locations count only while those locations are served.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence

import orjson
from sqlalchemy import Connection, Select, func, select, true
from sqlalchemy.sql import ColumnElement

from server.refget.registry import Source
from server.refget.seqcol import ATTRIBUTES as LEVEL_1
from server.refget.tables import ATTRIBUTES, COLLECTIONS, FILES


class CollectionStore:
    """Queries on collections. `served`: the URLs of the files in the locations, now."""

    def __init__(self, served: Iterable[str] = ()) -> None:
        self._served = sorted(served)

    def level1(self, connection: Connection, digest: str) -> Mapping[str, str] | None:
        """The digests of all attributes, also of the transient ones; None if it is unknown."""
        found = select(COLLECTIONS).where(COLLECTIONS.c.digest == digest, self._is_there)
        row = connection.execute(found).mappings().one_or_none()
        return None if row is None else {name: row[name] for name in LEVEL_1}

    def level2(self, connection: Connection, digest: str) -> dict[str, object] | None:
        """The arrays of all attributes but the transient ones; None if it is unknown."""
        level1 = self.level1(connection, digest)
        if level1 is None:
            return None
        values = {}
        for name, each in level1.items():
            value = self._value(connection, name, each)
            if value is not None:
                values[name] = orjson.loads(value)
        return values

    def attribute(self, connection: Connection, name: str, digest: str) -> bytes | None:
        """An attribute's array as JSON; None if no collection that is there has it."""
        if name not in LEVEL_1:
            return None
        used = select(COLLECTIONS.c.digest).where(COLLECTIONS.c[name] == digest, self._is_there)
        if connection.execute(used.limit(1)).first() is None:
            return None
        return self._value(connection, name, digest)

    def page(
        self, connection: Connection, filters: Sequence[tuple[str, str]], page: int, size: int
    ) -> tuple[list[str], int]:
        """A page of the digests of collections that have all these attributes, and how many there
        are; sorted."""
        wanted = [COLLECTIONS.c[name] == digest for name, digest in filters]
        chosen = select(COLLECTIONS.c.digest).where(self._is_there, *wanted)
        return _page(connection, chosen, COLLECTIONS.c.digest, page, size)

    def page_of_attribute(
        self, connection: Connection, name: str, page: int, size: int
    ) -> tuple[list[str], int]:
        """A page of the digests that an attribute has anywhere, and how many there are; sorted."""
        column = COLLECTIONS.c[name]
        return _page(
            connection, select(column).where(self._is_there).distinct(), column, page, size
        )

    @property
    def _is_there(self) -> ColumnElement[bool]:
        free = FILES.c.source != Source.LOCATION
        served = FILES.c.url.in_(self._served) if self._served else ~true()
        held = select(FILES.c.collection).where(
            FILES.c.collection.is_not(None), FILES.c.complete, free | served
        )
        return COLLECTIONS.c.digest.in_(held)

    def _value(self, connection: Connection, name: str, digest: str) -> bytes | None:
        kept = select(ATTRIBUTES.c.value).where(
            ATTRIBUTES.c.attribute == name, ATTRIBUTES.c.digest == digest
        )
        value = connection.execute(kept).scalar_one_or_none()
        return None if value is None else zlib.decompress(value)


def _page(
    connection: Connection,
    chosen: Select[str],
    order: ColumnElement[str],
    page: int,
    size: int,
) -> tuple[list[str], int]:
    total = connection.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
    rows = connection.scalars(chosen.order_by(order).offset(page * size).limit(size))
    return list(rows), total
