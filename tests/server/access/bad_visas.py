"""Visas that a trusted issuer might send and that are not to be believed."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.passport_world import ALICE, BOB, World
from tests.support.trusting import DAC, DATASET, UNI

Visas = Callable[[World], list[str]]


def jku(change: Callable[[str], str]) -> Visas:
    return lambda world: [world.grant(header={"jku": change(world.committee.jku)})]


def granted(**changes: Any) -> Visas:
    return lambda world: [world.grant(**changes)]


def conditional(conditions: Any, *, role: dict[str, Any] | None = None) -> Visas:
    """A grant with conditions, and an affiliation that might meet them."""

    def visas(world: World) -> list[str]:
        held = [world.role(**{"visa": {}, **(role or {})})] if role is not None else []
        return [world.grant(visa={"conditions": conditions}), *held]

    return visas


FACULTY = [[{"type": "AffiliationAndRole", "value": "pattern:*@uni.example", "by": "const:so"}]]
SLOW = [[{"type": "AffiliationAndRole", "value": "pattern:" + "*a" * 30 + "b"}]]
CLAUSE = {"type": "AffiliationAndRole", "by": "const:so"}
MALFORMED: tuple[Any, ...] = (
    CLAUSE,
    [[]],
    [[{"by": "const:so"}]],
    [[{"type": "AffiliationAndRole"}]],
    [[{**CLAUSE, "by": "regex:so"}]],
    [[{**CLAUSE, "by": "so"}]],
    [[{**CLAUSE, "asserted": 1}]],
    [[{**CLAUSE, "conditions": [[CLAUSE]]}]],
    [[CLAUSE], [[CLAUSE]]],
    [[CLAUSE, {}]],
)


def case(name: str, *rows: Visas) -> list[Any]:
    return [pytest.param(visas, id=f"{name}-{number}") for number, visas in enumerate(rows)]


IGNORED = [
    *case(
        "TV4",
        *(
            jku(change)
            for change in (
                lambda url: url + "/more",
                lambda url: url + "?x=1",
                lambda url: url + "#x",
                lambda url: url.replace("http://127.0.0.1:", "http://127.0.0.1:1"),
                lambda url: url.upper(),
                lambda url: url.replace("http://", "http://committee@evil.example@"),
                lambda url: url.replace("127.0.0.1", "127.0.0.1."),
                lambda url: url.replace("127.0.0.1", "xn--dc-bja.example"),
            )
        ),
    ),
    *case(
        "TV5",
        lambda world: [world.broker.visa("ControlledAccessGrants", DATASET, DAC, "dac")],
        lambda world: [world.broker.visa("ControlledAccessGrants", DATASET, UNI, "dac")],
    ),
    *case(
        "TV6",
        *(
            lambda world, source=source: [
                world.committee.visa("ControlledAccessGrants", DATASET, source, sub=ALICE)
            ]
            for source in ("https://dac.other.example", DAC + "/", DAC.upper())
        ),
    ),
    *case("TV7", granted(by=None), granted(by="self"), granted(by="peer"), granted(by="DAC")),
    *case(
        "TV8",
        conditional(FACULTY),
        conditional(FACULTY, role={"by": "peer"}),
        conditional(FACULTY, role={"exp": int(time.time()) - 60}),
        conditional(FACULTY, role={"sub": BOB}),
        conditional(FACULTY, role={"visa": {"conditions": [[CLAUSE]]}}),
        conditional(FACULTY, role={"visa": {"conditions": []}}),
    ),
    *case(
        "TV9",
        *(conditional(conditions, role={}) for conditions in MALFORMED),
        conditional([[{"type": "x", "by": "const:so"}]] * 300),
    ),
    *case(
        "TV10",
        conditional(SLOW, role={"value": "a" * 250}),
        conditional([[{**CLAUSE, "value": "pattern:[a-z]*"}]], role={}),
        conditional([[{**CLAUSE, "value": "pattern:faculty.uni.example"}]], role={}),
        conditional([[{**CLAUSE, "value": "pattern:.*"}]], role={}),
        conditional([[{**CLAUSE, "value": "pattern:faculty@uni.example\n"}]], role={}),
    ),
    *case("TV11", granted(sub=BOB)),
    *case(
        "TV13",
        granted(header={"alg": "HS256"}),
        granted(header={"alg": "none"}),
    ),
    *case(
        "TV18",
        *(
            lambda world, kind=kind: [world.committee.visa(kind, DATASET, DAC)]
            for kind in ("controlledaccessgrants", "https://ras.nih.gov/visas/v1.1", "ALL")
        ),
    ),
]
