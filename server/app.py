"""The composition root: settings in, an application out. Nothing else constructs."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from auth.capability import CapabilityCodec, derive
from auth.errors import InvalidConfiguration
from auth.policy.evaluation import Policy
from formats.errors import FormatError
from server.access.territory import Ground, Territory
from server.catalog import Catalog, ServedLocation
from server.config import ConfigurationError, Settings, database_url, read_secret
from server.cors import Cors
from server.database import Database, DatabaseUnavailable
from server.errors import error_middleware
from server.htsget.answers import Answers
from server.htsget.blocks import Blocks
from server.htsget.routes import HtsgetRoutes
from server.htsget.ticket import TicketMaker
from server.location_settings import Location
from server.model import Endpoint
from server.refget.aliases import NamedSequence, read_names
from server.refget.collection_routes import CollectionRoutes
from server.refget.contig_names import ContigNames
from server.refget.cram_references import CatalogueReferences
from server.refget.file_locator import FileLocator
from server.refget.files import SequenceFiles
from server.refget.flat_store import FlatStore
from server.refget.location_ingest import LocationIngest
from server.refget.opened import Refget
from server.refget.registry import known_files
from server.refget.restricted import RestrictedSequences
from server.refget.restriction import Restriction
from server.refget.sequence_routes import SequenceRoutes
from server.refget.upstream import UpstreamSequences
from server.refget.views import Views
from server.service_info import Service, negotiate, service_info
from server.slicing.cram_slicer import CramServices
from server.slicing.fasta_files import FastaFile
from server.slicing.index_cache import IndexCache
from server.slicing.library import Library
from server.slicing.references import References
from server.slicing.workers import WorkerLimits, WorkerPool
from server.storage import open_file, open_location
from server.survey import fasta_files, sequence_files
from server.web.landing import landing_page
from server.web.openapi import openapi

if TYPE_CHECKING:
    from server.access.opened import Access
    from server.htsget.controlled import ControlledData

CATALOG = web.AppKey("CATALOG", Catalog)
LIBRARY = web.AppKey("LIBRARY", Library)
ACCESS: "web.AppKey[Access]" = web.AppKey("ACCESS")


_READY_SECONDS = 2.0
_JOURNAL_SECONDS = 4.0  # that the audit waits for the database: somebody waits for the audit


def create_app(settings: Settings, *, secret: bytes | None = None) -> web.Application:
    """The server as an application. `secret` signs ticket URLs unless one is configured.

    Raises `ConfigurationError` for settings that cannot be served.
    """
    master = read_secret(settings.server) or secret or secrets.token_bytes(32)
    catalog = open_catalog(settings)
    refget = open_refget(settings, catalog)
    access = _open_access(settings, catalog, refget, derive(master, b"htsgate pseudonyms"))
    library = open_library(
        settings, catalog, [CatalogueReferences(refget.views.everything.catalogue, refget.files)]
    )
    codec = CapabilityCodec(
        {"k1": master},
        signing_kid="k1",
        audience=settings.server.public_url or "htsgate",
        lifetime=settings.server.ticket_lifetime,
        clock=time.time,
    )
    tickets = TicketMaker(codec, settings.server.max_block_bytes)
    names = ContigNames(refget.views.public.catalogue, library)
    routes = HtsgetRoutes(
        catalog,
        Answers(library, tickets, settings.server.ticket_lifetime, names),
        Blocks(catalog, library),
        codec,
        settings.server.public_url,
        settings.server.max_regions,
        derive(master, b"htsgate access log"),
        None if access is None else _control(settings, access, catalog, library, refget),
    )
    origins = settings.server.cors_origins
    cors = Cors(None if "*" in origins else frozenset(origins))
    app = web.Application(
        middlewares=[error_middleware], client_max_size=settings.server.max_body_bytes
    )
    app.on_response_prepare.append(cors.on_response_prepare)
    app[CATALOG], app[LIBRARY] = catalog, library
    service = Service(version=version("htsgate"), **settings.service.model_dump())
    _add_service_info(app, service)
    _add_refget(app, settings, refget, service, access)
    _add_pages(app, settings, routes)
    routes.add_to(app)
    if access is not None:
        access.add_to(app)
        app[ACCESS] = access
    app.router.add_get("/health/live", _live)
    app.router.add_get("/health/ready", partial(_ready, catalog))
    resources = [each for each in app.router.resources() if isinstance(each, web.Resource)]
    for resource in resources:
        known = sorted({route.method for route in resource})
        resource.add_route("OPTIONS", cors.preflight(*known))

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            for location in catalog.locations:
                running.push_async_callback(location.backend.close)
                location.backend.start(asyncio.get_running_loop())
            running.push_async_callback(refget.close)
            await refget.start()
            running.push_async_callback(library.close)
            if access is not None:
                running.push_async_callback(access.close)
                await access.start()
            yield

    app.cleanup_ctx.append(lifetime)
    return app


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of the configured locations."""
    return Catalog(
        [
            open_location(location, settings.cache, controlled=settings.is_controlled(location))
            for location in settings.locations
        ]
    )


def _open_access(
    settings: Settings, catalog: Catalog, refget: Refget, key: bytes
) -> "Access | None":
    """Access control, where some data are not open to all."""
    if settings.auth is None or settings.auth.policy is None:
        return None
    # Imported where it is needed: who serves open data need not wait for it.
    from server.access.opened import open_access

    _check_apart(catalog.locations)
    grounds = {
        each.name: Ground(settings.is_controlled(each), frozenset(filter(None, [_dataset(each)])))
        for each in settings.locations
    }

    def judge(policy: Policy) -> None:
        for each in settings.locations:
            if each.delivery == "direct":
                prefix = f"{each.name}/" if each.name else ""
                for dataset, why in policy.direct_conflicts(prefix, _dataset(each)).items():
                    raise InvalidConfiguration(
                        f"locations: {each.url} cannot have delivery = direct, because of dataset"
                        f" {dataset}: {why}"
                    )

    try:
        return open_access(
            settings.auth,
            settings.auth.policy,
            refget.database,
            Territory(grounds),
            judge,
            key=key,
            trusted_proxies=settings.server.trusted_proxies,
            journal=Database(database_url(settings), durable=True, busy_seconds=_JOURNAL_SECONDS),
        )
    except (InvalidConfiguration, ValueError) as error:
        raise ConfigurationError(f"auth: {error}") from error


def _check_apart(locations: Sequence[ServedLocation]) -> None:
    """Refuse an open location that has the files of a controlled one: whoever asked for them by
    its name would get them."""
    for open_one in (each for each in locations if not each.controlled):
        for controlled in (each for each in locations if each.controlled):
            if open_one.holds(controlled):
                raise ConfigurationError(
                    f"locations: {open_one.backend.describe()} is open and has the files of"
                    f" {controlled.backend.describe()}, which is controlled; keep them apart"
                )


def _dataset(location: Location) -> str | None:
    return location.dataset or location.name or None


def _control(
    settings: Settings, access: "Access", catalog: Catalog, library: Library, refget: Refget
) -> "ControlledData":
    from server.access.object_references import ObjectReferences
    from server.htsget.controlled import ControlledData

    references = ObjectReferences(library, refget.database, refget.views.everything.collections)
    return ControlledData(
        access.gate, access.blocks, catalog, references, settings.server.ticket_lifetime
    )


def open_library(settings: Settings, catalog: Catalog, known: Sequence[References] = ()) -> Library:
    """The library over a catalog's objects; `known`: where references are looked for first."""
    limits = WorkerLimits(deadline=settings.cram.timeout)
    services = CramServices(
        WorkerPool(settings.cram.workers, limits),
        partial(fasta_files, catalog, settings.refget.sequences),
        settings.cache.plan_bytes // 2,
        known,
    )
    return Library(
        services,
        index_bytes=settings.cache.index_bytes,
        plan_bytes=settings.cache.plan_bytes // 2,
        indexes=open_index_cache(settings),
    )


def open_refget(settings: Settings, catalog: Catalog) -> Refget:
    """What serves the reference sequences of a catalog's locations and of the database.

    Raises `ConfigurationError`.
    """
    if settings.auth is not None:
        import server.access.opened  # noqa: F401 - declares its tables
    try:
        # What was recorded before data left must outlive the machine, too.
        database = Database(
            database_url(settings),
            durable=settings.auth is not None,
        )
    except (ValueError, DatabaseUnavailable) as error:
        raise ConfigurationError(f"database.url: {error}") from None
    views = Views(database, Restriction.of(catalog.locations, settings.refget.sequences))
    locator = FileLocator(
        lambda url: open_file(url, settings.locations, settings.cache), settings.cache.descriptors
    )

    def find() -> Iterator[FastaFile]:
        known = [each.url for each in database.run(known_files)]
        return sequence_files(catalog, settings.refget.sequences, known)

    ingest = LocationIngest(
        database,
        find,
        locator,
        patterns=settings.refget.sequences,
        aliases=_read_aliases(settings.refget.aliases),
        circular=settings.refget.circular,
        found=views.serve,
        written=views.forget,
    )
    files = SequenceFiles(locator, database, lost=lambda _: ingest.look_again())
    store = FlatStore(settings.refget.store)
    upstream = UpstreamSequences(settings.refget.upstream, database, store)
    return Refget(database, locator, files, views, ingest, upstream)


def _read_aliases(patterns: Sequence[str]) -> list[NamedSequence]:
    names: list[NamedSequence] = []
    for path in (path for pattern in patterns for path in sorted(glob(pattern, recursive=True))):  # noqa: PTH207
        try:
            names += read_names(Path(path).read_bytes())
        except (OSError, FormatError) as error:
            raise ConfigurationError(f"refget.aliases: {path}: {error}") from error
    return names


def open_index_cache(settings: Settings) -> IndexCache | None:
    """The folder for indexes, if there is one; `ConfigurationError` when it cannot be used."""
    cache = settings.cache
    if cache.directory is None:
        return None
    try:
        return IndexCache(cache.directory, cache.directory_bytes)
    except ValueError as error:
        raise ConfigurationError(f"cache.directory: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"cache.directory: cannot be used: {error.strerror}") from error


def _add_service_info(app: web.Application, service: Service) -> None:
    for endpoint in Endpoint:
        document = orjson.dumps(service_info(service, endpoint))

        async def answer(request: web.Request, document: bytes = document) -> web.Response:
            content_type = negotiate(request.headers.get("Accept"))
            return web.Response(body=document, headers={"Content-Type": content_type})

        app.router.add_get(f"/{endpoint}/service-info", answer)


def _add_refget(
    app: web.Application,
    settings: Settings,
    refget: Refget,
    service: Service,
    access: "Access | None",
) -> None:
    public = refget.views.public
    restricted = None
    if access is not None and not refget.views.restriction.is_empty:
        from server.access.sequence_gate import SequenceGate

        restricted = RestrictedSequences(refget.views, SequenceGate(access.gate, access.ledger))
    SequenceRoutes(
        public.catalogue,
        refget.files,
        service,
        settings.refget.subsequence_limit,
        lambda: refget.ingest.pending,
        refget.upstream if settings.refget.upstream else None,
        restricted,
    ).add_to(app)
    CollectionRoutes(
        refget.database,
        public.collections,
        public.catalogue,
        refget.files,
        service,
        settings.refget.strict,
        lambda: refget.ingest.pending,
        restricted,
    ).add_to(app)


def _add_pages(app: web.Application, settings: Settings, routes: HtsgetRoutes) -> None:
    document = orjson.dumps(openapi(version("htsgate")))

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    async def land(request: web.Request) -> web.Response:
        page = landing_page(
            name=settings.service.name,
            description=settings.service.description,
            origin=routes.origin(request),
            organization=settings.service.organization_name,
            organization_url=settings.service.organization_url,
            version=version("htsgate"),
        )
        return web.Response(body=page, content_type="text/html", charset="utf-8")

    app.router.add_get("/openapi.json", describe)
    app.router.add_get("/", land)


async def _live(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _ready(catalog: Catalog, _: web.Request) -> web.Response:
    """Whether every location can be read now; names none of them."""
    checks = (location.backend.available() for location in catalog.locations)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            ready = all(await asyncio.gather(*checks))
    except TimeoutError:
        ready = False
    return web.json_response(
        {"status": "ok" if ready else "unavailable"}, status=200 if ready else 503
    )
