from typing import Any

import pytest

from auth.errors import InvalidCredential
from auth.tokens.claims import audiences, check_times, numeric_date, subject

NOW = 1_790_000_000
GOOD = {"iat": NOW - 10, "exp": NOW + 3600}


@pytest.mark.parametrize(
    ("value", "date"),
    [
        (0, 0),
        (0.0, 0),
        (1790000000, 1790000000),
        (1790000000.9, 1790000000),
        ((1 << 40) - 1, (1 << 40) - 1),
    ],
)
def test_dates(value: object, date: int) -> None:
    assert numeric_date(value) == date
    assert type(numeric_date(value)) is int


@pytest.mark.security("TT9")
@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.5, True, False, "1790000000", None, 1 << 40, 10**400, float("nan"), float("inf")),
        *([], {}, [1790000000], {"v": 1}, b"1"),
    ],
)
def test_no_dates(value: object) -> None:
    with pytest.raises(ValueError, match="date"):
        numeric_date(value)


@pytest.mark.security("TT8")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"exp": NOW - 29}, ""),
        ({"exp": NOW - 30}, "token.exp"),
        ({"exp": NOW - 31}, "token.exp"),
        ({"nbf": NOW + 30}, ""),
        ({"nbf": NOW + 31}, "token.nbf"),
        ({"nbf": None}, "token.nbf"),
        ({"iat": NOW + 30}, ""),
        ({"iat": NOW + 31}, "token.iat"),
        ({"iat": "1"}, "token.iat"),
        ({"exp": NOW - 10, "iat": NOW - 10}, "token.lifetime"),
        ({"exp": NOW - 10, "iat": NOW + 10}, "token.lifetime"),
        ({"exp": NOW + 7190, "iat": NOW - 10}, ""),
        ({"exp": NOW + 7191, "iat": NOW - 10}, "token.lifetime"),
    ],
)
def test_times(changes: dict[str, Any], reason: str) -> None:
    claims = GOOD | {"iat": NOW - 1000} | changes

    def check() -> int:
        return check_times(claims, NOW, leeway=30, max_lifetime=7200)

    if reason:
        with pytest.raises(InvalidCredential, match=reason):
            check()
    else:
        assert check() == claims["exp"]


def test_what_is_required() -> None:
    for name in GOOD:
        claims = {other: value for other, value in GOOD.items() if other != name}
        with pytest.raises(InvalidCredential, match=name):
            check_times(claims, NOW, leeway=30)
    assert check_times({"exp": NOW + 5}, NOW, leeway=0, iat_required=False) == NOW + 5
    assert check_times({"iat": 0, "exp": (1 << 40) - 1}, NOW, leeway=0) == (1 << 40) - 1


@pytest.mark.parametrize("sub", ["s", "s" * 255, "\u00fc|x"])
def test_subject(sub: str) -> None:
    assert subject({"sub": sub}) == sub


@pytest.mark.parametrize("claims", [{}, *({"sub": x} for x in ("", "s" * 256, 1, None, ["s"]))])
def test_no_subject(claims: dict[str, object]) -> None:
    with pytest.raises(InvalidCredential, match=r"token\.sub"):
        subject(claims)


def test_audiences() -> None:
    assert audiences({}) is None
    assert audiences({"aud": "a b"}) == frozenset(("a b",))
    assert audiences({"aud": ["a", "b"]}) == frozenset(("a", "b"))


@pytest.mark.security("TT12")
@pytest.mark.parametrize("aud", [None, 1, True, {}, {"a": 1}, [], [["a"]], ["a", 1], ["a", None]])
def test_no_audiences(aud: object) -> None:
    with pytest.raises(InvalidCredential, match=r"token\.aud"):
        audiences({"aud": aud})
