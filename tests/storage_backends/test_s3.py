import asyncio
import logging
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from storage_backends.base import (
    KeyLister,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    PresignedRead,
    Presigner,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.s3 import S3Backend, S3Options, S3Origin
from storage_backends.transfer import Patience
from tests.storage_backends.contract import BackendContract, Put
from tests.support.store_log import RequestLog
from tests.support.stores import ACCESS_KEY, SECRET_KEY, RunningStore, logged_store

HASTY = Patience(connect=2, quiet=2, attempts=3, pause=0.01)
REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>m</Message>{}</Error>'
)


Configure = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a store, and a client for what the tests do past the backend."""

    store: RunningStore
    client: Any
    name: str

    def put(self, key: str, data: bytes, **options: str) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data, **options)

    def options(self, **values: Any) -> S3Options:
        fixed = {"endpoint_url": self.store.endpoint_url, "region": self.store.region}
        return S3Options(**fixed | values)


@pytest.fixture(scope="module")
def moto_bucket(moto_store: RunningStore) -> Bucket:
    return Bucket(moto_store, moto_store.client, moto_store.new_bucket())


@pytest.fixture(scope="module")
def versity_bucket(versity_store: RunningStore) -> Bucket:
    return Bucket(versity_store, versity_store.client, versity_store.new_bucket())


@pytest.fixture(autouse=True)
def _environment(store_keys: None) -> None:
    """No test finds credentials of whoever runs it."""


@pytest.fixture
def bucket(moto_bucket: Bucket) -> Bucket:
    return moto_bucket


@pytest.fixture
def prefix(bucket: Bucket) -> str:
    """A location of the test's own, with a secret beside it."""
    parent = uuid.uuid4().hex
    bucket.put(f"{parent}/outside", b"secret")
    return f"{parent}/location"


@pytest.fixture
def put(bucket: Bucket, prefix: str) -> Put:
    return lambda key, data: bucket.put(f"{prefix}/{key}", data)


@pytest.fixture
async def backend(bucket: Bucket, prefix: str) -> AsyncIterator[S3Backend]:
    async with opened(S3Backend(bucket.name, prefix, bucket.options(), revalidate=0)) as backend:
        yield backend


@pytest.fixture
def log(bucket: Bucket) -> Iterator[tuple[Bucket, RequestLog]]:
    """The bucket behind a proxy with a log, whose rule may answer in the store's place."""
    with logged_store(bucket.store) as store:
        yield Bucket(store, bucket.client, bucket.name), store.log


class opened:  # noqa: N801 - reads as a function, and closes what it opens
    """A backend that is started, and closed in the end."""

    def __init__(self, backend: S3Backend) -> None:
        self.backend = backend

    async def __aenter__(self) -> S3Backend:
        await self.backend.start()
        return self.backend

    async def __aexit__(self, *_: object) -> None:
        await self.backend.close()


class TestOverMoto(BackendContract):
    @pytest.fixture
    def put(self, put: Put) -> Put:
        return put

    @pytest.fixture
    def backend(self, backend: S3Backend) -> S3Backend:
        return backend


class TestOverVersityGateway(TestOverMoto):
    @pytest.fixture
    def bucket(self, versity_bucket: Bucket) -> Bucket:
        return versity_bucket


def signer_of(url: str) -> str:
    """The access key that a URL is signed with."""
    query = parse_qs(url.partition("?")[2])
    return query.get("X-Amz-Credential", [""])[0].partition("/")[0]


def texts(error: BaseException | None) -> str:
    """Everything an error and its causes say."""
    said = ""
    while error is not None:
        said += f"{error!r} {error}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


def says_nothing(error: BaseException, logged: str, *secrets: str) -> None:
    for secret in (*secrets, SECRET_KEY, ACCESS_KEY, "X-Amz", "Signature=", "127.0.0.1"):
        assert secret not in texts(error)
        assert secret not in logged


# Where a bucket is.


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
        pin = f'"{"0" * 32}"'
        with pytest.raises(ObjectChanged):
            await backend.read(key, 0, 5, fingerprint=pin)
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
    assert len(requests()) == 1


# Who asks.


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


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """What writes the configuration file; it is empty, and nothing comes before it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "config"
    path.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    def configure(text: str) -> None:
        path.write_text(text)

    return configure


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


class serving:  # noqa: N801 - reads as a function
    """A server with one handler, on this event loop."""

    def __init__(self, handler: Any) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        self.runner = web.AppRunner(application)

    async def __aenter__(self) -> str:
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


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


# What a store answers.


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


# Which objects there are.


@pytest.mark.parametrize("store", ["moto_bucket", "versity_bucket"])
def test_keys(store: str, request: pytest.FixtureRequest) -> None:
    bucket: Bucket = request.getfixturevalue(store)
    parent = uuid.uuid4().hex
    named = ["a.bam", "a/b c.bam", "a/ä+&%=?#.bam", "b.bam"]
    for key in [*named, "folder/"]:
        bucket.put(f"{parent}/location/{key}", b"")
    bucket.put(f"{parent}/location2", b"")
    bucket.put(f"{parent}/other/x", b"")
    backend = S3Backend(bucket.name, f"{parent}/location", bucket.options())
    assert isinstance(backend, KeyLister)
    assert list(backend.keys()) == named
    assert list(S3Backend(bucket.name, f"{parent}/nowhere", bucket.options()).keys()) == []
    everything = S3Backend(bucket.name, "", bucket.options()).keys(on_error=print, on_link=print)
    assert f"{parent}/other/x" in list(everything)


async def test_keys_of_more_than_one_page() -> None:
    page = "<ListBucketResult>{}<EncodingType>url</EncodingType>{}</ListBucketResult>"
    item = "<Contents><Key>p/{}</Key></Contents>"

    async def answer(request: web.Request) -> web.Response:
        if request.query.get("continuation-token") == "more":
            text = page.format("<IsTruncated>false</IsTruncated>", item.format("c"))
        else:
            more = "<NextContinuationToken>more</NextContinuationToken>"
            items = item.format("a") + item.format("b%20%2B")
            text = page.format(f"<IsTruncated>true</IsTruncated>{more}", items)
        return web.Response(text=text, content_type="application/xml")

    async with serving(answer) as url:
        backend = S3Backend("data", "p", S3Options(endpoint_url=url))
        assert await asyncio.to_thread(lambda: list(backend.keys())) == ["a", "b +", "c"]


# What others may read.


async def fetch(read: PresignedRead, **changes: str | None) -> tuple[int, bytes]:
    """What anyone gets by a presigned request; `changes`: other header fields, None: without."""
    headers = dict(read.headers)
    for name, value in changes.items():
        name = name.replace("_", "-")
        if value is None:
            del headers[name]
        else:
            headers[name] = value
    url = URL(read.url, encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as got:
        return got.status, await got.read()


async def test_presigned_reads_give_one_range_and_nothing_else(versity_bucket: Bucket) -> None:
    """By the real server, which verifies signatures."""
    parent = uuid.uuid4().hex
    key = "folder/ä object+&.bam"
    versity_bucket.put(f"{parent}/{key}", bytes(range(256)))
    versity_bucket.put(f"{parent}/another", b"another")
    async with opened(S3Backend(versity_bucket.name, parent, versity_bucket.options())) as backend:
        assert isinstance(backend, Presigner)
        pin = (await backend.stat(key)).fingerprint
        read = await backend.presign(key, 10, 20, fingerprint=pin, seconds=60)
        assert read.headers == {"Range": "bytes=10-19", "If-Match": pin}
        assert "X-Amz-Expires=60&" in read.url
        assert await fetch(read) == (206, bytes(range(10, 20)))
        for changes in (
            {"Range": "bytes=10-20"},
            {"Range": "bytes=0-255"},
            {"Range": None},
            {"If_Match": '"another"'},
            {"If_Match": None},
            {"Range": None, "If_Match": None},
        ):
            status, body = await fetch(read, **changes)
            assert status in (400, 403)
            assert bytes(range(10, 20)) not in body
        other = PresignedRead(
            read.url.replace(quote(key), "another"), {"Range": "bytes=10-19", "If-Match": pin}
        )
        assert (await fetch(other))[0] == 403
        longer = PresignedRead(read.url.replace("Expires=60&", "Expires=3600&"), read.headers)
        assert (await fetch(longer))[0] == 403
        short = await backend.presign(key, 10, 20, fingerprint=pin, seconds=1)
        await asyncio.sleep(2.1)
        assert (await fetch(short))[0] == 403
        versity_bucket.put(f"{parent}/{key}", bytes(256))
        assert (await fetch(read))[0] == 412


async def test_presigned_reads_are_bounded() -> None:
    backend = S3Backend("data", "", S3Options())
    read = await backend.presign("k", 0, 1, fingerprint='"1"', seconds=1 << 30)
    assert "X-Amz-Expires=3600&" in read.url
    for start, end in ((1, 1), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="nothing to read"):
            await backend.presign("k", start, end, fingerprint='"1"', seconds=60)
    with pytest.raises(ValueError, match="seconds"):
        await backend.presign("k", 0, 1, fingerprint='"1"', seconds=0)
    with pytest.raises(StorageDenied, match="no ETag"):
        await backend.presign("k", 0, 1, fingerprint="1-1", seconds=60)
    for key in ("", "../k", "a//b", "x" * 1_025):
        with pytest.raises(ObjectNotFound):
            await backend.presign(key, 0, 1, fingerprint='"1"', seconds=60)
