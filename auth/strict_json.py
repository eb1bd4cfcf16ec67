"""JSON from strangers: one meaning or none, at a bounded cost."""

import json
import math
import re
from collections.abc import Iterator

MAX_DEPTH = 16

# The closing quote is optional so that the search never starts again inside an unclosed string.
# Unrolled, so that no match is tried twice: possessive quantifiers are wrong in Python 3.11.2.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def strict_json(data: bytes) -> object:
    """The value of one UTF-8 JSON document.

    Refused with `ValueError`: anything that RFC 8259 does not allow, a byte order mark, duplicate
    names, NaN and infinities (also by overflow), integers of thousands of digits, nesting deeper
    than `MAX_DEPTH`, and texts that hold U+0000 or an unpaired surrogate. The caller bounds the
    length.
    """
    _check_depth(data)
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    # Unescaped, neither can occur: UTF-8 knows no surrogates, JSON strings no control characters.
    if b"\\u" in data:
        for text in _texts(value):
            if "\0" in text or _SURROGATE.search(text):
                raise ValueError("a text that is not Unicode")
    return value


def strict_json_object(data: bytes) -> dict[str, object]:
    """The same of an object; `ValueError` for any other value."""
    value = strict_json(data)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _check_depth(data: bytes) -> None:
    # Each pass takes away the innermost level; the parser judges which bracket closes which.
    brackets = _STRING.sub(b"", data).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise ValueError("nested too deep, or brackets that do not match")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
