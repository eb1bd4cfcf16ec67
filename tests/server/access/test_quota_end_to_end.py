"""Budgets on a socket: walking stops, looking again is free, and more accounts are no more
budget."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.server.access.guarded import HEAD, Guarded, grant, guarded, person
from tests.server.access.passport_site import trust_file
from tests.server.live import Reply
from tests.support.broker import Broker, SigningKey
from tests.support.passport_world import ALICE, BOB
from tests.support.trusting import UNI

OBJECT = "/reads/study/reads"
BUDGET, STEP = 5_000, 100
CAROL, DAVE = "carol@broker.example", "dave@broker.example"
EVER = f"[grant.limits]\ndistinct_bases_per_object = {BUDGET}"
DAILY = f"[grant.limits]\nbases_per_day = {BUDGET}"
RULE = "quota.distinct_bases_per_object"


def policy(issuer: str) -> str:
    who = [(ALICE, EVER), (BOB, EVER), (CAROL, EVER), (DAVE, DAILY)]
    return HEAD + "".join(
        grant(f"G-{number}", person(issuer, sub), more=limits)
        for number, (sub, limits) in enumerate(who)
    )


@pytest.fixture
async def site(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    """Alice and Bob are one person, as the broker says when Alice comes."""
    committee = Broker([SigningKey.make("RS256")])

    def trust(broker: Broker) -> str:
        path = tmp_path / "trust.toml"
        path.write_text(trust_file(broker, committee, flows='"userinfo"', formats='"document"'))
        value = f"{quote(BOB, safe='')},{quote(broker.issuer, safe='')}"
        broker.visas[ALICE] = (broker.visa("LinkedIdentities", value, UNI, by="system", sub=ALICE),)
        return str(path)

    async with (
        committee.serving(),
        guarded(data, tmp_path, policy=policy, issuers=[], passports=trust) as server,
    ):
        yield server


async def step(site: Guarded, sub: str, number: int, path: str = OBJECT) -> Reply:
    """The ticket for one slice of a walk."""
    begin = number * STEP
    return await site.get(f"{path}?referenceName=one&start={begin}&end={begin + STEP}", sub)


async def spent(site: Guarded, reply: Reply, rule: str = RULE) -> None:
    """It is the refusal of who has nothing left, and recorded as that once."""
    assert reply.error == (429, "TooManyRequests")
    assert int(reply.headers["Retry-After"]) > 0
    assert (await site.events("ticket.denied"))[-1]["rule"] == rule


@pytest.mark.security("TR10")
@pytest.mark.parametrize(("sub", "rule"), [(CAROL, RULE), (DAVE, "quota.bases_per_day")])
async def test_walking_and_looking_again(site: Guarded, sub: str, rule: str) -> None:
    for number in range(BUDGET // STEP):
        assert (await step(site, sub, number)).status == 200
    await spent(site, await step(site, sub, 50), rule)
    await spent(site, await site.get(OBJECT, sub), rule)
    for number in (0, 7, 49):
        assert await site.live.whole(await step(site, sub, number))
    within = await site.get(f"{OBJECT}?referenceName=one&start=0&end={BUDGET}", sub)
    assert within.status == 200
    beyond = await site.get(f"{OBJECT}?referenceName=one&start=1&end={BUDGET + 1}", sub)
    await spent(site, beyond, rule)
    other = await step(site, sub, 0, "/reads/study/only")
    assert other.status == (200 if sub == CAROL else 429)
    assert len(await site.events("ticket.denied")) == (3 if sub == CAROL else 4)


@pytest.mark.security("TR10")
async def test_linked_accounts_share(site: Guarded) -> None:
    """What Alice has had counts for Bob, and what Bob has had for Alice; nobody else's does."""
    for number in range(30):
        assert (await step(site, ALICE, number)).status == 200
    for number in range(30, 50):
        assert (await step(site, BOB, number)).status == 200
    await spent(site, await step(site, ALICE, 50))
    assert (await step(site, ALICE, 10)).status == 200
    assert (await step(site, CAROL, 50)).status == 200
    closures = {each["subject"]["closure"] for each in await site.events("ticket.intent")}
    assert len(closures) >= 2


@pytest.mark.security("TR10")
@pytest.mark.parametrize("sub", [CAROL, DAVE])
async def test_requests_at_the_limit(site: Guarded, sub: str) -> None:
    """However many come at once, no base more is given than there may be."""
    for number in range(40):
        assert (await step(site, sub, number)).status == 200
    replies = await asyncio.gather(*(step(site, sub, number) for number in range(40, 90)))
    statuses = [each.status for each in replies]
    assert statuses.count(200) == 10
    assert statuses.count(429) == 40
    assert len(await site.events("ticket.intent")) == BUDGET // STEP


async def test_head_is_judged_like_get(site: Guarded) -> None:
    path = f"{OBJECT}?referenceName=one&start=0&end={BUDGET}"
    assert (await site.ask("HEAD", path, CAROL)).status == 200
    assert len(await site.events("ticket.intent")) == 1
    beyond = f"{OBJECT}?referenceName=one&start={BUDGET}&end={BUDGET + STEP}"
    for method in ("GET", "HEAD"):
        assert (await site.ask(method, beyond, CAROL)).status == 429
    assert len(await site.events("ticket.denied")) == 2
