import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cache import ByteCache


def cache(capacity: int = 10) -> ByteCache[str, bytes]:
    return ByteCache(capacity, len)


class Loads:
    """Loads values and counts how often."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, key: str, value: bytes) -> bytes:
        self.counts[key] = self.counts.get(key, 0) + 1
        await self.gate.wait()
        if value == b"!":
            raise LookupError(key)
        return value


async def test_loaded_once() -> None:
    kept, loads = cache(), Loads()
    assert kept.peek("a") is None
    for _ in range(3):
        assert await kept.get("a", lambda: loads("a", b"xyz")) == b"xyz"
    assert loads.counts == {"a": 1}
    assert kept.peek("a") == b"xyz"


async def test_single_flight() -> None:
    kept, loads = cache(), Loads()
    loads.gate.clear()
    waiting = [asyncio.ensure_future(kept.get("a", lambda: loads("a", b"xyz"))) for _ in range(20)]
    await asyncio.sleep(0)
    loads.gate.set()
    assert await asyncio.gather(*waiting) == [b"xyz"] * 20
    assert loads.counts == {"a": 1}


async def test_failures_are_shared_but_not_kept() -> None:
    kept, loads = cache(), Loads()
    loads.gate.clear()
    waiting = [asyncio.ensure_future(kept.get("a", lambda: loads("a", b"!"))) for _ in range(5)]
    await asyncio.sleep(0)
    loads.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, LookupError) for answer in answers)
    assert loads.counts == {"a": 1}
    assert await kept.get("a", lambda: loads("a", b"ok")) == b"ok"


async def test_one_waiter_that_leaves() -> None:
    kept, loads = cache(), Loads()
    loads.gate.clear()
    first, second = (
        asyncio.ensure_future(kept.get("a", lambda: loads("a", b"xyz"))) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    loads.gate.set()
    assert await second == b"xyz"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_all_waiters_leave_and_the_load_fails() -> None:
    """The error is nobody's, and must not be reported as forgotten."""
    kept, loads = cache(), Loads()
    loads.gate.clear()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    waiter = asyncio.ensure_future(kept.get("a", lambda: loads("a", b"!")))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0)
    loads.gate.set()
    await asyncio.sleep(0.01)
    del waiter
    assert not reported
    assert await kept.get("a", lambda: loads("a", b"ok")) == b"ok"


async def test_capacity() -> None:
    kept, loads = cache(10), Loads()
    for key in "abcd":
        await kept.get(key, lambda key=key: loads(key, b"xxxx"))  # type: ignore[misc]
    assert [kept.peek(key) is not None for key in "abcd"] == [False, False, True, True]
    kept.peek("c")
    await kept.get("e", lambda: loads("e", b"xxxx"))
    assert [kept.peek(key) is not None for key in "cde"] == [True, False, True]


async def test_values_that_do_not_fit() -> None:
    kept, loads = cache(3), Loads()
    await kept.get("small", lambda: loads("small", b"x"))
    assert await kept.get("large", lambda: loads("large", b"xxxx")) == b"xxxx"
    assert kept.peek("large") is None
    assert kept.peek("small") == b"x"
    nothing = cache(0)
    assert await nothing.get("a", lambda: loads("a", b"y")) == b"y"
    assert nothing.peek("a") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=60))
def test_never_above_capacity(asked: list[tuple[str, int]]) -> None:
    async def run() -> None:
        kept, loads = cache(10), Loads()
        for key, size in asked:
            await kept.get(key, lambda key=key, size=size: loads(key, bytes(size)))  # type: ignore[misc]
            held = [kept.peek(each) for each in "abcdef"]
            assert sum(len(value) for value in held if value is not None) <= 10
            assert kept._held == sum(len(value) for value in held if value is not None)

    asyncio.run(run())
