"""What `RemoteBackend` makes of a store's faults; what a store does right is in the contract."""

import asyncio
import gc
import logging
import threading
import traceback
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    ObjectSource,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.http import HttpBackend
from storage_backends.transfer import Patience
from tests.storage_backends.contract import LARGE, open_descriptors, settled
from tests.support.faulty_store import FaultyStore, Rule, faulty_store, reset, silent, status

IMPATIENT = Patience(connect=1.0, quiet=0.3, attempts=3, pause=0.01, total=5.0)
PIN = '"0001-10"'
KEY = "secret-key"


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        store.put(KEY, b"0123456789")
        store.put("large", LARGE)
        yield store


@pytest.fixture
async def backend(store: FaultyStore) -> AsyncIterator[HttpBackend]:
    backend = HttpBackend(f"{store.url}?secret-token", revalidate=3600, patience=IMPATIENT)
    backend.start(asyncio.get_running_loop())
    yield backend
    await backend.close()


async def large(backend: HttpBackend) -> str:
    return (await backend.stat("large")).fingerprint


async def fails(backend: HttpBackend, kind: type[StorageError], start: int = 0) -> StorageError:
    """A read fails and says nothing of what was asked."""
    with pytest.raises(kind) as caught:
        await backend.read(KEY, start, 10, fingerprint=PIN)
    assert type(caught.value) is kind
    told = "".join(traceback.format_exception(caught.value))
    assert "secret" not in told
    assert "127.0.0.1" not in told
    return caught.value


# Streams


async def gather(stream: AsyncIterator[bytes], got: bytearray) -> None:
    """Into `got`, so that what came before a failure can be seen."""
    async for piece in stream:
        got += piece


async def test_taken_up_where_it_broke(store: FaultyStore, backend: HttpBackend) -> None:
    """And pinned as before."""
    pin = await large(backend)
    store.rules.extend([store.breaking(1_000_000), store.breaking(0), store.breaking(70_000)])
    store.asked.clear()
    got = await backend.read("large", 10, len(LARGE), fingerprint=pin)
    assert got == LARGE[10:]
    assert {each.if_match for each in store.asked} == {pin}
    starts = [int((each.range or "")[6:].partition("-")[0]) for each in store.asked]
    assert starts == [10, 1_000_010, 1_000_010, 1_070_010]


async def test_changed_where_it_broke(store: FaultyStore, backend: HttpBackend) -> None:
    pin = await large(backend)

    async def replaced(request: web.Request) -> web.StreamResponse:
        answer = await store.breaking(100_000)(request)
        assert answer is not None
        store.put("large", bytes(len(LARGE)))
        return answer

    store.rules.append(replaced)
    got = bytearray()
    with pytest.raises(ObjectChanged):
        await gather(backend.stream("large", 0, len(LARGE), fingerprint=pin), got)
    assert got == LARGE[:100_000]
    assert (await backend.stat("large")).fingerprint != pin


async def test_changed_where_it_broke_of_a_store_that_cannot_pin(
    store: FaultyStore, backend: HttpBackend
) -> None:
    """It ignores If-Match: what it sends is looked at."""
    pin = await large(backend)

    async def other_tag(request: web.Request) -> web.StreamResponse:
        del request
        fields = {"ETag": '"other"', "Content-Range": f"bytes 50-99/{len(LARGE)}"}
        return web.Response(status=206, headers=fields, body=bytes(50))

    store.rules.extend([store.breaking(50), other_tag])
    with pytest.raises(ObjectChanged):
        await backend.read("large", 0, 100, fingerprint=pin)


async def test_it_breaks_each_time(store: FaultyStore, backend: HttpBackend) -> None:
    store.rule = store.breaking(0)
    await fails(backend, StorageUnavailable)
    assert store.count("GET") == 3


async def test_it_breaks_often_but_moves(store: FaultyStore, backend: HttpBackend) -> None:
    store.rule = store.breaking(1, stall=0.01)
    assert await backend.read(KEY, 0, 10, fingerprint=PIN) == b"0123456789"
    assert store.count("GET") == 10


async def test_silence_in_mid_body(store: FaultyStore, backend: HttpBackend) -> None:
    store.rules.append(store.breaking(4, stall=30))
    assert await backend.read(KEY, 0, 10, fingerprint=PIN) == b"0123456789"
    assert store.count("GET") == 2


async def test_gone_where_it_broke(store: FaultyStore, backend: HttpBackend) -> None:
    store.rules.extend([store.breaking(4), status(404)])
    await fails(backend, ObjectNotFound)


@pytest.mark.parametrize("rule", [reset, silent, status(503), status(500)])
async def test_a_store_that_fails(store: FaultyStore, backend: HttpBackend, rule: Rule) -> None:
    store.rule = rule
    await fails(backend, StorageUnavailable)
    with pytest.raises(StorageUnavailable):
        await backend.stat(KEY)
    assert not await backend.available()
    store.rule = None
    assert await backend.read(KEY, 0, 4, fingerprint=PIN) == b"0123"
    assert await backend.available()


@pytest.mark.parametrize("code", [401, 403])
async def test_a_store_that_refuses(store: FaultyStore, backend: HttpBackend, code: int) -> None:
    store.rule = status(code)
    await fails(backend, StorageDenied)
    with pytest.raises(StorageDenied):
        await backend.stat(KEY)
    assert await backend.available()


GOOD = {"ETag": PIN, "Content-Range": "bytes 2-9/10"}


@pytest.mark.parametrize(
    ("code", "fields", "body"),
    [
        (206, {"ETag": PIN}, b"23456789"),
        (206, GOOD | {"Content-Range": "bytes 1-8/10"}, b"12345678"),
        (206, GOOD | {"Content-Range": "bytes 2-10/11"}, b"234567890"),
        (206, GOOD | {"Content-Range": "bytes 2-9/*"}, b"23456789"),
        (206, GOOD | {"Content-Range": "bytes 2-9/5"}, b"23456789"),
        (206, GOOD | {"Content-Range": "bytes 2-1/10"}, b""),
        (206, GOOD | {"Content-Range": "bytes */10"}, b"23456789"),
        (206, GOOD | {"Content-Range": "octets 2-9/10"}, b"23456789"),
        (206, GOOD | {"Content-Range": "bytes 2-9/" + "9" * 5000}, b"23456789"),
        (206, GOOD, b"2345678"),
        (206, GOOD, b"23456789x"),
        (206, {"ETag": PIN, "Content-Type": "multipart/byteranges; boundary=x"}, b"--x\r\n"),
        (200, {"ETag": PIN}, b"0123456789"),
    ],
    ids=range(13),
)
async def test_other_bytes_than_asked(
    store: FaultyStore,
    backend: HttpBackend,
    caplog: pytest.LogCaptureFixture,
    code: int,
    fields: dict[str, str],
    body: bytes,
) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(status=code, headers=fields, body=body)

    store.rule = rule
    failure = await fails(backend, StorageUnavailable, 2)
    assert str(failure) == "the store does not honour ranges"
    await fails(backend, StorageUnavailable, 2)
    told = [each.getMessage() for each in caplog.records if "served" in each.getMessage()]
    assert [each.partition(" ")[2] for each in told] == [
        "cannot be served from: the store does not honour ranges"
    ]


async def test_more_bytes_than_announced(store: FaultyStore, backend: HttpBackend) -> None:
    """Of a body without a length; none of the excess is passed on."""

    async def rule(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            status=206, headers={"ETag": PIN, "Content-Range": "bytes 0-9/10"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in (b"01234", b"56789", b"excess"):
            await response.write(piece)
            await asyncio.sleep(0.02)
        return response

    store.rule = rule
    got = bytearray()
    with pytest.raises(StorageUnavailable):
        await gather(backend.stream(KEY, 0, 10, fingerprint=PIN), got)
    assert b"0123456789".startswith(got)


async def test_fewer_bytes_than_announced(store: FaultyStore, backend: HttpBackend) -> None:
    async def rule(request: web.Request) -> web.StreamResponse:
        fields = {"ETag": PIN, "Content-Range": "bytes 0-9/10"}
        response = web.StreamResponse(status=206, headers=fields)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"01234")
        return response

    store.rules.append(rule)
    assert await backend.read(KEY, 0, 10, fingerprint=PIN) == b"0123456789"


async def test_a_store_that_ignores_ranges(store: FaultyStore, backend: HttpBackend) -> None:
    """Its body is not read."""
    pin = await large(backend)
    store.ranges = False
    with pytest.raises(StorageUnavailable):
        await backend.read("large", 0, 10, fingerprint=pin)
    await settled(lambda: store.unfinished == 0)
    assert await backend.read("large", 0, len(LARGE), fingerprint=pin) == LARGE


async def test_a_store_that_tells_nothing(
    store: FaultyStore, backend: HttpBackend, caplog: pytest.LogCaptureFixture
) -> None:
    store.validators = "none"
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await backend.stat(KEY)
    with pytest.raises(StorageUnavailable):
        await backend.read(KEY, 0, 10, fingerprint="1-1")
    told = [each for each in caplog.records if each.name == "storage_backends.remote"]
    assert [each.levelno for each in told] == [logging.WARNING]
    assert "secret" not in "".join(each.getMessage() for each in told)


async def test_slow_readers_hold_little(store: FaultyStore, backend: HttpBackend) -> None:
    """The store waits for who reads, for longer than it may itself be silent."""
    store.put("huge", bytes(30_000_000))
    pin = (await backend.stat("huge")).fingerprint
    stream = backend.stream("huge", 0, 30_000_000, fingerprint=pin)
    length = len(await anext(stream))
    await asyncio.sleep(1)
    assert store.unfinished == 1
    async for piece in stream:
        length += len(piece)
        assert len(piece) <= 1 << 20
    assert length == 30_000_000
    assert store.count("GET") == 1


async def test_streams_that_are_left(store: FaultyStore, backend: HttpBackend) -> None:
    """Closed, cancelled or forgotten: the transfer stops."""
    store.put("huge", bytes(100_000_000))
    pin = (await backend.stat("huge")).fingerprint
    before = open_descriptors()

    async def consume() -> None:
        async for _ in backend.stream("huge", 0, 100_000_000, fingerprint=pin):
            await asyncio.sleep(0.01)

    closed = backend.stream("huge", 0, 100_000_000, fingerprint=pin)
    await anext(closed)
    await closed.aclose()  # type: ignore[attr-defined]
    task = asyncio.create_task(consume())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    forgotten = backend.stream("huge", 0, 100_000_000, fingerprint=pin)
    await anext(forgotten)
    del forgotten
    gc.collect()
    await settled(lambda: store.unfinished == 0)
    await settled(lambda: open_descriptors() <= before)


async def test_connections_are_kept(store: FaultyStore, backend: HttpBackend) -> None:
    pin = await large(backend)
    for start in range(20):
        assert await backend.read("large", start, 300_000, fingerprint=pin) == LARGE[start:300_000]
        assert await backend.read("large", len(LARGE), 1 << 40, fingerprint=pin) == b""
    with pytest.raises(ObjectNotFound):
        await backend.stat("missing")
    assert store.connections == 1


# What is known


async def test_one_asks_for_all(store: FaultyStore, backend: HttpBackend) -> None:
    stats = await asyncio.gather(*(backend.stat("large") for _ in range(100)))
    assert len(set(map(id, stats))) == 1
    assert store.count() == 1
    await asyncio.gather(*(backend.stat("large", fresh=True) for _ in range(100)))
    assert store.count() == 2
    missing = await asyncio.gather(
        *(backend.stat("missing") for _ in range(100)), return_exceptions=True
    )
    assert {type(each) for each in missing} == {ObjectNotFound}
    assert store.count() == 3


async def test_who_leaves_takes_nobody_along(store: FaultyStore, backend: HttpBackend) -> None:
    async def slow(request: web.Request) -> None:
        del request
        await asyncio.sleep(0.1)

    store.rules.append(slow)
    asking = [asyncio.create_task(backend.stat("large")) for _ in range(5)]
    await asyncio.sleep(0.02)
    for task in asking[:4]:
        task.cancel()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in done[:4]] == [asyncio.CancelledError] * 4
    assert asking[4].result().size == len(LARGE)
    assert store.count() == 1


async def test_when_all_leave_it_is_known_later(store: FaultyStore, backend: HttpBackend) -> None:
    asking = asyncio.create_task(backend.stat("large"))
    await asyncio.sleep(0)
    asking.cancel()
    await settled(lambda: store.count() == 1)
    assert (await backend.stat("large")).size == len(LARGE)
    assert store.count() == 1


async def test_fresh_means_from_now_on(store: FaultyStore, backend: HttpBackend) -> None:
    """An answer that is under way may be older than the question."""
    begun, go = threading.Event(), threading.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.Response(headers={"ETag": '"old"', "Content-Length": "3"})
        begun.set()
        await asyncio.to_thread(go.wait, 10)
        del request
        return answer

    store.rules.append(slow)
    first = asyncio.create_task(backend.stat(KEY))
    await settled(begun.is_set)
    fresh = [asyncio.create_task(backend.stat(KEY, fresh=True)) for _ in range(10)]
    await asyncio.sleep(0.02)
    go.set()
    assert (await first).fingerprint == '"old"'
    assert {(await each).fingerprint for each in fresh} == {PIN}
    assert store.count() == 2


async def test_failures_are_not_kept(store: FaultyStore, backend: HttpBackend) -> None:
    store.rules.extend([status(403), status(404)])
    with pytest.raises(StorageDenied):
        await backend.stat("large")
    with pytest.raises(ObjectNotFound):
        await backend.stat("large")
    with pytest.raises(ObjectNotFound):  # known for a while
        await backend.stat("large")
    assert (await backend.stat("large", fresh=True)).size == len(LARGE)


async def test_what_is_known_is_bounded(
    store: FaultyStore, backend: HttpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_backends.stat_cache._MOST_KNOWN", 10)
    for number in range(30):
        with pytest.raises(ObjectNotFound):
            await backend.stat(f"missing{number}")
    assert len(backend._stats._known) == 10
    assert store.count() == 30


async def test_nothing_is_asked_of_what_cannot_be(store: FaultyStore, backend: HttpBackend) -> None:
    for key in ("../x", "x" * 2_000, "a//b", "\udc80"):
        with pytest.raises(ObjectNotFound):
            await backend.stat(key)
        with pytest.raises(ObjectNotFound):
            await backend.read(key, 0, 1, fingerprint=PIN)
    assert not store.asked
    assert not backend._stats._known


# Closing, and threads


async def test_closing_ends_everything(store: FaultyStore) -> None:
    """Soon, and by an error that says that the store cannot be read."""
    backend = HttpBackend(store.url, patience=Patience())
    backend.start(asyncio.get_running_loop())
    pin = await large(backend)
    store.rules.append(store.breaking(10, stall=30))
    stalled = backend.stream("large", 0, 100, fingerprint=pin)
    assert await anext(stalled) == LARGE[:10]
    store.rule = silent

    def read_in_a_thread() -> None:
        with backend.source("large") as source:
            source.read(0, 100)

    waiting = [
        asyncio.ensure_future(anext(stalled)),
        asyncio.ensure_future(backend.stat(KEY)),
        asyncio.ensure_future(backend.read("large", 0, 10, fingerprint=pin)),
        asyncio.ensure_future(asyncio.to_thread(read_in_a_thread)),
    ]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        await backend.close()
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in done] == [StorageUnavailable] * 4
    with pytest.raises(StorageUnavailable):
        await backend.stat("other")
    with pytest.raises(StorageUnavailable):
        await backend.read("large", 0, 10, fingerprint=pin)
    assert backend._transfer._session is None


async def test_many_threads_of_one_source(store: FaultyStore, backend: HttpBackend) -> None:
    """With a store that fails now and then: right bytes or a clean error, and then right bytes."""
    stat = await backend.stat("large")
    store.rules.extend([reset, store.breaking(5), status(503), status(403)] * 5)
    failures: list[StorageError] = []

    def read_all() -> None:
        with backend.source("large", stat=stat, ahead=[(0, 1000)]) as source:

            def one(number: int) -> None:
                for turn in range(60):
                    start = (number * 7 + turn) * 80_000 % 5_000_000
                    try:
                        assert source.read(start, start + 500) == LARGE[start : start + 500]
                    except StorageUnavailable as error:
                        failures.append(error)

            threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert source.read(0, len(LARGE)) == LARGE

    await asyncio.to_thread(read_all)
    assert not store.rules
    assert 0 < len(failures) < 60


async def test_a_source_that_is_closed_stops_asking(
    store: FaultyStore, backend: HttpBackend
) -> None:
    stat = await backend.stat("large")
    store.rule = silent
    asked = store.count()

    def begin() -> None:
        with backend.source("large", stat=stat, ahead=[(0, 10), (3_000_000, 3_000_010)]):
            while store.count() < asked + 2:
                threading.Event().wait(0.01)

    await asyncio.to_thread(begin)
    calls = backend._calls
    assert calls is not None
    await settled(lambda: not calls._calls)


async def test_what_is_ahead_is_asked_at_once(store: FaultyStore, backend: HttpBackend) -> None:
    stat = await backend.stat("large")
    ranges = [(0, 1000), (1_000_000, 1_000_001), (4_000_000, 5_000_000)]

    async def together(request: web.Request) -> None:
        """No answer before all have asked."""
        del request
        while store.count("GET") < len(ranges):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    store.rule = together

    def read() -> None:
        with backend.source("large", stat=stat, ahead=ranges) as source:
            for start, end in ranges:
                assert source.read(start, end) == LARGE[start:end]
                assert source.held(start, end) == LARGE[start:end]

    await asyncio.to_thread(read)
    assert store.count("GET") == len(ranges)


async def test_without_start(store: FaultyStore) -> None:
    with pytest.raises(RuntimeError), HttpBackend(store.url).source("large"):
        pass


def test_a_source_outlives_its_loop(store: FaultyStore) -> None:
    """Whoever reads then is told, also who waits."""
    sources: list[ObjectSource] = []
    leave, left = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def begin() -> HttpBackend:
        backend = HttpBackend(store.url, patience=Patience())
        backend.start(asyncio.get_running_loop())
        stat = await backend.stat("large")

        def hold() -> None:
            with backend.source("large", stat=stat) as source:
                sources.append(source)
                source.read(0, 10)
                leave.wait(10)
                try:
                    source.read(3_000_000, 3_000_010)
                except StorageUnavailable as error:
                    errors.append(error)
            left.set()

        threading.Thread(target=hold).start()
        await settled(lambda: bool(sources) and sources[0].held(0, 10) is not None)
        return backend

    with asyncio.Runner() as runner:
        backend = runner.run(begin())
        runner.run(backend._transfer.close())
    leave.set()
    assert left.wait(10)
    assert len(errors) == 1


def test_who_waits_when_the_loop_ends(store: FaultyStore) -> None:
    """A loop that nobody runs any more, without a word to those who wait for it."""
    loop = asyncio.new_event_loop()
    backend = HttpBackend(store.url, patience=Patience())
    backend.start(loop)
    stat = loop.run_until_complete(backend.stat("large"))
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with backend.source("large", stat=stat) as source:
                source.read(0, 10)
        except StorageUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    threading.Event().wait(0.1)
    loop.run_until_complete(backend._transfer.close())
    loop.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) <= 1
