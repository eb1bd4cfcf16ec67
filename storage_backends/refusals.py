"""What an answer means that is not what was asked for, wherever it comes from."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from yarl import URL

from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_LONGEST_RETRY_AFTER = 86_400


class PastEnd(StorageError):
    """The object ends before the range that was asked for (416); `headers` are the answer's."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("the object ends before this range")
        self.headers = headers


def same_server(one: URL, other: URL) -> bool:
    """Whether two URLs have one origin (RFC 6454 §4)."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def redirect(status: int, headers: Mapping[str, str], url: URL) -> URL | None:
    """Where an answer sends a request for `url`."""
    location = headers.get("Location")
    if status not in _REDIRECTS or not location:
        return None
    try:
        to = url.join(URL(location, encoded=True)).with_fragment(None)
        return to if to.host else None
    except ValueError:
        return None


def meaning(status: int, headers: Mapping[str, str]) -> StorageError:
    """What a status means wherever it comes from."""
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return ObjectNotFound("no such object")
    if status == HTTPStatus.PRECONDITION_FAILED:
        return ObjectChanged("the object has changed")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return PastEnd(headers)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return StorageDenied(f"the store refuses this server ({status})")
    if status in _TRANSIENT:
        return StorageUnavailable(f"the store does not answer now ({status})")
    return StorageDenied(f"the store gave an unexpected answer ({status})")


def retry_after(headers: Mapping[str, str]) -> float:
    """The `Retry-After` of an answer in seconds, from either form (RFC 9110 §10.2.3); 0: none."""
    told = headers.get("Retry-After", "")
    try:
        if told.isdecimal():
            seconds = float(told)
        else:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
