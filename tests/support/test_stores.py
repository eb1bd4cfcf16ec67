"""The stores that other tests rely on."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tests.support.stores import (
    RunningStore,
    StaticStore,
    logged_static_store,
    logged_store,
)

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=["moto_store", "versity_store"])
def store(request: pytest.FixtureRequest) -> Iterator[RunningStore]:
    with logged_store(request.getfixturevalue(request.param)) as logged:
        yield logged


def test_objects_and_the_log(store: RunningStore) -> None:
    bucket = store.new_bucket()
    store.put(bucket, "a folder/ä+&=.bin", DATA)
    through_the_log = replace(store, direct_url=store.endpoint_url).client
    answer = through_the_log.get_object(Bucket=bucket, Key="a folder/ä+&=.bin", Range="bytes=10-19")
    assert answer["Body"].read() == DATA[10:20]
    through_the_log.put_object(Bucket=bucket, Key="b", Body=b"x")
    store.delete(bucket, "b")
    with pytest.raises(ClientError, match="404"):
        through_the_log.head_object(Bucket=bucket, Key="b")
    assert [(each.method, each.range, each.status) for each in store.log()] == [
        ("GET", "bytes=10-19", 206),
        ("PUT", None, 200),
        ("HEAD", None, 404),
    ]
    assert store.log("GET", ".bin")[0].sent == 10


def test_signatures_are_verified(versity_store: RunningStore) -> None:
    bucket = versity_store.new_bucket()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        replace(versity_store, secret_key="x" * 40).put(bucket, "a", b"x")


def test_static(static_store: StaticStore) -> None:
    static_store.put("a folder/b", b"0123456789")
    with logged_static_store(static_store) as store:
        url = f"{store.endpoint_url}/a%20folder/b"
        asked = urllib.request.Request(url, headers={"Range": "bytes=2-3"})  # noqa: S310
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            assert (answer.status, answer.read()) == (206, b"23")
            first = answer.headers["ETag"]
            assert answer.headers["Last-Modified"]
        store.put("a folder/b", b"abcdefghij")
        with urllib.request.urlopen(url) as answer:  # noqa: S310
            assert answer.headers["ETag"] != first
        store.delete("a folder/b")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url)  # noqa: S310
        assert [each.status for each in store.log()] == [206, 200, 404]
