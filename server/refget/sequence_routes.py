"""The endpoints of refget Sequences: residues, what is known of them, and service-info."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2s
from types import MappingProxyType

import orjson
from aiohttp import hdrs, web

from server.errors import NotFound
from server.http_range import if_none_match_holds, if_range_holds
from server.limits import OBJECT, SENT
from server.refget.catalogue import KnownSequence, SequenceCatalogue, SequencePending
from server.refget.fasta_text import lines_of, text_size
from server.refget.files import SequenceFiles, SequenceUnavailable
from server.refget.identifiers import Md5Id, SequenceId, TruncatedId, parse_id
from server.refget.media_types import JSON, TEXT, negotiate
from server.refget.restricted import CONFINED, Caller, Pieces, RestrictedSequences, give
from server.refget.sending import send_residues, send_stream, stream_residues
from server.refget.service_info import sequences_info
from server.refget.subsequence import Piece, Subsequence, judge_subsequence
from server.refget.upstream import UpstreamSequences
from server.refget.warm import Sent, WarmSequences
from server.service_info import Service

_PLAIN = next(iter(TEXT.values()))
_FASTA = "text/x-fasta; charset=us-ascii"
_OFFERS = MappingProxyType({**TEXT, "text/x-fasta": _FASTA})

_IMMUTABLE = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300"  # of what an authority may still change


@dataclass(frozen=True, slots=True)
class SequenceRoutes:
    """Handlers over the parts that do the work.

    `subsequence_limit`: the most bases of one part; below 1: any number. `is_pending`: whether
    there are files of which nobody knows yet what they hold. `upstream`: who is asked for what is
    not here. `restricted`: what the catalogue does not show, for who may have it.
    """

    catalogue: SequenceCatalogue
    files: SequenceFiles
    service: Service
    subsequence_limit: int
    is_pending: Callable[[], bool]
    upstream: UpstreamSequences | None = None
    restricted: RestrictedSequences | None = None
    _warm: WarmSequences = field(init=False, repr=False)
    _sent: Sent = field(init=False, repr=False, default_factory=Sent)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_warm", WarmSequences(self.subsequence_limit))

    def add_to(self, app: web.Application) -> None:
        """Register `/sequence/…`."""
        for slash in ("", "/"):
            app.router.add_get(f"/sequence/service-info{slash}", self.service_info)
            app.router.add_get(f"/sequence/{{id}}{slash}", self.sequence)
            app.router.add_get(f"/sequence/{{id}}/metadata{slash}", self.metadata)

    async def sequence(self, request: web.Request) -> web.StreamResponse:
        """A sequence, or a part of it."""
        text = request.match_info["id"]
        warm = self._warm.get(text)
        if warm is not None and (interval := warm.interval(request)):
            try:
                residues = await self.files.residues(warm.known, *interval)
            except SequenceUnavailable:
                self._warm.forget(text)
            else:
                if warm.send(request, interval, residues):
                    return self._sent
        wanted = parse_id(text)
        known = await self.catalogue.find(wanted)
        if known is None:
            pieces = partial(self._pieces, request)
            found = await self._look_elsewhere(wanted, request, pieces, self._answer)
            if isinstance(found, web.StreamResponse):
                return found
            known = found
        cache_control = _IMMUTABLE if isinstance(wanted, Md5Id | TruncatedId) else _SHORT
        if warm is None:
            self._warm.keep(text, known, _headers(_PLAIN, "none", cache_control))
        try:
            return await self._answer(request, known, cache_control)
        except SequenceUnavailable:
            if request.writer.output_size > 0:
                raise
            # It may have moved, or its file may have been read anew, since it was looked up; or
            # what was fetched once was removed.
            renewed = await self.catalogue.renew(wanted)
            if renewed in (None, known) and await self._fetch(wanted, request):
                renewed = await self.catalogue.renew(wanted)
            if renewed is None or renewed == known:
                raise
            return await self._answer(request, renewed, cache_control)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Digests, length and names of a sequence."""
        wanted = parse_id(request.match_info["id"])
        known = await self.catalogue.find(wanted)
        if known is None:
            found = await self._look_elsewhere(wanted, request, None, self._describe)
            if isinstance(found, web.StreamResponse):
                return found
            known = found
        return await self._describe(request, known, _SHORT)

    async def _describe(
        self, request: web.Request, known: KnownSequence, cache_control: str
    ) -> web.StreamResponse:
        content_type = negotiate(request.headers.getall(hdrs.ACCEPT, ()), JSON)
        _name_object(request, known, cache_control)
        aliases = [{"alias": a.alias, "naming_authority": a.authority} for a in known.aliases]
        metadata = {
            "id": known.digests.md5,
            "md5": known.digests.md5,
            "ga4gh": known.digests.ga4gh,
            "trunc512": known.digests.trunc512,
            "length": known.length,
            "aliases": aliases,
        }
        return _document(request, {"metadata": metadata}, content_type, cache_control)

    async def service_info(self, request: web.Request) -> web.StreamResponse:
        """What this server can do."""
        content_type = negotiate(request.headers.getall(hdrs.ACCEPT, ()), JSON)
        info = sequences_info(
            self.service,
            identifier_types=await self.catalogue.authorities(),
            subsequence_limit=self.subsequence_limit,
        )
        return _document(request, info, content_type, _SHORT)

    async def _look_elsewhere(
        self,
        wanted: SequenceId,
        request: web.Request,
        pieces: Pieces | None,
        answer: Callable[[web.Request, KnownSequence, str], Awaitable[web.StreamResponse]],
    ) -> KnownSequence | web.StreamResponse:
        """What not everybody may have, which is sent as `answer` has it, or what another server has
        and the catalogue knows now. Of both, whoever gets neither learns nothing."""
        caller: Caller | None = None
        if self.restricted is not None:
            caller = await self.restricted.guard.meet(request)
            given = await self.restricted.sequence(caller, wanted, pieces)
            if given is not None:
                known, permit = given
                return await give(request, [permit], partial(answer, request, known, CONFINED))
        found = None
        try:
            if await self._fetch(wanted, request):
                found = await self.catalogue.renew(wanted)
        finally:
            if found is None and caller is not None:
                await caller.refused()
        if found is not None:
            return found
        if isinstance(wanted, Md5Id | TruncatedId) and self.is_pending():
            raise SequencePending("the sequence may be in a file that was not read yet")
        raise NotFound("no such sequence")

    async def _fetch(self, wanted: SequenceId, request: web.Request) -> bool:
        """Whether another server had the sequence, and the catalogue knows it now."""
        if self.upstream is None:
            return False
        return await self.upstream.fetch(wanted, request.headers.getall(hdrs.VIA, ()))

    async def _answer(
        self, request: web.Request, known: KnownSequence, cache_control: str
    ) -> web.StreamResponse:
        asked = request.headers
        ga4gh = known.digests.ga4gh
        _name_object(request, known, cache_control)
        content_type, part = self._part(request, known)
        as_fasta = content_type is _FASTA
        etag = _etag(ga4gh, part, known.length, as_fasta=as_fasta)
        headers = _headers(content_type, part.headers[hdrs.ACCEPT_RANGES], cache_control)
        headers |= {**part.headers, hdrs.ETAG: etag}
        if hdrs.IF_NONE_MATCH in asked and if_none_match_holds(
            asked.getall(hdrs.IF_NONE_MATCH), etag
        ):
            del headers[hdrs.CONTENT_LENGTH]
            return web.Response(status=304, headers=headers)
        title = b""
        if as_fasta:
            title = _title(ga4gh, part, known.length)
            residues = int(headers[hdrs.CONTENT_LENGTH])
            headers[hdrs.CONTENT_LENGTH] = str(len(title) + text_size(residues))
            headers[hdrs.ACCEPT_RANGES] = "none"
        size = int(headers[hdrs.CONTENT_LENGTH])
        request[SENT] = 0 if request.method == hdrs.METH_HEAD else size
        if request.method == hdrs.METH_HEAD:
            for start, _ in part.pieces[:1]:  # whether a GET would find it
                await self.files.residues(known, start, start + 1)
            return web.Response(status=part.status, headers=headers)
        if as_fasta:
            stream = self._as_fasta(title, known, part)
            return await send_stream(request, stream, size, status=200, headers=headers)
        return await send_residues(
            request, self.files, known, part.pieces, status=part.status, headers=headers
        )

    def _pieces(self, request: web.Request, known: KnownSequence) -> Sequence[Piece]:
        """The residues that the answer to a request shows."""
        return self._part(request, known)[1].pieces

    def _part(self, request: web.Request, known: KnownSequence) -> tuple[str, Subsequence]:
        """The part of a sequence that is asked for, and as what."""
        content_type = negotiate(request.headers.getall(hdrs.ACCEPT, ()), _OFFERS)
        part = self._judge(request, known, f'"{known.digests.ga4gh}"')
        if content_type is _FASTA and part.status == 206:
            # Lines have no bytes of the sequence's own; who asks for some of them gets all.
            part = self._judge(request, known, "")
        return content_type, part

    def _judge(self, request: web.Request, known: KnownSequence, etag: str) -> Subsequence:
        """The part that is asked for; a `Range` counts if `If-Range` names this ETag."""
        ranges = request.headers.getall(hdrs.RANGE, ())
        if ranges:
            if_range = request.headers.get(hdrs.IF_RANGE, etag)
            ranges = ranges if etag and if_range_holds(if_range, etag) else ()
        query = request.query.items() if request.rel_url.raw_query_string else ()
        return judge_subsequence(
            known.length,
            query,
            ranges,
            circular=known.circular,
            subsequence_limit=self.subsequence_limit,
        )

    async def _as_fasta(
        self, title: bytes, known: KnownSequence, part: Subsequence
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(stream_residues(self.files, known, part.pieces)) as residues:
            async for lines in lines_of(residues):
                yield title + lines
                title = b""
        if title:
            yield title


def _headers(content_type: str, accept_ranges: str, cache_control: str) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.ACCEPT_RANGES: accept_ranges,
        hdrs.CACHE_CONTROL: cache_control,
        hdrs.VARY: hdrs.ACCEPT,
    }


def _etag(ga4gh: str, part: Subsequence, length: int, *, as_fasta: bool) -> str:
    """A tag of the content: of the whole also where a `Range` of it is sent."""
    form = ".fasta" if as_fasta else ""
    if part.status == 206 or part.pieces == ((0, length),):
        return f'"{ga4gh}{form}"'
    return f'"{ga4gh}.{_intervals(part)}{form}"'


def _title(ga4gh: str, part: Subsequence, length: int) -> bytes:
    where = "" if part.pieces == ((0, length),) else f" {_intervals(part)}"
    return f">{ga4gh}{where}\n".encode()


def _intervals(part: Subsequence) -> str:
    return ",".join(f"{start}-{end}" for start, end in part.pieces) or "0-0"


def _name_object(request: web.Request, known: KnownSequence, cache_control: str) -> None:
    """Name a sequence in the access log, but for one that not everybody may know of."""
    if cache_control is not CONFINED:
        request[OBJECT] = known.digests.ga4gh


def _document(
    request: web.Request, document: dict[str, object], content_type: str, cache_control: str
) -> web.StreamResponse:
    """JSON that may change, with a tag of what it says."""
    body = orjson.dumps(document)
    etag = f'"{blake2s(body, digest_size=12).hexdigest()}"'
    headers = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.ETAG: etag,
        hdrs.CACHE_CONTROL: cache_control,
        hdrs.VARY: hdrs.ACCEPT,
    }
    if if_none_match_holds(request.headers.getall(hdrs.IF_NONE_MATCH, ()), etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)
