"""What answering one region takes: what the index says, what is decoded, and what is sent."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pysam

from formats.bgzf import BgzfReader
from formats.cram import Container, read_container
from formats.errors import CorruptData, MissingReference
from formats.regions import UNPLACED, Interval, Region
from formats.source import ByteSource
from formats.windows import Bounds
from server.model import Format
from server.slicing.cram import plan_cram
from server.slicing.cram_slicer import CramSlicer
from server.slicing.library import Header
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection
from server.slicing.slicers import Slicer, StreamHeader, StreamSlicer
from server.slicing.stream import plan_stream

_PIECE = 1 << 20


@dataclass(slots=True)
class Explanation:
    """The cost and the parts of one answer. Offsets are in the file, `[start, end)`.

    `bounds` and `chunks` are virtual offsets (BAM, VCF, BCF); `containers` are offsets of those
    that the index selects (CRAM). `decoded`: BGZF blocks that were inflated, or containers of which
    records were left out. `segments`: the body. `plain`: bytes that a server of whole blocks or
    containers would send.
    """

    bounds: Bounds | None = None
    chunks: list[tuple[int, int]] = field(default_factory=list)
    containers: list[int] = field(default_factory=list)
    decoded: int = 0
    segments: list[Segment] = field(default_factory=list)
    header: int = 0
    eof: int = 0
    plain: int = 0
    records: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def reencoded(self) -> int:
        """Bytes of the body that were decoded, cut and encoded again."""
        return sum(len(segment) for segment in self.segments if isinstance(segment, bytes))

    @property
    def verbatim(self) -> int:
        """Bytes of the body that are the file's own."""
        return sum(len(segment) for segment in self.segments if isinstance(segment, Stored))

    @property
    def total(self) -> int:
        """Bytes of the whole answer."""
        return self.header + self.reencoded + self.verbatim + self.eof


def explain_region(
    source: ByteSource, header: Header, slicer: Slicer, region: Region
) -> Explanation:
    """Answer a region as the server does, and tell how. Raises what planning raises."""
    unplaced = region.reference_name == UNPLACED
    interval = None if unplaced else slicer.locate(region)
    selection = Selection(() if interval is None else (interval,), unplaced=unplaced)
    told = Explanation(header=len(header.blocks), eof=len(header.eof))
    kind = Format.CRAM
    if isinstance(slicer, CramSlicer):
        _explain_containers(source, slicer, interval, selection, told)
    elif isinstance(slicer, StreamSlicer) and isinstance(header, StreamHeader):
        kind = header.format
        _explain_stream(source, header, slicer, interval, selection, told)
    told.records = _count(source, (header.blocks, *told.segments, header.eof), kind)
    return told


def _explain_stream(
    source: ByteSource,
    header: StreamHeader,
    slicer: StreamSlicer,
    interval: Interval | None,
    selection: Selection,
    told: Explanation,
) -> None:
    reader, stream = BgzfReader(source), slicer.stream
    told.segments = plan_stream(reader, stream, selection)
    told.decoded = reader.inflated
    table = stream.index.table(interval.reference) if stream.index and interval else None
    if table is not None and interval is not None:
        told.bounds = table.query(interval.start, interval.end, unmapped=stream.unmapped)
        told.chunks = table.chunks(interval.start, interval.end)
    elif selection.unplaced and stream.index is not None:
        begin = stream.index.placed_end or stream.first_record
        told.chunks = [(begin, header.data_end << 16)] if begin >> 16 < header.data_end else []
    ranges = [(0, _block_end(reader, header.first_record))]
    ranges += ((begin >> 16, _block_end(reader, end)) for begin, end in told.chunks)
    told.plain = _covered(ranges) + len(header.eof)


def _block_end(reader: BgzfReader, offset: int) -> int:
    """Where the blocks end that hold what lies before a virtual offset."""
    return reader.block(offset >> 16).end if offset & 0xFFFF else offset >> 16


def _covered(ranges: Iterable[tuple[int, int]]) -> int:
    total = reached = 0
    for start, end in sorted(ranges):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _explain_containers(
    source: ByteSource,
    slicer: CramSlicer,
    interval: Interval | None,
    selection: Selection,
    told: Explanation,
) -> None:
    header, index = slicer.header, slicer.index
    trimmer = slicer.services.trimmer(slicer.key)
    try:
        told.segments = plan_cram(source, header, index, selection, trimmer)
    except MissingReference as error:
        told.notes.append(f"{error}: whole containers are sent at the edges")
        told.segments = slicer.plan(source, selection)
    if index is not None:
        told.containers = index.unplaced() if interval is None else index.containers(*interval)
    containers = [
        read_container(source, offset, header.version, header.data_end)
        for offset in told.containers
    ]
    told.decoded = sum(not _is_stored(container, told.segments) for container in containers)
    sizes = sum(container.stop - container.offset for container in containers)
    told.plain = told.header + sizes + told.eof


def _is_stored(container: Container, segments: list[Segment]) -> bool:
    stored = (segment for segment in segments if isinstance(segment, Stored))
    return any(each.start <= container.offset < each.end for each in stored)


def _count(source: ByteSource, segments: Iterable[Segment], kind: Format) -> int:
    """How many records htslib finds in the answer; `CorruptData` when it cannot read it."""
    verbosity = pysam.set_verbosity(0)
    try:
        with tempfile.NamedTemporaryFile(prefix="htsgate-", suffix=f".{kind.lower()}") as file:
            for segment in segments:
                file.writelines(_pieces(source, segment))
            file.flush()
            if kind in (Format.VCF, Format.BCF):
                with pysam.VariantFile(file.name) as variants:
                    return sum(1 for _ in variants)
            # Flags alone: then CRAM decodes without its reference.
            options = ["required_fields=0x2"] if kind is Format.CRAM else []
            with pysam.AlignmentFile(file.name, check_sq=False, format_options=options) as reads:
                return sum(1 for _ in reads.fetch(until_eof=True))
    except (OSError, ValueError) as error:
        raise CorruptData(f"htslib cannot read the answer: {error}") from error
    finally:
        pysam.set_verbosity(verbosity)


def _pieces(source: ByteSource, segment: Segment) -> Iterator[bytes]:
    if isinstance(segment, bytes):
        yield segment
        return
    for start in range(segment.start, segment.end, _PIECE):
        yield source.read(start, min(start + _PIECE, segment.end))
