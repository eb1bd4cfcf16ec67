import time

import pytest

from auth.errors import InvalidCredential, MalformedCredential
from auth.tokens.bearer import MAX_CREDENTIAL, bearer_token


def test_no_line_is_no_credential() -> None:
    assert bearer_token([]) is None


@pytest.mark.security("TT20")
@pytest.mark.parametrize(
    "value", ["Bearer abc.DEF-_~+/9==", "bearer abc.DEF-_~+/9==", "BEARER abc.DEF-_~+/9=="]
)
def test_the_scheme_has_no_case(value: str) -> None:
    assert bearer_token([value]) == "abc.DEF-_~+/9=="


@pytest.mark.security("TT20")
@pytest.mark.parametrize(
    "values", [["Bearer a", "Bearer a"], ["Bearer a", "Basic b"], ["", ""], ["Bearer a"] * 100]
)
def test_several_lines_are_refused_as_such(values: list[str]) -> None:
    with pytest.raises(MalformedCredential):
        bearer_token(values)


@pytest.mark.security("TT20")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  a",
        "Bearer\ta",
        "Bearer\u00a0a",
        " Bearer a",
        "Bearer a ",
        "Bearer a\n",
        "Bearer a\r\nX: y",
        "Bearer a b",
        "Bearer a, Bearer b",
        "Bearer a,b",
        "Bearer Bearer a",
        "Bearer =",
        "Bearer a=b",
        "Bearer \u017fecret",  # folds to s
        "Bearer \u212aelvin",  # folds to k
        "Bearer \u00e9",
        'Bearer "a"',
        "Basic dXNlcjpwYXNz",
        "Token a",
        "Bearer: a",
        "Digest a",
        "a",
    ],
)
def test_anything_else_is_no_bearer_token(value: str) -> None:
    with pytest.raises(InvalidCredential) as refusal:
        bearer_token([value])
    assert not isinstance(refusal.value, MalformedCredential)


def test_length() -> None:
    assert bearer_token(["Bearer " + "a" * MAX_CREDENTIAL]) == "a" * MAX_CREDENTIAL
    with pytest.raises(InvalidCredential, match=r"bearer\.size"):
        bearer_token(["Bearer " + "a" * (MAX_CREDENTIAL + 1)])


@pytest.mark.security("TT10")
@pytest.mark.parametrize("filler", [".", "a", "=", "a=", " "])
def test_long_lines_cost_nothing(filler: str) -> None:
    before = time.perf_counter()
    for most in (MAX_CREDENTIAL, 1 << 21):
        with pytest.raises(InvalidCredential):
            bearer_token(["Bearer " + filler * (1 << 20) + "!"], max_length=most)
    assert time.perf_counter() - before < 0.1
