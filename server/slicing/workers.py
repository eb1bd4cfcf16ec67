"""A pool of processes that decode for the server: isolated, limited, replaced when they fail."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from formats.errors import CorruptData
from server.slicing.jobs import (
    FAILED,
    REPLY_HEAD,
    WHOLE,
    Bases,
    Job,
    Probe,
    decode_probe,
    write_job,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one process may use: `memory` and `output` in bytes, `processor` and `deadline` in
    seconds per job."""

    memory: int = 4 << 30
    output: int = 1 << 29
    processor: int = 30
    deadline: float = 60.0


class WorkerPool:
    """At most `size` decoding processes, started when first needed; thread-safe.

    Every failure of a process (crash, timeout, too much output, undecodable data) is
    `CorruptData` for its job alone. A job whose process ends unheard gets a fresh one, once.
    """

    def __init__(self, size: int, limits: WorkerLimits | None = None) -> None:
        limits = limits or WorkerLimits()
        self._directory = tempfile.TemporaryDirectory(prefix="htsgate-")
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="cram")
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._workers = [
            _Worker(Path(self._directory.name, str(number)), limits) for number in range(size)
        ]
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._ahead = 2 * size

    def run(self, job: Job) -> bytes | None:
        """The CRAM file of the records that stay, empty if none does; None if every record stays.

        Waits for a free process. Raises `CorruptData`.
        """
        kind, payload = self._run(job)
        return None if kind == WHOLE else payload

    def probe(self, job: Job) -> Probe:
        """What would stay, for a job that asks to probe."""
        try:
            return decode_probe(self._run(job)[1])
        except (ValueError, TypeError) as error:
            raise CorruptData("a decoding process answered nonsense") from error

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in order, of calls made in as many threads as there are processes.

        Takes items only a little ahead of the results asked for.
        """
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(self._threads.submit(function, item))
                if len(pending) > self._ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Finish what runs, then end every process."""
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        self._directory.cleanup()

    def _run(self, job: Job) -> tuple[bytes, bytes]:
        worker = self._idle.get()
        try:
            return worker.run(job)
        finally:
            self._idle.put(worker)


class _DiedUnheard(EOFError):
    """A process ended before it answered. If it had served other jobs, the cause may be theirs."""


class _Deadline:
    """Kills a process after `seconds`, unless its job is done by then."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._is_over = self._is_missed = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def met(self) -> bool:
        """The job is done: whether the process was spared. It is from now on."""
        with self._lock:
            self._is_over = True
        self._timer.cancel()
        return not self._is_missed

    def _expire(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_missed = True
                self._process.kill()


class _Worker:
    """One process and the directory in which it finds reference bases."""

    def __init__(self, directory: Path, limits: WorkerLimits) -> None:
        directory.mkdir()
        self._directory = directory
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._has_served = False

    def run(self, job: Job) -> tuple[bytes, bytes]:
        paths = [self._lay_out(bases) for bases in job.bases]
        try:
            try:
                kind, payload = self._attempt(job)
            except _DiedUnheard:
                kind, payload = self._attempt(job)
        finally:
            for path in paths:
                path.unlink()
        if kind == FAILED:
            raise CorruptData("a CRAM container cannot be decoded")
        return kind, payload

    def stop(self) -> None:
        """End the process, if there is one; the next job starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(OSError), process:  # a rest of a job that was not taken
                pass

    def _attempt(self, job: Job) -> tuple[bytes, bytes]:
        process = self._alive()
        deadline = _Deadline(process, self._limits.deadline)
        try:
            reply = self._converse(process, job)
        except (OSError, EOFError) as error:
            heard = not isinstance(error, _DiedUnheard | BrokenPipeError)
            self.stop()
            if deadline.met() and self._has_served and not heard:
                raise _DiedUnheard from error
            raise CorruptData("a decoding process failed on a CRAM container") from error
        if deadline.met():
            self._has_served = True
        else:
            self.stop()  # killed just after it had answered
        return reply

    def _converse(self, process: subprocess.Popen[bytes], job: Job) -> tuple[bytes, bytes]:
        if process.stdin is None or process.stdout is None:
            raise EOFError
        write_job(process.stdin, job)
        head = process.stdout.read(REPLY_HEAD.size)
        if not head:
            raise _DiedUnheard
        if len(head) < REPLY_HEAD.size:
            raise EOFError
        kind, length = REPLY_HEAD.unpack(head)
        if length > self._limits.output:
            raise EOFError
        payload = process.stdout.read(length)
        if len(payload) < length:
            raise EOFError
        return kind, payload

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            self._process = self._start()
            self._has_served = False
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        limits = self._limits
        # Nothing of the server's environment, which may hold secrets; REF_PATH is the only place
        # where htslib may look for references.
        environment = {
            "PYTHONPATH": str(_ROOT),
            "REF_PATH": f"{self._directory}/%s",
            "REF_CACHE": "",
            "TMPDIR": str(self._directory),
        }
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        budgets = (limits.memory, limits.processor, limits.output)
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "server.slicing.cram_worker", *map(str, budgets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
            env=environment,
            start_new_session=True,
        )

    def _lay_out(self, bases: Bases) -> Path:
        """A sparse file as long as the reference; htslib maps it and reads what the records
        cover."""
        path = self._directory / reference_token(bases.reference)
        with path.open("wb") as file:
            file.truncate(bases.length)
            file.seek(bases.start)
            file.write(bases.residues)
        return path


def reference_token(reference: int) -> str:
    """What stands for the M5 of a reference in the headers that workers read."""
    return f"r{reference}"
