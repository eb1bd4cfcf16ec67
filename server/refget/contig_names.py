"""Other names of references, for htsget: `chr1` where a file says `1`, if both are one sequence.

What the file itself calls its references comes first and is looked up nowhere. Any other name is
taken for a reference whose header gives the MD5 of a sequence that the catalogue knows by that
name; lengths or customs prove nothing. What restricted files call their records means nothing here,
not even for objects that are controlled: those are not the same people's.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from formats.errors import UnknownReference
from formats.regions import UNPLACED, Region
from server.cache import ByteCache
from server.catalog import DataObject
from server.refget.catalogue import SequenceCatalogue
from server.refget.header_references import references_of
from server.slicing.library import Library
from server.slicing.slicers import Slicer, StreamHeader

MOST_NAMES = 500
"""Names that one request may have looked up."""

_MOST_KEPT = 16_384
_SECONDS = 10.0

_Names = Mapping[str, str | None]


class ContigNames:
    """Replaces names that an object does not know by those it has for the same sequences."""

    def __init__(
        self, catalogue: SequenceCatalogue, library: Library, *, header_bytes: int = 32 << 20
    ) -> None:
        self._catalogue = catalogue
        self._library = library
        self._headers: ByteCache[Hashable, _Names] = ByteCache(
            header_bytes, lambda names: 200 + 250 * len(names)
        )
        self._kept: OrderedDict[Hashable, tuple[float, str | None]] = OrderedDict()

    async def resolve(
        self, item: DataObject, slicer: Slicer, regions: Sequence[Region]
    ) -> tuple[Region, ...]:
        """The regions by names that the object's slicer knows.

        Raises `UnknownReference` when a name means none of its references, or several of them, or
        when too many are to be looked up; and `DatabaseUnavailable`.
        """
        names = {region.reference_name for region in regions} - {UNPLACED}
        asked = await asyncio.to_thread(_unknown, slicer, names)
        meant = await self._meanings(item, asked)
        return tuple(
            replace(region, reference_name=meant.get(region.reference_name, region.reference_name))
            for region in regions
        )

    async def _meanings(self, item: DataObject, asked: Sequence[str]) -> dict[str, str]:
        if len(asked) > MOST_NAMES:
            raise UnknownReference("this object does not have most of these references")
        identity = (id(item.backend), item.key, item.stat.fingerprint)
        by_md5 = await self._headers.get(identity, lambda: self._read(item))
        if not by_md5:
            raise UnknownReference("this object has no such reference")
        now = time.monotonic()
        missing = []
        meant: dict[str, str | None] = {}
        for name in asked:
            kept = self._kept.get((identity, name))
            if kept is None or now - kept[0] > _SECONDS:
                missing.append(name)
            else:
                meant[name] = kept[1]
        called = await self._catalogue.md5s_called(missing) if missing else {}
        for name in missing:
            found = [by_md5[md5] for md5 in called.get(name, ()) if md5 in by_md5]
            meant[name] = found[0] if len(found) == 1 else None
            self._keep((identity, name), (now, meant[name]))
        if None in meant.values():
            raise UnknownReference("this object has no such reference")
        return {name: own for name, own in meant.items() if own is not None}

    async def _read(self, item: DataObject) -> _Names:
        header = await self._library.header(item)
        text = header.text if isinstance(header, StreamHeader) else header.cram.text
        return await asyncio.to_thread(_by_md5, text)

    def _keep(self, key: Hashable, value: tuple[float, str | None]) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


def _by_md5(text: str) -> _Names:
    """The references of a header by their MD5; None for one that several have."""
    found: dict[str, str | None] = {}
    for each in references_of(text):
        if each.md5 is not None:
            found[each.md5] = None if each.md5 in found else each.name
    return found


def _unknown(slicer: Slicer, names: Iterable[str]) -> list[str]:
    """The names that a slicer does not know; it may read tables of its index to tell."""
    unknown = []
    for name in names:
        try:
            slicer.locate(Region(name, 0, 0))
        except UnknownReference:
            unknown.append(name)
    return unknown
