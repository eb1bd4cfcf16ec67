"""How `auth` reaches issuers and decision points: through a function it is given.

It knows no HTTP client; `server.outbound` is the one that keeps to addresses and limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from auth.errors import AccessError


class FetchFailed(AccessError):
    """No usable answer: unreachable, too slow, too large, redirected or of another type."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: its status, its body, its media type (lower case, without parameters), and for how
    many seconds its sender lets it be kept (None: it does not say)."""

    status: int
    body: bytes
    content_type: str
    max_age: int | None = None


class Fetch(Protocol):
    """Sends one request to a *configured* URL; raises `FetchFailed`. Any status is an answer."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Fetched: ...
