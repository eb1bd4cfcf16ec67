"""Objects behind a web server: the files of a folder, by ranged requests."""

import string
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from yarl import URL

from storage_backends.base import (
    ObjectNotFound,
    ObjectStat,
    StorageDenied,
    StorageError,
)
from storage_backends.refusals import same_server
from storage_backends.remote import RemoteBackend
from storage_backends.transfer import Patience, Refusal, Target
from storage_backends.validators import content_length

_LONG = 1.0  # seconds of a transfer during which a file may well have been replaced
_NO_HEAD = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


class HttpBackend(RemoteBackend):
    """A `StorageBackend` over the folder at `url`: an object is what lies there at its key.

    A query (the token of a shared folder, for one) goes with every request and is never shown. A
    server must honour ranges and tell an ETag or when a file was last modified; without a strong
    ETag a file replaced within a second by one of the same size may pass for the old one.
    `redirects`: follow them to other servers, over https. `ValueError` for what is no such URL.
    """

    def __init__(
        self,
        url: str,
        *,
        redirects: bool = False,
        revalidate: float = 10.0,
        patience: Patience = Patience(),  # noqa: B008
    ) -> None:
        origin = HttpOrigin(url, redirects=redirects)
        super().__init__(origin, revalidate=revalidate, patience=patience)
        self._head = True

    async def _settle(self, key: str, fingerprint: str, seconds: float) -> None:
        """A file may be written over while its server reads it."""
        if seconds > _LONG:
            await self._compare(key, fingerprint, fresh=True)

    async def _ask(self, key: str) -> ObjectStat:
        if self._head:
            try:
                response = await self._transfer.open("HEAD", key)
            except _NoHead:
                self._head = False
            else:
                response.release()
                length = content_length(response.headers)
                if length is not None:
                    return self._stat(response.headers, length)
        return await self._ask_for_a_byte(key)


class _NoHead(StorageDenied):
    """The server does not answer HEAD requests."""


class HttpOrigin:
    """The `Origin` of the objects below a URL."""

    def __init__(self, url: str, *, redirects: bool = False) -> None:
        self._redirects = redirects
        try:
            parts = urlsplit(url)
            server = URL(f"{parts.scheme}://{parts.netloc}")
            host = server.host
        except ValueError:
            raise ValueError("not a URL") from None
        if parts.scheme not in ("http", "https") or not host or " " in host:
            raise ValueError("not a URL of the form https://host/prefix")
        if "@" in parts.netloc:
            raise ValueError("a user name or password cannot be part of the URL")
        if parts.fragment:
            raise ValueError("a URL with # names no folder")
        self._folder = str(server).rstrip("/") + _encoded(parts.path).rstrip("/") + "/"
        self._query = f"?{_encoded(parts.query)}" if parts.query else ""

    async def target(self, method: str, key: str) -> Target:
        del method
        try:
            path = quote(key)
        except UnicodeEncodeError as error:
            raise ObjectNotFound("no such object") from error
        return Target(URL(self._folder + path + self._query, encoded=True))

    def follows(self, source: URL, to: URL) -> bool:
        if to.raw_path == source.raw_path + "/":
            raise ObjectNotFound("no such object")  # a folder
        return same_server(to, source) or (self._redirects and to.scheme == "https")

    async def learn(self, refusal: Refusal) -> bool:
        del refusal
        return False

    def judge(self, refusal: Refusal) -> StorageError | None:
        if refusal.method == "HEAD" and refusal.status in _NO_HEAD:
            return _NoHead("the store does not answer HEAD requests")
        return None

    @property
    def identity(self) -> str:
        return self._folder + self._query

    def describe(self, key: str) -> str:
        return self._folder + key


def _encoded(text: str) -> str:
    """As it is, but for what may not stand in a URL."""
    return quote(text, safe=string.punctuation)
