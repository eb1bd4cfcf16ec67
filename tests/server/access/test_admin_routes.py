"""`POST /admin/consent`: what cannot be a statement is refused, and what is written is one name."""

import json
from pathlib import Path

import pytest

from tests.server.access.guarded import guarded
from tests.support.broker import Broker


def administrators(broker: Broker) -> list[dict[str, str]]:
    return [{"iss": broker.issuer, "sub": "desk"}]


@pytest.mark.parametrize(
    "members",
    [
        {"participant": " "},
        {"participant": "x" * 300},
        {"participant": 7},
        {"participant": "P-1", "sample": "S-1"},
        {"object": "reads/x", "dataset": " "},
        {"object": "reads/x", "from": "yesterday"},
        {"object": "reads/x", "more": "x"},
        {},
    ],
)
async def test_no_statement(data: Path, tmp_path: Path, members: dict[str, object]) -> None:
    body = json.dumps({"action": "withdraw", **members}).encode()
    async with guarded(data, tmp_path, administrators=administrators) as site:
        reply = await site.ask("POST", "/admin/consent", "desk", data=body)
        assert reply.error == (400, "InvalidInput")
        assert not await site.events("consent.updated")
        assert (await site.ask("POST", "/admin/consent", data=body)).status == 401
        assert (await site.ask("POST", "/admin/consent", "alice", data=body)).status == 403


async def test_one_name_for_one_person(data: Path, tmp_path: Path) -> None:
    async with guarded(data, tmp_path, administrators=administrators) as site:
        for name in ("P-1", "  P-1 "):
            body = json.dumps({"action": "withdraw", "participant": name}).encode()
            assert (await site.ask("POST", "/admin/consent", "desk", data=body)).status == 200
        first, second = await site.events("consent.updated")
        assert first["value"] == second["value"]
