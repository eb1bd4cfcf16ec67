"""What stops the start, and what a running server does not take up: it keeps what it had."""

import ast
import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from server.app import create_app
from server.config import ConfigurationError, Settings, load_settings
from tests.server.access.guarded import (
    DATASET,
    GENE,
    HEAD,
    Guarded,
    grant,
    guarded,
    person,
    usual_policy,
)
from tests.server.access.guarded import settings_of as guarded_settings
from tests.server.live import SECRET, serving
from tests.support.broker import Broker

ROOT = Path(__file__).parents[3]
PACKAGES = ("auth", "formats", "server", "storage_backends")
READS = "/reads/study/reads"
BED = b"one\t1000\t2000\n"
PANEL = f"""
[panel.P]
bed = "panel.bed"
sha256 = "{hashlib.sha256(BED).hexdigest()}"
assembly = "test"
"""


def bad_policies(usual: str) -> dict[str, str]:
    """Policies of which nothing may be taken up; all differ from the usual one in a right, too."""
    changed = usual.replace('sub = "alice"', 'sub = "zoe"')
    direct = grant(
        "G-NEW",
        '[[grant.who.all_of]]\niss = "https://x.example"\nsub = "x"',
        regions=(GENE,),
        how='mode = "blocks"\nheader = "full"\ndelivery = "direct"',
    )
    return {
        "twice the same id": changed + changed[changed.index("[[grant]]") :],
        "unknown key": changed.replace("reason =", "raeson =", 1),
        "no TOML": changed + "[[",
        "empty": "",
        "wrong checksum": changed + re.sub(r'"[0-9a-f]{64}"', f'"{"0" * 64}"', PANEL),
        "missing panel": changed + PANEL.replace("panel.bed", "none.bed"),
        "unknown region": changed.replace(GENE, "one:5-1"),
        "expectation that does not hold": changed + "\n[[expect]]\nat = 2026-06-01\nsubject = {}\n"
        'request = { endpoint = "reads", object = "study/reads", format = "BAM" }\n'
        'outcome = "allow:G-ALL"\n',
        "direct delivery of a region": changed + direct,
        "direct delivery without blocks": changed
        + direct.replace(GENE, "all").replace("blocks", "exact"),
        "visas that nobody is trusted to make": changed
        + grant(
            "G-VISA",
            '[[grant.who.all_of]]\nvisa = "ControlledAccessGrants"\nvalue = "x"\nsource = "y"',
        ),
    }


KINDS = list(bad_policies(usual_policy("")))


@pytest.mark.security("TS3", "TS5", "TC1")
@pytest.mark.parametrize("kind", KINDS)
def test_bad_policies_stop_the_start(kind: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    (tmp_path / "panel.bed").write_bytes(BED)
    broker = Broker(url="http://127.0.0.1:1")
    settings = guarded_settings(data, broker, path, f"sqlite:///{tmp_path}/state.db")
    path.write_text(bad_policies(usual_policy(broker.issuer))[kind])
    with pytest.raises(ConfigurationError, match=r"^auth: "):
        create_app(settings)
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"^auth: "):
        create_app(settings)


@pytest.mark.security("TS3")
def test_open_locations_hold_nothing_controlled(data: Path, tmp_path: Path) -> None:
    """What can be had by another name is not confined."""
    path = tmp_path / "policy.toml"
    path.write_text(usual_policy("https://issuer.example"))
    (tmp_path / "data").symlink_to(data)
    locations = [
        {"url": str(tmp_path / "data"), "name": "opened", "access": "open"},
        {"url": str(data / "reads.bam"), "name": "study"},
    ]
    database = {"url": f"sqlite:///{tmp_path}/state.db"}
    values = {"locations": locations, "auth": {"policy": str(path)}, "database": database}
    with pytest.raises(ConfigurationError, match="keep them apart"):
        create_app(load_settings(None, values))


async def rejected(site: Guarded, count: int) -> None:
    """Wait until so many policies were not taken up."""
    for _ in range(100):
        if len(await site.events("policy.rejected")) == count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the policy was not rejected")


@pytest.mark.security("TS3", "TS5")
async def test_bad_policies_are_not_taken_up(data: Path, tmp_path: Path) -> None:
    """The old one stays, block and ticket; a good one is taken up after all."""
    (tmp_path / "panel.bed").write_bytes(BED)
    async with guarded(data, tmp_path) as site:
        ticket = await site.get(READS, "alice")
        usual = site.policy.read_text()
        loaded = (await site.events("policy.loaded"))[0]["policy_version"]
        for count, text in enumerate(bad_policies(usual).values(), 1):
            site.policy.write_text(text)
            await rejected(site, count)
            assert (await site.get(READS, "alice")).status == 200
            assert (await site.get(READS, "zoe")).status == 404
            assert (await site.live.get(ticket.urls[1])).status == 200
        site.policy.unlink()
        await rejected(site, len(KINDS) + 1)
        assert (await site.get(READS, "alice")).status == 200
        assert {each["policy_version"] for each in await site.events("policy.rejected")} == {loaded}
        site.policy.write_text(usual.replace('sub = "alice"', 'sub = "zoe"'))
        for _ in range(100):
            if (await site.get(READS, "zoe")).status == 200:
                break
            await asyncio.sleep(0.1)
        assert (await site.get(READS, "alice")).status == 404
        assert (await site.live.get(ticket.urls[1])).status == 404


@pytest.mark.security("TS3")
@pytest.mark.parametrize("limited", [True, False])
async def test_direct_delivery_of_controlled_data(tmp_path: Path, *, limited: bool) -> None:
    """Only of what is granted whole: a signed URL opens all of an object."""
    whole = 'mode = "blocks"\nheader = "full"\ndelivery = "direct"'
    who = person("https://issuer.example", "alice")
    policy = HEAD + grant("G-ALL", who, how=whole)
    if limited:
        policy = HEAD + grant("G-ALL", who) + grant("G-GENE", who, regions=(GENE,))
    (tmp_path / "policy.toml").write_text(policy)
    issuer = {"issuer": "https://issuer.example", "audience": "x", "jwks_url": "https://x.example"}
    location = {"url": "s3://bucket/x", "name": "study", "delivery": "direct", "dataset": DATASET}
    values = {
        "locations": [{**location, "region": "eu-west-1"}],
        "server": {"secret": SECRET},
        "database": {"url": f"sqlite:///{tmp_path}/state.db"},
        "auth": {"policy": str(tmp_path / "policy.toml"), "issuers": [issuer]},
    }
    settings = settings_from(values)
    if limited:
        with pytest.raises(ConfigurationError, match="cannot have delivery = direct"):
            create_app(settings)
        return
    async with serving(settings):
        pass


def settings_from(values: dict[str, Any]) -> Settings:
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
            environment.delenv(name)
        return load_settings(None, values)


@pytest.mark.security("TC2")
@pytest.mark.parametrize("secret", ["", "changeme", "x" * 31, "secret" * 8, "a" * 64])
def test_weak_secrets_stop_the_start(secret: str, data: Path, tmp_path: Path) -> None:
    broker = Broker(url="http://127.0.0.1:1")
    path = tmp_path / "policy.toml"
    path.write_text(usual_policy(broker.issuer))
    url = f"sqlite:///{tmp_path}/state.db"
    with pytest.raises(ConfigurationError, match=r"secret"):
        create_app(guarded_settings(data, broker, path, url, {"secret": secret}))


@pytest.mark.security("TC2")
@pytest.mark.parametrize("name", ["secret_file", "audit_key"])
def test_files_that_others_may_read_stop_the_start(name: str, data: Path, tmp_path: Path) -> None:
    broker = Broker(url="http://127.0.0.1:1")
    path, kept = tmp_path / "policy.toml", tmp_path / "kept"
    path.write_text(usual_policy(broker.issuer))
    kept.write_text(SECRET)
    kept.chmod(0o644)
    url = f"sqlite:///{tmp_path}/state.db"
    server = {"secret": None, name: str(kept)} if name == "secret_file" else None
    auth = {name: str(kept)} if name == "audit_key" else {}
    with pytest.raises(ConfigurationError, match="others"):
        create_app(guarded_settings(data, broker, path, url, server, **auth))


SUSPECT = re.compile(
    r"bypass|insecure|unsafe|backdoor|no_?auth\b|skip_?(auth|verif|check)|disable_?(auth|verif|tls)"
    r"|(dev|test|debug|demo)_?(mode|auth|token|key|user)|allow_?(all|any)\b|trust_?all",
    re.IGNORECASE,
)
NAMED = {
    "proxy_bypass",  # of urllib: hosts that are reached without a proxy
}
ENVIRONMENT = {"server/config.py", "server/slicing/workers.py"}  # settings; where libraries lie
UNVERIFIED = re.compile(
    r"CERT_NONE|check_hostname\s*=\s*False|verify(_\w+)?[\"']?\s*[=:]\s*False|ssl\s*=\s*False"
    r"|_create_unverified_context"
)


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def settings_names(model: type[BaseModel]) -> Iterator[str]:
    """The names of all settings, those of sections and of their lists included."""
    for name, field in model.model_fields.items():
        yield name
        for each in re.findall(r"[A-Z]\w+", str(field.annotation)):
            section = {kind.__name__: kind for kind in BaseModel.__subclasses__()}.get(each)
            if section is not None and section is not model:
                yield from settings_names(section)


@pytest.mark.security("TC3")
def test_nothing_switches_the_checks_off() -> None:
    """No name in the sources is that of a bypass; the environment is read where settings are; no
    certificate goes unverified; and the issuer of the demonstration is unknown to the server."""
    for path in sources():
        text, place = path.read_text(), path.relative_to(ROOT).as_posix()
        tree = ast.parse(text)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        names |= {node.arg or "" for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        assert not {each for each in names - NAMED if SUSPECT.search(each)}, place
        assert not UNVERIFIED.search(text), place
        if "environ" in names or "getenv" in names:
            assert place in ENVIRONMENT
        if "dev_issuer" in text:
            assert place.startswith("server/cli/") or place == "server/dev_issuer.py", place


@pytest.mark.security("TC3")
def test_no_setting_switches_the_checks_off() -> None:
    names = set(settings_names(Settings))
    assert {"auth", "server", "locations"} <= names
    assert not {each for each in names if SUSPECT.search(each)}


@pytest.mark.security("TC3")
@pytest.mark.parametrize("token", ["testtesttest", "test", "admin", "null", "undefined", "debug"])
async def test_no_token_is_known_from_the_start(token: str, data: Path, tmp_path: Path) -> None:
    async with guarded(data, tmp_path) as site:
        reply = await site.live.get(READS, Authorization=f"Bearer {token}")
        assert reply.error == (401, "InvalidAuthentication")
        for name in ("X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Auth", "X-Debug"):
            reply = await site.live.ask("GET", READS, headers={name: "alice"})
            assert reply.error == (401, "InvalidAuthentication")
