"""CRAI: which containers of a CRAM file hold records of an interval (CRAMv3 §12).

One row per slice and reference. A container has one row for each of its slices and references, so
that its offset repeats; the rows of a reference need neither be nested nor ascend in their ends.
"""

import zlib
from bisect import bisect_left, bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formats.cram import MULTIPLE, UNPLACED, Container, CramHeader, walk
from formats.errors import CorruptData
from formats.source import ByteSource

MAX_INFLATED = 1 << 28
"""Largest index accepted, inflated, in bytes."""

_Integers = NDArray[np.int64]
_FIELDS = 6
_MAX_DIGITS = 18


class Placement(NamedTuple):
    """Where the records of one container lie, as the index tells it.

    `reference` is `MULTIPLE` when the rows name several references or none, then `[start, end)`
    has no meaning. `end` is one past the end the rows name: writers count a record that covers no
    reference base as ending before it starts. `extent`: bytes from the end of the container's
    header to that of its last slice.
    """

    offset: int
    reference: int
    start: int
    end: int
    extent: int


class CraiIndex:
    """The rows of an index, prepared for queries that take O(log rows) and what they find.

    `offsets`: every container that holds records, ascending. `last_reference`: the largest
    reference id, -1 if there is none. `nbytes`: approximate memory held, in bytes.
    """

    __slots__ = (
        "_bounds",
        "_earliest",
        "_ends",
        "_everywhere",
        "_everywhere_bounds",
        "_latest",
        "_numbers",
        "_placements",
        "_reach",
        "_starts",
        "_unplaced",
        "last_reference",
        "nbytes",
        "offsets",
    )

    def __init__(self, rows: _Integers) -> None:
        """From rows of reference, 1-based start, span, container, slice offset, slice size."""
        reference, start, end = rows[:, 0], rows[:, 1] - 1, rows[:, 1] + rows[:, 2]
        distinct, numbers = np.unique(rows[:, 3], return_inverse=True)
        self.offsets: list[int] = distinct.tolist()
        self.last_reference = int(reference.max(initial=-1))
        everywhere = numbers[reference == MULTIPLE]
        self._everywhere = set(everywhere.tolist())
        # Of none: a range that is empty, and leaves the bounds of any other as they are.
        self._everywhere_bounds = (
            int(everywhere.min(initial=len(distinct))),
            int(everywhere.max(initial=-1)),
        )
        self._unplaced = set(numbers[reference == UNPLACED].tolist())
        self._placements = _placements(rows, start, end, numbers, len(distinct))

        order = np.lexsort((start, reference))
        order = order[reference[order] >= 0]
        found, first = np.unique(reference[order], return_index=True)
        limits = [*first.tolist(), len(order)]
        ends = end[order]
        containers = numbers[order].astype(np.int64)
        reach, latest, earliest = ends.copy(), containers.copy(), containers.copy()
        self._bounds: dict[int, tuple[int, int]] = {}
        for position, number in enumerate(found.tolist()):
            low, high = limits[position], limits[position + 1]
            np.maximum.accumulate(ends[low:high], out=reach[low:high])
            np.maximum.accumulate(containers[low:high], out=latest[low:high])
            earliest[low:high] = np.minimum.accumulate(containers[low:high][::-1])[::-1]
            self._bounds[number] = (low, high)
        self._starts = start[order].data
        self._ends = ends.data
        self._reach = reach.data
        self._numbers = containers.data
        self._latest = latest.data
        self._earliest = earliest.data
        self.nbytes = 2000 + 48 * len(order) + 72 * len(distinct) + 250 * len(self._bounds)
        self.nbytes += 100 * (len(self._everywhere) + len(self._unplaced))

    def containers(self, reference: int, start: int, end: int) -> list[int]:
        """Offsets, ascending, of the containers that may hold records on `[start, end)`."""
        numbers = set(self._everywhere)
        low, high = self._bounds.get(reference, (0, 0))
        if start < end:
            first = bisect_right(self._reach, start, low, high)
            last = bisect_left(self._starts, end, first, high)
            ends, rows = self._ends, self._numbers
            numbers.update(rows[row] for row in range(first, last) if ends[row] > start)
        return [self.offsets[number] for number in sorted(numbers)]

    def span(self, reference: int, start: int, end: int) -> tuple[int, int] | None:
        """Offsets of a first and a last container that enclose those of `containers`; None when
        there are none.

        Takes O(log rows) however many lie between. Of a sorted file it is exact.
        """
        first, last = self._everywhere_bounds
        low, high = self._bounds.get(reference, (0, 0))
        if start < end:
            begin = bisect_right(self._reach, start, low, high)
            stop = bisect_left(self._starts, end, begin, high)
            if begin < stop:
                first = min(first, self._earliest[begin])
                last = max(last, self._latest[stop - 1])
        return (self.offsets[first], self.offsets[last]) if first <= last else None

    def first_offset(self, reference: int) -> int | None:
        """Offset of the first container with a row for a reference, else of the first that may
        hold it; None when there is none."""
        low, high = self._bounds.get(reference, (0, 0))
        number = self._earliest[low] if low < high else self._everywhere_bounds[0]
        return self.offsets[number] if number < len(self.offsets) else None

    def unplaced(self) -> list[int]:
        """Offsets, ascending, of the containers that may hold reads without a position."""
        return [self.offsets[number] for number in sorted(self._unplaced | self._everywhere)]

    def placement(self, offset: int) -> Placement:
        """Where the records of the container at `offset`, one of `offsets`, lie."""
        number = bisect_left(self.offsets, offset)
        return Placement(offset, *(column[number] for column in self._placements))

    def next_offset(self, offset: int) -> int | None:
        """The first of `offsets` after `offset`, or None."""
        number = bisect_right(self.offsets, offset)
        return self.offsets[number] if number < len(self.offsets) else None


def parse_crai(data: bytes, limit: int = MAX_INFLATED) -> CraiIndex:
    """An index from its bytes, gzipped or plain; at most `limit` bytes inflated.

    Raises `CorruptData` for anything but lines of six integers, negative ones but for the
    reference ids -1 and -2, and a container offset below the header.
    """
    text = _inflate(data, limit) if data[:2] == b"\x1f\x8b" else data
    if len(text) > limit:
        raise CorruptData("a CRAI index is too large")
    rows = _parse_rows(text.replace(b"\r\n", b"\n"))
    if len(rows) and int(rows[:, 3].min()) < 26:
        raise CorruptData("a CRAI index names a container inside the file definition")
    return CraiIndex(rows)


def scan_containers(source: ByteSource, header: CramHeader) -> CraiIndex:
    """The index that container headers alone give: reads every one of them, decodes none.

    Containers on several references then count as lying everywhere. Empty ones are left out.
    """
    rows = [_row(container) for container in walk(source, header) if container.records]
    return CraiIndex(np.array(rows, dtype=np.int64).reshape(-1, _FIELDS))


def _row(container: Container) -> tuple[int, int, int, int, int, int]:
    span = container.end - container.start
    return container.reference, container.start + 1, span, container.offset, 0, container.length


def _placements(
    rows: _Integers, start: _Integers, end: _Integers, numbers: _Integers, count: int
) -> tuple[memoryview, ...]:
    """Per container: reference, start, end, extent."""
    if not count:
        return ()
    order = np.argsort(numbers, kind="stable")
    first = np.searchsorted(numbers[order], np.arange(count))
    low = np.minimum.reduceat(rows[order, 0], first)
    high = np.maximum.reduceat(rows[order, 0], first)
    return (
        np.where(low == high, low, MULTIPLE).data,
        np.minimum.reduceat(start[order], first).data,
        np.maximum.reduceat(end[order], first).data,
        np.maximum.reduceat(rows[order, 4] + rows[order, 5], first).data,
    )


def _parse_rows(text: bytes) -> _Integers:
    """Six columns of integers; checked here because numpy's text parser is lenient."""
    if text and not text.endswith(b"\n"):
        text += b"\n"
    if text.translate(None, b"0123456789\t\n-"):
        raise CorruptData("a CRAI index holds other characters than numbers")
    if text.count(b"-") != sum((b"\n" + text).count(b"\n-%d\t" % number) for number in (1, 2)):
        raise CorruptData("a CRAI index holds a negative number")
    characters = np.frombuffer(text, dtype=np.uint8)
    breaks = np.flatnonzero(characters <= ord("\n"))
    widths = np.diff(breaks, prepend=-1)
    newline = characters[breaks] == ord("\n")
    if len(breaks) % _FIELDS or not np.array_equal(
        np.flatnonzero(newline), np.arange(_FIELDS - 1, len(breaks), _FIELDS)
    ):
        raise CorruptData("a CRAI line has not six fields")
    if len(breaks) and not 2 <= int(widths.min()) <= int(widths.max()) <= _MAX_DIGITS + 1:
        raise CorruptData("a CRAI field is empty or too long")
    if not len(breaks):
        return np.empty((0, _FIELDS), dtype=np.int64)
    rows: _Integers = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
    return rows.reshape(-1, _FIELDS)


def _inflate(data: bytes, limit: int) -> bytes:
    """The members of a gzip file, joined."""
    pieces: list[bytes] = []
    size = 0
    try:
        while data:
            member = zlib.decompressobj(31)
            pieces.append(member.decompress(data, limit + 1 - size))
            size += len(pieces[-1])
            if size > limit:
                raise CorruptData("a CRAI index is too large")
            if not member.eof:
                raise CorruptData("a CRAI index is cut short")
            data = member.unused_data
    except zlib.error as error:
        raise CorruptData("a CRAI index cannot be inflated") from error
    return b"".join(pieces)
