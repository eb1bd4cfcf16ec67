"""What changes while a request is under way: the right that is given is the one that was judged."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from auth.policy.evaluation import Policy
from server.access.live_streams import MOST_STREAMS
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


@pytest.mark.security("TL7")
async def test_who_has_all_and_hangs_up_while_the_records_are_counted(
    site: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*args: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Library, "count_records", endless)
    ticket = await site.get(f"{READS}?referenceName=one&start=2000&end=30000", "alice")
    url = urlsplit(ticket.urls[1])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = (line.split(":")[1] for line in head.splitlines() if "content-length" in line)
    await reader.readexactly(int(length))
    writer.close()
    (done,) = await site.events("data.done")
    assert (done["outcome"], done["bytes"]) == ("complete", int(length))
    assert done["served"] == [["one", 2000, 30000]]
    assert not await site.events("data.aborted")


@pytest.mark.security("TU8")
async def test_blocks_are_limited_before_they_are_planned(
    site: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planning may cost more than sending: one caller does not take all of it."""
    ticket = await site.get(f"{READS}?referenceName=one&start=2000&end=30000", "alice")
    plan, going_on, begun = Library.plan_body, asyncio.Event(), 0

    async def slow(self: Library, *args: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        await going_on.wait()
        return await plan(self, *args, **options)

    monkeypatch.setattr(Library, "plan_body", slow)
    tasks = [asyncio.create_task(site.live.get(ticket.urls[1])) for _ in range(MOST_STREAMS + 6)]
    refused, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    while len(refused) < 6:
        done, _ = await asyncio.wait(set(tasks) - refused, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    assert begun == MOST_STREAMS
    going_on.set()
    statuses = sorted([(await each).status for each in tasks])
    assert statuses == [200] * MOST_STREAMS + [429] * 6
