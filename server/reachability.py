"""Whether locations can be reached and hold something to serve, in words for the operator."""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from server.catalog import ServedLocation
from server.survey import SERVABLE, unmatched
from storage_backends.base import KeyLister, ObjectNotFound, StorageDenied, StorageError

NOTHING_SERVABLE = "no BAM, CRAM, VCF, BCF or FASTA file that can be served"

_SECONDS = 5.0
"""How long the start waits for all remote locations together."""

_ANY_KEY = "index.html"

_CODE = re.compile(r" \((\w+)\)$")
_MEANINGS = {
    "ClientConnectorDNSError": "its host name is not known",
    "ClientConnectorCertificateError": "its certificate is not trusted",
    "ClientConnectorSSLError": "no TLS connection can be made",
    "ClientConnectorError": "no connection can be made",
    "ConnectionTimeoutError": "not in time",
    "SocketTimeoutError": "not in time",
    "TimeoutError": "not in time",
    "EndpointConnectionError": "no connection can be made",
    "ConnectTimeoutError": "not in time",
    "ReadTimeoutError": "not in time",
    "SSLError": "no trusted TLS connection can be made",
    "AccessDenied": "access denied",
    "403": "access denied",
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key is not the right one",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_MAY_NOT_LIST = ("(AccessDenied)", "(403)")


def reason(error: StorageError) -> str:
    """What went wrong, as far as the error tells."""
    text, cause = str(error), error.__cause__
    found = _CODE.search(text)
    code = found[1] if found else str(cause) if isinstance(cause, OSError) else ""
    meaning = _MEANINGS.get(code, "")
    if isinstance(cause, OSError) and cause.strerror:
        meaning = cause.strerror
    return f"{_CODE.sub('', text)}: {meaning}" if meaning else text


def unlisted(error: StorageError) -> str:
    """Why a location cannot be listed, and what that means for it."""
    if isinstance(error, StorageDenied) and str(error).endswith(_MAY_NOT_LIST):
        return (
            f"cannot be listed: {reason(error)}. Ids work all the same where reading is allowed,"
            " but FASTA files in it are not found"
        )
    return reason(error)


async def unreachable(location: ServedLocation) -> str | None:
    """Why a location cannot be used, if it cannot; a store that answers may refuse much."""
    backend = location.backend
    if location.only is not None:
        try:
            await backend.stat(location.only)
        except StorageError as error:
            return reason(error)
        return None
    if await backend.available():
        return None
    try:
        await backend.stat(_ANY_KEY)  # for the reason alone
    except ObjectNotFound:
        return "the store does not answer"
    except StorageError as error:
        return reason(error)
    return None


@dataclass(frozen=True, slots=True)
class NamedLocation:
    """A location as the operator wrote it: `path` if it is on disk, and the URL that is asked."""

    served: ServedLocation
    path: Path | None
    url: str

    @property
    def name(self) -> str:
        """What the operator knows it by, without secrets that its URL may hold."""
        if self.path is not None:
            return str(self.path)
        return self.served.backend.describe(self.served.only or "")


def warnings(
    locations: Sequence[NamedLocation], patterns: Sequence[str], seconds: float = _SECONDS
) -> Iterator[str]:
    """What an operator should know when the server starts; looks no further than it must, and
    waits `seconds` at most. The backends are closed in the end.
    """
    deadline = time.monotonic() + 0.8 * seconds
    said: dict[int, list[str]] = {}

    async def look() -> None:
        await asyncio.gather(*(each(*pair) for pair in enumerate(locations)))

    async def each(number: int, location: NamedLocation) -> None:
        backend = location.served.backend
        backend.start(asyncio.get_running_loop())
        try:
            said[number] = await _warnings_of(location, deadline)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server starts
            said[number] = [f"cannot be looked at: {type(error).__name__}"]
        finally:
            await backend.close()

    # A thread that the process does not wait for: a lookup of a host name may take its time.
    thread = threading.Thread(target=lambda: asyncio.run(look()), daemon=True)
    thread.start()
    thread.join(seconds)
    for number, location in enumerate(locations):
        if location.path is None and is_unencrypted(location.url):
            yield f"{location.name}: http without TLS: what is read from it travels unencrypted"
        for text in said.get(number, [f"has not answered within {seconds:g} seconds"]):
            yield f"{location.name}: {text}"
    for pattern in unmatched(patterns):
        yield f"refget.sequences: nothing matches {pattern}"


async def _warnings_of(location: NamedLocation, deadline: float) -> list[str]:
    backend = location.served.backend
    if location.path is not None and not os.access(location.path, os.R_OK):
        return ["cannot be read"]
    if location.served.only is None and isinstance(backend, KeyLister):
        return await _in_daemon(lambda: _warnings_of_listing(backend, deadline))
    why = await unreachable(location.served)
    return [] if why is None else [why]


async def _in_daemon(work: Callable[[], list[str]]) -> list[str]:
    """What work makes in a thread that the process does not wait for when it ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[str]] = loop.create_future()

    def finish(found: list[str]) -> None:
        if not done.done():
            done.set_result(found)

    def run() -> None:
        found = work()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, found)

    threading.Thread(target=run, daemon=True).start()
    return await done


def _warnings_of_listing(backend: KeyLister, deadline: float) -> list[str]:
    try:
        for key in backend.keys():  # noqa: SIM118 - no mapping
            if key.endswith(SERVABLE) or time.monotonic() > deadline:
                return []
    except StorageError as error:
        return [unlisted(error)]
    return [f"holds {NOTHING_SERVABLE}"]


def is_unencrypted(url: str) -> bool:
    """Whether a store on another machine is asked without TLS."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
