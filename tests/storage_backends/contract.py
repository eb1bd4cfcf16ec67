"""What every storage backend must do; a subclass says how to make one, and how to put objects."""

import asyncio
from pathlib import Path
from typing import Protocol

import pytest

from storage_backends.base import ObjectChanged, ObjectNotFound, StorageBackend

CONTENT = bytes(range(256)) * 5
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
        raise NotImplementedError

    async def test_stat(self, backend: StorageBackend, put: Put) -> None:
        put("object", CONTENT)
        stat = await backend.stat("object")
        assert stat.size == len(CONTENT)
        assert stat.modified_ns > 1_600_000_000_000_000_000
        assert stat.fingerprint
        assert await backend.stat("object") == stat

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
        data = bytes(range(251)) * 20_000
        put("object", data)
        pin = (await backend.stat("object")).fingerprint
        assert await backend.read("object", 0, len(data), fingerprint=pin) == data
        assert await backend.read("object", 17, 4_000_001, fingerprint=pin) == data[17:4_000_001]

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
        with pytest.raises(ObjectChanged):
            await backend.read("object", 0, 9, fingerprint=old)
        assert await backend.read("object", 0, 9, fingerprint=new) == b"new"

    async def test_closing_a_stream(self, backend: StorageBackend, put: Put) -> None:
        put("object", bytes(5_000_000))
        pin = (await backend.stat("object")).fingerprint
        for _ in range(50):
            stream = backend.stream("object", 0, 5_000_000, fingerprint=pin)
            assert await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
        assert await backend.read("object", 0, 3, fingerprint=pin) == bytes(3)

    async def test_concurrent_reads(self, backend: StorageBackend, put: Put) -> None:
        for number in range(10):
            put(f"object{number}", bytes([number]) * 100_000)

        async def one(number: int) -> bool:
            key = f"object{number % 10}"
            pin = (await backend.stat(key)).fingerprint
            data = await backend.read(key, number, 90_000, fingerprint=pin)
            return data == bytes([number % 10]) * (90_000 - number)

        assert all(await asyncio.gather(*(one(number) for number in range(200))))

    async def test_close_twice(self, backend: StorageBackend, put: Put) -> None:
        put("object", b"x")
        await backend.stat("object")
        await backend.close()
        await backend.close()


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
