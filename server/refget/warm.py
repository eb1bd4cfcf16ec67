"""The commonest request, a short interval of a sequence that was asked for a moment ago, answered
with the least work: what aiohttp does for a response costs several times as much as finding it.

Whatever is special about a request goes to `sequence_routes`, and so does every refusal. The
answers are the same, which a test compares.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import HttpVersion11, hdrs, web

from server.cors import SECURITY_HEADERS
from server.htsget.delivery import SMALL
from server.limits import OBJECT, SENT
from server.refget.catalogue import KnownSequence
from server.refget.subsequence import Piece

_MOST_KEPT = 4096
_SECONDS = 1.0
_INTERVAL = re.compile(r"start=([0-9]{1,9})&end=([0-9]{1,9})")
_SPECIAL = (hdrs.RANGE, hdrs.IF_NONE_MATCH, hdrs.ORIGIN)
_ANY = "*/*"


@dataclass(frozen=True, slots=True)
class WarmSequence:
    """A sequence with the header of its answers; `longest`: bases of an interval."""

    known: KnownSequence
    ga4gh: str
    longest: int
    head: bytes
    until: float

    def interval(self, request: web.Request) -> Piece | None:
        """The interval that is asked for, if that is all, and the sequence has it."""
        found = _INTERVAL.fullmatch(request.rel_url.raw_query_string)
        if found is None or request.method != hdrs.METH_GET or not request.keep_alive:
            return None
        asked = request.headers
        if request.version != HttpVersion11 or asked.get(hdrs.ACCEPT, _ANY) != _ANY:
            return None
        for name in _SPECIAL:
            if name in asked:
                return None
        start, end = int(found[1]), int(found[2])
        if start < end <= self.known.length and end - start <= self.longest:
            return start, end
        return None

    def send(self, request: web.Request, interval: Piece, residues: bytes) -> bool:
        """Send the answer; False if it cannot leave at once."""
        transport = request.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        start, end = interval
        tail = b'.%d-%d"\r\nContent-Length: %d\r\n\r\n' % (start, end, len(residues))
        transport.write(b"".join((self.head, tail, residues)))
        request[OBJECT] = self.ga4gh
        request[SENT] = len(residues)
        return True


class WarmSequences:
    """Sequences by the texts of the ids that clients used, for a second."""

    def __init__(self, subsequence_limit: int) -> None:
        self._longest = min(SMALL, subsequence_limit) if subsequence_limit >= 1 else SMALL
        self._kept: OrderedDict[str, WarmSequence] = OrderedDict()

    def get(self, text: str) -> WarmSequence | None:
        """The sequence of an id."""
        found = self._kept.get(text)
        return None if found is None or found.until < time.monotonic() else found

    def keep(self, text: str, known: KnownSequence, headers: Mapping[str, str]) -> None:
        """What an id was found to name; `headers` of all its intervals."""
        longest = min(self._longest, known.length - 1)  # the whole has another tag
        ga4gh = known.digests.ga4gh
        fields = {
            **headers,
            **SECURITY_HEADERS,
            hdrs.VARY: f"{headers[hdrs.VARY]}, {hdrs.ORIGIN}",
            hdrs.DATE: formatdate(usegmt=True),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f'HTTP/1.1 200 OK\r\n{lines}ETag: "{ga4gh}'.encode()
        self._kept[text] = WarmSequence(known, ga4gh, longest, head, time.monotonic() + _SECONDS)
        self._kept.move_to_end(text)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def forget(self, text: str) -> None:
        """Look this one up anew."""
        self._kept.pop(text, None)


class Sent(web.StreamResponse):
    """What a handler returns when its answer has left already."""

    @property
    def prepared(self) -> bool:
        return True

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""
