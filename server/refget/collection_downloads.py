"""A collection's FASTA file with what goes beside it, made from its digest (no specification).

The names are those of the collection, lines have 60 residues, and nothing depends on the files that
the sequences lie in: the same digest always gives the same bytes, so a broken transfer resumes.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

from aiohttp import hdrs, web

from server.http_range import block_range, if_none_match_holds
from server.limits import OBJECT, SENT
from server.refget.catalogue import KnownSequence, SequenceCatalogue
from server.refget.collection_store import Member
from server.refget.fasta_text import LINE, lines_of, residue_before, text_size
from server.refget.files import SequenceFiles, SequenceUnavailable
from server.refget.restricted import CONFINED
from server.refget.sending import send_stream, stream_residues

_AHEAD = 200  # sequences that are looked up at a time
_PIECE = 256 << 10  # bytes that are worth sending

_IMMUTABLE = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class CollectionDownloads:
    """Handlers over the parts that do the work. `members`: the sequences of a collection; raises
    for one that is unknown. `confined`: they are not for everybody."""

    catalogue: SequenceCatalogue
    files: SequenceFiles
    members: Callable[[str], Awaitable[list[Member]]]
    confined: bool = False

    async def fasta(self, request: web.Request) -> web.StreamResponse:
        """All sequences as FASTA, or a `Range` of that text."""
        digest = request.match_info["digest"]
        layout = await asyncio.to_thread(_Layout, await self.members(digest))
        headers = self._headers(request, "fa", "text/x-fasta", _IMMUTABLE)
        headers[hdrs.ACCEPT_RANGES] = "bytes"
        etag = headers[hdrs.ETAG] = f'"{digest}.fasta"'
        if if_none_match_holds(request.headers.getall(hdrs.IF_NONE_MATCH, ()), etag):
            return web.Response(status=304, headers=headers)
        asked = block_range(
            request.headers.getall(hdrs.RANGE, ()),
            layout.size,
            etag=etag,
            if_range=request.headers.get(hdrs.IF_RANGE),
        )
        start, end = asked or (0, layout.size)
        if asked:
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{layout.size}"
        status = 206 if asked else 200
        if request.method == hdrs.METH_HEAD:
            headers[hdrs.CONTENT_LENGTH] = str(end - start)
            return web.Response(status=status, headers=headers)
        request[SENT] = end - start
        stream = _gathered(self._text(layout, start, end))
        return await send_stream(request, stream, end - start, status=status, headers=headers)

    async def fai(self, request: web.Request) -> web.StreamResponse:
        """The index that `samtools faidx` would make of that FASTA."""
        return await self._table(request, "fa.fai", _fai, _IMMUTABLE)

    async def chrom_sizes(self, request: web.Request) -> web.StreamResponse:
        """Names and lengths, as UCSC's tools take them."""
        return await self._table(request, "chrom.sizes", _chrom_sizes, _IMMUTABLE)

    async def dictionary(self, request: web.Request) -> web.StreamResponse:
        """The SAM header that `samtools dict` would make of that FASTA, without its place."""
        return await self._table(request, "dict", _dictionary, _SHORT)

    async def _table(
        self,
        request: web.Request,
        extension: str,
        write: Callable[[Sequence[Member]], str],
        cache_control: str,
    ) -> web.StreamResponse:
        members = await self.members(request.match_info["digest"])
        headers = self._headers(request, extension, "text/plain", cache_control)
        body = (await asyncio.to_thread(write, members)).encode()
        return web.Response(body=body, headers=headers)

    def _headers(
        self, request: web.Request, extension: str, media_type: str, cache_control: str
    ) -> dict[str, str]:
        digest = request.match_info["digest"]
        if not self.confined:
            request[OBJECT] = digest
        return {
            hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8",
            hdrs.CACHE_CONTROL: CONFINED if self.confined else cache_control,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{digest}.{extension}"',
        }

    async def _text(self, layout: "_Layout", start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes `[start, end)` of the FASTA."""
        known: dict[str, KnownSequence] = {}
        for number in layout.records(start, end):
            member, at = layout.members[number], layout.starts[number]
            title = _title(member)
            low, high = max(start - at, 0), end - at
            if low < len(title):
                yield title[low:high]
            low, high = max(low - len(title), 0), min(high - len(title), text_size(member.length))
            if low >= high:
                continue
            trunc512 = member.digests.trunc512
            if trunc512 not in known:
                ahead = layout.members[number : number + _AHEAD]
                known = await self.catalogue.find_all([each.digests.trunc512 for each in ahead])
            if trunc512 not in known:
                raise SequenceUnavailable("a sequence of the collection is gone")
            async for lines in self._lines(known[trunc512], low, high):
                yield lines

    async def _lines(
        self, sequence: KnownSequence, low: int, high: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes `[low, high)` of a sequence in lines."""
        first = residue_before(low)
        last = min(residue_before(high - 1) + LINE, sequence.length)
        skip, left = low - text_size(first), high - low
        stream = stream_residues(self.files, sequence, [(first, last)])
        async with aclosing(stream) as residues:
            async for lines in lines_of(residues):
                part = lines[skip : skip + left]
                skip, left = max(skip - len(lines), 0), left - len(part)
                yield part


Download = Callable[[CollectionDownloads, web.Request], Awaitable[web.StreamResponse]]

DOWNLOADS: Mapping[str, Download] = MappingProxyType(
    {
        "fasta": CollectionDownloads.fasta,
        "fai": CollectionDownloads.fai,
        "chrom.sizes": CollectionDownloads.chrom_sizes,
        "dict": CollectionDownloads.dictionary,
    }
)
"""What can be had of a collection, by what stands behind its digest."""


class _Layout:
    """Where the records of a collection stand in its FASTA."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        sizes = (len(_title(each)) + text_size(each.length) for each in members)
        self.starts = list(accumulate(sizes, initial=0))

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self.starts[-1]

    def records(self, start: int, end: int) -> range:
        """The numbers of the records that hold the bytes `[start, end)`."""
        first = max(bisect_right(self.starts, start) - 1, 0)
        return range(first, min(bisect_right(self.starts, end - 1), len(self.members)))


async def _gathered(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Short pieces put together, for a collection may hold very many short sequences."""
    waiting: list[bytes] = []
    size = 0
    async with aclosing(pieces):
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= _PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _title(member: Member) -> bytes:
    return f">{member.name}\n".encode()


def _fai(members: Sequence[Member]) -> str:
    lines = []
    at = 0
    for each in members:
        at += len(_title(each))
        if each.length:  # samtools leaves out the others
            width = min(each.length, LINE)
            lines.append(f"{each.name}\t{each.length}\t{at}\t{width}\t{width + 1}\n")
        at += text_size(each.length)
    return "".join(lines)


def _chrom_sizes(members: Sequence[Member]) -> str:
    return "".join(f"{each.name}\t{each.length}\n" for each in members)


def _dictionary(members: Sequence[Member]) -> str:
    lines = ["@HD\tVN:1.0\tSO:unsorted\n"]
    for each in members:
        topology = "\tTP:circular" if each.circular else ""
        lines.append(f"@SQ\tSN:{each.name}\tLN:{each.length}\tM5:{each.digests.md5}{topology}\n")
    return "".join(lines)
