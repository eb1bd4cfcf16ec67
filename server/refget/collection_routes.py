"""The endpoints of refget Sequence Collections: collections, comparison, lists and service-info."""

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import orjson
from aiohttp import hdrs, web
from sqlalchemy import Connection

from server.database import Database
from server.errors import InvalidInput, NotFound
from server.http_range import if_none_match_holds
from server.limits import OBJECT, read_body
from server.refget.catalogue import SequenceCatalogue, SequencePending
from server.refget.collection_downloads import DOWNLOADS, CollectionDownloads, Download
from server.refget.collection_store import CollectionStore, Level2, Member
from server.refget.comparison import compare
from server.refget.files import SequenceFiles
from server.refget.restricted import CONFINED, AskedCollection, RestrictedSequences, give
from server.refget.seqcol import ATTRIBUTES, read_level2
from server.refget.service_info import collections_info
from server.service_info import Service

T = TypeVar("T")

MAX_BODY = 32 << 20
"""Bytes of a collection that a client brings."""

_BODY_SECONDS = 60
_BODIES = 4  # that are received at a time; they are read one by one
_THREADS = 2  # that build, compare and compress

_LIGHT = 16 << 10  # bytes of work that the event loop does itself

_PAGE_SIZE = 100
_LARGEST_PAGE = 1000
_UNSIGNED = re.compile(r"[0-9]{1,9}")

_LONG = "public, max-age=86400"  # what a digest names stays, how it is told may change
_SHORT = "public, max-age=300"
_COMPRESSED = 1024  # bytes from which compression pays


@dataclass(frozen=True, slots=True)
class CollectionRoutes:
    """Handlers over the parts that do the work.

    `strict`: compare as the specification has it where the compliance suite differs. `is_pending`:
    whether there are files of which nobody knows yet what they hold. `restricted`: what the store
    does not show, for who may have it; a copy with another store, which is `confined`, answers
    them.
    """

    database: Database
    store: CollectionStore
    catalogue: SequenceCatalogue
    files: SequenceFiles
    service: Service
    strict: bool
    is_pending: Callable[[], bool]
    restricted: RestrictedSequences | None = None
    confined: bool = False
    _threads: asyncio.Semaphore = field(
        repr=False, default_factory=partial(asyncio.Semaphore, _THREADS)
    )
    _bodies: asyncio.Semaphore = field(
        repr=False, default_factory=partial(asyncio.Semaphore, _BODIES)
    )
    _reading: asyncio.Semaphore = field(repr=False, default_factory=partial(asyncio.Semaphore, 1))

    def add_to(self, app: web.Application) -> None:
        """Register `/service-info`, `/collection/…`, `/comparison/…`, `/list/…`, `/attribute/…`."""
        add, routes = app.router.add_get, CollectionRoutes
        add("/service-info", self.service_info)
        add("/collection/{digest}", self._for_all(routes.collection))
        add("/comparison/{a}/{b}", self._for_all(routes.comparison))
        post = self._for_all(routes.comparison_with_body)
        app.router.add_post("/comparison/{a}", post)
        add("/list/collection", self.collections)
        add("/list/attributes/{attribute}", self.attributes)
        add("/attribute/collection/{attribute}/{digest}", self._for_all(routes.attribute))
        for name, handler in DOWNLOADS.items():
            download = self._for_all(partial(_download, handler), whole=name == "fasta")
            add(f"/collection/{{digest}}/{name}", download)

    def _for_all(
        self,
        handler: Callable[["CollectionRoutes", web.Request], Awaitable[web.StreamResponse]],
        *,
        whole: bool = False,
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler of what everybody sees; and if that is nothing, of what the caller may see.
        `whole`: it tells residues. Whoever may not see more gets the answer that all get."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(self, request)
            except (NotFound, SequencePending):
                if self.restricted is None:
                    raise
                caller = await self.restricted.guard.meet(request)
                asked = _asked(request)
                given = await self.restricted.collections(caller, asked, whole=whole)
                if given is None:
                    await caller.refused()
                    raise
            view, permits = given
            own = replace(self, store=view.collections, catalogue=view.catalogue, confined=True)
            return await give(request, permits, partial(handler, own, request))

        return answer

    async def service_info(self, request: web.Request) -> web.StreamResponse:
        """What this server can do, with the schema of its collections."""
        return await self._answer(
            request, partial(orjson.dumps, collections_info(self.service)), _SHORT
        )

    async def collection(self, request: web.Request) -> web.StreamResponse:
        """A collection, at level 2 unless level 1 is asked for."""
        digest = request.match_info["digest"]
        levels = request.query.getall("level", ["2"])
        if levels not in (["1"], ["2"]):
            raise InvalidInput("level is 1 or 2")
        tag = f"{digest}.{levels[0]}"
        make: Callable[[], bytes]
        weight = 0
        if levels == ["1"]:
            level1 = await self._found(lambda each: self.store.level1(each, digest))
            make = partial(orjson.dumps, level1, option=orjson.OPT_SORT_KEYS)
        else:
            level2 = await self._level2(digest)
            make, weight = level2.json, level2.weight
        if not self.confined:
            request[OBJECT] = digest
        return await self._answer(request, make, _LONG, tag=tag, weight=weight)

    async def comparison(self, request: web.Request) -> web.StreamResponse:
        """How two collections differ."""
        digests = request.match_info["a"], request.match_info["b"]
        a, b = [await self._level2(digest) for digest in digests]
        make = partial(self._compare, *digests, a, b)
        return await self._answer(request, make, _LONG, weight=a.weight + b.weight)

    async def comparison_with_body(self, request: web.Request) -> web.StreamResponse:
        """How a collection differs from one that the client brings, at level 2."""
        digest = request.match_info["a"]
        a = await self._level2(digest)
        async with self._bodies:
            body = await read_body(request, seconds=_BODY_SECONDS, max_bytes=MAX_BODY)
            make = partial(self._compare_posted, digest, a, body)
            weight = a.weight + len(body)
            return await self._answer(
                request, make, "no-store", weight=weight, threads=self._reading
            )

    async def collections(self, request: web.Request) -> web.StreamResponse:
        """A page of the digests of all collections, or of those that have some attributes."""
        page, size = _paging(request)
        parameters = request.query.items()
        filters = [each for each in parameters if each[0] not in ("page", "page_size")]
        if not all(name in ATTRIBUTES for name, _ in filters):
            raise InvalidInput(f"collections are filtered by {', '.join(ATTRIBUTES)}")
        if len(dict(filters)) < len(filters):
            raise InvalidInput("collections are filtered by one value of an attribute")
        found = await self.database.execute(lambda each: self.store.page(each, filters, page, size))
        return await self._page(request, page, size, found)

    async def attributes(self, request: web.Request) -> web.StreamResponse:
        """A page of the digests of an attribute in all collections."""
        name = request.match_info["attribute"]
        if name not in ATTRIBUTES:
            raise NotFound("no such attribute")
        page, size = _paging(request)
        found = await self.database.execute(
            lambda each: self.store.page_of_attribute(each, name, page, size)
        )
        return await self._page(request, page, size, found)

    async def attribute(self, request: web.Request) -> web.StreamResponse:
        """An attribute's array, by its digest."""
        name, digest = request.match_info["attribute"], request.match_info["digest"]
        value = await self._found(lambda each: self.store.attribute(each, name, digest))
        make = partial(zlib.decompress, value)
        return await self._answer(request, make, _LONG, tag=digest, weight=len(value))

    async def members(self, digest: str) -> list[Member]:
        """The sequences of a collection."""
        return await self._found(lambda each: self.store.members(each, digest))

    async def _level2(self, digest: str) -> Level2:
        return await self._found(lambda each: self.store.level2(each, digest))

    async def _found(self, look_up: Callable[[Connection], T | None]) -> T:
        found = await self.database.execute(look_up)
        if found is not None:
            return found
        if self.is_pending():
            raise SequencePending("the collection may be of a file that was not read yet")
        raise NotFound("no such collection or attribute")

    def _compare(self, a_digest: str, b_digest: str, a: Level2, b: Level2) -> bytes:
        arrays, others = a.arrays(), b.arrays(like=a)
        b_arrays = {name: others[name] if name in others else arrays[name] for name in b.deflated}
        return orjson.dumps(
            compare(arrays, b_arrays, a_digest=a_digest, b_digest=b_digest, strict=self.strict)
        )

    def _compare_posted(self, digest: str, a: Level2, body: bytes) -> bytes:
        b = read_level2(body)
        return orjson.dumps(
            compare(a.arrays(), b.level2, a_digest=digest, b_digest=b.digest, strict=self.strict)
        )

    async def _page(
        self, request: web.Request, page: int, size: int, found: tuple[list[str], int]
    ) -> web.StreamResponse:
        results, total = found
        pagination = {"page": page, "page_size": size, "total": total}
        document = {"results": results, "pagination": pagination}
        return await self._answer(request, partial(orjson.dumps, document), "no-cache")

    async def _answer(
        self,
        request: web.Request,
        make: Callable[[], bytes],
        cache_control: str,
        *,
        tag: str | None = None,
        weight: int = 0,
        threads: asyncio.Semaphore | None = None,
    ) -> web.StreamResponse:
        """JSON, compressed for those who take that. `tag` names what never changes; `weight`: bytes
        that go into it, of which many take a thread, one of `threads`."""
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            hdrs.CACHE_CONTROL: CONFINED if self.confined else cache_control,
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
        }
        compresses = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        if tag is not None:
            headers[hdrs.ETAG] = f'"{tag}.gzip"' if compresses else f'"{tag}"'
            asked = request.headers.getall(hdrs.IF_NONE_MATCH, ())
            if if_none_match_holds(asked, headers[hdrs.ETAG]):
                return web.Response(status=304, headers=headers)
        build = partial(_build, make, compresses=compresses)
        if weight < _LIGHT:
            body, is_compressed = build()
        else:
            body, is_compressed = await _in_thread(threads or self._threads, build)
        if is_compressed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, headers=headers)


async def _download(
    handler: Download, routes: CollectionRoutes, request: web.Request
) -> web.StreamResponse:
    parts = CollectionDownloads(routes.catalogue, routes.files, routes.members, routes.confined)
    return await handler(parts, request)


def _asked(request: web.Request) -> list[AskedCollection]:
    """The collections that the path of a request names."""
    named = request.match_info
    if "digest" in named:
        return [AskedCollection(named["digest"], named.get("attribute", ""))]
    return [AskedCollection(named[name]) for name in ("a", "b") if name in named]


async def _in_thread(threads: asyncio.Semaphore, work: Callable[[], T]) -> T:
    await threads.acquire()
    working = asyncio.get_running_loop().run_in_executor(None, work)
    # When the client goes, the thread still works: its place is free only when that is done.
    working.add_done_callback(lambda _: threads.release())
    return await asyncio.shield(working)


def _build(make: Callable[[], bytes], *, compresses: bool) -> tuple[bytes, bool]:
    body = make()
    if not compresses or len(body) < _COMPRESSED:
        return body, False
    return zlib.compress(body, 1, wbits=31), True


def _takes_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", parameter.strip())
    return False


def _paging(request: web.Request) -> tuple[int, int]:
    """The page that is asked for, from 0, and how many results it has."""
    numbers = []
    for name, default in (("page", 0), ("page_size", _PAGE_SIZE)):
        values = request.query.getall(name, [str(default)])
        if len(values) > 1 or not _UNSIGNED.fullmatch(values[0]):
            raise InvalidInput(f"{name} is one whole number")
        numbers.append(int(values[0]))
    page, size = numbers
    if not size:
        raise InvalidInput("page_size is at least 1")
    return page, min(size, _LARGEST_PAGE)
