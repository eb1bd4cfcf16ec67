from pathlib import Path

import pytest

from server.refget.locator import Locator
from storage_backends.base import ObjectNotFound, StorageBackend
from storage_backends.http import HttpBackend
from storage_backends.local import LocalBackend


async def test_paths(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.fa").write_bytes(b">x\nA\n")
    (tmp_path / "link.fa").symlink_to("a/x.fa")
    locate = Locator()
    backend, key = locate(str(tmp_path / "a" / "x.fa"))
    assert (await backend.stat(key)).size == 5
    assert locate(str(tmp_path / "link.fa")) == (backend, key)
    missing, key = locate(str(tmp_path / "b" / "x.fa"))
    with pytest.raises(ObjectNotFound):
        await missing.stat(key)
    await locate.close()


async def test_urls_below_locations(tmp_path: Path) -> None:
    outer, inner = HttpBackend("https://h/a"), HttpBackend("https://h/a/b")
    locate = Locator([LocalBackend(tmp_path), outer, inner])
    assert locate("https://h/a/x.fa") == (outer, "x.fa")
    assert locate("https://h/a/c/x.fa") == (outer, "c/x.fa")
    assert locate("https://h/a/b/x.fa") == (inner, "x.fa")
    with pytest.raises(ObjectNotFound):
        locate("https://h/other/x.fa")


async def test_other_urls() -> None:
    asked: list[str] = []

    def open_folder(url: str) -> StorageBackend:
        asked.append(url)
        return HttpBackend(url)

    locate = Locator((), open_folder)
    first, key = locate("https://h/a/x.fa")
    assert (first.describe(key), key) == ("https://h/a/x.fa", "x.fa")
    assert locate("https://h/a/y.fa") == (first, "y.fa")
    assert asked == ["https://h/a"]
    await locate.close()
