"""Blocking reads of a remote object: by windows, so that many small reads make few requests."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

WINDOW = 1 << 18
"""Bytes fetched at least: in the time to the first byte of an answer many more would arrive."""

_LARGEST = 1 << 22
_MOST_WINDOWS = 64
_MOST_BYTES = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Bytes of the object that were asked for."""

    start: int
    end: int
    data: Future[bytes]

    def holds(self, start: int, end: int) -> bool:
        return self.start <= start and end <= self.end

    @property
    def failed(self) -> bool:
        return self.data.done() and (self.data.cancelled() or self.data.exception() is not None)


class RemoteSource:
    """One pinned object of `size` bytes, for threads that may wait; thread-safe.

    `request` begins to read a range, `wait` waits for it. A read that goes on where a window ends
    gets one twice as large. The windows used last are kept, 32 MiB of them.
    """

    def __init__(
        self,
        size: int,
        request: Callable[[int, int], Future[bytes]],
        wait: Callable[[Future[bytes]], bytes],
    ) -> None:
        self.size = size
        self._request = request
        self._wait = wait
        self._windows: list[_Window] = []  # the one used last is the last
        self._lock = threading.Lock()

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Ask for byte ranges without waiting for them: as many as are kept."""
        room = _MOST_BYTES
        for start, end in _merged(ranges, self.size)[:_MOST_WINDOWS]:
            room -= end - start
            if room < 0:
                return
            with self._lock:
                if self._find(start, end) is None:
                    self._add(start, end)

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        if start >= end:
            return b""
        with self._lock:
            window = self._find(start, end)
            if window is None:
                window = self._add(start, self._reach(start, end))
        data = self._wait(window.data)
        return data[start - window.start : end - window.start]

    def held(self, start: int, end: int) -> bytes | None:
        """The bytes `[start, end)` if they have been read."""
        with self._lock:
            window = self._find(start, end)
        if window is None or not window.data.done() or window.failed:
            return None
        return window.data.result()[start - window.start : end - window.start]

    def close(self) -> None:
        """Ask for nothing more, and keep nothing."""
        with self._lock:
            windows, self._windows = self._windows, []
        for window in windows:
            window.data.cancel()

    def _find(self, start: int, end: int) -> _Window | None:
        """The window with these bytes, but for one that failed: that is asked for again."""
        for window in reversed(self._windows):
            if window.holds(start, end) and not window.failed:
                if window is not self._windows[-1]:
                    self._windows.remove(window)
                    self._windows.append(window)
                return window
        return None

    def _reach(self, start: int, end: int) -> int:
        """Where a new window that begins at `start` ends."""
        before = [each.end - each.start for each in self._windows if each.start < start <= each.end]
        length = min(max(2 * max(before, default=0), WINDOW), _LARGEST)
        return min(max(end, start + length), self.size)

    def _add(self, start: int, end: int) -> _Window:
        window = _Window(start, end, self._request(start, end))
        if end - start > _MOST_BYTES:
            return window  # whoever reads so much at once keeps it
        kept = self._windows
        kept.append(window)
        while (
            len(kept) > _MOST_WINDOWS or sum(each.end - each.start for each in kept) > _MOST_BYTES
        ):
            del kept[0]
        return window


def _merged(ranges: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The ranges in order; those with less than a window between them as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((max(start, 0), min(end, size)) for start, end in ranges):
        if start >= end:
            continue
        if merged and start - merged[-1][1] < WINDOW and end - merged[-1][0] <= _LARGEST:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
