import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from storage_backends.base import ObjectChanged, StorageUnavailable
from storage_backends.remote_source import WINDOW, RemoteSource

SIZE = 40_000_000
MIB = 1 << 20


def content(start: int, end: int) -> bytes:
    """Bytes that tell where they are from."""
    return bytes(number >> 12 & 0xFF for number in range(start, min(end, start + 64))).ljust(
        end - start, b"."
    )


class Requests:
    """What a source asks for; `answer` may fail, or leave a request open."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.futures: list[Future[bytes]] = []
        self.answer: Callable[[Future[bytes], int, int], None] = lambda future, start, end: (
            future.set_result(content(start, end))
        )

    def __call__(self, start: int, end: int) -> Future[bytes]:
        self.asked.append((start, end))
        future: Future[bytes] = Future()
        self.futures.append(future)
        self.answer(future, start, end)
        return future

    def fail(self, error: Exception) -> None:
        self.answer = lambda future, start, end: future.set_exception(error)

    def wait(self) -> None:
        self.answer = lambda future, start, end: None

    def succeed(self) -> None:
        self.answer = lambda future, start, end: future.set_result(content(start, end))


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def source(requests: Requests) -> RemoteSource:
    return RemoteSource(SIZE, requests, lambda future: future.result(10))


def test_small_reads_make_few_requests(source: RemoteSource, requests: Requests) -> None:
    for start in range(0, WINDOW - 100, 100):
        assert source.read(start, start + 100) == content(0, WINDOW)[start : start + 100]
    assert requests.asked == [(0, WINDOW)]


def test_windows_grow(source: RemoteSource, requests: Requests) -> None:
    for start in range(0, 30_000_000, 60_000):
        source.read(start, start + 60_000)
    sizes = [end - start for start, end in requests.asked]
    assert sizes == sorted(sizes)
    assert sizes[0] == WINDOW
    assert sizes[-1] == 4 * MIB
    assert len(sizes) <= 13


def test_reads_here_and_there(source: RemoteSource, requests: Requests) -> None:
    for start in (30_000_000, 5_000_000, 39_999_990, 0):
        source.read(start, start + 10)
    assert requests.asked == [
        (30_000_000, 30_000_000 + WINDOW),
        (5_000_000, 5_000_000 + WINDOW),
        (39_999_990, SIZE),
        (0, WINDOW),
    ]


def test_ends(source: RemoteSource, requests: Requests) -> None:
    assert source.read(5, 5) == source.read(9, 3) == source.read(SIZE, SIZE + 1) == b""
    assert requests.asked == []
    assert len(source.read(SIZE - 3, SIZE + 10)) == 3


def test_fetch(source: RemoteSource, requests: Requests) -> None:
    """At once, in order, near ones together, and what was asked for not twice."""
    source.fetch([(10 * MIB, 10 * MIB + 50), (0, 100), (300, 400), (7, 7), (SIZE, SIZE + 9)])
    assert requests.asked == [(0, 400), (10 * MIB, 10 * MIB + 50)]
    source.fetch([(20, 90), (10 * MIB, 10 * MIB + 1)])
    source.read(100, 300)
    source.read(10 * MIB + 4, 10 * MIB + 50)
    assert len(requests.asked) == 2


def test_fetch_is_bounded(source: RemoteSource, requests: Requests) -> None:
    source.fetch([(number * MIB, number * MIB + 900_000) for number in range(38)])
    assert sum(end - start for start, end in requests.asked) <= 32 * MIB
    source.fetch([(0, SIZE)])
    assert requests.asked[-1] != (0, SIZE)
    many = Requests()
    RemoteSource(1 << 40, many, lambda future: future.result(10)).fetch(
        [(number << 20, (number << 20) + 1) for number in range(5_000)]
    )
    assert len(many.asked) == 64


def test_memory_is_bounded(source: RemoteSource, requests: Requests) -> None:
    def held() -> int:
        return sum(len(window.data.result()) for window in source._windows)

    for _ in range(3):
        for start in range(0, SIZE, 200_000):
            source.read(start, start + 200_000)
            assert held() <= 32 * MIB
    source.read(0, SIZE)  # all at once: not kept
    assert requests.asked[-1] == (0, SIZE)
    assert held() <= 32 * MIB
    for start in range(0, SIZE, 999_999):
        source.read(start, start + 10)
    assert len(source._windows) <= 64


def test_what_is_used_is_kept(source: RemoteSource, requests: Requests) -> None:
    source.read(0, 10)
    for start in range(MIB, 38 * MIB, 100_000):
        source.read(start, start + 100_000)
        source.read(5, 10)
    assert requests.asked.count((0, WINDOW)) == 1


def test_a_failure_is_not_kept(source: RemoteSource, requests: Requests) -> None:
    requests.fail(StorageUnavailable("not now"))
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            source.read(0, 10)
    source.fetch([(MIB, MIB + 10)])
    assert source.held(MIB, MIB + 10) is None
    requests.succeed()
    assert source.read(0, 10) == content(0, 10)
    assert source.read(MIB, MIB + 10) == content(MIB, MIB + 10)
    assert len(requests.asked) == 5
    requests.fail(ObjectChanged("the object has changed"))
    assert source.read(10, 20) == content(0, 64)[10:20]
    with pytest.raises(ObjectChanged):
        source.read(2 * MIB, 2 * MIB + 10)


def test_held(source: RemoteSource, requests: Requests) -> None:
    assert source.held(0, 10) is None
    source.read(0, 10)
    assert source.held(5, 20) == content(0, 64)[5:20]
    assert source.held(5, WINDOW + 1) is None
    requests.wait()
    source.fetch([(MIB, MIB + 10)])
    assert source.held(MIB, MIB + 10) is None
    requests.futures[-1].set_result(content(MIB, MIB + 10))
    assert source.held(MIB, MIB + 10) == content(MIB, MIB + 10)


def test_close(source: RemoteSource, requests: Requests) -> None:
    requests.wait()
    source.fetch([(0, 10)])
    source.close()
    source.close()
    assert requests.futures[0].cancelled()
    assert source.held(0, 10) is None


def test_threads_share_windows(source: RemoteSource, requests: Requests) -> None:
    def later(future: Future[bytes], start: int, end: int) -> None:
        threading.Timer(0.05, lambda: future.set_result(content(start, end))).start()

    requests.answer = later
    with ThreadPoolExecutor(8) as threads:
        reads = threads.map(lambda number: source.read(0, 10 + number), range(8))
        assert list(reads) == [content(0, 64)[: 10 + number] for number in range(8)]
    assert requests.asked == [(0, WINDOW)]
