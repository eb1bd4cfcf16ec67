"""A cache bounded in bytes, whose misses are loaded once however many ask (single flight)."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Least recently used values up to `capacity` bytes in all, as told by `weigh`.

    A value heavier than the whole capacity is handed out but not kept; a load that fails is not
    kept, and its error goes to everyone who waited for it.
    """

    def __init__(self, capacity: int, weigh: Callable[[V], int]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V]] = {}
        self._held = 0

    def peek(self, key: K) -> V | None:
        """The value if it is at hand."""
        entry = self._values.get(key)
        if entry is None:
            return None
        self._values.move_to_end(key)
        return entry[0]

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`, loaded by `load` unless it is at hand or on its way."""
        value = self.peek(key)
        if value is not None:
            return value
        task = self._loading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._load(key, load))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        # One waiter that goes away must not take the value from the others.
        return await asyncio.shield(task)

    def _loaded(self, key: K, task: asyncio.Task[V]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # seen, also when everyone who waited has left

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        value = await load()
        weight = self._weigh(value)
        if weight <= self._capacity:
            self._values[key] = (value, weight)
            self._held += weight
            while self._held > self._capacity:
                _, (_, dropped) = self._values.popitem(last=False)
                self._held -= dropped
        return value
