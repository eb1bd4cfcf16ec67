"""A pull-through cache of other refget servers: what is asked for here and not known is fetched
there, once, and kept in the flat store.

Nothing is believed: residues are digested as they arrive, and those that have not the digest that
was asked for are thrown away. Clients learn of other servers only whether they had the sequence.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import aiohttp
from yarl import URL

from formats.errors import CorruptData
from server.database import Database, DatabaseUnavailable
from server.refget.digests import Digests, SequenceDigester
from server.refget.flat_store import FlatStore, FlatWriter, flat_entry
from server.refget.identifiers import Md5Id, SequenceId, TruncatedId
from server.refget.ingest import write_flat
from server.refget.registry import Record, Source
from storage_backends.base import ObjectNotFound, StorageError, StorageUnavailable
from storage_backends.http import HttpOrigin
from storage_backends.refusals import same_server
from storage_backends.transfer import Patience, Target, Transfer

T = TypeVar("T")

_MOST_BYTES = 1 << 32  # of one sequence: coordinates have no more
_AT_A_TIME = 4
_MOST_WAITING = 256
_ABSENT_SECONDS = 60.0
_FAILED_SECONDS = 5.0
_MOST_ABSENT = 16_384
_LONGEST_SECONDS = 3600.0
_PIECE = 1 << 20
_ATTEMPTS = 3  # to write down what another process may be writing down as well
_ACCEPT = (
    "text/vnd.ga4gh.refget.v2.0.0+plain, text/vnd.ga4gh.refget.v1.0.1+plain;q=0.9,"
    " text/vnd.ga4gh.refget.v1.0.0+plain;q=0.8, text/plain;q=0.7, */*;q=0.1"
)

_log = logging.getLogger(__name__)

_Digest = Md5Id | TruncatedId


class UpstreamSequences:
    """Fetches from the servers at `urls`, each as `https://host/sequence`, the first that has it.

    What they did not have is not asked for again for a minute. Belongs to one event loop.
    """

    def __init__(
        self,
        urls: Sequence[str],
        database: Database,
        store: FlatStore,
        *,
        most_bytes: int = _MOST_BYTES,
        patience: Patience = Patience(attempts=2, total=10.0),  # noqa: B008
    ) -> None:
        self._name = f"htsgate-{secrets.token_hex(8)}"
        self._servers = [_Server(url, patience) for url in urls]
        self._database = database
        self._store = store
        self._most_bytes = most_bytes
        self._free = asyncio.Semaphore(_AT_A_TIME)
        self._under_way: dict[_Digest, asyncio.Task[bool]] = {}
        # Until when: not there, or (True) nobody knows, for a server did not answer.
        self._absent: OrderedDict[_Digest, tuple[float, bool]] = OrderedDict()

    async def fetch(self, wanted: SequenceId, via: Sequence[str] = ()) -> bool:
        """Whether some server has the sequence of a digest; then the catalogue knows it too.

        `via` are the fields of that name of the request that is to be answered: what went through
        here before comes from a server that asks us, and is not asked for again.

        Raises `StorageUnavailable` when nobody has it who answers, and somebody does not.
        """
        if not isinstance(wanted, Md5Id | TruncatedId) or self._name in " ".join(via):
            return False
        until, is_open = self._absent.get(wanted, (0.0, False))
        if time.monotonic() < until:
            return _absent(is_open=is_open)
        task = self._under_way.get(wanted)
        if task is None:
            if len(self._under_way) >= _MOST_WAITING:
                raise StorageUnavailable("too many sequences are being fetched", 1)
            task = asyncio.create_task(self._fetch(wanted, via))
            self._under_way[wanted] = task
            task.add_done_callback(lambda done: self._done(wanted, done))
        # The others who wait, and who asks again, are served also when this client leaves.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Break off what is under way, and leave nothing of it."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.transfer.close()

    def _done(self, wanted: _Digest, task: asyncio.Task[bool]) -> None:
        del self._under_way[wanted]
        if not task.cancelled():
            task.exception()  # seen, also when everyone who waited has left

    async def _fetch(self, wanted: _Digest, via: Sequence[str]) -> bool:
        is_open = False
        async with self._free:
            for server in self._servers:
                try:
                    if await self._fetch_from(server, wanted, via):
                        return True
                except (StorageError, OSError, DatabaseUnavailable) as error:
                    is_open = True
                    _log.warning("%s from %s: %s", _texts(wanted)[0], server.url, error)
        seconds = _FAILED_SECONDS if is_open else _ABSENT_SECONDS
        self._absent[wanted] = (time.monotonic() + seconds, is_open)
        self._absent.move_to_end(wanted)
        if len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)
        return _absent(is_open=is_open)

    async def _fetch_from(self, server: "_Server", wanted: _Digest, via: Sequence[str]) -> bool:
        for text in _texts(wanted):
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    response = await server.open(text, (*via, f"1.1 {self._name}"))
                    try:
                        return await self._keep(response, wanted)
                    finally:
                        response.close()
            except StorageError as error:
                if type(error) is StorageUnavailable:
                    raise
                if not isinstance(error, ObjectNotFound):
                    _log.info("%s from %s: %s", text, server.url, error)
            except CorruptData as error:
                _log.warning("%s from %s is thrown away: %s", text, server.url, error)
                return False
            except (aiohttp.ClientError, TimeoutError) as error:
                raise StorageUnavailable(f"broken off ({type(error).__name__})") from None
        return False

    async def _keep(self, response: aiohttp.ClientResponse, wanted: _Digest) -> bool:
        if (response.content_length or 0) > self._most_bytes:
            raise CorruptData("longer than any sequence")
        # One thread, so that cleaning up comes after whatever is still being written.
        threads = ThreadPoolExecutor(1, "upstream")

        def run(work: Callable[..., T], *values: object) -> asyncio.Future[T]:
            return asyncio.get_running_loop().run_in_executor(threads, work, *values)

        arrival = _Arrival(self._database, self._store, wanted, self._most_bytes)
        try:
            waiting = bytearray()
            async for piece in response.content.iter_any():
                waiting += piece
                if len(waiting) >= _PIECE:
                    await run(arrival.add, bytes(waiting))
                    waiting.clear()
            await run(arrival.add, bytes(waiting))
            await run(arrival.finish)
        finally:
            await asyncio.shield(run(arrival.close))
            threads.shutdown(wait=False)
        return True


class _Server:
    """One of the others."""

    def __init__(self, url: str, patience: Patience) -> None:
        self.url = url
        self._origin = _Origin(url)
        self.transfer = Transfer(self._origin, patience)

    async def open(self, text: str, via: Sequence[str]) -> aiohttp.ClientResponse:
        self._origin.via[text] = ", ".join(via)
        try:
            return await self.transfer.open("GET", text)
        finally:
            self._origin.via.pop(text, None)


class _Origin(HttpOrigin):
    """Where sequences are: one below the other, by their digests."""

    def __init__(self, url: str) -> None:
        super().__init__(url, redirects=True)
        self.via: dict[str, str] = {}

    async def target(self, method: str, key: str) -> Target:
        target = await super().target(method, key)
        return Target(target.url, {"Accept": _ACCEPT, "Via": self.via[key]})

    def follows(self, source: URL, to: URL) -> bool:
        return to.scheme == "https" or same_server(to, source)


class _Arrival:
    """A sequence on its way into the store; for one thread."""

    def __init__(
        self, database: Database, store: FlatStore, wanted: _Digest, most_bytes: int
    ) -> None:
        self._database = database
        self._store = store
        self._wanted = wanted
        self._left = most_bytes
        self._digester = SequenceDigester()
        self._writer: FlatWriter | None = None

    def add(self, piece: bytes) -> None:
        """Digest and store a piece; `CorruptData` when there are too many."""
        self._left -= len(piece)
        if self._left < 0:
            raise CorruptData("longer than any sequence")
        if self._writer is None:
            self._writer = self._store.write()
        self._writer.add(self._digester.update(piece))

    def finish(self) -> None:
        """Keep the sequence if it is the one that was asked for; `CorruptData` if not."""
        digests, length = self._digester.finish()
        if self._writer is None or not _is(self._wanted, digests):
            raise CorruptData("it is another sequence")
        self._writer.keep(digests, length)
        record = Record(0, flat_entry(digests, length), digests, length)
        for attempt in range(_ATTEMPTS):
            try:
                self._database.run(
                    lambda each: write_flat(each, self._store, record, Source.CACHED)
                )
            except DatabaseUnavailable:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.1)
            else:
                return

    def close(self) -> None:
        """Leave nothing behind of what was not kept."""
        if self._writer is not None:
            with suppress(OSError), self._writer:
                pass


def _absent(*, is_open: bool) -> bool:
    if is_open:
        raise StorageUnavailable("another server does not answer now")
    return False


def _texts(wanted: _Digest) -> tuple[str, ...]:
    """How a digest is asked for: as refget 2 writes it, then as refget 1 does."""
    if isinstance(wanted, Md5Id):
        return (wanted.md5,)
    digests = Digests("", wanted.digest)
    return digests.ga4gh, digests.trunc512


def _is(wanted: _Digest, digests: Digests) -> bool:
    if isinstance(wanted, Md5Id):
        return wanted.md5 == digests.md5
    return wanted.digest == digests.truncated
