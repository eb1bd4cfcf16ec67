"""Direct delivery: the long verbatim ranges of a block are fetched from the store itself.

For whole objects only. What is re-encoded, and what is short, still comes from us: as windows of
the very block that a client would get without direct delivery.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from server.catalog import DataObject
from server.slicing.library import Library, Plan
from server.slicing.segments import Stored
from server.slicing.selection import Selection
from storage_backends.base import PresignedRead, Presigner, StorageDenied

_log = logging.getLogger(__name__)

SHORTEST = 1 << 20
"""Bytes of a verbatim range from which on a request to the store is worth it."""

LONGEST = 1 << 26
"""Bytes that one signed request gives. Its range cannot be taken up in the middle, so it is short
enough to be made again."""

MOST_SECONDS = 300
"""How long a signed request works: it cannot be withdrawn."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A selection whose block comes in pieces, in order: windows `[start, end)` of it from us, and
    requests to the store. `etag` is that of its plan, from which the windows are cut."""

    selection: Selection
    etag: str
    pieces: tuple[tuple[int, int] | PresignedRead, ...]


async def spread(
    library: Library,
    presigner: Presigner,
    item: DataObject,
    selections: Sequence[Selection],
    seconds: int,
    *,
    strict: bool = False,
) -> list[Selection | Spread]:
    """The selections of a ticket, those that have long verbatim ranges spread; as they are when
    there is nothing to sign with. Raises what planning raises. `seconds`: the life of the ticket;
    `strict`: as `Library.plan_body` has it.
    """
    bodies: list[Selection | Spread] = []
    for number, selection in enumerate(selections, start=1):
        closing = number == len(selections)
        plan = await library.plan_body(item, selection, closing=closing, strict=strict)
        try:
            pieces = [
                piece
                if isinstance(piece, tuple)
                else await presigner.presign(
                    item.key,
                    piece.start,
                    piece.end,
                    fingerprint=item.stat.fingerprint,
                    seconds=min(seconds, MOST_SECONDS),
                )
                for piece in _pieces(plan)
            ]
        except StorageDenied as error:
            _log.warning("direct delivery is not possible, so the server sends all: %s", error)
            return list(selections)
        whole = all(isinstance(piece, tuple) for piece in pieces)
        bodies.append(selection if whole else Spread(selection, plan.etag, tuple(pieces)))
    return bodies


def _pieces(plan: Plan) -> Iterator[tuple[int, int] | Stored]:
    """The long verbatim ranges of a plan, no longer than `LONGEST`, and the windows between."""
    begin = position = 0
    for segment in plan.segments:
        if isinstance(segment, Stored) and len(segment) >= SHORTEST:
            if begin < position:
                yield begin, position
            for start in range(segment.start, segment.end, LONGEST):
                yield replace(segment, start=start, end=min(start + LONGEST, segment.end))
            begin = position + len(segment)
        position += len(segment)
    if begin < position:
        yield begin, position
