"""What every storage backend must do; a subclass says how to make one, and how to put objects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    StorageBackend,
    StorageUnavailable,
)
from storage_backends.remote import RemoteBackend

CONTENT = bytes(range(256)) * 5
LARGE = bytes(range(251)) * 20_000 + b"end"
UNNAMEABLE = [
    "",
    "/",
    ".",
    "..",
    "../outside",
    "folder/../../outside",
    "folder/../object",
    "./object",
    "folder//object",
    "/object",
    "object/",
    "/etc/passwd",
    "object\0",
    "\0",
    "x" * 5_000,
    "x/" * 2_000 + "x",
    "object/below",
    "~root",
    "..\\outside",
    "folder",
    "folder/",
    "object ",
    "Object",
    "object\n",
    "\udc80",
    "\ud800",
    "-h",
    "$(id)",
    "%2e%2e/outside",
]


class Put(Protocol):
    """Stores an object past the backend; twice for one key replaces it."""

    def __call__(self, key: str, data: bytes) -> None: ...


class BackendContract:
    """The tests; `backend` and `put` are fixtures of the subclass."""

    @pytest.fixture
    def put(self) -> Put:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, put: Put) -> StorageBackend:
        """Started, and asking the store each time (`revalidate=0`)."""
        raise NotImplementedError

    async def test_stat(self, backend: StorageBackend, put: Put) -> None:
        put("object", CONTENT)
        stat = await backend.stat("object")
        assert stat.size == len(CONTENT)
        assert stat.modified_ns is None or stat.modified_ns > 1_600_000_000_000_000_000
        assert stat.fingerprint
        assert await backend.stat("object") == stat
        assert await backend.stat("object", fresh=True) == stat

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            *((0, 1280), (0, 1), (1279, 1280), (5, 700), (0, 0), (7, 7), (1280, 1280)),
            *((0, 1 << 60), (1279, 5_000), (1280, 5_000), (9_999, 10_000), (9, 3), (256, 512)),
        ],
    )
    async def test_ranges(self, backend: StorageBackend, put: Put, start: int, end: int) -> None:
        put("object", CONTENT)
        pin = (await backend.stat("object")).fingerprint
        expected = CONTENT[start:end] if start < end else b""
        assert await backend.read("object", start, end, fingerprint=pin) == expected
        pieces = [piece async for piece in backend.stream("object", start, end, fingerprint=pin)]
        assert b"".join(pieces) == expected
        assert all(pieces)

    async def test_large_objects(self, backend: StorageBackend, put: Put) -> None:
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint
        assert await backend.read("object", 0, len(LARGE), fingerprint=pin) == LARGE
        assert await backend.read("object", 17, 4_000_001, fingerprint=pin) == LARGE[17:4_000_001]

    async def test_empty_objects(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"")
        stat = await backend.stat("object")
        assert stat.size == 0
        assert await backend.read("object", 0, 10, fingerprint=stat.fingerprint) == b""

    @pytest.mark.parametrize(
        "key", ["folder/sub folder/object", "ä+&%=?#", "a.b", "a..b", "...", "*"]
    )
    async def test_odd_keys(self, backend: StorageBackend, put: Put, key: str) -> None:
        put(key, b"odd")
        pin = (await backend.stat(key)).fingerprint
        assert await backend.read(key, 0, 3, fingerprint=pin) == b"odd"

    async def test_missing(self, backend: StorageBackend, put: Put) -> None:
        put("folder/object", b"x")
        for key in ("missing", "folder/missing", "missing/object"):
            await self.refuses(backend, key)

    @pytest.mark.parametrize("key", UNNAMEABLE, ids=range(len(UNNAMEABLE)))
    async def test_keys_that_name_nothing(
        self, backend: StorageBackend, put: Put, key: str
    ) -> None:
        put("object", b"x")
        put("folder/object", b"x")
        await self.refuses(backend, key)

    async def refuses(self, backend: StorageBackend, key: str) -> None:
        """Every way to a key says that there is no such object, without naming it."""
        with pytest.raises(ObjectNotFound) as refusal:
            await backend.stat(key)
        assert str(refusal.value) == "no such object"
        with pytest.raises(ObjectNotFound):
            await backend.read(key, 0, 1, fingerprint="1-1")
        with pytest.raises(ObjectNotFound):
            async for _ in backend.stream(key, 0, 1, fingerprint="1-1"):
                pass

    async def test_replaced_objects(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"old bytes")
        old = (await backend.stat("object")).fingerprint
        put("object", b"new")
        new = (await backend.stat("object")).fingerprint
        assert old != new
        for start, end in ((0, 9), (0, 2), (3, 9), (8, 9), (50, 60)):
            with pytest.raises(ObjectChanged):
                await backend.read("object", start, end, fingerprint=old)
        assert await backend.read("object", 0, 9, fingerprint=new) == b"new"

    async def test_replaced_by_as_many_bytes(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"old")
        old = (await backend.stat("object")).fingerprint
        put("object", b"new")
        with pytest.raises(ObjectChanged):
            await backend.read("object", 0, 3, fingerprint=old)
        assert (await backend.stat("object", fresh=True)).fingerprint != old

    async def test_replaced_while_it_is_read(self, backend: StorageBackend, put: Put) -> None:
        """What follows are the old bytes or an error, never the new bytes."""
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint
        stream = backend.stream("object", 0, len(LARGE), fingerprint=pin)
        got = bytearray(await anext(stream))
        put("object", bytes(len(LARGE)))
        with suppress(ObjectChanged):
            async for piece in stream:
                got += piece
            assert len(got) == len(LARGE)
        assert LARGE.startswith(got)
        with pytest.raises(ObjectChanged):
            await backend.read("object", 0, 1, fingerprint=pin)

    async def test_replaced_while_a_source_is_read(self, backend: StorageBackend, put: Put) -> None:
        put("object", LARGE)

        def work() -> None:
            with backend.source("object") as source:
                assert source.read(10, 20) == LARGE[10:20]
                put("object", bytes(len(LARGE)))
                with suppress(ObjectChanged):
                    assert source.read(4_000_000, 4_000_100) == LARGE[4_000_000:4_000_100]

        await asyncio.to_thread(work)

    async def test_closing_a_stream(self, backend: StorageBackend, put: Put) -> None:
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint
        before = open_descriptors()
        for _ in range(50):
            stream = backend.stream("object", 0, len(LARGE), fingerprint=pin)
            assert await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
        await settled(lambda: open_descriptors() <= before + 2)
        assert await backend.read("object", 0, 3, fingerprint=pin) == LARGE[:3]

    async def test_cancelled_reads(self, backend: StorageBackend, put: Put) -> None:
        """At whatever moment; nothing is left behind."""
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint
        before = open_descriptors()
        tasks = asyncio.all_tasks()
        for turn in range(40):
            reading = asyncio.create_task(backend.read("object", turn, len(LARGE), fingerprint=pin))
            looking = asyncio.create_task(backend.stat("object", fresh=True))
            await asyncio.sleep(turn / 4_000)
            reading.cancel()
            looking.cancel()
            for task in (reading, looking):
                with suppress(asyncio.CancelledError):
                    await task
        await settled(lambda: asyncio.all_tasks() <= tasks)
        await settled(lambda: open_descriptors() <= before + 4)
        assert await backend.read("object", 5, 8, fingerprint=pin) == LARGE[5:8]

    async def test_concurrent_reads(self, backend: StorageBackend, put: Put) -> None:
        for number in range(10):
            put(f"object{number}", bytes([number]) * 100_000)

        async def one(number: int) -> bool:
            key = f"object{number % 10}"
            pin = (await backend.stat(key)).fingerprint
            data = await backend.read(key, number, 90_000, fingerprint=pin)
            return data == bytes([number % 10]) * (90_000 - number)

        assert all(await asyncio.gather(*(one(number) for number in range(200))))

    async def test_concurrent_streams(self, backend: StorageBackend, put: Put) -> None:
        """Each at its own pace."""
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint

        async def one(number: int) -> bytes:
            got = bytearray()
            async for piece in backend.stream("object", number, 2_000_000, fingerprint=pin):
                got += piece
                await asyncio.sleep(number % 3 / 1_000)
            return bytes(got)

        for number, got in enumerate(await asyncio.gather(*map(one, range(12)))):
            assert got == LARGE[number:2_000_000]

    @pytest.mark.parametrize(
        "ahead",
        [
            (),
            [(0, 100), (3_000_000, 3_001_000)],
            [(5, 5), (9, 3), (4_999_990, 1 << 60), (1 << 60, 1 << 61), (0, 1)],
            [(number * 300_000, number * 300_000 + 10) for number in range(30)],
            [(0, 1 << 60)],
        ],
        ids=range(5),
    )
    async def test_source(
        self, backend: StorageBackend, put: Put, ahead: list[tuple[int, int]]
    ) -> None:
        put("object", LARGE)

        def work() -> None:
            with backend.source("object", ahead=ahead) as source:
                assert source.size == len(LARGE)
                for start, end in [(0, 10), (3_000_500, 3_000_900), (1, len(LARGE) + 9), (7, 7)]:
                    assert source.read(start, end) == LARGE[start:end]
                for start in range(2_000_000, 4_000_000, 65_000):
                    assert source.read(start, start + 65_280) == LARGE[start : start + 65_280]
                assert source.read(len(LARGE), len(LARGE) + 5) == b""
                assert source.read(len(LARGE) - 1, len(LARGE) + 5) == LARGE[-1:]
                assert source.held(0, 10) in (None, LARGE[:10])

        await asyncio.to_thread(work)

    async def test_source_of_many_threads(self, backend: StorageBackend, put: Put) -> None:
        put("object", LARGE)
        stat = await backend.stat("object")

        def work() -> None:
            with (
                ThreadPoolExecutor(8) as threads,
                backend.source("object", stat=stat, ahead=[(0, 100_000)]) as source,
            ):

                def read(number: int) -> bool:
                    start = number * 7_919 % 4_900_000
                    return source.read(start, start + 9_999) == LARGE[start : start + 9_999]

                assert all(threads.map(read, range(300)))

        await asyncio.to_thread(work)

    async def test_source_of_what_is_not_there(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"x")

        def work() -> None:
            for key in ("missing", "../object", ""):
                with pytest.raises(ObjectNotFound), backend.source(key):
                    pass

        await asyncio.to_thread(work)

    async def test_pinned_source(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"old bytes")
        stat = await backend.stat("object")
        put("object", b"new bytes, longer")

        def work() -> None:
            with (
                pytest.raises(ObjectChanged),
                backend.source("object", stat=stat, ahead=[(0, 3)]) as source,
            ):
                source.read(0, 3)

        await asyncio.to_thread(work)

    async def test_available(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"x")
        assert await backend.available()

    async def test_describe(self, backend: StorageBackend, put: Put) -> None:
        put("folder/object", b"x")
        assert backend.describe("folder/object").endswith("/folder/object")
        assert backend.describe("folder/object").startswith(backend.describe().rstrip("/"))

    async def test_start_and_close_twice(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"x")
        backend.start(asyncio.get_running_loop())
        backend.start(asyncio.get_running_loop())
        await backend.stat("object")
        await backend.close()
        await backend.close()

    async def test_close_while_it_is_read(self, backend: StorageBackend, put: Put) -> None:
        """Who reads gets the rest or an error, soon, and never less than what is announced."""
        put("object", LARGE)
        pin = (await backend.stat("object")).fingerprint
        stream = backend.stream("object", 0, len(LARGE), fingerprint=pin)
        got = bytearray(await anext(stream))
        await backend.close()
        async with asyncio.timeout(10):
            try:
                async for piece in stream:
                    got += piece
            except StorageUnavailable:
                return
        assert got == LARGE


class RemoteContract(BackendContract):
    """What backends do besides whose store is far away; a subclass makes them by `make`."""

    @pytest.fixture
    def make(self, put: Put) -> Callable[..., RemoteBackend]:
        """Makes a backend, which takes `revalidate` and `patience` by name."""
        raise NotImplementedError

    @pytest.fixture
    async def backend(self, make: Callable[..., RemoteBackend]) -> AsyncIterator[StorageBackend]:
        backend = make(revalidate=0)
        backend.start(asyncio.get_running_loop())
        yield backend
        await backend.close()

    async def test_bounded_staleness(self, make: Callable[..., RemoteBackend], put: Put) -> None:
        """What is known is good for so long; whoever reads by it finds out at once."""
        backend = make(revalidate=3600)
        backend.start(asyncio.get_running_loop())
        put("object", b"old bytes")
        old = await backend.stat("object")
        put("object", b"new")
        assert await backend.stat("object") is old
        with pytest.raises(ObjectChanged):
            await backend.read("object", 0, 9, fingerprint=old.fingerprint)
        new = await backend.stat("object")
        assert new.size == 3
        assert await backend.read("object", 0, 9, fingerprint=new.fingerprint) == b"new"
        await backend.close()

    async def test_stale_for_a_while_only(
        self, make: Callable[..., RemoteBackend], put: Put
    ) -> None:
        backend = make(revalidate=0.2)
        backend.start(asyncio.get_running_loop())
        with pytest.raises(ObjectNotFound):
            await backend.stat("object")
        put("object", b"bytes")
        await asyncio.sleep(0.25)
        assert (await backend.stat("object")).size == 5
        put("object", b"new")
        assert (await backend.stat("object", fresh=True)).size == 3
        assert (await backend.stat("object")).size == 3
        await backend.close()

    async def test_nothing_is_left_open(self, make: Callable[..., RemoteBackend], put: Put) -> None:
        put("object", LARGE)
        before = open_descriptors()
        backend = make()
        backend.start(asyncio.get_running_loop())
        pin = (await backend.stat("object")).fingerprint
        streams = [backend.stream("object", 0, len(LARGE), fingerprint=pin) for _ in range(5)]
        for stream in streams:
            assert await anext(stream)
        await backend.read("object", 0, 100, fingerprint=pin)
        await backend.close()
        await settled(lambda: open_descriptors() <= before)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait for what must become true soon."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of another thread or process
            await asyncio.sleep(0.01)


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
