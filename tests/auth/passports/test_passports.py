"""Passports of real brokers on loopback: what is believed, of whom, and what that costs."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.passports.reader import MAX_PASSPORT, PassportReader, is_passport
from auth.passports.userinfo import MAX_VISAS
from auth.principal import Principal
from auth.tokens.jose import Compact, Key, verify
from tests.support.broker import AUDIENCE, Answer, Broker, SigningKey
from tests.support.passport_world import ALICE, BOB, HOUR, World, a_world
from tests.support.trusting import DAC, DATASET, UNI, trust_in, trusted_broker

LEEWAY = 30


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


def values(principal: Principal) -> list[str]:
    return [visa.value for visa in principal.visas]


async def reason(world: World, passport: str, **trusted: Any) -> str:
    with pytest.raises(InvalidCredential) as caught:
        await world.reader(**trusted).of_passport(passport)
    return caught.value.reason


async def test_a_passport(world: World) -> None:
    passport = world.broker.passport([world.grant(), world.role(), world.linked], jti="pp-1")
    assert is_passport(passport)
    principal = await world.reader().of_passport(passport)
    assert (principal.iss, principal.sub) == (world.broker.issuer, ALICE)
    assert values(principal)[:2] == [DATASET, "faculty@uni.example"]
    assert principal.identities == {
        (world.broker.issuer, ALICE),
        (world.committee.issuer, ALICE),
    }
    assert principal.not_after == pytest.approx(world.clock() + HOUR, abs=5)
    assert principal.token_id == "pp-1"  # noqa: S105
    assert principal.scopes == frozenset()
    assert world.committee.asked == {"jwks": 1}


async def test_a_passport_without_visas_and_without_jti(world: World) -> None:
    principal = await world.reader().of_passport(world.broker.passport([], jti=None))
    assert principal.visas == ()
    assert principal.identities == {(world.broker.issuer, ALICE)}
    assert principal.token_id.startswith("sha256:")
    assert world.committee.requests == 0


@pytest.mark.security("TV1")
@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "vnd.ga4gh.visa+jwt", None, "passport"])
async def test_the_type_of_a_passport_is_required(world: World, typ: str | None) -> None:
    passport = world.broker.passport([world.grant()], header={"typ": typ})
    assert not is_passport(passport)
    assert await reason(world, passport) == "passport.typ"
    assert world.broker.requests == 0


@pytest.mark.parametrize("typ", ["application/vnd.ga4gh.passport+jwt", "VND.GA4GH.Passport+JWT"])
async def test_spellings_of_the_type(world: World, typ: str) -> None:
    passport = world.broker.passport([], header={"typ": typ})
    assert is_passport(passport)
    assert (await world.reader().of_passport(passport)).sub == ALICE


@pytest.mark.security("TV2")
async def test_an_expired_passport_with_good_visas(world: World) -> None:
    now = int(world.clock())
    visas = [world.grant(), world.linked]
    passport = world.broker.passport(visas, iat=now - HOUR, exp=now - LEEWAY - 1)
    assert await reason(world, passport) == "token.exp"
    assert world.committee.requests == 0
    late = world.broker.passport(visas, iat=now - HOUR, exp=now - LEEWAY + 5)
    assert values(await world.reader().of_passport(late))


@pytest.mark.parametrize(
    ("changes", "header", "expected"),
    [
        ({"iss": "https://other.example/"}, {}, "token.iss"),
        ({"iss": None}, {}, "token.iss"),
        ({"iss": ["x"]}, {}, "token.iss"),
        ({"sub": None}, {}, "token.sub"),
        ({"sub": ""}, {}, "token.sub"),
        ({"iat": None}, {}, "token.iat"),
        ({"exp": None}, {}, "token.exp"),
        ({"aud": None}, {}, "token.aud"),
        ({"aud": "https://other.example"}, {}, "token.aud"),
        ({"aud": []}, {}, "token.aud"),
        ({"aud": AUDIENCE + "/"}, {}, "token.aud"),
        ({"ga4gh_passport_v1": None}, {}, "passport.visas"),
        ({"ga4gh_passport_v1": {}}, {}, "passport.visas"),
        ({"ga4gh_passport_v1": "visa"}, {}, "passport.visas"),
        ({"ga4gh_passport_v1": [1]}, {}, "passport.visas"),
        ({"ga4gh_passport_v1": [["visa"]]}, {}, "passport.visas"),
        ({}, {"alg": "HS256"}, "token.alg"),
        ({}, {"alg": "none"}, "token.alg"),
        ({}, {"kid": "unknown"}, "token.kid"),
        ({}, {"kid": None}, "token.kid"),
        ({}, {"crit": ["exp"]}, "token.crit"),
        ({}, {"jku": "https://evil.example/jwks"}, "token.key_header"),
        ({}, {"jwk": {"kty": "oct"}}, "token.key_header"),
    ],
)
async def test_a_defective_passport_is_refused_whole(
    world: World, changes: dict[str, Any], header: dict[str, Any], expected: str
) -> None:
    passport = world.broker.passport([world.grant(), world.linked], header=header, **changes)
    assert await reason(world, passport) == expected


async def test_a_passport_of_another_key(world: World) -> None:
    other = Broker([SigningKey.make(number=9, kid=world.broker.key.kid)], url=world.broker.url)
    assert await reason(world, other.passport([])) == "token.signature"


async def test_a_passport_that_lives_too_long(world: World) -> None:
    passport = world.broker.passport([], exp=int(world.clock()) + 25 * HOUR)
    assert await reason(world, passport) == "token.lifetime"


async def test_a_passport_for_nobody_in_particular(world: World) -> None:
    passport = world.broker.passport([], aud=None)
    assert (await world.reader(allow_missing_aud=True).of_passport(passport)).sub == ALICE


async def test_passports_of_a_broker_without_that_flow(world: World) -> None:
    trusted = replace(trusted_broker(world.broker), flows=frozenset(("userinfo",)))
    reader = PassportReader(trust_in([trusted]), world.fetch, world.clock)
    with pytest.raises(InvalidCredential, match=r"passport\.flow"):
        await reader.of_passport(world.broker.passport([]))
    assert world.broker.requests == 0


async def test_revoked_passports_people_and_visas(world: World, tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    passport = world.broker.passport([world.grant(jti="v-9"), world.linked], jti="pp-9")
    for line, expected in [
        ("pp-9", "token.revoked"),
        (f"{world.broker.issuer}|{ALICE}", "token.revoked"),
    ]:
        revoked.write_text(line)
        assert await reason(world, passport, revoked=revoked) == expected
    revoked.write_text("v-9")
    principal = await world.reader(revoked=revoked).of_passport(passport)
    assert [visa.type for visa in principal.visas] == ["LinkedIdentities"]


@pytest.mark.security("TV3")
@pytest.mark.parametrize("forgery", ["other key", "changed", "unknown kid", "no signature"])
async def test_a_forged_visa_is_left_out_and_only_that(world: World, forgery: str) -> None:
    good = world.grant(value="good")
    if forgery == "other key":
        key = SigningKey.make("RS256", world.committee.key.kid, number=9)
        forged = world.grant(value="forged", key=key)
    elif forgery == "unknown kid":
        forged = world.grant(value="forged", key=SigningKey.make("RS256", "nobody", number=9))
    elif forgery == "no signature":
        forged = world.grant(value="forged").rpartition(".")[0] + ".AAAA"
    else:
        head, _, signature = world.grant(value="good").split(".")
        forged = ".".join((head, world.grant(value="forged").split(".")[1], signature))
    principal = await world.read(forged, good, world.linked)
    assert values(principal)[0] == "good"
    assert "forged" not in values(principal)


@pytest.mark.security("TV4", "TV5", "TV6", "TV7", "TV13", "TV18")
async def test_untrusted_visas_cost_no_request(world: World) -> None:
    evil = Broker(url="https://evil.example", clock=world.clock)
    visas = [
        world.grant(header={"jku": f"{world.committee.jku}?x"}),
        world.grant(header={"jku": "https://evil.example/jwks"}),
        world.broker.visa("ControlledAccessGrants", DATASET, DAC, "dac"),
        world.committee.visa("ControlledAccessGrants", DATASET, UNI, "dac"),
        world.committee.visa("controlledaccessgrants", DATASET, DAC, "dac"),
        world.committee.visa("https://ras.nih.gov/visas/v1.1", DATASET, DAC, "dac"),
        world.grant(by=None),
        world.grant(header={"alg": "HS256"}),
        evil.visa("ControlledAccessGrants", DATASET, DAC),
        "not a visa",
    ]
    reader = world.reader()
    holdings = await reader.visas.read(visas, (world.committee.issuer, ALICE), "linked")
    assert holdings.visas == ()
    assert holdings.left_out == {
        "visa.jku": 2,
        "visa.type": 3,
        "visa.source": 1,
        "visa.by": 1,
        "visa.alg": 1,
        "visa.iss": 1,
        "visa.syntax": 1,
    }
    assert world.committee.requests == world.broker.requests == 0


def conditions(**clause: str) -> dict[str, Any]:
    return {"visa": {"conditions": [[{"type": "AffiliationAndRole", **clause}]]}}


FACULTY = conditions(value="pattern:*@uni.example", by="const:so")


async def test_conditions_that_are_met(world: World) -> None:
    assert DATASET in values(await world.read(world.grant(**FACULTY), world.role(), world.linked))


@pytest.mark.security("TV8")
async def test_conditions_that_are_not_met(world: World) -> None:
    now = int(world.clock())
    grant = world.grant(**FACULTY)
    for role in [
        None,
        world.role(by="peer"),
        world.role("faculty@uni.example.evil"),
        world.role(exp=now - 1),
        world.role(sub=BOB),
        world.role(visa={"conditions": []}),
        world.role(**FACULTY),
    ]:
        principal = await world.read(grant, world.linked, *([role] if role else []))
        assert DATASET not in values(principal)


async def test_conditions_bring_the_visas_they_ask_for(world: World) -> None:
    """Policy wants grants only; affiliations are verified because a grant's conditions ask."""

    def wanted(type_: str, value: str) -> bool:
        return (type_, value) == ("ControlledAccessGrants", DATASET)

    reader = world.reader(wanted=wanted)
    root = (world.broker.issuer, ALICE)
    other = world.grant(value="other")
    plain = await reader.visas.read([world.grant(), world.role(), other], root, "same_sub")
    assert [visa.value for visa in plain.visas] == [DATASET]
    assert plain.left_out == {"visa.unneeded": 2}
    asked = await reader.visas.read([world.grant(**FACULTY), world.role()], root, "same_sub")
    assert [visa.value for visa in asked.visas] == [DATASET, "faculty@uni.example"]


async def test_links_may_have_conditions(world: World) -> None:
    link = world.link((world.committee, ALICE), **FACULTY)
    assert DATASET not in values(await world.read(world.grant(), link))
    assert DATASET in values(await world.read(world.grant(), link, world.role()))


@pytest.mark.security("TV11")
async def test_visas_of_two_persons_are_not_combined(world: World) -> None:
    visas = [world.grant(sub=BOB), world.role()]
    principal = await world.read(*visas)
    assert values(principal) == ["faculty@uni.example"]
    assert principal.identities == {(world.broker.issuer, ALICE)}
    # Linked by somebody who may not, and to somebody else.
    foreign = world.committee.visa("LinkedIdentities", "x,y", UNI, "system")
    elsewhere = world.link((world.committee, BOB), sub="stranger")
    assert values(await world.read(*visas, foreign, elsewhere)) == ["faculty@uni.example"]
    principal = await world.read(*visas, world.link((world.committee, BOB)))
    assert DATASET in values(principal)
    assert (world.committee.issuer, BOB) in principal.identities


async def test_links_reach_far_and_backwards(world: World) -> None:
    visas = [
        world.grant(sub="c"),
        world.link((world.committee, "c"), sub="b"),
        world.link((world.broker, "b"), (world.broker, ALICE), sub="a"),
    ]
    principal = await world.read(*visas)
    assert DATASET in values(principal)
    assert {sub for _, sub in principal.identities} == {ALICE, "a", "b", "c"}


async def test_rules_of_identity(world: World, caplog: pytest.LogCaptureFixture) -> None:
    visas = [world.grant(), world.grant(sub=BOB, value="of Bob")]
    assert values(await world.read(*visas)) == []
    assert values(await world.read(*visas, identity_rule="same_sub")) == [DATASET]
    assert "all visas are of one person" not in caplog.text
    principal = await world.read(*visas, identity_rule="broker")
    assert values(principal) == [DATASET, "of Bob"]
    assert len(principal.identities) == 3
    assert "all visas are of one person" in caplog.text


async def test_nobody_is_trusted_without_a_list(world: World) -> None:
    assert (await world.read(world.grant(), world.linked, issuers=[])).visas == ()
    assert world.committee.requests == 0


async def test_keys_of_a_needed_visa_cannot_be_had(world: World) -> None:
    world.committee.answers["jwks"] = Answer(500)
    with pytest.raises(AuthorityUnavailable):
        await world.read(world.grant(), world.linked)
    await world.read(world.grant(), world.linked, wanted=lambda type_, value: value == "other")


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token whose signature a reader of visas verifies."""
    seen: list[str] = []

    def spy(compact: Compact, key: Key) -> bytes:
        seen.append(compact.text)
        return verify(compact, key)

    monkeypatch.setattr("auth.passports.visa_reader.verify", spy)
    return seen


@pytest.mark.security("TV14")
async def test_too_many_visas_or_bytes(world: World, verifications: list[str]) -> None:
    assert await reason(world, world.broker.passport(["x"] * (MAX_VISAS + 1))) == "passport.visas"
    large = world.broker.passport(["x" * MAX_PASSPORT])
    assert not is_passport(large)
    assert await reason(world, large) == "token.size"
    began = time.process_time()
    assert await reason(world, "x" * (10 << 20)) == "token.size"
    assert time.process_time() - began < 0.05
    several = [world.grant(value=f"{number}") for number in range(65)]
    assert await reason(world, world.broker.passport(several)) == "passport.signatures"
    assert verifications == []


@pytest.mark.security("TV14")
async def test_visas_of_strangers_cost_no_signature(world: World, verifications: list[str]) -> None:
    evil = Broker(url="https://evil.example", clock=world.clock)
    strangers = [evil.visa("ControlledAccessGrants", f"{n}", DAC) for n in range(500)]
    assert values(await world.read(*strangers, world.role())) == ["faculty@uni.example"]
    assert len(verifications) == 1


async def test_equal_visas_are_verified_once(world: World, verifications: list[str]) -> None:
    principal = await world.read(*[world.role()] * 2, *[world.linked] * 3, *[world.grant()] * 400)
    assert len(verifications) <= 6
    verifications.clear()
    grant, linked = world.grant(), world.linked
    principal = await world.read(*[grant] * 300, linked, *[grant] * 100)
    assert verifications == [grant, linked]
    assert values(principal)[0] == DATASET


@pytest.mark.security("TV15")
async def test_bare_visas_are_no_passport(world: World) -> None:
    visa = world.grant()
    for token in [json.dumps([visa]), f"[{visa}]", f"{visa},{visa}", f"{visa} {visa}"]:
        assert not is_passport(token)
        assert await reason(world, token) == "token.syntax"
    assert not is_passport(visa)
    assert await reason(world, visa) == "passport.typ"


@pytest.mark.security("TV16")
async def test_the_end_of_a_visa_is_kept(world: World) -> None:
    soon = int(world.clock()) + 30
    principal = await world.read(world.grant(exp=soon), world.linked)
    assert principal.visas[0].exp == soon


async def test_the_keys_of_a_verifier_are_shared(world: World) -> None:
    first = world.reader()
    await first.of_passport(world.broker.passport([]))
    asked = world.broker.requests
    trust = trust_in([trusted_broker(world.broker)])
    second = PassportReader(trust, world.fetch, world.clock, keys=first._keys)
    await second.of_passport(world.broker.passport([]))
    assert world.broker.requests == asked
    await second.close()
    await first.close()
