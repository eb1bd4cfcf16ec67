"""Sends a byte range of a plan: re-encoded edges from memory, the interior by `sendfile`.

Small answers leave in one piece, read without blocking when the page cache has them. Large
interiors never pass through Python; under TLS, where `sendfile` cannot work, they go in pieces of a
megabyte. Whatever fails after the first byte closes the connection short of `Content-Length`: a
broken answer must never look complete.
"""

import asyncio
import os
from collections.abc import Mapping

from aiohttp import web

from server.limits import SENT
from server.slicing.library import Plan
from server.slicing.segments import Stored, clip
from storage_backends.base import ObjectChanged, StorageUnavailable
from storage_backends.local import DescriptorSource

SMALL = 256 << 10
"""Answers up to this many bytes are sent in one piece."""

_PIECE = 1 << 20  # also of a `sendfile`, which does not tell what it sent before it was broken off
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


async def send(
    request: web.Request,
    plan: Plan,
    byte_range: tuple[int, int],
    descriptor: int,
    *,
    modified_ns: int | None,
    status: int,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with the bytes `[start, end)` of a plan; `descriptor` is the open source object, which
    was last modified at `modified_ns`. `SENT` is never less than what has left, and more by a
    piece at most.

    Raises `StorageUnavailable` or `ObjectChanged` when the source ends early or changes; then,
    unless nothing was sent yet, the error middleware drops the connection.
    """
    start, end = byte_range
    request[SENT] = 0
    segments = list(clip(plan.segments, start, end))
    if end - start <= SMALL:
        pieces = [
            await _read(descriptor, segment) if isinstance(segment, Stored) else segment
            for segment in segments
        ]
        if os.fstat(descriptor).st_mtime_ns != modified_ns:
            raise ObjectChanged("the object changed while it was read")
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        request[SENT] = len(body)
        return web.Response(status=status, headers=headers, body=body)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    # The end is held back until it is known that the file stayed as it was.
    last = segments.pop()
    if isinstance(last, Stored) and len(last) > SMALL:
        segments.append(Stored(last.start, last.end - SMALL))
        last = Stored(last.end - SMALL, last.end)
    for segment in segments:
        if isinstance(segment, Stored):
            await _send_stored(request, response, descriptor, segment)
        else:
            request[SENT] += len(segment)
            await response.write(segment)
    final = await _read(descriptor, last) if isinstance(last, Stored) else last
    if os.fstat(descriptor).st_mtime_ns != modified_ns:
        raise ObjectChanged("the object changed while it was sent")
    request[SENT] += len(final)
    await response.write(final)
    await response.write_eof()
    return response


async def _read(descriptor: int, segment: Stored) -> bytes | bytearray:
    """A stored range in one piece: at once when it is cached, else in a thread."""
    buffer = bytearray(len(segment))
    count = 0
    if _NOWAIT:
        try:
            count = os.preadv(descriptor, [buffer], segment.start, _NOWAIT)
        except OSError:  # not cached (EAGAIN), or a file system without the flag
            count = 0
    if count < len(buffer):
        source = DescriptorSource(descriptor, segment.end)
        return await asyncio.to_thread(source.read, segment.start, segment.end)
    return buffer


async def _send_stored(
    request: web.Request, response: web.StreamResponse, descriptor: int, segment: Stored
) -> None:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client went away")
    start, end = segment.start, segment.end
    if transport.get_extra_info("sslcontext") is None:
        # asyncio wants a file object; all offsets are explicit, the shared position means nothing.
        with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
            for at in range(start, end, _PIECE):
                count = min(_PIECE, end - at)
                request[SENT] += count
                try:
                    sent = await asyncio.get_running_loop().sendfile(
                        transport, file, at, count, fallback=False
                    )
                except asyncio.SendfileNotAvailableError:
                    if at > start:  # asyncio says so of a connection that broke, too
                        raise ConnectionResetError("the client went away") from None
                    request[SENT] -= count
                    break
                if sent != count:
                    raise StorageUnavailable("the object ended early")
            else:
                return
    source = DescriptorSource(descriptor, end)
    for at in range(start, end, _PIECE):
        piece = await asyncio.to_thread(source.read, at, at + _PIECE)
        request[SENT] += len(piece)
        await response.write(piece)
