"""Decoding processes fail alone, within limits, and are replaced."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

from formats.errors import CorruptData
from formats.regions import Interval
from server.slicing.jobs import Job, Keep
from server.slicing.workers import WorkerLimits, WorkerPool, _Deadline

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
SOME = Keep((Interval(0, 0, 500),))
ALL = Keep((Interval(0, 0, 10_000),))


@pytest.fixture(scope="module")
def cram(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    header = pysam.AlignmentHeader.from_references(["one"], [10_000])
    path = tmp_path_factory.mktemp("cram") / "x.cram"
    with pysam.AlignmentFile(
        str(path), "wc", header=header, format_options=["version=3.0", "no_ref=1"]
    ) as out:
        for number in range(200):
            record = pysam.AlignedSegment(header)
            record.query_name = f"r{number}"
            record.query_sequence = "ACGTACGTAC"
            record.reference_id, record.reference_start = 0, 20 * number
            record.cigarstring = "10M"
            out.write(record)
    return path.read_bytes()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(1)
    yield pool
    pool.close()


def process(pool: WorkerPool) -> int:
    (worker,) = pool._workers
    assert worker._process is not None
    return worker._process.pid


def test_trim_keep_all_and_none(pool: WorkerPool, cram: bytes, tmp_path: Path) -> None:
    trimmed = pool.run(Job(cram, "3.0", SOME))
    assert trimmed
    path = tmp_path / "x.cram"
    path.write_bytes(trimmed)
    with pysam.AlignmentFile(str(path)) as records:
        names = [record.query_name for record in records.fetch(until_eof=True)]
    assert names == [f"r{number}" for number in range(25)]
    assert pool.run(Job(cram, "3.0", ALL)) is None
    assert pool.run(Job(cram, "3.0", Keep((), unplaced=True))) == b""


def test_probe(pool: WorkerPool, cram: bytes) -> None:
    keep = Keep((Interval(0, 100, 500),), sent=Interval(0, 0, 200))
    probe = pool.probe(Job(cram, "3.0", keep, probe=True))
    assert probe == (200, 15, (Interval(0, 0, 3990),))


def test_nothing_starts_before_it_is_needed() -> None:
    pool = WorkerPool(3)
    assert all(worker._process is None for worker in pool._workers)
    pool.close()


def test_undecodable_data(pool: WorkerPool, cram: bytes) -> None:
    for data in (b"", b"CRAM", bytes(1000), cram[:-200], cram[:300]):
        with pytest.raises(CorruptData):
            pool.run(Job(data, "3.0", SOME))
    assert pool.run(Job(cram, "3.0", SOME))


def test_dead_process_is_replaced(pool: WorkerPool, cram: bytes) -> None:
    expected = pool.run(Job(cram, "3.0", SOME))
    first = process(pool)
    os.kill(first, signal.SIGKILL)
    assert pool.run(Job(cram, "3.0", SOME)) == expected
    assert process(pool) != first


def test_process_that_dies_after_earlier_jobs_is_replaced_at_once(
    pool: WorkerPool, cram: bytes
) -> None:
    pool.run(Job(cram, "3.0", SOME))
    os.kill(process(pool), signal.SIGSTOP)

    ending = threading.Timer(0.2, os.kill, (process(pool), signal.SIGKILL))
    ending.start()
    assert pool.run(Job(cram, "3.0", SOME))
    ending.join()


def test_deadline(cram: bytes) -> None:
    pool = WorkerPool(1)
    try:
        assert pool.run(Job(cram, "3.0", SOME))
        (worker,) = pool._workers
        limits, worker._limits = worker._limits, WorkerLimits(deadline=0.3)
        os.kill(process(pool), signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(CorruptData):
            pool.run(Job(cram, "3.0", SOME))
        assert time.monotonic() - started >= 0.2
        worker._limits = limits
        assert pool.run(Job(cram, "3.0", SOME))
    finally:
        pool.close()


def test_deadline_that_passes_after_the_reply_harms_no_later_job(
    pool: WorkerPool, cram: bytes
) -> None:
    expected = pool.run(Job(cram, "3.0", SOME))
    (worker,) = pool._workers
    assert worker._process is not None
    deadline = _Deadline(worker._process, 1000)
    assert deadline.met()
    deadline._expire()
    first = process(pool)
    assert pool.run(Job(cram, "3.0", SOME)) == expected
    assert process(pool) == first


@pytest.mark.parametrize("limits", [WorkerLimits(output=300), WorkerLimits(memory=1 << 24)])
def test_budgets(cram: bytes, limits: WorkerLimits) -> None:
    pool = WorkerPool(1, limits)
    try:
        with pytest.raises(CorruptData):
            pool.run(Job(cram, "3.0", SOME))
    finally:
        pool.close()


@LINUX
def test_process_holds_no_secret(
    pool: WorkerPool, cram: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTSGATE_SERVER__SECRET", "open sesame")
    pool.run(Job(cram, "3.0", SOME))
    environment = Path(f"/proc/{process(pool)}/environ").read_bytes()
    names = {item.partition(b"=")[0] for item in environment.split(b"\0") if item}
    assert names <= {b"PYTHONPATH", b"REF_PATH", b"REF_CACHE", b"TMPDIR", b"LD_LIBRARY_PATH"}
    targets = {str(fd.readlink()) for fd in Path(f"/proc/{process(pool)}/fd").iterdir()}
    assert not [target for target in targets if target.startswith("socket:")]


def test_map_keeps_order_and_stops_at_errors() -> None:
    pool = WorkerPool(2)
    try:
        assert list(pool.map(lambda n: n * n, range(50))) == [n * n for n in range(50)]
        drawn = []

        def items() -> Iterator[int]:
            for number in range(1000):
                drawn.append(number)
                yield number

        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda n: 1 // (10 - n), items()))
        assert len(drawn) < 30
    finally:
        pool.close()


def test_close_leaves_nothing(cram: bytes) -> None:
    pool = WorkerPool(2)
    pool.run(Job(cram, "3.0", SOME))
    directory = Path(pool._directory.name)
    pid = process_of(pool)
    assert directory.exists()
    pool.close()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def process_of(pool: WorkerPool) -> int:
    return next(w._process.pid for w in pool._workers if w._process is not None)
