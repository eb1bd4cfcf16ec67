"""Exact slices of a coordinate-sorted BGZF stream: BAM, VCF and BCF.

Of each interval only two places are decoded. The *head*: from where the index says overlapping
records may begin to the first record that begins inside the interval (V); of what precedes V the
records that reach into the interval are kept. The *tail*: to the first record that begins beyond it
(X). From V to X every record overlaps, so those bytes are the file's own, whole blocks of them
verbatim. Cost does not grow with the interval.
"""

from dataclasses import dataclass

from formats.bgzf import BgzfReader, compress, data_end
from formats.binning import BinningIndex
from formats.errors import CorruptData, UnindexableRange
from formats.records import BEFORE_ALL, Pass, RecordFormat, pass_over, walk
from formats.regions import Interval
from formats.windows import Bounds, WindowTable
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection

LONG_HEAD = 1 << 18
"""Bytes of file between the first overlapping record and the interval's own window above which the
head is searched by bins: one long intron can pull the former arbitrarily far back."""

MOST_REFRAMED = 1 << 26
"""Bytes of an interior whose blocks are given the usual header: some browsers read no other."""


@dataclass(frozen=True, slots=True)
class RecordStream:
    """A file as the planner sees it.

    `first_record` and `data_end` (offset in the file, without EOF marker) bound its records.
    `unmapped`: it may hold placed reads that are unmapped (alignments).
    """

    layout: RecordFormat
    first_record: int
    data_end: int
    index: BinningIndex | None
    unmapped: bool


def plan_stream(
    reader: BgzfReader, stream: RecordStream, selection: Selection, *, strict: bool = False
) -> list[Segment]:
    """The segments that hold exactly the selected records, in file order, without header and EOF
    marker.

    `strict`: no other record is among them where the index is wrong either, as long as the file is
    sorted: what stands verbatim stands between two records that are seen to begin in the interval.
    Raises `UnindexableRange` when intervals are asked of a stream without index, and `CorruptData`
    when data or index break their format or do not belong together.
    """
    return _Plan(reader, stream, selection, strict=strict).segments()


class _Plan:
    def __init__(
        self, reader: BgzfReader, stream: RecordStream, selection: Selection, *, strict: bool
    ) -> None:
        self._reader = reader
        self._strict = strict
        self._stream = stream
        self._selection = selection
        self._low, self._high = 0, reader.source.size + 1
        if selection.cut is not None:
            self._low = reader.next_border(selection.cut[0])
            if selection.cut[1] < reader.source.size:
                self._high = reader.next_border(selection.cut[1])
        self._segments: list[Segment] = []
        self._inline: list[bytes] = []

    def segments(self) -> list[Segment]:
        stream, selection = self._stream, self._selection
        end = stream.data_end << 16
        if selection.intervals is None:
            self._emit(b"", stream.first_record, end)
        elif stream.index is None:
            raise UnindexableRange("this object has no index: it can be fetched whole only")
        else:
            self._intervals(stream.index, selection.intervals)
            if selection.unplaced:
                self._emit(b"", self._first_unplaced(stream.index), end)
        self._flush()
        return self._segments

    def _intervals(self, index: BinningIndex, intervals: tuple[Interval, ...]) -> None:
        reference, resume = -1, 0
        sent_until = self._selection.sent_until or BEFORE_ALL
        for interval in intervals:
            if interval.reference != reference:
                if reference >= 0:
                    sent_until = BEFORE_ALL
                reference, resume = interval.reference, 0
            table = index.table(reference)
            if table is not None:
                if table.last >> 16 > self._reader.source.size:
                    raise CorruptData("the index points beyond the end of the data")
                bounds = table.query(interval.start, interval.end, unmapped=self._stream.unmapped)
                if bounds.start < bounds.end:
                    resume = self._interval(table, bounds, interval, sent_until, resume)
            sent_until = interval.end

    def _interval(
        self, table: WindowTable, bounds: Bounds, interval: Interval, sent_until: int, resume: int
    ) -> int:
        """Emit one interval; the virtual offset where it ends."""
        self._reader.renew()
        kept, begin = self._head(table, bounds, interval, sent_until, resume)
        if self._strict:
            end = self._proven_beyond(table, bounds, interval, begin)
        else:
            end = self._first_beyond(max(begin, bounds.tail), interval.reference, interval.end)
        self._emit(b"".join(kept), begin, end)
        return end

    def _head(
        self, table: WindowTable, bounds: Bounds, interval: Interval, sent_until: int, resume: int
    ) -> tuple[list[bytes], int]:
        """The records that begin before the interval and reach into it, and V."""
        kept: list[bytes] = []
        start = max(bounds.start, resume)
        near = max(start, bounds.positioned)
        if (near >> 16) - (start >> 16) > LONG_HEAD:
            for begin, end in table.path_chunks(interval.start, start, near):
                for record in walk(self._reader, self._stream.layout, begin):
                    if record.offset >= end or record.start >= interval.start:
                        break
                    if record.reference != interval.reference:
                        raise CorruptData("the index does not belong to the data")
                    if record.stop > interval.start and record.start >= sent_until:
                        kept.append(record.data)
            start = near
        what = Pass(interval.reference, interval.start, kept, sent_until)
        found = pass_over(self._reader, self._stream.layout, start, what)
        met = what.stopped_on if what.position == BEFORE_ALL else interval.reference
        if start == bounds.start and met != interval.reference:
            raise CorruptData("the index does not belong to the data")
        return kept, self._stream.data_end << 16 if found is None else found

    def _first_beyond(self, start: int, reference: int, end: int) -> int:
        """X: the first record at or after `start` that lies on another reference or begins at `end`
        or later."""
        found = pass_over(self._reader, self._stream.layout, start, Pass(reference, end))
        return self._stream.data_end << 16 if found is None else found

    def _proven_beyond(
        self, table: WindowTable, bounds: Bounds, interval: Interval, begin: int
    ) -> int:
        """X, searched from a record that is seen to begin in the interval, as V is.

        Where the index leads to X itself, the place before it is such a record; where it leads
        nowhere in the interval, all of that is walked.
        """
        if not self._begins(begin, interval):
            return begin
        for start in (bounds.tail, table.positioned_before(bounds.tail)):
            if start > begin:
                what = Pass(interval.reference, interval.end)
                found = pass_over(self._reader, self._stream.layout, start, what)
                if what.position >= interval.start:
                    return self._stream.data_end << 16 if found is None else found
        return self._first_beyond(begin, interval.reference, interval.end)

    def _begins(self, offset: int, interval: Interval) -> bool:
        """Whether the record at `offset` begins in the interval."""
        record = next(walk(self._reader, self._stream.layout, offset), None)
        return (
            record is not None
            and record.reference == interval.reference
            and interval.start <= record.start < interval.end
        )

    def _first_unplaced(self, index: BinningIndex) -> int:
        start = index.placed_end or self._stream.first_record
        for record in walk(self._reader, self._stream.layout, start):
            if record.reference < 0:
                return record.offset
        return self._stream.data_end << 16

    def _emit(self, kept: bytes, begin: int, end: int) -> None:
        """The kept records, then the stream from virtual offset `begin` to `end`."""
        first, within = begin >> 16, begin & 0xFFFF
        last, until = end >> 16, end & 0xFFFF
        self._append(kept, first)
        if begin >= end:
            return
        if first == last:
            self._append(self._reader.block(first).data[within:until], first)
            return
        interior = first
        if within:
            block = self._reader.block(first)
            self._append(block.data[within:], first)
            interior = block.end
        # An empty block inside the file is no end; before our own marker it would look like two.
        last_full = last if until else data_end(self._reader.source, last, interior)
        low, high = max(interior, self._low), min(last_full, self._high)
        if low < high:
            self._flush()
            if high - low > MOST_REFRAMED or self._reader.is_plain(low):
                self._segments.append(Stored(low, high))
            else:
                self._segments.append(self._reader.reframed(low, high))
        if until:
            self._append(self._reader.block(last).data[:until], last)

    def _append(self, data: bytes, anchor: int) -> None:
        """Bytes to re-encode, which belong to the part that holds the source offset `anchor`."""
        if data and self._low <= anchor < self._high:
            self._inline.append(data)

    def _flush(self) -> None:
        if self._inline:
            self._segments.append(compress(b"".join(self._inline)))
            self._inline.clear()
