"""Parts of sequences that are asked for again and again, in memory; for the event loop alone.

They are kept by the digest of their sequence, so they are right for ever; they are given only while
some file is known to hold the sequence still.
"""

import time
from collections import OrderedDict

BLOCK = 1 << 16
"""Residues that are kept or dropped together."""

OVERHEAD = 500
"""Bytes that keeping a block costs beside its residues, about."""

_SHIFT = 16
_MOST_SEQUENCES = 4096
_MOST_ASKED = 1 << 16
_POPULAR = 3
# Where another block gives way: to load one costs as much as eight answers, and where questions are
# spread over more than there is room for, each is soon asked for again, and soon dropped again.
_POPULAR_IN_PLACE = 64


class HotResidues:
    """Blocks of residues, in at most `capacity` bytes of memory; the oldest give way."""

    __slots__ = ("_asked", "_blocks", "_capacity", "_order", "_size", "_until")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: dict[bytes, dict[int, bytes]] = {}
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._order: OrderedDict[tuple[bytes, int], int] = OrderedDict()
        self._asked: dict[tuple[bytes, int], int] = {}
        self._size = 0

    def get(self, digest: bytes, start: int, end: int) -> bytes | None:
        """Residues `[start, end)`, if they are here and the sequence may be given now."""
        blocks = self._blocks.get(digest)
        if blocks is None:
            return None
        number = start >> _SHIFT
        block = blocks.get(number)
        if block is None or time.monotonic() >= self._until.get(digest, 0.0):
            return None
        first = number << _SHIFT
        if end - first <= BLOCK:
            return block[start - first : end - first]
        following = blocks.get(number + 1)
        if following is None or end - first > 2 * BLOCK:
            return None
        return block[start - first :] + following[: end - first - BLOCK]

    def trust(self, digest: bytes, until: float) -> None:
        """Until then (of `time.monotonic`) a file is taken to hold the sequence."""
        self._until[digest] = until
        self._until.move_to_end(digest)
        if len(self._until) > _MOST_SEQUENCES:
            self._until.popitem(last=False)

    def is_popular(self, digest: bytes, start: int) -> bool:
        """Whether there were questions enough for this neighbourhood to make it worth loading,
        where that costs several times what an answer does, and maybe another block its place;
        asking counts as a question."""
        key = (digest, start >> _SHIFT)
        count = self._asked.get(key, 0)
        if not count and len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked[key] = count + 1
        has_room = self._size + BLOCK + OVERHEAD <= self._capacity
        return count >= (_POPULAR if has_room else _POPULAR_IN_PLACE)

    def put(self, digest: bytes, first: int, residues: bytes) -> None:
        """Keep residues that begin at `first`, the border of a block."""
        for at in range(0, len(residues), BLOCK):
            key = (digest, (first + at) >> _SHIFT)
            block = residues[at : at + BLOCK]
            size = len(block) + OVERHEAD
            self._size += size - self._order.pop(key, 0)
            self._order[key] = size
            self._blocks.setdefault(digest, {})[key[1]] = block
        while self._size > self._capacity:
            self._drop()

    def _drop(self) -> None:
        (digest, number), size = self._order.popitem(last=False)
        self._size -= size
        self._asked.pop((digest, number), None)
        blocks = self._blocks[digest]
        del blocks[number]
        if not blocks:
            del self._blocks[digest]
