"""What an S3 store means by what it answers. Codes: "Error responses" of the S3 API reference."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from storage_backends.base import (
    ObjectArchived,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from storage_backends.transfer import Refusal

_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_EXPECTING = re.compile(rb"is wrong; expecting (?:'|\"|&#\d{2};|&[a-z]{4};)([a-z0-9-]{1,40})")
_REGION_NAME = re.compile(r"[a-z0-9-]{1,40}")
_ELSEWHERE = {301, 302, 307, 308, 400, 403}

_BUSY = {
    "BandwidthLimitExceeded",
    "Busy",
    "InternalError",
    "OperationAborted",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServerBusy",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
}
_NO_SUCH_KEY = {
    "InvalidObjectName",
    "InvalidURI",
    "KeyTooLong",
    "KeyTooLongError",
    "NoSuchKey",
    "NoSuchVersion",
    "XMinioInvalidObjectName",
}
_REFUSED = {
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NoSuchBucket",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}

_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}


def code_of(refusal: Refusal) -> str:
    """The error code of an answer, or nothing: answers to HEAD have no body."""
    found = _CODE.search(refusal.body)
    return found[1].decode() if found else ""


def meaning_of(code: str) -> StorageError | None:
    """What an error code means; None: no more than the status of the answer."""
    if code == "InvalidObjectState":
        return _archived()
    if code in _BUSY:
        return StorageUnavailable(f"the store does not answer now ({code})")
    if code in _NO_SUCH_KEY:
        return ObjectNotFound("no such object")
    if code in _REFUSED or code in _EXPIRED:
        return StorageDenied(f"the store refuses this server ({code})")
    return None


def tells_expired(refusal: Refusal) -> bool:
    """Whether the credentials may have been good before.

    Expired ones get 400, which HEAD comes back with for hardly another reason.
    """
    if refusal.method == "HEAD":
        return refusal.status == HTTPStatus.BAD_REQUEST
    return code_of(refusal) in _EXPIRED


def region_told_by(refusal: Refusal) -> str | None:
    """The region of the bucket, where the answer says that it is asked for in the wrong one."""
    if refusal.status not in _ELSEWHERE:
        return None
    region = refusal.headers.get("x-amz-bucket-region", "")
    if _REGION_NAME.fullmatch(region):
        return region
    found = _REGION.search(refusal.body) or _EXPECTING.search(refusal.body)
    return found[1].decode() if found else None


def archived_by(headers: Mapping[str, str]) -> StorageError | None:
    """Whether the answer to HEAD is of an object that must be restored before it can be read."""
    if headers.get("x-amz-archive-status"):
        return _archived()
    restored = 'ongoing-request="false"' in headers.get("x-amz-restore", "")
    if headers.get("x-amz-storage-class") in _ARCHIVES and not restored:
        return _archived()
    return None


def _archived() -> ObjectArchived:
    return ObjectArchived("the object lies in an archive and must be restored first")
