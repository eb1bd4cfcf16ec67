"""What has begun ends, however often who asked for it is cancelled."""

import asyncio

import pytest

from server.access.begun import begun


@pytest.mark.parametrize("cancelled", range(4))
@pytest.mark.parametrize("fails", [False, True])
async def test_begun(cancelled: int, fails: bool) -> None:
    may_end = asyncio.Event()
    undone = []

    async def beginning() -> int:
        await may_end.wait()
        if fails:
            raise ValueError
        return 7

    async def undo(value: int) -> None:
        await asyncio.sleep(0)
        undone.append(value)

    task = asyncio.create_task(begun(beginning(), undo))
    await asyncio.sleep(0)
    for _ in range(cancelled):
        task.cancel()
        await asyncio.sleep(0)
    may_end.set()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)
    assert undone == ([7] if cancelled and not fails else [])
    if cancelled:
        assert isinstance(outcome, asyncio.CancelledError)
    else:
        assert isinstance(outcome, ValueError) if fails else outcome == 7
