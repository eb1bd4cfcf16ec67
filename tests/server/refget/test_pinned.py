"""What is read of a file that changes meanwhile."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.refget.pinned import PinnedDescriptor
from storage_backends.base import ObjectChanged
from storage_backends.local import DescriptorSource, fingerprint_of

TEXT = b"ACGTACGT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.fa"
    path.write_bytes(TEXT)
    time.sleep(0.05)  # the clock of a file system ticks
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[PinnedDescriptor]:
    with path.open("rb") as file:
        fingerprint = fingerprint_of(path.stat())
        yield PinnedDescriptor(file.fileno(), fingerprint)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(TEXT[::-1])


def test_it_is_read_while_it_is_the_same(opened: PinnedDescriptor) -> None:
    assert opened.read(2, 100) == TEXT[2:]
    assert opened.read_cached(2, 5) in (None, TEXT[2:5])
    assert opened.read_cached(2, 9) is None


def test_what_was_written_over_is_not_read(path: Path, opened: PinnedDescriptor) -> None:
    overwrite(path)
    with pytest.raises(ObjectChanged):
        opened.read(0, 4)


def test_it_is_read_again_when_something_happened_to_it(
    path: Path, opened: PinnedDescriptor
) -> None:
    """A time of modification that was set back says nothing; that of the inode does."""

    class Torn(DescriptorSource):
        reads = 0

        def read(self, start: int, end: int) -> bytes:
            data = super().read(start, end)
            self.reads += 1
            if self.reads == 1:
                status = path.stat()
                overwrite(path)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            return data

    source = Torn(opened._descriptor, opened.size)
    opened._source = source
    assert opened.read(0, 8) == TEXT[::-1]
    assert source.reads == 2


def test_a_cached_read_gives_up_when_something_happened(
    path: Path, opened: PinnedDescriptor
) -> None:
    if opened.read_cached(0, 4) is None:
        pytest.skip("the file system has no reads without waiting")
    path.chmod(0o600)
    assert opened.read_cached(0, 4) is None
    assert opened.read_cached(0, 4) == bytearray(TEXT[:4])
    overwrite(path)
    with pytest.raises(ObjectChanged):
        opened.read_cached(0, 4)
