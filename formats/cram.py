"""CRAM 2.0 to 3.1: the SAM header, containers, and what decoding one needs (CRAMv3 §6-8).

Records are not decoded here. Coordinates are 0-based and half-open; the file's are 1-based.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from formats.cram_blocks import CRC, INT32, Block, Cursor, itf8, read_block
from formats.errors import CorruptData
from formats.source import ByteSource

FILE_DEFINITION = 26
"""Size of the file definition in bytes (CRAMv3 §6)."""

UNPLACED = -1
"""Reference id of reads without a position."""

MULTIPLE = -2
"""Reference id of a container or slice whose records lie on several references."""

MAX_HEADER = 1 << 28
"""Largest SAM header accepted, in bytes: inflated, and as its container with what pads it."""

MAX_SLICES = 1 << 16
"""Most slices accepted in one container."""

_EOF_2 = bytes.fromhex("0b000000ffffffff0fe0454f460000000001000001000606010001000100")
_EOF_3 = bytes.fromhex(
    "0f000000ffffffff0fe0454f4600000000010005bdd94f0001000606010001000100ee63014b"
)
_FIRST_READ = 1024
_SHORTFALL = 8
_MAX_LENGTH = (1 << 31) - 1
_MAX_SLICE_HEADER = 1 << 20

_FILE_HEADER, _COMPRESSION_HEADER, _SLICE_HEADER = 0, 1, 2


class Version(NamedTuple):
    """A version of the format; compares as a tuple."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def eof_marker(self) -> bytes:
        """The EOF container that closes a file of this version; CRAM 2.0 has none (CRAMv3 §9)."""
        if self.major == 3:
            return _EOF_3
        return _EOF_2 if self.minor else b""

    def is_eof_marker(self, data: bytes) -> bool:
        """Whether `data` is the EOF container; early Java writers differ in one high nibble."""
        marker = self.eof_marker
        if not marker or len(data) != len(marker):
            return False
        return (data[:8], data[8] & 0x0F, data[9:]) == (marker[:8], marker[8] & 0x0F, marker[9:])


VERSIONS = (Version(2, 0), Version(2, 1), Version(3, 0), Version(3, 1))
"""The versions that can be read here."""


@dataclass(frozen=True, slots=True)
class Container:
    """The header of one container (CRAMv3 §7).

    `offset`: of the container in the file. `header_size`, `length`: bytes of its header and of
    the blocks that follow. `reference`: a reference id, `UNPLACED` or `MULTIPLE`; `start`, `end`:
    the interval its records cover, meaningful on one reference only. `landmarks`: offsets of its
    slices behind the header.
    """

    offset: int
    header_size: int
    length: int
    reference: int
    start: int
    end: int
    records: int
    landmarks: tuple[int, ...]

    @property
    def blocks_start(self) -> int:
        """Offset in the file of the first block."""
        return self.offset + self.header_size

    @property
    def stop(self) -> int:
        """Offset in the file of the byte after the container."""
        return self.blocks_start + self.length


@dataclass(frozen=True)
class CramHeader:
    """What stands before the first data container.

    `names`, `lengths` and `md5s` (lower case, None where @SQ has no M5) are in the order of
    reference ids; `block` is the verbatim `[0, data_start)`: file definition and header
    container, the header of every answer. `data_end` is where the closing EOF container begins,
    or the file's size.
    """

    version: Version
    text: str
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    md5s: tuple[str | None, ...]
    data_start: int
    data_end: int
    block: bytes = field(repr=False)

    @cached_property
    def references(self) -> Mapping[str, int]:
        """Reference ids by name."""
        return {name: number for number, name in enumerate(self.names)}


class Demand(NamedTuple):
    """What decoding a container takes from outside: bases of `[start, end)` when `external`.

    The interval has no meaning for a container on several references.
    """

    external: bool
    start: int
    end: int


def parse_header(source: ByteSource) -> CramHeader:
    """Read the file definition and the header container.

    Raises `CorruptData` for other versions, for broken blocks and for @SQ lines without SN or LN
    or with a repeated name.
    """
    version, block, data_start = _open(source)
    content = block.inflate(MAX_HEADER)
    length = Cursor(content, 0).int32()
    if not 0 <= length <= len(content) - 4:
        raise CorruptData("the SAM header of a CRAM file is cut short")
    text = content[4 : 4 + length].rstrip(b"\0").decode("utf-8", "surrogateescape")
    names, lengths, md5s = _parse_sequences(text)
    return CramHeader(
        version=version,
        text=text,
        names=names,
        lengths=lengths,
        md5s=md5s,
        data_start=data_start,
        data_end=_data_end(source, version, data_start),
        block=source.read(0, data_start),
    )


def open_file(source: ByteSource) -> tuple[Version, int]:
    """The version of a file, and where its first data container begins."""
    version, _, data_start = _open(source)
    return version, data_start


def read_container(source: ByteSource, offset: int, version: Version, limit: int) -> Container:
    """The header of the container at `offset`, which must end at or before `limit`.

    Raises `CorruptData` when no valid container stands there.
    """
    if not FILE_DEFINITION <= offset < limit:
        raise CorruptData("a CRAM container is expected outside the data")
    data = source.read(offset, min(offset + _FIRST_READ, limit))
    cursor = Cursor(data, 0)
    length = cursor.int32()
    reference, start, span, records = (cursor.itf8() for _ in range(4))
    if version.major == 2:
        cursor.itf8()
    else:
        cursor.ltf8()
    cursor.ltf8()
    blocks, slices = cursor.itf8(), cursor.itf8()
    if min(length, start, span, records, blocks, slices) < 0 or reference < MULTIPLE:
        raise CorruptData("a CRAM container header holds impossible numbers")
    if slices > min(length, MAX_SLICES):
        raise CorruptData("a CRAM container has too many slices")
    if offset + cursor.at + slices + length > limit:
        raise CorruptData("a CRAM container is cut short")
    if cursor.at + 5 * slices + 4 > len(data) == _FIRST_READ:
        cursor.data = source.read(offset, min(offset + cursor.at + 5 * slices + 4, limit))
    landmarks = tuple(cursor.itf8() for _ in range(slices))
    if version.major >= 3:
        cursor.check_crc(0)
    if any(not 0 <= landmark < length for landmark in landmarks):
        raise CorruptData("a CRAM slice lies outside its container")
    container = Container(
        offset=offset,
        header_size=cursor.at,
        length=length,
        reference=reference,
        start=start - 1,
        end=start - 1 + span,
        records=records,
        landmarks=landmarks,
    )
    if container.stop > limit:
        raise CorruptData("a CRAM container is cut short")
    return container


def walk(source: ByteSource, header: CramHeader) -> Iterator[Container]:
    """The containers from `data_start` to `data_end`, in file order; reads their headers only."""
    offset = header.data_start
    while offset < header.data_end:
        container = read_container(source, offset, header.version, header.data_end)
        yield container
        offset = container.stop


def demand(version: Version, container: Container, data: bytes) -> Demand:
    """What decoding takes from outside; `data` is the container with its header (CRAMv3 §8.4, 8.5).

    Raises `CorruptData` when the compression header or a slice header is broken.
    """
    start, end, external = _MAX_LENGTH, 0, False
    cursor = Cursor(data, container.header_size)
    for landmark in container.landmarks:
        if container.header_size + landmark < cursor.at:
            raise CorruptData("CRAM slices overlap")
        cursor.at = container.header_size + landmark
        block = read_block(cursor, version.major)
        if block.content_type != _SLICE_HEADER:
            raise CorruptData("a CRAM slice header was expected")
        head = Cursor(block.inflate(_MAX_SLICE_HEADER), 0)
        reference, first, span, _ = (head.itf8() for _ in range(4))
        head.itf8() if version.major == 2 else head.ltf8()
        head.itf8()
        identifiers = head.itf8()
        if identifiers < 0 or span < 0:
            raise CorruptData("a CRAM slice header holds impossible numbers")
        for _ in range(identifiers):
            head.itf8()
        if reference != UNPLACED and head.itf8() < 0:
            external = True
            start, end = min(start, first - 1), max(end, first - 1 + span)
    if external:
        cursor = Cursor(data, container.header_size)
        external = _reference_required(read_block(cursor, version.major))
    return Demand(external, max(0, start), end)


def mini_header(version: Version, text: str) -> bytes:
    """File definition and header container for `text`, uncompressed: to decode containers alone."""
    encoded = text.encode("utf-8", "surrogateescape")
    content = INT32.pack(len(encoded)) + encoded
    block = bytes((0, _FILE_HEADER)) + itf8(0) + itf8(len(content)) * 2 + content
    container = bytes(6) + b"\x01\x01\x00"  # six zeros, one block, one landmark at 0
    if version.major >= 3:
        block += CRC.pack(zlib.crc32(block))
    container = INT32.pack(len(block)) + container
    if version.major >= 3:
        container += CRC.pack(zlib.crc32(container))
    return b"CRAM" + bytes(version) + bytes(20) + container + block


def _open(source: ByteSource) -> tuple[Version, Block, int]:
    """The version, the block with the SAM header, and where the data begin."""
    definition = source.read(0, FILE_DEFINITION)
    if len(definition) < FILE_DEFINITION or definition[:4] != b"CRAM":
        raise CorruptData("no CRAM file")
    version = Version(definition[4], definition[5])
    if version not in VERSIONS:
        raise CorruptData(f"CRAM {version} is not supported")
    container = read_container(source, FILE_DEFINITION, version, source.size)
    if container.length > MAX_HEADER:
        raise CorruptData("the SAM header of a CRAM file is too large")
    # Where padding lengthens the sizes of the block, htslib names a CRAM 2 container some bytes
    # shorter than it is; the block is right, and htslib reads it so.
    cursor = Cursor(source.read(container.blocks_start, container.stop + _SHORTFALL), 0)
    block = read_block(cursor, version.major)
    if block.content_type != _FILE_HEADER:
        raise CorruptData("the first CRAM block is no SAM header")
    return version, block, max(container.stop, container.blocks_start + cursor.at)


def _data_end(source: ByteSource, version: Version, start: int) -> int:
    """Before the closing EOF container; a file may end without one."""
    end = source.size - len(version.eof_marker)
    if end >= start and version.is_eof_marker(source.read(end, source.size)):
        return end
    return source.size


def _parse_sequences(
    text: str,
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str | None, ...]]:
    names: dict[str, None] = {}
    lengths: list[int] = []
    md5s: list[str | None] = []
    for line in text.split("\n"):
        if not line.startswith("@SQ\t"):
            continue
        fields = {item[:2]: item[3:] for item in line.rstrip("\r").split("\t")[1:]}
        name, length = fields.get("SN", ""), fields.get("LN", "")
        if not name or name in names:
            raise CorruptData("an @SQ line without a name or with a repeated one")
        if not (length.isascii() and length.isdigit() and int(length) <= _MAX_LENGTH):
            raise CorruptData("an @SQ line without a valid length")
        names[name] = None
        lengths.append(int(length))
        md5s.append(fields["M5"].lower() if fields.get("M5") else None)
    return tuple(names), tuple(lengths), tuple(md5s)


def _reference_required(block: Block) -> bool:
    """RR of the preservation map (CRAMv3 §8.4); true where it does not say, as the default is."""
    if block.content_type != _COMPRESSION_HEADER:
        raise CorruptData("a CRAM compression header was expected")
    if block.method > 3:
        return True  # a codec that is not read here: rather ask for a reference too many
    cursor = Cursor(block.inflate(MAX_HEADER), 0)
    cursor.itf8()
    for _ in range(cursor.itf8()):
        key = cursor.take(2)
        if key == b"RR":
            return cursor.take(1) != b"\0"
        if key == b"SM":
            cursor.take(5)
        elif key == b"TD":
            cursor.take(cursor.itf8())
        else:
            cursor.take(1)
    return True
