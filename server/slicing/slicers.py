"""What the server knows of one data object: how its references are named, and how it is sliced.

A slicer is made once for an object's fingerprint (and its index's) and serves every request; it
holds no open file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from formats import bam, bcf, bgzf, vcf
from formats.binning import MAX_REFERENCES, BinningIndex, parse_index
from formats.errors import CorruptData, UnknownReference
from formats.records import Header, RecordFormat, walk
from formats.regions import Interval, Region
from formats.source import ByteSource
from server.model import Format
from server.slicing.record_count import count_stream
from server.slicing.segments import Segment
from server.slicing.selection import Selection
from server.slicing.stream import RecordStream, plan_stream

EDGE = 1 << 17
"""Bytes that the edge of a slice usually needs."""

MOST_EDGES = 6
"""Intervals whose edges are asked for ahead."""


class Slicer(Protocol):
    """One data object, ready to be sliced."""

    @property
    def nbytes(self) -> int:
        """Approximate memory held, in bytes."""
        ...

    def locate(self, region: Region) -> Interval | None:
        """The interval a region means; None for a reference that is known but holds no data.

        Raises `UnknownReference`.
        """
        ...

    def name(self, reference: int) -> str:
        """The name of the reference with a number that `locate` gave."""
        ...

    def is_ready(self, region: Region) -> bool:
        """Whether `locate` and `extent` of the region take microseconds."""
        ...

    def position(self, reference: int) -> int:
        """A number that sorts references by where their records stand in the file."""
        ...

    def extent(self, interval: Interval) -> tuple[int, int]:
        """Offsets `[start, end)` in the file that bound what the interval needs, as far as the
        index tells."""
        ...

    def unplaced_start(self) -> int:
        """Offset in the file at or before the first read without a place."""
        ...

    def edges(self, selection: Selection) -> list[tuple[int, int]]:
        """The ranges of the file that `plan` is likely to read first."""
        ...

    def plan(
        self, source: ByteSource, selection: Selection, *, strict: bool = False
    ) -> list[Segment]:
        """The segments of the selected records, without header and EOF marker.

        `strict`: `MissingReference` rather than any other record.
        """
        ...

    def count(self, data: bytes) -> int:
        """The records of a body block, by its bytes; `CorruptData` when they are none."""
        ...


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The header of a BAM, VCF or BCF, re-encoded alone. `data_end` is where its records end in the
    file."""

    format: Format
    blocks: bytes
    names: tuple[str, ...]
    first_record: int
    data_end: int
    text: str

    @property
    def eof(self) -> bytes:
        """The empty block that closes an answer."""
        return bgzf.EOF_MARKER

    @property
    def nbytes(self) -> int:
        """Approximate memory held, in bytes."""
        return len(self.blocks) + len(self.text) + 100 * len(self.names)


def read_stream_header(source: ByteSource, kind: Format) -> StreamHeader:
    """Read and re-encode a header; `CorruptData` when it is malformed."""
    read = {Format.BAM: bam.read_header, Format.VCF: vcf.read_header, Format.BCF: bcf.read_header}
    reader = bgzf.BgzfReader(source)
    header: Header = read[kind](reader)
    end = max(bgzf.data_end(source), header.first_record >> 16)
    if end == source.size:
        _check_tail(reader, end)
    return StreamHeader(
        kind, bgzf.compress(header.payload), header.names, header.first_record, end, header.text
    )


def _check_tail(reader: bgzf.BgzfReader, end: int) -> None:
    """Without an EOF marker a file may be whole or cut short: its last block must be whole."""
    border = reader.next_border(max(end - bgzf.MAX_BLOCK, 0))
    if border == end > 0:
        raise CorruptData("the file ends within a block")
    for _ in reader.blocks(border):
        pass


class StreamSlicer:
    """A `Slicer` for BAM, VCF and BCF. Without an index it gives the whole object only."""

    @classmethod
    def open(cls, header: StreamHeader, index: bytes | None) -> "StreamSlicer":
        """From the header and the bytes of the index; `CorruptData` when that is malformed."""
        if index is None:
            return cls(header, None)
        # A text index names the contigs that have records, a binary one counts the header's.
        most = MAX_REFERENCES if header.format is Format.VCF else len(header.names)
        return cls(header, parse_index(index, most))

    def __init__(self, header: StreamHeader, index: BinningIndex | None) -> None:
        names = header.names
        if header.format is Format.VCF and index is not None:
            if index.names is None:
                raise CorruptData("the index does not name its references")
            # The index numbers the contigs that have records; the header may declare more, or none.
            names = tuple(dict.fromkeys((*index.names, *names)))
        self._names = names
        self._references: Mapping[str, int] = {
            name: number for number, name in reversed(list(enumerate(names))) if name
        }
        self._index = index
        self.stream = RecordStream(
            _layout(header.format, self._references, len(names)),
            header.first_record,
            header.data_end,
            index,
            unmapped=header.format is Format.BAM,
        )

    @property
    def nbytes(self) -> int:
        # Tables come later; together they weigh about half of the index.
        index = self._index.nbytes * 3 // 2 if self._index is not None else 0
        return index + 150 * len(self._references)

    def check(self, source: ByteSource) -> None:
        """Compare the index with the data where that is cheap: its first and its last placed
        record.

        Raises `CorruptData` when they cannot belong together.
        """
        index, stream = self._index, self.stream
        if index is None:
            return
        reader = bgzf.BgzfReader(source)
        end, beyond = index.placed_end or stream.first_record, stream.data_end << 16
        if end != beyond:
            for record in walk(reader, stream.layout, end):
                if record.reference >= 0 or not stream.unmapped:
                    raise CorruptData("the index ends before the data do")
                break
        start = index.placed_start
        if start and (start != stream.first_record or start >= beyond):
            first = next(walk(reader, stream.layout, start), None)
            if first is None or first.offset != stream.first_record:
                raise CorruptData("the index does not begin with the data")

    def locate(self, region: Region) -> Interval | None:
        number = self._references.get(region.reference_name)
        if number is None:
            raise UnknownReference("this object has no such reference")
        if self._index is not None and self._index.table(number) is None:
            return None
        return Interval(number, region.start, region.end)

    def name(self, reference: int) -> str:
        return self._names[reference]

    def is_ready(self, region: Region) -> bool:
        number = self._references.get(region.reference_name, -1)
        return self._index is None or self._index.is_ready(number)

    def position(self, reference: int) -> int:
        table = self._index.table(reference) if self._index is not None else None
        return table.first if table is not None else 0

    def extent(self, interval: Interval) -> tuple[int, int]:
        table = self._index.table(interval.reference) if self._index is not None else None
        if table is None or interval.start >= interval.end:
            return 0, 0
        bounds = table.query(interval.start, interval.end, unmapped=self.stream.unmapped)
        if bounds.start >= bounds.end:
            return 0, 0
        return max(bounds.start, bounds.positioned) >> 16, (bounds.end >> 16) + bgzf.MAX_BLOCK

    def unplaced_start(self) -> int:
        return self._index.placed_end >> 16 if self._index is not None else 0

    def edges(self, selection: Selection) -> list[tuple[int, int]]:
        if selection.intervals is None:
            first, end = self.stream.first_record >> 16, self.stream.data_end
            return [(first, first + EDGE), (end - bgzf.MAX_BLOCK, end + bgzf.MAX_BLOCK)]
        ranges: list[tuple[int, int]] = []
        for interval in selection.intervals[:MOST_EDGES]:
            table = self._index.table(interval.reference) if self._index is not None else None
            if table is not None and interval.start < interval.end:
                bounds = table.query(interval.start, interval.end, unmapped=self.stream.unmapped)
                start, tail = bounds.start >> 16, bounds.tail >> 16
                if tail - start <= EDGE:
                    ranges.append((start, max(tail, start) + EDGE))
                else:
                    ranges += [(start, start + EDGE), (tail, tail + EDGE)]
        return ranges

    def plan(
        self, source: ByteSource, selection: Selection, *, strict: bool = False
    ) -> list[Segment]:
        return plan_stream(bgzf.BgzfReader(source), self.stream, selection, strict=strict)

    def count(self, data: bytes) -> int:
        return count_stream(data, self.stream.layout)


def _layout(kind: Format, references: Mapping[str, int], count: int) -> RecordFormat:
    if kind is Format.BAM:
        return bam.BamRecords(count)
    if kind is Format.BCF:
        return bcf.BcfRecords(count)
    return vcf.VcfRecords(references)
