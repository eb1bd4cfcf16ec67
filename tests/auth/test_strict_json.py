import time

import pytest

from auth.strict_json import strict_json


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'{"a":1e3}', {"a": 1000.0}),
        (b"[" * 16 + b"]" * 16, None),
        (b'"' + b"[" * 20 + b'"', "[" * 20),
        (b'["\\"[[[[[[[[[[[[[[[[[["]', ['"[[[[[[[[[[[[[[[[[[']),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'{"[":{"}":[]}}', {"[": {"}": []}}),
        ('"\u00e9"'.encode(), "\u00e9"),
    ],
)
def test_accepts(data: bytes, value: object) -> None:
    parsed = strict_json(data)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a":1e400}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1} x',
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'"\xed\xa0\x80"',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'[["\\u0000"]]',
        b'"\x00"',
        b"[" * 17 + b"]" * 17,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"]",
        b"[}",
        b'"open',
        b"{'a':1}",
        b"[1,]",
        b"01",
        b"nul",
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".|\n"):
        strict_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b'"' * 1_000_001,
        b'"\\' * 500_000,
        b"[]" * 500_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":1,' * 140_000,
    ],
)
def test_cost_is_linear(data: bytes) -> None:
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r".|\n"):
        strict_json(data)
    assert time.perf_counter() - begun < 1
