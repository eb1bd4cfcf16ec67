import os
from pathlib import Path

import pytest

from auth.errors import InvalidConfiguration, InvalidCredential
from auth.tokens.revocations import Revocations


def test_without_a_file_nothing_is_refused() -> None:
    Revocations().check("i", "s", "t")


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text("# people\nhttps://b.example/|s\n\n  at-1  \nsha256:00\n")
    revoked = Revocations(path)
    revoked.check("https://b.example", "s", "at-2", "sha256:01")
    for iss, sub, names in (
        ("https://b.example/", "s", ("x",)),
        ("i", "t", ("at-1",)),
        ("i", "t", ("x", "sha256:00")),
    ):
        with pytest.raises(InvalidCredential, match=r"token\.revoked"):
            revoked.check(iss, sub, *names)


def test_it_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, seconds = tmp_path / "revoked", 0.0
    path.write_text("a\n")
    revoked = Revocations(path, timer=lambda: seconds)

    def refused(name: str) -> bool:
        try:
            revoked.check("i", "s", name)
        except InvalidCredential:
            return True
        return False

    path.write_text("b\nb2\n")
    assert refused("a")
    assert not refused("b")
    seconds = 1.0
    assert not refused("a")
    assert refused("b")
    # What cannot be read changes nothing.
    path.unlink()
    seconds = 2.0
    assert refused("b")
    assert "the last one holds" in caplog.text
    path.write_bytes(b"\xff\n")
    seconds = 3.0
    assert refused("b")
    # Put in place of the old one, as careful people do, with its time and size.
    path.write_text("c\n")
    seconds = 4.0
    assert refused("c")
    status = path.stat()
    new = tmp_path / "new"
    new.write_text("d\n")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)
    seconds = 5.0
    assert refused("d")
    assert not refused("c")


def test_at_the_start_it_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="revoked"):
        Revocations(tmp_path / "none")
