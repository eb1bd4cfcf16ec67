import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.http import HttpOrigin
from storage_backends.refusals import PastEnd
from storage_backends.transfer import Patience, Refusal, Target, Transfer
from tests.support.faulty_store import FaultyStore, faulty_store, reset, silent, status

IMPATIENT = Patience(connect=1.0, quiet=0.3, attempts=3, pause=0.01, total=5.0)


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        store.put("secret-bucket/secret-key", b"0123456789")
        yield store


@pytest.fixture
async def transfer(store: FaultyStore) -> AsyncIterator[Transfer]:
    origin = HttpOrigin(f"{store.url}/secret-bucket?signature=secret-token")
    transfer = Transfer(origin, IMPATIENT)
    yield transfer
    await transfer.close()


KEY = "secret-key"


async def refusal(transfer: Transfer, kind: type[StorageError]) -> StorageError:
    """The error of a ranged request, which says nothing of what was asked."""
    with pytest.raises(kind) as caught:
        await transfer.open("GET", KEY, (0, 4), '"0001-10"')
    assert type(caught.value) is kind
    told = "".join(traceback.format_exception(caught.value))
    assert "secret" not in told
    assert "127.0.0.1" not in told
    return caught.value


async def test_what_a_request_carries(store: FaultyStore, transfer: Transfer) -> None:
    response = await transfer.open("GET", KEY, (2, 5), '"0001-10"')
    assert await response.read() == b"234"
    (asked,) = store.asked
    assert asked.path == "/secret-bucket/secret-key?signature=secret-token"
    assert (asked.range, asked.if_match) == ("bytes=2-4", '"0001-10"')


@pytest.mark.parametrize(
    ("code", "kind", "asked"),
    [
        (404, ObjectNotFound, 1),
        (410, ObjectNotFound, 1),
        (412, ObjectChanged, 1),
        (401, StorageDenied, 1),
        (403, StorageDenied, 1),
        (416, PastEnd, 1),
        (400, StorageDenied, 1),
        (304, StorageDenied, 1),
        (204, StorageDenied, 1),
        (501, StorageDenied, 1),
        *((code, StorageUnavailable, 3) for code in (408, 425, 429, 500, 502, 503, 504)),
    ],
)
async def test_refusals(
    store: FaultyStore, transfer: Transfer, code: int, kind: type[StorageError], asked: int
) -> None:
    store.rule = status(code)
    await refusal(transfer, kind)
    assert store.count() == asked


@pytest.mark.parametrize("code", [500, 503])
async def test_it_asks_again(store: FaultyStore, transfer: Transfer, code: int) -> None:
    store.rules.extend([status(code), reset])
    response = await transfer.open("GET", KEY, (0, 4))
    assert await response.read() == b"0123"
    assert store.count() == 3


async def test_it_waits_as_it_is_told(store: FaultyStore, transfer: Transfer) -> None:
    store.rules.append(status(503, Retry_After="1"))
    begun = time.monotonic()
    (await transfer.open("GET", KEY, (0, 4))).close()
    assert 1.0 <= time.monotonic() - begun < 3.0


async def test_it_does_not_wait_for_long(store: FaultyStore, transfer: Transfer) -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    for told, least, most in (
        ("120", 120, 120),
        (format_datetime(later, usegmt=True), 85, 90),
        ("9" * 30, 86_400, 86_400),
    ):
        store.asked.clear()
        store.rule = status(429, Retry_After=told)
        failure = await refusal(transfer, StorageUnavailable)
        assert isinstance(failure, StorageUnavailable)
        assert least <= failure.retry_after <= most
        assert store.count() == 1


@pytest.mark.parametrize("told", ["", "soon", "-3", "²", "Wed, 99 Foo 2026"])
async def test_it_is_told_nonsense(store: FaultyStore, transfer: Transfer, told: str) -> None:
    store.rules.append(status(503, Retry_After=told))
    (await transfer.open("GET", KEY, (0, 4))).close()


async def test_a_server_that_never_answers(store: FaultyStore, transfer: Transfer) -> None:
    store.rule = silent
    begun = time.monotonic()
    await refusal(transfer, StorageUnavailable)
    assert store.count() == 3
    assert time.monotonic() - begun < 3


async def test_a_server_that_answers_byte_by_byte(transfer: Transfer) -> None:
    """Each in time, and never to an end."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.1)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    patience = Patience(connect=0.3, quiet=0.3, attempts=1)
    dripping = Transfer(HttpOrigin(f"http://127.0.0.1:{port}"), patience)
    async with asyncio.timeout(5):
        await refusal(dripping, StorageUnavailable)
    await dripping.close()
    server.close()


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transfer = Transfer(HttpOrigin(f"http://127.0.0.1:{port}/secret"), IMPATIENT)
    await refusal(transfer, StorageUnavailable)
    await transfer.close()


async def test_no_attempt_begins_late(store: FaultyStore) -> None:
    patience = Patience(connect=1.0, quiet=0.3, attempts=50, pause=0.01, total=0.5)
    transfer = Transfer(HttpOrigin(f"{store.url}/secret-bucket"), patience)
    store.rule = silent
    await refusal(transfer, StorageUnavailable)
    assert store.count() == 2
    await transfer.close()


async def test_connections_are_kept(store: FaultyStore, transfer: Transfer) -> None:
    """Whatever was answered: 404s with a body, HEAD, ranges, 412s and 416s."""
    for _ in range(5):
        with pytest.raises(ObjectNotFound):
            await transfer.open("GET", "missing", (0, 4))
        with pytest.raises(ObjectNotFound):
            await transfer.open("HEAD", "missing")
        with pytest.raises(PastEnd):
            await transfer.open("GET", KEY, (10, 11))
        with pytest.raises(ObjectChanged):
            await transfer.open("GET", KEY, (0, 4), '"other"')
        (await transfer.open("HEAD", KEY)).release()
        assert await (await transfer.open("GET", KEY, (0, 4))).read() == b"0123"
    assert store.count() == 30
    assert store.connections == 1


async def test_large_refusals_are_not_read(store: FaultyStore, transfer: Transfer) -> None:
    async def verbose(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=404)
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    store.rule = verbose
    async with asyncio.timeout(5):
        await refusal(transfer, ObjectNotFound)


async def test_cancelled_while_it_waits(store: FaultyStore, transfer: Transfer) -> None:
    store.rule = silent
    patient = Transfer(HttpOrigin(store.url), Patience())
    tasks = asyncio.all_tasks()
    waiting = asyncio.create_task(patient.open("GET", "secret-key"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() <= tasks
    assert patient._session is not None
    assert patient._session.connector is not None
    assert not patient._session.connector._acquired
    await patient.close()


async def test_closed_while_it_waits(store: FaultyStore) -> None:
    store.rule = silent
    transfer = Transfer(HttpOrigin(store.url), Patience())
    waiting = asyncio.create_task(transfer.open("GET", "secret-key"))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(3):
        await transfer.close()
        with pytest.raises(StorageUnavailable):
            await waiting
    with pytest.raises(StorageUnavailable):
        await transfer.open("GET", "secret-key")
    assert store.count() == 1


async def test_closed_in_mid_body(store: FaultyStore) -> None:
    """Also while the server is silent."""
    store.rules.append(store.breaking(3, stall=30))
    transfer = Transfer(HttpOrigin(f"{store.url}/secret-bucket"))
    response = await transfer.open("GET", KEY, (0, 10))
    assert await response.content.readany() == b"012"
    reading = asyncio.create_task(response.content.readany())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(3):
        await transfer.close()
        with pytest.raises(aiohttp.ClientError):
            await reading


def redirect(code: int, to: str) -> web.Response:
    return web.Response(status=code, headers={"Location": to})


async def test_redirects(store: FaultyStore, transfer: Transfer) -> None:
    """On the same server; the token goes only where the location says."""
    store.put("elsewhere", b"abcdefghij")
    for code in (301, 302, 303, 307, 308):
        store.asked.clear()

        async def rule(request: web.Request, code: int = code) -> web.StreamResponse | None:
            return None if "elsewhere" in request.path else redirect(code, "/elsewhere#top")

        store.rule = rule
        response = await transfer.open("GET", KEY, (0, 4))
        assert await response.read() == b"abcd"
        assert [each.path for each in store.asked] == [
            "/secret-bucket/secret-key?signature=secret-token",
            "/elsewhere",
        ]
        assert store.asked[1].range == "bytes=0-3"


@pytest.mark.parametrize(
    "to",
    [
        "http://localhost:1/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "//other.invalid/x",
        "http://[",
        "",
        "data:,x",
    ],
)
async def test_redirects_that_are_not_followed(
    store: FaultyStore, transfer: Transfer, to: str
) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        del request
        return redirect(302, to)

    store.rule = rule
    await refusal(transfer, StorageDenied)
    assert store.count() == 1


async def test_redirects_in_a_circle(store: FaultyStore, transfer: Transfer) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        return redirect(302, request.path + "x")

    store.rule = rule
    await refusal(transfer, StorageDenied)
    assert store.count() == 6


async def test_redirect_to_a_folder(store: FaultyStore, transfer: Transfer) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        return redirect(301, f"{store.url}{request.path}/")

    store.rule = rule
    await refusal(transfer, ObjectNotFound)


class Signing(HttpOrigin):
    """Needs a header field, which the store tells."""

    token = ""
    learnt = 0

    async def target(self, method: str, key: str) -> Target:
        target = await super().target(method, key)
        return Target(target.url, {"X-Token": self.token})

    async def learn(self, refusal: Refusal) -> bool:
        if refusal.status != 400:
            return False
        self.learnt += 1
        self.token = refusal.body.decode()
        return True

    def follows(self, source: URL, to: URL) -> bool:
        return True


async def test_learning(store: FaultyStore) -> None:
    async def rule(request: web.Request) -> web.StreamResponse | None:
        known = request.headers.get("X-Token") == "new"
        return None if known else web.Response(status=400, text="new")

    store.rule = rule
    origin = Signing(f"{store.url}/secret-bucket")
    transfer = Transfer(origin, IMPATIENT)
    (await transfer.open("GET", KEY)).close()
    assert origin.learnt == 1

    async def never(request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(status=400, text="never")

    store.rule = never
    store.asked.clear()
    with pytest.raises(StorageDenied):
        await transfer.open("GET", KEY)
    assert store.count() == 2
    await transfer.close()


async def test_secrets_stay_with_their_server(store: FaultyStore) -> None:
    """Header fields of one server are not sent to another."""
    seen = []

    async def rule(request: web.Request) -> web.StreamResponse | None:
        seen.append(request.headers.get("X-Token"))
        return None

    with faulty_store() as other:
        other.put("x", b"0123")
        other.rule = rule

        async def elsewhere(request: web.Request) -> web.StreamResponse:
            del request
            return redirect(307, f"{other.url}/x")

        store.rule = elsewhere
        transfer = Transfer(Signing(store.url), IMPATIENT)
        (await transfer.open("GET", KEY)).close()
        await transfer.close()
    assert seen == [None]


async def test_proxy_of_the_environment(store: FaultyStore) -> None:
    with patch.dict("os.environ", {"http_proxy": store.url.removeprefix("http://")}):
        transfer = Transfer(HttpOrigin("http://data.invalid/secret-bucket"), IMPATIENT)
        response = await transfer.open("GET", KEY, (0, 4))
        assert response.status == 206
        response.close()
        await transfer.close()


async def test_no_proxy(store: FaultyStore) -> None:
    values = {"http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"}
    with patch.dict("os.environ", values):
        transfer = Transfer(HttpOrigin(f"{store.url}/secret-bucket"), IMPATIENT)
        (await transfer.open("GET", KEY, (0, 4))).close()
        await transfer.close()


def test_another_event_loop(store: FaultyStore) -> None:
    transfer = Transfer(HttpOrigin(f"{store.url}/secret-bucket"), IMPATIENT)

    async def once(*, close: bool) -> None:
        (await transfer.open("HEAD", KEY)).release()
        if close:
            await transfer.close()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(once(close=False))
        with pytest.raises(RuntimeError, match="belongs to the event loop"):
            second.run(once(close=False))
        first.run(once(close=True))


@pytest.mark.security("TS2")
async def test_logs_are_silent(
    store: FaultyStore, transfer: Transfer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store.rules.extend([reset, status(503), status(403)])
    await refusal(transfer, StorageDenied)
    client = [each for each in caplog.records if not each.name.startswith("aiohttp.")]
    assert "secret" not in "".join(each.getMessage() for each in client)
