"""The sample map and the list of withdrawals: what is read, and what is refused where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.consent_files import (
    MAX_BYTES,
    check_value,
    read_instant,
    read_sample_map,
    read_withdrawals,
)
from auth.errors import InvalidConfiguration

HEADER = b"object,sample,participant\n"
LIST = b"participant,effective_from\n"


def test_a_sample_map() -> None:
    found = read_sample_map(
        b"\xef\xbb\xbfobject, sample,participant\r\nreads/a,S-1,P-1\r\n\r\n"
        b'"joint, ""all""",S-1 , P-1\r\n"joint, ""all""",S-2,P-\xc3\xa92'
    )
    assert "reads/a" in found
    assert "reads/b" not in found
    assert found.participants("reads/a") == {"P-1"}
    assert found.samples('joint, "all"') == {"S-1", "S-2"}
    assert found.participants('joint, "all"') == {"P-1", "P-é2"}
    assert found.participants("reads/b") == frozenset()
    assert len(found.digest) == 64
    assert not read_sample_map(HEADER).rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: the header is object,sample,participant"),
        (b"a,S-1,P-1\n", "line 1: the header"),
        (b"object;sample;participant\n", "line 1: the header"),
        (HEADER + b"a,S-1\n", "line 2: 3 fields"),
        (HEADER + b"a,S-1,P-1,\n", "line 2: 3 fields"),
        (HEADER + b"a,S-1,P-1\n\nb,,P-1\n", "line 4: sample is empty"),
        (HEADER + b"a,S-1, \n", "line 2: participant is empty"),
        (HEADER + b"a,S-1,P-1\nb,S-1,P-1\na,S-1,P-1\n", "line 4: the object has this sample"),
        (HEADER + b"a,S-1,P-1\na,S-1,P-2\n", "line 3: the object has this sample"),
        (HEADER + b'a,S-1,"P-1\n', "line 2: unexpected end of data"),
        (HEADER + b'a,"S-1\n",P-1\nb,S,P', "line 3: sample holds a control character"),
        (HEADER + b"a,S-1,P\x00\n", "line 2: participant holds a control character"),
        (HEADER + b"a,S-1,P-1\na,S-\xff,P-1\n", "line 3: not UTF-8"),
        (HEADER + b"a,S-1," + b"P" * 256, "line 2: participant has more than 255"),
        (HEADER + b"a" * 1021 + b",S-1,P", "line 2: object has more than 1020"),
        (HEADER + b"a," + b"S" * 200_000 + b",P", "line 2: field larger"),
    ],
)
def test_maps_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"^{message}") as error:
        read_sample_map(data)
    assert "P-1" not in str(error.value), "participants belong in no message"


def test_files_that_are_too_large() -> None:
    with pytest.raises(InvalidConfiguration, match="64 MiB"):
        read_withdrawals(LIST + b"\n" * MAX_BYTES)


def test_a_list_of_withdrawals() -> None:
    found = read_withdrawals(
        LIST + b"P-2,2026-03-01\nP-1,1970-01-01T00:00:10Z\nP-2,2026-03-01\nP-2,2026-04-01\n"
    )
    assert found.rows == (("P-2", 1772323200), ("P-1", 10), ("P-2", 1775001600))
    assert read_withdrawals(LIST).rows == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"participant\nP-1\n", "line 1: the header is participant,effective_from"),
        (LIST + b"P-1\n", "line 2: 2 fields"),
        (LIST + b"P-1,2026-01-01\nP-2,yesterday\n", "line 3: effective_from: write 2026-11-30"),
        (LIST + b"P-1,\n", "line 2: effective_from is empty"),
    ],
)
def test_lists_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"^{message}"):
        read_withdrawals(data)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02t00:00:00.999999999z", 86400),
        ("1970-01-02 01:00:00+01:00", 86400),
        ("2026-09-21T14:13:20-00:00", 1790000000),
    ],
)
def test_instants(text: str, seconds: int) -> None:
    assert read_instant(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2026-1-1", "2026-02-30", "2026-01-01T00:00:00", "2026-01-01T24:00:01Z", "1790000000",
     "2026-W01-1", "20260101", "2026-01-01T00:00Z", "1969-12-31", "0001-01-01T00:00:00+23:59",
     "2026-01-01T00:00:60Z", "2026-01-01T00:00:00+99:00", "२०२६-01-01"],
)  # fmt: skip
def test_no_instants(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(write 2026-11-30 or|before 1970)"):
        read_instant(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_sample_map, read_withdrawals):
        for head in (b"", HEADER, LIST):
            try:
                read(head + data)
            except InvalidConfiguration:
                continue


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x7f", "x" * 256, "a\u2028b"])
def test_no_values(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        check_value(value)
