"""A blocking client on a kept connection, that reads answers into one buffer and forgets them."""

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """How many bytes an answer's body had, and the seconds from the request to the last of them."""

    length: int
    seconds: float


class Client:
    """One connection to a server; it trusts the certificate in the file `trusted`, if given."""

    def __init__(self, url: str, trusted: str | None = None) -> None:
        parts = urlsplit(url)
        if trusted is None:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=600)
        else:
            context = ssl.create_default_context(cafile=trusted)
            self._connection = http.client.HTTPSConnection(
                parts.netloc, timeout=600, context=context
            )
        self._buffer = memoryview(bytearray(_BUFFER))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def fetch(self, url: str, start: int | None = None, length: int = 0) -> Fetched:
        """Read an answer to its end; with `start`, only the `length` bytes from there."""
        headers = {}
        if start is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        began = time.perf_counter()
        response = self._ask(url, headers)
        count = 0
        while size := response.readinto(self._buffer):
            count += size
        taken = time.perf_counter() - began
        if start is not None and count != length:
            raise ConnectionError(f"{count} bytes came where {length} were asked for")
        return Fetched(count, taken)

    def read(self, url: str) -> bytes:
        """The bytes of an answer."""
        return self._ask(url, {}).read()

    def ticket(
        self, url: str, endpoint: str, object_id: str, region: tuple[str, int, int] | None = None,
        file_format: str | None = None,
    ) -> list[str]:  # fmt: skip
        """The data URLs of a ticket: the header's, then those of the records."""
        parameters = {}
        if region is not None:
            parameters = dict(zip(("referenceName", "start", "end"), map(str, region), strict=True))
        if file_format is not None:
            parameters["format"] = file_format
        text = self.read(f"{url}/{endpoint}/{object_id}?{urlencode(parameters)}")
        return [str(part["url"]) for part in json.loads(text)["htsget"]["urls"]]

    def _ask(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._connection.request("GET", target, headers=headers)
        response = self._connection.getresponse()
        if response.status not in (200, 206):
            raise ConnectionError(f"{parts.path[:60]}: status {response.status}")
        return response
