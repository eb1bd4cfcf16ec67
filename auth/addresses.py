"""Addresses that requests come from, and whether networks hold them."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_address(text: str) -> Address | None:
    """An address, None if it is none. One of IPv4 in IPv6's clothes is the address of IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds it."""
    return any(address in network for network in networks)
