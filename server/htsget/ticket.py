"""Tickets: the URLs a client fetches, each a sealed capability, to have the records it asked for.

First the header, then as few body blocks as possible, in file order. A body block is a selection of
records, so any replica can plan it without knowing what the maker of the ticket knew.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from time import monotonic

import orjson

from auth.capability import Capability, CapabilityCodec
from auth.terms import Terms
from formats.regions import UNBOUNDED, UNPLACED, Interval, Region, merge
from server.catalog import DataObject
from server.htsget.direct import Spread
from server.model import DataClass
from server.slicing.selection import Selection
from server.slicing.slicers import Slicer
from storage_backends.base import PresignedRead

_FEW = 16  # intervals, which fit into any URL
_MOST_HEADERS = 4096  # kept at a time


@dataclass(frozen=True, slots=True)
class Rights:
    """To whom a ticket for controlled data is given: its id, a pseudonym of the caller, when the
    right ends (seconds since the epoch, 0: with the ticket), and the terms. `marked`: the intervals
    that the header of a clipped answer names."""

    ticket_id: str
    principal: str
    expires: int
    terms: Terms
    marked: tuple[Interval, ...] | None = None


class TicketMaker:
    """Makes tickets. `max_block_bytes` bounds what one URL gives, as far as the index can tell.

    All tickets for an object within a twentieth of their life name the same header URL: the header
    is the same too, so a browser that keeps it need not fetch it for each region. A ticket for
    controlled data shares nothing.
    """

    def __init__(self, codec: CapabilityCodec, max_block_bytes: int) -> None:
        self._codec = codec
        self._max_block_bytes = max_block_bytes
        self._header_seconds = codec.lifetime / 20
        self._headers: OrderedDict[tuple[str, str, str, bool], tuple[float, str]] = OrderedDict()

    def header(self, item: DataObject, origin: str, rights: Rights | None = None) -> bytes:
        """The ticket for `class=header`: one URL, whose bytes are a file without records."""
        return self._render(item, origin, [], rights)

    def records(
        self,
        item: DataObject,
        origin: str,
        bodies: Sequence[Selection | Spread],
        rights: Rights | None = None,
    ) -> bytes:
        """The ticket for records: the header's URL, then one for each selection, or for each piece
        of it."""
        return self._render(item, origin, bodies, rights)

    def select(
        self,
        item: DataObject,
        slicer: Slicer,
        regions: Sequence[Region] | None,
        rights: Rights | None = None,
    ) -> list[Selection]:
        """The selections of a request, in file order, none larger than a block may be, nor
        described by more than a URL may hold.

        `regions` may overlap and come in any order; None is the whole object. Raises
        `UnknownReference`.
        """
        size = item.stat.size
        # What is re-encoded comes on top of what is counted here.
        limit = self._max_block_bytes - self._max_block_bytes // 8
        if regions is None:
            return [Selection(cut=cut) for cut in _cuts(0, size, limit)]
        placed = [region for region in regions if region.reference_name != UNPLACED]
        located = [interval for region in placed if (interval := slicer.locate(region))]
        intervals: Sequence[Interval] = merge(located)
        if len(intervals) > 1:
            intervals = sorted(intervals, key=lambda each: slicer.position(each.reference))
        unplaced = slicer.unplaced_start() if len(placed) < len(regions) else None
        grouped = _grouped(slicer, intervals, unplaced, size, limit)
        split = partial(self._split, item, rights)
        return [part for group in grouped for part in split(group)] or [Selection(())]

    def _split(
        self, item: DataObject, rights: Rights | None, selection: Selection
    ) -> Iterable[Selection]:
        """The same records as selections that each fit into one URL."""
        if len(selection.intervals or ()) <= _FEW:
            return (selection,)
        whole = _capability(item, DataClass.BODY, selection, _new_id(), 1, 1)
        if rights is not None:
            whole = _granted(whole, rights)
        return (
            replace(
                selection,
                intervals=part.intervals,
                unplaced=part.unplaced,
                sent_until=part.sent_until,
            )
            for part in self._codec.split(whole)
        )

    def _render(
        self,
        item: DataObject,
        origin: str,
        bodies: Sequence[Selection | Spread],
        rights: Rights | None,
    ) -> bytes:
        """The ticket as JSON: `htsget` is its only key (htsget 1.3, "Response JSON fields")."""
        sealed = (
            self._header(item, closed=not bodies)
            if rights is None
            else self._header_of(item, rights, len(bodies) + 1)
        )
        urls = [_url(f"{origin}/blocks/{sealed}", {}, DataClass.HEADER)]
        ticket_id, parts = rights.ticket_id if rights else _new_id(), len(bodies) + 1
        for part, body in enumerate(bodies, start=2):
            selection = body.selection if isinstance(body, Spread) else body
            capability = _capability(item, DataClass.BODY, selection, ticket_id, part, parts)
            if rights is not None:
                capability = _granted(capability, rights)
            if isinstance(body, Spread):
                urls += self._pieces(capability, origin, body)
            else:
                url = f"{origin}/blocks/{self._codec.seal(capability)}"
                urls.append(_url(url, {}, DataClass.BODY))
        return orjson.dumps({"htsget": {"format": item.format, "urls": urls}})

    def _pieces(
        self, capability: Capability, origin: str, body: Spread
    ) -> Iterator[dict[str, object]]:
        for piece in body.pieces:
            if isinstance(piece, PresignedRead):
                yield _url(piece.url, piece.headers, DataClass.BODY)
            else:
                sealed = self._codec.seal(replace(capability, window=piece, block_etag=body.etag))
                yield _url(f"{origin}/blocks/{sealed}", {}, DataClass.BODY)

    def _header_of(self, item: DataObject, rights: Rights, parts: int) -> str:
        """The header's capability for one caller; `parts`: of the ticket, itself counted."""
        selection = Selection(rights.marked)
        capability = _capability(item, DataClass.HEADER, selection, rights.ticket_id, 1, parts)
        capability = _granted(capability, rights)
        if not self._codec.fits(capability):  # the mark then says how many, not which
            capability = replace(capability, intervals=None)
        return self._codec.seal(capability)

    def _header(self, item: DataObject, *, closed: bool) -> str:
        """The header's capability; `closed`: nothing follows it, so it carries the EOF marker."""
        key = (item.object_id, item.stat.fingerprint, item.format, closed)
        now = monotonic()
        kept = self._headers.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        capability = _capability(item, DataClass.HEADER, Selection(), "", 1, 1 if closed else 2)
        sealed = self._codec.seal(capability)
        self._headers[key] = (now + self._header_seconds, sealed)
        if len(self._headers) > _MOST_HEADERS:
            self._headers.popitem(last=False)
        return sealed


def _url(url: str, headers: Mapping[str, str], data_class: DataClass) -> dict[str, object]:
    return {"url": url, "headers": headers, "class": data_class}


def _capability(
    item: DataObject,
    data_class: DataClass,
    selection: Selection,
    ticket_id: str,
    part: int,
    parts: int,
) -> Capability:
    return Capability(
        endpoint=item.endpoint,
        object_id=item.object_id,
        fingerprint=item.stat.fingerprint,
        format=item.format,
        data_class=data_class,
        ticket_id=ticket_id,
        intervals=selection.intervals,
        unplaced=selection.unplaced,
        sent_until=selection.sent_until,
        cut=selection.cut,
        part=part,
        parts=parts,
    )


def _granted(capability: Capability, rights: Rights) -> Capability:
    return replace(
        capability,
        fingerprint=veiled(capability.fingerprint, rights.ticket_id),
        principal=rights.principal,
        expires=rights.expires,
        terms=rights.terms,
    )


def veiled(fingerprint: str, ticket_id: str) -> str:
    """What stands for a fingerprint where its holder may not know the size of the whole object."""
    return hashlib.sha256(f"{ticket_id} {fingerprint}".encode()).hexdigest()[:32]


def _new_id() -> str:
    return secrets.token_hex(16)


def _grouped(
    slicer: Slicer, intervals: Sequence[Interval], unplaced: int | None, size: int, limit: int
) -> Iterator[Selection]:
    """Consecutive intervals put together up to `limit` bytes; a larger one is cut by file offset.

    `unplaced`: where the reads without a place begin, if they are wanted; they come last.
    """
    group: list[Interval] = []
    held, before = 0, None
    for interval in intervals:
        start, end = (min(offset, size) for offset in slicer.extent(interval))
        if group and held + end - start > limit:
            yield Selection(tuple(group), sent_until=_sent_until(before, group[0]))
            before, group, held = group[-1], [], 0
        if end - start > limit:
            for cut in _cuts(start, end, limit):
                yield Selection((interval,), sent_until=_sent_until(before, interval), cut=cut)
            before = interval
        else:
            group.append(interval)
            held += end - start
    joined = unplaced is not None and held + size - unplaced <= limit
    if group:
        yield Selection(tuple(group), joined, sent_until=_sent_until(before, group[0]))
    if unplaced is not None and not (group and joined):
        for cut in _cuts(unplaced, size, limit):
            yield Selection((), unplaced=True, cut=cut)


def _sent_until(before: Interval | None, interval: Interval) -> int:
    """Where the blocks before ended on an interval's reference."""
    return before.end if before is not None and before.reference == interval.reference else 0


def _cuts(start: int, end: int, limit: int) -> list[tuple[int, int] | None]:
    """The file's offsets, divided between `start` and `end` in steps of `limit`.

    The first cut begins at 0 and the last has no end, so nothing falls beside them, and who may see
    a part of the file is not told how long it is. None when one step suffices.
    """
    if end - start <= limit:
        return [None]
    borders = [0, *range(start + limit, end, limit), UNBOUNDED]
    return list(pairwise(borders))
