import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.regions import UNBOUNDED, Region
from server.errors import (
    HtsgetError,
    InvalidInput,
    InvalidRange,
    PayloadTooLarge,
    UnsupportedFormat,
)
from server.htsget.query import MAX_NAMES, PARAMETERS, Query, parse_get, parse_post
from server.model import DataClass, Endpoint, Format

READS, VARIANTS = Endpoint.READS, Endpoint.VARIANTS


def get(query: str, endpoint: Endpoint = READS) -> Query:
    return parse_get(parse_qsl(query, keep_blank_values=True), endpoint)


def post(request: Any, endpoint: Endpoint = READS, query: str = "", **limits: int) -> Query:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return parse_post(body, parse_qsl(query, keep_blank_values=True), endpoint, **limits)


def regions(*each: tuple[str, int, int]) -> Query:
    return Query(regions=tuple(Region(*region) for region in each))


@pytest.mark.parametrize(
    ("query", "endpoint", "expected"),
    [
        ("", READS, Query()),
        ("", VARIANTS, Query()),
        ("format=BAM", READS, Query(Format.BAM)),
        ("format=bam", READS, Query(Format.BAM)),
        ("format=cRaM", READS, Query(Format.CRAM)),
        ("format=VCF", VARIANTS, Query(Format.VCF)),
        ("format=bcf", VARIANTS, Query(Format.BCF)),
        ("class=header", READS, Query(None, DataClass.HEADER)),
        ("class=header&format=VCF", VARIANTS, Query(Format.VCF, DataClass.HEADER)),
        ("referenceName=na&class=header", READS, Query(None, DataClass.HEADER)),
        ("referenceName=*&class=header", VARIANTS, Query(None, DataClass.HEADER)),
        ("class=header&referenceMD5=1&x=", READS, Query(None, DataClass.HEADER)),
        ("referenceName=chr1", READS, regions(("chr1", 0, UNBOUNDED))),
        ("referenceName=chr1&start=0", READS, regions(("chr1", 0, UNBOUNDED))),
        ("referenceName=chr1&start=7", READS, regions(("chr1", 7, UNBOUNDED))),
        ("referenceName=chr1&end=7", READS, regions(("chr1", 0, 7))),
        ("referenceName=chr1&end=0", READS, regions(("chr1", 0, 0))),
        ("referenceName=chr1&start=5&end=5", READS, regions(("chr1", 5, 5))),
        ("end=9&start=5&referenceName=chr1", VARIANTS, regions(("chr1", 5, 9))),
        (
            "referenceName=1&start=0&end=4294967295",
            VARIANTS,
            regions(("1", 0, 4294967295)),
        ),
        ("referenceName=1&start=4294967295", READS, regions(("1", 4294967295, UNBOUNDED))),
        ("referenceName=1&start=0000000007", READS, regions(("1", 7, UNBOUNDED))),
        ("referenceName=*", READS, regions(("*", 0, UNBOUNDED))),
        (
            "referenceName=HLA-DRB1*15:01:01:01,a|b&end=3",
            READS,
            regions(("HLA-DRB1*15:01:01:01,a|b", 0, 3)),
        ),
        (
            "referenceName=HLA%7C1%2C2%3A3-4",
            READS,
            regions(("HLA|1,2:3-4", 0, UNBOUNDED)),
        ),
        ("encryptionScheme=x&encryptionScheme=y&Format=SAM&START=1", READS, Query()),
        ("fields=QNAME,SEQ,QNAME", READS, Query(fields=frozenset({"QNAME", "SEQ"}))),
        ("tags=", READS, Query(tags=frozenset())),
        ("tags=NM,MD", READS, Query(tags=frozenset({"NM", "MD"}))),
        ("notags=", READS, Query(notags=frozenset())),
        (
            "tags=NM&notags=MD,X0",
            READS,
            Query(tags=frozenset({"NM"}), notags=frozenset({"MD", "X0"})),
        ),
        ("tags=&notags=MD", VARIANTS, Query(tags=frozenset(), notags=frozenset({"MD"}))),
    ],
)
def test_get(query: str, endpoint: Endpoint, expected: Query) -> None:
    assert get(query, endpoint) == expected


NOT_POSITIONS = [
    *("", "-1", "-0", "+5", " 5", "5 ", "1e3", "1.0", "abc", "0x10", "1_0", "\u0665", "\uff15"),
    *("4294967296", str(2**63), "1" + "0" * 400, "9" * 100_000, "5\n", "\0", "nan", "00000000005"),
]


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("value", NOT_POSITIONS)
@pytest.mark.security("TR1")
def test_get_positions(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is not an unsigned 32-bit integer"):
        parse_get([("referenceName", "1"), (name, value)], READS)


@pytest.mark.parametrize(
    ("query", "endpoint", "error"),
    [
        *(
            (f"format={name}", READS, UnsupportedFormat)
            for name in ("SAM", "VCF", "BCF", "", "x/y")
        ),
        *(
            (f"format={name}", VARIANTS, UnsupportedFormat)
            for name in ("BAM", "CRAM", "VCFTEXT", "bam", " VCF", "VCF.GZ", "../VCF")
        ),
        ("class=body", READS, InvalidInput),
        ("class=", READS, InvalidInput),
        ("class=Header", READS, InvalidInput),
        ("class=header&format=SAM", READS, UnsupportedFormat),
        ("class=header&start=1", READS, InvalidInput),
        ("class=header&referenceName=1&end=1", READS, InvalidInput),
        ("class=header&fields=SEQ", READS, InvalidInput),
        ("class=header&tags=", READS, InvalidInput),
        ("class=header&notags=NM", READS, InvalidInput),
        ("start=1", READS, InvalidInput),
        ("end=1", READS, InvalidInput),
        ("start=9&end=1", VARIANTS, InvalidInput),
        ("referenceName=", READS, InvalidInput),
        ("referenceName=*&start=0", READS, InvalidInput),
        ("referenceName=*&end=0", READS, InvalidInput),
        ("referenceName=*", VARIANTS, InvalidInput),
        ("referenceName=1&start=6&end=5", READS, InvalidRange),
        ("referenceName=1&start=1&end=0", VARIANTS, InvalidRange),
        ("referenceName=1&start=4294967295&end=0", READS, InvalidRange),
        ("fields=", READS, InvalidInput),
        ("fields=QNAME,", READS, InvalidInput),
        ("fields=qname", READS, InvalidInput),
        ("fields=QNAME, SEQ", READS, InvalidInput),
        ("fields=NONSENSE", VARIANTS, InvalidInput),
        ("tags=NM,", READS, InvalidInput),
        ("tags=N", READS, InvalidInput),
        ("tags=NMX", READS, InvalidInput),
        ("tags=1N", READS, InvalidInput),
        ("notags=,", READS, InvalidInput),
        ("tags=NM,MD&notags=MD", READS, InvalidInput),
        ("fields=" + ",".join(["SEQ"] * 100_000), READS, PayloadTooLarge),
        ("tags=" + ",".join(["NM"] * 100_000), READS, PayloadTooLarge),
    ],
)
def test_get_refuses(query: str, endpoint: Endpoint, error: type[HtsgetError]) -> None:
    with pytest.raises(error) as caught:
        get(query, endpoint)
    assert type(caught.value) is error


@pytest.mark.parametrize("name", sorted(PARAMETERS))
@pytest.mark.security("TR1")
def test_get_refuses_repeated_parameters(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is given more than once"):
        parse_get([(name, "BAM"), (name, "BAM")], READS)


@pytest.mark.parametrize(
    ("request_", "endpoint", "expected"),
    [
        (b"", READS, Query()),
        ({}, VARIANTS, Query()),
        ({"format": "bam"}, READS, Query(Format.BAM)),
        ({"format": "BCF"}, VARIANTS, Query(Format.BCF)),
        ({"class": "header"}, READS, Query(None, DataClass.HEADER)),
        ({"class": "header", "format": "CRAM"}, READS, Query(Format.CRAM, DataClass.HEADER)),
        ({"regions": [{"referenceName": "1"}]}, READS, regions(("1", 0, UNBOUNDED))),
        ({"regions": [{"referenceName": "1", "start": 4}]}, READS, regions(("1", 4, UNBOUNDED))),
        ({"regions": [{"referenceName": "1", "end": 4}]}, READS, regions(("1", 0, 4))),
        (
            {
                "regions": [
                    {"referenceName": "2", "start": 5, "end": 6},
                    {"referenceName": "1", "start": 0, "end": 2**32 - 1},
                    {"referenceName": "2", "start": 5, "end": 9},
                    {"referenceName": "*"},
                ]
            },
            READS,
            regions(("2", 5, 6), ("1", 0, 2**32 - 1), ("2", 5, 9), ("*", 0, UNBOUNDED)),
        ),
        ({"tags": [], "notags": []}, READS, Query(tags=frozenset())),
        (
            {"fields": ["SEQ"], "tags": ["NM"], "notags": ["MD"]},
            READS,
            Query(fields=frozenset({"SEQ"}), tags=frozenset({"NM"}), notags=frozenset({"MD"})),
        ),
        ({"encryptionScheme": [None], "x": {"y": [1.5]}}, READS, Query()),
        (
            {"regions": [{"referenceName": "1", "strand": "+"}]},
            READS,
            regions(("1", 0, UNBOUNDED)),
        ),
    ],
)
def test_post(request_: Any, endpoint: Endpoint, expected: Query) -> None:
    assert post(request_, endpoint) == expected


NOT_UINT32: list[Any] = [
    *(-1, 2**32, 2**63, 10**400, 1.0, 1.5, 1e300, "1", None, True, False, [1], {}),
]


def one(**region: Any) -> dict[str, Any]:
    return {"regions": [region]}


@pytest.mark.parametrize(
    ("request_", "endpoint", "error"),
    [
        ({"format": "VCF"}, READS, UnsupportedFormat),
        ({"format": "VCFTEXT"}, VARIANTS, UnsupportedFormat),
        ({"format": None}, READS, InvalidInput),
        ({"format": ["BAM"]}, READS, InvalidInput),
        ({"class": "body"}, READS, InvalidInput),
        ({"class": None}, READS, InvalidInput),
        ({"class": ["header"]}, READS, InvalidInput),
        ({"class": {}}, READS, InvalidInput),
        ({"class": "header", "regions": [{"referenceName": "1"}]}, READS, InvalidInput),
        ({"class": "header", "tags": []}, READS, InvalidInput),
        ({"class": "header", "fields": ["SEQ"]}, READS, InvalidInput),
        ({"class": "header", "referenceName": "1"}, READS, InvalidInput),
        ({"referenceName": "1"}, READS, InvalidInput),
        ({"start": 1}, READS, InvalidInput),
        ({"end": None}, READS, InvalidInput),
        ({"regions": []}, READS, InvalidInput),
        ({"regions": None}, READS, InvalidInput),
        ({"regions": {}}, READS, InvalidInput),
        ({"regions": "1"}, READS, InvalidInput),
        ({"regions": [None]}, READS, InvalidInput),
        ({"regions": ["1"]}, READS, InvalidInput),
        ({"regions": [[]]}, READS, InvalidInput),
        (one(), READS, InvalidInput),
        (one(start=1, end=2), READS, InvalidInput),
        (one(referenceName=None), READS, InvalidInput),
        (one(referenceName=1), READS, InvalidInput),
        (one(referenceName=""), READS, InvalidInput),
        (one(referenceName="*"), VARIANTS, InvalidInput),
        (one(referenceName="*", start=0), READS, InvalidInput),
        (one(referenceName="*", end=9), READS, InvalidInput),
        *((one(referenceName="1", start=value), READS, InvalidInput) for value in NOT_UINT32),
        *((one(referenceName="1", end=value), READS, InvalidInput) for value in NOT_UINT32),
        (one(referenceName="1", start=5, end=5), READS, InvalidRange),
        (one(referenceName="1", start=6, end=5), READS, InvalidRange),
        (one(referenceName="1", end=0), READS, InvalidRange),
        ({"fields": []}, READS, InvalidInput),
        ({"fields": "SEQ"}, READS, InvalidInput),
        ({"fields": ["SEQ", 1]}, READS, InvalidInput),
        ({"fields": ["seq"]}, READS, InvalidInput),
        ({"fields": [[]]}, READS, InvalidInput),
        ({"tags": [None]}, READS, InvalidInput),
        ({"tags": {}}, READS, InvalidInput),
        ({"tags": ["NM"], "notags": ["NM"]}, READS, InvalidInput),
        ({"tags": ["NM"] * (MAX_NAMES + 1)}, READS, PayloadTooLarge),
        ({"fields": ["SEQ"] * (MAX_NAMES + 1)}, READS, PayloadTooLarge),
    ],
)
def test_post_refuses(request_: Any, endpoint: Endpoint, error: type[HtsgetError]) -> None:
    with pytest.raises(error) as caught:
        post(request_, endpoint)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{'format':'BAM'}",
        b'{"format":"BAM","format":"BAM"}',
        b'{"regions":[{"referenceName":"1","start":1,"start":2}]}',
        b'{"x":NaN}',
        b'{"x":1e999}',
        b'{"x":' + b"9" * 5000 + b"}",
        b'{"regions":[{"referenceName":"1","start":' + b"1" * 5000 + b"}]}",
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 1_000_000,
        b'{"regions":[{"referenceName":"\\ud800"}]}',
        b'{"regions":[{"referenceName":"a\\u0000"}]}',
        b'{"regions":[{"referenceName":"\xff"}]}',
        b"\xef\xbb\xbf{}",
        '{"format":"BAM"}'.encode("utf-16"),
        b"format=BAM&class=header",
        b"\x1f\x8b\x08\x00",
    ],
)
@pytest.mark.security("TR6")
def test_post_refuses_what_is_not_strict_json(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        post(body)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_post_refuses_parameters_on_the_url(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} belongs into the body"):
        post({}, query=f"{name}=")
    assert post({}, query="referenceMD5=x") == Query()


def test_post_counts_regions() -> None:
    many = {"regions": [{"referenceName": "1", "start": n, "end": n + 1} for n in range(10_000)]}
    begun = time.perf_counter()
    assert len(post(many).regions or ()) == 10_000
    assert time.perf_counter() - begun < 2
    many["regions"].append({"referenceName": "1"})
    with pytest.raises(PayloadTooLarge, match="more than 10000 regions"):
        post(many)
    with pytest.raises(PayloadTooLarge):
        post(one(referenceName="1") | {"regions": [None, None]}, max_regions=1)


@given(
    st.lists(st.tuples(st.sampled_from([*sorted(PARAMETERS), "x"]), st.text(max_size=12))),
    st.sampled_from(Endpoint),
)
def test_get_never_fails_otherwise(parameters: list[tuple[str, str]], endpoint: Endpoint) -> None:
    with suppress(HtsgetError):
        parse_get(parameters, endpoint)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*sorted(PARAMETERS), "regions"]) | st.text(), inner)
    ),
)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_post_never_fails_otherwise(body: bytes) -> None:
    with suppress(HtsgetError):
        post(body)
