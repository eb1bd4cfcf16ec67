"""A chain in files that prove themselves: JSON Lines, and a manifest with the checkpoints.

Each line is the canonical JSON of `{"hash", "payload", "seq"}`. Nobody's name is in them.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from auth.audit.chain import BEGINNING, Anchor, Entry, canonical
from auth.audit.checkpoints import Checkpoint
from server.access.audit_chain import read_checkpoints, read_entries
from server.database import Database

SCHEMA = "htsget-audit/1"
_MAX_LINE = 64 << 20
_MAX_MANIFEST = 1 << 30


class InvalidExport(Exception):
    """Files that are no export, or not as they were written; the message says where."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds. `start`: the record before its first one."""

    chain: str
    start: Anchor
    last: Anchor
    sha256: str
    checkpoints: tuple[Checkpoint, ...]


def manifest_of(path: Path) -> Path:
    """Where the manifest of an export is."""
    return path.with_name(f"{path.name}.manifest.json")


def export_chain(database: Database, chain: str, path: Path) -> Manifest:
    """Write the chain as it is now, in new files. Raises `OSError`, `DatabaseUnavailable`."""
    # First: those that are made meanwhile may be of records that are not written any more.
    checkpoints = tuple(all_checkpoints(database, chain))
    digest, last = hashlib.sha256(), BEGINNING
    with _new(path) as file:
        for seq, payload, hash_ in read_entries(database, chain):
            line = b'{"hash":"%b","payload":%b,"seq":%d}\n' % (
                hash_.hex().encode(),
                payload,
                seq,
            )
            digest.update(line)
            file.write(line)
            last = Anchor(seq, hash_)
    manifest = Manifest(chain, BEGINNING, last, digest.hexdigest(), checkpoints)
    document = {
        "schema": SCHEMA,
        "chain": chain,
        "start": {"seq": manifest.start.seq, "hash": manifest.start.hash.hex()},
        "last": {"seq": last.seq, "hash": last.hash.hex()},
        "sha256": manifest.sha256,
        "checkpoints": [each.as_json() for each in checkpoints],
    }
    with _new(manifest_of(path)) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")
    return manifest


def all_checkpoints(database: Database, chain: str) -> Iterator[Checkpoint]:
    """The checkpoints of a chain, in order; for threads. Raises `InvalidExport` for one that is
    not as it was written."""
    number = 0
    while found := database.run(partial(read_checkpoints, chain=chain, after=number)):
        for text in found:
            number += 1
            try:
                yield Checkpoint.from_line(text.encode())
            except ValueError:
                raise InvalidExport(f"checkpoint {number} of the database is none") from None


def read_manifest(path: Path) -> Manifest:
    """The manifest of an export. Raises `InvalidExport`, `OSError`."""
    try:
        with manifest_of(path).open("rb") as file:
            document: Any = json.loads(file.read(_MAX_MANIFEST))
        if document["schema"] != SCHEMA:
            raise InvalidExport("the manifest is of something else")
        return Manifest(
            str(document["chain"]),
            _anchor(document["start"]),
            _anchor(document["last"]),
            str(document["sha256"]),
            tuple(map(Checkpoint.from_json, document["checkpoints"])),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidExport("the manifest cannot be read") from None


def read_export(path: Path, manifest: Manifest) -> Iterator[Entry]:
    """The records of an export; after the last one also checks what the manifest says of the whole.

    Raises `InvalidExport`, `OSError`.
    """
    digest, last = hashlib.sha256(), manifest.start
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            digest.update(line)
            try:
                entry = _entry(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InvalidExport(f"line {number} is not as it was written") from None
            last = Anchor(entry.seq, entry.hash)
            yield entry
    if last != manifest.last:
        raise InvalidExport(f"it ends with record {last.seq}, not as the manifest says")
    if digest.hexdigest() != manifest.sha256:
        raise InvalidExport("it does not have the digest of the manifest")


def _entry(line: bytes) -> Entry:
    document: Any = json.loads(line)
    if canonical(document) + b"\n" != line or document.keys() != {"hash", "payload", "seq"}:
        raise ValueError
    seq = document["seq"]
    if not isinstance(seq, int):
        raise TypeError
    return Entry(seq, canonical(document["payload"]), bytes.fromhex(document["hash"]))


def _anchor(value: dict[str, Any]) -> Anchor:
    seq = value["seq"]
    if not isinstance(seq, int):
        raise TypeError
    return Anchor(seq, bytes.fromhex(value["hash"]))


def _new(path: Path) -> IO[bytes]:
    """A file that others may not read, and that is not there yet."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")
