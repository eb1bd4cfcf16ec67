import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalog import Catalog, ServedLocation, index_keys
from server.errors import NotFound, UnsupportedFormat
from server.model import Endpoint, Format
from storage_backends.base import StorageUnavailable
from storage_backends.local import LocalBackend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "a.bam",
        "a.cram",
        "b.cram",
        "v.vcf.gz",
        "w.vcf.bgz",
        "x.bcf",
        "a.vcf.gz",
        "plain.vcf",
    ):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def catalog(*locations: tuple[str, Path] | tuple[str, Path, str]) -> Catalog:
    served = []
    for name, path, *only in locations:
        served.append(ServedLocation(name, name, LocalBackend(path), only=next(iter(only), None)))
    return Catalog(served)


@pytest.mark.parametrize(
    ("endpoint", "object_id", "asked", "key"),
    [
        (Endpoint.READS, "a", None, "a.bam"),
        (Endpoint.READS, "a", Format.BAM, "a.bam"),
        (Endpoint.READS, "a", Format.CRAM, "a.cram"),
        (Endpoint.READS, "b", Format.CRAM, "b.cram"),
        (Endpoint.VARIANTS, "a", None, "a.vcf.gz"),
        (Endpoint.VARIANTS, "v", Format.VCF, "v.vcf.gz"),
        (Endpoint.VARIANTS, "w", None, "w.vcf.bgz"),
        (Endpoint.VARIANTS, "x", Format.BCF, "x.bcf"),
    ],
)
async def test_found(
    root: Path, endpoint: Endpoint, object_id: str, asked: Format | None, key: str
) -> None:
    found = catalog(("", root))
    for _ in range(2):
        item = await found.resolve(endpoint, object_id, asked)
        assert (item.key, item.object_id, item.endpoint) == (key, object_id, endpoint)
        assert item.stat.size == len(key)
        assert item.index_key is None
        assert item.format == (asked or endpoint.formats[0])


@pytest.mark.parametrize(
    ("endpoint", "object_id", "asked"),
    [
        (Endpoint.READS, "b", None),
        (Endpoint.READS, "b", Format.BAM),
        (Endpoint.VARIANTS, "x", None),
        (Endpoint.VARIANTS, "v", Format.BCF),
    ],
)
async def test_other_format_only(
    root: Path, endpoint: Endpoint, object_id: str, asked: Format | None
) -> None:
    found = catalog(("", root))
    for _ in range(2):
        with pytest.raises(UnsupportedFormat):
            await found.resolve(endpoint, object_id, asked)


@pytest.mark.parametrize(
    "object_id",
    ["", "nope", "a.bam", "v", "plain", "A", "a ", "../a", "a\0", "a\n", "a" * 2000, "a/"],
)
async def test_not_found(root: Path, object_id: str) -> None:
    found = catalog(("", root))
    with pytest.raises(NotFound) as refusal:
        await found.resolve(Endpoint.READS, object_id, None)
    assert str(refusal.value) == "no such object"


@pytest.mark.parametrize(
    ("data", "index", "asked"),
    [
        *(("a.bam", index, Format.BAM) for index in ("a.bam.csi", "a.csi", "a.bam.bai", "a.bai")),
        *(("b.cram", index, Format.CRAM) for index in ("b.cram.crai", "b.crai")),
        *(("v.vcf.gz", index, Format.VCF) for index in ("v.vcf.gz.csi", "v.vcf.gz.tbi")),
        *(("v.vcf.gz", index, Format.VCF) for index in ("v.vcf.csi", "v.vcf.tbi")),
        *(("w.vcf.bgz", index, Format.VCF) for index in ("w.vcf.bgz.tbi", "w.vcf.bgz.csi")),
        *(("x.bcf", index, Format.BCF) for index in ("x.bcf.csi", "x.csi")),
    ],
)
async def test_indexes(root: Path, data: str, index: str, asked: Format) -> None:
    (root / index).write_bytes(b"index")
    endpoint = Endpoint.READS if asked in Endpoint.READS.formats else Endpoint.VARIANTS
    item = await catalog(("", root)).resolve(endpoint, data[0], asked)
    assert item.index_key == index
    assert item.index_stat is not None
    assert item.index_stat.size == 5


def test_preference_is_that_of_htslib() -> None:
    assert list(index_keys("d/a.bam", Format.BAM)) == [
        "d/a.bam.csi",
        "d/a.csi",
        "d/a.bam.bai",
        "d/a.bai",
    ]
    assert list(index_keys("a.cram", Format.CRAM)) == ["a.cram.crai", "a.crai"]


async def test_bai_is_no_index_of_a_cram(root: Path) -> None:
    (root / "b.cram.bai").write_bytes(b"x")
    (root / "b.csi").write_bytes(b"x")
    item = await catalog(("", root)).resolve(Endpoint.READS, "b", Format.CRAM)
    assert item.index_key is None


async def test_index_that_comes_changes_and_goes(root: Path) -> None:
    found = catalog(("", root))
    assert (await found.resolve(Endpoint.READS, "a", None)).index_key is None
    (root / "a.bai").write_bytes(b"one")
    first = await found.resolve(Endpoint.READS, "a", None)
    assert first.index_key == "a.bai"
    (root / "a.bai").write_bytes(b"three")
    second = await found.resolve(Endpoint.READS, "a", None)
    assert second.index_stat is not None
    assert first.index_stat is not None
    assert second.index_stat.fingerprint != first.index_stat.fingerprint
    (root / "a.bai").unlink()
    assert (await found.resolve(Endpoint.READS, "a", None)).index_key is None


async def test_data_that_change_and_go(root: Path) -> None:
    found = catalog(("", root))
    first = await found.resolve(Endpoint.READS, "a", None)
    (root / "a.bam").write_bytes(b"longer than it was")
    second = await found.resolve(Endpoint.READS, "a", None)
    assert second.stat.fingerprint != first.stat.fingerprint
    (root / "a.bam").unlink()
    with pytest.raises(UnsupportedFormat):
        await found.resolve(Endpoint.READS, "a", None)
    (root / "a.cram").unlink()
    with pytest.raises(NotFound):
        await found.resolve(Endpoint.READS, "a", None)


async def test_names(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copy(root / "b.cram", other / "b.cram")
    (other / "one").mkdir()
    (other / "one" / "a.bam").write_bytes(b"in a folder")
    found = catalog(("one", root), ("", other))
    assert (await found.resolve(Endpoint.READS, "one/a", None)).stat.size == 5
    assert (await found.resolve(Endpoint.READS, "b", Format.CRAM)).location.name == ""
    with pytest.raises(NotFound):
        await found.resolve(Endpoint.READS, "a", None)
    (root / "a.bam").unlink()
    with pytest.raises(UnsupportedFormat):  # an id tells its location, so that policy can tell it
        await found.resolve(Endpoint.READS, "one/a", None)


async def test_one_file(root: Path) -> None:
    (root / "a.bam.bai").write_bytes(b"x")
    found = catalog(("n", root, "a.bam"))
    assert (await found.resolve(Endpoint.READS, "n/a", None)).index_key == "a.bam.bai"
    for object_id, asked in (("n/b", Format.CRAM), ("n/a", Format.CRAM)):
        with pytest.raises((NotFound, UnsupportedFormat)):
            await found.resolve(Endpoint.READS, object_id, asked)
    with pytest.raises(NotFound):
        await found.resolve(Endpoint.VARIANTS, "n/v", None)


async def test_links(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.bam").write_bytes(b"secret")
    (root / "leak.bam").symlink_to(outside / "secret.bam")
    (root / "folder").symlink_to(outside)
    (root / "alias.bam").symlink_to("a.bam")
    (root / "a.bam.bai").symlink_to(outside / "secret.bam")
    (root / "dir.bam").mkdir()
    os.mkfifo(root / "fifo.bam")
    found = catalog(("", root))
    for object_id in ("leak", "folder/secret", "dir", "fifo"):
        with pytest.raises(NotFound):
            await found.resolve(Endpoint.READS, object_id, None)
    assert (await found.resolve(Endpoint.READS, "alias", None)).stat.size == 5
    assert (await found.resolve(Endpoint.READS, "a", None)).index_key is None


async def test_memory_is_bounded(root: Path) -> None:
    for number in range(20):
        (root / f"n{number}.bam").write_bytes(b"x")
    found = Catalog([ServedLocation("", "", LocalBackend(root))], remembered=5)
    for number in range(20):
        await found.resolve(Endpoint.READS, f"n{number}", None)
    assert len(found._found) <= 5
    for number in range(50):
        with pytest.raises(NotFound):
            await found.resolve(Endpoint.READS, f"unknown{number}", None)
    assert len(found._found) <= 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_store_that_cannot_be_read(root: Path) -> None:
    """Trouble is not absence."""
    (root / "locked").mkdir()
    (root / "locked").chmod(0)
    with pytest.raises(StorageUnavailable):
        await catalog(("", root)).resolve(Endpoint.READS, "locked/a", None)


@pytest.mark.parametrize(
    ("outer", "only", "holds"),
    [
        ("data", None, True),
        ("data/study", None, True),
        ("data/study", "x.bam", False),
        ("data/study/public", None, False),
        ("data/studyx", None, False),
    ],
)
def test_locations_that_hold_others(
    tmp_path: Path, outer: str, only: str | None, *, holds: bool
) -> None:
    (tmp_path / "data" / "study" / "public").mkdir(parents=True)
    (tmp_path / "data" / "studyx").mkdir()
    inner = ServedLocation("b", "", LocalBackend(tmp_path / "data" / "study"))
    location = ServedLocation("a", "", LocalBackend(tmp_path / outer), only)
    assert location.holds(inner) is holds
    assert location.holds(replace(location)) is True
    assert location.holds(replace(inner, only="x.bam")) is (holds or only == "x.bam")
