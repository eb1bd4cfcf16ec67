"""What the header fields of an answer say of an object: its size, its fingerprint, and which of its
bytes follow (RFC 9110 §8.8, §14.4, §15.3.7)."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from storage_backends.base import ObjectNotFound, ObjectStat, StorageUnavailable

_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19})")
_LENGTH = re.compile(r"\d{1,19}")
_LONGEST_KEY = 1024

_LARGEST = 1 << 44  # bytes; a ticket for more would itself be large


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes `[start, end)` of an object of `size` bytes."""

    start: int
    end: int
    size: int


def check_key(key: str) -> None:
    """`ObjectNotFound` for a key that could lead out of its location, whatever a server makes of
    dots and slashes."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise ObjectNotFound("no such object") from error
    parts = key.split("/")
    if length > _LONGEST_KEY or "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise ObjectNotFound("no such object")


def stat_of(headers: Mapping[str, str], size: int | None) -> ObjectStat:
    """An object by the validators of an answer; `StorageUnavailable` where they do not pin it."""
    if size is None:
        raise StorageUnavailable("the store does not tell how large an object is")
    if size > _LARGEST:
        raise StorageUnavailable("the store tells of a size that no object has")
    etag = headers.get("ETag", "")
    if _STRONG.fullmatch(etag):
        return ObjectStat(size, None, etag)
    # A weak ETag, like a time, promises less than equal bytes: together with the size it is what
    # the store can tell.
    validators = etag + headers.get("Last-Modified", "")
    if not validators and size:
        raise StorageUnavailable("the store does not tell when an object changes")
    digest = hashlib.blake2s(validators.encode("utf-8", "surrogateescape"), digest_size=16)
    return ObjectStat(size, None, f"{size:x}-{digest.hexdigest()}")


def entity_tag(fingerprint: str) -> str | None:
    """What the store itself compares to pin a read, if a fingerprint is that."""
    return fingerprint if fingerprint.startswith('"') else None


def content_length(headers: Mapping[str, str]) -> int | None:
    """The number of bytes of a body, if it is told."""
    length = headers.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else None


def part_of(status: int, headers: Mapping[str, str]) -> Part | None:
    """What the body of a successful answer is; None when its fields do not tell, or disagree."""
    length = content_length(headers)
    if status == HTTPStatus.OK:
        return None if length is None else Part(0, length, length)
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or found[1] is None:
        return None
    part = Part(int(found[1]), int(found[2]) + 1, int(found[3]))
    told = length is not None or "Content-Length" in headers
    if not part.start < part.end <= part.size or (told and length != part.end - part.start):
        return None
    return part


def size_beyond(headers: Mapping[str, str]) -> int | None:
    """The size of the object, as an answer tells it that refuses a range (416)."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(found[3]) if found is not None else None
