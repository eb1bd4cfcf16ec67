import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from storage_backends.base import StorageDenied
from storage_backends.s3 import S3Backend, S3Options, S3Origin
from tests.storage_backends.contract import Put
from tests.support.s3_bucket import (
    HASTY,
    REFUSED,
    Bucket,
    Configure,
    opened,
    says_nothing,
    serving,
    signer_of,
)
from tests.support.store_log import RequestLog
from tests.support.stores import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def issued(configure: Configure, tmp_path: Path) -> Callable[[], int]:
    """How many credentials a program gave: temporary ones, others each time."""
    count = tmp_path / "count"
    count.write_text("0")
    program = tmp_path / "issue.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "count = pathlib.Path(sys.argv[1])\n"
        "number = int(count.read_text()) + 1\n"
        "count.write_text(str(number))\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'ASIA{number}', 'SecretAccessKey': 's',"
        " 'SessionToken': f't{number}', 'Expiration': '2999-01-01T00:00:00Z'}))\n"
    )
    configure(f"[default]\ncredential_process = {sys.executable} {program} {count}\n")
    return lambda: int(count.read_text())


async def test_one_url_per_object() -> None:
    now = 1_700_000_000.0
    origin = S3Origin("data", "", S3Options(), clock=lambda: now)
    read = await origin.target("GET", "k")
    assert await origin.target("GET", "k") is read
    assert await origin.target("HEAD", "k") is not read
    query = parse_qs(read.url.raw_query_string)
    assert query["X-Amz-SignedHeaders"] == ["host"]
    now += int(query["X-Amz-Expires"][0]) - 60
    assert await origin.target("GET", "k") is read
    now += 1
    again = await origin.target("GET", "k")
    assert again is not read
    now -= 3_600  # a clock that is set back
    assert await origin.target("GET", "k") is not again


async def test_urls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage_backends.s3._MOST_URLS", 10)
    origin = S3Origin("data", "", S3Options())
    first = await origin.target("GET", "0")
    for number in range(100):
        await origin.target("GET", str(number))
        assert await origin.target("GET", "0") is first
    assert len(origin._requests) == 10


async def test_profiles(configure: Configure, bucket: Bucket, put: Put, prefix: str) -> None:
    configure(
        f"[profile lab]\nregion = {bucket.store.region}\nservices = lab\n"
        f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        f"[services lab]\ns3 =\n  endpoint_url = {bucket.store.endpoint_url}\n"
    )
    put("object", b"bytes")
    async with opened(S3Backend(bucket.name, prefix, S3Options(profile="lab"))) as backend:
        pin = (await backend.stat("object")).fingerprint
        assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        assert list(await asyncio.to_thread(lambda: list(backend.keys()))) == ["object"]
    target = await S3Origin("data", "", S3Options(profile="lab")).target("GET", "k")
    assert signer_of(str(target.url)) == ACCESS_KEY
    assert f"%2F{bucket.store.region}%2Fs3%2F" in str(target.url)


async def test_a_role_is_assumed(
    bucket: Bucket, put: Put, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", bucket.store.endpoint_url)
    put("object", b"bytes")
    options = bucket.options(role_arn="arn:aws:iam::123456789012:role/reader")
    async with opened(S3Backend(bucket.name, prefix, options)) as backend:
        pin = (await backend.stat("object")).fingerprint
        assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        url = str((await backend.origin.target("GET", "object")).url)
        assert signer_of(url).startswith("ASIA")
        assert "X-Amz-Security-Token=" in url
        assert await asyncio.to_thread(lambda: list(backend.keys())) == ["object"]


async def test_a_role_that_cannot_be_assumed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def deny(_: web.Request) -> web.Response:
        return web.Response(status=403, text=REFUSED.format("AccessDenied", ""))

    async with serving(deny) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        role = "arn:aws:iam::123456789012:role/reader"
        options = S3Options(endpoint_url=url, role_arn=role)
        async with opened(S3Backend("data", "", options)) as backend:
            with pytest.raises(StorageDenied, match="no credentials can be had") as refusal:
                await backend.stat("object")
    says_nothing(refusal.value, "", role, "reader")


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_credentials_that_the_store_no_longer_takes(
    issued: Callable[[], int],
    log: tuple[Bucket, RequestLog],
    put: Put,
    prefix: str,
    code: str,
    method: str,
) -> None:
    bucket, requests = log
    put("object", b"bytes")
    pin = bucket.client.head_object(Bucket=bucket.name, Key=f"{prefix}/object")["ETag"]

    async def rule(request: web.Request) -> web.Response | None:
        if signer_of(str(request.url.raw_path_qs)) == "ASIA1":
            return web.Response(status=400, text=REFUSED.format(code, ""))
        return None

    async with opened(S3Backend(bucket.name, prefix, bucket.options())) as backend:
        assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        requests.rule = rule
        if method == "HEAD":
            asked: Any = [backend.stat("object", fresh=True)]
        else:
            asked = [backend.read("object", 0, 5, fingerprint=pin) for _ in range(20)]
        await asyncio.gather(*asked)
        requests.clear()
        assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        assert [each.status for each in requests()] == [206]
    assert issued() == 2  # once, for however many requests


async def test_credentials_that_are_refused_for_good(
    issued: Callable[[], int], log: tuple[Bucket, RequestLog], prefix: str
) -> None:
    bucket, requests = log

    async def rule(_: web.Request) -> web.Response:
        return web.Response(status=400, text=REFUSED.format("ExpiredToken", ""))

    requests.rule = rule
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), patience=HASTY)) as backend:
        for _ in range(5):
            with pytest.raises(StorageDenied):
                await backend.read("object", 0, 5, fingerprint='"1"')
    assert issued() == 2


async def test_the_event_loop_does_not_wait_for_credentials(configure: Configure) -> None:
    configure("[default]\ncredential_process = sleep 0.5\n")
    origin = S3Origin("data", "", S3Options())
    asked = asyncio.ensure_future(origin.target("GET", "k"))
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 20
    with pytest.raises(StorageDenied, match="no credentials can be had"):
        await asked


async def test_without_credentials(
    configure: Configure, bucket: Bucket, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.put(f"{prefix}/object", b"bytes", ACL="public-read")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    async with opened(S3Backend(bucket.name, prefix, bucket.options())) as backend:
        pin = (await backend.stat("object")).fingerprint
        assert await backend.read("object", 0, 5, fingerprint=pin) == b"bytes"
        url = str((await backend.origin.target("GET", "object")).url)
        assert url == f"{bucket.store.endpoint_url}/{bucket.name}/{prefix}/object"
        with pytest.raises(StorageDenied, match="no credentials to sign with"):
            await backend.presign("object", 0, 1, fingerprint=pin, seconds=60)
        assert await asyncio.to_thread(lambda: list(backend.keys())) == ["object"]
    warnings = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert warnings == [f"s3://{bucket.name}: no credentials found; reading as anyone may"]


async def test_a_role_without_credentials_to_assume_it(configure: Configure) -> None:
    options = S3Options(role_arn="arn:aws:iam::123456789012:role/reader")
    with pytest.raises(StorageDenied, match="no credentials to assume a role with"):
        await S3Origin("data", "", options).target("GET", "k")


async def test_credentials_that_come_later(
    configure: Configure,
    log: tuple[Bucket, RequestLog],
    put: Put,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket, requests = log
    put("object", b"bytes")
    monkeypatch.setattr("storage_backends.s3_credentials._BETWEEN_SEARCHES", 0)

    async def rule(request: web.Request) -> web.Response | None:
        return None if "X-Amz-Credential" in request.query else web.Response(status=403)

    requests.rule = rule
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), patience=HASTY)) as backend:
        with pytest.raises(StorageDenied):
            await backend.stat("object")
        keys = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        configure(f"[default]\n{keys}")
        assert (await backend.stat("object")).size == 5


async def test_anonymous_reads_from_the_real_server(
    versity_bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    versity_bucket.put("open/object", b"bytes")
    versity_bucket.put("closed/object", b"bytes")
    arn = f"arn:aws:s3:::{versity_bucket.name}/open/*"
    versity_bucket.client.put_bucket_policy(
        Bucket=versity_bucket.name,
        Policy=(
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
            f'"Action":"s3:GetObject","Resource":"{arn}"}}]}}'
        ),
    )
    options = versity_bucket.options(anonymous=True)
    async with opened(S3Backend(versity_bucket.name, "", options)) as backend:
        pin = (await backend.stat("open/object")).fingerprint
        assert await backend.read("open/object", 1, 5, fingerprint=pin) == b"ytes"
        with pytest.raises(StorageDenied):
            await backend.stat("closed/object")
        with pytest.raises(StorageDenied):
            await backend.read("closed/object", 0, 5, fingerprint=pin)
        with pytest.raises(StorageDenied):
            await asyncio.to_thread(lambda: list(backend.keys()))
    assert not caplog.records
