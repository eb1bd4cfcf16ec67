"""2bit: sequences of T, C, A and G in two bits each, with blocks of N beside (UCSC's .2bit format).

Both byte orders, and versions 0 and 1, whose offsets have 64 bits. The lower-case mask is not read.
Coordinates on a sequence are 0-based and half-open.
"""

import struct
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from formats.errors import CorruptData
from formats.fasta import MAX_SEQUENCES
from formats.source import ByteSource

MAX_N_BLOCKS = 1 << 22
"""Most blocks of N accepted in one sequence."""

_SIGNATURE = 0x1A412743
_WINDOW = 1 << 16

_NBlocks: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


class TwoBitEntry(NamedTuple):
    """One sequence: `length` bases, four to a byte from byte `offset` of the file on.

    The table of its `n_blocks` blocks of N stands at byte `n_offset`, in the file's byte order,
    which is `order` in the notation of `struct`.
    """

    name: str
    length: int
    offset: int
    n_blocks: int
    n_offset: int
    order: str


def parse_twobit(source: ByteSource, limit: int = MAX_SEQUENCES) -> tuple[TwoBitEntry, ...]:
    """The sequences of a 2bit file, in its order.

    Raises `CorruptData` for other files and versions, for sequences that do not lie within the
    file, names that repeat or are empty, and more than `limit` sequences.
    """
    window = _Window(source)
    order = next((o for o in "<>" if window.numbers(0, f"{o}I")[0] == _SIGNATURE), "")
    if not order:
        raise CorruptData("not a 2bit file")
    version, count, reserved = window.numbers(4, f"{order}III")
    if version > 1 or reserved:
        raise CorruptData("a 2bit file of an unknown version")
    if count > min(limit, source.size):
        raise CorruptData("a 2bit file names too many sequences")
    pointer = struct.Struct(f"{order}{'Q' if version else 'I'}")
    places: dict[str, int] = {}
    at = 16
    for _ in range(count):
        start = at + 1 + window.read(at, at + 1)[0]
        item = window.read(at + 1, start + pointer.size)
        name = item[: -pointer.size].decode("utf-8", "surrogateescape")
        if not name or name in places:
            raise CorruptData("a 2bit index repeats a name or leaves it out")
        (places[name],) = pointer.unpack(item[-pointer.size :])
        at = start + pointer.size
    return tuple(_entry(window, name, place, order) for name, place in places.items())


def _entry(window: "_Window", name: str, place: int, order: str) -> TwoBitEntry:
    length, n_blocks = window.numbers(place, f"{order}II")
    n_offset = place + 8
    (masks,) = window.numbers(n_offset + 8 * n_blocks, f"{order}I")
    offset = n_offset + 8 * n_blocks + 4 + 8 * masks + 4  # the last four are reserved
    if n_blocks > min(length, MAX_N_BLOCKS) or offset + (length + 3) // 4 > window.size:
        raise CorruptData("a 2bit sequence does not lie within its file")
    return TwoBitEntry(name, length, offset, n_blocks, n_offset, order)


class TwoBitReader:
    """Bases of a 2bit file. As thread-safe as its source.

    The tables of N blocks are read when first needed; those used last are kept, in `cache_bytes`.
    """

    __slots__ = ("_cache_bytes", "_cached", "_letters", "_lock", "_source", "_tables")

    def __init__(self, source: ByteSource, cache_bytes: int = 1 << 24) -> None:
        self._source = source
        self._letters = _letters()
        self._tables: OrderedDict[int, _NBlocks] = OrderedDict()
        self._cached = 0
        self._cache_bytes = cache_bytes
        self._lock = Lock()

    def residues(self, entry: TwoBitEntry, start: int, end: int) -> bytes:
        """Bases `[start, end)` in upper case, for `0 <= start <= end <= entry.length`.

        Raises `CorruptData` when the file does not hold what its index promises.
        """
        if not 0 <= start <= end <= entry.length:
            raise ValueError("an interval outside its sequence")
        if start == end:
            return b""
        first, last = start // 4, (end + 3) // 4
        packed = self._source.read(entry.offset + first, entry.offset + last)
        if len(packed) != last - first:
            raise CorruptData("a 2bit file ends within a sequence")
        bases = self._letters[np.frombuffer(packed, np.uint8)].view(np.uint8)
        bases = bases[start - 4 * first : end - 4 * first]
        if entry.n_blocks:
            starts, ends = self._n_blocks(entry)
            some = slice(ends.searchsorted(start, "right"), starts.searchsorted(end))
            for n_start, n_end in zip(starts[some].tolist(), ends[some].tolist(), strict=True):
                bases[max(n_start - start, 0) : n_end - start] = ord("N")
        return bases.tobytes()

    def _n_blocks(self, entry: TwoBitEntry) -> _NBlocks:
        with self._lock:
            table = self._tables.get(entry.n_offset)
            if table is not None:
                self._tables.move_to_end(entry.n_offset)
                return table
        table = self._load(entry)
        with self._lock:
            if entry.n_offset not in self._tables:
                self._tables[entry.n_offset] = table
                self._cached += _bytes_of(table)
            while self._cached > self._cache_bytes:
                self._cached -= _bytes_of(self._tables.popitem(last=False)[1])
        return table

    def _load(self, entry: TwoBitEntry) -> _NBlocks:
        count = entry.n_blocks
        data = self._source.read(entry.n_offset, entry.n_offset + 8 * count)
        if len(data) != 8 * count:
            raise CorruptData("a 2bit file ends within its blocks of N")
        numbers = np.frombuffer(data, f"{entry.order}u4").astype(np.int64)
        starts, ends = numbers[:count], numbers[:count] + numbers[count:]
        if (starts[1:] < ends[:-1]).any() or (ends <= starts).any() or ends[-1] > entry.length:
            raise CorruptData("blocks of N of a 2bit sequence are empty, overlap or leave it")
        return starts, ends


class _Window:
    """Reads of neighbouring bytes with read-ahead; a read beyond the end is `CorruptData`."""

    __slots__ = ("_data", "_source", "_start", "size")

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.size = source.size
        self._start = 0
        self._data = b""

    def read(self, start: int, end: int) -> bytes:
        if end > self.size:
            raise CorruptData("a 2bit file is cut short")
        if not self._start <= start <= end <= self._start + len(self._data):
            self._data, self._start = self._source.read(start, start + _WINDOW), start
        data = self._data[start - self._start : end - self._start]
        if len(data) != end - start:
            raise CorruptData("a 2bit file is cut short")
        return data

    def numbers(self, at: int, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.read(at, at + struct.calcsize(layout)))


def _letters() -> NDArray[np.uint32]:
    """The four letters of each byte, the highest bits first, as one number each."""
    codes = np.arange(256)[:, None] >> np.array([6, 4, 2, 0]) & 3
    letters: NDArray[np.uint8] = np.frombuffer(b"TCAG", np.uint8)[codes]
    return letters.reshape(-1).view(np.uint32)


def _bytes_of(table: _NBlocks) -> int:
    return sum(column.nbytes for column in table)
