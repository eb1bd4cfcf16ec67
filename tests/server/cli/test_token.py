"""`htsgate token`: what it signs, and what it says of what a server would say."""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth.tokens.jose import claims_of, parse
from server.cli.token import add_arguments
from server.config import ConfigurationError
from server.dev_issuer import open_dev_issuer
from tests.support.broker import Answer, Broker

ISSUER = "https://dev.htsgate.example/"
GRANT = "type=ControlledAccessGrants,value=https://d.example/1,2,source=https://dac.example,by=dac"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        capsys.readouterr()
        options = parser.parse_args([str(each) for each in arguments])
        status: int = options.command(options)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def settings(path: Path, **issuer: Any) -> Path:
    values = {"issuer": ISSUER, "audience": "htsgate"} | issuer
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    path.write_text("[auth]\npolicy = 'none.toml'\n[[auth.issuers]]\n" + "\n".join(lines) + "\n")
    return path


def test_mint_and_inspect(run: Run, tmp_path: Path) -> None:
    status, out, err = run("mint", "--sub", "alice", "--scope", "a b", "--client-id", "igv")
    assert status == 0
    assert (tmp_path / "htsgate-dev-key.pem").stat().st_mode & 0o077 == 0
    # What it says makes a server accept the token.
    snippet = "\n".join(line for line in err.splitlines() if line.startswith("  "))
    config = tmp_path / "c.toml"
    config.write_text("[auth]\npolicy = 'none.toml'\n" + snippet)
    status, said, _ = run("inspect", out.strip(), "--config", config)
    assert status == 0
    assert "accepted:" in said
    assert "sub: alice" in said
    assert 'scopes: ["a", "b"]' in said
    status, said, _ = run("inspect", out.strip(), "--config", config, "--json")
    found = json.loads(said)
    assert found["accepted"]
    assert found["caller"]["client_id"] == "igv"
    # The key is there now, and nothing more is said.
    assert run("mint", "--sub", "bob")[2] == ""


def test_what_is_asked_for_is_in_the_token(run: Run) -> None:
    _, out, _ = run(
        *("mint", "--sub", "s", "--issuer", "https://i.example", "--audience", "x"),
        *("--lifetime", "60", "--claim", 'groups=["g"]', "--claim", "acr=loa2", "--json"),
        *("--algorithm", "EdDSA", "--visa", GRANT, "--visa", "type=a,value=b=c,d,source=e"),
    )
    minted = json.loads(out)
    compact = parse(minted["access_token"])
    claims = claims_of(compact.payload)
    assert compact.alg == "EdDSA"
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("https://i.example", "s", ["x"])
    assert (claims["groups"], claims["acr"]) == (["g"], "loa2")
    assert isinstance(claims["exp"], int)
    assert claims["exp"] - 60 == claims["iat"]
    passport = claims_of(parse(minted["passport"]).payload)
    assert isinstance(passport["ga4gh_passport_v1"], list)
    first, second = (
        claims_of(parse(visa).payload)["ga4gh_visa_v1"] for visa in passport["ga4gh_passport_v1"]
    )
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first.pop("asserted") == claims["iat"]
    assert first == {
        "type": "ControlledAccessGrants",
        "value": "https://d.example/1,2",
        "source": "https://dac.example",
        "by": "dac",
    }
    assert (second["value"], second["source"]) == ("b=c,d", "e")


@pytest.mark.parametrize(
    "arguments",
    [
        ("mint",),
        ("mint", "--sub", "s", "--lifetime", "0"),
        ("mint", "--sub", "s", "--lifetime", "9999999"),
        ("mint", "--sub", "s", "--claim", "x"),
        ("mint", "--sub", "s", "--visa", "type=a"),
        ("mint", "--sub", "s", "--visa", "type=a,type=b,value=c,source=d"),
        ("mint", "--sub", "s", "--visa", "value=c"),
        ("mint", "--sub", "s", "--visa", "x"),
        ("mint", "--sub", "s", "--algorithm", "HS256"),
        (),
    ],
)
def test_arguments_of_no_use(run: Run, arguments: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(*arguments)
    assert not list(tmp_path.iterdir())


def test_files_of_something_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "htsgate-dev-key.pem").write_text("x")
    (tmp_path / "htsgate-dev-key.pem").chmod(0o600)
    with pytest.raises(ConfigurationError, match="key"):
        run("mint", "--sub", "s")


REFUSALS: list[tuple[dict[str, Any], list[str], str, str]] = [
    ({}, ["--audience", "other"], "token.aud", "htsgate"),
    ({}, ["--issuer", "https://dev.htsgate.example"], "token.iss", ISSUER),
    ({}, ["--claim", "exp=5"], "token.exp", "expired"),
    ({}, ["--claim", "nbf=99999999999"], "token.nbf", "not yet"),
    ({}, ["--claim", "nonce=1"], "token.kind", "ID"),
    ({}, ["--claim", 'cnf={"jkt":"x"}'], "token.cnf", "bound"),
    ({}, ["--claim", "sub=7"], "token.sub", "subject"),
    ({"scopes": ["htsget"]}, ["--scope", "x"], "token.scope", "htsget"),
    ({"client_ids": ["igv"]}, ["--client-id", "x"], "token.client", "igv"),
    ({"max_token_lifetime": 60}, [], "token.lifetime", "60"),
    ({"algorithms": ["RS256"]}, [], "token.alg", "RS256"),
]


@pytest.mark.parametrize(("issuer", "arguments", "check", "meaning"), REFUSALS)
def test_which_check_fails(
    run: Run,
    tmp_path: Path,
    issuer: dict[str, Any],
    arguments: list[str],
    check: str,
    meaning: str,
) -> None:
    config = settings(tmp_path / "c.toml", jwks_file="htsgate-dev-jwks.json", **issuer)
    _, out, _ = run("mint", "--sub", "s", *arguments)
    status, said, _ = run("inspect", out.strip(), "--config", config, "--json")
    found = json.loads(said)
    assert (status, found["accepted"], found["check"]) == (1, False, check)
    assert meaning in found["meaning"]
    status, said, _ = run("inspect", out.strip(), "--config", config)
    assert f"refused ({check})" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "check"),
    [("opaque", "token.syntax"), ("a b", "bearer.syntax"), ("x" * 20_000, "bearer.size")],
)
def test_texts_that_are_no_tokens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, check: str
) -> None:
    (tmp_path / "none.json").write_text('{"keys": []}')
    config = settings(tmp_path / "c.toml", jwks_file=str(tmp_path / "none.json"))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    status, said, _ = run("inspect", "-", "--config", config)
    assert status == 1
    assert f"refused ({check})" in said


def test_another_key_and_revocation(run: Run, tmp_path: Path) -> None:
    config = settings(tmp_path / "c.toml", jwks_file="htsgate-dev-jwks.json")
    other = open_dev_issuer(ISSUER, tmp_path / "other.pem", tmp_path / "other.json")
    run("mint", "--sub", "s")
    token = other.access_token("s", audience="htsgate", now=0, lifetime=60)
    assert "token.kid" in run("inspect", token, "--config", config)[1]
    out = run("mint", "--sub", "s")[1].strip()
    assert run("inspect", out[:-6] + "AAAAAA", "--config", config)[0] == 1
    (tmp_path / "revoked").write_text(f"{ISSUER}|s\n")
    config.write_text(config.read_text().replace("[auth]", "[auth]\nrevoked = 'revoked'"))
    assert "token.revoked" in run("inspect", out, "--config", config)[1]


def test_an_issuer_that_is_not_there(run: Run, tmp_path: Path) -> None:
    with Broker().running() as broker:
        config = settings(tmp_path / "c.toml", issuer=broker.url)
        token = broker.access_token(aud="htsgate")
        status, said, _ = run("inspect", token, "--config", config)
        assert status == 0
        broker.answers["jwks"] = Answer(500)
        status, said, _ = run("inspect", token, "--config", config)
    assert status == 1
    assert "cannot be asked now" in said


def test_passports(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("mint", "--sub", "s", "--visa", GRANT)
    passport = out.splitlines()[1]
    (tmp_path / "trust.toml").write_text(f"""
schema = "htsget-trust/1"
[[broker]]
issuer = "{ISSUER}"
algorithms = ["ES256"]
audiences = ["htsgate"]
flows = ["passport"]
jwks_file = "htsgate-dev-jwks.json"
[[visa_issuer]]
issuer = "{ISSUER}"
jku = "{ISSUER}jwks"
jwks_file = "htsgate-dev-jwks.json"
may_assert = [ {{ type = "ControlledAccessGrants", sources = ["https://dac.example"] }} ]
""")
    config = tmp_path / "c.toml"
    config.write_text("[auth]\npolicy = 'none.toml'\npassports = 'trust.toml'\n")
    status, said, _ = run("inspect", passport, "--config", config)
    assert status == 0, said
    assert "visas: 1" in said
    assert "https://d.example/1,2" in said
    assert (
        "token.typ"
        in run(
            "inspect", passport, "--config", settings(config, jwks_file="htsgate-dev-jwks.json")
        )[1]
    )


def test_a_terminal_is_not_commanded(run: Run, tmp_path: Path) -> None:
    config = settings(tmp_path / "c.toml", jwks_file="htsgate-dev-jwks.json")
    nasty = "\x1b[2J\x9b\x7f\u202e"
    _, out, _ = run("mint", "--sub", nasty, "--claim", f"{nasty}={nasty}", "--scope", nasty)
    _, said, _ = run("inspect", out.strip(), "--config", config)
    assert said.replace("\n", "").isprintable()


def test_without_access_control_there_is_nothing_to_say(run: Run) -> None:
    with pytest.raises(ConfigurationError, match="auth"):
        run("inspect", "x")
