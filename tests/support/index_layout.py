"""Indexes by hand: BAI, TBI and CSI without their metadata, or for a file whose blocks moved."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.bgzf_layout import BGZF_EOF, bgzf_block, inflated

Chunk = tuple[int, int]


@dataclass(slots=True)
class ReferenceIndex:
    """Bins (number -> loffset, chunks; loffset 0 where the kind has none) and linear index."""

    bins: dict[int, tuple[int, list[Chunk]]]
    linear: list[int]


@dataclass(slots=True)
class Index:
    """A parsed index: what precedes the references, verbatim, and the references."""

    magic: bytes
    preamble: bytes
    pseudo_bin: int
    references: list[ReferenceIndex]
    unplaced: bytes

    def without_metadata(self) -> "Index":
        """As old writers left it: no pseudo-bins, no count of unplaced reads."""
        references = [
            ReferenceIndex(
                {number: held for number, held in each.bins.items() if number != self.pseudo_bin},
                each.linear,
            )
            for each in self.references
        ]
        return Index(self.magic, self.preamble, self.pseudo_bin, references, b"")

    def moved(self, offsets: Mapping[int, int]) -> "Index":
        """For the same payloads in blocks at other offsets."""

        def move(virtual: int) -> int:
            return offsets[virtual >> 16] << 16 | virtual & 0xFFFF

        def moved_bin(number: int, held: tuple[int, list[Chunk]]) -> tuple[int, list[Chunk]]:
            loffset, chunks = held
            if number == self.pseudo_bin:
                return move(loffset), [(move(chunks[0][0]), move(chunks[0][1])), *chunks[1:]]
            return move(loffset), [(move(begin), move(end)) for begin, end in chunks]

        references = [
            ReferenceIndex(
                {number: moved_bin(number, held) for number, held in each.bins.items()},
                [move(virtual) for virtual in each.linear],
            )
            for each in self.references
        ]
        return Index(self.magic, self.preamble, self.pseudo_bin, references, self.unplaced)


def read_index(path: Path) -> Index:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = inflated(data)
    magic, csi = data[:4], data[:4] == b"CSI\x01"
    pseudo_bin, at = 37_450, 4
    if csi:
        _, depth, auxiliary = struct.unpack_from("<iii", data, 4)
        pseudo_bin, at = ((1 << (depth * 3 + 3)) - 1) // 7 + 1, 16 + auxiliary
        (count,) = struct.unpack_from("<i", data, at)
        preamble = data[4:at]
    elif magic == b"TBI\x01":
        (count,) = struct.unpack_from("<i", data, 4)
        at = 36 + int(struct.unpack_from("<i", data, 32)[0])
        preamble = data[8:at]
        at -= 4
    else:
        (count,) = struct.unpack_from("<i", data, 4)
        preamble = b""
    at += 4
    references = []
    for _ in range(count):
        reference = ReferenceIndex({}, [])
        (bins,) = struct.unpack_from("<i", data, at)
        at += 4
        for _ in range(bins):
            (number,) = struct.unpack_from("<I", data, at)
            loffset = int(struct.unpack_from("<Q", data, at + 4)[0]) if csi else 0
            at += 12 if csi else 4
            (chunks,) = struct.unpack_from("<i", data, at)
            at += 4
            flat = struct.unpack_from(f"<{2 * chunks}Q", data, at)
            at += 16 * chunks
            reference.bins[number] = loffset, list(zip(flat[::2], flat[1::2], strict=True))
        if not csi:
            (windows,) = struct.unpack_from("<i", data, at)
            reference.linear = list(struct.unpack_from(f"<{windows}Q", data, at + 4))
            at += 4 + 8 * windows
        references.append(reference)
    return Index(magic, preamble, pseudo_bin, references, data[at:])


def write_index(path: Path, index: Index) -> None:
    csi, tbi = index.magic == b"CSI\x01", index.magic == b"TBI\x01"
    count = struct.pack("<i", len(index.references))
    parts = [index.magic, *((count, index.preamble) if tbi else (index.preamble, count))]
    for reference in index.references:
        parts.append(struct.pack("<i", len(reference.bins)))
        for number, (loffset, chunks) in reference.bins.items():
            parts.append(struct.pack("<IQ", number, loffset) if csi else struct.pack("<I", number))
            parts.append(struct.pack("<i", len(chunks)))
            parts.extend(struct.pack("<QQ", *chunk) for chunk in chunks)
        if not csi:
            parts.append(struct.pack("<i", len(reference.linear)))
            parts.append(struct.pack(f"<{len(reference.linear)}Q", *reference.linear))
    data = b"".join((*parts, index.unplaced))
    if csi or tbi:
        data = b"".join(bgzf_block(data[at : at + 60_000]) for at in range(0, len(data), 60_000))
        data += BGZF_EOF
    path.write_bytes(data)
