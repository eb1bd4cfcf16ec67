"""The `conditions` of a visa: which other visas its holder must have (Passport 1.2).

A list of alternatives, each a list of clauses that must all be met. A clause is met by one visa
that has all its members; different clauses may be met by different visas.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

MAX_ALTERNATIVES = 32
MAX_CLAUSES = 32
"""Of one alternative."""

_MEMBERS = ("value", "source", "by")
_CONST, _PATTERN, _SPLIT_PATTERN = "const", "pattern", "split_pattern"


class Held(Protocol):
    """What clauses look at in a visa."""

    @property
    def type(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def by(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one member of a visa must be: `const:`, `pattern:` or `split_pattern:` and a text."""

    kind: str
    text: str

    @classmethod
    def parse(cls, value: object) -> "Comparison":
        """From its text, split at the first colon, since values are URLs; `ValueError`."""
        if not isinstance(value, str):
            raise ValueError("a clause compares texts")
        kind, colon, text = value.partition(":")
        if not colon or kind not in (_CONST, _PATTERN, _SPLIT_PATTERN):
            raise ValueError("a clause says how it compares")
        return cls(kind, text)

    def fits(self, text: str) -> bool:
        """Whether the whole text is as it must be, or one of its parts between semicolons."""
        if self.kind == _CONST:
            return text == self.text
        parts = text.split(";") if self.kind == _SPLIT_PATTERN else (text,)
        return any(matches(self.text, part) for part in parts)


@dataclass(frozen=True, slots=True)
class Clause:
    """A visa that must be held: its type, and what some other members must be."""

    type: str
    members: tuple[tuple[str, Comparison], ...]

    def is_met_by(self, visa: Held) -> bool:
        """Whether this one visa is all that."""
        return visa.type == self.type and all(
            expected.fits(getattr(visa, member)) for member, expected in self.members
        )


Conditions = tuple[tuple[Clause, ...], ...]
"""Alternatives of clauses; none at all restricts nothing."""


def parse_conditions(value: object) -> Conditions:
    """Conditions from their JSON. One fault anywhere is a `ValueError`: nothing is overlooked."""
    if not isinstance(value, list) or len(value) > MAX_ALTERNATIVES:
        raise ValueError("conditions are a short list")
    return tuple(_alternative(each) for each in value)


def are_met(conditions: Conditions, held: Iterable[Held]) -> bool:
    """Whether the visas held, none of which may have conditions itself, meet them."""
    visas = tuple(held)
    return not conditions or any(
        all(any(clause.is_met_by(visa) for visa in visas) for clause in alternative)
        for alternative in conditions
    )


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits: `?` is any one character, `*` any run of them; nothing else is
    special, and nothing escapes. At most O(pattern x text) steps: only the last `*` is returned to.
    """
    at = position = 0
    star, resume = -1, 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at += 1
            position += 1
        elif star >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _alternative(value: object) -> tuple[Clause, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CLAUSES:
        raise ValueError("an alternative is a short list of clauses")
    return tuple(_clause(each) for each in value)


def _clause(value: object) -> Clause:
    if not isinstance(value, dict):
        raise ValueError("a clause is an object")
    kind = value.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("a clause names a type")
    members = tuple((name, Comparison.parse(value[name])) for name in _MEMBERS if name in value)
    if not members or len(value) != len(members) + 1:
        raise ValueError("a clause has type and value, source or by, and nothing else")
    return Clause(kind, members)
