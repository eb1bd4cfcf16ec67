"""Regions and intervals. Coordinates are 0-based and half-open; an open end is `UNBOUNDED`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

UNBOUNDED = 1 << 60
"""An end beyond every reference: "to the end of the reference"."""

UNPLACED = "*"
"""The reference name that stands for reads without a position."""


@dataclass(frozen=True, slots=True)
class Region:
    """A reference *name* and the interval `[start, end)` on it, as a client asks for it.

    `reference_name` may be `UNPLACED`; then `start` and `end` carry no meaning.
    """

    reference_name: str
    start: int = 0
    end: int = UNBOUNDED


class Interval(NamedTuple):
    """An interval `[start, end)` on the reference with number `reference` in a header."""

    reference: int
    start: int
    end: int


def merge(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sort by reference and start; drop empty intervals; join those that overlap or touch."""
    ordered = sorted(intervals)
    if len(ordered) == 1 and ordered[0].start < ordered[0].end:
        return (ordered[0],)
    merged: list[Interval] = []
    for interval in ordered:
        if interval.start >= interval.end:
            continue
        if merged and merged[-1].reference == interval.reference:
            last = merged[-1]
            if interval.start <= last.end:
                merged[-1] = Interval(last.reference, last.start, max(last.end, interval.end))
                continue
        merged.append(interval)
    return tuple(merged)
