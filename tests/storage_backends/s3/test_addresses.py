import asyncio
import socket
import uuid

import pytest
from aiohttp import web

from storage_backends.base import (
    ObjectNotFound,
    StorageDenied,
)
from storage_backends.s3 import S3Backend, S3Options, S3Origin
from tests.storage_backends.contract import Put
from tests.support.s3_bucket import (
    HASTY,
    REFUSED,
    Bucket,
    opened,
)
from tests.support.store_log import RequestLog


@pytest.mark.parametrize(
    ("bucket_name", "options", "url"),
    [
        ("data", S3Options(region="eu-west-1"), "https://data.s3.eu-west-1.amazonaws.com/p/k"),
        ("data", S3Options(), "https://data.s3.amazonaws.com/p/k"),
        ("da.ta", S3Options(region="eu-west-1"), "https://s3.eu-west-1.amazonaws.com/da.ta/p/k"),
        (
            "data",
            S3Options(region="cn-north-1"),
            "https://data.s3.cn-north-1.amazonaws.com.cn/p/k",
        ),
        (
            "data",
            S3Options(region="eu-west-1", path_style=True),
            "https://s3.eu-west-1.amazonaws.com/data/p/k",
        ),
        ("data", S3Options(endpoint_url="http://store:9000"), "http://store:9000/data/p/k"),
        ("data", S3Options(endpoint_url="https://store/s3/"), "https://store/s3/data/p/k"),
        ("data", S3Options(endpoint_url="http://Store:80"), "http://store/data/p/k"),
        (
            "data",
            S3Options(endpoint_url="http://store:9000", path_style=False),
            "http://data.store:9000/p/k",
        ),
    ],
)
async def test_addresses(bucket_name: str, options: S3Options, url: str) -> None:
    target = await S3Origin(bucket_name, "p", options).target("GET", "k")
    assert str(target.url).partition("?")[0] == url
    assert not target.headers


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_an_endpoint_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://store:9000")
    target = await S3Origin("data", "", S3Options()).target("GET", "k")
    assert str(target.url).startswith("http://store:9000/data/k?")
    target = await S3Origin("data", "", S3Options(endpoint_url="http://x:1")).target("GET", "k")
    assert str(target.url).startswith("http://x:1/data/k?")


@pytest.mark.parametrize(
    ("name", "prefix", "options", "message"),
    [
        ("", "", S3Options(), "bucket"),
        ("no bucket", "", S3Options(), "bucket"),
        ("a/b", "", S3Options(), "bucket"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/x", "", S3Options(), "bucket"),
        ("x--use1-az4--x-s3", "", S3Options(), "directory buckets"),
        ("data", "a/../b", S3Options(), "prefix"),
        ("data", "", S3Options(profile="nobody"), r"profile \(nobody\) could not be found"),
        ("data", "", S3Options(region="no region"), "region"),
        ("data", "", S3Options(endpoint_url="store:9000"), "endpoint"),
        ("data", "", S3Options(endpoint_url="http://user:password@store"), "endpoint"),
    ],
)
def test_settings_that_cannot_be_used(
    name: str, prefix: str, options: S3Options, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        S3Backend(name, prefix, options)
    assert "password" not in str(refusal.value)


def test_constructing_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)

    def connect(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    S3Backend("data", "", S3Options(role_arn="arn:aws:iam::123456789012:role/reader"))


def test_names() -> None:
    assert S3Backend("data", "a/b/").describe("c.bam") == "s3://data/a/b/c.bam"
    assert S3Backend("data", "a/b").describe() == "s3://data/a/b"
    assert S3Backend("data").describe() == "s3://data"
    assert S3Backend("data").describe("c.bam") == "s3://data/c.bam"


async def test_a_key_that_is_too_long_with_its_prefix() -> None:
    origin = S3Origin("data", "p" * 100, S3Options())
    await origin.target("GET", "k" * 923)
    with pytest.raises(ObjectNotFound):
        await origin.target("GET", "k" * 924)


async def test_a_region_that_the_store_tells(versity_bucket: Bucket) -> None:
    """The real server, asked by a signature for the wrong region."""
    key = f"{uuid.uuid4().hex}/object"
    versity_bucket.put(key, b"bytes")
    options = versity_bucket.options(region="us-west-2")
    async with opened(S3Backend(versity_bucket.name, "", options)) as backend:
        pin = (await backend.stat(key)).fingerprint
        assert await backend.read(key, 0, 5, fingerprint=pin) == b"bytes"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (301, {"x-amz-bucket-region": "eu-central-2"}, ""),
        (307, {"x-amz-bucket-region": "eu-central-2", "Location": "http://127.0.0.1:1/"}, ""),
        (
            400,
            {},
            REFUSED.format("AuthorizationQueryParametersError", "<Region>eu-central-2</Region>"),
        ),
        (400, {"x-amz-bucket-region": "eu-central-2"}, ""),
        (403, {"x-amz-bucket-region": "eu-central-2"}, ""),
    ],
)
async def test_a_bucket_in_another_region(
    log: tuple[Bucket, RequestLog],
    put: Put,
    prefix: str,
    status: int,
    headers: dict[str, str],
    body: str,
) -> None:
    bucket, requests = log
    put("object", b"bytes")

    async def rule(request: web.Request) -> web.Response | None:
        if "/eu-central-2/" in request.query["X-Amz-Credential"]:
            return None
        return web.Response(status=status, headers=headers, text=body)

    requests.rule = rule
    options = bucket.options(region="us-east-1")
    pin = bucket.client.head_object(Bucket=bucket.name, Key=f"{prefix}/object")["ETag"]
    async with opened(S3Backend(bucket.name, prefix, options, patience=HASTY)) as backend:
        reads = (backend.read("object", 0, 5, fingerprint=pin) for _ in range(5))
        assert await asyncio.gather(*reads) == [b"bytes"] * 5
        requests.clear()
        assert (await backend.stat("object")).fingerprint == pin
        assert len(requests()) == 1


async def test_a_redirect_is_not_followed(log: tuple[Bucket, RequestLog], prefix: str) -> None:
    bucket, requests = log

    async def rule(request: web.Request) -> web.Response:
        headers = {"Location": "http://127.0.0.1:1/", "x-amz-bucket-region": "../evil"}
        return web.Response(status=307, headers=headers)

    requests.rule = rule
    backend = S3Backend(bucket.name, prefix, bucket.options(), patience=HASTY)
    async with opened(backend):
        with pytest.raises(StorageDenied):
            await backend.stat("object")
    assert [each.method for each in requests()] == ["HEAD", "GET"], "the latter may say why"
