"""Blocking reads of a remote object: by windows, so that many small reads make few requests."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from storage_backends.base import ObjectStat

WINDOW = 1 << 18
"""Bytes fetched at least: in the time to the first byte of an answer many more would arrive."""

_LARGEST = 1 << 22
_MOST_WINDOWS = 16


class _Reader(Protocol):
    async def read(self, key: str, start: int, end: int, *, fingerprint: str) -> bytes: ...


class RemoteSource:
    """One pinned object, for code in threads other than that of `loop`; thread-safe.

    A read that goes on where a window ends gets one twice as large.
    """

    def __init__(
        self, reader: _Reader, key: str, stat: ObjectStat, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.size = stat.size
        self._reader = reader
        self._key = key
        self._fingerprint = stat.fingerprint
        self._loop = loop
        self._windows: deque[tuple[int, int, Future[bytes]]] = deque(maxlen=_MOST_WINDOWS)
        self._lock = threading.Lock()

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Ask for byte ranges without waiting for them."""
        with self._lock:
            for start, end in ranges:
                start, end = max(start, 0), min(end, self.size)
                if start < end and self._covering(start, end) is None:
                    self._request(start, end)

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        if start >= end:
            return b""
        with self._lock:
            window = self._covering(start, end) or self._request(start, self._reach(start, end))
        begin, _, future = window
        return future.result()[start - begin : end - begin]

    def held(self, start: int, end: int) -> bytes | None:
        """The bytes `[start, end)` if they have been read."""
        with self._lock:
            window = self._covering(start, end)
        if window is None or not window[2].done():
            return None
        return window[2].result()[start - window[0] : end - window[0]]

    def close(self) -> None:
        """Ask for nothing more."""
        for _, _, future in self._windows:
            future.cancel()

    def _covering(self, start: int, end: int) -> tuple[int, int, Future[bytes]] | None:
        for window in self._windows:
            if window[0] <= start and end <= window[1]:
                return window
        return None

    def _reach(self, start: int, end: int) -> int:
        """Where a new window that begins at `start` ends."""
        before = [stop - begin for begin, stop, _ in self._windows if begin < start <= stop]
        length = min(2 * max(before), _LARGEST) if before else WINDOW
        return min(max(end, start + length), self.size)

    def _request(self, start: int, end: int) -> tuple[int, int, Future[bytes]]:
        reading = self._reader.read(self._key, start, end, fingerprint=self._fingerprint)
        future = asyncio.run_coroutine_threadsafe(reading, self._loop)
        window = (start, end, future)
        self._windows.append(window)
        return window
