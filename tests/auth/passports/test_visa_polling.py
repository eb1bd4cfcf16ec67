"""Visas that are access tokens, as some issuers still make them."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from auth.principal import Principal
from tests.support.broker import Answer
from tests.support.passport_world import ALICE, BOB, HOUR, World, a_world
from tests.support.trusting import DAC, DATASET, visa_issuer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


def values(principal: Principal) -> list[str]:
    return [visa.value for visa in principal.visas]


def access_visa(world: World, age: int, **changes: Any) -> str:
    """A visa that is an access token, issued some seconds ago; its issuer's UserInfo knows it."""
    now = int(world.clock())
    visa = world.grant(
        header={"jku": None, "typ": "at+jwt"},
        scope="openid ga4gh_passport_v1",
        iat=now - age,
        **changes,
    )
    world.committee.subjects[visa] = ALICE
    return visa


@pytest.mark.security("TV12")
async def test_visas_that_are_access_tokens(world: World) -> None:
    fresh, old = access_visa(world, HOUR - 60), access_visa(world, HOUR + 60, value="old")
    assert values(await world.read(fresh, identity_rule="same_sub")) == []
    both = frozenset(("document", "access_token"))
    issuer = visa_issuer(world.committee, {"ControlledAccessGrants": [DAC]}, formats=both)
    reader = world.reader(issuers=[issuer], identity_rule="same_sub")

    async def read(*visas: str) -> list[str]:
        return values(await reader.of_passport(world.broker.passport(visas)))

    assert await read(fresh, world.grant(value="document")) == [DATASET, "document"]
    assert world.committee.asked["userinfo"] == 0
    world.committee.edits["userinfo"] = {"ga4gh_passport_v1": None}
    assert await read(old) == ["old"]
    assert await read(old) == ["old"]
    assert world.committee.asked["userinfo"] == 1
    # An hour later it is asked again, and now told that it is revoked: for good.
    world.clock.ahead += HOUR
    del world.committee.subjects[old]
    assert await read(old) == []
    world.committee.subjects[old] = ALICE
    world.clock.ahead += HOUR - 300
    assert await read(old) == []
    assert world.committee.asked["userinfo"] == 2


@pytest.mark.security("TV12")
async def test_polling_that_fails_or_tells_of_others(world: World) -> None:
    only = frozenset(("access_token",))
    issuer = visa_issuer(world.committee, {"ControlledAccessGrants": [DAC]}, formats=only)
    cases: list[tuple[Answer | None, dict[str, Any], str]] = [
        (Answer(401), {}, ALICE),
        (Answer(500), {}, ALICE),
        (Answer(body=b"[]"), {}, ALICE),
        (Answer(body=b"{"), {}, ALICE),
        (None, {}, BOB),
        (None, {"ga4gh_passport_v1": []}, ALICE),
        (None, {"ga4gh_passport_v1": {}}, ALICE),
    ]
    for answer, edits, subject in cases:
        visa = access_visa(world, HOUR + 60, jti=f"v-{time.monotonic_ns()}")
        world.committee.subjects[visa] = subject
        world.committee.edits["userinfo"] = edits
        world.committee.answers.clear()
        if answer is not None:
            world.committee.answers["userinfo"] = answer
        reader = world.reader(issuers=[issuer], identity_rule="same_sub")
        assert values(await reader.of_passport(world.broker.passport([visa]))) == []
