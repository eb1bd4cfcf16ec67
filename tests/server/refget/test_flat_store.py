"""Sequences in a folder: named by digest, whole or not at all, once."""

import os
import time
from pathlib import Path

import pytest

from formats.errors import CorruptData
from server.refget.digests import Digests
from server.refget.flat_store import FlatStore, flat_entry

TEXT = b"ACGTNACGT"
DIGESTS = Digests.from_residues(TEXT)


@pytest.fixture
def store(tmp_path: Path) -> FlatStore:
    return FlatStore(tmp_path / "some" / "store")


def keep(store: FlatStore, text: bytes = TEXT) -> Path:
    with store.write() as writer:
        writer.add(text[:4])
        writer.add(text[4:])
        return writer.keep(Digests.from_residues(text), len(text))


def test_a_sequence_is_kept_by_its_digest(store: FlatStore) -> None:
    assert not store.holds(DIGESTS, len(TEXT))
    path = keep(store)
    name = DIGESTS.trunc512
    assert path.parts[-3:] == (name[:2], name[2:4], name)
    assert path == store.path(DIGESTS)
    assert path.read_bytes() == TEXT
    assert store.holds(DIGESTS, len(TEXT))
    assert store.verify(DIGESTS)
    assert flat_entry(DIGESTS, 9).position(5) == 5


def test_it_is_written_once(store: FlatStore) -> None:
    first = keep(store).stat()
    assert keep(store).stat().st_ino == first.st_ino


def test_nothing_is_left_of_what_is_not_kept(store: FlatStore, tmp_path: Path) -> None:
    with store.write() as writer:
        writer.add(TEXT)
    with store.write() as writer:
        writer.add(TEXT)
        with pytest.raises(CorruptData):
            writer.keep(DIGESTS, len(TEXT) + 1)
    with pytest.raises(KeyboardInterrupt), store.write():
        raise KeyboardInterrupt
    assert list((tmp_path / "some" / "store").iterdir()) == []


def test_damage_is_found(store: FlatStore) -> None:
    path = keep(store)
    path.chmod(0o644)
    path.write_bytes(TEXT[:-1])
    assert not store.holds(DIGESTS, len(TEXT))
    keep(store)
    assert store.verify(DIGESTS)
    for other in (TEXT.lower(), b"ACGTNACGA", TEXT + b"\n"):
        path.chmod(0o644)
        path.write_bytes(other)
        assert not store.verify(DIGESTS)
        before = path.stat().st_ino
        keep(store)
        assert path.read_bytes() == TEXT
        assert path.stat().st_ino != before, "was changed where it lies"


def test_removal(store: FlatStore, tmp_path: Path) -> None:
    path = keep(store)
    other = keep(store, b"AC")
    store.remove(str(path))
    store.remove(str(path))
    assert other.exists()
    assert not path.parent.exists()
    foreign = tmp_path / "ab" / "cd" / DIGESTS.trunc512
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"")
    store.remove(str(foreign))
    assert foreign.exists()
    os.rename(other, other.with_name("notes"))  # noqa: PTH104
    store.remove(str(other.with_name("notes")))
    assert other.with_name("notes").exists()


def test_what_was_left_unfinished_goes_after_a_day(store: FlatStore, tmp_path: Path) -> None:
    keep(store)
    root = tmp_path / "some" / "store"
    for name, age in ((".unfinished-1", 90_000), (".unfinished-2", 10)):
        (root / name).write_bytes(b"AC")
        os.utime(root / name, (time.time() - age,) * 2)
    store.tidy()
    assert sorted(path.name for path in root.iterdir() if len(path.name) > 2) == [".unfinished-2"]
