"""Visas that a broker's UserInfo gives for an access token, and for how long they are kept."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from auth.errors import AuthorityUnavailable, InsufficientScope, InvalidCredential
from auth.passports.reader import PassportReader
from auth.passports.userinfo import MAX_VISAS
from auth.principal import Principal
from tests.support.broker import AUDIENCE, CLIENT, Answer, SigningKey
from tests.support.passport_world import ALICE, BOB, HOUR, World, a_world
from tests.support.trusting import DATASET, trust_in, trusted_broker


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        world.broker.visas[ALICE] = [world.grant(), world.role(), world.linked]
        yield world


def alice(world: World, *scopes: str, **changes: Any) -> Principal:
    """Her, as a verified token told."""
    values: dict[str, Any] = {
        "client_id": CLIENT,
        "scopes": frozenset(scopes or ("openid", "ga4gh_passport_v1")),
        "identities": frozenset(((world.broker.issuer, ALICE),)),
        "claims": {"groups": ("a",)},
        "not_after": int(world.clock()) + HOUR,
        "token_id": "at-1",
    }
    return Principal(world.broker.issuer, ALICE, **values | changes)


async def test_visas_of_userinfo(world: World) -> None:
    reader, token = world.reader(), world.broker.access_token()
    assert reader.asks_userinfo(world.broker.issuer)
    assert reader.cached(token) is None
    before = alice(world)
    found = await reader.of_userinfo(before, token)
    assert [visa.value for visa in found.visas][:2] == [DATASET, "faculty@uni.example"]
    assert found.identities == {(world.broker.issuer, ALICE), (world.committee.issuer, ALICE)}
    assert (found.client_id, found.scopes, found.claims) == (
        before.client_id,
        before.scopes,
        before.claims,
    )
    assert (found.not_after, found.token_id) == (before.not_after, before.token_id)
    assert world.broker.headers["userinfo"]["Authorization"] == f"Bearer {token}"
    assert world.broker.asked["userinfo"] == 1
    assert reader.cached(token) is found
    assert await reader.of_userinfo(before, token) is found


async def test_a_pinned_url_needs_no_discovery(world: World) -> None:
    reader = world.reader(userinfo_url=f"{world.broker.url}/userinfo", jwks_url=world.broker.jku)
    world.broker.visas[ALICE] = [world.grant()]
    await reader.of_userinfo(alice(world), world.broker.access_token())
    assert world.broker.asked == {"userinfo": 1}


async def test_of_issuers_that_are_no_brokers(world: World) -> None:
    reader = PassportReader(trust_in([trusted_broker(world.broker)]), world.fetch, world.clock)
    assert not reader.asks_userinfo("https://other.example/")
    stranger = alice(world)
    stranger = Principal("https://other.example/", stranger.sub, scopes=stranger.scopes)
    with pytest.raises(InvalidCredential):
        await reader.of_userinfo(stranger, world.broker.access_token())


@pytest.mark.security("TT13")
@pytest.mark.parametrize(
    "scopes", [("openid",), ("ga4gh_passport_v1",), ("xopenid", "ga4gh_passport_v10")]
)
async def test_scopes(world: World, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InsufficientScope):
        await world.reader().of_userinfo(alice(world, *scopes), world.broker.access_token())
    assert world.broker.requests == 0


async def refusal(world: World) -> str:
    with pytest.raises(InvalidCredential) as caught:
        await world.reader().of_userinfo(alice(world), world.broker.access_token())
    return caught.value.reason


async def failure(world: World, reader: PassportReader | None = None) -> str:
    reader = reader or world.reader()
    with pytest.raises(AuthorityUnavailable) as caught:
        await reader.of_userinfo(alice(world), world.broker.access_token())
    return caught.value.reason


async def test_the_subject_must_be_the_same(world: World) -> None:
    for sub in (BOB, ALICE.upper(), None, "", [ALICE]):
        world.broker.edits["userinfo"] = {"sub": sub}
        assert await refusal(world) == "userinfo.sub"


@pytest.mark.security("TV19")
@pytest.mark.parametrize(
    ("visas", "expected"),
    [
        ({}, "userinfo.visas"),
        ({"0": "x"}, "userinfo.visas"),
        (1, "userinfo.visas"),
        ("x", "userinfo.visas"),
        (True, "userinfo.visas"),
        ([["x"]], "userinfo.visas"),
        (["x", None], "userinfo.visas"),
        (["x"] * (MAX_VISAS + 1), "userinfo.visas"),
        (["x" * ((16 << 10) + 1)], "userinfo.visas"),
        (["x" * (16 << 10)] * 65, "userinfo.visas"),
        (["x" * (16 << 10)] * 130, "userinfo.unreachable"),
    ],
)
async def test_odd_visas_spoil_the_whole_answer(world: World, visas: object, expected: str) -> None:
    world.broker.edits["userinfo"] = {"ga4gh_passport_v1": visas}
    assert await failure(world) == expected
    assert world.committee.requests == 0


@pytest.mark.security("TV19")
async def test_null_is_not_an_empty_list(world: World) -> None:
    body = json.dumps({"sub": ALICE, "ga4gh_passport_v1": None}).encode()
    world.broker.answers["userinfo"] = Answer(body=body)
    assert await failure(world) == "userinfo.visas"


async def test_somebody_without_visas(world: World) -> None:
    nothing: tuple[list[str] | None, ...] = (None, [])
    for visas in nothing:
        world.broker.edits["userinfo"] = {"ga4gh_passport_v1": visas}
        found = await world.reader().of_userinfo(alice(world), world.broker.access_token())
        assert found.visas == ()
        assert found.identities == {(world.broker.issuer, ALICE)}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(500), "userinfo.status"),
        (Answer(503), "userinfo.status"),
        (Answer(204), "userinfo.status"),
        (Answer(302, headers={"Location": "/jwks"}), "userinfo.unreachable"),
        (Answer(404), "userinfo.status"),
        (Answer(429), "userinfo.status"),
        (Answer(body=b""), "userinfo.json"),
        (Answer(body=b"{"), "userinfo.json"),
        (Answer(body=b"[]"), "userinfo.json"),
        (Answer(body=b'{"sub":"a","sub":"b"}'), "userinfo.json"),
        (Answer(content_type="text/html"), "userinfo.unreachable"),
        (Answer(content_type="application/jwk-set+json"), "userinfo.type"),
        (Answer(content_type="application/jwt"), "userinfo.token.syntax"),
    ],
)
async def test_answers_that_are_none(world: World, answer: Answer, expected: str) -> None:
    world.broker.answers["userinfo"] = answer
    assert await failure(world) == expected


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_the_broker_refuses_the_token(world: World, status: int) -> None:
    world.broker.answers["userinfo"] = Answer(status)
    assert await refusal(world) == "userinfo.refused"


async def test_a_broker_that_is_away_or_has_no_userinfo(world: World) -> None:
    world.broker.edits["discovery"] = {"userinfo_endpoint": None}
    assert await failure(world) == "userinfo.unknown"
    world.broker.answers["discovery"] = Answer(500)
    assert await failure(world) == "issuer.status"
    away = world.reader(userinfo_url="http://127.0.0.1:9/userinfo")
    assert await failure(world, away) == "userinfo.unreachable"


def signed(world: World, key: SigningKey | None = None, **changes: Any) -> Answer:
    claims: dict[str, Any] = {
        "iss": world.broker.issuer,
        "aud": AUDIENCE,
        "sub": ALICE,
        "ga4gh_passport_v1": [world.grant(), world.linked],
    } | changes
    header = {"typ": claims.pop("typ", "JWT")}
    body = (key or world.broker.key).sign(claims, **header)
    return Answer(body=body.encode(), content_type="application/jwt")


@pytest.mark.parametrize("changes", [{}, {"aud": CLIENT}, {"aud": ["x", CLIENT]}, {"typ": None}])
async def test_signed_answers(world: World, changes: dict[str, Any]) -> None:
    world.broker.answers["userinfo"] = signed(world, **changes)
    found = await world.reader().of_userinfo(alice(world), world.broker.access_token())
    assert found.visas[0].value == DATASET


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://other.example/"}, "token.iss"),
        ({"aud": None}, "token.aud"),
        ({"aud": []}, "token.aud"),
        ({"aud": "other"}, "token.aud"),
        ({"typ": "at+jwt"}, "token.typ"),
        ({"exp": 1}, "token.exp"),
        ({"exp": "never"}, "token.exp"),
        ({"key": SigningKey.make("ES256", number=9)}, "token.kid"),
        ({"key": SigningKey.make("PS256", number=9)}, "token.alg"),
    ],
)
async def test_signed_answers_that_are_not_for_us(
    world: World, changes: dict[str, Any], expected: str
) -> None:
    world.broker.answers["userinfo"] = signed(world, **changes)
    assert await failure(world) == f"userinfo.{expected}"


async def test_a_signed_answer_of_somebody_else(world: World) -> None:
    world.broker.answers["userinfo"] = signed(world, sub=BOB)
    assert await refusal(world) == "userinfo.sub"


async def test_many_at_once_ask_once(world: World) -> None:
    world.broker.answers["userinfo"] = signed(world)
    world.broker.answers["userinfo"].delay = 0.05
    reader, token = world.reader(), world.broker.access_token()
    asked = [reader.of_userinfo(alice(world), token) for _ in range(50)]
    leaver = asyncio.ensure_future(asked.pop())
    await asyncio.sleep(0.01)
    leaver.cancel()
    found = await asyncio.gather(*asked)
    assert len({id(each) for each in found}) == 1
    assert world.broker.asked["userinfo"] == 1


async def asked_after(world: World, seconds: float, **changes: Any) -> int:
    """How often UserInfo is asked by two requests some seconds apart."""
    reader, token = world.reader(), world.broker.access_token()
    world.broker.asked.clear()
    await reader.of_userinfo(alice(world, **changes), token)
    world.clock.ahead += seconds
    await reader.of_userinfo(alice(world, **changes), token)
    return world.broker.asked["userinfo"]


async def test_an_answer_is_kept_for_five_minutes(world: World) -> None:
    assert await asked_after(world, 290) == 1
    assert await asked_after(world, 301) == 2


async def test_an_answer_is_kept_as_long_as_the_token(world: World) -> None:
    assert await asked_after(world, 90, not_after=int(world.clock()) + 100) == 1
    assert await asked_after(world, 11, not_after=int(world.clock()) + 10) == 2


async def test_an_answer_is_kept_as_long_as_its_first_visa(world: World) -> None:
    now = int(world.clock())
    world.broker.visas[ALICE] = [world.role(exp=now + 60), world.role(exp=now + 600)]
    assert await asked_after(world, 55) == 1
    assert await asked_after(world, 10) == 2


async def test_a_refusal_is_kept_for_ten_seconds(world: World) -> None:
    reader, token = world.reader(), world.broker.access_token()
    world.broker.answers["userinfo"] = Answer(401)
    for _ in range(3):
        with pytest.raises(InvalidCredential, match=r"^userinfo.refused$"):
            await reader.of_userinfo(alice(world), token)
    assert world.broker.asked["userinfo"] == 1
    world.broker.answers.clear()
    with pytest.raises(InvalidCredential):
        reader.cached(token)
    world.clock.ahead += 10
    assert (await reader.of_userinfo(alice(world), token)).visas


async def test_a_failure_is_not_kept(world: World) -> None:
    reader, token = world.reader(), world.broker.access_token()
    world.broker.answers["userinfo"] = Answer(500)
    with pytest.raises(AuthorityUnavailable):
        await reader.of_userinfo(alice(world), token)
    world.broker.answers.clear()
    assert (await reader.of_userinfo(alice(world), token)).visas


async def test_visa_keys_that_cannot_be_had_are_a_failure(world: World) -> None:
    world.committee.answers["jwks"] = Answer(500)
    reader, token = world.reader(), world.broker.access_token()
    with pytest.raises(AuthorityUnavailable):
        await reader.of_userinfo(alice(world), token)
    assert reader.cached(token) is None


async def test_what_policy_wants_may_change(world: World) -> None:
    wanted = {"faculty@uni.example"}
    reader = world.reader(wanted=lambda type_, value: value in wanted)
    token = world.broker.access_token()
    found = await reader.of_userinfo(alice(world), token)
    assert DATASET not in [visa.value for visa in found.visas]
    wanted.add(DATASET)
    reader.forget()
    assert reader.cached(token) is None
    found = await reader.of_userinfo(alice(world), token)
    assert DATASET in [visa.value for visa in found.visas]


async def test_who_is_revoked_is_noticed_at_once(world: World, tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("")
    world.broker.visas[ALICE] = [world.grant(jti="v-9"), world.role(), world.linked]
    reader, token = world.reader(revoked=revoked), world.broker.access_token()
    found = await reader.of_userinfo(alice(world), token)
    assert len(found.visas) == 3
    revoked.write_text("v-9")
    await asyncio.sleep(1.1)  # it looks at the file once a second
    assert reader.cached(token) is None
    found = await reader.of_userinfo(alice(world), token)
    assert len(found.visas) == 2
    assert reader.cached(token) is found
    revoked.write_text("at-1")
    await asyncio.sleep(1.1)
    with pytest.raises(InvalidCredential):
        reader.check(found)


async def test_a_known_answer_costs_microseconds(world: World) -> None:
    reader, token = world.reader(), world.broker.access_token()
    await reader.of_userinfo(alice(world), token)
    began = time.perf_counter()
    for _ in range(1000):
        reader.cached(token)
    assert time.perf_counter() - began < 0.1


async def test_closing_ends_what_is_asked(world: World) -> None:
    world.broker.answers["userinfo"] = Answer(delay=1)
    reader = world.reader()
    waiting = asyncio.ensure_future(reader.of_userinfo(alice(world), "token"))
    await asyncio.sleep(0.1)
    await reader.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
