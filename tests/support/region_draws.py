"""Regions to ask for: the edges of a file's contigs, records and index windows, and random ones."""

import random
from collections.abc import Iterator

from tests.support.oracle import UNPLACED, Oracle, Region

_WINDOW = 16_384
_LIMIT = (1 << 32) - 1


def _edges_of_contig(oracle: Oracle, contig: str, draw: random.Random) -> Iterator[Region]:
    length = oracle.contigs[contig]
    rows = oracle.rows_of(contig)
    yield contig, None, None
    yield contig, 0, 1
    yield contig, 5, 5
    yield contig, 0, _LIMIT
    if length is not None:
        yield contig, 0, length
        yield contig, length - 1, length
        yield contig, length, length + 1_000
        yield contig, length + 5, None
    if not rows:
        return
    first, last = max(0, int(oracle.starts[rows[0]])), int(oracle.starts[rows[-1]])
    furthest = max(1, int(oracle.ends[rows].max()))
    for border in (first, last, furthest, int(oracle.ends[rows[0]]), int(oracle.ends[rows[-1]])):
        for start in (border - 2, border - 1, border, border + 1):
            if start >= 0:
                yield contig, start, start + 1
    yield contig, None, first
    yield contig, None, first + 1
    yield contig, furthest, None
    yield contig, furthest - 1, None
    for _ in range(4):
        border = draw.randrange(first, furthest + _WINDOW) // _WINDOW * _WINDOW
        yield contig, border, border + _WINDOW
        yield contig, border, border + 1
        yield contig, max(0, border - 1), border + 1
        if border:
            yield contig, border - 1, border
    longest = sorted(rows, key=lambda row: int(oracle.starts[row] - oracle.ends[row]))[:4]
    for row in longest:
        middle = max(0, int(oracle.starts[row] + oracle.ends[row]) // 2)
        yield contig, middle, middle + 1
        yield contig, middle, middle + 500


def edges(oracle: Oracle, draw: random.Random) -> list[Region]:
    """The edges of up to a dozen contigs, those without data among them, and the unplaced reads."""
    occupied = set(oracle.occupied)
    empty = [name for name in oracle.contigs if name not in occupied]
    chosen = draw.sample(oracle.occupied, min(12, len(occupied)))
    chosen += draw.sample(empty, min(3, len(empty)))
    regions = [region for name in chosen for region in _edges_of_contig(oracle, name, draw)]
    if oracle.sample.endpoint == "reads":
        regions.append((UNPLACED, None, None))
    return regions


def random_region(oracle: Oracle, draw: random.Random, widest: int = _LIMIT) -> Region:
    """Around a record three times of four, else anywhere; widths from one base to `widest`."""
    if oracle.occupied and draw.random() < 0.95:
        contig = draw.choice(oracle.occupied)
    else:
        contig = draw.choice(list(oracle.contigs))
    rows = oracle.rows_of(contig)
    length = oracle.contigs[contig]
    if length is None:
        length = int(oracle.ends[rows].max()) + 100 if rows else 1_000
    width = min(widest, int(2 ** draw.uniform(0, length.bit_length())))
    if rows and draw.random() < 0.75:
        row = draw.choice(rows)
        middle = draw.randint(int(oracle.starts[row]) - 2, int(oracle.ends[row]) + 1)
        start = max(0, middle - draw.randrange(width))
    else:
        start = draw.randrange(length)
    return contig, start, start + width


def for_get(oracle: Oracle, draw: random.Random, count: int, share: float = 0.5) -> list[Region]:
    """`count` regions, of which up to `share` are edges."""
    regions = edges(oracle, draw)
    if len(regions) > count * share:
        regions = draw.sample(regions, int(count * share))
    regions += [random_region(oracle, draw) for _ in range(count - len(regions))]
    return regions


def for_post(oracle: Oracle, draw: random.Random, count: int) -> list[list[Region]]:
    """`count` lists of 1 to 50 regions: overlapping, adjacent, repeated, open, in no order."""
    known = [each for each in edges(oracle, draw) if each[2] is None or (each[1] or 0) < each[2]]
    return [_region_list(oracle, draw, known) for _ in range(count)]


def _region_list(oracle: Oracle, draw: random.Random, known: list[Region]) -> list[Region]:
    size = draw.choice((1, 2, 3, 8, 20, 50))
    widest = draw.choice((30, 3_000, _LIMIT))
    regions: list[Region] = []
    while len(regions) < size:
        kind = draw.random()
        if regions and kind < 0.3:
            name, start, end = draw.choice(regions)
            if start is not None and end is not None and end < _LIMIT - 1:
                # the rest of an earlier one: overlapping, adjacent, or the same again
                begin = draw.choice((start, (start + end) // 2, end))
                regions.append((name, begin, min(_LIMIT, max(begin + 1, begin + end - start))))
                continue
        if kind < 0.4:
            name, start, end = draw.choice(known)
            narrow = start is not None and end is not None and end - start <= widest
            if narrow or widest == _LIMIT:
                regions.append((name, start, end))
                continue
        regions.append(random_region(oracle, draw, widest))
    return regions
