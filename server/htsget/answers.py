"""What a ticket request is answered with: from a query and a data object to URLs."""

import asyncio
from dataclasses import dataclass, replace

from formats.errors import UnknownReference
from server.catalog import DataObject
from server.htsget.direct import spread
from server.htsget.query import Query
from server.htsget.ticket import Rights, TicketMaker
from server.model import DataClass
from server.refget.contig_names import ContigNames
from server.slicing.library import Library
from server.slicing.slicers import Slicer
from storage_backends.base import Presigner

_FEW_REGIONS = 50  # up to these, the work is done on the event loop: a thread would cost more


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes tickets. `contig_names`: what knows references by other names than their files do, if
    any does."""

    library: Library
    tickets: TicketMaker
    lifetime: int
    contig_names: ContigNames | None = None

    async def ticket(
        self,
        query: Query,
        item: DataObject,
        origin: str,
        rights: Rights | None = None,
        *,
        direct: bool = True,
        aliases: bool = True,
    ) -> bytes:
        """The ticket for a query. `rights`: who was granted it, where data are controlled.

        `direct`: whether the store itself may deliver; `aliases`: whether other names of references
        may be looked up. Raises what resolving, slicing and sealing raise.
        """
        await self.library.header(item)
        if query.data_class is DataClass.HEADER:
            return self.tickets.header(item, origin, rights)
        direct = direct and item.location.direct
        slicer = await self.library.slicer(item, indexed=query.regions is not None)
        try:
            return await self._records(query, item, slicer, origin, rights, direct=direct)
        except UnknownReference:
            if self.contig_names is None or query.regions is None or not aliases:
                raise
        # Only now: a name that the object itself knows is looked up nowhere else.
        regions = await self.contig_names.resolve(item, slicer, query.regions)
        query = replace(query, regions=regions)
        return await self._records(query, item, slicer, origin, rights, direct=direct)

    async def _records(
        self,
        query: Query,
        item: DataObject,
        slicer: Slicer,
        origin: str,
        rights: Rights | None,
        *,
        direct: bool,
    ) -> bytes:
        if direct and isinstance(item.backend, Presigner):
            selections = await asyncio.to_thread(
                self.tickets.select, item, slicer, query.regions, rights
            )
            bodies = await spread(
                self.library,
                item.backend,
                item,
                selections,
                self.lifetime,
                strict=rights is not None,
            )
            return self.tickets.records(item, origin, bodies, rights)
        regions = query.regions or ()
        if len(regions) <= _FEW_REGIONS and all(map(slicer.is_ready, regions)):
            return self._seal(query, item, slicer, origin, rights)
        return await asyncio.to_thread(self._seal, query, item, slicer, origin, rights)

    def _seal(
        self, query: Query, item: DataObject, slicer: Slicer, origin: str, rights: Rights | None
    ) -> bytes:
        selections = self.tickets.select(item, slicer, query.regions, rights)
        return self.tickets.records(item, origin, selections, rights)
