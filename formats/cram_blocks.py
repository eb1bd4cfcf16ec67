"""Blocks of a CRAM container and the integers in them (CRAMv3 §2.3, 8)."""

import bz2
import lzma
import struct
import zlib
from typing import NamedTuple

from formats.errors import CorruptData

INT32 = struct.Struct("<i")
CRC = struct.Struct("<I")


class Cursor:
    """Reads integers one after the other; `CorruptData` when the bytes run out."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        begin = self.at
        if count < 0 or begin + count > len(self.data):
            raise CorruptData("a CRAM structure is cut short")
        self.at = begin + count
        return self.data[begin : self.at]

    def int32(self) -> int:
        """A signed 32-bit integer of four bytes."""
        value: int = INT32.unpack(self.take(4))[0]
        return value

    def itf8(self) -> int:
        """A signed 32-bit integer of one to five bytes."""
        first = self.take(1)[0]
        if first < 0x80:
            return first
        if first < 0xF0:
            extra = 1 if first < 0xC0 else 2 if first < 0xE0 else 3
            return (first & 0x7F >> extra) << 8 * extra | int.from_bytes(self.take(extra), "big")
        rest = self.take(4)
        value = (first & 0x0F) << 28 | int.from_bytes(rest[:3], "big") << 4 | rest[3] & 0x0F
        return value - (1 << 32) if value >> 31 else value

    def ltf8(self) -> int:
        """A signed 64-bit integer of one to nine bytes."""
        first = self.take(1)[0]
        extra = 8 - (first ^ 0xFF).bit_length()
        value = (first & 0x7F >> extra) << 8 * extra | int.from_bytes(self.take(extra), "big")
        return value - (1 << 64) if value >> 63 else value

    def check_crc(self, begin: int) -> None:
        """Read a CRC32 and compare it with that of the bytes from `begin` up to it."""
        computed = zlib.crc32(self.data[begin : self.at])
        if CRC.unpack(self.take(4))[0] != computed:
            raise CorruptData("a CRAM checksum does not match")


class Block(NamedTuple):
    """One block: its compression method, kind, inflated size, and bytes as stored."""

    method: int
    content_type: int
    raw_size: int
    data: bytes

    def inflate(self, limit: int) -> bytes:
        """The content; raw, gzip, bzip2 and LZMA only, at most `limit` bytes."""
        if self.raw_size > limit:
            raise CorruptData("a CRAM block is larger than its kind may be")
        try:
            content = self._inflate()
        except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
            raise CorruptData("a CRAM block cannot be inflated") from error
        if len(content) != self.raw_size:
            raise CorruptData("a CRAM block has not the size it names")
        return content

    def _inflate(self) -> bytes:
        bound = self.raw_size + 1
        match self.method:
            case 0:
                return self.data
            case 1:
                return zlib.decompressobj(31).decompress(self.data, bound)
            case 2:
                return bz2.BZ2Decompressor().decompress(self.data, bound)
            case 3:
                return lzma.LZMADecompressor(memlimit=1 << 28).decompress(self.data, bound)
        raise CorruptData("a CRAM header block uses an unknown compression method")


def read_block(cursor: Cursor, major: int) -> Block:
    """The block at the cursor, its checksum verified (CRAMv3 §8)."""
    begin = cursor.at
    method, content_type = cursor.take(2)
    cursor.itf8()
    size, raw_size = cursor.itf8(), cursor.itf8()
    data = cursor.take(size)
    if major >= 3:
        cursor.check_crc(begin)
    if raw_size < 0:
        raise CorruptData("a CRAM block of negative size")
    return Block(method, content_type, raw_size, data)


def itf8(value: int) -> bytes:
    """A non-negative integer as ITF8 in its shortest form, which htslib takes for granted."""
    for extra in range(4):
        if value < 1 << 7 * (extra + 1):
            prefix = 0xFF00 >> extra & 0xFF
            return (value | prefix << 8 * extra).to_bytes(extra + 1, "big")
    return bytes((0xF0 | value >> 28, *(value >> 4).to_bytes(4, "big")[1:], value & 0x0F))
