"""Copies of the checkpoints in a folder: to be kept, or taken away, by somebody else.

One file for each chain and day of JSON Lines, only ever appended to.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from auth.audit.checkpoints import Checkpoint

_SUFFIX = ".checkpoints.jsonl"
_TAIL_BYTES = 1 << 16


def append_documents(folder: Path, documents: Sequence[str]) -> None:
    """Add checkpoints to the files of their days; on disk when it returns. Raises `OSError`."""
    for path, alike in groupby(documents, key=lambda each: _file_of(folder, each)):
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            # What a full disk cut short stays as it is; the next line is one of its own.
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
            lines = b"\n" * bool(torn) + b"".join(each.encode() + b"\n" for each in alike)
            if os.write(descriptor, lines) != len(lines):
                raise OSError(28, "not all of the checkpoints could be written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(folder)


def _file_of(folder: Path, document: str) -> Path:
    checkpoint = Checkpoint.from_line(document.encode())
    return folder / f"{_file_name(checkpoint.chain)}-{checkpoint.ts[:10]}{_SUFFIX}"


def read_folder(folder: Path) -> tuple[list[Checkpoint], int]:
    """All checkpoints in a folder, and how many lines are none. Raises `OSError`."""
    found: list[Checkpoint] = []
    damaged = 0
    for path in _files(folder, ""):
        for line in path.read_bytes().splitlines():
            try:
                found.append(Checkpoint.from_line(line))
            except ValueError:
                damaged += 1
    return found, damaged


def newest(folder: Path, chain: str) -> set[bytes]:
    """The digests of the last checkpoints of a chain in a folder. Raises `OSError`."""
    files = _files(folder, _file_name(chain))
    return set(_digests(files[-1])) if files else set()


def _digests(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        for line in file:
            try:
                yield Checkpoint.from_line(line).digest
            except ValueError:
                continue


def _files(folder: Path, prefix: str) -> list[Path]:
    return sorted(
        each
        for each in folder.iterdir()
        if each.name.startswith(prefix) and each.name.endswith(_SUFFIX)
    )


def _file_name(chain: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", chain)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
