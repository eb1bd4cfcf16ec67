"""Reference sequences in process: reading a little of one, and writing a genome down."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import pysam

from benchmarks.inputs.genome import genome
from benchmarks.measure import (
    Basis,
    Gate,
    Row,
    Sample,
    Unmeasurable,
    micros,
    row_of,
    speed_ratio,
    take_turns,
)
from benchmarks.rows.setting import Setting
from server.database import Database
from server.refget.catalogue import KnownSequence, SequenceCatalogue
from server.refget.files import SequenceFiles
from server.refget.identifiers import AliasId
from server.refget.ingest import ingest, open_pinned
from server.refget.registry import Source
from storage_backends.local import LocalBackend

SPAN = 1000
_CALLS = 10_000
_PIECE = 1 << 20
_BASES: tuple[Basis, ...] = ("wall", "CPU")


def residues(setting: Setting) -> Iterator[Row]:
    """1 kb at random places of a plain FASTA file, in process; the same places for both. Anywhere
    in a chromosome that is larger than what is kept in memory, and in a part that is not."""
    path = genome(setting.directory, quick=setting.quick)
    disk, database = LocalBackend(Path("/")), Database()
    _ingest(disk, database, path)
    known = SequenceCatalogue(database).find_now(AliasId(None, "chr1"))
    if known is None:
        raise Unmeasurable("the file was not written down")
    for name, where, limit in (
        ("subsequence", "anywhere in", known.length),
        ("subsequence-hot", f"in {known.length / 1e7:g} Mb of", known.length // 10),
    ):
        starts = [setting.random.randrange(limit - SPAN) for _ in range(_CALLS)]
        files = SequenceFiles(lambda url: (disk, url.removeprefix("/")), database)
        with asyncio.Runner() as runner, pysam.FastaFile(str(path)) as fasta:
            samples = take_turns(
                {
                    "htsgate": partial(_read_ours, runner, files, known, starts),
                    "pysam": partial(_read_pysam, fasta, starts),
                },
                setting.rounds,
                lambda: setting.warm(path),
            )
            runner.run(files.close())
        yield row_of(
            name,
            f"1 kb {where} {known.length / 1e6:.0f} Mb of plain FASTA / pysam",
            speed_ratio(samples["htsgate"], samples["pysam"]),
            gate=Gate(5, 8),
            figures={each: micros(samples[each], "wall") for each in samples},
        )
    database.close()


def ingests(setting: Setting) -> Iterator[Row]:
    """Writing a genome down, against one pass of md5 and one of sha512 over the same file."""
    path = genome(setting.directory, quick=setting.quick)
    disk = LocalBackend(Path("/"))
    samples = take_turns(
        {"htsgate": lambda: _write_down(disk, path), "md5, then sha512": lambda: _hash(path)},
        setting.rounds,
        lambda: setting.warm(path),
    )
    for basis in _BASES:
        yield row_of(
            "ingest" if basis == "wall" else "ingest-cpu",
            f"{path.stat().st_size / 1e6:.0f} MB FASTA written down / md5 and sha512 of it"
            f"{'' if basis == 'wall' else ', processor time'}",
            speed_ratio(samples["htsgate"], samples["md5, then sha512"], basis),
            basis=basis,
            gate=Gate(0.8, 1.5) if basis == "wall" else None,
            figures={
                name: f"{1e-6 / median(sample.cost(basis) for sample in each):,.0f} MB/s"
                for name, each in samples.items()
            },
        )


def _ingest(disk: LocalBackend, database: Database, path: Path) -> None:
    key = str(path).removeprefix("/")
    fingerprint = asyncio.run(disk.stat(key)).fingerprint
    opened = open_pinned(disk, key, fingerprint)
    ingest(database, str(path), Source.ADDED, fingerprint, opened)


def _write_down(disk: LocalBackend, path: Path) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.closing(Database()) as database:
        _ingest(disk, database, path)
    return Sample(path.stat().st_size, time.perf_counter() - wall, time.process_time() - cpu)


def _hash(path: Path) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    for digest in (hashlib.md5(usedforsecurity=False), hashlib.sha512()):
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        digest.digest()
    return Sample(path.stat().st_size, time.perf_counter() - wall, time.process_time() - cpu)


def _read_ours(
    runner: asyncio.Runner, files: SequenceFiles, known: KnownSequence, starts: list[int]
) -> Sample:
    async def read() -> None:
        for start in starts:
            await files.residues(known, start, start + SPAN)

    wall, cpu = time.perf_counter(), time.process_time()
    runner.run(read())
    return Sample(len(starts), time.perf_counter() - wall, time.process_time() - cpu)


def _read_pysam(fasta: pysam.FastaFile, starts: list[int]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    for start in starts:
        fasta.fetch("chr1", start, start + SPAN)
    return Sample(len(starts), time.perf_counter() - wall, time.process_time() - cpu)
