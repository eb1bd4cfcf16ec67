"""A server of public and restricted sequences, with real access control and an issuer beside it.

The location `closed` is controlled, `open` is not. Of `closed/asm` alice may have everything, bob
one stretch, carol the same but clipped; dana's grant is for reads, erin's for names and lengths
only, frank's has limits, gina's is bound to other sequences; `closed/public/…` is for everybody.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.access.audit_log import AuditLog
from server.app import ACCESS
from server.config import load_settings
from server.database import Database
from server.refget.digests import Digests
from server.refget.registry import known_files
from tests.server.access.audit_trails import records_of
from tests.server.live import SECRET, Live, serving
from tests.server.refget.sequence_files import fasta, residues, twobit, write
from tests.server.refget.served_files import Reply
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

_COLUMNS = (
    "Sequence-Name",
    "GenBank-Accn",
    "Relationship",
    "RefSeq-Accn",
    "Sequence-Length",
    "UCSC-style-name",
)
_ROWS = (
    ("chrB", "SECRET1.1", "<>", "na", str(len(CHR_B)), "na"),
    ("chr2", "na", "<>", "na", str(len(OPEN)), "open2"),
)
NAMES = "".join(
    ("# " if at == 0 else "") + "\t".join(row) + "\n" for at, row in enumerate((_COLUMNS, *_ROWS))
)
"""An assembly report."""


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


@dataclass(frozen=True, slots=True)
class Site:
    """The server. `data` is the folder of its locations, `policy` the file that it obeys."""

    data: Path
    policy: Path
    broker: Broker
    live: Live
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def audit(self) -> AuditLog:
        return self.live.app[ACCESS].gate.audit

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
        data: bytes | None = None,
    ) -> Reply:
        """One request as somebody."""
        fields = {"Accept-Encoding": "identity", **self.credential(sub), **(headers or {})}
        reply = await self.live.ask(method, path, headers=fields, data=data)
        return Reply(reply.status, reply.headers, reply.body)

    async def get(self, path: str, sub: str = "", **headers: str) -> Reply:
        return await self.ask("GET", path, sub, headers=headers)

    async def collection(self, name: str) -> str:
        """The digest of what a file holds."""
        url = str(self.data / name)
        with closing(self._database()) as database:
            files = database.run(known_files)
        (found,) = [each.collection for each in files if each.url == url]
        assert found is not None
        return found

    async def records(self) -> list[dict[str, Any]]:
        """The audit so far, once what was noted is written."""
        await self.audit.flush()
        with closing(self._database()) as database:
            return await asyncio.to_thread(records_of, database)

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The audit records of some kinds."""
        return [each for each in await self.records() if each["event"] in kinds]

    async def settled(self) -> None:
        """Wait until all files are written down."""
        async with asyncio.timeout(30):
            while (await self.get("/sequence/" + "0" * 32)).status == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def _database(self) -> Database:
        return Database(f"sqlite:///{self.data.parent}/state.db")


@asynccontextmanager
async def serving_site(
    directory: Path, *, files: Mapping[str, bytes] = FILES, upstream: Sequence[str] = ()
) -> AsyncIterator[Site]:
    """Serve until the block ends; all files are written down by then."""
    data = directory / "data"
    for folder in ("closed", "open"):
        (data / folder).mkdir(parents=True)
    for name, content in files.items():
        await asyncio.to_thread(write, data / name, content)
    broker = Broker()
    async with broker.serving():
        rules = directory / "policy.toml"
        rules.write_text(policy(broker.issuer))
        report = directory / "names.txt"
        report.write_text(NAMES)
        issuer = {"issuer": broker.issuer, "audience": AUDIENCE, "jwks_url": broker.jku}
        locations = [
            {"url": str(data / "closed"), "name": "closed", "access": "controlled"},
            {"url": str(data / "open"), "access": "open"},
        ]
        values = {
            "server": {"secret": SECRET},
            "locations": locations,
            "database": {"url": f"sqlite:///{directory}/state.db"},
            "auth": {"policy": str(rules), "issuers": [issuer]},
            "refget": {
                "sequences": [str(data / "closed" / "n*.fa")],
                "aliases": [str(report)],
                "circular": ["ring"],
                "store": str(directory / "flat"),
                "upstream": upstream,
            },
        }
        with pytest.MonkeyPatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
                environment.delenv(name)
            settings = load_settings(None, values)
        async with serving(settings) as live:
            site = Site(data, rules, broker, live)
            await site.settled()
            yield site
