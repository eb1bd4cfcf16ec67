"""Range and conditional requests for a block of known size (RFC 9110, sections 13 and 14).

One range, no multipart: a header is parsed here, and each API judges what it cannot satisfy. Ranges
are half-open in code, inclusive only in HTTP's text.

    RangeError                  base; the text is written for the client
    ├── MalformedRange
    └── RangeNotSatisfiable
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_RANGE = re.compile(r"[0-9]{1,18}-(?:[0-9]{1,18})?|-[0-9]{1,18}")
_ETAG = re.compile(r'(?:W/)?("[!#-~]*")')
_LONGEST_LIST = 4096  # characters of If-None-Match that are looked at


class RangeError(Exception):
    """Base of what is wrong with a `Range` header."""


class MalformedRange(RangeError):
    """A `Range` of bytes that is not one range in ASCII digits."""


class RangeNotSatisfiable(RangeError):
    """A `Range` header that names no byte of a block; `size` is the block's, in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("the Range header asks for no byte of this block")
        self.size = size


@dataclass(frozen=True, slots=True)
class AskedRange:
    """What one `Range` header asks for: bytes from `first`, or the last `suffix` bytes.

    `end` is exclusive; None: to the end.
    """

    first: int = 0
    end: int | None = None
    suffix: int | None = None

    def within(self, size: int) -> tuple[int, int] | None:
        """The bytes `[start, end)` of `size` that are asked for; None when there are none."""
        if self.suffix is not None:
            start, end = max(0, size - self.suffix), size
        else:
            start, end = self.first, size if self.end is None else min(self.end, size)
        return (start, end) if start < end else None


def parse_range(values: Sequence[str]) -> AskedRange | None:
    """The range that the values of the `Range` headers ask for, or `MalformedRange`.

    None: no header, or a unit other than bytes, which RFC 9110 has ignored.
    """
    if not values:
        return None
    if len(values) > 1:
        raise MalformedRange("more than one Range header")
    unit, _, text = values[0].partition("=")
    if unit.strip(" \t").lower() != "bytes":
        return None
    text = text.strip(" \t")
    if not _RANGE.fullmatch(text):
        raise MalformedRange("Range is not one range of bytes")
    first, _, last = text.partition("-")
    if not first:
        return AskedRange(suffix=int(last))
    return AskedRange(int(first), int(last) + 1 if last else None)


def block_range(
    values: Sequence[str], size: int, *, etag: str, if_range: str | None = None
) -> tuple[int, int] | None:
    """The bytes `[start, end)` of a block to send, None for the whole block.

    `values`: those of all `Range` headers; `if_range`: that of `If-Range`. `RangeNotSatisfiable`
    for a range without a byte, and for one that is malformed: answering a client that asked for a
    part with the whole would corrupt what it assembles.
    """
    if if_range is not None and not if_range_holds(if_range, etag):
        return None
    try:
        asked = parse_range(values)
    except MalformedRange:
        raise RangeNotSatisfiable(size) from None
    if asked is None:
        return None
    found = asked.within(size)
    if found is None:
        raise RangeNotSatisfiable(size)
    return found


def if_range_holds(value: str, etag: str) -> bool:
    """Whether `If-Range` names the block's strong ETag; a date or a weak tag never does."""
    return value.strip(" \t") == etag


def if_none_match_holds(values: Sequence[str], etag: str) -> bool:
    """Whether `If-None-Match` names the block's ETag, compared weakly: answer 304."""
    text = ",".join(values)[:_LONGEST_LIST]
    return text.strip(" \t") == "*" or etag in _ETAG.findall(text)
