"""Where a request comes from: the connection's address, or what trusted proxies say of it."""

from collections.abc import Sequence
from ipaddress import ip_network

from aiohttp import web

from auth.addresses import Network, parse_address, within


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as configured; `ValueError` for what is none."""
    return tuple(ip_network(text) for text in texts)


def peer_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """The caller's address as text, "" where it is not known.

    `X-Forwarded-For` counts only as far as it was written by proxies in `trusted`: the last
    address that is not one of them.
    """
    name = request.transport.get_extra_info("peername") if request.transport else None
    peer = parse_address(str(name[0])) if isinstance(name, tuple) else None
    if peer is None:
        return ""
    if not trusted or not within(peer, trusted):
        return str(peer)
    told = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    for text in reversed(told):
        address = parse_address(text.strip())
        if address is None:
            break
        peer = address
        if not within(peer, trusted):
            break
    return str(peer)
