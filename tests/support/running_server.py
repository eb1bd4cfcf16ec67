"""The server under test on a real socket, in a thread of its own, so that tests may block."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer


@contextmanager
def running(application: web.Application) -> Iterator[str]:
    """Serve until the block ends; the value is the base URL."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        try:
            async with TestServer(application) as server:
                stop = asyncio.Event()
                started.set_result((str(server.make_url("")), asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as failure:
            if started.done():
                raise
            started.set_exception(failure)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="server under test")
    thread.start()
    try:
        url, loop, stop = started.result(timeout=60)
        try:
            yield url
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(timeout=60)
