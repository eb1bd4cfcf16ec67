"""CRAM containers by hand: where each begins, and which one ends the file."""

import struct
from collections.abc import Iterator

CRAM_EOF_V3 = bytes.fromhex(
    "0f000000ffffffff0fe0454f4600000000010005bdd94f0001000606010001000100ee63014b"
)
CRAM_EOF_V21 = bytes.fromhex("0b000000ffffffff0fe0454f460000000001000001000606010001000100")
FILE_DEFINITION = 26


def eof_marker(data: bytes) -> bytes:
    """The marker of the version that the file definition names."""
    if data[:4] != b"CRAM":
        raise ValueError("no CRAM file definition")
    return CRAM_EOF_V3 if data[4] >= 3 else CRAM_EOF_V21


def _itf8_length(first: int) -> int:
    return 1 + next((at for at, bit in enumerate((128, 64, 32, 16)) if not first & bit), 4)


def _ltf8_length(first: int) -> int:
    bits = (128, 64, 32, 16, 8, 4, 2, 1)
    return 1 + next((at for at, bit in enumerate(bits) if not first & bit), 8)


def _itf8(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    size = _itf8_length(first)
    if size == 5:
        value = (first & 15) << 28 | int.from_bytes(data[at + 1 : at + 4], "big") << 4
        return value | data[at + 4] & 15, at + 5
    mask = (1 << (8 - size)) - 1
    value = (first & mask) << 8 * (size - 1) | int.from_bytes(data[at + 1 : at + size], "big")
    return value, at + size


def containers(data: bytes, at: int, version: int) -> Iterator[tuple[int, int]]:
    """Offset and whole size of each container from `at`; `ValueError` when the last one is cut."""
    while at < len(data):
        (length,) = struct.unpack_from("<i", data, at)
        cursor = at + 4
        for _ in range(4):  # reference, start, span, number of records
            _, cursor = _itf8(data, cursor)
        for _ in range(2):  # record counter and bases; the counter is ITF8 before version 3
            wide = version >= 3
            cursor += (_ltf8_length if wide else _itf8_length)(data[cursor])
        _, cursor = _itf8(data, cursor)
        landmarks, cursor = _itf8(data, cursor)
        for _ in range(landmarks):
            _, cursor = _itf8(data, cursor)
        end = cursor + (4 if version >= 3 else 0) + length
        if length < 0 or end > len(data):
            raise ValueError(f"the container at byte {at} is cut")
        yield at, end - at
        at = end
