"""The window table: which virtual offsets bound the records of an interval, in three look-ups.

For a coordinate-sorted file, with `f(b)` and `g(b)` the first and last window of bin `b`:

    lo[w]   at or before the first record that overlaps window w or a later one
    hi[w]   at or after the end of the last record that begins in window w or an earlier one
    tl[w]   at or before the first record that begins in window w or a later one

`lo` comes from the linear index (BAI, TBI) or from loffset (CSI); `hi` and `tl` from the chunks
alone.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from formats.errors import CorruptData

Offsets = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

MAX_WINDOWS = 1 << 21
"""Largest number of windows tabled for one reference: bounds what a hostile CSI can make us
allocate."""


class Bins(NamedTuple):
    """The bins of one reference. Bin `i` holds the chunks `rows[i]` to `rows[i + 1]`."""

    ids: Integers
    rows: Integers
    begins: Offsets
    ends: Offsets
    loffset: Offsets | None
    linear: Offsets | None


class Bounds(NamedTuple):
    """Virtual offsets that bound the records of an interval; see the module's docstring.

    `start` is `lo` of the first window, made safe for unmapped reads; `positioned` is `tl` of the
    first window; `tail` is where the search for the end of the slice may begin; `end` is `hi` of
    the last window.
    """

    start: int
    positioned: int
    tail: int
    end: int


@dataclass(frozen=True, slots=True)
class WindowTable:
    """The bounds of one reference. `first` and `last` are those of the whole reference.

    Indexing memoryviews gives plain integers, which is what makes a query cost a microsecond.
    """

    first: int
    last: int
    min_shift: int
    depth: int
    windows: int
    lo: memoryview
    hi: memoryview
    tl: memoryview
    bins: Bins
    cautious: bool

    @property
    def nbytes(self) -> int:
        """Memory held by the table, in bytes."""
        chunks = sum(array.nbytes for array in self.bins if array is not None)
        return 24 * self.windows + chunks

    def query(self, start: int, end: int, *, unmapped: bool = False) -> Bounds:
        """Bounds of the records that overlap `[start, end)`; `start < end`.

        `unmapped`: the data may hold placed unmapped reads, which some writers leave out of the
        linear index; then `tl` bounds `start` too unless the index says that there are none.
        """
        top = self.windows - 1
        w = min(start >> self.min_shift, top)
        e = (end - 1) >> self.min_shift
        lo, positioned = self.lo[w], self.tl[w]
        cautious = unmapped and self.cautious
        if cautious and positioned < lo:
            lo = positioned
        if e > top:
            tail = self.last if end > 1 << (self.min_shift + 3 * self.depth) else self.tl[top]
            return Bounds(lo, positioned, tail, self.last)
        tail = self.tl[e]
        if not cautious and self.lo[e] > tail:
            tail = self.lo[e]
        return Bounds(lo, positioned, tail, self.hi[e])

    def positioned_before(self, offset: int) -> int:
        """The largest `tl` below `offset`, of any window; `first` when there is none."""
        number = bisect_left(self.tl, offset)
        return self.tl[number - 1] if number else self.first

    def path_chunks(self, start: int, low: int, high: int) -> list[tuple[int, int]]:
        """Disjoint, sorted chunks within `[low, high)` that can hold a record which begins before
        the window of `start` and reaches into it: those of the bins on the path from its leaf to
        the root."""
        window = start >> self.min_shift
        path = []
        for level in range(self.depth + 1):
            shift = 3 * (self.depth - level)
            path.append(((1 << 3 * level) - 1) // 7 + (window >> shift))
        return self._merged(np.isin(self.bins.ids, path), low, high)

    def chunks(self, start: int, end: int) -> list[tuple[int, int]]:
        """Disjoint, sorted chunks that the index holds for `[start, end)`, `start < end`: those of
        all bins that overlap it, within the bounds of `query` (SAMv1 § 5.3)."""
        first, last = start >> self.min_shift, (end - 1) >> self.min_shift
        low, high, _ = _coverage(self.bins.ids, self.depth)
        bounds = self.query(start, end)
        return self._merged((low <= last) & (first <= high), bounds.start, bounds.end)

    def _merged(self, chosen: npt.NDArray[np.bool_], low: int, high: int) -> list[tuple[int, int]]:
        """Chunks of the chosen bins, cut to `[low, high)`, sorted, joined where they touch."""
        chunks: list[tuple[int, int]] = []
        for row in np.flatnonzero(chosen):
            begin, end = self.bins.rows[row], self.bins.rows[row + 1]
            chunks += zip(
                self.bins.begins[begin:end].tolist(),
                self.bins.ends[begin:end].tolist(),
                strict=True,
            )
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(chunks):
            begin, end = max(begin, low), min(end, high)
            if begin >= end:
                continue
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((begin, end))
        return merged


def build_table(bins: Bins, min_shift: int, depth: int, unmapped: int | None) -> WindowTable:
    """The table of a reference with at least one bin. `unmapped`: its placed unmapped reads, None
    if unknown.

    Raises `CorruptData` when chunks run backwards or the reference has too many windows.
    """
    if np.any(bins.begins > bins.ends):
        raise CorruptData("a chunk of the index ends before it begins")
    begin = np.minimum.reduceat(bins.begins, bins.rows[:-1])
    end = np.maximum.reduceat(bins.ends, bins.rows[:-1])
    low, high, level = _coverage(bins.ids, depth)
    windows = 1 + int(low.max())
    if bins.linear is not None:
        windows = max(windows, len(bins.linear))
    if windows > MAX_WINDOWS:
        raise CorruptData("the index covers more windows than a table may hold")
    first, last = begin.min(), end.max()
    if bins.linear is not None:
        lo = np.zeros(windows, dtype=np.uint64)
        lo[: len(bins.linear)] = bins.linear
    elif bins.loffset is not None and _is_linear(bins.loffset, begin):
        lo = np.zeros(windows, dtype=np.uint64)
        np.maximum.at(lo, low, bins.loffset)
    else:
        lo = _path_minimum(low, high, level, begin, windows, depth)
    lo = np.maximum.accumulate(np.maximum(lo, first))
    hi = np.full(windows, last, dtype=np.uint64)
    follows = low > 0
    np.minimum.at(hi, low[follows] - 1, begin[follows])
    hi = np.minimum.accumulate(hi[::-1])[::-1]
    tl = np.full(windows, first, dtype=np.uint64)
    passed = high + 1 < windows
    np.maximum.at(tl, high[passed] + 1, end[passed])
    tl = np.maximum.accumulate(tl)
    return WindowTable(
        int(first), int(last), min_shift, depth, windows,
        _view(lo), _view(hi), _view(tl), bins, unmapped != 0,
    )  # fmt: skip


def _coverage(ids: Integers, depth: int) -> tuple[Integers, Integers, Integers]:
    """First window, last window and level of each bin."""
    low, high, levels = (np.zeros_like(ids) for _ in range(3))
    starts = [((1 << 3 * level) - 1) // 7 for level in range(depth + 2)]
    for level, (begin, end) in enumerate(pairwise(starts)):
        at = (ids >= begin) & (ids < end)
        shift = 3 * (depth - level)
        low[at] = (ids[at] - begin) << shift
        high[at] = ((ids[at] - begin + 1) << shift) - 1
        levels[at] = level
    return low, high, levels


def _is_linear(loffset: Offsets, begin: Offsets) -> bool:
    """Whether loffset has the meaning of CSIv1: the linear index's value at the bin's first window.

    Some writers store the bin's own first record instead, which would lose longer records that
    begin earlier. There no loffset lies before its bin's first chunk.
    """
    return bool(np.any((loffset < begin) & (loffset > 0)))


def _path_minimum(
    low: Integers, high: Integers, level: Integers, begin: Offsets, windows: int, depth: int
) -> Offsets:
    """`lo` from chunks alone: the smallest chunk begin of the bins that cover a window or follow
    it."""
    unknown = np.iinfo(np.uint64).max
    lo = np.full(windows, unknown, dtype=np.uint64)
    for number in range(depth + 1):
        at = level == number
        if not at.any():
            continue
        shift = 3 * (depth - number)
        slots = np.full((windows - 1 >> shift) + 1, unknown, dtype=np.uint64)
        np.minimum.at(slots, low[at] >> shift, begin[at])
        lo = np.minimum(lo, slots[np.arange(windows) >> shift])
    return np.minimum.accumulate(lo[::-1])[::-1]


def _view(array: Offsets) -> memoryview:
    return np.ascontiguousarray(array).data
