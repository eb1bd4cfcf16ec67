"""Where alone a credential may come from: one `Authorization: Bearer` line (RFC 6750 2.1)."""

import re
from collections.abc import Sequence

from auth.errors import InvalidCredential, MalformedCredential

MAX_CREDENTIAL = 16 << 10
"""Characters of a bearer token."""

_BEARER = re.compile(r"bearer ([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE | re.ASCII)
_PREFIX = len("Bearer ")


def bearer_token(authorization: Sequence[str], *, max_length: int = MAX_CREDENTIAL) -> str | None:
    """The token in the values of all `Authorization` lines of a request; None: there is no line.

    `MalformedCredential` for several lines; `InvalidCredential` for what is no bearer token. Longer
    ones (`max_length`) have no place in a header: they are to be exchanged.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        raise MalformedCredential("bearer.several")
    (value,) = authorization
    if len(value) > _PREFIX + max_length:
        raise InvalidCredential("bearer.size")
    found = _BEARER.fullmatch(value)
    if found is None:
        raise InvalidCredential("bearer.syntax")
    return found[1]
