"""Where a request comes from: the connection's address, or what trusted proxies say of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as configured; `ValueError` for what is none."""
    return tuple(ip_network(text) for text in texts)


def peer_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """The caller's address as text, "" where it is not known.

    `X-Forwarded-For` counts only as far as it was written by proxies in `trusted`: the last
    address that is not one of them.
    """
    name = request.transport.get_extra_info("peername") if request.transport else None
    peer = _address(str(name[0])) if isinstance(name, tuple) else None
    if peer is None:
        return ""
    if not trusted or not _within(peer, trusted):
        return str(peer)
    told = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    for text in reversed(told):
        address = _address(text.strip())
        if address is None:
            break
        peer = address
        if not _within(peer, trusted):
            break
    return str(peer)


def _within(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
