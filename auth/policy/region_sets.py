"""Sets of positions by reference name: what grants unite and denials take away.

A set is known by its borders: on each reference the sorted positions where it begins and ends in
turn, so a position belongs to it when an odd number of borders lie at or before it.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from formats.regions import UNBOUNDED, UNPLACED, Region

Borders: TypeAlias = "array[int]"
"""Of 64-bit integers: starts and ends in turn, strictly increasing."""

_Bools = npt.NDArray[np.bool_]

_NONE: Borders = array("q")
_WHOLE: Borders = array("q", (0, UNBOUNDED))


@dataclass(frozen=True, slots=True)
class RegionSet:
    """Positions on references known by name, and reads without a position: `unplaced`.

    `borders`: of the references that are neither left out nor held as `elsewhere` says of all that
    are not named. Equal sets compare equal. Implements `auth.decision.Permitted`.
    """

    borders: Mapping[str, Borders] = field(default_factory=dict)
    elsewhere: bool = False
    unplaced: bool = False

    @classmethod
    def of(cls, regions: Iterable[Region]) -> "RegionSet":
        """All positions of some regions; `UNPLACED` stands for the unplaced reads."""
        rows: dict[str, list[tuple[int, int]]] = {}
        for region in regions:
            rows.setdefault(region.reference_name, []).append((region.start, region.end))
        unplaced = rows.pop(UNPLACED, None) is not None
        borders = {name: _merged(pairs) for name, pairs in rows.items()}
        return cls._made(borders, elsewhere=False, unplaced=unplaced)

    @classmethod
    def _made(
        cls, borders: Mapping[str, Borders], *, elsewhere: bool, unplaced: bool
    ) -> "RegionSet":
        usual = _WHOLE if elsewhere else _NONE
        kept = {name: each for name, each in borders.items() if each != usual}
        return cls(kept, elsewhere, unplaced)

    @property
    def is_whole(self) -> bool:
        """Whether it is everything, unplaced reads included."""
        return self.unplaced and self.elsewhere and not self.borders

    @property
    def is_empty(self) -> bool:
        """Whether nothing belongs to it."""
        return not (self.unplaced or self.elsewhere or self.borders)

    @property
    def bases(self) -> int | None:
        """How many positions belong to it; None: more than can be counted, for want of lengths."""
        if self.elsewhere:
            return None
        total = 0
        for borders in self.borders.values():
            if borders[-1] >= UNBOUNDED:
                return None
            total += sum(borders[1::2]) - sum(borders[::2])
        return total

    @property
    def size(self) -> int:
        """How many borders it keeps: what it costs to hold."""
        return sum(map(len, self.borders.values()))

    def contains(self, region: Region) -> bool:
        """Whether all of a region belongs to it. One without a base has nothing that might not."""
        if region.reference_name == UNPLACED:
            return self.unplaced
        start, end = region.start, region.end
        if start >= end:
            return True
        borders = self.borders.get(region.reference_name)
        if borders is None:
            return self.elsewhere and start >= 0
        place = bisect_right(borders, start)
        return place & 1 == 1 and end <= borders[place]

    def covers(self, regions: Sequence[Region] | None) -> bool:
        """Whether all of the regions belong to it; None: everything there is."""
        if regions is None:
            return self.is_whole
        return all(map(self.contains, regions))

    def meets(self, regions: Sequence[Region] | None) -> bool:
        """Whether anything of the regions belongs to it; None: whether anything at all does."""
        if regions is None:
            return not self.is_empty
        return any(map(self._meets, regions))

    def _meets(self, region: Region) -> bool:
        if region.reference_name == UNPLACED:
            return self.unplaced
        borders = self.borders.get(region.reference_name)
        if borders is None:
            return self.elsewhere and region.start < region.end
        place = bisect_right(borders, region.start)
        return region.start < region.end and (
            place & 1 == 1 or (place < len(borders) and borders[place] < region.end)
        )

    def union(self, other: "RegionSet") -> "RegionSet":
        """What belongs to either."""
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        return self._combined(other, np.logical_or)

    def intersection(self, other: "RegionSet") -> "RegionSet":
        """What belongs to both."""
        return self._combined(other, np.logical_and)

    def difference(self, other: "RegionSet") -> "RegionSet":
        """What belongs to this one only."""
        return self._combined(other, _and_not)

    def _combined(
        self, other: "RegionSet", operation: Callable[[_Bools, _Bools], _Bools]
    ) -> "RegionSet":
        def of_two(ours: bool, theirs: bool) -> bool:
            return bool(operation(np.array([ours]), np.array([theirs]))[0])

        borders = {
            name: _combined(self.borders_on(name), other.borders_on(name), operation)
            for name in self.borders.keys() | other.borders.keys()
        }
        return self._made(
            borders,
            elsewhere=of_two(self.elsewhere, other.elsewhere),
            unplaced=of_two(self.unplaced, other.unplaced),
        )

    def borders_on(self, name: str) -> Borders:
        """Where it begins and ends in turn on one reference."""
        return self.borders.get(name, _WHOLE if self.elsewhere else _NONE)

    def for_placed_records(self) -> "RegionSet":
        """The same for data that knows no unplaced records: whole when all positions belong to it,
        else without them."""
        whole = self.elsewhere and not self.borders
        return self if self.unplaced is whole else RegionSet(self.borders, self.elsewhere, whole)

    def fits(self, names: Collection[str]) -> bool:
        """Whether a file with these references may be judged by this set: what is left out of
        everything by a name that the file does not know may be there under another."""
        return not self.elsewhere or self.borders.keys() <= set(names)

    def clip(self, asked: Sequence[Region] | None, names: Sequence[str]) -> tuple[Region, ...]:
        """What it has in common with the regions asked for (None: with everything), merged per
        name, in the order of `names`; then references that are not among them, then unplaced."""
        if asked is None:
            clipped = [each for name in names for each in self._within(name, 0, UNBOUNDED)]
            unplaced = self.unplaced
        else:
            wanted: dict[str, list[tuple[int, int]]] = {}
            for region in asked:
                wanted.setdefault(region.reference_name, []).append((region.start, region.end))
            unplaced = wanted.pop(UNPLACED, None) is not None and self.unplaced
            clipped = [
                each
                for name in _ordered(wanted, names)
                for start, end in _pairs(_merged(wanted[name]))
                for each in self._within(name, start, end)
            ]
        if unplaced:
            clipped.append(Region(UNPLACED))
        return tuple(clipped)

    def _within(self, name: str, start: int, end: int) -> Iterator[Region]:
        borders = self.borders_on(name)
        first = bisect_right(borders, start) & ~1
        last = bisect_left(borders, end)
        for at in range(first, last, 2):
            yield Region(name, max(start, borders[at]), min(end, borders[at + 1]))

    def regions(self) -> Iterator[Region]:
        """All of it on references that are named, by name, then the unplaced reads."""
        for name in sorted(self.borders):
            yield from self._within(name, 0, UNBOUNDED)
        if self.unplaced:
            yield Region(UNPLACED)


NOTHING = RegionSet()
PLACED = RegionSet(elsewhere=True)
"""Every position of every reference, without the unplaced reads."""
EVERYTHING = RegionSet(elsewhere=True, unplaced=True)


def _ordered(wanted: Mapping[str, object], names: Sequence[str]) -> Sequence[str]:
    if len(wanted) == 1:
        return tuple(wanted)
    known = [name for name in names if name in wanted]
    return [*known, *(wanted.keys() - set(known))]


def _pairs(borders: Borders) -> Iterator[tuple[int, int]]:
    return zip(borders[::2], borders[1::2], strict=True)


def _merged(pairs: list[tuple[int, int]]) -> Borders:
    """The borders of intervals in any order; those that touch become one."""
    borders = array("q")
    for start, end in sorted(pairs):
        if start >= end:
            continue
        if borders and start <= borders[-1]:
            borders[-1] = max(borders[-1], end)
        else:
            borders.extend((start, end))
    return borders


def _combined(
    ours: Borders,
    theirs: Borders,
    operation: Callable[[_Bools, _Bools], _Bools],
) -> Borders:
    """Borders of a Boolean operation: where its truth changes between one border and the next."""
    mine, other = (np.frombuffer(each, np.int64) for each in (ours, theirs))
    places = np.union1d(mine, other)
    inside = [(np.searchsorted(each, places, "right") & 1).astype(bool) for each in (mine, other)]
    truth = operation(inside[0], inside[1])
    return array("q", places[truth != np.concatenate(([False], truth[:-1]))].tobytes())


def _and_not(ours: _Bools, theirs: _Bools) -> _Bools:
    return ours & ~theirs
