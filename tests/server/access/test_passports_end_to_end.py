"""Passports and visas against the running server: what is not believed opens nothing."""

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from auth.clock import SteadyClock
from tests.server.access.bad_tokens import EVIL
from tests.server.access.bad_visas import CLAUSE, FACULTY, IGNORED, Visas
from tests.server.access.denials import uniform
from tests.server.access.passport_site import READS, VARIANTS, PassportSite, passport_site
from tests.support.broker import Answer, Broker, SigningKey
from tests.support.passport_world import ALICE, BOB, HOUR, World
from tests.support.trusting import DAC, DATASET, TERMS, UNI

NOT_VISIBLE = "object.not_visible"


@pytest.fixture
async def site(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[PassportSite]:
    async with passport_site(data, tmp_path, caplog) as found:
        yield found


async def hidden(site: PassportSite, token: str, path: str = READS, **more: Any) -> None:
    """It is as if there were nothing."""
    reply = await site.at.refused(
        path, token, status=404, event="ticket.denied", rule=NOT_VISIBLE, **more
    )
    assert reply.error == (404, "NotFound")


def registered(world: World, *, status: str = TERMS, terms: str = TERMS) -> list[str]:
    broker = world.broker
    return [
        broker.visa("ResearcherStatus", status, UNI, "so"),
        broker.visa("AcceptedTermsAndPolicies", terms, UNI, "self"),
    ]


async def test_visas_that_are_in_order(site: PassportSite) -> None:
    world = site.world
    visas = [world.grant(), world.linked, *registered(world)]
    for token in (site.token(*visas), site.passport(*visas)):
        assert (await site.get(token)).status == 200
        assert (await site.get(token, VARIANTS)).status == 200
    handle = json.loads((await site.exchange(site.passport(*visas))).body)["access_token"]
    assert (await site.get(handle)).status == 200
    intents = [each for each in await site.at.site.records() if each["event"] == "ticket.intent"]
    assert {each["visas"][0]["source"] for each in intents} == {DAC, UNI}


@pytest.mark.security("TV1", "TV2")
async def test_passports_that_are_no_good(site: PassportSite) -> None:
    world, now = site.world, int(time.time())
    visas = [world.grant(), world.linked]
    for passport, rule, exchanged in (
        (site.passport(*visas, header={"typ": "JWT"}), "token.kind", "passport.typ"),
        (site.passport(*visas, iat=now - HOUR, exp=now - 31), "token.exp", "token.exp"),
        (site.passport(*visas, aud="https://other.example"), "token.aud", "token.aud"),
    ):
        uniform(await site.at.refused(READS, passport, rule=rule))
        before = len(await site.at.site.records())
        reply = await site.exchange(passport)
        assert reply.status == 400
        assert json.loads(reply.body)["error"] == "invalid_request"
        await site.at.recorded(before, [("auth.fail", exchanged)], (passport, *visas), reply)
    assert world.committee.requests == 0


@pytest.mark.security("TV3")
async def test_one_forged_visa(site: PassportSite) -> None:
    world = site.world
    forged = world.grant(key=SigningKey.make("RS256", world.committee.key.kid, number=9))
    visas = [forged, world.linked, *registered(world)]
    for token in (site.token(*visas), site.passport(*visas)):
        assert (await site.get(token, VARIANTS)).status == 200
        await hidden(site, token, secrets=(forged,))


@pytest.mark.security("TV4", "TV5", "TV6", "TV7", "TV8", "TV9", "TV10", "TV11", "TV13", "TV18")
@pytest.mark.parametrize("visas", IGNORED)
async def test_visas_that_are_ignored(site: PassportSite, visas: Visas) -> None:
    """Alice is linked, so whatever she does not get is because of the visas."""
    world = site.world
    held = [*visas(world), world.linked]
    await hidden(site, site.token(*held), secrets=tuple(held))
    assert world.committee.asked.keys() <= {"jwks"}
    assert (await site.get(site.token(world.grant(), world.linked))).status == 200


@pytest.mark.security("TV8", "TV9", "TV10")
async def test_conditions_that_are_met(site: PassportSite) -> None:
    world = site.world
    for conditions in (FACULTY, [[CLAUSE]], [[{**CLAUSE, "value": "pattern:*?@uni*"}]], []):
        visas = [world.grant(visa={"conditions": conditions}), world.role(), world.linked]
        assert (await site.get(site.token(*visas))).status == 200


@pytest.mark.security("TV4")
async def test_an_attackers_keys_are_never_asked_for(site: PassportSite) -> None:
    world = site.world
    async with Broker(keys=[EVIL]).serving() as evil:
        kid = world.committee.key.kid
        for header in ({"jku": evil.jku}, {"jku": evil.jku, "kid": kid}, {"x5u": evil.jku}):
            visa = world.grant(key=EVIL, header={"kid": kid, **header})
            await hidden(site, site.token(visa, world.linked))
        await hidden(site, site.token(evil.visa("ControlledAccessGrants", DATASET, DAC)))
        assert evil.requests == 0


@pytest.mark.security("TV11")
async def test_who_is_not_linked(site: PassportSite) -> None:
    world = site.world
    await hidden(site, site.token(world.grant()))  # the committee's Alice may be another
    await hidden(site, site.token(world.grant(sub=BOB), world.link((world.committee, ALICE))))
    await hidden(site, site.token(world.grant(), world.link((world.committee, ALICE), sub=BOB)))


@pytest.mark.security("TV12")
@pytest.mark.parametrize("enabled", [True, False])
async def test_visas_that_are_access_tokens(
    enabled: bool, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    formats = '"document", "access_token"' if enabled else '"document"'
    async with passport_site(data, tmp_path, caplog, formats=formats) as site:
        world, now = site.world, int(time.time())

        def visa(**claims: Any) -> str:
            key = world.committee.key
            token = world.grant(**claims, scope="openid")
            head, body, _ = (base64.urlsafe_b64decode(f"{each}==") for each in token.split("."))
            members = json.loads(head)
            del members["jku"]
            return key.sign_bytes(json.dumps(members | {"typ": "JWT"}).encode(), body)

        fresh, old = visa(iat=now - 60), visa(iat=now - 4000)
        world.committee.answers["userinfo"] = Answer(401)
        if enabled:
            assert (await site.get(site.token(fresh, world.linked))).status == 200
        else:
            await hidden(site, site.token(fresh, world.linked))
        await hidden(site, site.token(old, world.linked))
        assert world.committee.asked["userinfo"] == int(enabled)


@pytest.mark.security("TV14")
async def test_too_many_visas(site: PassportSite) -> None:
    world = site.world
    good = [world.grant(), world.linked]
    many = [*good, *("a.b.c" for _ in range(511))]
    reply = await site.exchange(site.passport(*many))
    assert reply.status == 400
    assert (await site.exchange("a" * 10_000_000)).status == 413
    uniform(await site.at.refused(token=site.passport(*many), rule="passport.visas"))
    stranger = Broker(keys=[EVIL], url="https://unknown.example")
    unknown = stranger.visa("ControlledAccessGrants", DATASET, DAC)
    begin = time.monotonic()
    found = await site.get(site.token(*good, *(f"{unknown[:-3]}{n:03d}" for n in range(500))))
    assert found.status == 200
    assert time.monotonic() - begin < 2
    site.at.site.broker.visas[ALICE] = many
    token = site.broker.access_token(ALICE)
    await site.at.refused(READS, token, status=503, rule="userinfo.visas")


@pytest.mark.security("TV15")
async def test_visas_without_a_passport(site: PassportSite) -> None:
    world, live = site.world, site.at.site.live
    visas = [world.grant(), world.linked]
    bare = json.dumps(visas)
    headers = {"Content-Type": "application/json"}
    for body in (bare, json.dumps({"ga4gh_passport_v1": visas})):
        reply = await live.ask("POST", "/auth/exchange", headers=headers, data=body.encode())
        assert reply.status == 400
    for subject in (bare, visas[0], ",".join(visas)):
        assert (await site.exchange(subject)).status == 400
    rule = "bearer.syntax"
    uniform(await site.at.refused(token=bare.replace(" ", ""), rule=rule, secrets=tuple(visas)))
    uniform(await site.at.refused(token=visas[0], rule="token.iss"))
    uniform(await site.at.refused(token=visas[1], rule="token.typ"))
    reply = await site.at.refused(
        READS,
        headers={"GA4GH-Passport": bare, "X-Passport": visas[0]},
        rule="credential.missing",
        event="ticket.denied",
        secrets=tuple(visas),
    )
    assert reply.error == (401, "InvalidAuthentication")
    assert world.committee.requests == 0


def claims_of(url: str) -> dict[str, Any]:
    """What a capability says."""
    body = url.rpartition("/")[2].split(".")[2]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return found


@pytest.mark.security("TV16")
async def test_a_ticket_ends_with_its_visa(site: PassportSite) -> None:
    world, soon = site.world, int(time.time()) + 30
    visas = [world.grant(exp=soon), world.linked]
    handle = json.loads((await site.exchange(site.passport(*visas))).body)
    assert 0 < handle["expires_in"] <= 30
    for token in (site.token(*visas), site.passport(*visas), handle["access_token"]):
        reply = await site.get(token)
        assert all(claims_of(url)["exp"] <= soon for url in reply.urls)
    late = site.token(world.grant(exp=soon + HOUR), world.linked)
    assert all(claims_of(url)["exp"] > soon for url in (await site.get(late)).urls)
    for each in await site.at.site.events("ticket.intent"):
        assert each["not_after"] <= soon or each["not_after"] >= soon + 500


@pytest.mark.security("TV17")
async def test_registered_access_needs_both(site: PassportSite) -> None:
    world = site.world
    status, terms = registered(world)
    other = "https://doi.org/10.1000/other"
    for visas in (
        [status],
        [terms],
        registered(world, status=other),
        registered(world, terms=other),
        [*registered(world, status=other), terms],
    ):
        await hidden(site, site.token(*visas), VARIANTS)
    assert (await site.get(site.token(status, terms), VARIANTS)).status == 200


@pytest.mark.security("TV19")
@pytest.mark.parametrize(
    "said",
    [
        b'{"a":1}',
        b"7",
        b"null",
        b'"x"',
        b"[[]]",
        b"[1]",
        b"[null]",
        b'["' + b"x" * 2_100_000 + b'"]',
    ],
    ids=lambda said: said[:8].decode(),
)
async def test_userinfo_that_is_no_good(site: PassportSite, said: bytes) -> None:
    """Never partial trust: also what would do without any visa waits."""
    token = site.token(site.world.grant(), site.world.linked)
    body = b'{"sub":"' + ALICE.encode() + b'","ga4gh_passport_v1":' + said + b"}"
    site.broker.answers["userinfo"] = Answer(body=body)
    rule = "userinfo.unreachable" if len(said) > 1_000_000 else "userinfo.visas"
    for path in (READS, VARIANTS):
        reply = await site.at.refused(path, token, status=503, rule=rule)
        assert int(reply.headers["Retry-After"]) > 0
    del site.broker.answers["userinfo"]
    assert (await site.get(token)).status == 200


@pytest.mark.security("TV20")
async def test_exchange(
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = 0.0
    now = time.time()
    clock = SteadyClock(lambda: now + passed, lambda: passed)
    monkeypatch.setattr("server.access.opened.SteadyClock", lambda: clock)
    async with passport_site(data, tmp_path, caplog) as site:
        passport = site.passport(site.world.grant(), site.world.linked)
        before = len(await site.at.site.records())
        reply = await site.exchange("", f"?subject_token={passport}")
        assert reply.status == 400
        said = [("auth.fail", "exchange.invalid_request")]
        await site.at.recorded(before, said, (passport,), reply)
        before = len(await site.at.site.records())
        reply = await site.exchange(passport)
        handle = json.loads(reply.body)["access_token"]
        assert reply.headers["Cache-Control"] == "no-store"
        await site.at.recorded(before, [("exchange.issued", None)], (passport, handle))
        # As configured: a handle is good for whoever holds it, through any program.
        for program in ("samtools/1.21", "igv.js/3"):
            headers = {"Authorization": f"Bearer {handle}", "User-Agent": program}
            assert (await site.at.site.live.ask("GET", READS, headers=headers)).status == 200
        uniform(await site.at.refused(token=handle[:-1] + "x", rule="token.syntax"))
        passed = 3601.0
        uniform(await site.at.refused(token=handle, rule="token.syntax"))
