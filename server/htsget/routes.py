"""The htsget endpoints: tickets for reads and variants, and the data blocks that tickets name."""

import asyncio
import re
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2s

from aiohttp import web

from auth.capability import Capability, CapabilityCodec
from formats.errors import UnknownReference
from server.catalog import Catalog, DataObject
from server.errors import naming
from server.htsget.delivery import send
from server.htsget.direct import spread
from server.htsget.query import Query, parse_get, parse_post
from server.htsget.relay import relay
from server.htsget.ticket import TicketMaker
from server.http_range import block_range, if_none_match_holds
from server.limits import OBJECT, SENT, read_body
from server.model import DataClass, Endpoint, Format
from server.refget.contig_names import ContigNames
from server.service_info import negotiate
from server.slicing.library import Library, Plan
from server.slicing.selection import Selection
from server.slicing.slicers import Slicer
from storage_backends.base import DescriptorLender, ObjectChanged, Presigner

_BODY_SECONDS = 30

# Up to these, the work is done on the event loop: a thread would cost more.
_LONG_BODY = 1 << 15
_FEW_REGIONS = 50

_AUTHORITY = re.compile(
    r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class HtsgetRoutes:
    """Handlers over the parts that do the work. `public_url`: what ticket URLs begin with, if
    fixed. `contig_names`: what knows references by other names than their files do, if any does."""

    catalog: Catalog
    library: Library
    tickets: TicketMaker
    codec: CapabilityCodec
    public_url: str | None
    max_regions: int
    log_key: bytes
    contig_names: ContigNames | None = None

    def add_to(self, app: web.Application) -> None:
        """Register `/reads/…`, `/variants/…` and `/blocks/…`."""
        app.router.add_get("/reads/{id:.+}", self.reads)
        app.router.add_post("/reads/{id:.+}", self.reads)
        app.router.add_get("/variants/{id:.+}", self.variants)
        app.router.add_post("/variants/{id:.+}", self.variants)
        app.router.add_get("/blocks/{capability}", self.block)

    async def reads(self, request: web.Request) -> web.StreamResponse:
        """A ticket for alignments."""
        return await self._ticket(request, Endpoint.READS)

    async def variants(self, request: web.Request) -> web.StreamResponse:
        """A ticket for variants."""
        return await self._ticket(request, Endpoint.VARIANTS)

    async def _ticket(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        parameters = request.query.items()
        if request.method == "POST":
            body = await read_body(request, seconds=_BODY_SECONDS)
            parse = partial(parse_post, body, parameters, endpoint, max_regions=self.max_regions)
            query = await asyncio.to_thread(parse) if len(body) > _LONG_BODY else parse()
        else:
            query = parse_get(parameters, endpoint)
        object_id = request.match_info["id"]
        request[OBJECT] = self._pseudonym(object_id)
        with naming(object_id):
            item = await self.catalog.resolve(endpoint, object_id, query.format)
            try:
                ticket = await self._answer(query, item, self.origin(request))
            except ObjectChanged:
                # What was known of the object, or of its index, was too old.
                item = await self.catalog.renew(item)
                ticket = await self._answer(query, item, self.origin(request))
        content_type = negotiate(request.headers.get("Accept"))
        # A ticket's URLs expire, so it is nothing to keep.
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=ticket, headers=headers)

    async def _answer(self, query: Query, item: DataObject, origin: str) -> bytes:
        await self.library.header(item)
        if query.data_class is DataClass.HEADER:
            return self.tickets.header(item, origin)
        slicer = await self.library.slicer(item, indexed=query.regions is not None)
        try:
            return await self._records(query, item, slicer, origin)
        except UnknownReference:
            if self.contig_names is None or query.regions is None:
                raise
        # Only now: a name that the object itself knows is looked up nowhere else.
        regions = await self.contig_names.resolve(item, slicer, query.regions)
        return await self._records(replace(query, regions=regions), item, slicer, origin)

    async def _records(self, query: Query, item: DataObject, slicer: Slicer, origin: str) -> bytes:
        if item.location.direct and isinstance(item.backend, Presigner):
            selections = await asyncio.to_thread(self.tickets.select, item, slicer, query.regions)
            seconds = self.codec.lifetime
            bodies = await spread(self.library, item.backend, item, selections, seconds)
            return self.tickets.records(item, origin, bodies)
        regions = query.regions or ()
        if len(regions) <= _FEW_REGIONS and all(map(slicer.is_ready, regions)):
            return self._seal(query, item, slicer, origin)
        return await asyncio.to_thread(self._seal, query, item, slicer, origin)

    def _seal(self, query: Query, item: DataObject, slicer: Slicer, origin: str) -> bytes:
        selections = self.tickets.select(item, slicer, query.regions)
        return self.tickets.records(item, origin, selections)

    def origin(self, request: web.Request) -> str:
        """What URLs of this server begin with: as configured, else as the client addressed us."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = request.headers.get("Host", "")
        if not _AUTHORITY.fullmatch(host):
            address = request.transport and request.transport.get_extra_info("sockname")
            host = f"{address[0]}:{address[1]}" if address else "localhost"
        return f"{request.scheme}://{host}"

    async def block(self, request: web.Request) -> web.StreamResponse:
        """One data block: exactly what its capability names, or a `Range` of it."""
        capability = self.codec.open(request.match_info["capability"])
        request[OBJECT] = self._pseudonym(capability.object_id)
        with naming(capability.object_id):
            item = await self.catalog.resolve(
                Endpoint(capability.endpoint), capability.object_id, Format(capability.format)
            )
            try:
                plan = await self._plan(item, capability)
            except ObjectChanged:
                # Another replica may have seen that before this one, or its index alone changed.
                item = await self.catalog.renew(item)
                plan = await self._plan(item, capability)
            headers = {
                "ETag": f'"{plan.etag}"',
                "Accept-Ranges": "bytes",
                "Content-Type": "application/octet-stream",
                "Cache-Control": "private, no-transform",
            }
            if if_none_match_holds(request.headers.getall("If-None-Match", ()), headers["ETag"]):
                return web.Response(status=304, headers=headers)
            asked = block_range(
                request.headers.getall("Range", ()),
                plan.size,
                etag=headers["ETag"],
                if_range=request.headers.get("If-Range"),
            )
            start, end = asked or (0, plan.size)
            status = 206 if asked else 200
            if asked:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{plan.size}"
            if request.method == "HEAD":
                headers["Content-Length"] = str(end - start)
                return web.Response(status=status, headers=headers)
            request[SENT] = end - start
            return await self._send(request, item, plan, (start, end), status, headers)

    async def _send(
        self,
        request: web.Request,
        item: DataObject,
        plan: Plan,
        byte_range: tuple[int, int],
        status: int,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        backend, key, stat = item.backend, item.key, item.stat
        if isinstance(backend, DescriptorLender):
            with backend.lend(key, fingerprint=stat.fingerprint) as descriptor:
                return await send(
                    request,
                    plan,
                    byte_range,
                    descriptor,
                    modified_ns=stat.modified_ns,
                    status=status,
                    headers=headers,
                )
        fetch = partial(backend.stream, key, fingerprint=stat.fingerprint)
        return await relay(request, plan, byte_range, fetch, status=status, headers=headers)

    def _pseudonym(self, object_id: str) -> str:
        """What stands for an object in the access log: ids may name people."""
        text = object_id.encode("utf-8", "surrogateescape")
        return blake2s(text, key=self.log_key, digest_size=8).hexdigest()

    async def _plan(self, item: DataObject, capability: Capability) -> Plan:
        if item.stat.fingerprint != capability.fingerprint:
            raise ObjectChanged("the object changed since the ticket was issued")
        last = capability.part == capability.parts
        if capability.data_class == DataClass.HEADER:
            return await self.library.plan_header(item, closed=last)
        selection = Selection(
            capability.intervals, capability.unplaced, capability.sent_until, capability.cut
        )
        plan = await self.library.plan_body(item, selection, closing=last)
        if capability.window is None:
            return plan
        if plan.etag != capability.block_etag:
            raise ObjectChanged("the block is no longer the one that the ticket was cut from")
        return plan.window(*capability.window)
