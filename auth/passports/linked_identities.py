"""Who is the same person: identities joined by LinkedIdentities visas (Passport 1.2)."""

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from auth.principal import Identity

MAX_LINKED = 64
"""Identities of one visa."""

MAX_CLOSURE = 256
"""Identities of one person."""


def parse_linked_identities(value: str) -> frozenset[Identity]:
    """The identities that a visa's value lists, as `uriencode(sub),uriencode(iss);…`.

    Each part is decoded once, after splitting. One malformed entry is a `ValueError` for them all.
    """
    entries = value.split(";")
    if len(entries) > MAX_LINKED:
        raise ValueError("too many identities")
    return frozenset(_identity(each) for each in entries)


def closure(start: Iterable[Identity], links: Iterable[frozenset[Identity]]) -> frozenset[Identity]:
    """All identities that links lead to from the first ones, in any direction and number of steps.

    A link is a set of identities of one person. One that would make the closure larger than
    `MAX_CLOSURE` is left out.
    """
    found = frozenset(start)
    waiting = list(links)
    while True:
        apart = []
        before = found
        for link in waiting:
            if found.isdisjoint(link):
                apart.append(link)
            elif len(found | link) <= MAX_CLOSURE:
                found |= link
        if found == before:
            return found
        waiting = apart


def _identity(entry: str) -> Identity:
    sub, comma, iss = entry.partition(",")
    if not (sub and comma and iss) or "," in iss:
        raise ValueError("an identity is a subject and an issuer")
    return _decoded(iss), _decoded(sub)


def _decoded(text: str) -> str:
    decoded = unquote_to_bytes(text).decode("utf-8")
    if not decoded or "\0" in decoded:
        raise ValueError("an identity that is no text")
    return decoded
