"""The credentials in use, on the event loop: fetched in threads, at hand for every request."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from storage_backends.base import StorageUnavailable
from storage_backends.sigv4 import Credentials

_CHECKED_EVERY = 60.0
_GRACE = 60.0
_BETWEEN_RENEWALS = 5.0
_BETWEEN_SEARCHES = 60.0

Fetch = Callable[[bool], tuple[Credentials | None, bool]]
"""Blocking: the credentials and whether they may change; looked for afresh when the flag says so.
"""

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T]) -> _T:
    """The result of a function that waits, from a thread of its own.

    Those of the event loop may all be taken by readers that wait for what is asked for here.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="s3")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, function)
    finally:
        executor.shutdown(wait=False)


class CredentialsInUse:
    """Credentials that are kept good; belongs to the event loop it is first used on.

    botocore refreshes what expires ten to fifteen minutes before it does; that it may, it is asked
    once a minute, and nobody waits for it unless nothing was asked for longer.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._credentials: Credentials | None = None
        self._fresh_until = -math.inf
        self._renewed = -math.inf
        self._fetching: asyncio.Task[Credentials | None] | None = None

    async def get(self) -> Credentials | None:
        """Who asks; None: anyone. The same object until there are others.

        Raises `StorageUnavailable` when there should be credentials and none can be had.
        """
        now = self._clock()
        if now < self._fresh_until:
            return self._credentials
        task = self._fetching or self._begin(renew=False)
        if now < self._fresh_until + _GRACE:
            return self._credentials
        return await _result(task)

    async def renew(self) -> Credentials | None:
        """Look for them afresh: the store says that they are no longer good. Raises as `get`."""
        pause = _BETWEEN_SEARCHES if self._credentials is None else _BETWEEN_RENEWALS
        if self._clock() - self._renewed < pause:
            return self._credentials
        return await _result(self._fetching or self._begin(renew=True))

    def close(self) -> None:
        """Wait for nothing more."""
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self, *, renew: bool) -> asyncio.Task[Credentials | None]:
        task = self._fetching = asyncio.ensure_future(self._run(renew))
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Credentials | None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen, also when everyone who waited has left

    async def _run(self, renew: bool) -> Credentials | None:
        self._credentials, changing = await in_thread(lambda: self._fetch(renew))
        now = self._clock()
        self._fresh_until = now + (_CHECKED_EVERY if changing else math.inf)
        if renew or self._credentials is None:
            self._renewed = now
        return self._credentials


async def _result(task: asyncio.Task[Credentials | None]) -> Credentials | None:
    """What a task that others wait for too gives; whoever leaves does not end it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise StorageUnavailable("the store is no longer read from") from None
        raise
