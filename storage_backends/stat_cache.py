"""What is known of objects: for so many seconds, and asked by one for all who want to know."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from storage_backends.base import ObjectNotFound, ObjectStat, StorageUnavailable

_MOST_KNOWN = 16_384


@dataclass(frozen=True, slots=True)
class _Known:
    """What a key named when the store was asked (monotonic seconds); None: nothing."""

    stat: ObjectStat | None
    asked: float


class StatCache:
    """Answers by what `ask` said within the last `seconds`."""

    def __init__(self, ask: Callable[[str], Awaitable[ObjectStat]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._closed = False

    async def get(self, key: str, *, fresh: bool = False) -> ObjectStat:
        """What the key names, or `ObjectNotFound`; with `fresh`, as the store says from now on."""
        now = time.monotonic()
        oldest = now if fresh else now - self._seconds
        known = self._known.get(key)
        while known is None or known.asked < oldest:
            # Who asked before serves those who need no later answer; the others share the next.
            known = await self._wait(self._asking.get(key) or self._begin(key))
        if known.stat is None:
            raise ObjectNotFound("no such object")
        return known.stat

    def forget(self, key: str) -> None:
        """What is known of the key is no longer true."""
        self._known.pop(key, None)

    def close(self) -> None:
        """Stop asking; who waits gets `StorageUnavailable`."""
        self._closed = True
        for task in self._asking.values():
            task.cancel()

    def _begin(self, key: str) -> asyncio.Task[_Known]:
        if self._closed:
            raise StorageUnavailable("the store is no longer read from")
        task = self._asking[key] = asyncio.ensure_future(self._learn(key))
        task.add_done_callback(_seen)
        return task

    async def _wait(self, task: asyncio.Task[_Known]) -> _Known:
        """What the task finds; it goes on when one who waits for it is cancelled."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if task.cancelled() and (waiting is None or not waiting.cancelling()):
                raise StorageUnavailable("the store is no longer read from") from None
            raise

    async def _learn(self, key: str) -> _Known:
        asked = time.monotonic()
        try:
            stat: ObjectStat | None = await self._ask(key)
        except ObjectNotFound:
            stat = None
        finally:
            del self._asking[key]
        before = self._known.pop(key, None)
        if before is not None and before.stat == stat:
            stat = before.stat  # the same value, so that others see at once that nothing changed
        known = self._known[key] = _Known(stat, asked)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known


def _seen(task: asyncio.Task[_Known]) -> None:
    """A failure is no news when everyone who waited for it has left."""
    if not task.cancelled():
        task.exception()
