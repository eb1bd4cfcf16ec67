"""What one body block of a ticket selects from an object."""

from dataclasses import dataclass

from formats.regions import Interval


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a body block holds.

    `intervals`: merged intervals in file order (`formats.regions.merge`), or None for every record
    of the object. `unplaced`: also the reads without a position, which follow all others.
    `sent_until`: on the reference of the first interval, the end of the interval that an earlier
    block of the same ticket sent; a record that starts before it is already out (0: nothing was
    sent). `cut`: keep only what lies in these source offsets (nominal; the plan rounds both ends up
    to the next block border in the same way, so adjacent cuts tile the slice).
    """

    intervals: tuple[Interval, ...] | None = None
    unplaced: bool = False
    sent_until: int = 0
    cut: tuple[int, int] | None = None

    @property
    def needs_index(self) -> bool:
        """Whether the selection is by place; the whole object needs no index."""
        return self.intervals is not None
