"""Merged intervals as few bytes: differences as variable-length integers.

Each interval is `start << 1 | moved`, counted from the end of the one before; when `moved` is 1 the
reference is another (the first counts from reference 0, position 0), the difference of the
reference numbers follows, and the start is absolute. Then the length, or 0 when the end is
`UNBOUNDED`. Integers are LEB128: seven bits a byte, the lowest first.
"""

from collections.abc import Iterator

from formats.regions import UNBOUNDED, Interval

_MOST_BYTES = 9  # of one integer: 63 bits


def pack(intervals: tuple[Interval, ...]) -> bytes:
    """Intervals as bytes; `ValueError` unless merged (`formats.regions.merge`)."""
    out = bytearray()
    before: Interval | None = None
    for interval in intervals:
        for number in _numbers(before, interval):
            while number > 0x7F:
                out.append(number & 0x7F | 0x80)
                number >>= 7
            out.append(number)
        before = interval
    return bytes(out)


def unpack(data: bytes) -> tuple[Interval, ...]:
    """The intervals that were packed; `ValueError` for bytes that `pack` does not give."""
    numbers = _read(data)
    intervals: list[Interval] = []
    reference = end = 0
    for number in numbers:
        try:
            if number & 1:
                reference, end = next(numbers), 0
            start = end + (number >> 1)
            length = next(numbers)
        except StopIteration:
            raise ValueError("packed intervals end within one") from None
        end = start + length if length else UNBOUNDED
        intervals.append(Interval(reference, start, end))
    return tuple(intervals)


def packed_size(before: Interval | None, interval: Interval) -> int:
    """Bytes that an interval takes after another one, or as the first."""
    return sum(max(1, -(-number.bit_length() // 7)) for number in _numbers(before, interval))


def _numbers(before: Interval | None, interval: Interval) -> tuple[int, ...]:
    reference, start, end = interval
    length = 0 if end >= UNBOUNDED else end - start
    known, taken = (before.reference, before.end) if before else (0, 0)
    moved = reference != known
    forward = start if moved else start - taken
    if reference < 0 or forward < 0 or end <= start:
        raise ValueError("the intervals are not merged")
    return (forward << 1 | 1, reference, length) if moved else (forward << 1, length)


def _read(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            if shift >= 7 * _MOST_BYTES:
                raise ValueError("a packed integer is too long")
            continue
        yield number
        number = shift = 0
    if shift:
        raise ValueError("packed intervals end within an integer")
