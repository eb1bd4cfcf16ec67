"""Brokers on loopback for tests of passports: one that knows people, and a committee."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from auth.passports.reader import PassportReader
from auth.passports.trust import Trust, VisaIssuer
from auth.passports.visa_reader import Wanted
from auth.principal import Principal
from auth.tokens.revocations import Revocations
from server.outbound import Outbound
from tests.support.broker import Broker, SigningKey
from tests.support.trusting import DAC, DATASET, UNI, trust_in, trusted_broker, visa_issuer

ALICE, BOB = "a1b2@broker.example", "b3c4@broker.example"
HOUR = 3600


class Clock:
    """The time, which tests may move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class World:
    """A broker that also signs affiliations and links, and a committee that grants access."""

    broker: Broker
    committee: Broker
    fetch: Outbound
    clock: Clock
    trust: Trust

    def reader(
        self,
        *,
        identity_rule: str = "linked",
        wanted: Wanted = lambda type_, value: True,
        revoked: Path | None = None,
        issuers: Sequence[VisaIssuer] | None = None,
        **changes: Any,
    ) -> PassportReader:
        """A reader; `changes` are of the trust in the broker."""
        trust = trust_in(
            [trusted_broker(self.broker, identity_rule=identity_rule, **changes)],
            list(self.trust.visa_issuers.values()) if issuers is None else issuers,
        )
        return PassportReader(
            trust, self.fetch, self.clock, wanted=wanted, revoked=Revocations(revoked)
        )

    async def read(self, *visas: str, **trusted: Any) -> Principal:
        """The holder of a passport of Alice's with these visas."""
        return await self.reader(**trusted).of_passport(self.broker.passport(visas))

    def grant(self, sub: str = ALICE, value: str = DATASET, **changes: Any) -> str:
        """What the committee says in good order, but for the changes."""
        return self.committee.visa(
            "ControlledAccessGrants", value, DAC, **{"by": "dac", "sub": sub} | changes
        )

    def role(self, value: str = "faculty@uni.example", **changes: Any) -> str:
        """What the broker says of somebody's affiliation."""
        return self.broker.visa("AffiliationAndRole", value, UNI, **{"by": "so"} | changes)

    def link(self, *others: tuple[Broker, str], sub: str = ALICE, **changes: Any) -> str:
        """What the broker says of who is the same person."""
        pairs = [f"{quote(other, safe='')},{quote(at.issuer, safe='')}" for at, other in others]
        value = ";".join(pairs)
        return self.broker.visa(
            "LinkedIdentities", value, UNI, **{"by": "system", "sub": sub} | changes
        )

    @property
    def linked(self) -> str:
        """Alice is Alice at the committee."""
        return self.link((self.committee, ALICE))


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Both, answering on this event loop."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Broker(clock=clock).serving())
        committee = Broker([SigningKey.make("RS256")], clock=clock)
        await stack.enter_async_context(committee.serving())
        fetch = Outbound([broker.url, committee.url], max_bytes=2 << 20)
        fetch.start()
        stack.push_async_callback(fetch.close)
        issuers = [
            visa_issuer(committee, {"ControlledAccessGrants": [DAC]}),
            visa_issuer(broker, {"AffiliationAndRole": [UNI], "LinkedIdentities": [UNI]}),
        ]
        yield World(broker, committee, fetch, clock, trust_in((), issuers))
