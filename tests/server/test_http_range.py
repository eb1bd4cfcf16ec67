import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import describe
from server.http_range import (
    AskedRange,
    MalformedRange,
    RangeNotSatisfiable,
    block_range,
    if_none_match_holds,
    if_range_holds,
    parse_range,
)

ETAG = '"abc-1"'


def of_hundred(*values: str) -> tuple[int, int] | None:
    return block_range(values, 100, etag=ETAG)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=20-29", (20, 30)),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=20-", (20, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=90-150", (90, 100)),
        ("bytes=99-99", (99, 100)),
        ("bytes=0-999999999999999999", (0, 100)),
        ("BYTES=1-2", (1, 3)),
        ("bytes= 1-2 ", (1, 3)),
        ("bytes=0001-0002", (1, 3)),
    ],
)
def test_satisfiable(value: str, expected: tuple[int, int]) -> None:
    assert of_hundred(value) == expected


@pytest.mark.parametrize(
    "values",
    [
        ["bytes=100-"],
        ["bytes=100-200"],
        ["bytes=30-20"],
        ["bytes=-0"],
        ["bytes="],
        ["bytes"],
        ["bytes=-"],
        ["bytes=a-b"],
        ["bytes=1-2,4-5"],
        ["bytes=1-2,"],
        ["bytes=1 - 2"],
        ["bytes=+1-2"],
        ["bytes=--5"],
        ["bytes=1-2-3"],
        ["bytes=1.0-2"],
        ["bytes=0x1-2"],
        ["bytes=\u0661-\u0662"],
        ["bytes=0-" + "9" * 19],
        ["bytes=" + "9" * 30 + "-"],
        ["bytes=" + "1" * 1_000_000 + "-"],
        ["bytes=0-1\n"],
        ["bytes=0-1", "bytes=0-1"],
        ["bytes=0-1", "items=0-1"],
    ],
)
def test_not_satisfiable(values: list[str]) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        of_hundred(*values)
    answer = describe(caught.value)
    assert (answer.status, answer.error) == (416, "InvalidRange")
    assert answer.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize("values", [[], ["items=0-5"], ["0-5"], [""], ["byte=0-1"]])
def test_the_whole_block(values: list[str]) -> None:
    assert of_hundred(*values) is None


def test_an_empty_block_has_no_range() -> None:
    for value in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        with pytest.raises(RangeNotSatisfiable):
            block_range([value], 0, etag=ETAG)


def test_parse_keeps_what_was_asked() -> None:
    assert parse_range(["bytes=5-9"]) == AskedRange(5, 10)
    assert parse_range(["bytes=-7"]) == AskedRange(suffix=7)
    with pytest.raises(MalformedRange):
        parse_range(["bytes=x"])


@given(st.lists(st.text("bytes=-,0123456789 ", max_size=20), max_size=2), st.integers(0, 120))
def test_never_a_byte_outside(values: list[str], size: int) -> None:
    try:
        found = block_range([f"bytes={value}" for value in values], size, etag=ETAG)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (ETAG, True),
        (f" {ETAG} ", True),
        (f"W/{ETAG}", False),
        ('"other"', False),
        ("abc-1", False),
        ("*", False),
        ("", False),
        ("Sat, 29 Oct 1994 19:43:31 GMT", False),
        (f"{ETAG}, {ETAG}", False),
    ],
)
def test_if_range(value: str, holds: bool) -> None:
    assert if_range_holds(value, ETAG) is holds
    expected = (1, 2) if holds else None
    assert block_range(["bytes=1-1"], 100, etag=ETAG, if_range=value) == expected


def test_if_range_that_fails_makes_any_range_the_whole() -> None:
    assert block_range(["bytes=500-"], 100, etag=ETAG, if_range='"old"') is None


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ([], False),
        ([ETAG], True),
        ([f"W/{ETAG}"], True),
        (["*"], True),
        (['"x", W/"y" ,' + ETAG], True),
        (['"x"', ETAG], True),
        (['"x"'], False),
        (["abc-1"], False),
        (['"*"'], False),
        (['"' * 100_000], False),
        (["W/" * 100_000], False),
    ],
)
def test_if_none_match(values: list[str], holds: bool) -> None:
    assert if_none_match_holds(values, ETAG) is holds
