"""Indexes without data: that of a 30x human genome, as BAI and as CSI, and a small one.

Every window has a leaf bin of one chunk; between two windows lie the reads that span their border,
in the smallest bin that holds both. That is how a dense, sorted file is indexed.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs.scale import Scale
from formats.bgzf import EOF_MARKER, compress

WINDOW = 1 << 14
_BYTES = 238_000  # of file in a window: 45 GB in a genome
_BORDER = 2_200  # of file with the reads that span a border
_LEAVES = 4_681  # the first leaf bin
_PSEUDO = 37_450
_SMALL = 1_700_000  # bases: about 5 kB of index


def write_indexes(directory: Path, scale: Scale) -> None:
    """`genome.bai`, `genome.csi` and `small.bai`."""
    (directory / "genome.bai").write_bytes(_bai(scale.genome))
    (directory / "genome.csi").write_bytes(compress(_csi(scale.genome)) + EOF_MARKER)
    (directory / "small.bai").write_bytes(_bai((_SMALL,)))


def _bai(lengths: Sequence[int]) -> bytes:
    parts = [b"BAI\x01", struct.pack("<I", len(lengths))]
    at = 1 << 32
    for length in lengths:
        bins, linear, last = _reference(length, at)
        parts.append(struct.pack("<I", len(bins) + 1))
        for number, chunks in bins.items():
            parts.append(struct.pack(f"<II{len(chunks)}Q", number, len(chunks) // 2, *chunks))
        parts.append(struct.pack("<II4Q", _PSEUDO, 2, at, last, length // 5, 0))
        parts.append(struct.pack(f"<I{len(linear)}Q", len(linear), *linear))
        at = last
    return b"".join([*parts, bytes(8)])


def _csi(lengths: Sequence[int]) -> bytes:
    parts = [b"CSI\x01", struct.pack("<iiII", 14, 5, 0, len(lengths))]
    at = 1 << 32
    for length in lengths:
        bins, linear, last = _reference(length, at)
        parts.append(struct.pack("<I", len(bins) + 1))
        for number, chunks in bins.items():
            layout = f"<IQI{len(chunks)}Q"
            first = linear[_first_window(number)]
            parts.append(struct.pack(layout, number, first, len(chunks) // 2, *chunks))
        parts.append(struct.pack("<IQI4Q", _PSEUDO, 0, 2, at, last, length // 5, 0))
        at = last
    return b"".join([*parts, bytes(8)])


def _reference(length: int, at: int) -> tuple[dict[int, list[int]], list[int], int]:
    """Bins with their chunk borders, the linear index, and the virtual offset where it all ends."""
    windows = -(-length // WINDOW)
    bins: dict[int, list[int]] = {}
    linear = []
    for window in range(windows):
        linear.append(at - (_BORDER << 16) if window else at)
        end = at + (_BYTES << 16) + 11_000
        bins[_LEAVES + window] = [at, end]
        at = end
        if window + 1 < windows:
            left, right = _LEAVES + window, _LEAVES + window + 1
            while left != right:
                left, right = (left - 1) >> 3, (right - 1) >> 3
            end = at + (_BORDER << 16)
            bins.setdefault(left, []).extend((at, end))
            at = end
    return bins, linear, at


def _first_window(number: int) -> int:
    """The first window that a bin covers."""
    while number < _LEAVES:
        number = 8 * number + 1
    return number - _LEAVES
