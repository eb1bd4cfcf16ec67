"""Where the keys of an issuer come from: its discovery document, a pinned URL, or a file."""

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, Protocol

from auth.errors import AuthorityUnavailable
from auth.fetching import Fetch
from auth.tokens.issuer_metadata import IssuerMetadata, discover, fetch_json
from auth.tokens.key_set import MAX_DOCUMENT, InvalidKeySet, KeySet

DEFAULT_LIFETIME = 600
SHORTEST_LIFETIME = 60
LONGEST_LIFETIME = 3600
FILE_LIFETIME = 10
"""Seconds that keys are good for before they are asked for again."""

_JWK_SET = "application/jwk-set+json"


class Loaded(NamedTuple):
    """Keys, and for how many seconds they are good."""

    keys: KeySet
    lifetime: float


class KeySource(Protocol):
    """`load` gives the keys as they are now, or `AuthorityUnavailable`."""

    async def load(self) -> Loaded: ...


class PinnedKeys:
    """Keys at a configured URL."""

    def __init__(self, url: str, fetch: Fetch) -> None:
        self._url = url
        self._fetch = fetch

    async def load(self) -> Loaded:
        return await _keys_at(self._url, self._fetch)


class DiscoveredKeys:
    """Keys where the issuer's metadata says; these are asked for at most hourly."""

    def __init__(
        self, issuer: str, fetch: Fetch, clock: Callable[[], float], hosts: Collection[str]
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._hosts = hosts
        self._metadata: IssuerMetadata | None = None
        self._until = 0.0

    async def metadata(self) -> IssuerMetadata:
        """What the issuer says of itself; from memory while that is fresh."""
        if self._metadata is None or self._clock() >= self._until:
            self._metadata = await discover(self._issuer, self._fetch, hosts=self._hosts)
            self._until = self._clock() + lifetime(self._metadata.max_age, LONGEST_LIFETIME)
        return self._metadata

    async def load(self) -> Loaded:
        metadata = await self.metadata()
        try:
            return await _keys_at(metadata.jwks_uri, self._fetch)
        except AuthorityUnavailable:
            self._until = 0.0  # they may have moved
            raise


class KeyFile:
    """Keys in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys = KeySet()

    async def load(self) -> Loaded:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Loaded:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    self._keys = KeySet.load(file.read(MAX_DOCUMENT + 1))
                    self._seen = seen
        except OSError:
            raise AuthorityUnavailable("issuer.file") from None
        except InvalidKeySet as error:
            raise AuthorityUnavailable(f"issuer.keys: {error}") from None
        return Loaded(self._keys, FILE_LIFETIME)


def lifetime(max_age: int | None, default: float = DEFAULT_LIFETIME) -> float:
    """Seconds that an answer is good for, within bounds of ours."""
    if max_age is None:
        return default
    return min(max(max_age, SHORTEST_LIFETIME), LONGEST_LIFETIME)


async def _keys_at(url: str, fetch: Fetch) -> Loaded:
    answer = await fetch_json(url, fetch, types=(_JWK_SET,))
    try:
        return Loaded(KeySet.load(answer.body), lifetime(answer.max_age))
    except InvalidKeySet as error:
        raise AuthorityUnavailable(f"issuer.keys: {error}") from None
