"""Tables of a custodian's TOML file, read strictly: every member known, of its type, in its range.

Whatever is wrong is an `InvalidConfiguration` that names the place and what to write instead.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Never

from auth.errors import InvalidConfiguration

_LONGEST_TEXT = 1024
_DURATION = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Table:
    """A table at a place such as `broker[1]`, whose members are among the known."""

    def __init__(self, place: str, value: object, known: Collection[str]) -> None:
        self.place = place
        if not isinstance(value, dict):
            raise InvalidConfiguration(f"{place}: a table is expected")
        self._members: Mapping[str, object] = value
        for name in value:
            if name not in known:
                self.fail(f"unknown key {name!a}{nearest(name, known)}")

    def fail(self, message: str) -> Never:
        """Refuse the file because of this table."""
        raise InvalidConfiguration(f"{self.place}: {message}" if self.place else message)

    def has(self, name: str) -> bool:
        """Whether the member is there."""
        return name in self._members

    def text(self, name: str, default: str | None = None) -> str:
        """A printable text; without a default it is required."""
        if name not in self._members and default is not None:
            return default
        return self._text(name, self._required(name))

    def texts(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """An array of texts, none of them twice; empty only by default."""
        if name not in self._members and default is not None:
            return tuple(default)
        texts = tuple(self._text(name, each) for each in self._array(name))
        if not texts:
            self.fail(f"{name} is empty: leave it out or name something")
        if len(set(texts)) != len(texts):
            self.fail(f"{name} names something twice")
        return texts

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """A text that is one of the choices."""
        return self._chosen(name, self.text(name, default), choices)

    def choices(
        self, name: str, choices: Collection[str], default: Sequence[str] | None = None
    ) -> frozenset[str]:
        """Some of the choices."""
        return frozenset(self._chosen(name, each, choices) for each in self.texts(name, default))

    def flag(self, name: str) -> bool:
        """true or false; false by default."""
        value = self._members.get(name, False)
        if not isinstance(value, bool):
            self.fail(f"{name} is true or false")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """An integer from `least` to `most`."""
        value = self._members.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.fail(f"{name} is a number from {least} to {most}")
        return value

    def seconds(self, name: str) -> int:
        """A length of time such as "24h" or "365d"; 0 when there is none."""
        if name not in self._members:
            return 0
        found = _DURATION.fullmatch(self.text(name))
        if found is None:
            self.fail(f'{name} is a length of time, such as "24h" or "365d"')
        return int(found[1]) * _UNITS[found[2]]

    def tables(self, name: str, known: Collection[str]) -> list["Table"]:
        """An array of tables; empty by default."""
        values = self._array(name) if name in self._members else []
        before = f"{self.place}." if self.place else ""
        return [
            Table(f"{before}{name}[{number}]", value, known)
            for number, value in enumerate(values, 1)
        ]

    def _required(self, name: str) -> object:
        if name not in self._members:
            self.fail(f"{name} is missing")
        return self._members[name]

    def _array(self, name: str) -> list[object]:
        value = self._required(name)
        if not isinstance(value, list):
            self.fail(f"{name} is an array")
        return value

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT:
            self.fail(f"{name} holds a text")
        if not value.isprintable() or value != value.strip():
            self.fail(f"{name} holds blanks or control characters that cannot be meant")
        return value

    def _chosen(self, name: str, value: str, choices: Collection[str]) -> str:
        if value not in choices:
            self.fail(f"{name} cannot be {value!a}{nearest(value, choices)}")
        return value


def nearest(name: str, known: Collection[str]) -> str:
    """` (did you mean …?)`, or what there is."""
    found = get_close_matches(name.lower(), [each.lower() for each in known], n=1, cutoff=0.5)
    for each in known:
        if found and each.lower() == found[0]:
            return f" (did you mean {each}?)"
    return f" (known: {', '.join(sorted(known))})"
