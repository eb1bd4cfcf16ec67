"""The HTTP client of the suite: it adds nothing to a request and hides nothing of an answer."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError, ReadTimeoutError

from conformance.case import Failed, Skipped
from conformance.redaction import TELLING, Redaction

LONGEST_BODY = 2**30
"""Bytes of an answer that are read; cases that would need more are skipped."""

LONGEST_DOCUMENT = 2**26
"""Bytes of an answer that are read as JSON, which may take many times as much memory."""

LONGEST_SECONDS = 600.0
"""How long the body of an answer may take, for servers that send it drop by drop."""

_LONGEST_WAIT = 60
"""Seconds that a server may ask for before it answers more."""

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE = 1 << 20
_BROKEN = (ProtocolError, IncompleteRead, ReadTimeoutError)


class Unreachable(Exception):
    """No answer came, or only a part of one; says why."""


class Broken(Unreachable):
    """The server is there, but ended the connection before its answer was whole, or took too long;
    and so it did when it was asked again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `headers`: by their names in lower case, repeated ones joined by commas."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The media type of the content, without parameters, in lower case; empty: none given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:  # noqa: ANN401 - whatever it is
        """The body as JSON. Raises `Failed` when it is none."""
        if len(self.body) > LONGEST_DOCUMENT:
            raise Failed(f"{self} with {len(self.body)} bytes, too many for JSON")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Failed(f"{self}: the body is no JSON: {self.body[:80]!r}") from None

    def expect(self, *statuses: int) -> "Answer":
        """Itself. Raises `Failed` unless its status is one of these."""
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise Failed(f"{self}, not {wanted}")
        return self

    def __str__(self) -> str:
        return f"{self.method} {shown(self.url)} answers {self.status}"


class Client:
    """Sends requests one at a time and notes each, without what may be secret, for the report."""

    def __init__(
        self,
        timeout: float = 30.0,
        ca: str | None = None,
        *,
        verify: bool = True,
        longest: float = LONGEST_SECONDS,
    ) -> None:
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout),
            retries=False,
            ca_certs=ca,
            cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        )
        self._longest = longest
        self._noted: list[str] = []
        self.redaction = Redaction()

    def noted(self) -> tuple[str, ...]:
        """The requests since the last call, each with the status of its answer."""
        noted, self._noted = tuple(self._noted), []
        return noted

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET, with these headers alone, after redirects; tokens are kept within a host."""
        return self.request("GET", url, headers)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        everywhere: bool = False,
    ) -> Answer:
        """An answer, after redirects; `everywhere`: other hosts are sent headers that say who asks,
        too, as those of data blocks are. Raises `Unreachable`; `Skipped` when it is too long."""
        sent = dict(headers or {})
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._patiently(method, url, sent, body)
            place = answer.headers.get("location")
            if answer.status not in _REDIRECTS or place is None:
                return answer
            target = _target(answer, place)
            if not everywhere and _leaves(urlsplit(url), urlsplit(target)):
                sent = {name: value for name, value in sent.items() if not TELLING.search(name)}
            self.redaction.learn_redirect(url, target)
            url = target
            if answer.status == 303 and method != "HEAD":
                method, body = "GET", None
        raise Unreachable(f"{method} {shown(url)}: more than {_MOST_REDIRECTS} redirects")

    def _patiently(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """An answer; where it is that too much is asked, the one after the time it names."""
        answer = self._once(method, url, headers, body)
        wait = answer.headers.get("retry-after", "")
        if answer.status != 429 or not (wait.isascii() and wait.isdecimal() and len(wait) < 6):
            return answer
        if int(wait) <= _LONGEST_WAIT:
            time.sleep(int(wait))
            answer = self._once(method, url, headers, body)
        if answer.status == 429:
            raise Unreachable(f"{answer}: too much is asked of it; try again in {wait} seconds")
        return answer

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.redaction.learn_headers(headers)
        try:
            try:
                response = self._begun(method, url, headers, body)
            except ProtocolError:
                # It had closed a connection that was kept. All that is asked may be asked twice.
                response = self._begun(method, url, headers, body)
            received = b"".join(self._pieces(response))
        except (HTTPError, ValueError, OSError) as error:
            self._noted.append(f"{method} {shown(url)} broke")
            kind = Broken if isinstance(error, _BROKEN) else Unreachable
            raise kind(f"{method} {shown(url)}: {_reason(error)}") from error
        self.redaction.learn_ticket(url, received)
        self._noted.append(f"{method} {shown(url)} {response.status}")
        fields = {
            name.lower(): ", ".join(response.headers.getlist(name)) for name in response.headers
        }
        return Answer(method, url, response.status, fields, received)

    def _begun(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            method,
            url,
            headers={"User-Agent": "htsgate-conformance", **headers},
            body=body,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _pieces(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        total, end = 0, time.monotonic() + self._longest
        while piece := response.read1(_PIECE):  # what is there: more may be long in coming
            total += len(piece)
            if total > LONGEST_BODY:
                response.close()
                raise Skipped(f"an answer of more than {LONGEST_BODY} bytes")
            if time.monotonic() > end:
                response.close()
                raise ProtocolError(f"the answer is not whole after {self._longest:g} seconds")
            yield piece
        response.release_conn()


def shown(url: str) -> str:
    """A URL as reports may show it: long paths and what data URIs hold are left out, for they may
    be all that is needed to fetch data."""
    if url.startswith("data:"):
        return f"{url[: url.find(',') + 1]}…"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is no URL"
    path = parts.path if len(parts.path) <= 100 else f"{parts.path[:24]}…"
    query = f"?{parts.query}" if parts.query else ""
    return f"{path}{query if len(query) <= 200 else '?…'}" or "/"


def _target(answer: Answer, place: str) -> str:
    """Where an answer sends us. Raises `Broken` when that is no http(s) URL."""
    try:
        target = urljoin(answer.url, place)
        if urlsplit(target).scheme in ("http", "https"):
            return target
    except ValueError:
        pass
    raise Broken(f"{answer}, and leads to no http(s) URL: {place[:80]!r}")


def _leaves(source: SplitResult, target: SplitResult) -> bool:
    """Whether a redirect leads to another host, or from https to what all can read."""
    other = source.netloc != target.netloc
    return other or (source.scheme == "https" and target.scheme != "https")


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error
    return f"{type(inner).__name__}: {inner}"
