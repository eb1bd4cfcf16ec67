"""Tables of TOML or JSON, read strictly: every key is known, every value of its type.

Whatever is wrong raises `InvalidConfiguration`, which names the place and the remedy.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from auth.errors import InvalidConfiguration
from auth.strict_json import strict_json

MAX_TEXT = 1024
MAX_NUMBER = 1 << 53
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def parse_document(data: bytes, path: Path) -> object:
    """The value of a JSON file (by its suffix) or of a TOML file."""
    try:
        if path.suffix.lower() == ".json":
            return strict_json(data)
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise InvalidConfiguration(f"{path.name}: nested too deep") from None
    except ValueError as error:  # of either parser, and UnicodeDecodeError
        raise InvalidConfiguration(f"{path.name}: {error}") from None


class Table:
    """One table at a named place of the file, with the keys it may have."""

    def __init__(self, place: str, value: object, keys: Collection[str]) -> None:
        self.place = place
        if not isinstance(value, dict):
            self.fail("", "must be a table")
        self._members: dict[str, object] = value
        for key in self._members:
            if key not in keys:
                self.fail(key, f"no such key; {nearest(key, keys)}")

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def is_text(self, key: str, text: str) -> bool:
        """Whether a key has just that text."""
        return self._members.get(key) == text

    def fail(self, key: str, message: str) -> NoReturn:
        """Refuse the file for what stands at a key, or for the table as it is."""
        place = ".".join(part for part in (self.place, key) if part)
        raise InvalidConfiguration(f"{place}: {message}" if place else message)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; required where there is no default."""
        if key not in self._members and default is not None:
            return default
        return self._text(key, self._required(key))

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Distinct texts; required, with at least one, where there is no default."""
        if key not in self._members and default is not None:
            return default
        value = self._required(key)
        if not isinstance(value, list):
            self.fail(key, 'must be a list of texts, such as ["a", "b"]')
        texts = tuple(self._text(key, each) for each in value)
        if not texts:
            self.fail(key, "must not be empty; leave it out, or say what is meant")
        if len(set(texts)) < len(texts):
            self.fail(key, "names the same thing twice")
        return texts

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """One of some words; required where there is no default."""
        value = self.text(key, default)
        if value not in options:
            self.fail(key, f"{value!r} is none of {', '.join(options)}; {nearest(value, options)}")
        return value

    def choices(
        self, key: str, options: Collection[str], default: tuple[str, ...] | None = None
    ) -> frozenset[str]:
        """Some of some words."""
        values = self.texts(key, default)
        for value in values:
            if value not in options:
                self.fail(key, f"{value!r} is not known; {nearest(value, options)}")
        return frozenset(values)

    def flag(self, key: str) -> bool:
        """`true`, or not there: a right is not denied by the word false."""
        if key not in self._members:
            return False
        if self._members[key] is not True:
            self.fail(key, "must be true, or left out")
        return True

    def count(self, key: str) -> int:
        """A number from 1; 0 where there is none."""
        if key not in self._members:
            return 0
        value = self._members[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_NUMBER:
            self.fail(key, "must be a whole number from 1; leave it out for no limit")
        return value

    def duration(self, key: str) -> int:
        """Seconds, written as `90s`, `15m`, `24h` or `365d`; 0 where there is none."""
        if key not in self._members:
            return 0
        match = _DURATION.fullmatch(self.text(key))
        if match is None:
            self.fail(key, "must be a time span such as 24h or 365d")
        return int(match[1]) * _SECONDS[match[2]]

    def day(self, key: str) -> date | None:
        """A date, as TOML has it or as text; None where there is none."""
        value = self._members.get(key)
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                value = date.fromisoformat(value)
            except ValueError:
                value = False
        if key in self._members and (isinstance(value, datetime) or not isinstance(value, date)):
            self.fail(key, "must be a date such as 2026-12-31; it counts as a day of UTC")
        return value if isinstance(value, date) else None

    def moment(self, key: str) -> float:
        """Seconds since the epoch at a date-time with an offset, or at the begin of a date."""
        value = self._required(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                self.fail(key, "must be a date or a date-time such as 2026-06-01T12:00:00Z")
            if value.tzinfo is None and value.time() == time():
                value = value.replace(tzinfo=UTC)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time(), UTC)
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.fail(key, "must be a date, or a date-time with Z or an offset")
        return value.timestamp()

    def table(self, key: str, keys: Collection[str]) -> "Table | None":
        """A table in this one; None where there is none."""
        if key not in self._members:
            return None
        return Table(f"{self.place}.{key}" if self.place else key, self._members[key], keys)

    def tables(self, key: str) -> list[object]:
        """The members of an array of tables, each to be read; [] where there is none."""
        value = self._members.get(key, [])
        if not isinstance(value, list):
            self.fail(key, f"must be an array of tables: [[{key}]]")
        return value

    def named(self, key: str) -> dict[str, object]:
        """The members of a table whose keys are names."""
        value = self._members.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"must be tables with names: [{key}.NAME]")
        return value

    def _required(self, key: str) -> object:
        if key not in self._members:
            self.fail(key, "is missing")
        return self._members[key]

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value or value != value.strip():
            self.fail(key, "must be text, without spaces around it")
        if len(value) > MAX_TEXT or not value.isprintable():
            self.fail(key, f"must be at most {MAX_TEXT} printable characters")
        return value


def nearest(name: str, known: Iterable[str]) -> str:
    """Which known name may have been meant, as part of a message."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"the nearest is {close[0]}" if close else "there are none"


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
