"""BGZF: gzip members of at most 64 KiB that can be found and inflated one by one (SAMv1 § 4.1).

Virtual offsets are plain integers: the offset of a block in the file, shifted left by 16, plus an
offset into its inflated bytes.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import deflate

from formats.errors import CorruptData, LimitExceeded
from formats.source import ByteSource

EOF_MARKER = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that closes a BGZF file (SAMv1 § 4.1.2)."""

MAX_BLOCK = 1 << 16
"""Largest size of a block, deflated or inflated, in bytes."""

MAX_PAYLOAD = 65_280
"""Inflated bytes put into a block that is written here: leaves room should they not compress."""

CODEC = f"deflate-{deflate.__version__}-1"
"""Codec and level of the blocks written here; equal codecs make equal bytes on every machine."""

_MEMBER = struct.Struct("<4sIBBH")
_HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00"
_SIZE = struct.Struct("<H")
_FOOTER = struct.Struct("<II")
_LEVEL = 1
_BLOCK_COST = 1024


class Block(NamedTuple):
    """One BGZF block: its offset and size in the file, and its inflated bytes."""

    offset: int
    size: int
    data: bytes

    @property
    def end(self) -> int:
        """Offset of the byte after the block in the file."""
        return self.offset + self.size


def block_size(data: bytes, at: int = 0) -> int:
    """Size in bytes of the block that begins at `data[at]`.

    The BC subfield may stand anywhere among the extra fields. Raises `CorruptData` when no BGZF
    block begins there or its header is cut short.
    """
    if len(data) < at + 18:
        raise CorruptData("a BGZF block is cut short")
    magic, _, _, _, extra = _MEMBER.unpack_from(data, at)
    if magic != b"\x1f\x8b\x08\x04":
        raise CorruptData("a BGZF block was expected")
    position, end = at + 12, at + 12 + extra
    while position + 4 <= min(end, len(data)):
        (length,) = _SIZE.unpack_from(data, position + 2)
        if data[position : position + 2] == b"BC" and length == 2 and position + 6 <= len(data):
            size: int = _SIZE.unpack_from(data, position + 4)[0] + 1
            if size < 12 + extra + 8:
                raise CorruptData("a BGZF block is smaller than its own header")
            return size
        position += 4 + length
    raise CorruptData("a BGZF block without a size")


def inflate(block: bytes) -> bytes:
    """The inflated bytes of one whole block; CRC32 and size are verified (`CorruptData`)."""
    (extra,) = _SIZE.unpack_from(block, 10)
    crc, size = _FOOTER.unpack_from(block, len(block) - 8)
    if size > MAX_BLOCK:
        raise CorruptData("a BGZF block inflates to more than 64 KiB")
    if not size:
        return b""
    try:
        data = bytes(deflate.deflate_decompress(block[12 + extra : -8], size))
    except deflate.DeflateError as error:
        raise CorruptData("a BGZF block cannot be inflated") from error
    if len(data) != size or deflate.crc32(data) != crc:
        raise CorruptData("a BGZF block fails its checksum")
    return data


def compress(data: bytes) -> bytes:
    """`data` as a run of BGZF blocks (XLEN 6, BC only), without an EOF marker; empty for no
    data."""
    return b"".join(
        _deflate_block(data[at : at + MAX_PAYLOAD]) for at in range(0, len(data), MAX_PAYLOAD)
    )


def _deflate_block(data: bytes) -> bytes:
    body = bytes(deflate.deflate_compress(data, _LEVEL))
    if len(body) + 26 > MAX_BLOCK:
        body = b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    footer = _FOOTER.pack(deflate.crc32(data), len(data))
    return _HEADER + _SIZE.pack(len(body) + 25) + body + footer


class BgzfReader:
    """Blocks of a source, inflated on demand, with read-ahead.

    Not thread-safe: one reader serves one plan. `inflated` counts blocks. `limit` bounds the bytes
    that are inflated before the next `renew`; a block counts for a kilobyte at least.
    """

    __slots__ = ("_ahead", "_buffer", "_recent", "_spent", "_start", "inflated", "limit", "source")

    def __init__(self, source: ByteSource, ahead: int = 1 << 17, limit: int = 1 << 32) -> None:
        self.source = source
        self.limit = limit
        self.inflated = 0
        self._spent = 0
        self._ahead = max(ahead, MAX_BLOCK)
        self._start = 0
        self._buffer = b""
        self._recent: dict[int, Block] = {}

    def block(self, offset: int) -> Block:
        """The block that begins at `offset` in the file; `CorruptData` when there is none."""
        recent = self._recent.get(offset)
        if recent is not None:
            return recent
        at = self._fill(offset, 18)
        # Whatever its extra fields, the header must be at hand whole.
        at = self._fill(offset, 12 + int.from_bytes(self._buffer[at + 10 : at + 12], "little"))
        size = block_size(self._buffer, at)
        at = self._fill(offset, size)
        if len(self._buffer) - at < size:
            raise CorruptData("the last BGZF block is cut short")
        block = Block(offset, size, inflate(self._buffer[at : at + size]))
        self.inflated += 1
        self._spent += max(len(block.data), _BLOCK_COST)
        if self._spent > self.limit:
            raise LimitExceeded("the edge of a slice needs more data than one may inflate")
        if len(self._recent) >= 8:
            del self._recent[next(iter(self._recent))]
        self._recent[offset] = block
        return block

    def renew(self) -> None:
        """Begin a new piece of work, with the whole `limit` before it."""
        self._spent = 0

    def blocks(self, offset: int) -> Iterator[Block]:
        """The blocks from `offset` to the physical end of the file, empty ones included."""
        size = self.source.size
        if offset > size:
            raise CorruptData("an offset lies beyond the end of the file")
        while offset < size:
            block = self.block(offset)
            yield block
            offset = block.end

    def is_plain(self, offset: int) -> bool:
        """Whether the block at `offset` has the usual header, with no subfield but BC."""
        header = self.source.read(offset, offset + 16)
        return header[:4] == _HEADER[:4] and header[10:] == _HEADER[10:]

    def reframed(self, start: int, end: int) -> bytes:
        """The blocks of `[start, end)` with the usual header; their deflated bytes stay."""
        pieces = []
        while start < end:
            at = self._fill(start, 18)
            size = block_size(self._buffer, at)
            at = self._fill(start, size)
            block = self._buffer[at : at + size]
            if len(block) < size:
                raise CorruptData("the last BGZF block is cut short")
            (extra,) = _SIZE.unpack_from(block, 10)
            body = block[12 + extra :]
            pieces.append(_HEADER + _SIZE.pack(len(body) + 17) + body)
            start += size
        return b"".join(pieces)

    def next_border(self, offset: int) -> int:
        """The first block border at or after `offset` (any byte of the file), or the file's size.

        A candidate counts only if it inflates with the right checksum and a block, or the end of
        the file, follows it.
        """
        size = self.source.size
        while offset < size:
            window = self.source.read(offset, offset + 2 * MAX_BLOCK)
            at = window.find(b"\x1f\x8b\x08\x04")
            while at >= 0 and at < MAX_BLOCK:
                if self._is_block(offset + at):
                    return offset + at
                at = window.find(b"\x1f\x8b\x08\x04", at + 1)
            offset += MAX_BLOCK
        return size

    def _is_block(self, offset: int) -> bool:
        try:
            following = self.block(offset).end
            if following < self.source.size:
                block_size(self.source.read(following, following + 4096))
        except CorruptData:
            return False
        return following <= self.source.size

    def _fill(self, offset: int, length: int) -> int:
        """Have `[offset, offset + length)` in the buffer; where `offset` stands in it."""
        at = offset - self._start
        if at < 0 or at + length > len(self._buffer):
            self._buffer = self.source.read(offset, offset + self._ahead)
            self._start, at = offset, 0
        return at


def data_end(source: ByteSource, end: int | None = None, start: int = 0) -> int:
    """Offset of the EOF marker, or run of them, that ends at `end`; `end` itself without one.

    `end` is the end of the source unless told; nothing before `start` is looked at.
    """
    end = source.size if end is None else end
    size = len(EOF_MARKER)
    while end - start >= size:
        tail = source.read(max(start, end - 1024 * size), end)
        at = len(tail)
        while at >= size and tail[at - size : at] == EOF_MARKER:
            at -= size
        end -= len(tail) - at
        if at:
            break
    return end
