"""The answer of a plan: a stream of segments, each either bytes in memory or a range of the
source."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes `[start, end)` of the source object, sent as they are."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


Segment = bytes | Stored
"""Re-encoded bytes, or a verbatim range of the source."""


def clip(segments: tuple[Segment, ...], start: int, end: int) -> Iterator[Segment]:
    """The parts of `segments` that make up the bytes `[start, end)` of their concatenation."""
    position = 0
    for segment in segments:
        low, high = max(start - position, 0), min(end - position, len(segment))
        if low < high:
            if isinstance(segment, Stored):
                yield Stored(segment.start + low, segment.start + high)
            else:
                yield segment[low:high]
        position += len(segment)
