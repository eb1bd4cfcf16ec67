"""What boto3 is for: where a bucket is, who asks for its objects, and which there are.

Everything here may wait for the network, except making an `S3Account` and `locate`.
"""

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import botocore
import botocore.awsrequest
import botocore.client
import botocore.credentials
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from storage_backends.base import StorageDenied, StorageError, StorageUnavailable
from storage_backends.s3_errors import meaning_of
from storage_backends.sigv4 import Credentials

_log = logging.getLogger(__name__)

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_DIRECTORY_BUCKET = "--x-s3"
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Options:
    """How to reach a bucket, where the environment and the profile do not say, or say otherwise.

    `path_style`: the bucket in the path of URLs instead of in the host; None: with an endpoint of
    its own, and for names with dots. `role_arn`: a role to assume with the credentials found.
    """

    endpoint_url: str | None = None
    path_style: bool | None = None
    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    anonymous: bool = False


class S3Account:
    """A bucket as botocore's configuration knows it; thread-safe.

    Raises `ValueError` for a name or settings that cannot be used.
    """

    def __init__(self, bucket: str, options: S3Options) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise ValueError("this is not the name of a bucket")
        if bucket.endswith(_DIRECTORY_BUCKET):
            raise ValueError("directory buckets (S3 Express) are not supported")
        self._bucket = bucket
        self._options = options
        self._lock = threading.Lock()
        self._clients = threading.Lock()
        self._session: boto3.session.Session = None
        self._core: botocore.session.Session = None
        self._source: botocore.credentials.Credentials | None = None
        self._credentials: Credentials | None = None
        self._warned = False
        try:
            self._open()
        except BotoCoreError as error:
            raise ValueError(str(error)) from error

    @property
    def region(self) -> str:
        """Where the bucket lies, as far as the configuration says."""
        region: str = self._core.get_config_variable("region")
        return region

    def locate(self, region: str) -> str:
        """The URL that the bucket's keys follow, when it lies in a region.

        botocore decides: by the endpoints of each partition, `AWS_ENDPOINT_URL_S3` and its like,
        and the name of the bucket. Raises `ValueError` where it cannot.
        """
        located: list[str] = []

        def answer(params: dict[str, str], **_: object) -> object:
            located.append(params["url"])
            return botocore.awsrequest.AWSResponse(params["url"], 200, {}, None), {}

        try:
            client = self._client(region, Config(signature_version=botocore.UNSIGNED))
            client.meta.events.register("before-call.s3.HeadBucket", answer)
            client.head_bucket(Bucket=self._bucket)
        except (BotoCoreError, ValueError) as error:
            raise ValueError(str(error)) from error
        return located[0].rstrip("/")

    def credentials(self, *, renew: bool = False) -> tuple[Credentials | None, bool]:
        """Who asks, refreshed where that is due, and whether that may change; None: anyone.

        With `renew` they are looked for afresh, in the environment and its files too. Raises
        `StorageUnavailable`.
        """
        if self._options.anonymous:
            return None, False
        with self._lock:
            try:
                return self._fetch(renew)
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001 - its parsers' too, which quote what they read
                failure = _without_credentials(error)
        raise failure

    def keys(self, prefix: str, region: str) -> Iterator[str]:
        """The keys that begin with `prefix`, in their order; raises `StorageError`."""
        credentials, _ = self.credentials()
        try:
            if credentials is None:
                client = self._client(region, Config(signature_version=botocore.UNSIGNED))
            else:
                client = self._client(region, Config(), credentials)
            pages = client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield item["Key"]
        except (BotoCoreError, ClientError) as error:
            raise _translate(error) from OSError(type(error).__name__)

    def _fetch(self, renew: bool) -> tuple[Credentials | None, bool]:
        if renew:
            self._open()
        if self._source is None:
            self._source = self._find()
        if self._source is None:
            self._warn()
            return None, False
        frozen = self._source.get_frozen_credentials()
        found = Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)
        if found != self._credentials:
            self._credentials = found
        return self._credentials, isinstance(self._source, RefreshableCredentials)

    def _open(self) -> None:
        """A session that has read the configuration, and no credentials yet."""
        options = self._options
        core = botocore.session.Session(profile=options.profile)
        core.get_scoped_config()  # ProfileNotFound
        region = options.region or core.get_config_variable("region") or _DEFAULT_REGION
        core.set_config_variable("region", region)
        core.set_default_client_config(
            Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})
        )
        self._core, self._source = core, None
        self._session = boto3.session.Session(botocore_session=core)

    def _find(self) -> botocore.credentials.Credentials | None:
        """The source of credentials, or None where there is none."""
        source = self._core.get_credentials()
        role = self._options.role_arn
        if role is None:
            return source
        if source is None:
            raise StorageDenied("there are no credentials to assume a role with")
        fetcher = AssumeRoleCredentialFetcher(self._core.create_client, source, role)
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("s3://%s: no credentials found; reading as anyone may", self._bucket)

    def _client(
        self, region: str, config: Config, credentials: Credentials | None = None
    ) -> botocore.client.BaseClient:
        style = {None: None, True: "path", False: "virtual"}[self._options.path_style]
        if style is not None:
            config = config.merge(Config(s3={"addressing_style": style}))
        keys = credentials or Credentials("", "")
        with self._clients:  # sessions are for one thread, clients for all
            return self._session.client(
                "s3",
                region_name=region,
                endpoint_url=self._options.endpoint_url,
                config=config,
                aws_access_key_id=keys.access_key or None,
                aws_secret_access_key=keys.secret_key or None,
                aws_session_token=keys.token,
            )


def _without_credentials(error: Exception) -> StorageError:
    passing = (HTTPClientError, OSError)
    kind = StorageUnavailable if isinstance(error, passing) else StorageDenied
    return kind(f"no credentials can be had for the store ({type(error).__name__})")


def _translate(error: BotoCoreError | ClientError) -> StorageError:
    if not isinstance(error, ClientError):
        return StorageUnavailable(f"the store does not answer ({type(error).__name__})")
    code = str(error.response.get("Error", {}).get("Code", ""))
    meaning = meaning_of(code)
    if meaning is not None:
        return meaning
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = StorageUnavailable if status in (429, 500, 502, 503, 504) else StorageDenied
    return kind(f"the store refuses to list its objects ({status})")
