"""Which regions to ask for, by what a file holds: the same ones each time.

A region that a file gives no reason to ask for is None.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from conformance.records import Record, Records, Region

_Each = TypeVar("_Each")

MOST = 8
"""How many are a few."""


def some(found: Sequence[_Each]) -> Sequence[_Each]:
    """A few of many, evenly, with the first and the last."""
    if len(found) <= MOST:
        return found
    return [found[number * (len(found) - 1) // (MOST - 1)] for number in range(MOST)]


def around(record: Record) -> Region:
    """What a record covers."""
    return Region(record.reference, record.start, record.end)


def base(reference: str, position: int) -> Region:
    """A single base."""
    return Region(reference, position, position + 1)


def landmarks(truth: Records) -> list[Record]:
    """The first, the middle, and the last record of the first and of the last reference."""
    found: dict[int, Record] = {}
    references = [*truth.placed.values()]
    for records in references[:1] + references[-1:]:
        for record in (records[0], records[len(records) // 2], records[-1]):
            found[id(record)] = record
    return [*found.values()]


def wide(truth: Records) -> Region | None:
    """From the first quarter of the records to the last one, on the reference with the most."""
    records = max(truth.placed.values(), key=len, default=[])
    if not records:
        return None
    start, end = records[len(records) // 4].start, records[len(records) * 3 // 4].start
    return Region(records[0].reference, start, max(end, start + 1))


def regions(truth: Records) -> list[Region]:
    """Regions that have records, small and large, on several references."""
    largest = wide(truth)
    return [around(each) for each in landmarks(truth)] + ([largest] if largest else [])


def within_longest(truth: Records) -> Region | None:
    """The base in the middle of the record that covers most, of any two bases or more."""
    placed = (each for records in truth.placed.values() for each in records)
    longest = max(placed, key=lambda each: each.end - each.start, default=None)
    if longest is None or longest.end - longest.start < 2:
        return None
    return base(longest.reference, (longest.start + longest.end) // 2)


def empty(truth: Records) -> Region | None:
    """The largest part of a reference where no record lies by any reading."""
    gaps = [gap for name in truth.references for gap in _gaps(truth, name)]
    return max(gaps, key=lambda gap: (gap.end or 0) - (gap.start or 0), default=None)


def _gaps(truth: Records, name: str) -> Iterator[Region]:
    covered = 0
    for record in sorted(truth.placed.get(name, ()), key=lambda each: each.start):
        if record.start > covered:
            yield Region(name, covered, record.start)
        covered = max(covered, record.reach)
    if truth.references[name] > covered:
        yield Region(name, covered, truth.references[name])
