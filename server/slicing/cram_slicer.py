"""CRAM files as the rest of the server sees them: a header, and a `Slicer`."""

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from formats.crai import CraiIndex, parse_crai
from formats.cram import CramHeader, parse_header, read_container
from formats.errors import CorruptData, UnknownReference
from formats.regions import Interval, Region
from formats.source import ByteSource
from server.slicing.cram import OnMissing, plan_cram
from server.slicing.fasta_files import FastaFile
from server.slicing.record_count import count_cram
from server.slicing.references import ConfiguredReferences, References, SeveralReferences
from server.slicing.segments import Segment
from server.slicing.selection import Selection
from server.slicing.slicers import MOST_EDGES
from server.slicing.trimming import EdgeCache, Trimmer
from server.slicing.workers import WorkerPool

_log = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000
_LONGEST_EDGE = 1 << 22


class CramServices:
    """The decoding processes, the reference sequences and the cache that all CRAM files share.

    `find_fasta` lists the configured FASTA files; it is called when a reference is first needed
    that is not among those `known`.
    """

    def __init__(
        self,
        pool: WorkerPool,
        find_fasta: Callable[[], Iterable[FastaFile]],
        edge_bytes: int,
        known: Sequence[References] = (),
    ) -> None:
        self.pool = pool
        self._configured = ConfiguredReferences(find_fasta)
        self.references = SeveralReferences((*known, self._configured))
        self._cache = EdgeCache(edge_bytes)
        self._inexact: set[Hashable] = set()
        self._lock = threading.Lock()

    def trimmer(self, key: Hashable) -> Trimmer:
        """What trimming the containers of one object needs; `key` names its bytes."""
        return Trimmer(
            self.pool, self.references, self._cache, key, partial(self._warn_inexact, key)
        )

    def close(self) -> None:
        """End the processes and close the FASTA files."""
        self.pool.close()
        self._configured.close()

    def _warn_inexact(self, key: Hashable, error: Exception) -> None:
        """Once per object."""
        with self._lock:
            if key in self._inexact:
                return
            if len(self._inexact) >= _MOST_REMEMBERED:
                self._inexact.clear()
            self._inexact.add(key)
        _log.warning("slices of %r are not exact: %s", key, ascii(str(error))[1:-1])


@dataclass(frozen=True, slots=True)
class CramFileHeader:
    """The header of a CRAM file as it is served: the file's own first bytes."""

    cram: CramHeader

    @property
    def blocks(self) -> bytes:
        """File definition and header container."""
        return self.cram.block

    @property
    def eof(self) -> bytes:
        """The EOF container of the file's version."""
        return self.cram.version.eof_marker

    @property
    def nbytes(self) -> int:
        """Approximate memory held, in bytes."""
        return len(self.cram.block) + len(self.cram.text) + 300 * len(self.cram.names)


def read_cram_header(source: ByteSource) -> CramFileHeader:
    """Read a header; `CorruptData` when it is malformed."""
    return CramFileHeader(parse_header(source))


@dataclass(frozen=True, slots=True)
class CramSlicer:
    """A `Slicer` for CRAM. Without an index it gives the whole object only.

    Where a reference that trimming needs is not configured, the whole container is sent: this is
    for open data, and `htsgate check` says so. A strict plan is refused instead.
    """

    header: CramHeader
    index: CraiIndex | None
    services: CramServices
    key: Hashable

    @classmethod
    def open(
        cls, header: CramHeader, index: bytes | None, services: CramServices, key: Hashable
    ) -> "CramSlicer":
        """From the header and the bytes of the index; `CorruptData` when that is malformed."""
        return cls(header, None if index is None else parse_crai(index), services, key)

    @property
    def nbytes(self) -> int:
        return 0 if self.index is None else self.index.nbytes

    def check(self, source: ByteSource) -> None:
        """Compare the index with the data where that is cheap: its first and last container.

        Raises `CorruptData` when they cannot belong together.
        """
        if self.index is None:
            return
        if self.index.last_reference >= len(self.header.names):
            raise CorruptData("the index has more references than the data")
        offsets = self.index.offsets or [self.header.data_end]
        if not self._is_empty(source, self.header.data_start, offsets[0]):
            raise CorruptData("the index does not begin with the data")
        if self.index.offsets:
            last = read_container(source, offsets[-1], self.header.version, self.header.data_end)
            if not self._is_empty(source, last.stop, self.header.data_end):
                raise CorruptData("the index ends before the data do")

    def locate(self, region: Region) -> Interval | None:
        number = self.header.references.get(region.reference_name)
        if number is None:
            raise UnknownReference("this object has no such reference")
        return Interval(number, region.start, region.end)

    def name(self, reference: int) -> str:
        return self.header.names[reference]

    def is_ready(self, region: Region) -> bool:
        del region
        return True

    def position(self, reference: int) -> int:
        offset = None if self.index is None else self.index.first_offset(reference)
        return self.header.data_end if offset is None else offset

    def extent(self, interval: Interval) -> tuple[int, int]:
        span = None if self.index is None else self.index.span(*interval)
        if self.index is None or span is None:
            return 0, 0
        following = self.index.next_offset(span[1])
        return span[0], self.header.data_end if following is None else following

    def unplaced_start(self) -> int:
        offsets = [] if self.index is None else self.index.unplaced()
        return offsets[0] if offsets else self.header.data_end

    def edges(self, selection: Selection) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        for interval in (selection.intervals or ())[:MOST_EDGES]:
            span = None if self.index is None else self.index.span(*interval)
            if self.index is None or span is None:
                continue
            for offset in dict.fromkeys(span):
                end = self.index.next_offset(offset) or self.header.data_end
                ranges.append((offset, min(end, offset + _LONGEST_EDGE)))
        return ranges

    def plan(
        self, source: ByteSource, selection: Selection, *, strict: bool = False
    ) -> list[Segment]:
        trimmer = self.services.trimmer(self.key)
        missing: OnMissing = "refuse" if strict else "whole"
        return plan_cram(source, self.header, self.index, selection, trimmer, missing)

    def count(self, data: bytes) -> int:
        return count_cram(data, self.header)

    def _is_empty(self, source: ByteSource, start: int, end: int) -> bool:
        """Whether no container that begins in `[start, end)` holds a record."""
        while start < end:
            container = read_container(source, start, self.header.version, self.header.data_end)
            if container.records:
                return False
            start = container.stop
        return start == end
