"""What the text of a sequence identifier asks for (refget Sequences 2.0, "Sequence identifiers").

A namespace prefix decides; otherwise the prefix `SQ.`, then the length. No text is an error: one
that means nothing is an id that no sequence has.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_LENGTH = 256  # characters of an id; longer ones belong to nobody

_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_TRUNC512 = re.compile(r"[0-9A-Fa-f]{48}")
_BASE64URL = re.compile(r"[0-9A-Za-z_-]{32}")
_NAMESPACE = re.compile(r"[A-Za-z][0-9A-Za-z._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Md5Id:
    """The sequence of this MD5, in lower-case hexadecimal digits."""

    md5: str


@dataclass(frozen=True, slots=True)
class TruncatedId:
    """The sequence whose SHA-512 begins with these 24 bytes: its TRUNC512 and its GA4GH digest."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class AliasId:
    """The sequence, or the several, that a naming authority calls so; None: any authority."""

    namespace: str | None
    alias: str


@dataclass(frozen=True, slots=True)
class UnknownId:
    """No sequence can have this id."""


SequenceId = Md5Id | TruncatedId | AliasId | UnknownId


def parse_id(text: str) -> SequenceId:
    """What an id asks for; `text` is percent-decoded. Never raises.

    Hexadecimal digests are taken in either case, all else is exact. Without a prefix, 32 characters
    that are not all hexadecimal are a GA4GH digest too, as some servers write it. The namespaces of
    digests (`RESERVED_NAMESPACES`) never give an alias.
    """
    # What a database cannot hold (NUL, unpaired surrogates) is not printable either.
    if not 0 < len(text) <= MAX_LENGTH or not text.isprintable():
        return UnknownId()
    namespace, _, rest = text.partition(":")
    if rest and _NAMESPACE.fullmatch(namespace):
        read = _DIGESTS.get(namespace)
        return AliasId(namespace, rest) if read is None else read(rest) or UnknownId()
    for read in (_ga4gh, _md5, _trunc512, _base64url):
        if found := read(text):
            return found
    return AliasId(None, text)


def _md5(text: str) -> SequenceId | None:
    return Md5Id(text.lower()) if _MD5.fullmatch(text) else None


def _trunc512(text: str) -> SequenceId | None:
    return TruncatedId(bytes.fromhex(text)) if _TRUNC512.fullmatch(text) else None


def _ga4gh(text: str) -> SequenceId | None:
    return _base64url(text[3:]) if text.startswith("SQ.") else None


def _vmc(text: str) -> SequenceId | None:
    return _base64url(text[3:]) if text.startswith("GS_") else None


def _base64url(text: str) -> SequenceId | None:
    return TruncatedId(base64.urlsafe_b64decode(text)) if _BASE64URL.fullmatch(text) else None


_DIGESTS: Mapping[str, Callable[[str], SequenceId | None]] = {
    "md5": _md5,
    "trunc512": _trunc512,
    "ga4gh": _ga4gh,
    "VMC": _vmc,
}
RESERVED_NAMESPACES = frozenset(_DIGESTS)
