"""What holds of every refusal, whatever it is for: nothing is opened, one record says why, nothing
secret is in the answer, the log or the record, and it comes in time."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from server.app import CATALOG
from tests.server.access.guarded import Guarded
from tests.server.live import Live, Reply

SECONDS = 2.0  # much more than any refusal takes, so that a busy machine does not matter
NOT_COMPARED = ("Date",)

READS = "/reads/study/reads"

UNIFORM = b'{"htsget":{"error":"InvalidAuthentication","message":"the credential is not accepted"}}'
CHALLENGE = 'Bearer realm="htsget", error="invalid_token"'


@dataclass
class Bench:
    """A site under attack. `opened`: what was asked of the store since it was last emptied."""

    site: Guarded
    caplog: pytest.LogCaptureFixture
    opened: list[str] = field(default_factory=list)

    async def refused(
        self,
        path: str = READS,
        token: str = "",
        *,
        status: int = 401,
        rule: str,
        event: str = "auth.fail",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
        secrets: tuple[str, ...] = (),
    ) -> Reply:
        """The answer to a request that must be refused, with everything that must hold of it.
        `token` as bearer; `rule`: what the only record says."""
        fields = dict(headers or {})
        if token:
            fields["Authorization"] = f"Bearer {token}"
        before = len(await self.site.records())
        self.opened.clear()
        self.caplog.clear()
        begin = time.monotonic()
        reply = await self.site.live.ask(method, path, headers=fields)
        assert time.monotonic() - begin < seconds
        assert reply.status == status, reply.body
        await self.recorded(before, [(event, rule)], (token, *secrets), reply)
        assert self.opened == []
        return reply

    async def recorded(
        self,
        before: int,
        expected: Sequence[tuple[str, str | None]],
        secrets: tuple[str, ...],
        *replies: Reply,
    ) -> None:
        """The records since say that and no more; none of the secrets is anywhere."""
        records = (await self.site.records())[before:]
        assert [(each["event"], each.get("rule")) for each in records] == expected
        told = [str(each.headers) + each.body.decode() for each in replies]
        text = "\n".join([*told, json.dumps(records), *map(repr, self.lines)])
        for secret in filter(None, secrets):
            for piece in {secret, secret[-43:], secret.rpartition(".")[2]}:
                assert len(piece) < 8 or piece not in text

    @property
    def lines(self) -> list[str]:
        """What was logged. Nobody writes lines of their own: only frames of ours are several."""
        for each in self.caplog.records:
            assert each.name == "server.errors" or "\n" not in each.getMessage()
        return [each.getMessage() for each in self.caplog.records]


def uniform(reply: Reply) -> None:
    """It is the answer that every bad credential gets, to the byte."""
    assert reply.body == UNIFORM
    assert reply.headers["WWW-Authenticate"] == CHALLENGE
    assert reply.headers["Cache-Control"] == "no-store"


def sameness(reply: Reply) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All of an answer that a client can compare."""
    headers = sorted((k, v) for k, v in reply.headers.items() if k not in NOT_COMPARED)
    return reply.status, tuple(headers), reply.body


@contextmanager
def watched(live: Live, opened: list[str]) -> Iterator[None]:
    """Note every call to a store of the server."""
    with pytest.MonkeyPatch.context() as patch:
        for location in live.app[CATALOG].locations:
            for name in ("stat", "read", "stream", "source", "lend"):
                found = getattr(location.backend, name)

                def spy(*args: Any, _found: Any = found, _name: str = name, **options: Any) -> Any:
                    opened.append(f"{_name} {args[0]}")
                    return _found(*args, **options)

                patch.setattr(location.backend, name, spy)
        yield


@contextmanager
def bench(site: Guarded, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    """A site whose store is watched and whose log is kept, all of it."""
    caplog.set_level("DEBUG")
    found = Bench(site, caplog)
    with watched(site.live, found.opened):
        yield found
