"""The policy in force follows its files, whenever they are written."""

from pathlib import Path

import pytest

import server.access.policy_file as policy_file
from auth.policy.evaluation import Policy
from auth.policy.evaluation import load_policy as load
from server.access.policy_file import PolicyFile
from tests.server.access.guarded import usual_policy

USUAL = usual_policy("https://issuer.example")


async def refreshed(policies: PolicyFile) -> bool:
    policies._checked = 0.0
    return await policies.refresh()


@pytest.mark.security("TS5")
@pytest.mark.parametrize("at_start", [True, False])
async def test_what_is_written_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, at_start: bool
) -> None:
    """A right that is taken away just then does not stay."""
    path = tmp_path / "policy.toml"
    path.write_text(USUAL)

    def slowly(read: Path) -> Policy:
        monkeypatch.setattr(policy_file, "load_policy", load)
        policy = load(read)
        path.write_text(USUAL.replace('sub = "alice"', 'sub = "somebody else"'))
        return policy

    if at_start:
        monkeypatch.setattr(policy_file, "load_policy", slowly)
    policies = PolicyFile(path, lambda policy: None, lambda event: None)
    if not at_start:
        path.write_text(USUAL.replace('sub = "carol"', 'sub = "nobody"'))
        monkeypatch.setattr(policy_file, "load_policy", slowly)
        assert await refreshed(policies)
    assert await refreshed(policies)
    assert policies.current.version == load(path).version
    assert not await refreshed(policies)
