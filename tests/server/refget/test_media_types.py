import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.refget.media_types import JSON, TEXT, NotAcceptable, negotiate

CHARSET = "; charset=us-ascii"
TEXT_2, TEXT_101, TEXT_1 = (
    f"text/vnd.ga4gh.refget.v{v}+plain" for v in ("2.0.0", "1.0.1", "1.0.0")
)
JSON_2, JSON_101, JSON_1 = (
    f"application/vnd.ga4gh.refget.v{v}+json" for v in ("2.0.0", "1.0.1", "1.0.0")
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], TEXT_2),
        ([""], TEXT_2),
        (["*/*"], TEXT_2),
        (["text/*"], TEXT_2),
        ([BROWSER], TEXT_2),
        ([JAVA], TEXT_2),
        *(([each], each) for each in TEXT),
        *(([each + CHARSET], each) for each in TEXT),
        ([TEXT_2.upper()], TEXT_2),
        # as the compliance suite asks
        ([f"{TEXT_1},{TEXT_2}"], TEXT_2),
        ([TEXT_1, TEXT_2], TEXT_2),
        ([f"{TEXT_1}, {TEXT_101}"], TEXT_101),
        ([f"text/plain, {TEXT_1}"], TEXT_1),
        (["text/plain, */*"], TEXT_2),
        # weights
        ([f"{TEXT_2};q=0.5, {TEXT_1}"], TEXT_1),
        ([f"{TEXT_2};q=0, {TEXT_1};q=0.001"], TEXT_1),
        (["text/plain, */*;q=0.1"], "text/plain"),
        ([f"*/*, {TEXT_2};q=0"], TEXT_101),
        ([f"text/*;q=0.2, */*, {TEXT_1};q=0.3"], TEXT_1),
        (["text/plain ; charset = UTF-8 ; q = 0.5"], "text/plain"),
        (['text/plain;charset="us-ascii"'], "text/plain"),
        (["text/plain;q=0.5;level=1"], "text/plain"),
        (["text/plain;"], "text/plain"),
        (["embl/some_json, ,,;, text/plain"], "text/plain"),
        ([f"{TEXT_1};q=1.000"], TEXT_1),
        # what is not understood is passed over
        ([f"{TEXT_2};q=2, {TEXT_1}"], TEXT_1),
        ([f"{TEXT_2};q=nan, {TEXT_1}"], TEXT_1),
        ([f"{TEXT_2};q=0.1234, {TEXT_1}"], TEXT_1),
        ([f"text/plain;version=3, {TEXT_1}"], TEXT_1),
    ],
)
def test_text(accept: list[str], expected: str) -> None:
    assert negotiate(accept, TEXT) == expected + CHARSET


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], JSON_2),
        (["*/*"], JSON_2),
        (["application/*"], JSON_2),
        (["application/json"], JSON_2),  # whose type is refget's own all the same
        (["application/json; charset=utf-8"], JSON_2),
        *(([each], each) for each in (JSON_2, JSON_101, JSON_1)),
        ([f"{JSON_1},{JSON_2}"], JSON_2),
        ([f"{JSON_1}, application/json"], JSON_1),
        ([BROWSER], JSON_2),
    ],
)
def test_json(accept: list[str], expected: str) -> None:
    assert negotiate(accept, JSON) == expected + CHARSET


@pytest.mark.parametrize(
    "accept",
    [
        "embl/some_json",
        "text/html",
        "*/plain",
        "*",
        "text",
        "text/",
        "/",
        "*/*;q=0",
        "text/*;q=0, application/*;q=0.0, image/*",
        "text/plain;charset=utf-16",
        "text/vnd.ga4gh.refget.v3.0.0+plain",
        "application/vnd.ga4gh.refget.v3.0.0+json",
        "text/plain;q=0, application/json;q=0",
    ],
)
@pytest.mark.parametrize("offers", [TEXT, JSON])
def test_not_acceptable(accept: str, offers: dict[str, str]) -> None:
    with pytest.raises(NotAcceptable) as caught:
        negotiate([accept], offers)
    assert caught.value.status == 406


def test_json_is_no_text() -> None:
    with pytest.raises(NotAcceptable):
        negotiate([JSON_2, "application/json"], TEXT)
    with pytest.raises(NotAcceptable):
        negotiate([TEXT_2, "text/plain"], JSON)


@pytest.mark.parametrize("item", ["a/b,", ";", "text/plain;a=b;", ",", "*/*;q=", "q=0.0" * 9])
def test_long_headers_cost_little(item: str) -> None:
    started = time.process_time()
    with pytest.raises(NotAcceptable):
        negotiate(["x/y", item * (1_000_000 // len(item))], TEXT)
    assert time.process_time() - started < 0.5


@given(st.lists(st.text() | st.text("text/plain*;q=0.1,\t ")))
def test_any_header_is_judged(accept: list[str]) -> None:
    for offers in (TEXT, JSON):
        try:
            assert negotiate(accept, offers) in offers.values()
        except NotAcceptable:
            continue
