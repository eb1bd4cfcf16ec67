from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.refget.subsequence import (
    InvalidSubsequence,
    OutOfBounds,
    Subsequence,
    SubsequenceError,
    judge_subsequence,
)

YEAST_I = 230_218  # linear
PHIX = 5_386  # circular


def judge(
    length: int,
    query: str = "",
    *ranges: str,
    circular: bool = False,
    limit: int | None = None,
) -> Subsequence:
    return judge_subsequence(
        length,
        parse_qsl(query, keep_blank_values=True),
        ranges,
        circular=circular,
        subsequence_limit=limit,
    )


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        # of the compliance suite
        ("start=10&end=20", [(10, 20)]),
        ("start=10&end=10", []),
        ("start=10&end=11", [(10, 11)]),
        ("start=230208", [(230208, YEAST_I)]),
        ("end=5", [(0, 5)]),
        ("start=230217&end=230218", [(230217, YEAST_I)]),
        ("start=0", [(0, YEAST_I)]),
        ("&end=230218", [(0, YEAST_I)]),
        ("start=0&end=230218", [(0, YEAST_I)]),
        ("start=1&end=230218", [(1, YEAST_I)]),
        ("start=230217", [(230217, YEAST_I)]),
        ("end=0", []),
        # and others
        ("start=0&end=0", []),
        ("end=20&start=10", [(10, 20)]),
        ("start=0000000010&end=20", [(10, 20)]),
        ("start=10&accept=text/plain&accept=x&Start=", [(10, YEAST_I)]),
    ],
)
def test_start_and_end(query: str, pieces: list[tuple[int, int]]) -> None:
    size = sum(end - start for start, end in pieces)
    assert judge(YEAST_I, query) == Subsequence(
        tuple(pieces), 200, {"Content-Length": str(size), "Accept-Ranges": "none"}
    )


@pytest.mark.parametrize("length", [0, 1, YEAST_I])
@pytest.mark.parametrize("query", ["", "accept=text/plain"])
def test_the_whole_sequence(length: int, query: str) -> None:
    found = judge(length, query, limit=10)
    assert found.pieces == (((0, length),) if length else ())
    assert found.status == 200
    assert found.headers == {"Content-Length": str(length), "Accept-Ranges": "bytes"}


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        # of the compliance suite
        ("bytes=10-19", 10, 20),
        ("bytes=10-230217", 10, YEAST_I),
        ("bytes=10-999999", 10, YEAST_I),
        ("bytes=0-230217", 0, YEAST_I),
        ("bytes=0-999999", 0, YEAST_I),
        ("bytes=0-0", 0, 1),
        ("bytes=230217-230217", 230217, YEAST_I),
        # htslib goes on with the first of these
        ("bytes=100000-", 100000, YEAST_I),
        ("bytes=-10", YEAST_I - 10, YEAST_I),
        ("bytes=-999999", 0, YEAST_I),
        ("bytes=0-99999999999", 0, YEAST_I),
    ],
)
def test_range(value: str, start: int, end: int) -> None:
    found = judge(YEAST_I, "", value)
    assert found.pieces == ((start, end),)
    assert found.status == 206
    assert found.headers == {
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
        "Content-Range": f"bytes {start}-{end - 1}/{YEAST_I}",
    }


@pytest.mark.parametrize(
    "query",
    [
        *("start=abc&end=20", "start=10&end=abc", "start=-10&end=20", "start=-10&end=-29"),
        *("start=", "end=", "start=1&end=", "start", "start=+1", "start=1.0", "start=%201"),
        *("start=4294967296", "end=99999999999", "start=%D9%A3", "start=1_0", "start=0x1"),
        *("start=1&start=1", "end=1&end=2", "start=1&end=2&start=3"),
        "start=abc&end=999999",  # malformed comes before out of bounds
    ],
)
def test_malformed_start_and_end(query: str) -> None:
    with pytest.raises(InvalidSubsequence) as caught:
        judge(YEAST_I, query)
    assert (caught.value.status, caught.value.headers) == (400, {})


@pytest.mark.parametrize(
    "ranges",
    [
        # of the compliance suite
        *(["units=20-30"], ["bytes=ab-19"], ["bytes=-10--19"], ["bytes=10--19"]),
        *(["bytes=-10-"], ["bytes==10-19"]),
        # and others
        *(["bytes=1-2,4-5"], ["bytes=1-2", "bytes=1-2"], [""], ["bytes"], ["bytes="], ["bytes=-"]),
        *(["10-19"], ["bytes=٣-٤"], ["bytes=" + "9" * 5000 + "-"]),
    ],
)
def test_malformed_range(ranges: list[str]) -> None:
    with pytest.raises(InvalidSubsequence):
        judge(YEAST_I, "", *ranges)


@pytest.mark.parametrize("query", ["start=0", "end=5", "start=10&end=20", "start=abc", "start="])
@pytest.mark.parametrize("value", ["bytes=10-19", "units=1-2", "bytes=999999-"])
def test_range_with_start_or_end(query: str, value: str) -> None:
    with pytest.raises(InvalidSubsequence, match="do not go with"):
        judge(YEAST_I, query, value)


@pytest.mark.parametrize(
    ("length", "query"),
    [
        # of the compliance suite
        (PHIX, "start=67&end=5387"),
        (PHIX, "start=5386&end=5375"),
        (PHIX, "start=5386&end=5386"),
        (PHIX, "start=5386&end=5"),
        # and others
        (PHIX, "start=5386"),
        (PHIX, "end=5387"),
        (PHIX, "start=4294967295&end=4294967295"),
        (PHIX, "start=6000&end=5"),
        (0, "start=0"),
        (0, "end=1"),
    ],
)
@pytest.mark.parametrize("circular", [True, False])
def test_out_of_bounds(length: int, query: str, circular: bool) -> None:
    with pytest.raises(OutOfBounds) as caught:
        judge(length, query, circular=circular)
    assert caught.value.status == 416
    assert caught.value.headers == {"Content-Range": f"bytes */{length}"}


@pytest.mark.parametrize(
    ("length", "value"),
    [
        (PHIX, "bytes=5386-5387"),
        (PHIX, "bytes=9999-99999"),
        (PHIX, "bytes=5386-"),
        (PHIX, "bytes=20-10"),  # never over the end, also of a circular sequence
        (PHIX, "bytes=5385-0"),
        (PHIX, "bytes=-0"),
        (0, "bytes=0-"),
        (0, "bytes=-1"),
    ],
)
def test_range_out_of_bounds(length: int, value: str) -> None:
    with pytest.raises(OutOfBounds) as caught:
        judge(length, "", value, circular=True)
    assert caught.value.headers == {"Content-Range": f"bytes */{length}"}


@pytest.mark.parametrize(
    ("query", "pieces", "bases"),
    [
        ("start=5374&end=5", ((5374, PHIX), (0, 5)), "ATCCAACCTGCAGAGTT"),
        ("start=5374&end=0", ((5374, PHIX),), "ATCCAACCTGCA"),
        ("start=5380&end=25", ((5380, PHIX), (0, 25)), "CCTGCAGAGTTTTATCGCTTCCATGACGCAG"),
    ],
)
def test_circular(query: str, pieces: object, bases: str, shared_data: Path) -> None:
    found = judge(PHIX, query, circular=True)
    assert found.pieces == pieces
    assert found.status == 200
    assert found.headers == {"Content-Length": str(len(bases)), "Accept-Ranges": "none"}
    lines = (shared_data / "refget-compliance" / "NC.faa").read_text().splitlines()
    sequence = "".join(lines[1:])
    assert "".join(sequence[start:end] for start, end in found.pieces) == bases


def test_start_behind_end_of_what_is_linear() -> None:
    with pytest.raises(OutOfBounds):
        judge(YEAST_I, "start=220218&end=671")


@pytest.mark.parametrize(
    ("query", "ranges", "bases"),
    [
        ("start=10&end=110", [], 100),
        ("start=5286", [], 100),
        ("end=100", [], 100),
        ("start=5336&end=50", [], 100),
        ("", ["bytes=10-109"], 100),
        ("", ["bytes=5286-99999"], 100),  # clipped, then judged
        ("", ["bytes=-100"], 100),
        ("start=0", [], PHIX),
        ("", ["bytes=0-"], PHIX),
    ],
)
def test_the_limit(query: str, ranges: list[str], bases: int) -> None:
    for limit in (None, 0, -1, bases, bases + 1):
        found = judge(PHIX, query, *ranges, circular=True, limit=limit)
        assert found.headers["Content-Length"] == str(bases)
    with pytest.raises(OutOfBounds, match=f"at most {bases - 1} bases"):
        judge(PHIX, query, *ranges, circular=True, limit=bases - 1)


_TEXTS = st.integers(-2, 14).map(str) | st.sampled_from(["", "x"])


@given(
    length=st.integers(0, 12),
    query=st.lists(st.tuples(st.sampled_from(["start", "end", "other"]), _TEXTS), max_size=3),
    ranges=st.lists(st.from_regex(r"(bytes|b)=[0-9]{0,2}-[0-9]{0,2}", fullmatch=True), max_size=2),
    circular=st.booleans(),
    limit=st.none() | st.integers(0, 12),
)
def test_every_answer_can_be_sent(
    length: int,
    query: list[tuple[str, str]],
    ranges: list[str],
    circular: bool,
    limit: int | None,
) -> None:
    found = caught = None
    try:
        found = judge_subsequence(
            length,
            query,
            ranges,
            circular=circular,
            subsequence_limit=limit,
        )
    except SubsequenceError as error:
        caught = error
    if found is not None:
        assert all(0 <= start < end <= length for start, end in found.pieces)
        assert found.headers["Content-Length"] == str(sum(e - s for s, e in found.pieces))
        assert (found.status == 206) == bool(ranges) == ("Content-Range" in found.headers)
    if caught is not None:
        assert caught.status in (400, 416)
        assert ("Content-Range" in caught.headers) == (caught.status == 416)
