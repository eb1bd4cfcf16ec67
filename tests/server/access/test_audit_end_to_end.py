"""No record, no data: what happens when the audit cannot be written. And no secret in any record,
log or table."""

import asyncio
import json
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from server.app import ACCESS
from tests.server.access.guarded import Guarded, guarded
from tests.server.access.planted import CANARY, plant
from tests.server.live import SECRET, Reply

READS, OPEN = "/reads/study/reads", "/reads/study/public/only"
REGION = "referenceName=one&start=2000&end=30000"


@pytest.fixture
async def site(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    """With an object for everybody beside those that are controlled."""
    home, state = tmp_path / "home", tmp_path / "state"
    (home / "public").mkdir(parents=True)
    state.mkdir()
    for name in ("reads.bam", "reads.bam.bai"):
        shutil.copy2(data / name, home / name)
    for name in ("only.bam", "only.bam.bai"):
        shutil.copy2(data / name, home / "public" / name)
    async with guarded(home, state) as server:
        yield server


@contextmanager
def locked(site: Guarded) -> Iterator[None]:
    """Somebody else writes, and does not end."""
    other = sqlite3.connect(site.database.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@contextmanager
def failing(site: Guarded, pragma: str, usual: str) -> Iterator[None]:
    """Every connection of the server to its database has something set."""
    pool = site.live.app[ACCESS].gate.audit._database._engine.pool

    def begin(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    def end(connection: Any, *_: object) -> None:
        if connection is not None:
            connection.execute(f"PRAGMA {usual}")

    event.listen(pool, "checkout", begin)
    event.listen(pool, "checkin", end)
    yield
    event.remove(pool, "checkout", begin)


FAULTS: dict[str, Callable[[Guarded], AbstractContextManager[None]]] = {
    "locked": locked,
    "read-only": lambda site: failing(site, "query_only = ON", "query_only = OFF"),
    "full": lambda site: failing(site, "max_page_count = 1", "max_page_count = 1000000"),
}


def unavailable(reply: Reply) -> bool:
    """Whether it is the refusal of who cannot write things down."""
    if reply.status == 200:
        return False
    assert reply.status == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert b"database" not in reply.body
    assert b"sqlite" not in reply.body
    return True


@pytest.mark.security("TA2")
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_cannot_be_recorded_does_not_happen(site: Guarded, fault: str) -> None:
    """503 for controlled data, ticket and block; what is open to all is served."""
    before = await site.get(f"{READS}?{REGION}", "alice")
    open_before = await site.get(OPEN)
    assert before.status == open_before.status == 200
    with FAULTS[fault](site):
        for _ in range(40):  # a full disk has room in the page that was begun
            controlled = await asyncio.gather(
                site.get(f"{READS}?{REGION}", "alice"), *map(site.live.get, before.urls)
            )
            if all(map(unavailable, controlled)):
                break
        else:
            raise AssertionError("controlled data are served without a record")
        for reply in (await site.get(OPEN), await site.get(f"{OPEN}?referenceName=one")):
            assert await site.live.whole(reply)
        assert await site.live.whole(open_before)
    for _ in range(50):
        if (await site.get(READS, "alice")).status == 200:
            break
        await asyncio.sleep(0.1)
    assert await site.fetch(f"{READS}?{REGION}", "alice")
    intents = await site.events("data.intent")
    done = await site.events("data.done")
    assert {each["req"] for each in done} <= {each["req"] for each in intents}


def texts(value: object) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.security("TA4", "TL3")
async def test_secrets_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Logs of all levels, the audit and every byte of the database, after requests that succeed
    and requests that fail."""
    caplog.set_level(logging.DEBUG)
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    state.mkdir()
    plant(home)
    async with guarded(home, state) as site:
        tickets = [
            await site.get(f"{path}{query}", sub)
            for path in ("/reads/study/reads", "/variants/study/variants")
            for query in (f"?{REGION}", "?class=header", "")
            for sub in ("alice", "bob", "carol", "mallory")
        ]
        capabilities = [
            url.rpartition("/")[2] for each in tickets if each.status == 200 for url in each.urls
        ]
        for each in capabilities:
            assert (await site.live.get(f"/blocks/{each}")).status == 200
            assert (await site.live.get(f"/blocks/{each[:-2]}")).status == 401
        tokens = [site.token(sub) for sub in ("alice", "bob", "carol", "mallory")]
        spoilt = [f"{each[:-4]}AAAA" for each in tokens]
        for each in spoilt:
            reply = await site.live.get(READS, Authorization=f"Bearer {each}")
            assert reply.status == 401
        await site.live.get(f"{READS}?access_token={tokens[0]}")
        await site.live.get(f"/blocks/{tokens[0]}")
        await site.live.get(READS, Authorization=f"Bearer {capabilities[0]}")
        (home / "reads.bam").unlink()  # what fails inside says no more
        await site.live.get(f"/blocks/{capabilities[0]}")
        await site.get(READS, "alice")
        records = await site.records()
    logged = "\n".join(
        f"{each.name} {each.getMessage()} {each.exc_text}" for each in caplog.records
    )
    assert "/reads" in logged
    stored = b"".join(path.read_bytes() for path in state.iterdir() if "state.db" in path.name)
    assert b"ticket.intent" in stored
    pieces = {each.rpartition(".")[2] for each in (*tokens, *capabilities)}
    pieces |= {each.split(".")[1] for each in tokens}
    pieces |= {each.split(".")[-2] for each in capabilities}
    for secret in (*pieces, SECRET, CANARY, "A" * 30, str(home)):
        assert secret.encode() not in stored
        assert secret not in json.dumps(records)
        assert secret not in logged or secret == str(home), secret
    told = [each for record in records for each in texts(record)]
    assert not {"alice", "bob", "carol", "127.0.0.1"} & set(told)
