"""BAI, CSI and TBI as one structure: bins of chunks per reference, and O(1) window tables over
them.

A *window* is one `2**min_shift` stretch of a reference. Bin `b` of level `l` covers the windows
`f(b)` to `g(b)` (SAMv1 § 5.3, CSIv1). Parsing walks the index once, remembers where each reference
lies and checks every count against the bytes that remain; a reference's table is built when it is
first asked for.
"""

import struct
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from formats.bgzf import block_size, inflate
from formats.errors import CorruptData
from formats.windows import Bins, WindowTable, build_table

MAX_INDEX_BYTES = 1 << 29
"""Largest index accepted, inflated, in bytes."""

MAX_TABLE_BYTES = 1 << 28
"""Most memory that the tables of one index take, in bytes; the oldest are dropped beyond it."""

MAX_REFERENCES = 1 << 24
"""Largest number of references accepted in an index."""


class _Extent(NamedTuple):
    """Where one reference lies in the index (in 32-bit words), and what its pseudo-bin says."""

    bins: int
    n_bin: int
    linear: int
    n_intv: int
    unmapped: int | None
    ref_begin: int
    ref_end: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """What differs between the kinds of index: geometry, and the words before a bin's chunks."""

    min_shift: int
    depth: int
    has_loffset: bool


class BinningIndex:
    """A parsed BAI, CSI or TBI. Immutable but for the tables it builds on demand; thread-safe.

    `names` are the reference names that a TBI, or a CSI of text, carries (None otherwise), in the
    order of the reference ids. `references` is the number of references.
    """

    def __init__(
        self,
        layout: _Layout,
        words: memoryview,
        extents: list[_Extent],
        names: tuple[str, ...] | None,
    ) -> None:
        self.min_shift = layout.min_shift
        self.depth = layout.depth
        self.names = names
        self.references = len(extents)
        self._layout = layout
        self._words = words
        self._extents = extents
        self._tables: dict[int, WindowTable | None] = {}
        self._held = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Approximate memory held, in bytes (tables included)."""
        return len(self._words) + 128 * len(self._extents) + self._held

    def table(self, reference: int) -> WindowTable | None:
        """The window table of a reference; None when the index has no record of it."""
        try:
            return self._tables[reference]
        except KeyError:
            pass
        if not 0 <= reference < self.references:
            return None
        with self._lock:
            if reference in self._tables:
                return self._tables[reference]
            extent = self._extents[reference]
            bins, table = self._bins(extent), None
            if len(bins.ids):
                table = build_table(bins, self.min_shift, self.depth, extent.unmapped)
                self._held += table.nbytes
            while self._held > MAX_TABLE_BYTES and self._tables:
                dropped = self._tables.pop(next(iter(self._tables)))
                self._held -= dropped.nbytes if dropped is not None else 0
            self._tables[reference] = table
            return table

    def is_ready(self, reference: int) -> bool:
        """Whether `table` answers at once, without building."""
        return reference in self._tables or not 0 <= reference < self.references

    @cached_property
    def placed_start(self) -> int:
        """Virtual offset of the first record that the index knows; 0 when it knows of none."""
        starts = []
        for extent in self._extents:
            if extent.ref_begin:
                starts.append(extent.ref_begin)
            elif extent.n_bin and len(bins := self._bins(extent).begins):
                starts.append(int(bins.min()))
        return min(starts, default=0)

    @cached_property
    def placed_end(self) -> int:
        """Virtual offset of the end of the last record with a place; 0 when the index knows of
        none."""
        end = 0
        for extent in self._extents:
            if extent.ref_end:
                end = max(end, extent.ref_end)
            elif extent.n_bin and len(bins := self._bins(extent).ends):
                end = max(end, int(bins.max()))
        return end

    def _bins(self, extent: _Extent) -> Bins:
        """The real bins of a reference as arrays; the metadata pseudo-bin is left out."""
        words: npt.NDArray[np.uint32] = np.frombuffer(self._words, dtype="<u4")
        view = self._words.cast("I")
        lead = 4 if self._layout.has_loffset else 2
        limit = ((1 << 3 * (self.depth + 1)) - 1) // 7
        positions: list[int] = []
        at = extent.bins
        for _ in range(extent.n_bin):
            n_chunk = view[at + lead - 1]
            if view[at] < limit and n_chunk:
                positions.append(at)
            at += lead + 4 * n_chunk
        where = np.array(positions, dtype=np.int64)
        counts = words[where + lead - 1].astype(np.int64)
        starts = np.concatenate(([0], np.cumsum(counts)))
        first = np.repeat(where + lead - 4 * starts[:-1], counts)
        chunk = first + 4 * np.arange(starts[-1], dtype=np.int64)
        loffset = _offsets(words, where + 1) if self._layout.has_loffset else None
        linear = None
        if not self._layout.has_loffset:
            linear = _offsets(words, extent.linear + 2 * np.arange(extent.n_intv, dtype=np.int64))
        return Bins(
            ids=words[where].astype(np.int64),
            rows=starts,
            begins=_offsets(words, chunk),
            ends=_offsets(words, chunk + 2),
            loffset=loffset,
            linear=linear,
        )


def _offsets(words: npt.NDArray[np.uint32], at: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    low, high = words[at].astype(np.uint64), words[at + 1].astype(np.uint64)
    return low | (high << np.uint64(32))


def parse_index(data: bytes, max_references: int = MAX_REFERENCES) -> BinningIndex:
    """A BAI (plain), or a CSI or TBI (BGZF or inflated), told apart by their magic numbers.

    Raises `CorruptData` for anything else, when a count does not fit the bytes that remain, and for
    more references than `max_references`.
    """
    if data[:2] == b"\x1f\x8b":
        data = _inflate_all(data)
    try:
        if data[:4] == b"BAI\x01":
            return _parse_bai(data, max_references)
        if data[:4] == b"CSI\x01":
            return _parse_csi(data, max_references)
        if data[:4] == b"TBI\x01":
            return _parse_tbi(data, max_references)
    except (IndexError, struct.error) as error:
        raise CorruptData("the index is cut short") from error
    raise CorruptData("not a BAI, CSI or TBI index")


def _inflate_all(data: bytes) -> bytes:
    pieces: list[bytes] = []
    at = total = 0
    while at < len(data):
        size = block_size(data, at)
        if at + size > len(data):
            raise CorruptData("the index is cut short")
        pieces.append(inflate(data[at : at + size]))
        total += len(pieces[-1])
        if total > MAX_INDEX_BYTES:
            raise CorruptData("the index is too large")
        at += size
    return b"".join(pieces)


def _parse_bai(data: bytes, max_references: int) -> BinningIndex:
    (n_ref,) = struct.unpack_from("<I", data, 4)
    _check_references(n_ref, max_references)
    return _walk(_Layout(14, 5, has_loffset=False), memoryview(data)[8:], n_ref, None)


def _parse_tbi(data: bytes, max_references: int) -> BinningIndex:
    n_ref, *_, l_names = struct.unpack_from("<8I", data, 4)
    _check_references(n_ref, max_references)
    names = _names(data, 36, l_names, n_ref)
    return _walk(_Layout(14, 5, has_loffset=False), memoryview(data)[36 + l_names :], n_ref, names)


def _parse_csi(data: bytes, max_references: int) -> BinningIndex:
    min_shift, depth, l_aux = struct.unpack_from("<iiI", data, 4)
    if not (1 <= min_shift <= 30 and 0 <= depth <= 10 and min_shift + 3 * depth <= 60):
        raise CorruptData("the index has an impossible bin geometry")
    at = 16 + l_aux
    (n_ref,) = struct.unpack_from("<I", data, at)
    _check_references(n_ref, max_references)
    names = None
    if l_aux >= 28:
        l_names = struct.unpack_from("<7I", data, 16)[6]
        if l_names > l_aux - 28:
            raise CorruptData("the index's names overrun their field")
        names = _names(data, 44, l_names, n_ref)
    return _walk(
        _Layout(min_shift, depth, has_loffset=True), memoryview(data)[at + 4 :], n_ref, names
    )


def _check_references(n_ref: int, most: int) -> None:
    if n_ref > most:
        raise CorruptData("the index has more references than the data")


def _names(data: bytes, at: int, length: int, n_ref: int) -> tuple[str, ...]:
    text = data[at : at + length]
    if len(text) != length or (length and text[-1:] != b"\0"):
        raise CorruptData("the index's names are cut short")
    names = tuple(name.decode("utf-8", "surrogateescape") for name in text.split(b"\0")[:-1])
    if len(names) != n_ref or len(set(names)) != n_ref:
        raise CorruptData("the index's names do not match its references")
    return names


def _walk(
    layout: _Layout, body: memoryview, n_ref: int, names: tuple[str, ...] | None
) -> BinningIndex:
    """Find each reference's extent. `body` begins at the first reference's n_bin."""
    if len(body) > MAX_INDEX_BYTES or 4 * n_ref > len(body):
        raise CorruptData("the index names more references than it can hold")
    words = body[: len(body) & ~3]
    view = words.cast("I")
    lead = 4 if layout.has_loffset else 2
    limit = ((1 << 3 * (layout.depth + 1)) - 1) // 7
    pseudo = limit + 1
    extents: list[_Extent] = []
    at = 0
    for _ in range(n_ref):
        n_bin = view[at]
        bins = at = at + 1
        unmapped, ref_begin, ref_end = None, 0, 0
        for _ in range(n_bin):
            number = view[at]
            step = lead + 4 * view[at + lead - 1]
            if number >= limit:
                if number != pseudo or step != lead + 8:
                    raise CorruptData("the index has a bin beyond its geometry")
                values = struct.unpack_from("<4Q", words, 4 * (at + lead))
                ref_begin, ref_end, unmapped = values[0], values[1], values[3]
            at += step
        linear = n_intv = 0
        if not layout.has_loffset:
            n_intv = view[at]
            linear = at + 1
            at = linear + 2 * n_intv
        if at > len(view):
            raise CorruptData("the index is cut short")
        extents.append(_Extent(bins, n_bin, linear, n_intv, unmapped, ref_begin, ref_end))
    if len(body) - 4 * at not in (0, 8):
        raise CorruptData("bytes follow the index")
    return BinningIndex(layout, words, extents, names)
