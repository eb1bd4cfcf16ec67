"""The references of an object's header: how long they are, and whether they are those of the build
that its dataset is bound to."""

import asyncio
import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import partial

from auth.errors import ObjectUnusable
from formats.regions import UNPLACED, Region
from server.cache import ByteCache
from server.catalog import DataObject
from server.database import Database
from server.refget.collection_store import CollectionStore, Member
from server.refget.header_references import HeaderReference, references_of
from server.slicing.cram_slicer import CramFileHeader
from server.slicing.library import Header, Library

_LONGEST = (1 << 31) - 1
"""Bases of a reference whose length nobody tells: as long as a BAM can have it."""

_log = logging.getLogger(__name__)


class ObjectReferences:
    """Reads headers once, and compares them with the collections in the database."""

    def __init__(
        self,
        library: Library,
        database: Database,
        collections: CollectionStore,
        header_bytes: int = 16 << 20,
    ) -> None:
        self._library = library
        self._database = database
        self._collections = collections
        self._references: ByteCache[Hashable, tuple[HeaderReference, ...]] = ByteCache(
            header_bytes, lambda found: 200 + 200 * len(found)
        )
        self._checked: set[Hashable] = set()

    async def bounded(
        self, item: DataObject, regions: Sequence[Region] | None
    ) -> tuple[Region, ...]:
        """Regions with the ends that their references have; None stands for all references. Reads
        without a place have no bases to count."""
        lengths = {each.name: each.length for each in await self._of(item)}
        asked = map(Region, lengths) if regions is None else regions
        return tuple(
            Region(each.reference_name, each.start, min(each.end, _end(lengths, each)))
            for each in asked
            if each.reference_name != UNPLACED and each.start < _end(lengths, each)
        )

    async def check(self, item: DataObject, seqcol: str) -> None:
        """Raise `ObjectUnusable` unless the header's references are the collection's: names,
        lengths, order, and MD5s where the header gives them (GA4GH digest `seqcol`)."""
        key = (*_identity(item), seqcol)
        if key in self._checked:
            return
        find = partial(self._collections.members, digest=seqcol)
        members = await self._database.execute(find)
        if members is None:
            _log.error(
                "no collection of sequences %s is known, which a dataset is bound to", seqcol
            )
            raise ObjectUnusable("the collection of its dataset is not known")
        if not await asyncio.to_thread(_same, await self._of(item), members):
            _log.error("object %a does not have the references of its dataset", item.object_id)
            raise ObjectUnusable("its references are not those of its dataset")
        self._checked.add(key)

    async def _of(self, item: DataObject) -> tuple[HeaderReference, ...]:
        async def read() -> tuple[HeaderReference, ...]:
            header = await self._library.header(item)
            return await asyncio.to_thread(references_of, text_of(header))

        return await self._references.get(_identity(item), read)


def text_of(header: Header) -> str:
    """The text of a header."""
    return header.cram.text if isinstance(header, CramFileHeader) else header.text


def names_of(header: Header) -> Sequence[str]:
    """The names of a header's references, in order."""
    return header.cram.names if isinstance(header, CramFileHeader) else header.names


def _identity(item: DataObject) -> tuple[Hashable, ...]:
    return (id(item.backend), item.key, item.stat.fingerprint)


def _end(lengths: Mapping[str, int | None], region: Region) -> int:
    return lengths.get(region.reference_name) or _LONGEST


def _same(references: Sequence[HeaderReference], members: Sequence[Member]) -> bool:
    if len(references) != len(members):
        return False
    return all(
        (each.name, each.length) == (member.name, member.length)
        and each.md5 in (None, member.digests.md5)
        for each, member in zip(references, members, strict=True)
    )
