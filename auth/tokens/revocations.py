"""Tokens and people that are refused, from a file that operators edit while we serve."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from auth.errors import InvalidConfiguration, InvalidCredential

_CHECK_EVERY = 1.0  # seconds
_MAX_BYTES = 16 << 20

_log = logging.getLogger(__name__)


class Revocations:
    """A deny-list: one token id (`jti`, or the `sha256:…` of the audit) or `issuer|subject` a line;
    `#` begins a comment line.

    Read again within a second after it changes. When that fails, what it said last holds; at the
    start, `InvalidConfiguration`. No `path`: nothing is refused. `timer` gives seconds from
    anywhere.
    """

    def __init__(
        self, path: Path | None = None, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._timer = timer
        self._check_at = timer() + _CHECK_EVERY
        self._seen: tuple[int, int, int] | None = None
        self._refused: frozenset[str] = frozenset()
        if path is not None:
            try:
                self._read(path)
            except (OSError, ValueError) as error:
                raise InvalidConfiguration(f"auth.revoked: {path} cannot be read") from error

    def check(self, iss: str, sub: str, *token_ids: str) -> None:
        """`InvalidCredential` when the person or a name of the token is on the list. Costs a
        microsecond, so it is asked for every request."""
        if self._path is None:
            return
        if self._timer() >= self._check_at:
            self._check_at = self._timer() + _CHECK_EVERY
            try:
                self._read(self._path)
            except (OSError, ValueError):
                _log.error("auth.revoked: the list cannot be read; the last one holds")
        if not self._refused.isdisjoint((f"{iss}|{sub}", *token_ids)):
            raise InvalidCredential("token.revoked")

    def _read(self, path: Path) -> None:
        status = path.stat()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return
        if status.st_size > _MAX_BYTES:
            raise ValueError("too large")
        lines = (line.strip() for line in path.read_text("utf-8").splitlines())
        self._refused = frozenset(line for line in lines if line and not line.startswith("#"))
        self._seen = seen
