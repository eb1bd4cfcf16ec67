"""Sends residues: short answers in one piece, long ones by `sendfile` where a file holds just them,
else as they are read. The length is always told; a failure after the first byte closes the
connection short of it.
"""

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing

from aiohttp import web

from server.htsget.delivery import SMALL, send
from server.refget.catalogue import KnownSequence
from server.refget.files import SequenceFiles
from server.refget.subsequence import Piece
from server.slicing.library import Plan
from server.slicing.segments import Stored
from storage_backends.base import StorageUnavailable


async def send_residues(
    request: web.Request,
    files: SequenceFiles,
    sequence: KnownSequence,
    pieces: Iterable[Piece],
    *,
    status: int,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with pieces of a sequence, one after the other."""
    size = sum(end - start for start, end in pieces)
    if size <= SMALL:
        read = [await files.residues(sequence, start, end) for start, end in pieces]
        body = read[0] if len(read) == 1 else b"".join(read)
        return web.Response(status=status, headers=headers, body=body)
    with files.lend(sequence) as lent:
        if lent is not None:
            descriptor, offset = lent
            segments = tuple(Stored(offset + start, offset + end) for start, end in pieces)
            return await send(
                request,
                Plan(segments, size, ""),
                (0, size),
                descriptor,
                modified_ns=os.fstat(descriptor).st_mtime_ns,
                status=status,
                headers=headers,
            )
    stream = stream_residues(files, sequence, pieces)
    return await send_stream(request, stream, size, status=status, headers=headers)


async def stream_residues(
    files: SequenceFiles, sequence: KnownSequence, pieces: Iterable[Piece]
) -> AsyncGenerator[bytes, None]:
    """Pieces of a sequence as they are read."""
    for start, end in pieces:
        if end - start <= SMALL:
            yield await files.residues(sequence, start, end)
            continue
        async with aclosing(files.stream(sequence, start, end)) as residues:
            async for read in residues:
                yield read


async def send_stream(
    request: web.Request,
    stream: AsyncGenerator[bytes, None],
    size: int,
    *,
    status: int,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with the `size` bytes of a stream, which is read before the answer begins: what it
    raises at first is an error, not a broken answer."""
    async with aclosing(stream) as pieces:
        piece = await anext(pieces, b"")
        if len(piece) == size:
            return web.Response(status=status, headers=headers, body=piece)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = size
        await response.prepare(request)
        sent = 0
        while piece:
            sent += len(piece)
            if sent > size:
                break
            await response.write(piece)
            piece = await anext(pieces, b"")
        if sent != size:
            raise StorageUnavailable("a sequence is not as long as it was")
        await response.write_eof()
        return response
