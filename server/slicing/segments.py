"""The answer of a plan: a stream of segments, each either bytes in memory or a range of the
source."""

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
