"""The arithmetic of quotas: which bases somebody has had, and when a budget begins anew.

A base that was had before costs nothing, so a browser may refresh its view, and asking for the
union of two regions after one of them reveals nothing that is not counted (interval-union
accounting). Coordinates are 0-based and half-open; days are of UTC.
"""

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from auth.errors import AccessError
from formats.regions import UNPLACED

SECONDS_PER_DAY = 86_400
SECONDS_PER_MINUTE = 60

Span = tuple[int, int]
"""`[start, end)` on a reference that is known otherwise."""

_MOST_PIECES = 16_384
_NARROW, _WIDE = "I", "Q"


class QuotaExceeded(AccessError):
    """A limit of a grant would be exceeded. `rule` is a stable code, such as `quota.bases_per_day`;
    after `retry_after` seconds the same request may pass, 0: waiting does not help."""

    def __init__(self, rule: str, retry_after: int = 0) -> None:
        super().__init__(rule)
        self.rule = rule
        self.retry_after = retry_after


class Coverage:
    """The bases of one reference that somebody has had: merged intervals.

    At most `most_pieces` intervals are kept. Beyond, the narrowest gaps between them count as had,
    so a walk in tiny steps is charged a little more than it got, and never less.
    """

    __slots__ = ("_edges", "_most")

    def __init__(self, spans: Iterable[Span] = (), *, most_pieces: int = _MOST_PIECES) -> None:
        # Starts and ends in turn, each greater than the one before.
        self._edges = array(_WIDE)
        self._most = most_pieces
        self._add(spans)

    @property
    def bases(self) -> int:
        """How many they are."""
        return sum(self._edges[1::2]) - sum(self._edges[::2])

    @property
    def spans(self) -> tuple[Span, ...]:
        """The intervals, in order."""
        return tuple(zip(self._edges[::2], self._edges[1::2], strict=True))

    def extended(self, spans: Iterable[Span]) -> "Coverage":
        """These bases and those of the intervals, which may overlap, in any order."""
        more = Coverage(most_pieces=self._most)
        more._edges = self._edges[:]
        more._add(spans)
        return more

    def union(self, other: "Coverage") -> "Coverage":
        """These bases and those of another."""
        return self if self == other else self.extended(other.spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coverage) and self._edges == other._edges

    def __hash__(self) -> int:
        return hash(self.spans)

    def pack(self) -> bytes:
        """As bytes: of 4 or 8 for each edge, little-endian, and one that says which."""
        code = _NARROW if not self._edges or self._edges[-1] < 1 << 32 else _WIDE
        edges = array(code, self._edges)
        if sys.byteorder == "big":
            edges.byteswap()
        return code.encode() + edges.tobytes()

    @classmethod
    def unpack(cls, data: bytes, *, most_pieces: int = _MOST_PIECES) -> "Coverage":
        """What was packed; `ValueError` for other bytes."""
        code = data[:1].decode("ascii", "replace")
        if code not in (_NARROW, _WIDE):
            raise ValueError("not a packed coverage")
        edges = array(code)
        edges.frombytes(data[1:])
        if sys.byteorder == "big":
            edges.byteswap()
        if len(edges) % 2:
            raise ValueError("a packed coverage ends within an interval")
        coverage = cls(most_pieces=most_pieces)
        coverage._edges = array(_WIDE, edges)
        return coverage

    def _add(self, spans: Iterable[Span]) -> None:
        edges = self._edges
        for start, end in spans:
            if start >= end:
                continue
            if not edges or start > edges[-1]:
                edges.append(start)
                edges.append(end)
                continue
            # An odd number of edges before a position: an interval is open there.
            low, high = bisect_left(edges, start), bisect_right(edges, end)
            between = array(_WIDE)
            if not low % 2:
                between.append(start)
            if not high % 2:
                between.append(end)
            edges[low:high] = between
        if len(edges) > 2 * self._most:
            self._close_gaps()

    def _close_gaps(self) -> None:
        """Leave three quarters of the most intervals, so that this is seldom done."""
        edges = self._edges
        gaps = range(1, len(edges) - 1, 2)
        surplus = len(edges) // 2 - max(1, self._most * 3 // 4)
        closed = set(sorted(gaps, key=lambda at: edges[at + 1] - edges[at])[:surplus])
        self._edges = array(
            _WIDE,
            (edge for at, edge in enumerate(edges) if (at if at % 2 else at - 1) not in closed),
        )


def coverage_by_name(intervals: Iterable[tuple[str, int, int]]) -> dict[str, Coverage]:
    """The intervals of a request, merged, by the name of their reference.

    Unplaced reads have no bases to count.
    """
    found: dict[str, list[Span]] = {}
    for name, start, end in intervals:
        if name != UNPLACED and start < end:
            found.setdefault(name, []).append((max(0, start), end))
    return {name: Coverage(sorted(spans), most_pieces=len(spans)) for name, spans in found.items()}


def day_of(now: float) -> int:
    """The number of a day, from 1 on, at a time in seconds since the epoch."""
    return int(now // SECONDS_PER_DAY) + 1


def minute_of(now: float) -> int:
    """The number of a minute, from 1 on."""
    return int(now // SECONDS_PER_MINUTE) + 1


def until_next_day(now: float) -> int:
    """Seconds until the day's budgets begin anew, at least 1."""
    return _until_next(now, SECONDS_PER_DAY)


def until_next_minute(now: float) -> int:
    """Seconds until the minute's budgets begin anew, at least 1."""
    return _until_next(now, SECONDS_PER_MINUTE)


def _until_next(now: float, period: int) -> int:
    return max(1, math.ceil((now // period + 1) * period - now))
