"""Slices of CRAM: whole containers as they are, and the containers at the edges decoded and
re-encoded.

A container goes out verbatim only when index and header say that all its records are selected;
every other that the index selects is trimmed record by record in a decoding process.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from formats.crai import CraiIndex, Placement, scan_containers
from formats.cram import (
    MULTIPLE,
    UNPLACED,
    Container,
    CramHeader,
    Demand,
    Version,
    demand,
    mini_header,
    open_file,
    read_container,
)
from formats.errors import CorruptData, MissingReference, UnindexableRange
from formats.regions import Interval
from formats.source import ByteSource, BytesSource
from server.slicing.jobs import Bases, Job, Keep, Probe
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection
from server.slicing.trimming import Trimmer
from server.slicing.workers import reference_token

OnMissing = Literal["refuse", "whole"]

MAX_TRIMMED = 1 << 28
"""Largest container that is decoded, in bytes."""

_HEADER_ROOM = 64
"""Most bytes of a container header, but for its landmarks."""


def plan_cram(
    source: ByteSource,
    header: CramHeader,
    index: CraiIndex | None,
    selection: Selection,
    trim: Trimmer,
    on_missing_reference: OnMissing = "refuse",
) -> list[Segment]:
    """The data containers of a selection, in file order, without header and EOF container.

    Containers belong to a `cut` by their own offset. Where a container must be trimmed and its
    reference is not configured, `MissingReference` is raised, or with "whole" the container goes
    out untrimmed: no record is lost, but others come along, and two blocks of a ticket may send the
    same container. The later one knows only where its predecessor ended, and leaves the container
    out when a record lies on the last base before. Raises `UnindexableRange` when records are to be
    selected without an index, `CorruptData` when the index does not fit the file or a container
    cannot be decoded.
    """
    if selection.intervals is None:
        return _whole(source, header, index, selection.cut)
    if index is None:
        raise UnindexableRange("this CRAM file has no index")
    if index.last_reference >= len(header.names):
        raise CorruptData("the index has more references than the data")
    plan = _Plan(source, header, index, selection, trim, on_missing_reference)
    return _join(plan.segments())


def _whole(
    source: ByteSource, header: CramHeader, index: CraiIndex | None, cut: tuple[int, int] | None
) -> list[Segment]:
    start, end = header.data_start, header.data_end
    if index is None and (cut is not None or end == source.size):
        # Without an EOF container only a walk can tell that the last container is complete.
        index = scan_containers(source, header)
    if index is not None and index.offsets:
        read_container(source, index.offsets[-1], header.version, end)
    if cut is not None and index is not None:
        start, end = (_border(header, index.offsets, offset) for offset in cut)
    return [Stored(start, end)] if start < end else []


def _border(header: CramHeader, offsets: Sequence[int], offset: int) -> int:
    """The first container at or after `offset`."""
    if offset <= header.data_start:
        return header.data_start
    number = bisect_left(offsets, offset)
    return offsets[number] if number < len(offsets) else header.data_end


def _join(segments: Iterator[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if isinstance(segment, Stored) and isinstance(last, Stored) and last.end == segment.start:
            joined[-1] = Stored(last.start, segment.end)
        elif segment:
            joined.append(segment)
    return joined


@dataclass(frozen=True, slots=True)
class _Edge:
    """A container to trim, with its bytes."""

    container: Container
    data: bytes
    keep: Keep


@dataclass(frozen=True)
class _Plan:
    source: ByteSource
    header: CramHeader
    index: CraiIndex
    selection: Selection
    trimmer: Trimmer
    on_missing: OnMissing

    def segments(self) -> Iterator[Segment]:
        return self.trimmer.pool.map(self._segment, self._steps())

    @cached_property
    def _intervals(self) -> dict[int, list[Interval]]:
        by_reference: dict[int, list[Interval]] = {}
        for interval in self.selection.intervals or ():
            by_reference.setdefault(interval.reference, []).append(interval)
        return by_reference

    @cached_property
    def _sent(self) -> Interval | None:
        if not (self.selection.sent_until and self.selection.intervals):
            return None
        return Interval(self.selection.intervals[0].reference, 0, self.selection.sent_until)

    def _offsets(self) -> list[int]:
        offsets: set[int] = set()
        for interval in self.selection.intervals or ():
            offsets.update(self.index.containers(*interval))
        if self.selection.unplaced:
            offsets.update(self.index.unplaced())
        low, high = self.selection.cut or (0, self.source.size)
        return sorted(offset for offset in offsets if low <= offset < high)

    def _steps(self) -> Iterator[_Edge | Stored]:
        """Runs of verbatim containers, and the edges between them."""
        run: list[Placement] = []
        for offset in self._offsets():
            placement = self.index.placement(offset)
            verbatim = self._is_verbatim(placement)
            if run and not (verbatim and self._follows(run[-1], offset)):
                yield self._stored(run)
                run = []
            if verbatim:
                run.append(placement)
            else:
                yield self._edge(placement)
        if run:
            yield self._stored(run)

    def _is_verbatim(self, placement: Placement) -> bool:
        reference, start = placement.reference, placement.start
        if reference == UNPLACED:
            return self.selection.unplaced
        if reference == MULTIPLE:
            return False
        sent = self._sent
        if sent is not None and reference == sent.reference and start < sent.end:
            return False
        intervals = self._intervals.get(reference, [])
        number = bisect_right(intervals, start, key=lambda interval: interval.start) - 1
        return number >= 0 and self._bound(placement) <= intervals[number].end

    def _bound(self, placement: Placement) -> int:
        """One past the last position that a record of a container on one reference can reach.

        The span that writers store leaves out placed unmapped reads. Records are sorted, so none
        begins after the container that follows.
        """
        following = self.index.next_offset(placement.offset)
        if following is not None:
            after = self.index.placement(following)
            if after.reference == placement.reference:
                return max(placement.end, after.start + 1)
        return max(placement.end, self.header.lengths[placement.reference])

    def _follows(self, placement: Placement, offset: int) -> bool:
        """Whether nothing but `placement`'s own bytes lies between it and the container at
        `offset`.

        The index itself tells: its slices end where the next container begins. Reading every
        header of a long run would cost more than sending it, on an object store above all.
        """
        if self.index.next_offset(placement.offset) != offset:
            return False
        gap = offset - placement.offset - placement.extent
        return 0 < gap <= _HEADER_ROOM or self._container(placement).stop == offset

    def _stored(self, run: list[Placement]) -> Stored:
        self._container(run[0])
        return Stored(run[0].offset, self._container(run[-1]).stop)

    def _edge(self, placement: Placement) -> _Edge:
        container = self._container(placement)
        if container.stop - container.offset > MAX_TRIMMED:
            raise CorruptData("a CRAM container is too large to be trimmed")
        data = self.source.read(container.offset, container.stop)
        intervals = self.selection.intervals or ()
        if placement.reference != MULTIPLE:
            intervals = tuple(
                interval
                for interval in self._intervals.get(placement.reference, [])
                if interval.start < placement.end and interval.end > placement.start
            )
        return _Edge(container, data, Keep(intervals, self.selection.unplaced, self._sent))

    def _container(self, placement: Placement) -> Container:
        """The header of an indexed container, which must not contradict the index."""
        container = read_container(
            self.source, placement.offset, self.header.version, self.header.data_end
        )
        reference = container.reference
        if reference not in (placement.reference, MULTIPLE) or not container.records:
            raise CorruptData("the index does not fit the data")
        if (
            reference >= 0
            and not container.start <= placement.start < placement.end <= container.end + 1
        ):
            raise CorruptData("the index does not fit the data")
        if container.blocks_start + placement.extent > container.stop:
            raise CorruptData("the index does not fit the data")
        return container

    def _segment(self, step: _Edge | Stored) -> Segment:
        if isinstance(step, Stored):
            return step
        cache, key = self.trimmer.cache, (self.trimmer.key, step.container.offset, step.keep)
        cached = cache.get(key) if cache is not None else None
        if cached is not None:
            (trimmed,) = cached
        else:
            try:
                trimmed = self._trim(step)
            except MissingReference as error:
                if self.on_missing == "refuse":
                    raise
                if self.trimmer.on_inexact is not None:
                    self.trimmer.on_inexact(error)
                return b"" if self._went_before(step) else _verbatim(step.container)
            if cache is not None:
                cache.put(key, trimmed)
        return _verbatim(step.container) if trimmed is None else trimmed

    def _went_before(self, edge: _Edge) -> bool:
        """Whether an earlier block of the ticket must have sent the whole container.

        Its last interval ended at `sent_until`, so a record on the base before it was selected.
        Where that interval began the selection does not tell.
        """
        sent = self._sent
        if sent is None:
            return False
        last = Interval(sent.reference, sent.end - 1, sent.end)
        probed = self._probe(replace(edge, keep=Keep((last,))))
        return probed.kept > 0

    def _trim(self, edge: _Edge) -> bytes | None:
        """The containers of the records that stay; None when all do."""
        needs = demand(self.header.version, edge.container, edge.data)
        bases: tuple[Bases, ...] = ()
        if needs.external:
            found = self._bases(edge, needs)
            if not isinstance(found, tuple):
                return None if found else b""
            bases = found
        job = self._job(edge, external=needs.external, bases=bases)
        trimmed = self.trimmer.pool.run(job)
        if not trimmed:
            return trimmed
        return _data_containers(trimmed)

    def _bases(self, edge: _Edge, needs: Demand) -> tuple[Bases, ...] | bool:
        """What decoding takes from references; or, if none is needed, whether all records stay."""
        container = edge.container
        if container.reference >= 0:
            try:
                return (self._residues(container.reference, needs.start, needs.end),)
            except MissingReference:
                probe = self._probe(edge)
                if 0 < probe.kept < probe.total:
                    raise
        else:
            probe = self._probe(edge)
            if 0 < probe.kept < probe.total:
                return tuple(self._residues(*span) for span in probe.spans)
        return probe.kept > 0

    def _residues(self, reference: int, start: int, end: int) -> Bases:
        header = self.header
        if reference >= len(header.names):
            raise CorruptData("a CRAM container names a reference that the header lacks")
        name, length = header.names[reference], header.lengths[reference]
        sequence = self.trimmer.references.find(name, length, header.md5s[reference])
        if sequence is None:
            raise MissingReference(f"the sequence of reference {name} is not configured")
        start = max(0, min(start, length))
        return Bases(reference, length, start, sequence.residues(start, end))

    def _probe(self, edge: _Edge) -> Probe:
        return self.trimmer.pool.probe(self._job(edge, probe=True))

    def _job(
        self,
        edge: _Edge,
        *,
        probe: bool = False,
        external: bool = False,
        bases: tuple[Bases, ...] = (),
    ) -> Job:
        version = max(
            self.header.version, Version(2, 1)
        )  # of 2.0, which only lacks the EOF container
        cram = self._mini_header + edge.data + version.eof_marker
        return Job(cram, str(version), edge.keep, probe, external, bases)

    @cached_property
    def _mini_header(self) -> bytes:
        """The header for decoding processes: references by number, read groups, nothing else.

        Ids are positions in these lists, so their order stays. No @SQ UR and no real M5: a
        process finds the bases laid out for it and no others.
        """
        lines: list[str] = []
        number = 0
        for line in self.header.text.split("\n"):
            if line.startswith("@SQ\t"):
                name, length = self.header.names[number], self.header.lengths[number]
                lines.append(f"@SQ\tSN:{name}\tLN:{length}\tM5:{reference_token(number)}\n")
                number += 1
            elif line.startswith(("@HD\t", "@RG\t")):
                lines.append(line + "\n")
        return mini_header(max(self.header.version, Version(2, 1)), "".join(lines))


def _verbatim(container: Container) -> Stored:
    return Stored(container.offset, container.stop)


def _data_containers(cram: bytes) -> bytes:
    """The data containers of a small CRAM file, which is checked container by container."""
    source = BytesSource(cram)
    version, start = open_file(source)
    end = len(cram) - len(version.eof_marker)
    if not version.is_eof_marker(cram[end:]):
        raise CorruptData("a decoding process left its answer incomplete")
    offset = start
    while offset < end:
        offset = read_container(source, offset, version, end).stop
    return cram[start:end]
