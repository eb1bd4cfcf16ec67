"""The one way out: requests to issuers, decision points and other *configured* URLs.

Names are judged before they are looked up, addresses before they are connected to. No redirects,
no cookies, no proxies of the environment, no decompression; little time, few bytes.
"""

import asyncio
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Collection, Iterable, Mapping

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from auth.fetching import Fetched, FetchFailed

MAX_BYTES = 256 << 10
JSON_TYPES = frozenset(("application/json", "application/jwk-set+json", "application/jwt"))

_TIMEOUT = aiohttp.ClientTimeout(total=5, connect=3)
_CONNECTIONS = 32
_CONNECTIONS_PER_HOST = 8
_MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,9})\"?", re.IGNORECASE | re.ASCII)

_log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 networks whose addresses hold one of IPv4, and by how many bits it is shifted.
_EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


class Outbound:
    """A `Fetch` that asks only hosts it was told of.

    `urls` are those that the operator configured, `hosts` are names that are allowed besides
    theirs. A name that leads to a loopback, link-local or private address is refused unless it is
    in `private_hosts`; a host that says by itself what it is (`localhost`, `10.0.0.5`) is allowed
    by being configured. Plain http is for `localhost` and loopback addresses. Answers are of
    `media_types`; of others than 2xx only the status is told.

    Start it on the event loop it is used on. `tls` replaces the system's certificates.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        hosts: Iterable[str] = (),
        private_hosts: Collection[str] = (),
        media_types: Collection[str] = JSON_TYPES,
        max_bytes: int = MAX_BYTES,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        named = {URL(each).host or "" for each in urls} | {_name(each) for each in hosts}
        self._hosts = frozenset(named - {""})
        self._private_hosts = frozenset(_name(each) for each in private_hosts)
        self._media_types = media_types
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Make ready; nothing is connected to yet."""
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._private_hosts),
            ssl=True if self._tls is None else self._tls,
            limit=_CONNECTIONS,
            limit_per_host=_CONNECTIONS_PER_HOST,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
            headers={"Accept-Encoding": "identity", "User-Agent": "htsgate"},
            requote_redirect_url=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Fetched:
        target = self._checked(url)
        try:
            return await self._ask(method, target, headers, body)
        except FetchFailed as error:
            _log.warning("%s: no usable answer: %s", target.host, error)
            raise

    async def _ask(
        self, method: str, url: URL, headers: Mapping[str, str] | None, body: bytes | None
    ) -> Fetched:
        if self._session is None:
            raise FetchFailed("not started")
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                return await self._answer(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            cause = getattr(error, "os_error", error)
            if isinstance(cause, _PrivateAddress):
                raise FetchFailed("its name leads to a private address") from None
            # Neither its text nor its cause is kept: they may hold what was sent.
            raise FetchFailed(type(error).__name__) from None

    def _checked(self, text: str) -> URL:
        """The URL, if we may call it; judged before a name is looked up."""
        try:
            url = URL(text)
        except ValueError:
            raise FetchFailed("not a URL") from None
        host = url.host or ""
        if host not in self._hosts:
            raise FetchFailed("a host that is not configured")
        if url.user is not None or url.password is not None:
            raise FetchFailed("credentials in a URL")
        address = literal(host)
        if address is None and _is_numeric(host):
            raise FetchFailed("an address in an odd spelling")
        here = host == "localhost" if address is None else address.is_loopback
        if url.scheme != "https" and not (url.scheme == "http" and here):
            raise FetchFailed("not https")
        return url

    async def _answer(self, response: aiohttp.ClientResponse) -> Fetched:
        content_type = response.content_type.lower()
        if 300 <= response.status < 400:
            raise FetchFailed("a redirect")
        if not 200 <= response.status < 300:
            return Fetched(response.status, b"", content_type)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchFailed("an encoding that was not asked for")
        if content_type not in self._media_types:
            raise FetchFailed("another media type")
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._max_bytes:
                raise FetchFailed("too large")
        return Fetched(response.status, bytes(body), content_type, _max_age(response))


class _PrivateAddress(OSError):
    """What a name leads to that is not to be called."""


class _Resolver(AbstractResolver):
    """Looks names up, and gives only addresses that may be connected to: those are then used."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = private_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM
        )
        allowed = host == "localhost" or host in self._private_hosts
        results = []
        for kind, _, protocol, _, address in found:
            text = str(address[0])
            if not allowed and not is_public(ipaddress.ip_address(text)):
                raise _PrivateAddress
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """There is nothing to close."""


def literal(host: str) -> Address | None:
    """The address that a host is, in its one good spelling; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address, or the one of IPv4 within it, is one of the whole internet's hosts."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        for network, shift in _EMBEDDING:
            if address in network:
                return is_public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _is_numeric(host: str) -> bool:
    """Whether a resolver may take a name for an address, as `127.1`, `0x7f.1` or `2130706433`."""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last, re.IGNORECASE) is not None


def _name(host: str) -> str:
    """The name in `host` or `host:port`, as URLs have it."""
    return URL(f"//{host}").host or ""


def _max_age(response: aiohttp.ClientResponse) -> int | None:
    """For how many seconds an answer may be kept, as far as it says."""
    control = response.headers.get("Cache-Control", "")
    directives = [each.strip().lower() for each in control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0
    for each in directives:
        found = _MAX_AGE.fullmatch(each)
        if found:
            age = response.headers.get("Age", "")
            passed = int(age) if re.fullmatch("[0-9]{1,9}", age) else 0
            return max(0, int(found[1]) - passed)
    return None
