"""Bad tokens against the running server: one answer to all of them, and nothing opened."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auth.clock import SteadyClock
from tests.server.access.bad_tokens import BAD, EVIL, RSA, Forge
from tests.server.access.denials import READS, Bench, bench, sameness, uniform
from tests.server.access.guarded import guarded
from tests.support.broker import AUDIENCE, INTROSPECTOR, Answer, Broker, SigningKey


@pytest.fixture
async def at(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    broker = Broker(keys=[SigningKey.make("ES256", "ec-1"), RSA])
    async with guarded(data, tmp_path, broker=broker) as site:
        with bench(site, caplog) as found:
            yield found


async def accepted(at: Bench, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return (await at.site.live.ask("GET", READS, headers=headers)).status == 200


@pytest.mark.security("TT1", "TT2", "TT3", "TT5", "TT6", "TT7")
@pytest.mark.security("TT9", "TT10", "TT11", "TT12", "TT14", "TT15")
@pytest.mark.parametrize(("forge", "rule"), BAD)
async def test_whatever_is_wrong_with_a_token(at: Bench, forge: Forge, rule: str) -> None:
    broker = at.site.broker
    token = forge(broker)
    uniform(await at.refused(token=token, rule=rule))
    assert broker.asked.keys() <= {"jwks"}
    assert broker.requests <= 2  # its keys, and once more for an unknown one


@pytest.mark.security("TT12")
async def test_an_audience_among_others(at: Bench) -> None:
    for aud in (AUDIENCE, [AUDIENCE], ["https://other.example", AUDIENCE]):
        assert await accepted(at, at.site.broker.key.sign(at.site.broker.claims("alice", aud=aud)))


@pytest.mark.security("TT6", "TT7")
async def test_an_attackers_server_is_never_asked(at: Bench) -> None:
    async with Broker(keys=[EVIL]).serving() as evil:
        broker = at.site.broker
        for name in ("jku", "x5u"):
            for url in (evil.jku, f"{broker.jku}@{evil.url[7:]}/jwks", f"{broker.jku}#{evil.jku}"):
                token = EVIL.sign(broker.claims("alice"), kid=broker.key.kid, **{name: url})
                uniform(await at.refused(token=token, rule="token.key_header"))
        uniform(await at.refused(token=evil.access_token("alice"), rule="token.iss"))
        assert evil.requests == 0


@pytest.mark.security("TT4")
@pytest.mark.parametrize("alg", ["PS256", "RS384", "ES256"])
async def test_algorithms_of_other_issuers(
    alg: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However good the signature is: the issuer is configured for RS256."""
    broker = Broker(keys=[SigningKey.make(alg), RSA])

    def issuers(broker: Broker) -> list[dict[str, Any]]:
        values = {"issuer": broker.issuer, "audience": AUDIENCE, "jwks_url": broker.jku}
        return [{**values, "algorithms": "RS256"}]

    async with guarded(data, tmp_path, broker=broker, issuers=issuers) as site:
        with bench(site, caplog) as at:
            uniform(await at.refused(token=broker.access_token("alice"), rule="token.alg"))
            assert broker.requests == 0
            assert await accepted(at, RSA.sign(broker.claims("alice")))


@pytest.mark.security("TT8")
@pytest.mark.parametrize(
    ("dates", "rule"),
    [
        ({"exp": -32}, "token.exp"),
        ({"exp": -30}, "token.exp"),
        ({"exp": -20}, ""),
        ({"nbf": 45}, "token.nbf"),
        ({"nbf": 20}, ""),
        ({"iat": 45}, "token.iat"),
        ({"iat": 20}, ""),
    ],
)
async def test_times(at: Bench, dates: dict[str, int], rule: str) -> None:
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now - 600, **{k: now + each for k, each in dates.items()}}
    token = at.site.broker.access_token("alice", **claims)
    if rule:
        uniform(await at.refused(token=token, rule=rule))
    else:
        assert await accepted(at, token)


@pytest.mark.security("TT10", "TH3")
@pytest.mark.parametrize("token", ["." * 1_000_000, "A" * 10_000_000, "a.b." + "c" * 17_000])
async def test_tokens_of_any_size(at: Bench, token: str) -> None:
    """What no header line may hold is refused as it arrives, and none of it is repeated."""
    at.opened.clear()
    request = f"GET {READS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    begin = time.monotonic()
    answer = await spoken(at, request.encode())
    assert time.monotonic() - begin < 5
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ") or b" 400 " in answer[:20]
    assert token[:60].encode() not in answer
    assert token[:60] not in at.caplog.text
    assert at.opened == []


async def spoken(at: Bench, request: bytes) -> bytes:
    """What comes back over a bare connection, which the client ends."""
    host, port = at.site.live.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        async with asyncio.timeout(10):
            writer.write(request)
            while piece := await reader.read(1 << 16):
                received += piece
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


SCOPED: list[tuple[dict[str, Any], bool]] = [
    ({"scope": "xopenid ga4gh_passport_v10"}, False),
    ({"scope": ["openid", "ga4gh_passport_v1"]}, False),
    ({"scope": None}, False),
    ({"scope": None, "scp": ["openid", "ga4gh_passport_v1"]}, False),
    ({"scope": "ga4gh_passport_v1 openid"}, True),
]


@pytest.mark.security("TT13")
async def test_scopes(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def issuers(broker: Broker) -> list[dict[str, Any]]:
        values = {"issuer": broker.issuer, "audience": AUDIENCE, "jwks_url": broker.jku}
        return [{**values, "scopes": ["openid", "ga4gh_passport_v1"]}]

    async with guarded(data, tmp_path, issuers=issuers) as site:
        with bench(site, caplog) as at:
            for changes, fine in SCOPED:
                token = site.broker.access_token("alice", **changes)
                if fine:
                    assert await accepted(at, token)
                    continue
                reply = await at.refused(token=token, status=403, rule="token.scope")
                assert reply.error == (403, "PermissionDenied")
                assert 'error="insufficient_scope"' in reply.headers["WWW-Authenticate"]


@pytest.mark.security("TT16", "TT17")
async def test_new_keys_and_a_flood_of_unknown_ones(at: Bench) -> None:
    broker = at.site.broker
    old = broker.access_token("alice")
    assert await accepted(at, old)
    assert broker.asked == {"jwks": 1}
    broker.rotate()
    assert await accepted(at, broker.access_token("alice"))
    assert broker.asked == {"jwks": 2}
    before = len(await at.site.records())
    claims = broker.claims("alice")
    tokens = [EVIL.sign(claims, kid=f"random-{number}") for number in range(1000)]
    valid = asyncio.create_task(at.site.get(READS, "alice"))
    replies = []
    for begin in range(0, 1000, 100):
        batch = tokens[begin : begin + 100]
        replies += await asyncio.gather(
            *(at.site.live.get(READS, Authorization=f"Bearer {each}") for each in batch)
        )
    assert {sameness(each) for each in replies} == {sameness(replies[0])}
    uniform(replies[0])
    assert (await valid).status == 200
    assert await accepted(at, old)
    assert broker.asked == {"jwks": 2}  # the last was less than 30 s ago
    refused = [each for each in (await at.site.records())[before:] if each["event"] == "auth.fail"]
    assert [each["rule"] for each in refused] == ["token.kid"] * 1000


@pytest.mark.security("TT18")
async def test_no_keys_at_the_start(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(answers={"jwks": Answer(503)})
    async with guarded(data, tmp_path, broker=broker) as site:
        with bench(site, caplog) as at:
            token = site.token("alice")
            for _ in range(3):
                reply = await at.refused(token=token, status=503, rule="issuer.status")
                assert reply.error == (503, "InternalServerError")
                assert int(reply.headers["Retry-After"]) > 0
            assert (await site.get(READS)).status == 401
            assert (await site.get("/reads/service-info")).status == 200
            assert (await site.get("/health/live")).status == 200
            assert (await site.get("/reads/study/public/none")).status == 404
            del broker.answers["jwks"]


@pytest.mark.security("TT19", "TT21")
async def test_removed_keys_and_clocks_that_are_moved(
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, moved, passed = time.time(), 0.0, 0.0
    clock = partial(SteadyClock, lambda: now + moved + passed, lambda: passed)
    monkeypatch.setattr("server.access.opened.SteadyClock", clock)
    async with guarded(data, tmp_path) as site:
        with bench(site, caplog) as at:
            broker, then = site.broker, int(now)
            token = broker.access_token("alice", exp=then + 3500)
            short = broker.access_token("alice", exp=then + 60)
            ended = broker.access_token("alice", iat=then - 600, exp=then - 40)
            assert await accepted(at, token)
            assert await accepted(at, short)
            moved = -600.0
            assert await accepted(at, short)
            uniform(await at.refused(token=ended, rule="token.exp"))
            passed = 100.0
            uniform(await at.refused(token=short, rule="token.exp"))
            assert await accepted(at, token)
            moved, passed = 600.0, 0.0
            uniform(await at.refused(token=short, rule="token.exp"))
            assert await accepted(at, token)
            moved = -600.0
            uniform(await at.refused(token=ended, rule="token.exp"))
            broker.rotate(keep=False)
            passed = 1210.0  # the longest that keys are kept
            uniform(await at.refused(token=token, rule="token.kid"))


@pytest.mark.security("TT20")
async def test_two_credentials_on_the_wire(at: Bench) -> None:
    token = at.site.token("alice")
    line = f"Authorization: Bearer {token}\r\n"
    for lines in (line * 2, line + "Authorization: Bearer x\r\n", f"authorization: x\r\n{line}"):
        at.opened.clear()
        before = len(await at.site.records())
        request = f"GET {READS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n"
        answer = await spoken(at, request.encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"InvalidInput"' in answer
        assert token.encode() not in answer
        assert at.opened == []
        await at.recorded(before, [("auth.fail", "bearer.several")], (token,))


@pytest.mark.security("TT20")
async def test_where_a_credential_may_be(at: Bench) -> None:
    token = at.site.token("alice")
    for value in (
        f"Bearer Bearer {token}",
        f"Bearer\t{token}",
        f"Basic {token}",
        f"Bearer  {token}",
        f"{token}",
        f"Bearer {token},Bearer {token}",
        f"Token {token}",
    ):
        headers = {"Authorization": value}
        uniform(await at.refused(headers=headers, rule="bearer.syntax", secrets=(token,)))
    for value in (f"bearer {token}", f"BEARER {token}"):
        assert (await at.site.live.get(READS, Authorization=value)).status == 200
    for headers, query in (
        ({"X-Auth": f"Bearer {token}"}, ""),
        ({"X-Amz-Security-Token": token}, ""),
        ({"X-Forwarded-User": "alice"}, ""),
        ({"Cookie": f"access_token={token}"}, ""),
        ({}, f"?access_token={token}"),
    ):
        reply = await at.refused(
            READS + query,
            headers=headers,
            rule="credential.missing",
            event="ticket.denied",
            secrets=(token,),
        )
        assert reply.error == (401, "InvalidAuthentication")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="htsget"'


@pytest.mark.security("TT22")
async def test_opaque_tokens_for_other_clients(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def issuers(broker: Broker) -> list[dict[str, Any]]:
        client, secret = INTROSPECTOR
        asked = {
            "introspection_url": f"{broker.url}/introspect",
            "introspection_client": client,
            "introspection_secret": secret,
        }
        return [{"issuer": broker.issuer, "audience": AUDIENCE, "client_ids": ["igv-web"], **asked}]

    async with guarded(data, tmp_path, issuers=issuers) as site:
        with bench(site, caplog) as at:
            broker = site.broker
            assert await accepted(at, broker.opaque_token("alice"))
            for changes, rule in (
                ({"aud": "https://other.example"}, "token.aud"),
                ({"aud": None}, "token.aud"),
                ({"client_id": "another"}, "token.client"),
                ({"active": False}, "token.inactive"),
            ):
                token = broker.opaque_token("alice", **changes)
                uniform(await at.refused(token=token, rule=rule))
            uniform(await at.refused(token="opaque-none", rule="token.inactive"))  # noqa: S106


async def test_every_method_gets_the_same_answer(at: Bench) -> None:
    token = at.site.broker.access_token("alice", aud="other")
    got = await at.refused(token=token, rule="token.aud")
    posted = await at.refused(token=token, rule="token.aud", method="POST")
    head = await at.refused(token=token, rule="token.aud", method="HEAD")
    assert sameness(got) == sameness(posted)
    assert sameness(got)[:2] == sameness(head)[:2]
