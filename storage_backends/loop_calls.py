"""Calls from threads to an event loop that end when the loop, or who made them, does."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

from storage_backends.base import StorageUnavailable

T = TypeVar("T")
_LOOK_AGAIN = 1.0


class LoopCalls:
    """Runs coroutines on `loop` for threads that wait for them; thread-safe."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: set[Future[Any]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin a coroutine on the loop; cancelling the future cancels it."""
        with self._lock:
            try:
                if self._closed:
                    raise RuntimeError
                future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except RuntimeError:  # the loop is closed
                coroutine.close()
                raise StorageUnavailable("the store is no longer read from") from None
            self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def wait(self, future: Future[T]) -> T:
        """The result of what was begun; `StorageUnavailable` when it was cancelled."""
        try:
            while not wait((future,), timeout=_LOOK_AGAIN).done:
                if self._loop.is_closed():
                    future.cancel()
            return future.result()
        except CancelledError:
            raise StorageUnavailable("the store is no longer read from") from None

    def close(self) -> None:
        """Cancel what is under way; nothing begins any more."""
        with self._lock:
            self._closed = True
            calls = list(self._calls)
        for future in calls:
            future.cancel()
