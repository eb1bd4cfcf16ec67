"""The guarded server where passports count: a broker, a committee, and a trust file that names
them.

The committee grants reads of `study`; whoever has registered access may have its variants.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from server.access.exchange import GRANT_TYPE, PASSPORT_TYPE
from server.outbound import Outbound
from tests.server.access.denials import Bench, bench
from tests.server.access.guarded import grant, guarded
from tests.server.live import Reply
from tests.support.broker import AUDIENCE, CLIENT, Broker, SigningKey
from tests.support.passport_world import ALICE, Clock, World
from tests.support.trusting import DAC, DATASET, TERMS, UNI, trust_in

READS = "/reads/study/reads"
VARIANTS = "/variants/study/variants"
REGISTERED = "https://data.hospital.example/datasets/OPEN-02"

POLICY = f"""
schema = "htsget-policy/1"
custodian = "Test custodian"

[[dataset]]
id = "{DATASET}"
objects = ["reads/study/*"]

[[dataset]]
id = "{REGISTERED}"
objects = ["variants/study/*"]
"""


def atom(type_: str, value: str, source: str) -> str:
    return f'[[grant.who.all_of]]\nvisa = "{type_}"\nvalue = "{value}"\nsource = "{source}"\n'


POLICY += grant("G-COMMITTEE", atom("ControlledAccessGrants", DATASET, DAC), dataset=DATASET)
POLICY += grant(
    "G-REGISTERED",
    atom("ResearcherStatus", TERMS, UNI) + atom("AcceptedTermsAndPolicies", TERMS, UNI),
    dataset=REGISTERED,
)


def trust_file(broker: Broker, committee: Broker, *, flows: str, formats: str) -> str:
    """Whom the site believes what."""
    said = ("AffiliationAndRole", "LinkedIdentities", "ResearcherStatus")
    by_broker = ", ".join(
        f'{{ type = "{each}", sources = ["{UNI}"] }}'
        for each in (*said, "AcceptedTermsAndPolicies")
    )
    return f"""
schema = "htsget-trust/1"
[[broker]]
issuer = "{broker.issuer}"
audiences = ["{AUDIENCE}"]
client_ids = ["{CLIENT}"]
flows = [{flows}]
[[visa_issuer]]
issuer = "{committee.issuer}"
jku = "{committee.jku}"
formats = [{formats}]
may_assert = [ {{ type = "ControlledAccessGrants", sources = ["{DAC}"] }} ]
[[visa_issuer]]
issuer = "{broker.issuer}"
jku = "{broker.jku}"
may_assert = [ {by_broker} ]
"""


@dataclass
class PassportSite:
    """The site with those who make its passports."""

    at: Bench
    world: World

    @property
    def broker(self) -> Broker:
        return self.world.broker

    def token(self, *visas: str) -> str:
        """An access token of Alice's, whose UserInfo has these visas."""
        self.broker.visas[ALICE] = visas
        return self.broker.access_token(ALICE)

    def passport(self, *visas: str, **changes: Any) -> str:
        """A passport of Alice's with these visas."""
        return self.broker.passport(visas, **changes)

    async def get(self, token: str, path: str = READS) -> Reply:
        """The answer to a bearer of a token."""
        return await self.at.site.live.get(path, Authorization=f"Bearer {token}")

    async def exchange(self, passport: str, query: str = "", **form: str) -> Reply:
        """The answer to a passport in exchange for a handle."""
        fields = {
            "grant_type": GRANT_TYPE,
            "subject_token_type": PASSPORT_TYPE,
            "subject_token": passport,
        } | form
        return await self.at.site.live.ask(
            "POST",
            f"/auth/exchange{query}",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            data=urlencode({name: value for name, value in fields.items() if value}).encode(),
        )


@asynccontextmanager
async def passport_site(
    data: Path,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    flows: str = '"userinfo", "passport"',
    formats: str = '"document"',
) -> AsyncIterator[PassportSite]:
    """Serve until the block ends."""
    committee = Broker([SigningKey.make("RS256")])
    broker = Broker()

    def trust(broker: Broker) -> str:
        path = directory / "trust.toml"
        path.write_text(trust_file(broker, committee, flows=flows, formats=formats))
        return str(path)

    async with (
        committee.serving(),
        guarded(data, directory, policy=POLICY, broker=broker, issuers=[], passports=trust) as site,
    ):
        with bench(site, caplog) as at:
            world = World(broker, committee, Outbound([broker.url]), Clock(), trust_in())
            yield PassportSite(at, world)
