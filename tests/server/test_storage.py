from pathlib import Path

import pytest

from server.catalog import ServedLocation
from server.config import CacheSection, ConfigurationError
from server.location_settings import Location
from server.storage import open_location
from storage_backends.local import LocalBackend


def opened(url: str, **values: object) -> ServedLocation:
    location = Location.model_validate({"url": url, **values})
    return open_location(location, CacheSection())


def test_directories_and_files(tmp_path: Path) -> None:
    (tmp_path / "x.bam").write_bytes(b"")
    (tmp_path / "x.txt").write_bytes(b"")
    whole, one = opened(str(tmp_path)), opened(str(tmp_path / "x.bam"))
    assert (whole.only, one.only) == (None, "x.bam")
    assert isinstance(one.backend, LocalBackend)
    for missing in ("nothing", "x.txt"):
        with pytest.raises(ConfigurationError):
            opened(str(tmp_path / missing))


@pytest.mark.parametrize(
    ("url", "folder", "only"),
    [
        ("https://h/a/b", "https://h/a/b/", None),
        ("https://h/a/b/", "https://h/a/b/", None),
        ("https://h/a/x.bam", "https://h/a/", "x.bam"),
        ("https://h/a/x%20y.vcf.gz?sig=s", "https://h/a/", "x y.vcf.gz"),
        ("https://h/a?sig=x.bam", "https://h/a/", None),
        ("s3://bucket", "s3://bucket", None),
        ("s3://bucket/a/b/", "s3://bucket/a/b", None),
        ("s3://bucket/a/x%20y.cram", "s3://bucket/a", "x%20y.cram"),
        ("s3://bucket/x.bcf", "s3://bucket", "x.bcf"),
    ],
)
def test_remote_locations(url: str, folder: str, only: str | None) -> None:
    location = opened(url)
    assert location.only == only
    assert location.backend.describe() == folder


@pytest.mark.parametrize(
    "url", ["https://someone:pw@h/a?sig=secret", "https://someone:pw@h/x.bam", "s3://", "https://"]
)
@pytest.mark.security("TS2")
def test_what_cannot_be_opened_tells_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        opened(url)
    assert not {"pw", "someone", "secret"} & set(str(refusal.value).replace("@", " ").split())
    assert "pw" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_direct_delivery() -> None:
    assert opened("s3://bucket/a", delivery="direct").direct
    assert not opened("s3://bucket/a").direct
