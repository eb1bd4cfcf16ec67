"""BGZF as far as the suite looks into it (SAMv1 4.1), and gzip where it is no more than that."""

import gzip
import io
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


def beginning(data: bytes, length: int = 16) -> bytes:
    """The first bytes of a file, without its compression; of broken gzip, none."""
    try:
        return next(unpacked(data, length), b"") if is_gzip(data) else data[:length]
    except ValueError:
        return b""


def unpacked_size(data: bytes, most: int) -> int:
    """Bytes that gzip, in one member or many, holds; a piece is held at a time, and few more than
    `most` are looked at. Raises `ValueError` where it is broken or cut off."""
    total = 0
    for piece in unpacked(data):
        total += len(piece)
        if total > most:
            break
    return total


def unpacked(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    """What gzip holds, in pieces. Raises `ValueError` where it is broken or cut off."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while piece := file.read(size):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"truncated or broken: {error}") from None


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as gzip, and so BGZF, does."""
    return data[:2] == b"\x1f\x8b"


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
