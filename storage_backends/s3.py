"""Objects in S3, and in every store that speaks its protocol.

Reads are requests of ours to presigned URLs, one per object and kept for some minutes; what they
cost besides the transfer is a look into a dictionary. boto3 knows where the bucket is and who asks.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from storage_backends.base import (
    KeyLister,
    ObjectNotFound,
    ObjectStat,
    PresignedRead,
    Presigner,
    StorageBackend,
    StorageDenied,
    StorageError,
)
from storage_backends.remote import RemoteBackend
from storage_backends.s3_account import S3Account, S3Options
from storage_backends.s3_credentials import CredentialsInUse, in_thread
from storage_backends.s3_errors import (
    archived_by,
    code_of,
    meaning_of,
    region_told_by,
    tells_expired,
)
from storage_backends.sigv4 import Credentials, QuerySigner
from storage_backends.transfer import Origin, Patience, Refusal, Target
from storage_backends.validators import check_key, entity_tag

__all__ = ["S3Backend", "S3Options", "S3Origin"]

_UNDER_WAY = 30.0
_LIFE = 300  # no longer than `s3:signatureAge` in a careful bucket policy allows
_LEFT = 60
_MOST_URLS = 4096
_LONGEST_KEY = 1024
_LONGEST_PRESIGNED = 3600


@dataclass(frozen=True, slots=True)
class _Signed:
    """A request that can be made again; `since` and `until` are seconds since the epoch."""

    target: Target
    credentials: Credentials | None
    since: float
    until: float


class S3Origin:
    """The objects of a bucket whose keys begin with `prefix`; see `storage_backends.transfer`.

    `clock` tells seconds since the epoch. Raises `ValueError` for names or options that cannot be
    used; nothing is asked of the network before the first request.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        options: S3Options,
        clock: Callable[[], float] = time.time,
    ) -> None:
        prefix = prefix.rstrip("/")
        if "\0" in prefix or any(part in (".", "..") for part in prefix.split("/")):
            raise ValueError("the prefix of an S3 location has no part . or ..")
        self._name = f"s3://{bucket}"
        self._below = f"{prefix}/" if prefix else ""
        self._account = S3Account(bucket, options)
        self._region = self._account.region
        self._moved = -math.inf
        base = self._account.locate(self._region)
        self._identity = f"{base} {self._name}/{self._below}"
        self._signer = QuerySigner(base, self._region)
        self._credentials = CredentialsInUse(lambda renew: self._account.credentials(renew=renew))
        self._requests: OrderedDict[tuple[str, str], _Signed] = OrderedDict()
        self._clock = clock

    async def target(self, method: str, key: str) -> Target:
        """A presigned request; neither a range nor a pin is part of it, so it serves for all."""
        credentials = await self._credentials.get()
        name = (method, key)
        now = self._clock()
        known = self._requests.get(name)
        if (
            known is not None
            and known.credentials is credentials
            and known.since <= now <= known.until
        ):
            self._requests.move_to_end(name)
            return known.target
        full = self._full(key)
        if credentials is None:
            url = self._signer.url(full)
        else:
            url = self._signer.presign(method, full, credentials, now=now, seconds=_LIFE)
        target = Target(URL(url, encoded=True))
        self._requests[name] = _Signed(target, credentials, now, now + _LIFE - _LEFT)
        self._requests.move_to_end(name)
        if len(self._requests) > _MOST_URLS:
            self._requests.popitem(last=False)
        return target

    def follows(self, source: URL, to: URL) -> bool:
        """Never: the signature is for one host; see `learn`."""
        del source, to
        return False

    async def learn(self, refusal: Refusal) -> bool:
        """The bucket's region, or that other credentials are needed."""
        region = region_told_by(refusal)
        if region is not None and region != self._region:
            await self._move(region)
            return True
        if region is not None and time.monotonic() - self._moved < _UNDER_WAY:
            return True  # learnt from another refusal while this request was under way
        before = await self._credentials.get()
        if before is None:
            # There may be some by now; boto3 does not tell "none" from "not yet".
            return refusal.status == 403 and await self._credentials.renew() is not None
        if not tells_expired(refusal):
            return False
        await self._credentials.renew()
        self._requests.clear()
        return True

    def judge(self, refusal: Refusal) -> StorageError | None:
        """By the code in the answer's XML."""
        return meaning_of(code_of(refusal))

    @property
    def identity(self) -> str:
        """The bucket in its store."""
        return self._identity

    def describe(self, key: str = "") -> str:
        """The URI of an object or of the location."""
        return f"{self._name}/{self._below}{key}".rstrip("/")

    async def presign(self, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        """The URL for a request with exactly these header fields, for someone else to make."""
        full = self._full(key)
        credentials = await self._credentials.get()
        if credentials is None:
            raise StorageDenied("there are no credentials to sign with")
        seconds = min(seconds, _LONGEST_PRESIGNED)
        return self._signer.presign(
            "GET", full, credentials, now=self._clock(), seconds=seconds, headers=headers
        )

    def keys(self) -> Iterator[str]:
        """What lies below the prefix, as far as it can be named."""
        for full in self._account.keys(self._below, self._region):
            key = full[len(self._below) :]
            try:
                check_key(key)
            except ObjectNotFound:
                continue
            yield key

    def close(self) -> None:
        """Wait for nothing more."""
        self._credentials.close()

    async def _move(self, region: str) -> None:
        try:
            base = await in_thread(lambda: self._account.locate(region))
        except ValueError as error:
            raise StorageDenied("the bucket lies in an unknown region") from error
        self._signer = QuerySigner(base, region)
        self._region, self._moved = region, time.monotonic()
        self._requests.clear()

    def _full(self, key: str) -> str:
        """The key in the bucket; nothing stands for the bucket itself."""
        if not key:
            return ""
        full = self._below + key
        if len(full.encode()) > _LONGEST_KEY:
            raise ObjectNotFound("no such object")
        return full


class S3Backend(RemoteBackend):
    """A `StorageBackend`, `KeyLister` and `Presigner` over a bucket, or what is below `prefix`.

    Raises `ValueError` for names or options that cannot be used.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        options: S3Options = S3Options(),  # noqa: B008
        *,
        revalidate: float = 10.0,
        patience: Patience = Patience(),  # noqa: B008
    ) -> None:
        self._s3 = S3Origin(bucket, prefix, options)
        super().__init__(self._s3, revalidate=revalidate, patience=patience)

    def keys(
        self,
        *,
        on_error: Callable[[OSError], None] | None = None,
        on_link: Callable[[str], None] | None = None,
    ) -> Iterator[str]:
        del on_error, on_link  # what cannot be listed is raised; there are no links
        return self._s3.keys()

    async def presign(
        self, key: str, start: int, end: int, *, fingerprint: str, seconds: int
    ) -> PresignedRead:
        """See `Presigner`; for an hour at most.

        Raises `ValueError` for an empty range, `StorageDenied` where there is nothing to sign or
        to pin with.
        """
        check_key(key)
        if not 0 <= start < end:
            raise ValueError("nothing to read")
        pin = entity_tag(fingerprint)
        if pin is None:
            raise StorageDenied("the store has no ETag to pin the object by")
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": pin}
        return PresignedRead(await self._s3.presign(key, seconds, headers), headers)

    async def close(self) -> None:
        await super().close()
        self._s3.close()

    async def _ask(self, key: str) -> ObjectStat:
        """What refuses a HEAD says why only to a GET: another region, a wrong key, no bucket."""
        try:
            return await super()._ask(key)
        except StorageDenied:
            return await self._ask_for_a_byte(key)

    def _stat(self, headers: Mapping[str, str], size: int | None) -> ObjectStat:
        """Also says `ObjectArchived`, before anything is read: the store knows what it archived."""
        archived = archived_by(headers)
        if archived is not None:
            raise archived
        return super()._stat(headers, size)


if TYPE_CHECKING:
    _backend: type[StorageBackend] = S3Backend
    _lister: type[KeyLister] = S3Backend
    _presigner: type[Presigner] = S3Backend
    _origin: type[Origin] = S3Origin
