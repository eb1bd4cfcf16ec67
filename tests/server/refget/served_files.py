"""A server of FASTA files: the endpoints of refget over real parts, without the rest of the
application."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from server.cors import Cors
from server.database import Database
from server.errors import error_middleware
from server.limits import Limits, make_runner
from server.refget.aliases import NamedSequence
from server.refget.catalogue import SequenceCatalogue
from server.refget.collection_routes import CollectionRoutes
from server.refget.collection_store import CollectionStore
from server.refget.files import SequenceFiles
from server.refget.flat_store import FlatStore
from server.refget.identifiers import parse_id
from server.refget.ingest import ingest, open_pinned, settled_stat
from server.refget.registry import Source
from server.refget.sequence_routes import SequenceRoutes
from server.service_info import Service
from storage_backends.base import StorageBackend
from storage_backends.local import LocalBackend

SERVICE = Service("org.example", "Example", "0.1.0", "Example", "https://example.org")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, header fields, body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"].startswith("application/")
        return json.loads(self.body)


@dataclass(slots=True)
class Served:
    """A running server. `pending` is what it is told of files that are not read yet."""

    database: Database
    files: SequenceFiles
    disk: LocalBackend
    catalogue: SequenceCatalogue
    store: CollectionStore
    pending: bool = False
    base: str = ""
    session: aiohttp.ClientSession = field(init=False)

    async def add(
        self,
        path: Path,
        *,
        flat: Path | None = None,
        source: Source = Source.ADDED,
        aliases: Sequence[NamedSequence] = (),
        circular: Sequence[str] = (),
    ) -> str:
        """Write down a FASTA file; the digest of its collection."""
        key = str(path).removeprefix("/")
        fingerprint = (await settled_stat(self.disk, key)).fingerprint
        written = await asyncio.to_thread(
            ingest,
            self.database,
            str(path),
            source,
            fingerprint,
            open_pinned(self.disk, key, fingerprint),
            flat=None if flat is None else FlatStore(flat),
            aliases=aliases,
            circular=circular,
        )
        assert written.collection is not None
        self.catalogue.forget()
        return written.collection

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> Reply:
        """One request; `path` as it goes over the wire."""
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, headers=headers, data=data) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        """A GET; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("GET", path, named)

    async def length(self, identifier: str) -> int:
        """Of a sequence."""
        found = await self.catalogue.find(parse_id(identifier))
        assert found is not None
        return found.length


@asynccontextmanager
async def serving_refget(
    *, subsequence_limit: int = 0, strict: bool = False, port: int = 0
) -> AsyncIterator[Served]:
    """An empty server, until the block ends."""
    database, disk = Database(), LocalBackend(Path("/"))

    def locate(url: str) -> tuple[StorageBackend, str]:
        return disk, url.removeprefix("/")

    files = SequenceFiles(locate, database)
    served = Served(database, files, disk, SequenceCatalogue(database), CollectionStore())
    app = web.Application(middlewares=[error_middleware], client_max_size=1 << 20)
    cors = Cors()
    app.on_response_prepare.append(cors.on_response_prepare)
    SequenceRoutes(
        served.catalogue, files, SERVICE, subsequence_limit, lambda: served.pending
    ).add_to(app)
    CollectionRoutes(
        database, served.store, served.catalogue, files, SERVICE, strict, lambda: served.pending
    ).add_to(app)
    resources = [each for each in app.router.resources() if isinstance(each, web.Resource)]
    for resource in resources:
        resource.add_route("OPTIONS", cors.preflight(*sorted({each.method for each in resource})))
    app.router.add_get("/openapi.json", _openapi)
    runner = make_runner(app, limits=Limits(shutdown_seconds=1))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        served.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as served.session:
            yield served
    finally:
        await runner.cleanup()
        await files.close()
        await disk.close()
        database.close()


async def _openapi(_: web.Request) -> web.Response:
    return web.json_response({"openapi": "3.1.0"})
