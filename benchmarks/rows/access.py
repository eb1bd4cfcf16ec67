"""Access control: what tokens and policy cost a warm ticket, and what the audit does."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from auth.decision import AccessRequest
from auth.fetching import Fetched
from auth.policy.evaluation import NothingWithdrawn, load_policy
from auth.tokens.access_tokens import TokenVerifier
from auth.tokens.revocations import Revocations
from auth.tokens.token_issuer import TokenIssuer
from benchmarks.load import Requests
from benchmarks.measure import Gate, Row, Sample, micros, rate, row_of, speed_ratio, take_turns
from benchmarks.processes import htsgate
from benchmarks.rows.setting import Setting
from benchmarks.rows.ticket import SPAN
from formats.regions import Region
from server.access.authenticator import Authenticator
from server.dev_issuer import DevIssuer, open_dev_issuer

_ISSUER = "https://issuer.example/"
_AUDIENCE = "htsgate"
_CALLS = 20_000

_POLICY = f"""
schema = "htsget-policy/1"
custodian = "measured"
[[dataset]]
id = "D"
objects = ["reads/study/*"]
[[dataset]]
id = "P"
objects = ["reads/public/*"]
[[grant]]
id = "G"
dataset = "D"
reason = "measured"
[[grant.who.all_of]]
iss = "{_ISSUER}"
sub = "alice"
[grant.what]
endpoints = ["reads"]
formats = ["BAM"]
classes = ["header", "body"]
regions = ["all", "*"]
[[grant]]
id = "O"
dataset = "P"
reason = "measured"
[grant.who]
public = true
[grant.what]
endpoints = ["reads"]
formats = ["BAM"]
classes = ["header", "body"]
regions = ["all", "*"]
"""


def tickets(setting: Setting) -> Iterator[Row]:
    """The same tickets of a server without access control, of the public part of one with it, and
    for the holder of a token; and the checks alone."""
    home = setting.directory / "access"
    home.mkdir()
    issuer = open_dev_issuer(_ISSUER, home / "issuer.pem", home / "issuer.jwks")
    token = issuer.access_token("alice", audience=_AUDIENCE, now=time.time(), lifetime=36_000)
    config = _configuration(home, setting.inputs.served)
    limit = setting.inputs.scale.dense
    path = "reads?referenceName=chr20&start={start}&end={end}"
    bare = Requests(f"/reads/{path}", limit=limit, span=SPAN)
    public = Requests(f"/reads/public/{path}", limit=limit, span=SPAN)
    private = Requests(
        f"/reads/study/{path}", limit=limit, span=SPAN, authorization=f"Bearer {token}"
    )
    with (
        htsgate(setting.inputs.served, setting.config) as opened,
        htsgate(None, config) as guarded,
    ):
        samples = take_turns(
            {
                "open": lambda: setting.load.run(opened, bare, setting.seconds),
                "public": lambda: setting.load.run(guarded, public, setting.seconds),
                "token": lambda: setting.load.run(guarded, private, setting.seconds),
                "checks": lambda: _checks(home, issuer, token),
            },
            setting.rounds,
        )
    yield row_of(
        "access-checks",
        "CPU of token and policy checks / bare ticket",
        speed_ratio(samples["open"], samples["checks"], "CPU"),
        basis="CPU",
        gate=Gate(0.25, 0.15, most=True),
        figures={name: micros(samples[name]) for name in ("checks", "open")},
    )
    for name, title in (
        ("public", "public tickets under access control / bare tickets"),
        ("token", "tickets for a token, recorded on disk first / bare tickets"),
    ):
        yield row_of(
            f"access-{name}",
            title,
            speed_ratio(samples[name], samples["open"]),
            figures={each: rate(samples[each]) for each in (name, "open")},
        )


def _configuration(home: Path, served: Path) -> Path:
    (home / "policy.toml").write_text(_POLICY)
    config = home / "htsgate.toml"
    config.write_text(
        f"[server]\nticket_lifetime = 3600\n"
        f"[database]\nurl = 'sqlite:///{home}/state.db'\n"
        f"[auth]\npolicy = '{home}/policy.toml'\n"
        f"[[auth.issuers]]\nissuer = '{_ISSUER}'\naudience = '{_AUDIENCE}'\n"
        f"jwks_file = '{home}/issuer.jwks'\n"
        f"[[locations]]\nname = 'study'\nurl = '{served}'\n"
        f"[[locations]]\nname = 'public'\nurl = '{served}'\n"
    )
    return config


def _checks(home: Path, issuer: DevIssuer, token: str) -> Sample:
    """Who asks, and may they: what the gate does of a warm request before any file is touched."""
    trusted = TokenIssuer(issuer.issuer, frozenset({_AUDIENCE}), jwks_file=home / "issuer.jwks")
    policy, consent = load_policy(home / "policy.toml"), NothingWithdrawn()
    lines = [f"Bearer {token}"]

    async def run() -> Sample:
        revoked = Revocations()
        verifier = TokenVerifier([trusted], _nobody, time.time, revoked=revoked)
        who = Authenticator(verifier, revoked)
        await who.principal(lines)
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(_CALLS):
            principal = await who.principal(lines)
            region = Region("chr20", start, start + SPAN)
            request = AccessRequest("reads", "study/reads", "BAM", regions=(region,))
            decision = policy.decide(principal, request, consent=consent, now=time.time())
            if not decision.allowed:
                raise ValueError("what is measured must be a permission")
        sample = Sample(_CALLS, time.perf_counter() - wall, time.process_time() - cpu)
        await verifier.close()
        return sample

    return asyncio.run(run())


async def _nobody(method: str, url: str, **_: object) -> Fetched:
    raise ConnectionError(f"{method} {url}: nobody is to be asked")
