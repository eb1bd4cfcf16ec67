"""Sends a byte range of a plan whose source is a remote store: piece by piece, as they arrive.

Nothing is held but what is on its way: while the client does not read, neither do we. The store is
asked before the answer begins, so what it refuses is an error and not a broken answer; every part
of a transfer is pinned to one version of the object.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing

from aiohttp import web

from server.htsget.delivery import SMALL
from server.limits import SENT
from server.slicing.library import Plan
from server.slicing.segments import Segment, Stored, clip
from storage_backends.base import StorageUnavailable

Fetch = Callable[[int, int], AsyncIterator[bytes]]
"""The bytes `[start, end)` of the source."""

_AHEAD = 3
"""Stored ranges that are asked for at a time: a list of regions must not wait for each in turn."""


async def relay(
    request: web.Request,
    plan: Plan,
    byte_range: tuple[int, int],
    fetch: Fetch,
    *,
    status: int,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with the bytes `[start, end)` of a plan; raises what `fetch` raises."""
    start, end = byte_range
    async with aclosing(_pieces(clip(plan.segments, start, end), fetch)) as pieces:
        if end - start <= SMALL:
            body = b"".join([piece async for piece in pieces])
            request[SENT] = len(body)
            return web.Response(status=status, headers=headers, body=body)
        first = await anext(pieces)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        request[SENT] = len(first)
        await response.write(first)
        async for piece in pieces:
            request[SENT] += len(piece)
            await response.write(piece)
        await response.write_eof()
        return response


async def _pieces(segments: Iterable[Segment], fetch: Fetch) -> AsyncGenerator[bytes, None]:
    """The bytes of segments; those in memory come with the stored ones that follow them."""
    waiting = iter(segments)
    opened: deque[bytes | _Transfer] = deque()
    inline: list[bytes] = []
    try:
        while True:
            while sum(isinstance(each, _Transfer) for each in opened) < _AHEAD:
                segment = next(waiting, None)
                if segment is None:
                    break
                opened.append(segment if isinstance(segment, bytes) else _Transfer(segment, fetch))
            if not opened:
                break
            following = opened[0]
            if isinstance(following, bytes):
                inline.append(following)
            else:
                async for piece in following.pieces():
                    yield b"".join([*inline, piece]) if inline else piece
                    inline.clear()
            opened.popleft()
        if inline:
            yield b"".join(inline)
    finally:
        for each in opened:
            if isinstance(each, _Transfer):
                await each.close()


class _Transfer:
    """A stored range on its way: asked for at once, handed out in turn."""

    def __init__(self, stored: Stored, fetch: Fetch) -> None:
        self._missing = len(stored)
        self._stream = fetch(stored.start, stored.end)
        self._first = asyncio.ensure_future(anext(self._stream, b""))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, all of them."""
        piece = await self._first
        while piece:
            self._missing -= len(piece)
            yield piece
            piece = await anext(self._stream, b"")
        if self._missing:
            raise StorageUnavailable("the object ended early")

    async def close(self) -> None:
        """Stop it, however far it is."""
        self._first.cancel()
        await asyncio.gather(self._first, return_exceptions=True)
        if isinstance(self._stream, AsyncGenerator):
            await self._stream.aclose()
