"""Which sequence an id names, where its residues are, and what else it is called.

What was looked up is kept for some seconds, so that the next request need not ask the database;
whether a file still is what was written down is checked where it is read.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, select, union

from formats.fasta import FaiEntry
from server.database import Database
from server.refget.digests import Digests
from server.refget.identifiers import (
    MAX_LENGTH,
    RESERVED_NAMESPACES,
    AliasId,
    Md5Id,
    SequenceId,
    TruncatedId,
    UnknownId,
)
from server.refget.registry import Alias, FileKind, Source
from server.refget.tables import ALIASES, FILES, PLACES, SEQUENCES

_MOST_KEPT = 16_384
_SECONDS = 10.0
_M5 = ALIASES.alias("m5s")  # where the M5 of SAM is not the MD5
_PREFERENCE = (FileKind.FLAT, FileKind.FASTA, FileKind.TWOBIT)


class AmbiguousId(Exception):
    """Several sequences have this name."""


class SequencePending(Exception):
    """No sequence has this digest so far, but not all files have been read yet."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sequence is: the record `entry` of a file that had this fingerprint."""

    url: str
    kind: FileKind
    fingerprint: str
    position: int
    entry: FaiEntry


@dataclass(frozen=True, slots=True)
class KnownSequence:
    """A sequence that can be served: from any of its places, the best one first."""

    digests: Digests
    length: int
    circular: bool
    places: tuple[Place, ...]
    aliases: tuple[Alias, ...]


class SequenceCatalogue:
    """Looks sequences up. `served`: the URLs of the files in the locations; what was found in other
    locations, at another time, is not there."""

    def __init__(self, database: Database, served: Iterable[str] = ()) -> None:
        self._database = database
        self._served = frozenset(served)
        self._kept: OrderedDict[SequenceId, tuple[float, KnownSequence]] = OrderedDict()
        self._authorities: tuple[float, list[str]] | None = None

    def serve(self, served: Iterable[str]) -> None:
        """From now on these are the files in the locations."""
        self._served = frozenset(served)
        self.forget()

    def kept(self, wanted: SequenceId) -> KnownSequence | None:
        """The sequence, if it was looked up a moment ago."""
        found = self._kept.get(wanted)
        if found is None or time.monotonic() - found[0] > _SECONDS:
            return None
        return found[1]

    async def find(self, wanted: SequenceId) -> KnownSequence | None:
        """The sequence that an id names, or None.

        Raises `AmbiguousId` for a name that several have, and `DatabaseUnavailable`.
        """
        return self.kept(wanted) or await self.renew(wanted)

    async def renew(self, wanted: SequenceId) -> KnownSequence | None:
        """The same, whatever was looked up before."""
        if isinstance(wanted, UnknownId):
            return None
        self._kept.pop(wanted, None)
        found = await self._database.execute(lambda each: self.look_up(each, wanted))
        if found is not None:
            self._kept[wanted] = (time.monotonic(), found)
            self._kept.move_to_end(wanted)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def find_now(self, wanted: SequenceId) -> KnownSequence | None:
        """The same, in a thread that may wait."""
        return self._database.run(lambda each: self.look_up(each, wanted))

    def look_up(self, connection: Connection, wanted: SequenceId) -> KnownSequence | None:
        """The same, on a connection."""
        found = self.look_up_all(connection, wanted)
        if len(found) > 1:
            raise AmbiguousId("several sequences have this name; ask for one by its digest")
        return found[0] if found else None

    def look_up_all(
        self, connection: Connection, wanted: SequenceId, most: int | None = None
    ) -> list[KnownSequence]:
        """The sequences that an id may mean, which are several for a name only; none if there are
        more than `most` of them."""
        numbers = self._numbers(connection, wanted)
        if most is not None and len(numbers) > most:
            return []
        return self._sequences(connection, numbers)

    async def find_all(self, trunc512s: Sequence[str]) -> dict[str, KnownSequence]:
        """The sequences of some hundred digests, by these; of those that are there."""

        def look_up(connection: Connection) -> dict[str, KnownSequence]:
            wanted = select(SEQUENCES.c.id).where(SEQUENCES.c.trunc512.in_(trunc512s))
            found = self._sequences(connection, connection.scalars(wanted).all())
            return {each.digests.trunc512: each for each in found}

        return await self._database.execute(look_up)

    async def md5s_called(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """By each of some hundred names the MD5s, or M5s, of all sequences that some file or
        authority calls so; names that nobody uses are left out."""
        wanted = [name for name in names if 0 < len(name) <= MAX_LENGTH and name.isprintable()]

        def look_up(connection: Connection) -> dict[str, set[str]]:
            columns = (SEQUENCES.c.md5, _M5.c.alias.label("m5"), FILES.c.source, FILES.c.url)
            placed = SEQUENCES.join(PLACES, PLACES.c.sequence == SEQUENCES.c.id)
            placed = placed.join(FILES, FILES.c.id == PLACES.c.file).outerjoin(
                _M5, (_M5.c.sequence == SEQUENCES.c.id) & (_M5.c.authority == "md5")
            )
            aliased = placed.join(ALIASES, ALIASES.c.sequence == SEQUENCES.c.id)
            recorded = select(PLACES.c.name, *columns).select_from(placed)
            named = select(ALIASES.c.alias, *columns).select_from(aliased)
            found: defaultdict[str, set[str]] = defaultdict(set)
            for row in connection.execute(
                union(
                    recorded.where(PLACES.c.name.in_(wanted)),
                    named.where(ALIASES.c.alias.in_(wanted)),
                )
            ):
                if self._is_there(row.source, row.url):
                    found[row.name].update(filter(None, (row.md5, row.m5)))
            return found

        found = await self._database.execute(look_up)
        return {name: frozenset(md5s) for name, md5s in found.items()}

    async def authorities(self) -> list[str]:
        """Who gave names to sequences, sorted; digests are no names. Some seconds old at most."""
        kept = self._authorities
        if kept is None or time.monotonic() - kept[0] > _SECONDS:
            found = await self._database.execute(self._find_authorities)
            kept = self._authorities = (time.monotonic(), found)
        return kept[1]

    def forget(self) -> None:
        """Look everything up anew."""
        self._kept.clear()
        self._authorities = None

    def _find_authorities(self, connection: Connection) -> list[str]:
        named = select(ALIASES.c.authority, FILES.c.source, FILES.c.url).distinct()
        named = named.join(PLACES, PLACES.c.sequence == ALIASES.c.sequence)
        named = named.join(FILES, FILES.c.id == PLACES.c.file)
        rows = connection.execute(named.where(ALIASES.c.authority.not_in(RESERVED_NAMESPACES)))
        return sorted({row.authority for row in rows if self._is_there(row.source, row.url)})

    def _numbers(self, connection: Connection, wanted: SequenceId) -> Sequence[int]:
        """The numbers of the sequences that an id may mean."""
        if isinstance(wanted, UnknownId):
            return []
        if not isinstance(wanted, AliasId) or wanted.namespace is not None:
            return connection.scalars(_ids(wanted)).all()
        # What a file calls its records counts only where the file itself is there.
        recorded = select(PLACES.c.sequence, FILES.c.source, FILES.c.url)
        recorded = recorded.join(FILES, FILES.c.id == PLACES.c.file)
        rows = connection.execute(recorded.where(PLACES.c.name == wanted.alias))
        found = {row.sequence for row in rows if self._is_there(row.source, row.url)}
        named = select(ALIASES.c.sequence).where(ALIASES.c.alias == wanted.alias)
        return sorted(found.union(connection.scalars(named)))

    def _sequences(self, connection: Connection, numbers: Sequence[int]) -> list[KnownSequence]:
        """Those that have a place now."""
        places = self._places(connection, numbers)
        aliases: defaultdict[int, list[Alias]] = defaultdict(list)
        for alias in connection.execute(
            select(ALIASES)
            .where(ALIASES.c.sequence.in_(places))
            .order_by(ALIASES.c.authority, ALIASES.c.alias)
        ):
            aliases[alias.sequence].append(Alias(alias.authority, alias.alias))
        rows = connection.execute(select(SEQUENCES).where(SEQUENCES.c.id.in_(places)))
        return [
            KnownSequence(
                Digests.from_trunc512(row.md5, row.trunc512),
                row.length,
                row.circular,
                tuple(sorted(places[row.id], key=lambda each: _PREFERENCE.index(each.kind))),
                tuple(aliases[row.id]),
            )
            for row in rows
        ]

    def _places(self, connection: Connection, numbers: Sequence[int]) -> dict[int, list[Place]]:
        """Where sequences are, by their numbers."""
        joined = select(PLACES, FILES.c.url, FILES.c.kind, FILES.c.source, FILES.c.fingerprint)
        rows = connection.execute(
            joined.join(FILES, FILES.c.id == PLACES.c.file)
            .where(PLACES.c.sequence.in_(numbers))
            .order_by(FILES.c.id, PLACES.c.position)
        )
        places: dict[int, list[Place]] = {}
        for row in rows:
            if not self._is_there(row.source, row.url):
                continue
            entry = FaiEntry(row.name, row.length, row.offset, row.line_bases, row.line_width)
            place = Place(row.url, FileKind(row.kind), row.fingerprint, row.position, entry)
            places.setdefault(row.sequence, []).append(place)
        return places

    def _is_there(self, source: str, url: str) -> bool:
        return source != Source.LOCATION or url in self._served


def _ids(wanted: SequenceId) -> Select[int]:
    """The sequences of a digest, or of an authority's name."""
    if isinstance(wanted, Md5Id):
        # Not by the M5 of a sequence with more than letters: what is served has another MD5.
        return select(SEQUENCES.c.id).where(SEQUENCES.c.md5 == wanted.md5)
    if isinstance(wanted, TruncatedId):
        return select(SEQUENCES.c.id).where(SEQUENCES.c.trunc512 == wanted.digest.hex())
    if isinstance(wanted, AliasId):
        return select(ALIASES.c.sequence).where(
            ALIASES.c.authority == wanted.namespace, ALIASES.c.alias == wanted.alias
        )
    raise TypeError("an id that no sequence can have")
