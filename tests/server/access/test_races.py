"""What changes while a request is under way: the right that is given is the one that was judged."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.policy import Policy
from server.app import ACCESS
from server.slicing.library import Library
from tests.server.access.guarded import Guarded, guarded

READS = "/reads/study/reads"


@pytest.fixture
async def site(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(data, tmp_path) as server:
        yield server


@pytest.mark.security("TU4")
async def test_a_policy_that_changes_between_decision_and_ticket(
    site: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, policies = Library.header, site.live.app[ACCESS].policies
    is_other = asyncio.Event()
    changed = policies.changed

    def take_up(policy: Policy) -> None:
        changed(policy)
        is_other.set()

    async def slow(self: Library, item: object) -> object:
        """A store that takes so long that the grant is gone when it answers."""
        monkeypatch.setattr(Library, "header", header)
        site.policy.write_text(site.policy.read_text().replace('sub = "alice"', 'sub = "zoe"'))
        await is_other.wait()
        return await header(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(policies, "changed", take_up)
    monkeypatch.setattr(Library, "header", slow)
    ticket = await site.get(READS, "alice")
    for url in ticket.urls:
        assert (await site.live.get(url)).error == (404, "NotFound")
