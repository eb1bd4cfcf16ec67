"""BGZF by hand: files whose blocks lie where a test wants them, and what blocks hold."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
PICARD_PAYLOAD = 65_498
"""Bytes that htsjdk puts into every block, wherever records end."""


def bgzf_block(payload: bytes, *, subfield: bytes = b"", level: int = 6) -> bytes:
    """One block; `subfield` is an extra subfield to put before BC (then XLEN > 6)."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = packer.compress(payload) + packer.flush()
    extra_length = 6 + len(subfield)
    size = 12 + extra_length + len(body) + 8
    return b"".join(
        (
            b"\x1f\x8b\x08\x04\0\0\0\0\0\xff",
            struct.pack("<H", extra_length),
            subfield,
            b"BC\x02\0",
            struct.pack("<H", size - 1),
            body,
            struct.pack("<II", zlib.crc32(payload), len(payload)),
        )
    )


def bgzf_blocks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, size and extra-field length of each block; `ValueError` where one is cut."""
    offset = 0
    while offset < len(data):
        if data[offset : offset + 4] != b"\x1f\x8b\x08\x04":
            raise ValueError(f"no BGZF block at byte {offset}")
        (extra_length,) = struct.unpack_from("<H", data, offset + 10)
        at, stop, size = offset + 12, offset + 12 + extra_length, 0
        while at < stop:
            name, length = data[at : at + 2], struct.unpack_from("<H", data, at + 2)[0]
            if name == b"BC":
                size = struct.unpack_from("<H", data, at + 4)[0] + 1
            at += 4 + length
        if not size or offset + size > len(data):
            raise ValueError(f"the BGZF block at byte {offset} is cut")
        yield offset, size, extra_length
        offset += size


def bgzf_payloads(data: bytes) -> Iterator[bytes]:
    """What each block inflates to; its CRC and length are checked."""
    for offset, size, extra_length in bgzf_blocks(data):
        payload = zlib.decompress(data[offset + 12 + extra_length : offset + size - 8], -15)
        if struct.unpack_from("<II", data, offset + size - 8) != (
            zlib.crc32(payload),
            len(payload),
        ):
            raise ValueError(f"the BGZF block at byte {offset} fails its checksum")
        yield payload


def inflated(data: bytes) -> bytes:
    return b"".join(bgzf_payloads(data))


def chunked(stream: bytes, size: int) -> Iterator[bytes]:
    """The stream in pieces of `size` bytes, wherever records end."""
    return (stream[start : start + size] for start in range(0, len(stream), size))


def write_bgzf(path: Path, payloads: Iterable[bytes], *, eof: bool = True) -> None:
    path.write_bytes(b"".join(map(bgzf_block, payloads)) + (BGZF_EOF if eof else b""))


def reblock(source: Path, target: Path, size: int) -> None:
    """The same stream in blocks of `size` bytes: header unflushed, records across borders."""
    write_bgzf(target, chunked(inflated(source.read_bytes()), size))


def split_at_blocks(data: bytes, pieces: int) -> list[bytes]:
    """The blocks of a file, its EOF marker left out, in about `pieces` runs."""
    blocks = [data[at : at + size] for at, size, _ in bgzf_blocks(data)]
    blocks = [block for block in blocks if block != BGZF_EOF]
    step = max(1, len(blocks) // pieces)
    return [b"".join(blocks[start : start + step]) for start in range(0, len(blocks), step)]


def with_inner_eof(source: Path, target: Path, pieces: int = 12) -> None:
    """The same blocks, with EOF markers left between them as a concatenation leaves them."""
    target.write_bytes(
        b"".join(run + BGZF_EOF for run in split_at_blocks(source.read_bytes(), pieces))
    )


def without_eof(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes().removesuffix(BGZF_EOF))


def with_subfield(source: Path, target: Path) -> dict[int, int]:
    """The same payloads in blocks with a subfield before BC; old block offset -> new offset."""
    data, moved, written = source.read_bytes(), {}, bytearray()
    blocks = list(bgzf_blocks(data))
    for (offset, _, _), payload in zip(blocks, bgzf_payloads(data), strict=True):
        moved[offset] = len(written)
        written += bgzf_block(payload, subfield=b"ZZ\x05\0hello") if payload else BGZF_EOF
    moved[len(data)] = len(written)
    target.write_bytes(written)
    return moved
