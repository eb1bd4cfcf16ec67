"""Tickets and data blocks of controlled data: nothing leaves that policy does not permit, and
nothing before it is written down.

Who asks comes first, then what for, then whether they may; only then is anything looked up. A data
block is judged anew where policy or consent changed since its ticket.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from aiohttp import web

from auth.capability import Capability, InvalidCapability
from auth.decision import AccessRequest, Decision
from auth.errors import ObjectUnusable
from auth.terms import Terms
from formats.errors import CorruptData
from formats.regions import UNPLACED, Interval, Region, merge
from server.access.block_gate import BlockGate
from server.access.events import Visit
from server.access.gate import Gate
from server.access.object_references import ObjectReferences, names_of
from server.access.ticket_store import Holder
from server.catalog import Catalog, DataObject
from server.errors import NotFound, naming
from server.htsget.answers import Answers
from server.htsget.blocks import Blocks, selection_of
from server.htsget.query import Query
from server.htsget.ticket import Rights
from server.model import DataClass, Endpoint
from server.slicing.library import Plan
from server.slicing.slicers import Slicer
from storage_backends.base import ObjectChanged, StorageError

Parse = Callable[[], Awaitable[Query]]


@dataclass(frozen=True, slots=True)
class ControlledData:
    """The controlled half of the htsget endpoints."""

    gate: Gate
    blocks: BlockGate
    catalog: Catalog
    references: ObjectReferences
    lifetime: int

    def governs(self, endpoint: str, object_id: str) -> bool:
        """Whether policy decides about an id: where its location says so, or a dataset names it."""
        return self.gate.governs(endpoint, object_id)

    async def ticket(
        self,
        request: web.Request,
        endpoint: Endpoint,
        object_id: str,
        parse: Parse,
        answers: Answers,
        origin: str,
    ) -> bytes:
        """The ticket for a request, or the refusal of it, which raises."""
        visit = self.gate.visit(request)
        principal = await self.gate.authenticate(visit)
        query = await parse()
        asked = AccessRequest(
            endpoint=endpoint,
            object_id=object_id,
            format=query.format or endpoint.formats[0],
            data_class=query.data_class or DataClass.BODY,
            regions=query.regions,
            fields=query.fields,
            tags=query.tags,
            datasets=self.gate.territory.of(object_id).datasets,
            peer=visit.peer,
        )
        decision = await self.gate.decide(visit, principal, asked)
        with naming(object_id):
            try:
                item = await self.catalog.resolve(endpoint, object_id, query.format)
            except NotFound:
                raise await self.gate.absent(visit, principal, asked) from None
            granted = _Granted(visit, Holder(principal, asked), decision)
            try:
                return await self._issue(granted, query, item, answers, origin)
            except ObjectChanged:
                item = await self.catalog.renew(item)
                return await self._issue(granted, query, item, answers, origin)

    async def _issue(
        self, granted: "_Granted", query: Query, item: DataObject, answers: Answers, origin: str
    ) -> bytes:
        decision, holder = granted.decision, granted.holder
        header = await answers.library.header(item)
        if decision.seqcol:
            await self.references.check(item, decision.seqcol)
        elif decision.permitted is not None and not decision.permitted.fits(names_of(header)):
            raise ObjectUnusable("it does not have the references that a denial names")
        if decision.clipped and decision.permitted is not None:
            # A panel may have 200,000 intervals, for which nobody else should wait.
            regions = await asyncio.to_thread(
                decision.permitted.clip, query.regions, names_of(header)
            )
            query = replace(query, regions=regions, fields=None, tags=None)
            holder = replace(holder, request=replace(holder.request, regions=regions))
        rights = self._rights(granted)
        if decision.clipped and query.data_class is not DataClass.HEADER:
            slicer = await answers.library.slicer(item, indexed=True)
            marked = await asyncio.to_thread(_marked, slicer, query.regions or ())
            rights = replace(rights, marked=marked)
        ticket = await answers.ticket(
            query,
            item,
            origin,
            rights,
            direct=decision.is_whole and decision.delivery == "direct",
            # A name that policy does not know could stand for a reference that it withholds.
            aliases=decision.is_whole,
        )
        bases = await self._bases(query, item, decision)
        expires = self.gate.now() + self.lifetime
        await self.gate.issue(granted.visit, rights, holder, decision, item, bases, expires)
        return ticket

    def _rights(self, granted: "_Granted") -> Rights:
        decision, visit = granted.decision, granted.visit
        policy, consent = self.gate.versions_of(decision)
        terms = Terms(
            grants=decision.grant_ids,
            policy=policy,
            consent=consent,
            projection=decision.projection.digest[:23],
            header=decision.projection.header,
            clipped=decision.clipped,
            address=self.gate.address(visit),
            streams=decision.limits.concurrent_streams,
            bytes_per_day=decision.limits.bytes_per_day,
        )
        pseudonym = self.gate.pseudonym(granted.holder.principal)
        return Rights(secrets.token_hex(16), pseudonym, decision.not_after, terms)

    async def _bases(
        self, query: Query, item: DataObject, decision: Decision
    ) -> tuple[Region, ...] | None:
        """What a ticket gives, in regions with an end, where a limit counts bases or regions; None
        where no limit does."""
        limits = decision.limits
        counted = limits.bases_per_request or limits.bases_per_day
        if not (counted or limits.distinct_bases_per_object or limits.regions_per_request):
            return None
        if query.data_class is DataClass.HEADER:
            return ()
        return await self.references.bounded(item, query.regions)

    def forged(self, request: web.Request, error: InvalidCapability) -> None:
        """Write down that somebody came with a capability that does not open."""
        self.blocks.forged(self.gate.visit(request), error)

    async def block(
        self, request: web.Request, capability: Capability, blocks: Blocks
    ) -> web.StreamResponse:
        """One data block, if its right still stands."""
        visit = self.gate.visit(request)
        with self.blocks.limited(visit, capability) as stream:
            await self.blocks.reassess(visit, capability)
            item, plan = await blocks.open(capability)
            answer = blocks.judge(request, plan, confined=True)
            if answer.byte_range is None:
                return await blocks.respond(request, item, plan, answer)
            is_whole = answer.byte_range == (0, plan.size)
            async with self.blocks.sending(visit, stream, plan, answer.byte_range) as sent:
                if is_whole:
                    sent.served = await self._served(blocks, capability, item)
                response = await blocks.respond(request, item, plan, answer)
                if not response.prepared:  # a short one, which leaves whole: while it is watched
                    await response.prepare(request)
                    await response.write_eof()
                sent.is_complete = True  # also when the client hangs up while we count
                if is_whole:
                    sent.records = await self._records(blocks, capability, item, plan)
                return response

    async def _served(
        self, blocks: Blocks, capability: Capability, item: DataObject
    ) -> tuple[Region, ...] | None:
        """The regions that a whole block is of; None: all."""
        if capability.data_class == DataClass.HEADER:
            return ()
        selection = selection_of(capability)
        if selection.intervals is None:
            return None
        slicer = await blocks.library.slicer(item, indexed=True)
        placed = [Region(slicer.name(each[0]), each[1], each[2]) for each in selection.intervals]
        return (*placed, *([Region(UNPLACED)] if selection.unplaced else []))

    async def _records(
        self, blocks: Blocks, capability: Capability, item: DataObject, plan: Plan
    ) -> int | None:
        """How many records a whole block has, if they are few."""
        if capability.data_class == DataClass.HEADER:
            return 0
        if capability.window is not None:
            return None
        try:
            return await blocks.library.count_records(item, selection_of(capability), plan)
        except (CorruptData, StorageError):
            return None


def _marked(slicer: Slicer, regions: Iterable[Region]) -> tuple[Interval, ...]:
    """The intervals that the header of a clipped answer names."""
    placed = (each for each in regions if each.reference_name != UNPLACED)
    return merge(each for each in map(slicer.locate, placed) if each is not None)


@dataclass(frozen=True, slots=True)
class _Granted:
    """A request that was allowed."""

    visit: Visit
    holder: Holder
    decision: Decision
