import datetime
import time
from collections.abc import Callable
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.sigv4 import LONGEST, Credentials, QuerySigner

CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = 1_700_000_000.25

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
keys = st.lists(texts, min_size=1, max_size=4).map("/".join)
credentials = st.builds(
    Credentials,
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=1, max_size=20),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "Range": st.builds("bytes={}-{}".format, st.integers(0), st.integers(0)),
        "If-Match": st.builds('"{}"'.format, st.text("0123456789abcdef -", max_size=40)),
    },
)
bases = st.sampled_from(
    [
        "https://bucket.s3.eu-west-1.amazonaws.com",
        "https://bucket.s3.amazonaws.com:443",
        "http://127.0.0.1:9000/bucket",
        "http://Store.Example.org:80/s3/bucket",
        "https://store.example.org:80/bucket",
        "http://[::1]:9000/bucket",
    ]
)


def botocore_presign(
    method: str,
    url: str,
    region: str,
    credentials: Credentials,
    now: float,
    seconds: int,
    headers: dict[str, str],
) -> str:
    """The same by the reference implementation."""
    keys = (credentials.access_key, credentials.secret_key, credentials.token)
    signer = botocore.auth.S3SigV4QueryAuth(
        botocore.credentials.Credentials(*keys), "s3", region, expires=seconds
    )
    request = botocore.awsrequest.AWSRequest(method, url, headers=headers)
    clock = datetime.datetime.fromtimestamp(int(now), datetime.UTC)  # it would round up
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=clock):
        signer.add_auth(request)
    assert isinstance(request.url, str)
    return request.url


@given(
    method=st.sampled_from(["GET", "HEAD"]),
    base=bases,
    region=st.sampled_from(["us-east-1", "eu-central-2", "cn-north-1", "auto"]),
    key=keys,
    credentials=credentials,
    now=st.floats(0, 4e9),
    seconds=st.integers(1, LONGEST),
    headers=fields,
)
def test_signatures_are_those_of_botocore(
    method: str,
    base: str,
    region: str,
    key: str,
    credentials: Credentials,
    now: float,
    seconds: int,
    headers: dict[str, str],
) -> None:
    ours = QuerySigner(base, region).presign(
        method, key, credentials, now=now, seconds=seconds, headers=headers
    )
    url = f"{base}/{quote(key, safe='/~')}"
    theirs = botocore_presign(method, url, region, credentials, now, seconds, headers)
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)
    assert urlsplit(ours).path == urlsplit(theirs).path


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://bucket.s3.amazonaws.com", "https://bucket.s3.amazonaws.com/"),
        ("http://127.0.0.1:9000/bucket", "http://127.0.0.1:9000/bucket"),
    ],
)
def test_the_bucket_itself(base: str, url: str) -> None:
    signer = QuerySigner(base, "us-east-1")
    assert signer.url("") == url
    ours = signer.presign("HEAD", "", CREDENTIALS, now=NOW, seconds=60)
    theirs = botocore_presign("HEAD", url, "us-east-1", CREDENTIALS, NOW, 60, {})
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)


def test_the_example_of_the_specification() -> None:
    """From "Authenticating Requests: Using Query Parameters" of the S3 API reference."""
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    signer = QuerySigner("https://examplebucket.s3.amazonaws.com", "us-east-1")
    now = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC).timestamp()
    url = signer.presign("GET", "test.txt", credentials, now=now, seconds=86_400)
    signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert parse_qs(urlsplit(url).query)["X-Amz-Signature"] == [signature]


def test_the_day_is_part_of_the_key() -> None:
    signer = QuerySigner("https://host/bucket", "us-east-1")
    other = Credentials("AKIDOTHER", "secret", "token")
    for now in (NOW, NOW + 86_400, NOW):
        for credentials in (CREDENTIALS, other, CREDENTIALS):
            fresh = QuerySigner("https://host/bucket", "us-east-1")
            assert signer.presign("GET", "key", credentials, now=now, seconds=60) == fresh.presign(
                "GET", "key", credentials, now=now, seconds=60
            )


@pytest.mark.parametrize("seconds", [-1, 0, LONGEST + 1])
def test_bounds_of_the_expiry(seconds: int) -> None:
    signer = QuerySigner("https://host/bucket", "us-east-1")
    with pytest.raises(ValueError, match="1 to 604800 seconds"):
        signer.presign("GET", "key", CREDENTIALS, now=NOW, seconds=seconds)


@pytest.mark.parametrize(
    "base", ["host/bucket", "https://", "https://user:secret@host/bucket", "https://host/b?x#y"]
)
def test_bases_that_are_none(base: str) -> None:
    with pytest.raises(ValueError, match="an endpoint is") as refusal:
        QuerySigner(base, "us-east-1")
    assert "secret" not in str(refusal.value)


@pytest.mark.security("TS2")
def test_credentials_do_not_show() -> None:
    shown = repr(Credentials("AKIDEXAMPLE", "the secret", "the token"))
    assert "secret" not in shown.replace("secret_key", "")
    assert "token" not in shown


def test_how_long_it_takes(record_property: Callable[[str, object], None]) -> None:
    """Measured, not judged."""
    signer = QuerySigner("https://bucket.s3.eu-west-1.amazonaws.com", "eu-west-1")
    headers = {"Range": "bytes=1000000-2000000", "If-Match": f'"{"0" * 32}"'}
    began = time.perf_counter()
    for number in range(2_000):
        signer.presign(
            "GET", f"cohort/{number}.cram", CREDENTIALS, now=NOW, seconds=300, headers=headers
        )
    record_property("presign_us", (time.perf_counter() - began) / 2_000 * 1e6)
