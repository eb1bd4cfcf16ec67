import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from storage_backends.base import (
    DescriptorLender,
    ObjectChanged,
    ObjectNotFound,
    StorageUnavailable,
)
from storage_backends.local import LocalBackend
from tests.storage_backends.contract import BackendContract, Put, open_descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The location, with a secret beside it."""
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "location").mkdir()
    return tmp_path / "location"


class TestLocalBackend(BackendContract):
    @pytest.fixture
    def put(self, root: Path) -> Put:
        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name("fresh")
            fresh.write_bytes(data)
            fresh.rename(path)

        return put

    @pytest.fixture
    def backend(self, root: Path, put: Put) -> LocalBackend:
        del put
        return LocalBackend(root)


@pytest.fixture
def backend(root: Path) -> LocalBackend:
    (root / "object").write_bytes(b"old bytes")
    return LocalBackend(root, descriptors=4)


def read(descriptor: int) -> bytes:
    return os.pread(descriptor, 100, 0)


async def refuses(backend: LocalBackend, key: str) -> None:
    """No way leads to the key, and none of them hangs."""
    async with asyncio.timeout(2):
        with pytest.raises(ObjectNotFound):
            await backend.stat(key)
        with pytest.raises(ObjectNotFound):
            await backend.read(key, 0, 9, fingerprint="6-6")
        with pytest.raises(ObjectNotFound), backend.lend(key, fingerprint="6-6"):
            pass


async def test_links_that_leave_the_location(root: Path, backend: LocalBackend) -> None:
    (root / "file").symlink_to("../outside")
    (root / "absolute").symlink_to(root.parent / "outside")
    (root / "folder").symlink_to("..")
    (root / "chain").symlink_to("file")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    (root.parent / "location2").mkdir()
    (root.parent / "location2" / "object").write_bytes(b"secret")
    (root / "sibling").symlink_to("../location2")
    for key in ("file", "absolute", "folder/outside", "chain", "loop", "dangling"):
        await refuses(backend, key)
    await refuses(backend, "sibling/object")
    assert list(backend.keys()) == ["object"]


async def test_links_within_the_location(root: Path, backend: LocalBackend) -> None:
    (root / "link").symlink_to("object")
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to("../object")
    for key in ("link", "sub/link"):
        pin = (await backend.stat(key)).fingerprint
        assert await backend.read(key, 0, 9, fingerprint=pin) == b"old bytes"


async def test_location_that_is_a_link(root: Path, backend: LocalBackend) -> None:
    del backend
    (root.parent / "alias").symlink_to(root)
    alias = LocalBackend(root.parent / "alias")
    assert (await alias.stat("object")).size == 9


async def test_link_that_is_turned_outwards_later(root: Path, backend: LocalBackend) -> None:
    """What was found inside is judged anew when it is another file."""
    (root / "link").symlink_to("object")
    pin = (await backend.stat("link")).fingerprint
    with backend.lend("link", fingerprint=pin) as descriptor:
        assert read(descriptor) == b"old bytes"
    (root / "link").unlink()
    (root / "link").symlink_to("../outside")
    await refuses(backend, "link")


async def test_folder_that_is_turned_outwards_later(root: Path, backend: LocalBackend) -> None:
    """Also when size and time of the file outside are the same."""
    (root / "folder").mkdir()
    (root / "folder" / "outside").write_bytes(b"inside")
    status = (root.parent / "outside").stat()
    os.utime(root / "folder" / "outside", ns=(status.st_atime_ns, status.st_mtime_ns))
    pin = (await backend.stat("folder/outside")).fingerprint
    (root / "folder").rename(root / "old")
    (root / "folder").symlink_to("..")
    await refuses(backend, "folder/outside")
    with pytest.raises(ObjectNotFound), backend.lend("folder/outside", fingerprint=pin):
        pass


async def test_what_is_no_regular_file(root: Path, backend: LocalBackend) -> None:
    os.mkfifo(root / "fifo")
    (root / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
        (root / "device").symlink_to("/dev/zero")
        for key in ("fifo", "directory", "socket", "device"):
            await refuses(backend, key)
    assert list(backend.keys()) == ["object"]


async def test_file_that_becomes_a_fifo(root: Path, backend: LocalBackend) -> None:
    pin = (await backend.stat("object")).fingerprint
    (root / "object").unlink()
    os.mkfifo(root / "object")
    async with asyncio.timeout(2):
        with pytest.raises(ObjectNotFound):
            await backend.read("object", 0, 1, fingerprint=pin)
    await refuses(backend, "object")


async def test_lent_descriptors(root: Path, backend: LocalBackend) -> None:
    assert isinstance(backend, DescriptorLender)
    pin = (await backend.stat("object")).fingerprint
    with backend.lend("object", fingerprint=pin) as first:
        with backend.lend("object", fingerprint=pin) as second:
            assert first == second
        assert read(first) == b"old bytes"
    with pytest.raises(ObjectChanged), backend.lend("object", fingerprint="9-9"):
        pass
    assert not os.get_inheritable(first)
    del root


async def test_those_who_read_keep_the_old_bytes(root: Path, backend: LocalBackend) -> None:
    old = (await backend.stat("object")).fingerprint
    with backend.lend("object", fingerprint=old) as before:
        (root / "fresh").write_bytes(b"new")
        (root / "fresh").rename(root / "object")
        new = (await backend.stat("object")).fingerprint
        with pytest.raises(ObjectChanged), backend.lend("object", fingerprint=old):
            pass
        with backend.lend("object", fingerprint=new) as after:
            assert read(after) == b"new"
            assert read(before) == b"old bytes"
        assert read(before) == b"old bytes"


async def test_change_in_place(root: Path, backend: LocalBackend) -> None:
    """Also of the same length: the time tells."""
    old = (await backend.stat("object")).fingerprint
    with backend.lend("object", fingerprint=old):
        pass
    with (root / "object").open("r+b") as file:
        file.write(b"NEW")
    os.utime(root / "object", ns=(1, 1_700_000_000_000_000_001))
    with pytest.raises(ObjectChanged):
        await backend.read("object", 0, 9, fingerprint=old)
    with pytest.raises(ObjectChanged), backend.lend("object", fingerprint=old):
        pass
    new = (await backend.stat("object")).fingerprint
    assert await backend.read("object", 0, 9, fingerprint=new) == b"NEW bytes"


async def test_change_while_it_is_read(root: Path, backend: LocalBackend) -> None:
    (root / "large").write_bytes(b"a" * 5_000_000)
    pin = (await backend.stat("large")).fingerprint
    stream = backend.stream("large", 0, 5_000_000, fingerprint=pin)
    assert await anext(stream)
    os.truncate(root / "large", 4_000_000)
    with pytest.raises(ObjectChanged):
        [piece async for piece in stream]


class ReplacedWhileOpened(LocalBackend):
    """Somebody replaces the file just before it is opened."""

    replacement: Path | None = None

    def _open(self, key: str) -> int:
        if self.replacement is not None:
            self.replacement.rename(Path(self._root) / key)
            self.replacement = None
        return super()._open(key)


async def test_replaced_between_look_and_open(root: Path, backend: LocalBackend) -> None:
    del backend
    racing = ReplacedWhileOpened(root)
    old = (await racing.stat("object")).fingerprint
    (root.parent / "fresh").write_bytes(b"new bytes, longer")
    racing.replacement = root.parent / "fresh"
    with pytest.raises(ObjectChanged), racing.lend("object", fingerprint=old) as descriptor:
        assert read(descriptor) == b"old bytes"
    new = (await racing.stat("object")).fingerprint
    with racing.lend("object", fingerprint=new) as descriptor:
        assert read(descriptor) == b"new bytes, longer"
    await racing.close()
    (root.parent / "fresh").write_bytes(b"newest")
    racing.replacement = root.parent / "fresh"
    with pytest.raises(ObjectChanged):
        await racing.read("object", 0, 99, fingerprint=new)


async def test_descriptors_are_bounded(root: Path, backend: LocalBackend) -> None:
    pins = {}
    for number in range(40):
        (root / f"o{number}").write_bytes(b"%d" % number)
        pins[number] = (await backend.stat(f"o{number}")).fingerprint
    before = open_descriptors()
    for number in range(40):
        with backend.lend(f"o{number}", fingerprint=pins[number]) as descriptor:
            assert read(descriptor) == b"%d" % number
    assert open_descriptors() - before <= 4
    await backend.close()
    assert open_descriptors() == before


async def test_descriptors_in_use_are_not_closed(root: Path, backend: LocalBackend) -> None:
    before = open_descriptors()
    pins = {}
    for number in range(20):
        (root / f"o{number}").write_bytes(b"%d" % number)
        pins[number] = (await backend.stat(f"o{number}")).fingerprint
    with backend.lend("o0", fingerprint=pins[0]) as held:
        for number in range(1, 20):
            with backend.lend(f"o{number}", fingerprint=pins[number]):
                assert read(held) == b"0"
        await backend.close()
        assert read(held) == b"0"
    assert open_descriptors() == before
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(held)


def test_threads(root: Path) -> None:
    """Many threads, few descriptors, files that are replaced: never another object's bytes."""
    backend = LocalBackend(root, descriptors=2)
    for number in range(6):
        (root / f"o{number}").write_bytes(b"%d" % number * 50)
    before = open_descriptors()
    wrong: list[object] = []
    stop = threading.Event()

    def reader(number: int) -> None:
        for turn in range(400):
            key = f"o{(number + turn) % 6}"
            try:
                pin = asyncio.run(backend.stat(key)).fingerprint if turn % 50 == 0 else pins[key]
                pins[key] = pin
                with backend.lend(key, fingerprint=pin) as descriptor:
                    data = read(descriptor)
                    if data.strip(key[1:].encode()):
                        wrong.append((key, data))
            except (ObjectChanged, ObjectNotFound):
                pins[key] = backend._look(key).stat.fingerprint
            except OSError as error:
                wrong.append(error)

    def writer() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            key = f"o{turn % 6}"
            (root.parent / "fresh").write_bytes(key[1:].encode() * (40 + turn % 7))
            (root.parent / "fresh").rename(root / key)
            stop.wait(0.001)

    pins = {f"o{n}": asyncio.run(backend.stat(f"o{n}")).fingerprint for n in range(6)}
    threads = [threading.Thread(target=reader, args=(number,)) for number in range(6)]
    changer = threading.Thread(target=writer)
    for thread in (*threads, changer):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    changer.join()
    assert not wrong
    asyncio.run(backend.close())
    assert open_descriptors() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_forbidden_files(root: Path, backend: LocalBackend) -> None:
    pin = (await backend.stat("object")).fingerprint
    (root / "object").chmod(0)
    with pytest.raises(StorageUnavailable) as refusal:
        await backend.read("object", 0, 1, fingerprint=pin)
    assert str(root) not in str(refusal.value)


async def test_keys_and_paths(root: Path, backend: LocalBackend) -> None:
    (root / "b").mkdir()
    (root / "b" / "deep object").write_bytes(b"x")
    (root / "a").write_bytes(b"x")
    assert list(backend.keys()) == ["a", "object", "b/deep object"]
    assert backend.path("b/deep object") == root / "b" / "deep object"
    with pytest.raises(ObjectNotFound):
        backend.path("../outside")
    assert await backend.available()
    assert not await LocalBackend(root / "nothing").available()
