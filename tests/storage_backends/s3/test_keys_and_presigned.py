import asyncio
import uuid
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from storage_backends.base import (
    KeyLister,
    ObjectNotFound,
    PresignedRead,
    Presigner,
    StorageDenied,
)
from storage_backends.s3 import S3Backend, S3Options
from tests.support.s3_bucket import (
    Bucket,
    opened,
    serving,
)


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
