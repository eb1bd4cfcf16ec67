"""Restricted sequences and collections, for those who may have them (htsgate's policy decides).

A digest is all that it takes to ask whether somebody's genome is here, so whoever may not see a
sequence is answered as if it were unknown: nothing here makes a difference that others can see. A
caller has what one file gives: its sequences by the names and coordinates of that file's records,
and what it is made of (names, lengths, digests) as the header of the object.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from aiohttp import hdrs, web
from sqlalchemy import Connection, select

from formats.regions import Region
from server.limits import SENT
from server.refget.catalogue import AmbiguousId, KnownSequence, Place
from server.refget.collection_store import CollectionStore
from server.refget.identifiers import AliasId, SequenceId
from server.refget.media_types import NotAcceptable
from server.refget.restriction import RestrictedFile
from server.refget.subsequence import Piece, SubsequenceError
from server.refget.tables import FILES
from server.refget.views import View, Views

CONFINED = "private, no-store"
"""How long what is restricted may be kept, and by whom: by nobody."""

_MOST_FILES = 100  # that policy is asked about for one request

Pieces = Callable[[KnownSequence], Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class AskedFile:
    """What is asked of a restricted file: `regions` of its records by their names, none of them
    empty, or () for what it is made of. `collection`: what it holds, "" where it is none. `digest`:
    what the client gets."""

    file: RestrictedFile
    collection: str
    regions: tuple[Region, ...]
    digest: str


class Permit(Protocol):
    """The right to what was asked of a file."""

    def giving(self) -> AbstractAsyncContextManager[None]:
        """Around all that is sent: written down before and after, and stopped when the right ends.

        Raises `QuotaExceeded`, `AuditUnavailable`.
        """
        ...


class Caller(Protocol):
    """Who makes a request."""

    async def may(self, asked: AskedFile) -> Permit | None:
        """The right to it, if the caller has it. Tells nobody of a refusal yet."""
        ...

    async def refused(self) -> None:
        """Write down that nothing was given, after a time that does not tell why not.

        Raises `QuotaExceeded` when a caller has asked too often for what is not there for it.
        """
        ...


class Guard(Protocol):
    """Knows callers."""

    async def meet(self, request: web.Request) -> Caller:
        """Who makes a request. Raises `InvalidCredential`, `AuthorityUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class AskedCollection:
    """A collection by its digest, or every one that has an attribute of this digest."""

    digest: str
    attribute: str = ""

    def urls(self, connection: Connection, store: CollectionStore) -> list[str]:
        """The files that hold it."""
        if self.attribute:
            return store.urls_having(connection, self.attribute, self.digest)
        return store.urls(connection, self.digest)


@dataclass(frozen=True, slots=True)
class RestrictedSequences:
    """Finds what is restricted, and asks whether the caller may have it."""

    views: Views
    guard: Guard

    async def sequence(
        self, caller: Caller, wanted: SequenceId, pieces: Pieces | None
    ) -> tuple[KnownSequence, Permit] | None:
        """The restricted sequence that an id names, if the caller may have these pieces of it;
        without pieces, what is known of it.

        What is wrong with the pieces (`SubsequenceError`, `NotAcceptable`), and that several have
        the name (`AmbiguousId`), is said to those only who may know of the sequence.
        """
        found: list[tuple[KnownSequence, Permit]] = []
        execute = self.views.database.execute
        for known, collections in await execute(lambda each: self._candidates(each, wanted)):
            failure: SubsequenceError | NotAcceptable | None = None
            parts: Sequence[Piece] = ()
            try:
                parts = () if pieces is None else pieces(known)
            except (SubsequenceError, NotAcceptable) as error:
                failure = error
            asked = self._asked(known, wanted, parts, collections)
            permit = await _first(caller, asked)
            if permit is not None:
                if failure is not None:
                    raise failure
                found.append((known, permit))
        if len(found) > 1:
            raise AmbiguousId("several sequences have this name; ask for one by its digest")
        return found[0] if found else None

    async def collections(
        self, caller: Caller, wanted: Iterable[AskedCollection], *, whole: bool
    ) -> tuple[View, list[Permit]] | None:
        """What the caller sees, with the restricted ones among these collections, if it may know
        what they are made of; `whole`: if it may have all their sequences."""
        permits: list[Permit] = []
        urls = self.views.public_urls
        execute = self.views.database.execute
        for each in wanted:
            work = self._holders(each, whole=whole)
            is_public, asked = await execute(work)
            if is_public:
                continue
            for url, file in asked[:_MOST_FILES]:
                permit = await caller.may(file)
                if permit is not None:
                    permits.append(permit)
                    urls |= {url}
                    break
            else:
                return None
        return View(self.views.everything.catalogue, CollectionStore(urls)), permits

    def _candidates(
        self, connection: Connection, wanted: SequenceId
    ) -> list[tuple[KnownSequence, dict[str, str]]]:
        """The sequences that an id may mean, with the collections that their files hold."""
        found = self.views.everything.catalogue.look_up_all(connection, wanted, _MOST_FILES)
        return [
            (each, _collections(connection, [place.url for place in each.places])) for each in found
        ]

    def _asked(
        self,
        known: KnownSequence,
        wanted: SequenceId,
        parts: Sequence[Piece],
        collections: dict[str, str],
    ) -> Iterator[AskedFile]:
        """What a request means to each of the restricted files that hold a sequence."""
        for place in _called(known, wanted)[:_MOST_FILES]:
            file = self.views.restricted.get(place.url)
            if file is not None:
                name = place.entry.name
                regions = tuple(Region(name, start, end) for start, end in parts if start < end)
                collection = collections.get(place.url, "")
                yield AskedFile(file, collection, regions, known.digests.ga4gh)

    def _holders(
        self, wanted: AskedCollection, *, whole: bool
    ) -> Callable[[Connection], tuple[bool, list[tuple[str, AskedFile]]]]:
        """Whether everybody may see a collection; if not, what a request means to each of the
        restricted files that hold it."""

        def work(connection: Connection) -> tuple[bool, list[tuple[str, AskedFile]]]:
            if wanted.urls(connection, self.views.public.collections):
                return True, []
            asked = []
            for url in wanted.urls(connection, self.views.everything.collections)[:_MOST_FILES]:
                file = self.views.restricted.get(url)
                if file is None:
                    continue
                store = CollectionStore([url])
                members = store.members(connection, wanted.digest) if whole else None
                regions = (Region(each.name, 0, each.length) for each in members or ())
                held = tuple(each for each in regions if each.end)
                collection = _collections(connection, [url])[url]
                asked.append((url, AskedFile(file, collection, held, wanted.digest)))
            return False, asked

        return work


async def give(
    request: web.Request,
    permits: Iterable[Permit],
    answer: Callable[[], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Send an answer by these rights: when it returns, all of it has left, or nothing more will."""
    async with AsyncExitStack() as giving:
        for permit in permits:
            await giving.enter_async_context(permit.giving())
        response = await answer()
        await response.prepare(request)
        if isinstance(response, web.Response) and request.method != hdrs.METH_HEAD:
            request[SENT] = len(response.body) if isinstance(response.body, bytes) else 0
        await response.write_eof()
    return response


async def _first(caller: Caller, asked: Iterable[AskedFile]) -> Permit | None:
    for each in asked:
        permit = await caller.may(each)
        if permit is not None:
            return permit
    return None


def _called(known: KnownSequence, wanted: SequenceId) -> Sequence[Place]:
    """The places that an id leads to: a name that a file alone gives leads to that file."""
    if not isinstance(wanted, AliasId) or any(
        alias.alias == wanted.alias for alias in known.aliases
    ):
        return known.places
    return [each for each in known.places if each.entry.name == wanted.alias]


def _collections(connection: Connection, urls: Iterable[str]) -> dict[str, str]:
    """What files hold; "" for one that is no collection."""
    found = select(FILES.c.url, FILES.c.collection).where(FILES.c.url.in_(list(urls)))
    return {row.url: row.collection or "" for row in connection.execute(found)}
