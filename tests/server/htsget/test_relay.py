"""The relay alone, over a stream that may end early."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from server.htsget.relay import _pieces, relay
from server.slicing.library import Plan
from server.slicing.segments import Segment, Stored
from storage_backends.base import StorageUnavailable

DATA = bytes(range(256)) * 40


class Store:
    """Gives ranges of DATA in pieces of 100 bytes; counts how many are open."""

    def __init__(self, missing: int = 0) -> None:
        self.missing = missing
        self.asked: list[tuple[int, int]] = []
        self.open = self.most = 0

    async def fetch(self, start: int, end: int) -> AsyncIterator[bytes]:
        self.asked.append((start, end))
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            for at in range(start, end - self.missing, 100):
                yield DATA[at : min(at + 100, end - self.missing)]
        finally:
            self.open -= 1


def plan(*segments: Segment) -> Plan:
    return Plan(segments, sum(map(len, segments)), "etag")


SEGMENTS: tuple[Segment, ...] = (
    b"head",
    *(Stored(at, at + 250) for at in range(0, 5000, 500)),
    b"a",
    b"b",
)
WHOLE = b"head" + b"".join(DATA[at : at + 250] for at in range(0, 5000, 500)) + b"ab"


async def test_pieces() -> None:
    store = Store()
    got = [piece async for piece in _pieces(SEGMENTS, store.fetch)]
    assert b"".join(got) == WHOLE
    assert got[0].startswith(b"head" + DATA[:100]), "what is in memory comes with what is asked for"
    assert store.asked == [(at, at + 250) for at in range(0, 5000, 500)]
    assert (store.open, store.most) == (0, 3), "some are asked for ahead"


async def test_nothing() -> None:
    assert [piece async for piece in _pieces((), Store().fetch)] == []


async def test_a_reader_that_leaves() -> None:
    store = Store()
    pieces = _pieces(SEGMENTS, store.fetch)
    await anext(pieces)
    await pieces.aclose()
    assert store.open == 0


async def test_a_stream_that_ends_early() -> None:
    with pytest.raises(StorageUnavailable):
        async for _ in _pieces(SEGMENTS, Store(missing=1).fetch):
            pass


async def test_short_answers_come_whole() -> None:
    request = make_mocked_request("GET", "/")
    made = plan(*SEGMENTS)
    for span in ((0, made.size), (3, 700), (made.size - 1, made.size)):
        answer = await relay(request, made, span, Store().fetch, status=206, headers={"X": "y"})
        assert isinstance(answer, web.Response)
        assert (answer.body, answer.headers["X"]) == (WHOLE[slice(*span)], "y")
    with pytest.raises(StorageUnavailable):
        await relay(request, made, (0, made.size), Store(missing=5).fetch, status=200, headers={})
