"""Whose passports were exchanged: a handle that says nothing, and what stands behind it.

The database holds the digest of a handle only, so its readers cannot use any; every replica knows
them all.
"""

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, String, Table, Text, delete, insert, select

from auth.errors import InvalidCredential
from auth.principal import Principal
from auth.principal_json import from_json, to_json
from server.database import METADATA, Database

LONGEST_LIFE = 3600
"""Seconds that a handle lives at most."""

EXCHANGES = Table(
    "exchanges",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("principal", Text, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)

_PREFIX = "htsgate_"
_HANDLE = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Kept:
    principal: Principal
    expires: int


class ExchangeStore:
    """Handles for callers. `clock` gives seconds since the epoch. `check` raises
    `InvalidCredential` for a caller who has been revoked.

    A handle that was issued to a `client` is of use to that one only; "" stands for any.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        check: Callable[[Principal], None] = lambda principal: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._check = check
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def issue(self, principal: Principal, client: str = "") -> tuple[str, int]:
        """A new handle, and for how many seconds it is good: no longer than the passport and each
        of its visas.

        Raises `InvalidCredential` when one of them ends just now; `DatabaseUnavailable`.
        """
        now = int(self._clock())
        ends = [now + LONGEST_LIFE, principal.not_after, *(each.exp for each in principal.visas)]
        expires = min(ends)
        if expires <= now:
            raise InvalidCredential("exchange.expired")
        handle = _PREFIX + secrets.token_urlsafe(32)
        digest = _digest(handle, client)
        row = {"digest": digest, "principal": to_json(principal), "expires": expires}

        def write(connection: Connection) -> None:
            connection.execute(delete(EXCHANGES).where(EXCHANGES.c.expires <= now))
            connection.execute(insert(EXCHANGES).values(row))

        await self._database.execute(write)
        self._keep(digest, _Kept(principal, expires))
        return handle, expires - now

    async def find(self, handle: str, client: str = "") -> Principal | None:
        """Whose handle it is; None for what is none, was issued to another client, or is over.

        Raises `InvalidCredential` when its holder has been revoked; `DatabaseUnavailable`.
        """
        if not is_handle(handle):
            return None
        digest = _digest(handle, client)
        kept = self._kept.get(digest) or await self._look_up(digest)
        if kept is None:
            return None
        if kept.expires <= self._clock():
            self._kept.pop(digest, None)
            return None
        self._check(kept.principal)
        return kept.principal

    async def _look_up(self, digest: str) -> _Kept | None:
        query = select(EXCHANGES.c.principal, EXCHANGES.c.expires).where(
            EXCHANGES.c.digest == digest
        )
        row = await self._database.execute(lambda each: each.execute(query).one_or_none())
        if row is None:
            return None
        try:
            kept = _Kept(from_json(row.principal), row.expires)
        except ValueError:  # of another version of ours: its holder exchanges again
            return None
        self._keep(digest, kept)
        return kept

    def _keep(self, digest: str, kept: _Kept) -> None:
        self._kept[digest] = kept
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


def is_handle(token: str) -> bool:
    """Whether a token has the form of a handle."""
    return _HANDLE.fullmatch(token) is not None


def _digest(handle: str, client: str) -> str:
    """What a handle is known by, which depends on the client that may use it."""
    return hashlib.sha256(f"{handle}\0{client}".encode()).hexdigest()
