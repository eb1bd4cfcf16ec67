"""Regions as samtools writes them: `chr1:1,001-2,000`, 1-based, both ends included."""

import re
from collections.abc import Callable

from formats.regions import UNBOUNDED, UNPLACED, Region

_BRACES = re.compile(r"\{(.+)\}(?::(.*))?")
_INTERVAL = re.compile(r"([0-9,]*)(-?)([0-9,]*)", re.ASCII)


def parse_region(text: str, is_known: Callable[[str], bool]) -> Region:
    """A region from its text. Names may hold colons: the longest that `is_known` counts.

    `name`, `name:start`, `name:start-`, `name:-end`, `name:start-end`, `{name}:…` and `*`. Raises
    `ValueError`.
    """
    if text == UNPLACED:
        return Region(UNPLACED)
    if is_known(text):
        return Region(text)
    braces = _BRACES.fullmatch(text)
    name, interval = (braces[1], braces[2] or "") if braces else text.rpartition(":")[::2]
    if not name or not is_known(name):
        raise ValueError(f"{text}: the object has no such reference")
    return Region(name, *_parse_interval(interval)) if interval else Region(name)


def _parse_interval(text: str) -> tuple[int, int]:
    match = _INTERVAL.fullmatch(text)
    first, dash, last = match.groups() if match else ("", "", "")
    if not first.strip(",") and not last.strip(","):
        raise ValueError(f"{text}: not an interval, such as 1,001-2,000")
    start = max(0, _number(first, 1) - 1)
    end = min(UNBOUNDED, _number(last, UNBOUNDED)) if dash else UNBOUNDED
    if start >= end:
        raise ValueError(f"{text}: ends before it starts")
    return start, end


def _number(text: str, default: int) -> int:
    digits = text.replace(",", "")
    if len(digits) > 18:
        raise ValueError(f"{text}: too large a number")
    return int(digits) if digits else default
