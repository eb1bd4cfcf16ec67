"""Files of sequences to write down and to serve, in every way they are stored."""

import asyncio
import random
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from formats.bgzf import EOF_MARKER, compress
from server.database import Database
from server.refget.catalogue import KnownSequence, SequenceCatalogue
from server.refget.digests import Digests
from server.refget.files import SequenceFiles
from server.refget.identifiers import TruncatedId
from server.refget.ingest import Ingested, ingest, open_pinned, settled_stat
from server.refget.registry import Source
from storage_backends.base import StorageBackend
from storage_backends.local import LocalBackend


def locate(url: str) -> tuple[StorageBackend, str]:
    """Where a path is read: of the whole disk, as in a server."""
    return _disk(), url.removeprefix("/")


@cache
def _disk() -> LocalBackend:
    return LocalBackend(Path("/"))


def residues(length: int, seed: int = 1, letters: str = "ACGT") -> bytes:
    return "".join(random.Random(seed).choices(letters, k=length)).encode()


def fasta(records: Mapping[str, bytes], width: int = 60, end: bytes = b"\n") -> bytes:
    """FASTA text of even lines."""
    lines: list[bytes] = []
    for name, text in records.items():
        lines.append(b">" + name.encode())
        lines += [text[at : at + width] for at in range(0, len(text), width)]
    return end.join(lines) + end


def bgzf(data: bytes) -> bytes:
    return compress(data) + EOF_MARKER


def twobit(records: Mapping[str, bytes], order: str = "<") -> bytes:
    """2bit of A, C, G, T and N."""
    index_size = sum(5 + len(name) for name in records)
    index, bodies = b"", b""
    for name, text in records.items():
        index += bytes([len(name)]) + name.encode()
        index += struct.pack(f"{order}I", 16 + index_size + len(bodies))
        ns = [at for at, letter in enumerate(text) if letter == ord("N")]
        bodies += struct.pack(f"{order}II", len(text), len(ns))
        bodies += struct.pack(f"{order}{2 * len(ns)}I", *ns, *[1] * len(ns))
        bodies += struct.pack(f"{order}II", 0, 0)
        codes = ["TCAG".find(chr(each)) % 4 for each in text] + [0] * (-len(text) % 4)
        bodies += bytes(
            codes[at] << 6 | codes[at + 1] << 4 | codes[at + 2] << 2 | codes[at + 3]
            for at in range(0, len(codes), 4)
        )
    return struct.pack(f"{order}IIII", 0x1A412743, 0, len(records), 0) + index + bodies


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def add(database: Database, url: str, source: Source = Source.ADDED, **options: Any) -> Ingested:
    """Write down a file on disk."""
    backend, key = locate(url)
    fingerprint = asyncio.run(settled_stat(backend, key)).fingerprint
    opened = open_pinned(backend, key, fingerprint)
    return ingest(database, url, source, fingerprint, opened, **options)


async def add_async(database: Database, url: str, **options: Any) -> Ingested:
    return await asyncio.to_thread(add, database, url, **options)


def known(database: Database, text: bytes) -> KnownSequence:
    """What the catalogue knows of the sequence with these residues."""
    wanted = TruncatedId(Digests.from_residues(text).truncated)
    found = SequenceCatalogue(database).find_now(wanted)
    assert found is not None
    return found


async def read_everyhow(
    files: SequenceFiles, sequence: KnownSequence, start: int, end: int
) -> bytes:
    """Residues, which are the same however they are read."""
    one = await files.residues(sequence, start, end)
    assert b"".join([piece async for piece in files.stream(sequence, start, end)]) == one
    assert await asyncio.to_thread(files.residues_now, sequence, start, end) == one
    assert await files.residues(sequence, start, end) == one
    return one
