"""Claims that every kind of token has, judged in one place: texts, dates, audiences."""

from collections.abc import Mapping

from auth.errors import InvalidCredential

MAX_SUBJECT = 255
"""Characters of a `sub`."""

_DATES_END = 1 << 40
_MAX_TOKEN_ID = 256


def numeric_date(value: object) -> int:
    """Seconds since the epoch as JSON has them: a number in [0, 2^40), truncated.

    Text, true and null are no dates: `ValueError`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a date is a number")
    if not 0 <= value < _DATES_END:  # also refuses NaN
        raise ValueError("a date out of range")
    return int(value)


def check_times(
    claims: Mapping[str, object],
    now: float,
    *,
    leeway: int,
    max_lifetime: int = 0,
    iat_required: bool = True,
) -> int:
    """When the token ends. `leeway`, `max_lifetime` in seconds; 0: for as long as it says.

    Required are `exp` and `iat`. `InvalidCredential` with the name of the claim that is wrong.
    """
    exp = _date(claims, "exp")
    if now >= exp + leeway:
        raise InvalidCredential("token.exp")
    if "nbf" in claims and _date(claims, "nbf") > now + leeway:
        raise InvalidCredential("token.nbf")
    if not iat_required and "iat" not in claims:
        return exp
    iat = _date(claims, "iat")
    if iat > now + leeway:
        raise InvalidCredential("token.iat")
    if exp <= iat or (max_lifetime and exp - iat > max_lifetime):
        raise InvalidCredential("token.lifetime")
    return exp


def subject(claims: Mapping[str, object]) -> str:
    """The `sub`, which identifies somebody only together with its issuer."""
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= MAX_SUBJECT:
        raise InvalidCredential("token.sub")
    return sub


def audiences(claims: Mapping[str, object]) -> frozenset[str] | None:
    """The `aud`, a text or an array of them; None when there is none."""
    if "aud" not in claims:
        return None
    aud = claims["aud"]
    if isinstance(aud, str):
        return frozenset((aud,))
    if isinstance(aud, list) and aud and all(isinstance(each, str) for each in aud):
        return frozenset(aud)
    raise InvalidCredential("token.aud")


def check_audience(
    claims: Mapping[str, object], accepted: frozenset[str], *, required: bool
) -> None:
    """`InvalidCredential` unless the `aud` names one of those accepted; unless `required`, there
    may be none."""
    given = audiences(claims)
    if given is None:
        if required:
            raise InvalidCredential("token.aud")
    elif given.isdisjoint(accepted):
        raise InvalidCredential("token.aud")


def token_id(claims: Mapping[str, object]) -> str:
    """The `jti`, where it is one that a record can hold; else ""."""
    jti = claims.get("jti")
    return jti if isinstance(jti, str) and len(jti) <= _MAX_TOKEN_ID else ""


def _date(claims: Mapping[str, object], name: str) -> int:
    try:
        return numeric_date(claims.get(name))
    except ValueError:
        raise InvalidCredential(f"token.{name}") from None
