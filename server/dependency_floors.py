"""Whether the libraries at hand are as new as they must be: older ones have known holes.

An installer sees to it; this is for whoever has changed something since.
"""

import re
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from aiohttp import http_parser

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def shortfalls(
    required: Iterable[str] | None = None, installed: Callable[[str], str] = version
) -> list[str]:
    """What is older than `required` says (requirements such as `aiohttp>=3.14.3`; None: those of
    this package), or cannot be told; each a sentence for the operator."""
    found = []
    for each in _own() if required is None else required:
        requirement = _REQUIREMENT.fullmatch(each)
        if requirement is None:
            continue
        name, floor = requirement.groups()
        try:
            have = installed(name)
        except PackageNotFoundError:
            found.append(f"{name} is not installed as a package; it must be {floor} or newer")
            continue
        if _numbers(have) < _numbers(floor):
            found.append(f"{name} is {have}; older than {floor} it has known faults")
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        found.append("aiohttp lacks its compiled parser; the other one is easier to confuse")
    return found


def _own() -> list[str]:
    return [each for each in requires("htsgate") or () if ";" not in each]


def _numbers(text: str) -> tuple[int, ...]:
    """A version as numbers, without zeros at its end; what follows the numbers does not count."""
    numbers = _NUMBERS.match(text)
    parts = [int(each) for each in numbers[0].split(".")] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
