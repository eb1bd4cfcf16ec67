"""Defects, and which cases must notice them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.conformance.broken_server import Defect, Request, Response, Sound


@dataclass(frozen=True, slots=True)
class Breaking:
    """A defect, and the names of the cases that fail by it: these and no others."""

    cases: frozenset[str]
    defect: Defect
    name: str


def breaks(*cases: str) -> Callable[[Defect], Breaking]:
    """Say which cases a defect breaks."""

    def make(defect: Defect) -> Breaking:
        return Breaking(frozenset(cases), defect, getattr(defect, "__name__", "defect"))

    return make


def defects_of(module: ModuleType) -> Iterator[Breaking]:
    """The defects that a module defines, in its order."""
    return (each for each in vars(module).values() if isinstance(each, Breaking))


def is_ticket(request: Request) -> bool:
    """Whether a request is one for a ticket."""
    return request.path.startswith(("/reads/", "/variants/")) and not request.path.endswith(
        "/service-info"
    )


def changed(request: Request, sound: Sound, change: Callable[[dict[str, Any]], object]) -> Response:
    """The sound answer; if it is a ticket, with its document changed in place."""
    answer = sound(request)
    if not is_ticket(request) or answer.status != 200 or not answer.body:
        return answer
    document = json.loads(answer.body)
    change(document)
    return answer.holding(json.dumps(document).encode())
