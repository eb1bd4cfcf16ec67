"""The controlled data blocks that are on their way, so that a withdrawal can stop them."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from auth.capability import Capability
from auth.quota import QuotaExceeded

MOST_STREAMS = 64
"""Blocks that one caller may fetch from one server process at a time."""


class LiveStream:
    """A block that is about to be sent or, with `is_sending`, on its way. `cut` is the code of why
    it was stopped, "" if it was not; `lease` is what it holds where streams are limited."""

    __slots__ = ("_request", "_task", "capability", "cut", "is_sending", "lease")

    def __init__(self, request: web.Request, capability: Capability) -> None:
        self._request = request
        self._task = asyncio.current_task()
        self.capability = capability
        self.cut = ""
        self.is_sending = False
        self.lease: str | None = None

    def stop(self, rule: str) -> None:
        """Drop the connection, where what was sent must not look complete; whoever has sent nothing
        so far asks for `cut` before."""
        if self.cut:
            return
        self.cut = rule
        if self.is_sending:
            drop(self._task, self._request)


def drop(sending: asyncio.Task[object] | None, request: web.Request) -> None:
    """Break an answer off, with what waits for the client in the system's buffers."""
    # First whoever sends: a `sendfile` that waits for the client would leave its descriptor behind
    # in the event loop, and the next connection that gets it would not be heard.
    if sending is not None:
        sending.cancel()
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):  # it may be closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class LiveStreams:
    """All of them in this process."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._streams: set[LiveStream] = set()
        self._counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LiveStream]:
        return iter(tuple(self._streams))

    @contextmanager
    def watch(self, request: web.Request, capability: Capability) -> Iterator[LiveStream]:
        """A stream while it runs; `QuotaExceeded` when its caller has too many."""
        holder = capability.principal or capability.ticket_id
        if self._counts[holder] >= self._most:
            raise QuotaExceeded("quota.concurrent_streams", 1)
        stream = LiveStream(request, capability)
        self._counts[holder] += 1
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            self._counts[holder] -= 1
            if not self._counts[holder]:
                del self._counts[holder]
