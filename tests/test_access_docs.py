"""What the documents of controlled access say is true: the worked example, commands, codes."""

import os
import re
import shlex
from pathlib import Path

import pytest

from auth.consent import JOINT, STALE, UNMAPPED, WITHDRAWN
from auth.decision import Limits
from auth.passports.trust_document import load_trust
from auth.policy.evaluation import load_policy
from auth.policy.rules import Rule
from server.cli import command_line, run
from server.config import load_settings

ROOT = Path(__file__).resolve().parents[1]
ACCESS, SECURITY = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("access", "security"))


def blocks(text: str, language: str) -> list[str]:
    every = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in every if name == language]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the worked example, to work in."""
    for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
        monkeypatch.delenv(name)
    (policy,), (bed, samples, *_) = blocks(ACCESS, "toml"), blocks(ACCESS, "")
    (tmp_path / "policy.toml").write_text(policy)
    (tmp_path / "cardio.bed").write_text(bed)
    (tmp_path / "samples.csv").write_text(samples)
    (tmp_path / "withdrawn.csv").write_text("participant,effective_from\n")
    wider = policy.replace('"panel:cardio", ', '"panel:cardio", "chr7:1-1000", ')
    (tmp_path / "new.toml").write_text(wider)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_worked_example(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks(ACCESS, "sh") for line in block.splitlines()]
    asked = [shlex.split(line)[1:] for line in commands if line.startswith("htsgate policy ")]
    assert [(run(words), words[1]) for words in asked] == [
        (0, "check"),
        (0, "explain"),
        (0, "test"),
        (1, "diff"),
    ]
    printed = capsys.readouterr().out
    assert blocks(ACCESS, "")[2] in printed
    assert "3 expectations, 0 failed" in printed
    assert "1,000 bases: chr7:1-1000" in printed
    grants = {each.id for each in load_policy(example / "policy.toml").document.grants}
    assert grants == {"G-2026-002", "G-2026-014"}


def test_commands_are_understood() -> None:
    parser = command_line()
    commands = [
        line
        for text in (ACCESS, SECURITY)
        for block in blocks(text, "sh")
        for line in block.splitlines()
    ]
    assert len(commands) > 10
    for line in commands:
        assert line.startswith("htsgate ")
        assert parser.parse_args(shlex.split(line)[1:]).command


def test_examples_of_settings(example: Path) -> None:
    settings, trust = blocks(SECURITY, "toml")
    (example / "htsgate.toml").write_text(settings)
    section = load_settings(example / "htsgate.toml", {}).auth
    assert section is not None
    assert section.administrators[0].sub == "consent-office"
    (example / "trust.toml").write_text(trust)
    assert len(load_trust(example / "trust.toml").visa_issuers) == 2


def test_codes_are_described() -> None:
    table = ACCESS.partition("## Reason codes")[2]
    source = "".join(path.read_text() for path in (ROOT / "auth").rglob("*.py"))
    raised = set(re.findall(r'(?:InvalidCredential|AuthorityUnavailable)\("([a-z_.]+)"\)', source))
    assert len(raised) > 40
    for code in {*map(str, Rule), WITHDRAWN, JOINT, UNMAPPED, STALE, *raised}:
        family, _, name = code.partition(".")
        row = next((line for line in table.splitlines() if f"`{family}.…`" in line), "")
        assert f"`{code}`" in table or row, code
        if family == "token":
            assert f"`{code}`" in table or f"`{name}`" in row, code


def test_limits_are_described() -> None:
    for text in (ACCESS, SECURITY):
        assert all(f"`{name}`" in text for name in Limits.__dataclass_fields__)
