"""The verifier against a real broker: what it accepts, what it refuses and why, at what cost."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from auth.clock import SteadyClock
from auth.errors import (
    AuthorityUnavailable,
    InsufficientScope,
    InvalidConfiguration,
    InvalidCredential,
)
from auth.tokens.access_tokens import TokenVerifier
from auth.tokens.revocations import Revocations
from auth.tokens.token_issuer import TokenIssuer
from tests.support.broker import (
    AUDIENCE,
    CLIENT,
    Answer,
    Broker,
    SigningKey,
    expected_basic,
    outbound,
    segment,
)

SUB = "a1b2@broker.example"


@dataclass
class World:
    broker: Broker
    verifier: TokenVerifier
    now: Callable[[], float]
    time: list[float] = field(default_factory=list)

    def pass_(self, seconds: float) -> None:
        self.time[0] += seconds

    async def accepts(self, token: str) -> bool:
        try:
            return not (await self.verifier.verify(token)).is_anonymous
        except InvalidCredential:
            return False

    async def reason(self, token: str) -> str:
        with pytest.raises(InvalidCredential) as refusal:
            await self.verifier.verify(token)
        assert len(token) < 8 or token[:40] not in str(refusal.value)
        scope = isinstance(refusal.value, InsufficientScope)
        assert scope == (refusal.value.reason == "token.scope")
        assert self.verifier.cached(token) is None
        return refusal.value.reason


@asynccontextmanager
async def world(
    *, revoked: Path | None = None, claims: tuple[str, ...] = (), alg: str = "ES256", **options: Any
) -> AsyncIterator[World]:
    now = [float(int(time.time()))]

    def clock() -> float:
        return now[0]

    broker = Broker(keys=[SigningKey.make(alg)], clock=clock)
    async with broker.serving(), outbound(broker.url) as fetch:
        values = {"audiences": frozenset((AUDIENCE,)), "jwks_url": broker.jku} | options
        issuer = TokenIssuer(broker.issuer, **values)
        verifier = TokenVerifier(
            [issuer],
            fetch,
            clock,
            revoked=Revocations(revoked, timer=clock),
            claims=frozenset(claims),
        )
        try:
            yield World(broker, verifier, clock, now)
        finally:
            await verifier.close()


async def test_whose_token_it_is() -> None:
    async with world(claims=("groups", "acr", "auth_time", "x", "none", "absent")) as w:
        token = w.broker.access_token(
            groups=["a", 7, {"b": 1}, None], acr="loa2", auth_time=5, x=True, none={}, jti="at-7f3c"
        )
        principal = await w.verifier.verify(token)
        assert (principal.iss, principal.sub) == (w.broker.issuer, SUB)
        assert principal.client_id == CLIENT
        assert principal.scopes == {"openid", "ga4gh_passport_v1"}
        assert principal.identities == {(w.broker.issuer, SUB)}
        assert principal.claims == {
            "groups": ("a", "7"),
            "acr": ("loa2",),
            "auth_time": ("5",),
            "x": ("true",),
            "none": (),
        }
        assert principal.not_after == w.now() + 3600
        assert principal.token_id == "at-7f3c"  # noqa: S105
        assert principal.visas == ()
        assert w.verifier.cached(token) is principal
        w.verifier.keep(frozenset(("acr",)))
        assert (await w.verifier.verify(token)).claims == {"acr": ("loa2",)}


@pytest.mark.parametrize("jti", [None, "", 7, "x" * 257])
async def test_a_token_without_a_name_is_named_by_its_digest(jti: Any) -> None:
    async with world() as w:
        principal = await w.verifier.verify(w.broker.access_token(jti=jti))
        assert principal.token_id.startswith("sha256:")


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256", "EdDSA"])
async def test_algorithms_by_configuration(alg: str) -> None:
    async with world(alg=alg, algorithms=frozenset((alg,))) as w:
        assert await w.accepts(w.broker.access_token())


@pytest.mark.security("TT4")
@pytest.mark.parametrize("alg", ["PS256", "RS384", "RS512", "ES384", "EdDSA"])
async def test_other_algorithms_are_refused_however_good_they_are(alg: str) -> None:
    async with world(algorithms=frozenset(("RS256",))) as w:
        w.broker.keys[:] = [SigningKey.make(alg)]
        assert await w.reason(w.broker.access_token()) == "token.alg"
        assert w.broker.requests == 0


KIDS: tuple[Any, ...] = (
    *("../../../../dev/null", "/etc/passwd", "' OR 1=1--", "%00", "%s%n", "\r\nX: y"),
    *("${jndi:ldap://127.0.0.1/a}", 7, [], "", "k" * 257),
)
HEADERS: list[tuple[dict[str, Any], str]] = [
    # TT1, TT3
    *(({"alg": alg}, "token.alg") for alg in ("none", "None", "NONE", "HS256", "ES256 ", "es256")),
    *(({"alg": alg}, "token.alg") for alg in (["ES256"], {"a": 1}, 7, "RS512", "E" * 2000)),
    # A5
    ({"crit": ["b64"], "b64": False}, "token.crit"),
    ({"crit": []}, "token.crit"),
    # TT5
    *(({"kid": kid}, "token.kid") for kid in KIDS),
    # TT6, TT7
    ({"jku": "http://169.254.169.254/keys"}, "token.key_header"),
    ({"jku": "file:///etc/passwd"}, "token.key_header"),
    ({"x5u": "https://evil.example/"}, "token.key_header"),
    ({"jwk": SigningKey.make("ES256", number=9).jwk}, "token.key_header"),
    ({"jwk": None}, ""),
    # TT14
    *(
        ({"typ": typ}, "token.typ")
        for typ in (
            *("vnd.ga4gh.visa+jwt", "vnd.ga4gh.passport+jwt", "logout+jwt", "dpop+jwt"),
            *("secevent+jwt", "", "at", "application/", ["JWT"], "refresh+jwt", None, "JW\u0054 "),
        )
    ),
    *(({"typ": typ}, "") for typ in ("JWT", "jwt", "AT+JWT", "application/at+jwt")),
]


@pytest.mark.security("TT1", "TT3", "TT5", "TT6", "TT7", "TT14")
@pytest.mark.parametrize(("header", "reason"), HEADERS, ids=lambda value: repr(value)[:24])
async def test_headers(header: dict[str, Any], reason: str, caplog: Any) -> None:
    async with world() as w:
        token = w.broker.key.sign(w.broker.claims())
        head = {"typ": "at+jwt", "alg": "ES256", "kid": w.broker.key.kid} | header
        left_out = {name for name in ("jwk", "typ") if head.get(name, 1) is None}
        head = {name: value for name, value in head.items() if name not in left_out}
        token = w.broker.key.sign_bytes(
            json.dumps(head).encode(), json.dumps(w.broker.claims()).encode()
        )
        if not reason:
            assert await w.accepts(token)
            return
        assert await w.reason(token) == reason
        assert w.broker.requests <= 2  # its keys, and no more than once again
        assert w.broker.asked.keys() <= {"jwks"}
        assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.security("TT5")
async def test_a_kid_of_a_megabyte() -> None:
    async with world() as w:
        assert await w.reason(w.broker.key.sign({}, kid="k" * 1_000_000)) == "token.size"
        assert await w.reason(w.broker.key.sign({}, kid="k" * 5_000)) == "token.syntax"


@pytest.mark.security("TT7")
async def test_a_key_that_comes_with_the_token_verifies_nothing() -> None:
    async with world() as w:
        evil = SigningKey.make("ES256", w.broker.key.kid, number=9)
        claims = w.broker.claims()
        assert await w.reason(evil.sign(claims)) == "token.signature"
        assert await w.reason(evil.sign(claims, jwk=evil.jwk)) == "token.key_header"
        x5c = [segment(b"certificate")]
        assert await w.reason(evil.sign(claims, x5c=x5c)) == "token.signature"
        assert await w.accepts(w.broker.key.sign(claims, x5c=x5c))


@pytest.mark.security("TT6")
async def test_nobody_is_asked_but_the_issuer() -> None:
    async with Broker().serving() as evil, world() as w:
        evil.keys[:] = [SigningKey.make("ES256", w.broker.key.kid, number=9)]
        for name in ("jku", "x5u"):
            for url in (evil.jku, f"{w.broker.jku}@{evil.url[7:]}/jwks"):
                assert not await w.accepts(evil.key.sign(w.broker.claims(), **{name: url}))
        assert not await w.accepts(evil.key.sign(evil.claims()))
        assert evil.requests == 0


@pytest.mark.security("TT11")
@pytest.mark.parametrize(
    "change",
    [
        lambda iss: iss + "/",
        lambda iss: iss.replace("http", "HTTP"),
        lambda iss: iss.replace("http", "https"),
        lambda iss: iss[:-1],
        lambda iss: iss + ".evil.example",
        lambda iss: f"{iss}@evil.example/",
        lambda iss: iss.replace("127", "\uff11\uff12\uff17"),
        lambda iss: iss + "\u200b",
        lambda iss: iss + " ",
        lambda iss: [iss],
        lambda iss: {iss: 1},
        lambda iss: 7,
        lambda iss: True,
        lambda iss: "",
    ],
)
async def test_issuers_are_compared_to_the_letter(change: Callable[[str], Any]) -> None:
    async with world() as w:
        token = w.broker.access_token(iss=change(w.broker.issuer))
        assert await w.reason(token) == "token.iss"
        assert w.broker.requests == 0


async def test_no_issuer() -> None:
    async with world() as w:
        assert await w.reason(w.broker.access_token(iss=None)) == "token.iss"
        assert w.broker.requests == 0


@pytest.mark.security("TT8", "TT9")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -31}, "token.exp"),
        ({"exp": -30}, "token.exp"),
        ({"exp": -29}, ""),
        ({"nbf": 31}, "token.nbf"),
        ({"nbf": 30}, ""),
        ({"iat": 31}, "token.iat"),
        ({"iat": 30}, ""),
        ({"iat": -90_000}, "token.lifetime"),
        ({"exp": 90_000}, "token.lifetime"),
        ({"exp": 10, "iat": 20}, "token.lifetime"),
    ],
)
async def test_times(changes: dict[str, int], reason: str) -> None:
    async with world() as w:
        dates: dict[str, Any] = {"iat": w.now() - 600}
        dates |= {name: w.now() + seconds for name, seconds in changes.items()}
        token = w.broker.access_token(**dates)
        if reason:
            assert await w.reason(token) == reason
        else:
            assert await w.accepts(token)


@pytest.mark.security("TT9")
@pytest.mark.parametrize("name", ["exp", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"null", b"[]", b"{}", b'"9999999999"', b"true", b"false", b"1e400", b"-1e400"),
        *(b"Infinity", b"-Infinity", b"NaN", b"9" * 5000, b"-1", b"1099511627776", b"1e39"),
        *(b"0x7fffffff", b"01", b'{"$date":1}'),
    ],
    ids=lambda value: value[:20].decode(),
)
async def test_dates_that_are_none(name: str, value: bytes) -> None:
    async with world() as w:
        claims = w.broker.claims()
        claims.pop(name)
        text = json.dumps(claims).encode()
        if value:
            text = text[:-1] + b', "' + name.encode() + b'": ' + value + b"}"
        token = w.broker.key.sign(text)
        assert await w.reason(token) in ("token.json", f"token.{name}")


@pytest.mark.security("TT12")
@pytest.mark.parametrize(
    ("aud", "reason"),
    [
        (None, "token.aud"),
        ("https://other.example", "token.aud"),
        (AUDIENCE, ""),
        ([AUDIENCE], ""),
        (["https://other.example", AUDIENCE], ""),
        (AUDIENCE + "/", "token.aud"),
        (AUDIENCE[:-1], "token.aud"),
        (f"{AUDIENCE} https://other.example", "token.aud"),
        (AUDIENCE.upper(), "token.aud"),
        ([], "token.aud"),
        ({AUDIENCE: 1}, "token.aud"),
        (7, "token.aud"),
        ([[AUDIENCE]], "token.aud"),
        ([AUDIENCE, 7], "token.aud"),
        (True, "token.aud"),
        (CLIENT, "token.aud"),
    ],
)
async def test_audience(aud: Any, reason: str) -> None:
    async with world() as w:
        token = w.broker.access_token(aud=aud)
        assert await w.accepts(token) if not reason else await w.reason(token) == reason


@pytest.mark.parametrize(
    ("options", "changes", "reason"),
    [
        # GA4GH: no audience, or client ids.
        ({"audiences": ()}, {"aud": CLIENT}, ""),
        ({"audiences": ()}, {"aud": [CLIENT, "other"]}, ""),
        ({"audiences": ()}, {"aud": "other"}, "token.aud"),
        ({"audiences": ()}, {"aud": None}, "token.aud"),
        ({"audiences": (), "allow_missing_aud": True}, {"aud": None}, ""),
        ({"audiences": (), "allow_missing_aud": True}, {"aud": "other"}, "token.aud"),
        # Whom it was issued to.
        ({}, {}, ""),
        ({}, {"client_id": "evil"}, "token.client"),
        ({}, {"client_id": None}, "token.client"),
        ({}, {"client_id": None, "azp": CLIENT}, ""),
        ({}, {"client_id": None, "azp": "evil"}, "token.client"),
        ({}, {"azp": CLIENT}, ""),
        ({}, {"azp": "samtools-cli"}, "token.client"),
        ({}, {"azp": "evil"}, "token.client"),
        ({}, {"azp": [CLIENT]}, "token.client"),
        ({}, {"client_id": [CLIENT]}, "token.client"),
        ({}, {"client_id": 7}, "token.client"),
        ({}, {"client_id": ""}, "token.client"),
        # ID tokens are for clients too.
        ({"audiences": ()}, {"aud": CLIENT, "azp": CLIENT, "scope": None}, "token.kind"),
    ],
)
async def test_clients(options: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    values = {"client_ids": frozenset((CLIENT, "samtools-cli"))} | options
    async with world(**values) as w:
        token = w.broker.access_token(**changes)
        assert await w.accepts(token) if not reason else await w.reason(token) == reason


SCOPES: list[tuple[dict[str, Any], bool]] = [
    ({"scope": "openid ga4gh_passport_v1"}, True),
    ({"scope": "ga4gh_passport_v1  email openid "}, True),
    ({"scope": "xopenid ga4gh_passport_v10"}, False),
    ({"scope": "openid"}, False),
    ({"scope": "OPENID GA4GH_PASSPORT_V1"}, False),
    ({"scope": "openid\tga4gh_passport_v1"}, False),
    ({"scope": "openid\nga4gh_passport_v1"}, False),
    ({"scope": "openid,ga4gh_passport_v1"}, False),
    ({"scope": ["openid", "ga4gh_passport_v1"]}, False),
    ({"scope": {"openid": 1}}, False),
    ({"scope": None}, False),
    ({"scope": ""}, False),
    ({"scope": None, "scp": ["openid", "ga4gh_passport_v1"]}, False),
    ({"scope": None, "scp": "openid ga4gh_passport_v1"}, False),
]


@pytest.mark.security("TT13")
@pytest.mark.parametrize(("changes", "fine"), SCOPES)
async def test_scopes_of_passports(changes: dict[str, Any], fine: bool) -> None:
    async with world(passports=True) as w:
        token = w.broker.access_token(**changes)
        assert await w.accepts(token) if fine else await w.reason(token) == "token.scope"


@pytest.mark.security("TT13")
async def test_scopes_as_configured() -> None:
    async with world(scopes=frozenset(("htsget:read",)), scp_array=True) as w:
        assert await w.reason(w.broker.access_token()) == "token.scope"
        assert await w.accepts(w.broker.access_token(scope="x htsget:read"))
        assert await w.accepts(w.broker.access_token(scope=None, scp=["htsget:read", 7]))
        assert await w.reason(w.broker.access_token(scope=None, scp="htsget:read")) == "token.scope"
        # A token that is wrong in another way, too, is no good token without scope.
        bad = w.broker.access_token(scope="x", aud="other")
        assert await w.reason(bad) == "token.aud"
        assert await w.reason(bad[:-4] + "AAAA") == "token.signature"


@pytest.mark.security("TT14", "TT15")
@pytest.mark.parametrize(
    "changes",
    [
        {"ga4gh_passport_v1": []},
        {"ga4gh_passport_v1": None, "ga4gh_visa_v1": {}},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": 7},
        {"token_use": "id"},
        {"typ": "Bearer", "at_hash": "h"},
    ],
)
async def test_tokens_of_other_kinds(changes: dict[str, Any]) -> None:
    async with world() as w:
        assert await w.reason(w.broker.access_token(**changes)) == "token.kind"


@pytest.mark.security("TT14")
async def test_passports_and_visas_are_no_access_tokens() -> None:
    async with world() as w:
        visa = w.broker.visa("ControlledAccessGrants", "https://d.example/1", "https://dac.example")
        assert await w.reason(visa) == "token.typ"
        assert await w.reason(w.broker.passport([visa])) == "token.typ"
        assert await w.reason(w.broker.passport([visa], header={"typ": "JWT"})) == "token.kind"
        plain = w.broker.visa("x", "y", "z", header={"typ": "JWT", "jku": None}, aud=AUDIENCE)
        assert await w.reason(plain) in ("token.kind", "token.key_header")


async def test_issuers_that_say_what_a_token_is_for() -> None:
    async with world() as w:
        assert await w.accepts(w.broker.access_token(typ="Bearer", nonce="n"))
        assert await w.accepts(w.broker.access_token(token_use="access"))  # noqa: S106


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, "x"])
async def test_bound_tokens(cnf: Any) -> None:
    async with world() as w:
        assert await w.reason(w.broker.access_token(cnf=cnf)) == "token.cnf"


@pytest.mark.parametrize("sub", [None, "", 7, ["s"], "s" * 256])
async def test_nobody(sub: Any) -> None:
    async with world() as w:
        assert await w.reason(w.broker.key.sign(w.broker.claims(sub))) == "token.sub"


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"x"', b"{", b'{"a":1,"a":1}'])
async def test_payloads_without_claims(payload: bytes) -> None:
    async with world() as w:
        reason = await w.reason(w.broker.key.sign(payload))
        assert reason in ("token.json", "token.syntax")
        doubled = json.dumps(w.broker.claims())[:-1] + f', "sub": "{SUB}"}}'
        assert await w.reason(w.broker.key.sign(doubled.encode())) == "token.json"
        assert w.broker.requests == 0


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "opaque", "a.b.c.d", "\u00fc", "\ud800"])
async def test_texts_that_are_no_tokens(token: str) -> None:
    async with world() as w:
        assert await w.reason(token) == "token.syntax"
        assert w.broker.requests == 0


# What is kept, and until when


async def test_a_kept_token_costs_a_look_up() -> None:
    async with world() as w:
        token = w.broker.access_token(pad="x" * 1000)
        await w.verifier.verify(token)
        rounds, best = 2000, 9.9
        for _ in range(5):
            before = time.perf_counter()
            for _ in range(rounds):
                w.verifier.cached(token)
            best = min(best, (time.perf_counter() - before) / rounds)
        assert best < 20e-6
        assert w.broker.asked["jwks"] == 1


@pytest.mark.security("TT8", "TT21")
async def test_a_kept_token_ends_with_itself() -> None:
    async with world() as w:
        token = w.broker.access_token(exp=int(w.now()) + 100)
        assert await w.accepts(token)
        w.pass_(129)
        assert w.verifier.cached(token) is not None
        w.pass_(1)
        assert w.verifier.cached(token) is None
        assert await w.reason(token) == "token.exp"


@pytest.mark.security("TT21")
async def test_a_clock_that_is_moved() -> None:
    wall, passed = 1_790_000_000.0, 0.0
    clock = SteadyClock(lambda: wall, lambda: passed)
    broker = Broker(clock=lambda: 1_790_000_000.0)
    async with broker.serving(), outbound(broker.url) as fetch:
        issuer = TokenIssuer(broker.issuer, frozenset((AUDIENCE,)), jwks_url=broker.jku)
        verifier = TokenVerifier([issuer], fetch, clock, revoked=Revocations())
        token = broker.access_token(exp=1_790_000_100)
        assert not (await verifier.verify(token)).is_anonymous
        passed += 130
        wall = 1_790_000_130.0 - 600  # set back
        with pytest.raises(InvalidCredential, match="exp"):
            await verifier.verify(token)
        wall, passed = 1_790_000_000.0 + 600, 0.0  # set forward: earlier, not later
        with pytest.raises(InvalidCredential, match="exp"):
            await verifier.verify(token)
        await verifier.close()


@pytest.mark.security("TT19")
async def test_a_removed_key_ends_kept_tokens_too() -> None:
    async with world() as w:
        token = w.broker.access_token()
        assert await w.accepts(token)
        w.broker.rotate(keep=False)
        waited = 0
        while await w.accepts(token):
            w.pass_(7)
            waited += 7
            await asyncio.sleep(0.01)
        assert waited <= 607


@pytest.mark.security("TT16")
async def test_rotation() -> None:
    async with world() as w:
        old = w.broker.access_token()
        assert await w.accepts(old)
        w.broker.rotate("RS256")
        assert await w.accepts(w.broker.access_token())
        assert await w.accepts(old)
        assert w.broker.asked["jwks"] == 2


@pytest.mark.security("TT17")
async def test_a_flood_of_unknown_keys() -> None:
    async with world() as w:
        good = w.broker.access_token()
        assert await w.accepts(good)
        claims = w.broker.claims()
        evil = SigningKey.make("ES256", number=9)
        tokens = [evil.sign(claims, kid=f"random-{n}") for n in range(1000)]
        found = await asyncio.gather(*map(w.accepts, tokens))
        assert not any(found)
        assert w.broker.asked["jwks"] == 2
        assert await w.accepts(good)
        assert await w.accepts(w.broker.access_token())


@pytest.mark.security("TT18")
async def test_no_keys_at_the_start() -> None:
    async with world(jwks_url=None) as w:
        w.broker.answers["discovery"] = Answer(503)
        token = w.broker.access_token()
        for _ in range(3):
            with pytest.raises(AuthorityUnavailable):
                await w.verifier.verify(token)
        del w.broker.answers["discovery"]
        w.pass_(5)
        assert await w.accepts(token)


async def test_what_is_kept_is_bounded() -> None:
    async with world(alg="EdDSA", algorithms=frozenset(("EdDSA",))) as w:
        first = w.broker.access_token()
        assert await w.accepts(first)
        for _ in range(4096):
            await w.verifier.verify(w.broker.access_token())
        assert len(w.verifier._accepted) == 4096
        assert w.verifier.cached(first) is None
        assert await w.accepts(first)


async def test_revocation(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text("at-1\n")
    async with world(revoked=path) as w:
        assert await w.reason(w.broker.access_token(jti="at-1")) == "token.revoked"
        second, third = w.broker.access_token(jti="at-2"), w.broker.access_token(jti=None)
        other = w.broker.access_token("other")
        assert await w.accepts(second)
        assert await w.accepts(other)
        name = (await w.verifier.verify(third)).token_id
        path.write_text("at-2\n" + name)
        w.pass_(1)
        for token in (second, third):
            with pytest.raises(InvalidCredential, match="revoked"):
                w.verifier.cached(token)
            with pytest.raises(InvalidCredential, match="revoked"):
                await w.verifier.verify(token)
        assert await w.accepts(other)
        path.write_text(f"{w.broker.issuer}|other")
        w.pass_(1)
        with pytest.raises(InvalidCredential, match="revoked"):
            w.verifier.cached(other)
        assert await w.accepts(second)


async def test_revocation_by_digest_goes_past_another_signature(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text("")
    async with world(revoked=path) as w:
        claims = w.broker.claims(jti=None)
        one, two = w.broker.key.sign(claims), w.broker.key.sign(claims)
        assert one != two
        path.write_text((await w.verifier.verify(one)).token_id)
        w.pass_(1)
        with pytest.raises(InvalidCredential, match="revoked"):
            await w.verifier.verify(two)


# Opaque tokens


def introspected(broker: Broker, **options: Any) -> dict[str, Any]:
    return {
        "introspection_url": f"{broker.url}/introspect",
        "introspection_client": "htsgate",
        "introspection_secret": "s3cret:with/odd characters",
    } | options


@asynccontextmanager
async def opaque_world(**options: Any) -> AsyncIterator[World]:
    now = [float(int(time.time()))]
    broker = Broker(clock=lambda: now[0])
    async with broker.serving(), outbound(broker.url) as fetch:
        values = introspected(broker, audiences=frozenset((AUDIENCE,))) | options
        verifier = TokenVerifier(
            [TokenIssuer(broker.issuer, **values)], fetch, broker.clock, revoked=Revocations()
        )
        try:
            yield World(broker, verifier, broker.clock, now)
        finally:
            await verifier.close()


async def test_opaque_tokens() -> None:
    async with opaque_world() as w:
        token = w.broker.opaque_token(jti="o-1")
        found = await asyncio.gather(*(w.verifier.verify(token) for _ in range(20)))
        assert {(each.iss, each.sub, each.token_id) for each in found} == {
            (w.broker.issuer, SUB, "o-1")
        }
        assert w.broker.asked == {"introspection": 1}
        assert w.verifier.cached(token) is not None
        w.pass_(300)
        assert w.verifier.cached(token) is None
        del w.broker.opaque[token]
        assert await w.reason(token) == "token.inactive"
        headers = w.broker.headers["introspection"]
        assert headers["Authorization"] == expected_basic("htsgate", "s3cret:with/odd characters")
        nameless = await w.verifier.verify(w.broker.opaque_token(jti=None, iat=None))
        assert nameless.token_id.startswith("sha256:")


@pytest.mark.security("TT22")
@pytest.mark.parametrize(
    ("options", "changes", "reason"),
    [
        ({}, {"aud": "https://other.example"}, "token.aud"),
        ({}, {"aud": None}, "token.aud"),
        ({"client_ids": frozenset((CLIENT,))}, {"client_id": "other"}, "token.client"),
        ({"client_ids": frozenset((CLIENT,))}, {"client_id": None}, "token.client"),
        ({}, {"iss": "https://other.example"}, "token.iss"),
        ({}, {"iss": None}, ""),
        ({}, {"active": "true"}, "token.inactive"),
        ({}, {"active": 1}, "token.inactive"),
        ({}, {"active": None}, "token.inactive"),
        ({}, {"exp": None}, "token.exp"),
        ({}, {"exp": 5}, "token.exp"),
        ({}, {"sub": None}, "token.sub"),
        ({}, {"cnf": {"jkt": "x"}}, "token.cnf"),
        ({"scopes": frozenset(("htsget",))}, {}, "token.scope"),
        ({"passports": True}, {}, ""),
    ],
)
async def test_opaque_tokens_are_judged_like_others(
    options: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    async with opaque_world(**options) as w:
        token = w.broker.opaque_token()
        said = w.broker.opaque[token] | changes
        w.broker.opaque[token] = {name: each for name, each in said.items() if each is not None}
        if not reason:
            assert await w.accepts(token)
            return
        assert await w.reason(token) == reason
        assert await w.reason(token) == reason
        assert w.broker.asked["introspection"] == 1  # a no is remembered for a while
        w.pass_(10)
        assert await w.reason(token) == reason
        assert w.broker.asked["introspection"] == 2


async def test_an_outage_is_not_remembered_as_a_no() -> None:
    async with opaque_world() as w:
        token = w.broker.opaque_token()
        w.broker.answers["introspection"] = Answer(503)
        with pytest.raises(AuthorityUnavailable):
            await w.verifier.verify(token)
        del w.broker.answers["introspection"]
        assert await w.accepts(token)


async def test_signed_tokens_are_not_introspected_and_opaque_ones_not_guessed() -> None:
    async with opaque_world() as w:
        assert await w.accepts(w.broker.access_token())
        assert w.broker.asked["introspection"] == 0
        assert await w.reason("x" * 20_000) == "token.size"
        assert await w.reason("\u00fc" * 20) == "token.syntax"
        assert w.broker.asked["introspection"] == 0
        for n in range(1100):
            await w.reason(f"guess-{n}")
        assert len(w.verifier._refused) == 1024
        assert not w.verifier._flights


async def test_nothing_of_a_token_is_logged(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    async with opaque_world() as w:
        good, bad = w.broker.access_token(), w.broker.access_token(aud="x")
        opaque = w.broker.opaque_token()
        await w.accepts(good)
        await w.accepts(bad)
        await w.accepts(opaque)
        w.broker.answers["introspection"] = Answer(500)
        with pytest.raises(AuthorityUnavailable):
            await w.verifier.verify("other-token")
        for text in (good[-40:], bad[-40:], opaque, "other-token", "s3cret"):
            assert text not in caplog.text


# Configuration


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"audiences": frozenset("a"), "algorithms": frozenset(("HS256",))},
        {"audiences": frozenset("a"), "algorithms": frozenset(("none",))},
        {"audiences": frozenset("a"), "algorithms": frozenset()},
        {"audiences": frozenset("a"), "leeway": 121},
        {"audiences": frozenset("a"), "leeway": -1},
        {"audiences": frozenset("a"), "max_token_lifetime": 0},
        {"audiences": frozenset("a"), "jwks_url": "x", "jwks_file": Path("x")},
        {"audiences": frozenset("a"), "introspection_url": "https://i.example/introspect"},
    ],
)
def test_issuers_that_would_not_be_judged(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match=r"https://i\.example"):
        TokenIssuer("https://i.example", **options)


async def test_issuers_that_cannot_be_told_apart() -> None:
    async with Broker().serving() as broker, outbound(broker.url) as fetch:
        one = TokenIssuer("https://i.example", frozenset("a"))
        with pytest.raises(InvalidConfiguration, match="same name"):
            TokenVerifier([one, one], fetch, time.time, revoked=Revocations())
        asking = introspected(broker, audiences=frozenset("a"))
        issuers = [TokenIssuer(name, **asking) for name in ("https://a", "https://b")]
        with pytest.raises(InvalidConfiguration, match="only one"):
            TokenVerifier(issuers, fetch, time.time, revoked=Revocations())
        assert "s3cret" not in repr(issuers)
