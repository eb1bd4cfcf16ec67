"""What an external decision point may do: restrict, deny, fail. Never give."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from auth.decision import AccessRequest, Decision, Outcome
from auth.errors import AuthorityUnavailable
from auth.fetching import Fetched, FetchFailed
from auth.policy.evaluation import NothingWithdrawn, Policy, load_policy
from auth.principal import ANONYMOUS, Principal
from formats.regions import Region
from server.access.decision_point import DecisionPoint
from server.outbound import Outbound
from tests.support.policies import (
    DATASET,
    NOW,
    SEQCOL,
    asking,
    grant,
    head,
    person,
    visa,
    write_policy,
)

URL = "https://pdp.example/authz"
JSON = "application/json"


class Service:
    """A decision point that answers as it is told, and remembers what it was asked."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.urls: list[str] = []

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Fetched:
        assert method == "POST"
        self.urls.append(url)
        self.headers.append(headers or {})
        self.asked.append(json.loads(body or b""))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Fetched):
            return answer
        if callable(answer):
            await answer()
        return Fetched(200, json.dumps(answer).encode(), JSON)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    rules = (
        grant("G", ["chr1", "chr2:1-1000"], sub="me"),
        grant("C", ["chr1:1-1000"], sub="clip", how='partial = "clip"'),
        grant("W", sub="whole"),
        grant("F", ["chr1:1-9"], sub="other"),
    )
    return load_policy(write_policy(tmp_path, head(more=f'seqcol = "{SEQCOL}"') + "".join(rules)))


def decided(policy: Policy, principal: Principal, asked: AccessRequest) -> Decision:
    return policy.decide(principal, asked, consent=NothingWithdrawn(), now=NOW)


ME = person("me", visa(), client_id="igv")
ASKED = asking("d/a", "chr1:101-200", peer="10.0.0.1")


async def restricted(
    policy: Policy,
    answer: object,
    principal: Principal = ME,
    asked: AccessRequest = ASKED,
) -> Decision:
    point = DecisionPoint(URL, Service(answer), clock=lambda: NOW)
    return await point.restrict(decided(policy, principal, asked), principal, asked)


def permit(**obligations: object) -> dict[str, object]:
    return {"decision": True, "context": {"htsget": obligations}}


async def test_what_is_asked(policy: Policy) -> None:
    service = Service({"decision": True})
    point = DecisionPoint(f"{URL}/", service, credential="ours", clock=lambda: NOW)
    decision = decided(policy, ME, ASKED)
    assert await point.restrict(decision, ME, ASKED) == decision
    assert service.urls == [f"{URL}/access/v1/evaluation"]
    assert service.headers[0]["Authorization"] == "Bearer ours"
    (asked,) = service.asked
    held = visa()
    assert asked == {
        "subject": {
            "type": "researcher",
            "id": "https://login.example/|me",
            "properties": {
                "client_id": "igv",
                "visas": [
                    {
                        "type": "ControlledAccessGrants",
                        "value": DATASET,
                        "source": held.source,
                        "by": "dac",
                        "exp": held.exp,
                    }
                ],
            },
        },
        "action": {"name": "reads.slice"},
        "resource": {
            "type": "htsget-object",
            "id": "reads/d/a",
            "properties": {"dataset": "D", "seqcol": SEQCOL},
        },
        "context": {
            "regions": [["chr1", 100, 200]],
            "format": "BAM",
            "fields": None,
            "tags": None,
            "peer": "10.0.0.1",
            "time": "2026-06-01T00:00:00Z",
        },
    }


async def test_what_policy_refuses_is_not_asked(policy: Policy) -> None:
    service = Service({"decision": True})
    point = DecisionPoint(URL, service)
    for who, asked in ((ANONYMOUS, ASKED), (ME, asking("d/a")), (ME, asking("unknown"))):
        refusal = decided(policy, who, asked)
        assert not refusal.allowed
        assert await point.restrict(refusal, who, asked) is refusal
    assert service.asked == []


@pytest.mark.parametrize(
    ("obligations", "fine"),
    [
        ({}, True),
        ({"regions": None}, True),
        ({"regions": [["chr1", 100, 200]]}, True),
        ({"regions": [["chr1", 0, 150], ["chr1", 150, 500]]}, True),
        ({"regions": [["chr1", 101, 200]]}, False),
        ({"regions": [["chr1", 100, 199]]}, False),
        ({"regions": [["chr2", 100, 200]]}, False),
        ({"regions": [["*"]]}, False),
        ({"regions": []}, False),
        ({"boundary": "overlap"}, True),
        ({"not_after": int(NOW) + 5}, True),
        ({"not_after": int(NOW)}, False),
        ({"grant_ids": ["X-1"]}, True),
        ({"grant_ids": []}, True),
    ],
)
async def test_the_effective_right_is_what_both_permit(
    policy: Policy, obligations: dict[str, object], fine: bool
) -> None:
    decision = await restricted(policy, permit(**obligations))
    assert decision.allowed is fine
    if not fine:
        assert decision.outcome is Outcome.DENY
        assert decision.permitted is None
        assert decision.grant_ids == ()
        return
    assert decision.permitted is not None
    asked = decision.permitted.clip(ASKED.regions, ("chr1",))
    assert asked == (Region("chr1", 100, 200),)
    assert decision.permitted.clip((Region("chr2", 5000, 6000),), ("chr2",)) == ()
    ids = [f"pdp:{each}" for each in obligations.get("grant_ids", [])]  # type: ignore[attr-defined]
    assert decision.grant_ids == ("G", *ids)
    assert decision.not_after == obligations.get("not_after", 0)


async def test_permitted_is_narrowed(policy: Policy) -> None:
    decision = await restricted(policy, permit(regions=[["chr1", 100, 300], ["chr9", 0, 9]]))
    assert decision.permitted is not None
    assert decision.permitted.clip(None, ("chr1", "chr2", "chr9")) == (Region("chr1", 100, 300),)


async def test_clipped_answers_are_clipped_again(policy: Policy) -> None:
    clip, asked = person("clip"), asking("d/a", "chr1")
    decision = await restricted(policy, permit(regions=[["chr1", 500, 5000]]), clip, asked)
    assert decision.clipped
    assert decision.permitted is not None
    assert decision.permitted.clip(asked.regions, ("chr1",)) == (Region("chr1", 500, 1000),)
    nothing = await restricted(policy, permit(regions=[["chr1", 1000, 5000]]), clip, asked)
    assert nothing.rule == "decision_point.region"


async def test_whole_objects(policy: Policy) -> None:
    whole, asked = person("whole"), asking("d/a")
    assert (await restricted(policy, {"decision": True}, whole, asked)).allowed
    part = await restricted(policy, permit(regions=[["chr1", 0, 1 << 59]]), whole, asked)
    assert part.rule == "decision_point.region"
    header = asking("d/a", data_class="header")
    assert (await restricted(policy, permit(regions=[["chr1", 0, 9]]), whole, header)).allowed


async def test_regions_make_blocks_exact(tmp_path: Path) -> None:
    how = 'mode = "blocks"\nheader = "full"\ndelivery = "direct"'
    policy = load_policy(write_policy(tmp_path, head() + grant("G", how=how)))
    plain = await restricted(policy, {"decision": True})
    assert (plain.projection.mode, plain.delivery) == ("blocks", "direct")
    cut = await restricted(policy, permit(regions=[["chr1", 0, 500]]))
    assert (cut.projection.mode, cut.delivery) == ("exact", "proxy")


@pytest.mark.parametrize(
    "obligations",
    [{"boundary": "mask"}, {"boundary": "contained"}, {"fields": ["POS"]}, {"fields": []}],
)
async def test_what_cannot_be_served_yet_is_refused(
    policy: Policy, obligations: dict[str, object]
) -> None:
    decision = await restricted(policy, permit(**obligations))
    assert decision.outcome is Outcome.DENY
    assert decision.rule == "projection.unsupported"
    assert decision.details in (("boundary",), ("fields",))


@pytest.mark.security("TS4")
@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ({"decision": False}, "decision_point.denied"),
        ({"decision": False, "context": {"anything": 1}}, "decision_point.denied"),
        ({"decision": True, "obligations": []}, "decision_point.obligation"),
        ({"decision": True, "context": {"obligations": []}}, "decision_point.obligation"),
        ({"decision": True, "context": []}, "decision_point.obligation"),
        ({"decision": True, "context": {"htsget": None}}, "decision_point.obligation"),
        (permit(samples=["S"]), "decision_point.obligation"),
        (permit(Regions=[]), "decision_point.obligation"),
        (permit(regions="chr1"), "decision_point.obligation"),
        (permit(regions=[["chr1", 100]]), "decision_point.obligation"),
        (permit(regions=[["chr1", "100", 200]]), "decision_point.obligation"),
        (permit(regions=[["chr1", True, 200]]), "decision_point.obligation"),
        (permit(regions=[["chr1", -1, 200]]), "decision_point.obligation"),
        (permit(regions=[["chr1", 200, 100]]), "decision_point.obligation"),
        (permit(regions=[["*", 0, 100]]), "decision_point.obligation"),
        (permit(regions=[["chr1", 0, 1 << 70]]), "decision_point.obligation"),
        (permit(boundary="none"), "decision_point.obligation"),
        (permit(boundary=None), "decision_point.obligation"),
        (permit(boundary=["mask"]), "decision_point.obligation"),
        (permit(fields="POS"), "decision_point.obligation"),
        (permit(fields=[1]), "decision_point.obligation"),
        (permit(not_after="tomorrow"), "decision_point.obligation"),
        (permit(not_after=1e12), "decision_point.obligation"),
        (permit(not_after=True), "decision_point.obligation"),
        (permit(not_after=0), "decision_point.obligation"),
        (permit(not_after=None), "decision_point.obligation"),
        (permit(grant_ids=["a\nb"]), "decision_point.obligation"),
        (permit(grant_ids=["x"] * 17), "decision_point.obligation"),
    ],
)
async def test_what_is_denied(policy: Policy, answer: object, rule: str) -> None:
    decision = await restricted(policy, answer)
    assert (decision.outcome, str(decision.rule)) == (Outcome.DENY, rule)


async def test_what_is_told_to_people_is_no_obligation(policy: Policy) -> None:
    context = {"id": "0", "reason_admin": {"en": "fine"}, "reason_user": {"403": "x"}}
    assert (await restricted(policy, {"decision": True, "context": context})).allowed


@pytest.mark.security("TS4")
@pytest.mark.parametrize(
    "answer",
    [
        {"decision": "true"},
        {"decision": 1},
        {"decision": None},
        {},
        [],
        "true",
        True,
        Fetched(200, b"", JSON),
        Fetched(200, b"{", JSON),
        Fetched(200, b'{"decision": false, "decision": true}', JSON),
        Fetched(200, b'{"decision": true} {}', JSON),
        Fetched(200, b'{"decision": true, "context": ' + b"[" * 50 + b"]" * 50 + b"}", JSON),
        Fetched(200, b'{"decision": true}', "text/html"),
        Fetched(200, b'{"decision": true}' + b" " * (1 << 19), JSON),
        Fetched(302, b'{"decision": true}', JSON),
        Fetched(403, b'{"decision": true}', JSON),
        Fetched(500, b'{"decision": true}', JSON),
        FetchFailed("refused"),
    ],
)
async def test_no_answer_is_no_permission(policy: Policy, answer: object) -> None:
    with pytest.raises(AuthorityUnavailable):
        await restricted(policy, answer)


@pytest.mark.security("TS4")
async def test_a_slow_service_is_not_waited_for(policy: Policy) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    point = DecisionPoint(URL, Service(slow), timeout=0.05)
    with pytest.raises(AuthorityUnavailable, match=r"decision_point\.timeout"):
        await point.restrict(decided(policy, ME, ASKED), ME, ASKED)


async def test_one_more_attempt(policy: Policy) -> None:
    service = Service(FetchFailed("closed"), {"decision": True})
    point = DecisionPoint(URL, service)
    assert (await point.restrict(decided(policy, ME, ASKED), ME, ASKED)).allowed
    assert len(service.asked) == 2
    service = Service(FetchFailed("closed"), FetchFailed("closed"), {"decision": True})
    with pytest.raises(AuthorityUnavailable, match="unreachable"):
        await DecisionPoint(URL, service).restrict(decided(policy, ME, ASKED), ME, ASKED)
    assert len(service.asked) == 2


async def test_the_circuit_breaks_and_mends(policy: Policy) -> None:
    clock = Clock()
    service = Service({"decision": "yes"})
    point = DecisionPoint(URL, service, failures=3, pause=10, monotonic=clock)
    decision = decided(policy, ME, ASKED)

    async def fails(reason: str) -> None:
        with pytest.raises(AuthorityUnavailable) as info:
            await point.restrict(decision, ME, ASKED)
        assert info.value.reason == f"decision_point.{reason}"

    for _ in range(3):
        await fails("answer")
    for _ in range(5):
        await fails("circuit_open")
    assert len(service.asked) == 3
    clock.now = 10
    await fails("answer")
    await fails("circuit_open")
    assert len(service.asked) == 4
    clock.now = 20
    service.answers = [{"decision": True}]
    assert (await point.restrict(decision, ME, ASKED)).allowed
    service.answers = [{"decision": 1}]
    other = asking("d/b", "chr1:101-200")
    with pytest.raises(AuthorityUnavailable, match="answer"):  # closed again: one failure is none
        await point.restrict(decided(policy, ME, other), ME, other)


async def test_who_goes_away_is_no_failure_of_the_service(policy: Policy) -> None:
    asked = asyncio.Event()

    async def slow() -> None:
        asked.set()
        await asyncio.sleep(60)

    service = Service(slow)
    point = DecisionPoint(URL, service, failures=1)
    waiting = asyncio.create_task(point.restrict(decided(policy, ME, ASKED), ME, ASKED))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    service.answers = [{"decision": True}]
    assert (await point.restrict(decided(policy, ME, ASKED), ME, ASKED)).allowed


async def test_answers_are_kept_for_the_same_question_only(policy: Policy) -> None:
    clock = Clock()
    service = Service({"decision": True})
    point = DecisionPoint(URL, service, keep=300, most_kept=3, monotonic=clock)

    async def ask(who: Principal, asked: AccessRequest) -> int:
        await point.restrict(decided(policy, who, asked), who, asked)
        return len(service.asked)

    assert await ask(ME, ASKED) == 1
    assert await ask(ME, ASKED) == 1
    clock.now = 29.9
    assert await ask(ME, ASKED) == 1
    clock.now = 30
    assert await ask(ME, ASKED) == 2
    assert await ask(person("me", client_id="igv"), ASKED) == 3  # other visas
    assert await ask(ME, asking("d/a", "chr1:101-201", peer="10.0.0.1")) == 4
    assert await ask(ME, asking("d/b", "chr1:101-200", peer="10.0.0.1")) == 5
    assert await ask(ME, ASKED) == 6  # the oldest of four


async def test_the_service_may_say_how_long_it_is_good_for(policy: Policy) -> None:
    service = Service(Fetched(200, b'{"decision": true}', JSON, max_age=0))
    point = DecisionPoint(URL, service)
    for _ in range(2):
        await point.restrict(decided(policy, ME, ASKED), ME, ASKED)
    assert len(service.asked) == 2


async def test_a_kept_answer_ends(policy: Policy) -> None:
    clock = Clock()
    clock.now = NOW
    service = Service(permit(not_after=int(NOW) + 5))
    point = DecisionPoint(URL, service, clock=clock, monotonic=lambda: 0.0)
    decision = decided(policy, ME, ASKED)
    assert (await point.restrict(decision, ME, ASKED)).not_after == NOW + 5
    clock.now = NOW + 5
    assert (await point.restrict(decision, ME, ASKED)).rule == "decision_point.denied"
    assert len(service.asked) == 1


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, dict[str, int]]]:
    """A real server, which answers by what is asked for."""
    calls: dict[str, int] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        name = asked["resource"]["id"].rpartition("/")[2]
        calls[name] = calls.get(name, 0) + 1
        if name == "redirect":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        if name == "huge":
            return web.json_response({"decision": True, "context": {"id": "x" * (1 << 20)}})
        if name == "slow":
            await asyncio.sleep(30)
        return web.json_response({"decision": True})

    async def elsewhere(request: web.Request) -> web.Response:
        calls["elsewhere"] = 1
        return web.json_response({"decision": True})

    app = web.Application()
    app.router.add_post("/access/v1/evaluation", answer)
    app.router.add_post("/elsewhere", elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", calls
    await runner.cleanup()


@pytest.mark.security("TS4")
async def test_over_the_way_out(policy: Policy, address: tuple[str, dict[str, int]]) -> None:
    url, calls = address
    outbound = Outbound([url])
    outbound.start()
    try:
        point = DecisionPoint(url, outbound, timeout=0.3)
        fine = asking("d/fine", "chr1:101-200")
        assert (await point.restrict(decided(policy, ME, fine), ME, fine)).allowed
        for name in ("redirect", "huge", "slow"):
            asked = asking(f"d/{name}", "chr1:101-200")
            with pytest.raises(AuthorityUnavailable):
                await point.restrict(decided(policy, ME, asked), ME, asked)
        assert "elsewhere" not in calls
    finally:
        await outbound.close()
