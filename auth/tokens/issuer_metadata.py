"""What an issuer says of itself (OpenID Connect Discovery 1.0), and which of its URLs we call."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from auth.errors import AuthorityUnavailable
from auth.fetching import Fetch, Fetched, FetchFailed
from auth.strict_json import strict_json_object

MAX_DOCUMENT = 256 << 10
"""Bytes of what an issuer answers."""

_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """Where an issuer answers; "" where it says nothing. Only URLs that we would call."""

    issuer: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    introspection_endpoint: str = ""
    max_age: int | None = None


async def discover(issuer: str, fetch: Fetch, *, hosts: Collection[str] = ()) -> IssuerMetadata:
    """The metadata of a *configured* issuer. `hosts` are allowed besides the issuer's own.

    `AuthorityUnavailable`: not to be had, or what is had is not to be used.
    """
    answer = await fetch_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration", fetch)
    try:
        document = strict_json_object(answer.body)
    except ValueError:
        raise AuthorityUnavailable("issuer.metadata") from None
    if document.get("issuer") != issuer:
        raise AuthorityUnavailable("issuer.mismatch")
    urls = {}
    for name in ("jwks_uri", "userinfo_endpoint", "introspection_endpoint"):
        url = document.get(name, "")
        if url != "" and not may_call(url, issuer, hosts):
            raise AuthorityUnavailable("issuer.host")
        urls[name] = str(url)
    if not urls["jwks_uri"]:
        raise AuthorityUnavailable("issuer.metadata")
    return IssuerMetadata(issuer=issuer, max_age=answer.max_age, **urls)


async def fetch_json(url: str, fetch: Fetch, *, types: Collection[str] = ()) -> Fetched:
    """A 200 of type `application/json`, or one of `types`, of bounded size; else
    `AuthorityUnavailable`."""
    try:
        answer = await fetch(
            "GET", url, headers={"Accept": ", ".join(("application/json", *types))}
        )
    except FetchFailed:
        raise AuthorityUnavailable("issuer.unreachable") from None
    if answer.status != 200:
        raise AuthorityUnavailable("issuer.status")
    if answer.content_type != "application/json" and answer.content_type not in types:
        raise AuthorityUnavailable("issuer.type")
    if len(answer.body) > MAX_DOCUMENT:
        raise AuthorityUnavailable("issuer.size")
    return answer


def may_call(url: object, issuer: str, hosts: Collection[str]) -> bool:
    """Whether a URL out of an issuer's metadata is https on one of its hosts.

    `http` only where the issuer's own URL is `http` on this machine. `hosts` as `host` or
    `host:port`; the issuer's own host on any port.
    """
    parts = _split(url)
    own = _split(issuer)
    if parts is None:
        return False
    scheme, host, port = parts
    if scheme != "https":
        return own is not None and own[:2] == (scheme, host) and is_loopback(host)
    if own is not None and host == own[1]:
        return True
    allowed = {each.lower() for each in hosts}
    return (port in (None, 443) and host in allowed) or f"{host}:{port or 443}" in allowed


def is_loopback(host: str) -> bool:
    """Whether a host's name or address says by itself that it is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: object) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of a URL without userinfo and fragment; None for anything else."""
    if not isinstance(url, str) or not _URL.fullmatch(url) or "\\" in url or "#" in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    return parts.scheme, host, port
