"""The htsget endpoints: tickets for reads and variants, and the data blocks that tickets name."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2s
from typing import Protocol

from aiohttp import web

from auth.capability import Capability, CapabilityCodec, InvalidCapability
from server.catalog import Catalog
from server.errors import naming
from server.htsget.answers import Answers
from server.htsget.blocks import Blocks
from server.htsget.query import Query, parse_get, parse_post
from server.limits import OBJECT, read_body
from server.model import Endpoint
from server.service_info import negotiate
from storage_backends.base import ObjectChanged

_BODY_SECONDS = 30

_LONG_BODY = 1 << 15  # up to it, parsing is done on the event loop: a thread would cost more

_AUTHORITY = re.compile(
    r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)


class Control(Protocol):
    """What answers for the objects that are not open to all."""

    def governs(self, endpoint: str, object_id: str) -> bool:
        """Whether an id is its to answer for."""
        ...

    async def ticket(
        self,
        request: web.Request,
        endpoint: Endpoint,
        object_id: str,
        parse: Callable[[], Awaitable[Query]],
        answers: Answers,
        origin: str,
    ) -> bytes:
        """The ticket for a request; a refusal raises."""
        ...

    def forged(self, request: web.Request, error: InvalidCapability) -> None:
        """Take note of a capability that does not open."""
        ...

    async def block(
        self, request: web.Request, capability: Capability, blocks: Blocks
    ) -> web.StreamResponse:
        """One data block; a refusal raises."""
        ...


@dataclass(frozen=True, slots=True)
class HtsgetRoutes:
    """Handlers over the parts that do the work. `public_url`: what ticket URLs begin with, if
    fixed. `control`: what decides about the data that are not open to all, if there are any."""

    catalog: Catalog
    answers: Answers
    blocks: Blocks
    codec: CapabilityCodec
    public_url: str | None
    max_regions: int
    log_key: bytes
    control: Control | None = None

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
        object_id = request.match_info["id"]
        request[OBJECT] = self._pseudonym(object_id)
        if self.control is not None and self.control.governs(endpoint, object_id):
            parse = partial(self._parse, request, endpoint)
            ticket = await self.control.ticket(
                request, endpoint, object_id, parse, self.answers, self.origin(request)
            )
        else:
            ticket = await self._open_ticket(request, endpoint, object_id)
        content_type = negotiate(request.headers.get("Accept"))
        # A ticket's URLs expire, so it is nothing to keep.
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=ticket, headers=headers)

    async def _open_ticket(self, request: web.Request, endpoint: Endpoint, object_id: str) -> bytes:
        query = await self._parse(request, endpoint)
        with naming(object_id):
            item = await self.catalog.resolve(endpoint, object_id, query.format)
            try:
                return await self.answers.ticket(query, item, self.origin(request))
            except ObjectChanged:
                # What was known of the object, or of its index, was too old.
                item = await self.catalog.renew(item)
                return await self.answers.ticket(query, item, self.origin(request))

    async def _parse(self, request: web.Request, endpoint: Endpoint) -> Query:
        parameters = request.query.items()
        if request.method != "POST":
            return parse_get(parameters, endpoint)
        body = await read_body(request, seconds=_BODY_SECONDS)
        parse = partial(parse_post, body, parameters, endpoint, max_regions=self.max_regions)
        return await asyncio.to_thread(parse) if len(body) > _LONG_BODY else parse()

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
        control = self.control
        try:
            capability = self.codec.open(request.match_info["capability"])
        except InvalidCapability as error:
            if control is not None:
                control.forged(request, error)
            raise
        request[OBJECT] = self._pseudonym(capability.object_id)
        if control is not None and control.governs(capability.endpoint, capability.object_id):
            return await control.block(request, capability, self.blocks)
        if capability.terms is not None:
            raise InvalidCapability
        item, plan = await self.blocks.open(capability)
        answer = self.blocks.judge(request, plan, confined=False)
        return await self.blocks.respond(request, item, plan, answer)

    def _pseudonym(self, object_id: str) -> str:
        """What stands for an object in the access log: ids may name people."""
        text = object_id.encode("utf-8", "surrogateescape")
        return blake2s(text, key=self.log_key, digest_size=8).hexdigest()
