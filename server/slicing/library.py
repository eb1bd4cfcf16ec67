"""Headers, indexes and plans of data objects: loaded in threads, once, and kept while their bytes
are the same.

Everything is keyed by fingerprint, so a changed object or index is never mixed with what was read
of the old one.
"""

import asyncio
import hashlib
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from formats import bgzf
from formats.binning import MAX_INDEX_BYTES
from formats.errors import CorruptData, UnindexableRange
from server.cache import ByteCache
from server.catalog import DataObject
from server.model import Format
from server.slicing.cram_slicer import (
    CramFileHeader,
    CramServices,
    CramSlicer,
    read_cram_header,
)
from server.slicing.header_view import HeaderView, view_header
from server.slicing.index_cache import IndexCache
from server.slicing.record_count import MOST_COUNTED, block_bytes
from server.slicing.segments import Segment, clip
from server.slicing.selection import Selection
from server.slicing.slicers import Slicer, StreamHeader, StreamSlicer, read_stream_header
from storage_backends.base import (
    DescriptorLender,
    ObjectSource,
    ObjectStat,
    StorageBackend,
    StorageUnavailable,
)

INDEX_AGE_TOLERANCE_NS = 1_000_000_000
"""How much older than its data an index may be: file systems and copies round times to a second."""

_AHEAD = 1 << 18
"""Bytes that are asked for at once where a header begins, and kept with a plan."""

T = TypeVar("T")

Header = StreamHeader | CramFileHeader


@dataclass(frozen=True, slots=True)
class Plan:
    """The bytes of one data block: its segments, their total size, and an ETag (without quotes)."""

    segments: tuple[Segment, ...]
    size: int
    etag: str

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return 256 + sum(len(s) if isinstance(s, bytes) else 64 for s in self.segments)

    def window(self, start: int, end: int) -> "Plan":
        """The bytes `[start, end)` of the block, as a block of their own."""
        segments = tuple(clip(self.segments, start, end))
        return Plan(segments, sum(map(len, segments)), f"{self.etag}-{start:x}-{end:x}")

    def holding(self, source: ObjectSource) -> "Plan":
        """With the short stored ranges that were read with the edges: none is fetched twice."""

        def held(segment: Segment) -> Segment:
            if isinstance(segment, bytes) or len(segment) > _AHEAD:
                return segment
            return source.held(segment.start, segment.end) or segment

        return replace(self, segments=tuple(map(held, self.segments)))


class Library:
    """Opens data objects for slicing. `threads` plans run at a time, off the event loop, of what is
    on disk and of each remote store, and as many of CRAM files. `indexes` keeps those of remote
    objects on disk."""

    def __init__(
        self,
        cram: CramServices,
        *,
        index_bytes: int,
        plan_bytes: int,
        indexes: IndexCache | None = None,
        threads: int = 16,
    ) -> None:
        self._cram = cram
        self._indexes = indexes
        self._headers: ByteCache[tuple[Hashable, ...], Header] = ByteCache(
            index_bytes // 4, lambda header: header.nbytes
        )
        self._slicers: ByteCache[tuple[Hashable, ...], Slicer] = ByteCache(
            index_bytes, lambda slicer: slicer.nbytes
        )
        self._plans: ByteCache[tuple[Hashable, ...], Plan] = ByteCache(
            plan_bytes, lambda plan: plan.nbytes
        )
        self._most_threads = threads
        self._pools: dict[tuple[int, bool], ThreadPoolExecutor] = {}

    async def header(self, item: DataObject) -> Header:
        """The header of an object; `CorruptData` when it is malformed."""
        key = _identity(item)
        header = self._headers.peek(key)
        if header is None:
            size = item.stat.size
            ends = ((0, _AHEAD), (size - _AHEAD // 8, size))
            header = await self._headers.get(
                key,
                lambda: self.reading(item, partial(_read_header, item.format), lambda: ends),
            )
        return header

    async def slicer(self, item: DataObject, *, indexed: bool) -> Slicer:
        """An object's slicer; `indexed`: with its index, which regions need and whole objects do
        not.

        Raises `UnindexableRange` without an index, and `CorruptData` when the index is older than
        the data, malformed or of another file.
        """
        key = (*_identity(item), indexed, _index_identity(item, indexed=indexed))
        slicer = self._slicers.peek(key)
        if slicer is None:
            slicer = await self._slicers.get(key, lambda: self._open(item, indexed=indexed))
        return slicer

    async def plan_header(
        self, item: DataObject, *, closed: bool, view: HeaderView | None = None
    ) -> Plan:
        """The header block, as the file has it or by a view; `closed`: with the EOF marker, as a
        file of its own."""
        key = (*_identity(item), "header", closed, view)
        plan = self._plans.peek(key)
        if plan is None:
            header = await self.header(item)

            async def make() -> Plan:
                blocks = header.blocks
                if view is not None:
                    threads = self._threads(item.backend, item.format)
                    blocks = await asyncio.get_running_loop().run_in_executor(
                        threads, view_header, header, view
                    )
                return _plan(item, [blocks + (header.eof if closed else b"")])

            plan = await self._plans.get(key, make)
        return plan

    async def plan_body(
        self, item: DataObject, selection: Selection, *, closing: bool, strict: bool = False
    ) -> Plan:
        """A body block; `closing`: the last of its ticket, which carries the EOF marker.

        `strict`: not one record outside the selection. Where that takes a reference sequence that
        is not configured, `MissingReference` is raised; else whole containers of a CRAM are sent.
        """
        index = _index_identity(item, indexed=selection.needs_index)
        key = (*_identity(item), index, selection, closing, strict)
        plan = self._plans.peek(key)
        if plan is None:
            slicer = await self.slicer(item, indexed=selection.needs_index)
            eof = (await self.header(item)).eof if closing else b""

            def make(source: ObjectSource) -> Plan:
                segments = slicer.plan(source, selection, strict=strict)
                if eof:
                    segments.append(eof)
                return _plan(item, segments).holding(source)

            plan = await self._plans.get(
                key, lambda: self.reading(item, make, lambda: slicer.edges(selection))
            )
        return plan

    async def count_records(self, item: DataObject, selection: Selection, plan: Plan) -> int | None:
        """The records of a body block; None where counting them would cost too much."""
        if plan.size > MOST_COUNTED or selection.cut is not None:
            return None
        slicer = await self.slicer(item, indexed=selection.needs_index)

        def count(source: ObjectSource) -> int:
            return slicer.count(block_bytes(source, plan.segments))

        return await self.reading(item, count)

    async def close(self) -> None:
        """Stop the threads and the decoding processes."""
        for threads in self._pools.values():
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._cram.close)

    async def _open(self, item: DataObject, *, indexed: bool) -> Slicer:
        if indexed:
            data, header = await asyncio.gather(self._read_index(item), self.header(item))
        else:
            data, header = None, await self.header(item)

        def build(source: ObjectSource) -> Slicer:
            slicer: CramSlicer | StreamSlicer
            if isinstance(header, CramFileHeader):
                slicer = CramSlicer.open(header.cram, data, self._cram, _identity(item))
            else:
                slicer = StreamSlicer.open(header, data)
            slicer.check(source)
            return slicer

        return await self.reading(item, build)

    async def _read_index(self, item: DataObject) -> bytes:
        if item.index_key is None or item.index_stat is None:
            raise UnindexableRange("this object has no index: it can be fetched whole only")
        if _is_older(item.index_stat, item.stat):
            raise CorruptData("the index is older than its data")
        if item.index_stat.size > MAX_INDEX_BYTES:
            raise CorruptData("the index is too large")
        backend, key, stat = item.backend, item.index_key, item.index_stat

        async def load() -> bytes:
            data = await backend.read(key, 0, stat.size, fingerprint=stat.fingerprint)
            if len(data) != stat.size:
                raise StorageUnavailable("the object ended early")
            return data

        if self._indexes is None or isinstance(backend, DescriptorLender):
            return await load()
        origin = f"{backend.identity} {key}"
        return await self._indexes.get(origin, stat.fingerprint, load)

    async def reading(
        self,
        item: DataObject,
        work: Callable[[ObjectSource], T],
        ahead: Callable[[], Sequence[tuple[int, int]]] = tuple,
    ) -> T:
        """What `work` makes of an object's bytes, in a thread; `ahead`: the ranges it begins
        with."""

        def run() -> T:
            with item.backend.source(item.key, stat=item.stat, ahead=ahead()) as source:
                return work(source)

        threads = self._threads(item.backend, item.format)
        return await asyncio.get_running_loop().run_in_executor(threads, run)

    def _threads(self, backend: StorageBackend, kind: Format) -> ThreadPoolExecutor:
        """The threads in which an object is read: who waits must not keep others waiting.

        CRAM waits for decoding processes, and a remote store may not answer at all.
        """
        is_local = isinstance(backend, DescriptorLender)
        key = (0 if is_local else id(backend), kind is Format.CRAM)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = ThreadPoolExecutor(self._most_threads, "slicing")
        return pool


def _read_header(kind: Format, source: ObjectSource) -> Header:
    return read_cram_header(source) if kind is Format.CRAM else read_stream_header(source, kind)


def _is_older(index: ObjectStat, data: ObjectStat) -> bool:
    """Whether an index was made before its data; unknown where files were uploaded."""
    if index.modified_ns is None or data.modified_ns is None:
        return False
    return index.modified_ns < data.modified_ns - INDEX_AGE_TOLERANCE_NS


def _identity(item: DataObject) -> tuple[Hashable, ...]:
    return (id(item.backend), item.key, item.stat.fingerprint)


def _index_identity(item: DataObject, *, indexed: bool) -> str:
    """The fingerprint of the index, where what is kept depends on it."""
    return item.index_stat.fingerprint if indexed and item.index_stat is not None else ""


def _plan(item: DataObject, segments: list[Segment]) -> Plan:
    """With a strong validator: equal for equal bytes only, whichever replica made the edges."""
    digest = hashlib.sha256(f"{item.stat.fingerprint} {item.format} {bgzf.CODEC}".encode())
    for segment in segments:
        if isinstance(segment, bytes):
            digest.update(b"b%d:" % len(segment) + hashlib.sha256(segment).digest())
        else:
            digest.update(b"s%d-%d" % (segment.start, segment.end))
    return Plan(tuple(segments), sum(map(len, segments)), digest.hexdigest()[:32])
