"""BGZF as far as the suite looks into it (SAMv1 4.1)."""

import struct
import zlib
from collections.abc import Iterator

_FIXED = 12
"""Bytes of a block before its extra fields."""


def blocks(data: bytes) -> Iterator[bytes]:
    """What each block holds. Raises `ValueError` where the bytes are not whole blocks."""
    at = 0
    while at < len(data):
        size = _size(data, at)
        if at + size > len(data):
            raise ValueError(f"the block at byte {at} is cut off")
        try:
            yield zlib.decompress(data[at : at + size], wbits=31)
        except zlib.error as error:
            raise ValueError(f"the block at byte {at} is broken: {error}") from None
        at += size


def is_bgzf(data: bytes) -> bool:
    """Whether the bytes begin with a block."""
    try:
        return _size(data, 0) > 0
    except ValueError:
        return False


def _size(data: bytes, at: int) -> int:
    if data[at : at + 4] != b"\x1f\x8b\x08\x04" or len(data) < at + _FIXED:
        raise ValueError(f"no block begins at byte {at}")
    extra = data[at + _FIXED : at + _FIXED + int.from_bytes(data[at + 10 : at + 12], "little")]
    while len(extra) >= 4:
        name, length = extra[:2], int.from_bytes(extra[2:4], "little")
        if name == b"BC" and length == 2 and len(extra) >= 6:
            return int(struct.unpack("<H", extra[4:6])[0]) + 1
        extra = extra[4 + length :]
    raise ValueError(f"the gzip member at byte {at} has no block size")
