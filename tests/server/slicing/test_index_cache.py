import os
import time
from pathlib import Path

import pytest

from server.slicing.index_cache import IndexCache


class Store:
    """Counts what is loaded from it."""

    def __init__(self, data: bytes = b"index") -> None:
        self.data = data
        self.loads = 0

    async def load(self) -> bytes:
        self.loads += 1
        return self.data


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_shared_by_those_who_use_the_folder(tmp_path: Path) -> None:
    store = Store()
    for _ in range(3):
        cache = IndexCache(tmp_path / "made" / "here", 1000)
        assert await cache.get("s3://b/k", '"1"', store.load) == b"index"
    assert store.loads == 1
    assert (tmp_path / "made/here").stat().st_mode & 0o077 == 0


async def test_versions_and_objects_are_told_apart(tmp_path: Path) -> None:
    cache, store = IndexCache(tmp_path, 1000), Store()
    for origin, fingerprint in (("a", "1"), ("a", "2"), ("b", "1"), ("a\n1", ""), ("a", "1\n")):
        store.data = f"{origin} {fingerprint}".encode()
        assert await cache.get(origin, fingerprint, store.load) == store.data
    assert store.loads == 5


@pytest.mark.parametrize("damage", [b"", b"x" * 31, b"x" * 32, b"x" * 40])
async def test_damaged_files_are_read_again(tmp_path: Path, damage: bytes) -> None:
    cache, store = IndexCache(tmp_path, 1000), Store()
    await cache.get("a", "1", store.load)
    (file,) = files(tmp_path)
    file.write_bytes(damage)
    assert await cache.get("a", "1", store.load) == b"index"
    assert await cache.get("a", "1", store.load) == b"index"
    assert store.loads == 2


async def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache, store = IndexCache(tmp_path, 500), Store(bytes(100))
    for name in "abc":
        await cache.get(name, "1", store.load)
        (newest,) = (file for file in files(tmp_path) if file.stat().st_mtime > 1e9)
        os.utime(newest, (ord(name), ord(name)))
    await cache.get("a", "1", store.load)  # used just now
    for name in "de":
        await cache.get(name, "1", store.load)
    assert store.loads == 5
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 500
    await cache.get("a", "1", store.load)
    assert store.loads == 5
    await cache.get("b", "1", store.load)
    assert store.loads == 6


async def test_too_large_to_be_kept(tmp_path: Path) -> None:
    cache, store = IndexCache(tmp_path, 50), Store(bytes(100))
    assert await cache.get("a", "1", store.load) == bytes(100)
    assert not files(tmp_path)


async def test_a_folder_that_fills_up_or_goes_away_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, store = IndexCache(tmp_path / "cache", 1000), Store()
    (tmp_path / "cache").rmdir()
    assert await cache.get("a", "1", store.load) == b"index"
    assert "index cache cannot be written" in caplog.text
    assert str(tmp_path) not in caplog.text


async def test_a_load_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def fail() -> bytes:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await IndexCache(tmp_path, 1000).get("a", "1", fail)
    assert not files(tmp_path)


def test_a_folder_below_one_that_others_may_write_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    with pytest.raises(ValueError, match="above"):
        IndexCache(above / "cache", 1000)
    above.chmod(0o1777)
    IndexCache(above / "cache", 1000)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ValueError, match="somebody else"):
        IndexCache(tmp_path, 1000)


async def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    cache = IndexCache(tmp_path, 1000)
    for name, age in (("old.writing", 7200), ("new.writing", 0)):
        (tmp_path / name).write_bytes(bytes(100))
        stamp = time.time() - age
        os.utime(tmp_path / name, (stamp, stamp))
    await cache.get("a", "1", Store().load)
    assert "new.writing" in {file.name for file in files(tmp_path)}
    assert "old.writing" not in {file.name for file in files(tmp_path)}


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ValueError, match="go-w"):
        IndexCache(tmp_path, 1000)
