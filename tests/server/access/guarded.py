"""A server of controlled data on a socket, with an issuer beside it, for tests end to end.

The location `study` is controlled. alice may see everything, bob one stretch, carol the same but
clipped; erin's grant needs records rewritten, frank's has limits; the whole world may see
`study/public/…`; nobody else may see anything.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from server.app import ACCESS
from server.config import Settings, load_settings
from tests.server.live import SECRET, Live, Reply, serving
from tests.support.broker import AUDIENCE, Broker

DATASET = "https://data.example/ALPHA"
PUBLIC = "https://data.example/PUBLIC"
GENE = "one:1001-60000"  # 1-based, closed

HEAD = f"""
schema = "htsget-policy/1"
custodian = "Test custodian"

[[dataset]]
id = "{DATASET}"
objects = ["reads/study/*", "variants/study/*"]

[[dataset]]
id = "{PUBLIC}"
objects = ["reads/study/public/**", "variants/study/public/**"]
"""


def grant(
    name: str,
    who: str,
    *,
    dataset: str = DATASET,
    regions: tuple[str, ...] = ("all", "*"),
    what: str = "",
    how: str = 'header = "full"',
    more: str = "",
) -> str:
    """A grant of a policy, in TOML."""
    listed = ", ".join(f'"{each}"' for each in regions)
    extra = what if "samples" in what else f'samples = "all"\n{what}'
    return f"""
[[grant]]
id = "{name}"
dataset = "{dataset}"
reason = "test"
{who}
[grant.what]
endpoints = ["reads", "variants"]
formats = ["BAM", "CRAM", "VCF", "BCF"]
classes = ["header", "body"]
regions = [{listed}]
{extra}
[grant.how]
{how}
{more}
"""


def person(issuer: str, sub: str) -> str:
    """`grant.who` for one subject."""
    return f'[[grant.who.all_of]]\niss = "{issuer}"\nsub = "{sub}"'


def usual_policy(issuer: str) -> str:
    """See above."""
    return HEAD + "".join(
        (
            grant("G-ALL", person(issuer, "alice")),
            grant("G-GENE", person(issuer, "bob"), regions=(GENE,), how='partial = "deny"'),
            grant("G-CLIP", person(issuer, "carol"), regions=(GENE,), how='partial = "clip"'),
            grant("G-MASK", person(issuer, "erin"), how='boundary = "mask"'),
            grant(
                "G-LIMITED",
                person(issuer, "frank"),
                more="[grant.limits]\nbases_per_day = 20_000\nrequests_per_minute = 30",
            ),
            grant("G-OPEN", "[grant.who]\npublic = true", dataset=PUBLIC),
        )
    )


@dataclass(frozen=True, slots=True)
class Guarded:
    """The server, its issuer, and the files it obeys."""

    live: Live
    broker: Broker
    policy: Path
    database: str
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, sub: str) -> str:
        """An access token of somebody, the same each time."""
        return self.tokens.setdefault(sub, self.broker.access_token(sub))

    async def get(self, path: str, sub: str = "", **headers: str) -> Reply:
        """A GET as somebody; "" as nobody."""
        return await self.ask("GET", path, sub, headers=headers)

    async def ask(
        self,
        method: str,
        path: str,
        sub: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """A request as somebody; "" as nobody."""
        fields = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if sub:
            fields["Authorization"] = f"Bearer {self.token(sub)}"
        return await self.live.ask(method, path, headers=fields, data=data)

    async def fetch(self, path: str, sub: str = "") -> bytes:
        """The concatenated blocks of a ticket."""
        return await self.live.whole(await self.get(path, sub))

    async def records(self) -> list[dict[str, Any]]:
        """The audit so far, once every block that was begun is at its end."""
        for _ in range(100):
            found = await self._written()
            counts = Counter(each["event"] for each in found)
            if counts["data.intent"] == counts["data.done"] + counts["data.aborted"]:
                return found
            await asyncio.sleep(0.05)
        return found

    async def _written(self) -> list[dict[str, Any]]:
        await self.live.app[ACCESS].gate.audit.flush()
        engine = create_engine(self.database)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT payload FROM audit ORDER BY seq")).scalars()
            found = [json.loads(bytes(each)) for each in rows]
        engine.dispose()
        return found

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """The audit records of one kind."""
        return [each for each in await self.records() if each["event"] == kind]


def settings_of(
    data: Path,
    broker: Broker,
    policy: Path,
    database: str,
    server: Mapping[str, Any] | None = None,
    **auth: Any,
) -> Settings:
    """Settings of one controlled location called `study`."""
    issuers = [{"issuer": broker.issuer, "audience": AUDIENCE, "jwks_url": broker.jku}]
    values = {
        "locations": [{"url": str(data), "name": "study"}],
        "server": {"secret": SECRET, **(server or {})},
        "database": {"url": database},
        "auth": {"policy": str(policy), "issuers": issuers, **auth},
    }
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
            environment.delenv(name)
        return load_settings(None, values)


@asynccontextmanager
async def guarded(
    data: Path,
    directory: Path,
    *,
    policy: str | Callable[[str], str] = usual_policy,
    database: str = "",
    broker: Broker | None = None,
    server: Mapping[str, Any] | None = None,
    **auth: Any,
) -> AsyncIterator[Guarded]:
    """Serve until the block ends. `policy` may be made from the name of the issuer, and values of
    the section `auth` from the broker."""
    broker = broker or Broker()
    async with broker.serving():
        path = directory / "policy.toml"
        path.write_text(policy if isinstance(policy, str) else policy(broker.issuer))
        url = database or f"sqlite:///{directory}/state.db"
        values = {name: each(broker) if callable(each) else each for name, each in auth.items()}
        async with serving(settings_of(data, broker, path, url, server, **values)) as live:
            yield Guarded(live, broker, path, url)
