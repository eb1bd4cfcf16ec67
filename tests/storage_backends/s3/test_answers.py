import asyncio
import logging

import pytest
from aiohttp import web

from storage_backends.base import (
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.s3 import S3Backend, S3Options
from tests.storage_backends.contract import Put
from tests.support.s3_bucket import (
    HASTY,
    REFUSED,
    Bucket,
    opened,
    says_nothing,
)
from tests.support.store_log import RequestLog


@pytest.mark.parametrize("key", ["object", "another"])
async def test_a_wrong_secret(
    versity_bucket: Bucket,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    caplog.set_level(logging.INFO)
    versity_bucket.put("object", b"bytes")
    async with opened(S3Backend(versity_bucket.name, "", versity_bucket.options())) as backend:
        with pytest.raises(StorageDenied) as one:
            await backend.stat(key)
        with pytest.raises(StorageDenied) as two:
            await backend.read(key, 0, 5, fingerprint='"1"')
        with pytest.raises(StorageDenied) as three:
            await asyncio.to_thread(lambda: list(backend.keys()))
    for refusal in (one, two, three):
        says_nothing(refusal.value, caplog.text, versity_bucket.name, "another secret", key)


async def test_a_bucket_that_is_not_there(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(S3Backend("no-such-bucket", "", bucket.options())) as backend:
        assert await backend.available()
        with pytest.raises(StorageDenied) as one:
            await backend.read("object", 0, 5, fingerprint='"1"')
        with pytest.raises(StorageDenied) as two:
            await asyncio.to_thread(lambda: list(backend.keys()))
    for refusal in (one, two):
        says_nothing(refusal.value, caplog.text, "no-such-bucket")


async def test_a_store_that_is_not_there(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = S3Options(endpoint_url="http://127.0.0.1:1")
    async with opened(S3Backend("data", "", options, patience=HASTY)) as backend:
        assert not await backend.available()
        with pytest.raises(StorageUnavailable) as one:
            await backend.stat("object")
        with pytest.raises(StorageUnavailable) as two:
            await asyncio.to_thread(lambda: list(backend.keys()))
    for refusal in (one, two):
        assert not isinstance(refusal.value, StorageDenied)
        says_nothing(refusal.value, caplog.text, "data", "object")


async def test_available(backend: S3Backend) -> None:
    assert await backend.available()


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
async def test_archived_objects(
    bucket: Bucket, prefix: str, backend: S3Backend, storage_class: str
) -> None:
    bucket.put(f"{prefix}/object", b"bytes", StorageClass=storage_class)
    with pytest.raises(ObjectArchived) as one:
        await backend.stat("object")
    etag = bucket.client.head_object(Bucket=bucket.name, Key=f"{prefix}/object")["ETag"]
    with pytest.raises(ObjectArchived) as two:
        await backend.read("object", 0, 5, fingerprint=etag)
    for refusal in (one, two):
        assert refusal.value.retry_after >= 600
        says_nothing(refusal.value, "", bucket.name, prefix)
    bucket.client.restore_object(
        Bucket=bucket.name, Key=f"{prefix}/object", RestoreRequest={"Days": 1}
    )
    assert (await backend.stat("object")).size == 5
    assert await backend.read("object", 0, 5, fingerprint=etag) == b"bytes"


async def test_objects_that_intelligent_tiering_archived(
    log: tuple[Bucket, RequestLog], prefix: str
) -> None:
    bucket, requests = log

    async def rule(_: web.Request) -> web.Response:
        headers = {"x-amz-archive-status": "DEEP_ARCHIVE_ACCESS", "ETag": '"1"'}
        return web.Response(headers=headers)

    requests.rule = rule
    async with opened(S3Backend(bucket.name, prefix, bucket.options())) as backend:
        with pytest.raises(ObjectArchived):
            await backend.stat("object")


@pytest.mark.parametrize(
    ("status", "code", "error", "asked"),
    [
        (503, "SlowDown", None, 2),
        (400, "RequestTimeout", None, 2),
        (500, "InternalError", None, 2),
        (429, "TooManyRequests", None, 2),
        (403, "InvalidObjectState", ObjectArchived, 1),
        (403, "AccessDenied", StorageDenied, 1),
        (403, "RequestTimeTooSkewed", StorageDenied, 1),
        (404, "NoSuchBucket", StorageDenied, 1),
        (404, "NoSuchKey", ObjectNotFound, 1),
        (400, "KeyTooLongError", ObjectNotFound, 1),
        (412, "PreconditionFailed", ObjectChanged, 1),
        (418, "Teapot", StorageDenied, 1),
    ],
)
async def test_what_codes_mean(
    log: tuple[Bucket, RequestLog],
    put: Put,
    prefix: str,
    status: int,
    code: str,
    error: type[StorageError] | None,
    asked: int,
) -> None:
    """None: the answer is another when the same is asked again."""
    bucket, requests = log
    put("object", b"bytes")
    pin = bucket.client.head_object(Bucket=bucket.name, Key=f"{prefix}/object")["ETag"]

    async def rule(_: web.Request) -> web.Response | None:
        if len(requests()) == 1:
            return web.Response(status=status, text=REFUSED.format(code, "<Key>a key</Key>"))
        return None

    requests.rule = rule
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), patience=HASTY)) as backend:
        if error is None:
            assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        else:
            with pytest.raises(error) as refusal:
                await backend.read("object", 0, 5, fingerprint=pin)
            assert type(refusal.value) is error
            says_nothing(refusal.value, "", bucket.name, prefix, "a key", "object/")
    assert len(requests()) == asked


async def test_a_store_that_stays_slow(log: tuple[Bucket, RequestLog], prefix: str) -> None:
    bucket, requests = log

    async def rule(_: web.Request) -> web.Response:
        return web.Response(status=503, text=REFUSED.format("SlowDown", ""))

    requests.rule = rule
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), patience=HASTY)) as backend:
        with pytest.raises(StorageUnavailable) as refusal:
            await backend.read("object", 0, 5, fingerprint='"1"')
    assert type(refusal.value) is StorageUnavailable
    assert refusal.value.retry_after > 0
    assert len(requests()) == HASTY.attempts
