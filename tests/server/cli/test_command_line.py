"""The commands of access control as `htsgate` runs them, from arguments to exit status."""

import json
import os
from pathlib import Path

import pytest

from server.cli import run

POLICY = """
schema = "htsget-policy/1"
[[dataset]]
id = "clinic"
objects = ["reads/clinic/*"]
[[grant]]
id = "G-1"
dataset = "clinic"
reason = "decision 1"
[grant.who]
all_of = [{ iss = "https://login.example/", sub = "ada" }]
[grant.what]
endpoints = ["reads"]
classes = ["header", "body"]
regions = ["chr1:1001-2000"]
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the outside has a say."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
        monkeypatch.delenv(name)


def test_policy(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.toml").write_text(POLICY)
    assert run(["policy", "check", "policy.toml"]) == 0
    asked = ["policy", "explain", "https://login.example/|ada", "clinic/a"]
    assert run([*asked, "chr1:1,001-1,100", "--policy", "policy.toml"]) == 0
    capsys.readouterr()
    assert run([*asked, "chr1:1,001-2,001", "--policy", "policy.toml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rule"] == "region.not_granted"
    Path("new.toml").write_text(POLICY.replace("2000", "2100"))
    assert run(["policy", "diff", "policy.toml", "new.toml"]) == 1
    assert run(["policy", "test", "policy.toml"]) == 0
    Path("policy.toml").write_text("schema = 1")
    assert run(["policy", "check", "policy.toml"]) == 1
    assert run(["policy", "explain", "anonymous", "a", "all", "--policy", "policy.toml"]) == 2


def test_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "mint", "--sub", "ada"]) == 0
    token, settings = capsys.readouterr()
    Path("htsgate.toml").write_text(settings.partition("\n\n")[2])
    assert run(["token", "inspect", token.strip(), "--config", "htsgate.toml"]) == 0
    assert run(["token", "inspect", "x.y.z", "--config", "htsgate.toml"]) == 1
    assert run(["token", "inspect", token.strip()]) == 2


def test_consent_and_audit(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--database", "sqlite:///none.db"]
    assert run(["consent", "withdraw", "--participant", "P-1", *where]) == 1
    assert run(["consent", "list", *where]) == 1
    assert run(["audit", "tail", *where]) == 1
    assert run(["audit", "verify", *where]) == 1
    assert run(["audit", "keygen", "audit.pem"]) == 0
    assert Path("audit.pem").stat().st_mode & 0o077 == 0
    for arguments in (["consent"], ["audit", "nothing"], ["consent", "withdraw"]):
        with pytest.raises(SystemExit, match="2"):
            run(arguments)
    capsys.readouterr()
