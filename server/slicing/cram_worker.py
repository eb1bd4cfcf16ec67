"""The process that decodes and encodes CRAM: `python -m server.slicing.cram_worker MEMORY SECONDS
OUTPUT`.

It reads jobs from its standard input and answers on its standard output, one after the other,
within limits on memory (bytes), processor time of a job (seconds) and output (bytes). Hostile
data may crash it: the server then starts another.
"""

import ctypes
import os
import resource
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pysam

from formats.regions import Interval
from server.slicing.jobs import (
    FAILED,
    PROBED,
    TRIMMED,
    WHOLE,
    Job,
    Keep,
    Probe,
    encode_probe,
    read_job,
    write_reply,
)

_DESCRIPTORS = 64
_NEW_USER_AND_NETWORK = 0x10000000 | 0x40000000
_PLACE_ONLY = "required_fields=0x2e"  # FLAG, RNAME, POS, CIGAR: decodes without a reference
_NAMES = "name_prefix=read"  # of records whose names the file does not store


def main() -> None:
    """Serve jobs until the input ends."""
    memory, seconds, output = map(int, sys.argv[1:])
    jobs = sys.stdin.buffer
    # Nothing but replies may reach the pipe, whatever a library prints.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _confine(memory, output)
    pysam.set_verbosity(0)
    while (job := read_job(jobs)) is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        budget = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (budget, resource.RLIM_INFINITY))
        try:
            kind, payload = _probe(job) if job.probe else _trim(job)
        except (OSError, ValueError, MemoryError):
            kind, payload = FAILED, b""
        write_reply(replies, kind, payload)


def _confine(memory: int, output: int) -> None:
    """Give up what decoding does not need; the network only where the kernel lets us."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (output, output))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        ctypes.CDLL(None).unshare(_NEW_USER_AND_NETWORK)


def _probe(job: Job) -> tuple[bytes, bytes]:
    selector = _Selector(job.keep)
    total = kept = 0
    spans: dict[int, tuple[int, int]] = {}
    with _reading(job.cram, _PLACE_ONLY) as records:
        for record in records:
            total += 1
            kept += selector.keeps(record)
            if record.reference_id >= 0:
                start, end = _interval(record)
                low, high = spans.get(record.reference_id, (start, end))
                spans[record.reference_id] = min(low, start), max(high, end)
    covered = tuple(Interval(reference, *span) for reference, span in sorted(spans.items()))
    return PROBED, encode_probe(Probe(total, kept, covered))


def _trim(job: Job) -> tuple[bytes, bytes]:
    keeps = _Selector(job.keep).keeps
    with _reading(job.cram, _NAMES) as records:
        total, kept = 0, []
        for record in records:
            total += 1
            if keeps(record):
                kept.append(record)
        if not kept:
            return TRIMMED, b""
        if len(kept) == total:
            return WHOLE, b""
        with tempfile.TemporaryFile() as file:
            options = [
                f"version={job.version}",
                "embed_ref=0",
                f"no_ref={int(not job.external)}",
            ]
            with pysam.AlignmentFile(
                file, "wc", header=records.header, format_options=options
            ) as out:
                for record in kept:
                    out.write(record)
            file.seek(0)
            return TRIMMED, file.read()


class _Selector:
    """Decides record by record; overlap is samtools': `pos < end` and `endpos > start`."""

    def __init__(self, keep: Keep) -> None:
        self._unplaced = keep.unplaced
        self._sent = keep.sent
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        for interval in keep.intervals:
            self._starts.setdefault(interval.reference, []).append(interval.start)
            self._ends.setdefault(interval.reference, []).append(interval.end)

    def keeps(self, record: pysam.AlignedSegment) -> bool:
        return self._selects(record) and not self._was_sent(record)

    def _selects(self, record: pysam.AlignedSegment) -> bool:
        reference = record.reference_id
        if reference < 0:
            return self._unplaced
        ends = self._ends.get(reference)
        if ends is None:
            return False
        start, end = _interval(record)
        first = bisect_right(ends, start)
        return first < len(ends) and self._starts[reference][first] < end

    def _was_sent(self, record: pysam.AlignedSegment) -> bool:
        sent = self._sent
        return (
            sent is not None
            and record.reference_id == sent.reference
            and record.reference_start < sent.end
        )


def _interval(record: pysam.AlignedSegment) -> tuple[int, int]:
    start = record.reference_start
    return start, record.reference_end or start + 1


@contextmanager
def _reading(cram: bytes, option: str) -> Iterator[pysam.AlignmentFile]:
    with tempfile.TemporaryFile() as file:
        _fill(file, cram)
        with pysam.AlignmentFile(file, "rc", check_sq=False, format_options=[option]) as records:
            yield records


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.seek(0)


if __name__ == "__main__":
    main()
