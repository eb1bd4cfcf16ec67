"""What clients are told when a store fails: typed errors with Retry-After, and nothing of where."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from server.app import CATALOG
from server.config import Settings
from storage_backends.transfer import Patience
from tests.server.live import Live, Reply, serving
from tests.server.remote.places import Place, place_in_bucket
from tests.server.remote.test_call_counts import MIDDLE, blocks, read_block
from tests.support.store_log import Rule
from tests.support.stores import ACCESS_KEY, SECRET_KEY, RunningStore, logged_store

SECRETS = (ACCESS_KEY, SECRET_KEY, "X-Amz-Signature", "X-Amz-Credential", "Signature=")
IMPATIENT = Patience(connect=0.5, quiet=0.3, attempts=3, pause=0.01)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test leaves a secret in the log (but in that of the proxy before the store)."""
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        if record.name != "aiohttp.access":
            text = logging.Formatter().format(record)
            assert not [secret for secret in SECRETS if secret in text], text


@asynccontextmanager
async def impatient(settings: Settings) -> AsyncIterator[Live]:
    """A server that soon gives up on a store."""
    async with serving(settings) as live:
        for location in live.app[CATALOG].locations:
            location.backend._transfer._patience = IMPATIENT  # type: ignore[attr-defined]
        yield live


def answering(status: int, code: str, method: str = "") -> Rule:
    """A rule that refuses every request, or those of a method."""

    async def rule(request: web.Request) -> web.StreamResponse | None:
        if not request.method.startswith(method):
            return None
        body = f"<Error><Code>{code}</Code><Message>{request.path}</Message></Error>"
        return web.Response(status=status, text=body, content_type="application/xml")

    return rule


async def silence(request: web.Request) -> web.StreamResponse | None:
    """A rule that does not answer within anyone's patience."""
    await asyncio.sleep(3 * IMPATIENT.quiet)
    return web.Response(status=500)


def check_unavailable(reply: Reply, place: Place, seconds: int) -> None:
    """503 with Retry-After, and nothing of bucket, key, endpoint or credentials."""
    assert reply.error == (503, "InternalServerError")
    assert reply.headers["Retry-After"] == str(seconds)
    shown = reply.body.decode() + str(reply.headers)
    for secret in (*SECRETS, *place.where, ".bam", "s3://", "http://"):
        assert secret not in shown, shown


FAULTS = {
    "denied": (answering(403, "AccessDenied"), 60),
    "slow down": (answering(503, "SlowDown"), 5),
    "too many": (answering(429, "TooManyRequests"), 5),
    "internal": (answering(500, "InternalError"), 5),
    "silent": (silence, 5),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.security("TS1")
async def test_a_ticket(place: Place, fault: str) -> None:
    rule, seconds = FAULTS[fault]
    async with impatient(place.settings()) as live:
        place.log.rule = rule
        check_unavailable(await live.get(MIDDLE), place, seconds)
        asked = place.log("HEAD", "wide.bam")
        assert len(asked) == (IMPATIENT.attempts if seconds == 5 else 1)
        place.log.rule = None
        assert (await live.get(MIDDLE)).status == 200


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.security("TS1")
async def test_a_block(place: Place, fault: str) -> None:
    """The ticket is made; then the store fails, before any byte is sent."""
    rule, seconds = FAULTS[fault]
    async with impatient(place.settings()) as live:
        expected = await blocks(live, MIDDLE)
    async with impatient(place.settings()) as live:
        body = (await live.get(MIDDLE)).urls[1]
        place.log.rule = rule
        check_unavailable(await live.get(body), place, seconds)
        place.log.rule = None
        assert (await live.get(body)).body == expected
        place.log.rule = rule  # now only the interior is asked for
        check_unavailable(await live.get(body), place, seconds)


async def test_a_fault_that_passes(place: Place) -> None:
    """Clients notice nothing of one SlowDown."""
    refuse = answering(503, "SlowDown")
    refused: set[tuple[str, str, str | None]] = set()

    async def first(request: web.Request) -> web.StreamResponse | None:
        name = (request.method, request.path, request.headers.get("Range"))
        if name in refused:
            return None
        refused.add(name)
        return await refuse(request)

    place.log.rule = first
    async with impatient(place.settings()) as live:
        assert await blocks(live, MIDDLE)
    assert len(refused) >= 8


async def test_a_store_that_is_down(place: Place) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        field = "endpoint_url" if "endpoint_url" in place.location else "url"
        front = place.location[field]
        moved = front.replace(front.split("/")[2], f"127.0.0.1:{port}")
        place.location[field] = moved
        async with impatient(place.settings()) as live:
            reply = await live.get(MIDDLE)
            check_unavailable(reply, place, 5)
            assert str(port) not in reply.body.decode()
            ready = await live.get("/health/ready")
            assert ready.status == 503
            assert str(port) not in ready.body.decode()
            assert (await live.get("/health/live")).status == 200


@pytest.mark.security("TS1")
async def test_a_store_that_stops_in_mid_stream(place: Place) -> None:
    """The connection is dropped; a prefix of the right bytes arrived."""
    async with impatient(place.settings()) as live:
        expected = await blocks(live, MIDDLE)
        body = (await live.get(MIDDLE)).urls[1]
        place.log.clear()
        place.log.hold_after = 1 << 20

        async def once(request: web.Request) -> web.StreamResponse | None:
            return await silence(request) if len(place.log("GET")) > 1 else None

        place.log.rule = once
        received, complete = await read_block(live, body)
        assert not complete
        assert 0 < len(received) < len(expected)
        assert expected.startswith(received)
        place.log.hold_after = None


@pytest.mark.security("TS1")
async def test_answers_that_are_not_the_range(place: Place) -> None:
    """Another range, more or fewer bytes than announced: never taken for what was asked."""

    async def shifted(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET":
            return None
        fields = {"Content-Range": "bytes 7-1006/2000", "ETag": '"x"'}
        return web.Response(status=206, body=b"x" * 1000, headers=fields)

    async with impatient(place.settings()) as live:
        body = (await live.get(MIDDLE)).urls[1]
        place.log.rule = shifted
        reply = await live.get(body)
        assert reply.status in (409, 503)
        place.log.rule = None
        assert (await live.get(body)).status == 200


async def test_a_bucket_that_is_gone(moto_store: RunningStore, files: Path) -> None:
    """A GET tells that from a missing key, a HEAD does not."""
    with logged_store(moto_store) as store:
        place = place_in_bucket(store)
        bucket = place.where[0]
        for name in ("wide.bam", "wide.bam.bai"):
            place.put(name, files / name)
        async with impatient(place.settings()) as live:
            body = (await live.get(MIDDLE)).urls[1]
            for name in ("wide.bam", "wide.bam.bai"):
                place.delete(name)
            store.client.delete_bucket(Bucket=bucket)
            check_unavailable(await live.get(body), place, 60)


async def test_archived_objects(moto_store: RunningStore, files: Path) -> None:
    with logged_store(moto_store) as store:
        place = place_in_bucket(store)
        bucket = place.where[0]
        for name in ("wide.bam", "wide.bam.bai"):
            kind = "GLACIER" if name == "wide.bam" else "STANDARD"
            store.put(bucket, f"inner-folder/{name}", files / name, StorageClass=kind)
        async with impatient(place.settings()) as live:
            check_unavailable(await live.get(MIDDLE), place, 3600)


@pytest.mark.security("TS1", "TS2")
async def test_credentials_that_are_refused(
    versity_store: RunningStore, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged_store(versity_store) as store:
        place = place_in_bucket(store)
        place.put("wide.bam", files / "wide.bam")
        place.put("wide.bam.bai", files / "wide.bam.bai")
        wrong = "w" + SECRET_KEY[1:]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
        async with impatient(place.settings()) as live:
            reply = await live.get(MIDDLE)
            check_unavailable(reply, place, 60)
            assert {each.status for each in store.log()} == {403}
