"""A server of public and restricted sequences, with real access control and an issuer beside it.

The location `closed` is controlled, `open` is not. Of `closed/asm` alice may have everything, bob
one stretch, carol the same but clipped; dana's grant is for reads, erin's for names and lengths
only, frank's has limits, gina's is bound to other sequences; `closed/public/…` is for everybody.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from server.access.gate import Gate
from server.access.opened import open_access
from server.access.sequence_gate import SequenceGate
from server.access.territory import Ground, Territory
from server.app import open_catalog
from server.config import load_settings
from server.cors import Cors
from server.database import Database
from server.errors import error_middleware
from server.limits import Limits, make_runner
from server.refget.aliases import NamedSequence
from server.refget.collection_routes import CollectionRoutes
from server.refget.digests import Digests
from server.refget.file_locator import FileLocator
from server.refget.files import SequenceFiles
from server.refget.flat_store import FlatStore
from server.refget.location_ingest import LocationIngest
from server.refget.registry import Alias, known_files
from server.refget.restricted import RestrictedSequences
from server.refget.restriction import Restriction
from server.refget.sequence_routes import SequenceRoutes
from server.refget.upstream import UpstreamSequences
from server.refget.views import Views
from server.survey import sequence_files
from tests.server.access.audit_trails import records_of
from tests.server.refget.sequence_files import fasta, residues, twobit, write
from tests.server.refget.served_files import SERVICE, Reply
from tests.support.broker import AUDIENCE, Broker

DATASET, WORLD, BOUND = "https://data.example/ASM", "https://data.example/WORLD", "urn:bound"
SHARED = residues(3000, 1)  # in an open file, too
OPEN = residues(4000, 2)
CHR_A, CHR_B, RING = residues(90_000, 3), residues(5000, 4), residues(600, 5)
TWICE, WORLDS, NAMED, OTHER = (residues(2000, seed) for seed in (6, 7, 8, 9))
STRETCH = (1000, 60_000)

FILES: Mapping[str, bytes] = {
    "closed/asm.fa": fasta({"chrA": CHR_A, "chrB": CHR_B, "ring": RING, "secret": SHARED}),
    "closed/two.2bit": twobit({"t": TWICE, "chrB": OTHER}),
    "closed/bound.fa": fasta({"chrX": residues(1500, 10)}),
    "closed/public/w.fa": fasta({"w": WORLDS}),
    "closed/named.fa": fasta({"n": NAMED}),
    "open/ref.fa": fasta({"chr1": SHARED, "chr2": OPEN}),
}


def ga4gh(text: bytes) -> str:
    return Digests.from_residues(text).ga4gh


def _person(issuer: str, sub: str) -> str:
    return f'[[grant.who.all_of]]\niss = "{issuer}"\nsub = "{sub}"'


def _grant(
    name: str,
    who: str,
    *,
    dataset: str = DATASET,
    regions: str = '"all"',
    endpoint: str = "refget",
    classes: str = '"header", "body"',
    more: str = "",
) -> str:
    return f"""
[[grant]]
id = "{name}"
dataset = "{dataset}"
reason = "test"
{who}
[grant.what]
endpoints = ["{endpoint}"]
classes = [{classes}]
regions = [{regions}]
{more}
"""


def policy(issuer: str) -> str:
    """See above."""
    people = {name: _person(issuer, name) for name in ("alice", "bob", "carol", "dana", "erin")}
    people |= {name: _person(issuer, name) for name in ("frank", "gina")}
    stretch = f'"chrA:{STRETCH[0] + 1}-{STRETCH[1]}"'
    clip = '[grant.how]\npartial = "clip"'
    limits = "[grant.limits]\nbases_per_day = 3000\nconcurrent_streams = 2"
    return "".join(
        (
            'schema = "htsget-policy/1"\ncustodian = "Test"\n',
            f'[[dataset]]\nid = "{DATASET}"\nobjects = ["refget/closed/*", "reads/closed/*"]\n',
            f'[[dataset]]\nid = "{WORLD}"\nobjects = ["refget/closed/public/**"]\n',
            f'[[dataset]]\nid = "{BOUND}"\nobjects = ["refget/closed/bound"]\n',
            f'seqcol = "{"A" * 32}"\n',
            _grant("G-ALL", people["alice"]),
            _grant("G-PART", people["bob"], regions=stretch),
            _grant("G-CLIP", people["carol"], regions=stretch, more=clip),
            _grant("G-READS", people["dana"], endpoint="reads"),
            _grant("G-HEADER", people["erin"], classes='"header"'),
            _grant("G-LIMITED", people["frank"], more=limits),
            _grant("G-BOUND", people["gina"], dataset=BOUND, regions='"chrX:1-1000"'),
            _grant("G-WORLD", "[grant.who]\npublic = true", dataset=WORLD),
        )
    )


@dataclass(slots=True)
class Site:
    """The server. `data` is the folder of its locations, `policy` the file that it obeys."""

    data: Path
    policy: Path
    broker: Broker
    gate: Gate
    database: Database
    views: Views
    ingest: LocationIngest
    sequences: SequenceRoutes
    base: str = ""
    session: aiohttp.ClientSession = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)

    def credential(self, sub: str) -> dict[str, str]:
        """The header of somebody's requests; "" is nobody."""
        if not sub:
            return {}
        token = self.tokens.setdefault(sub, self.broker.access_token(sub))
        return {"Authorization": f"Bearer {token}"}

    async def ask(
        self,
        method: str,
        path: str,
        sub: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> Reply:
        """One request as somebody."""
        url = URL(self.base + path, encoded=True)
        fields = {**self.credential(sub), **(headers or {})}
        async with self.session.request(method, url, headers=fields, data=data) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, sub: str = "", **headers: str) -> Reply:
        return await self.ask("GET", path, sub, headers=headers)

    async def collection(self, name: str) -> str:
        """The digest of what a file holds."""
        url = str(self.data / name)
        files = await self.database.execute(known_files)
        (found,) = [each.collection for each in files if each.url == url]
        assert found is not None
        return found

    async def records(self) -> list[dict[str, Any]]:
        """The audit so far, once what was noted is written."""
        await self.gate.audit.flush()
        return await asyncio.to_thread(records_of, self.database)

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The audit records of some kinds."""
        return [each for each in await self.records() if each["event"] in kinds]

    async def settled(self) -> None:
        """Wait until all files are written down."""
        async with asyncio.timeout(30):
            while self.ingest.pending:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving_site(
    directory: Path,
    *,
    files: Mapping[str, bytes] = FILES,
    upstream: Sequence[str] = (),
    misses_per_minute: int = 600,
    aliases: Sequence[NamedSequence] = (
        NamedSequence(frozenset({"chrB"}), len(CHR_B), (Alias("insdc", "SECRET1.1"),)),
        NamedSequence(frozenset({"chr2"}), len(OPEN), (Alias("ucsc", "open2"),)),
    ),
) -> AsyncIterator[Site]:
    """Serve until the block ends; all files are written down by then."""
    data = directory / "data"
    for folder in ("closed", "open"):
        (data / folder).mkdir(parents=True)
    for name, content in files.items():
        await asyncio.to_thread(write, data / name, content)
    broker = Broker()
    async with AsyncExitStack() as running:
        await running.enter_async_context(broker.serving())
        rules = directory / "policy.toml"
        rules.write_text(policy(broker.issuer))
        issuer = {"issuer": broker.issuer, "audience": AUDIENCE, "jwks_url": broker.jku}
        locations: list[dict[str, str]] = [
            {"url": str(data / "closed"), "name": "closed", "access": "controlled"},
            {"url": str(data / "open"), "access": "open"},
        ]
        settings = load_settings(
            None,
            {
                "locations": locations,
                "auth": {"policy": str(rules), "issuers": [issuer]},
                "refget": {"sequences": [str(data / "closed" / "n*.fa")]},
            },
        )
        database = Database(f"sqlite:///{directory}/state.db", durable=True)
        running.callback(database.close)
        catalog = open_catalog(settings)
        named = settings.refget.sequences
        views = Views(database, Restriction.of(catalog.locations, named))
        locator = FileLocator(lambda url: (_ for _ in ()).throw(ValueError(url)))

        def find() -> Iterator[Any]:
            return sequence_files(catalog, named)

        ingest = LocationIngest(
            database,
            find,
            locator,
            patterns=named,
            aliases=aliases,
            circular=["ring"],
            found=views.serve,
            written=views.forget,
        )
        residue_files = SequenceFiles(locator, database)
        territory = Territory({"closed": Ground(controlled=True), "": Ground(controlled=False)})
        assert settings.auth is not None
        access = open_access(
            settings.auth, rules, database, territory, lambda _: None, key=bytes(32)
        )
        guard = SequenceGate(access.gate, access.ledger, misses_per_minute=misses_per_minute)
        restricted = RestrictedSequences(views, guard)
        others = None
        if upstream:
            others = UpstreamSequences(upstream, database, FlatStore(directory / "flat"))
            running.push_async_callback(others.close)
        catalogue, store = views.public.catalogue, views.public.collections
        sequences = SequenceRoutes(
            catalogue, residue_files, SERVICE, 0, lambda: ingest.pending, others, restricted
        )
        app = web.Application(middlewares=[error_middleware], client_max_size=1 << 20)
        app.on_response_prepare.append(Cors().on_response_prepare)
        sequences.add_to(app)
        CollectionRoutes(
            database,
            store,
            catalogue,
            residue_files,
            SERVICE,
            strict=False,
            is_pending=lambda: ingest.pending,
            restricted=restricted,
        ).add_to(app)
        runner = make_runner(app, limits=Limits(shutdown_seconds=1))
        for location in catalog.locations:
            location.backend.start(asyncio.get_running_loop())
            running.push_async_callback(location.backend.close)
        running.push_async_callback(locator.close)
        running.push_async_callback(residue_files.close)
        await access.start()
        running.push_async_callback(access.close)
        await ingest.start()
        running.push_async_callback(ingest.close)
        await runner.setup()
        running.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site = Site(data, rules, broker, access.gate, database, views, ingest, sequences)
        site.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        site.session = await running.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"])
        )
        await site.settled()
        yield site
