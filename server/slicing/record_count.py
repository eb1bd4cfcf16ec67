"""How many records a data block holds, for the audit: told from its bytes, whatever planned it."""

from formats.bgzf import BgzfReader
from formats.cram import FILE_DEFINITION, CramHeader, read_container
from formats.records import RecordFormat, walk
from formats.source import ByteSource, BytesSource
from server.slicing.segments import Segment, Stored

MOST_COUNTED = 4 << 20
"""Bytes of a block up to which its records are counted: more would cost too much."""


def block_bytes(source: ByteSource, segments: tuple[Segment, ...]) -> bytes:
    """The bytes of a block, those that stand in the source read from it."""
    return b"".join(
        source.read(each.start, each.end) if isinstance(each, Stored) else each for each in segments
    )


def count_stream(data: bytes, layout: RecordFormat) -> int:
    """The records of a body block of BAM, VCF or BCF; `CorruptData` when it holds something
    else."""
    return sum(1 for _ in walk(BgzfReader(BytesSource(data)), layout, 0))


def count_cram(data: bytes, header: CramHeader) -> int:
    """The same of CRAM, by what its containers say."""
    source = BytesSource(bytes(FILE_DEFINITION) + data)
    count, offset = 0, FILE_DEFINITION
    while offset < source.size:
        container = read_container(source, offset, header.version, source.size)
        count += container.records
        offset = container.stop
    return count
