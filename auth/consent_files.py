"""The custodian's two lists: whose data an object holds, and who has withdrawn.

Both are CSV in UTF-8 with a header line. Everything wrong is an `InvalidConfiguration` that names
the line and tells no value, for participants belong in no log.
"""

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from auth.errors import InvalidConfiguration

MAX_BYTES = 64 << 20
"""Of one file."""

MAX_VALUE = 255
"""Characters of a participant, a sample or a dataset; an object id may have four times as many."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


@dataclass(frozen=True, slots=True)
class SampleMap:
    """Which samples an object holds, and whose they are."""

    rows: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """By object id: pairs of a sample and its participant."""

    digest: str = ""

    def participants(self, object_id: str) -> frozenset[str]:
        """Whose data an object holds; nobody's that is known where the map does not name it."""
        return frozenset(participant for _, participant in self.rows.get(object_id, ()))

    def samples(self, object_id: str) -> frozenset[str]:
        """The samples of an object, as its header calls them."""
        return frozenset(sample for sample, _ in self.rows.get(object_id, ()))

    def names(self, participant: str) -> bool:
        """Whether any object holds data of somebody."""
        return any(participant == each for pairs in self.rows.values() for _, each in pairs)

    def __contains__(self, object_id: str) -> bool:
        return object_id in self.rows


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """Who has withdrawn: participants, and from when on, in seconds since the epoch; as listed."""

    rows: tuple[tuple[str, int], ...] = ()


def read_sample_map(data: bytes) -> SampleMap:
    """The map that a CSV of object, sample and participant holds.

    A sample that comes twice in one object is refused: only one of them could be right.
    """
    rows: dict[str, list[tuple[str, str]]] = {}
    seen: set[tuple[str, str]] = set()
    for line, (object_id, sample, participant) in _rows(data, ("object", "sample", "participant")):
        if (object_id, sample) in seen:
            raise InvalidConfiguration(f"line {line}: the object has this sample already")
        seen.add((object_id, sample))
        rows.setdefault(object_id, []).append((sample, participant))
    digest = hashlib.sha256(data).hexdigest()
    return SampleMap({object_id: tuple(pairs) for object_id, pairs in rows.items()}, digest)


def read_withdrawals(data: bytes) -> Withdrawals:
    """The list that a CSV of participant and effective_from holds.

    A participant may come again with another date; lines that say the same are one.
    """
    found: dict[tuple[str, int], None] = {}
    for line, (participant, effective_from) in _rows(data, ("participant", "effective_from")):
        try:
            found[participant, read_instant(effective_from)] = None
        except ValueError as error:
            raise InvalidConfiguration(f"line {line}: effective_from: {error}") from None
    return Withdrawals(tuple(found))


def read_instant(text: str) -> int:
    """A date (its first moment in UTC) or an instant of RFC 3339, in whole seconds since the epoch,
    rounded down. Raises `ValueError` with the remedy."""
    written = "write 2026-11-30 or 2026-11-30T08:00:00Z"
    instant = _INSTANT.fullmatch(text)
    try:
        if _DATE.fullmatch(text):
            found = datetime.fromisoformat(text).replace(tzinfo=UTC)
        elif instant is not None:
            date, time, _, zone = instant.groups()
            found = datetime.fromisoformat(f"{date}T{time}{zone.upper().replace('Z', '+00:00')}")
        else:
            raise ValueError(written)
        seconds = math.floor(found.timestamp())
    except (ValueError, OverflowError):
        raise ValueError(written) from None
    if seconds < 0:
        raise ValueError("before 1970")
    return seconds


def check_value(value: str, limit: int = MAX_VALUE) -> str:
    """An identifier without the spaces around it. Raises `ValueError` if it cannot be one."""
    value = value.strip(" \t\u00a0")
    if not value:
        raise ValueError("is empty")
    if len(value) > limit:
        raise ValueError(f"has more than {limit} characters")
    if _UNPRINTABLE.search(value):
        raise ValueError("holds a control character")
    return value


def _rows(data: bytes, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header, with the numbers of their lines; empty lines are left out."""
    if len(data) > MAX_BYTES:
        raise InvalidConfiguration(f"more than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration(f"line {line}: not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if [each.strip() for each in next(reader, [])] != list(names):
            raise InvalidConfiguration(f"line 1: the header is {','.join(names)}")
        for row in reader:
            line = reader.line_num
            if not row:
                continue
            if len(row) != len(names):
                raise InvalidConfiguration(f"line {line}: {len(names)} fields: {','.join(names)}")
            yield line, [_value(line, *pair) for pair in zip(names, row, strict=True)]
    except csv.Error as error:
        raise InvalidConfiguration(f"line {reader.line_num}: {error}") from None


def _value(line: int, name: str, text: str) -> str:
    try:
        return check_value(text, 4 * MAX_VALUE if name == "object" else MAX_VALUE)
    except ValueError as error:
        raise InvalidConfiguration(f"line {line}: {name} {error}") from None
