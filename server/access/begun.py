"""What has begun ends, also when who asked for it has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def begun(beginning: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[None]]) -> T:
    """What `beginning` gives. When we are cancelled meanwhile it is still waited for, and what it
    gave is undone: a client that leaves while the disk is written to holds nothing.
    """
    task = asyncio.create_task(beginning)

    async def take_back() -> None:
        with suppress(Exception):  # then there is nothing to undo
            await undo(await task)

    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.create_task(take_back()))  # we may be cancelled again
        raise
