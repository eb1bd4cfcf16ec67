"""Data blocks: from an opened capability to its bytes, or a `Range` of them."""

from dataclasses import dataclass
from functools import partial

from aiohttp import web

from auth.capability import Capability
from formats.regions import Interval
from server.catalog import Catalog, DataObject
from server.errors import naming
from server.htsget.delivery import send
from server.htsget.relay import relay
from server.htsget.ticket import veiled
from server.http_range import block_range, if_none_match_holds
from server.limits import SENT
from server.model import DataClass, Endpoint, Format
from server.slicing.header_view import HeaderView
from server.slicing.library import Library, Plan
from server.slicing.selection import Selection
from storage_backends.base import DescriptorLender, ObjectChanged

_MOST_MARKED = 100  # intervals that the header of a clipped answer lists


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request for a block gets: the status, the header fields, and the bytes `[start, end)`
    of the block; None: no body."""

    status: int
    headers: dict[str, str]
    byte_range: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Blocks:
    """Plans blocks and sends them."""

    catalog: Catalog
    library: Library

    async def open(self, capability: Capability) -> tuple[DataObject, Plan]:
        """The object and the plan of a block. Raises `ObjectChanged`, and what planning raises."""
        with naming(capability.object_id):
            item = await self.catalog.resolve(
                Endpoint(capability.endpoint), capability.object_id, Format(capability.format)
            )
            try:
                return item, await self._plan(item, capability)
            except ObjectChanged:
                # Another replica may have seen that before this one, or its index alone changed.
                item = await self.catalog.renew(item)
                return item, await self._plan(item, capability)

    def judge(self, request: web.Request, plan: Plan, *, confined: bool) -> Answer:
        """What a request gets of a plan; `confined`: nobody may keep it."""
        etag = f'"{plan.etag}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Cache-Control": "private, no-store" if confined else "private, no-transform",
        }
        if confined:
            headers["Content-Disposition"] = "attachment; filename=slice"
        if if_none_match_holds(request.headers.getall("If-None-Match", ()), etag):
            return Answer(304, headers, None)
        asked = block_range(
            request.headers.getall("Range", ()),
            plan.size,
            etag=etag,
            if_range=request.headers.get("If-Range"),
        )
        start, end = asked or (0, plan.size)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{plan.size}"
        status = 206 if asked else 200
        if request.method == "HEAD":
            headers["Content-Length"] = str(end - start)
            return Answer(status, headers, None)
        return Answer(status, headers, (start, end))

    async def respond(
        self, request: web.Request, item: DataObject, plan: Plan, answer: Answer
    ) -> web.StreamResponse:
        """Send an answer."""
        status, headers = answer.status, answer.headers
        if answer.byte_range is None:
            return web.Response(status=status, headers=headers)
        request[SENT] = 0
        backend, key, stat = item.backend, item.key, item.stat
        with naming(item.object_id):
            if item.location.is_local and isinstance(backend, DescriptorLender):
                with backend.lend(key, fingerprint=stat.fingerprint) as descriptor:
                    return await send(
                        request,
                        plan,
                        answer.byte_range,
                        descriptor,
                        modified_ns=stat.modified_ns,
                        status=status,
                        headers=headers,
                    )
            fetch = partial(backend.stream, key, fingerprint=stat.fingerprint)
            return await relay(
                request, plan, answer.byte_range, fetch, status=status, headers=headers
            )

    async def _plan(self, item: DataObject, capability: Capability) -> Plan:
        fingerprint = item.stat.fingerprint
        if capability.terms is not None:
            fingerprint = veiled(fingerprint, capability.ticket_id)
        if fingerprint != capability.fingerprint:
            raise ObjectChanged("the object changed since the ticket was issued")
        last = capability.part == capability.parts
        if capability.data_class == DataClass.HEADER:
            view = await self._view(item, capability)
            return await self.library.plan_header(item, closed=last, view=view)
        selection = selection_of(capability)
        strict = capability.terms is not None
        plan = await self.library.plan_body(item, selection, closing=last, strict=strict)
        if capability.window is None:
            return plan
        if plan.etag != capability.block_etag:
            raise ObjectChanged("the block is no longer the one that the ticket was cut from")
        return plan.window(*capability.window)

    async def _view(self, item: DataObject, capability: Capability) -> HeaderView | None:
        """How the header is shown: what the terms hide, and that less is sent than was asked."""
        terms = capability.terms
        if terms is None:
            return None
        if not terms.clipped:
            return HeaderView(minimal=True) if terms.header == "minimal" else None
        marks = [f"restricted by policy {terms.policy} ({', '.join(terms.grants)})"]
        if capability.intervals is not None:
            slicer = await self.library.slicer(item, indexed=True)
            shown = capability.intervals[:_MOST_MARKED]
            marks += [f"permitted {_text(slicer.name(each.reference), each)}" for each in shown]
            if len(capability.intervals) > _MOST_MARKED:
                marks.append(f"permitted: {len(capability.intervals)} intervals in all")
        return HeaderView(minimal=terms.header == "minimal", marks=tuple(marks))


def selection_of(capability: Capability) -> Selection:
    """What a body block's capability selects."""
    return Selection(
        capability.intervals, capability.unplaced, capability.sent_until, capability.cut
    )


def _text(name: str, interval: Interval) -> str:
    """As samtools writes a region: 1-based, the end included."""
    return f"{name}:{interval.start + 1}-{interval.end}"
