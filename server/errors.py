"""From exceptions to answers: one table, one middleware, one place that catches everything.

    HtsgetError                 what the protocol layer raises, with a text for the client
    ├── InvalidAuthentication   401     no credential; one that is not accepted is `auth`'s error
    ├── PermissionDenied        403
    ├── NotFound                404
    ├── PayloadTooLarge         413
    ├── UnsupportedFormat       400
    ├── InvalidInput            400
    │   └── RequestTimeout      408
    └── InvalidRange            400

Every answer is `{"htsget": {"error": type, "message": text}}` (htsget, "Error responses"), its type
one of the specification's; but refget names no form, so a sequence is refused in plain text and a
collection by a problem document (RFC 9457). Below 500 the text is the exception's own, unless the
table fixes it; from 500 up it is fixed, and names at most the object id.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

import orjson
from aiohttp import web

from auth.capability import CapabilityError, CapabilityTooLong, InvalidCapability
from auth.errors import (
    AuthorityUnavailable,
    InsufficientScope,
    InvalidCredential,
    MalformedCredential,
    ObjectUnusable,
)
from auth.quota import QuotaExceeded
from formats.errors import (
    CorruptData,
    FormatError,
    MissingReference,
    UnindexableRange,
    UnknownReference,
)
from server.access.audit_log import AuditUnavailable
from server.database import DatabaseUnavailable
from server.http_range import MalformedRange, RangeNotSatisfiable
from server.refget.catalogue import AmbiguousId, SequencePending
from server.refget.files import SequenceUnavailable
from server.refget.media_types import NotAcceptable
from server.refget.seqcol import CollectionTooLarge, InvalidCollection
from server.refget.subsequence import (
    InvalidSubsequence,
    OutOfBounds,
    SubsequenceError,
)
from storage_backends.base import (
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    StorageUnavailable,
)

RETRY_AFTER = 5  # seconds
_NEVER_SECONDS = 86_400  # where waiting does not help, nobody need ask again today

_SEQUENCES = "/sequence/"
_COLLECTIONS = ("/collection/", "/comparison/", "/list/", "/attribute/")
_LONGEST_TEXT = 500  # characters; a message may quote what the client sent
_log = logging.getLogger(__name__)


class HtsgetError(Exception):
    """Base of the errors that the protocol layer raises; the text is written for the client."""


class InvalidAuthentication(HtsgetError):
    """The credential is missing or not valid."""


class PermissionDenied(HtsgetError):
    """The caller is known, may see the object, and may not have what was asked."""


class NotFound(HtsgetError):
    """No such object, for this caller. One text, so that it tells nothing else."""

    def __init__(self, message: str = "no such object") -> None:
        super().__init__(message)


class PayloadTooLarge(HtsgetError):
    """The request asks for more than one request may."""


class UnsupportedFormat(HtsgetError):
    """The format is unknown, of the other endpoint, or not available for this object."""


class InvalidInput(HtsgetError):
    """The request breaks the specification."""


class RequestTimeout(InvalidInput):
    """The request did not arrive in time."""


class InvalidRange(HtsgetError):
    """Start and end are in the wrong order, or the object cannot be sliced."""


class ErrorType(Enum):
    """The type that the specification names, and the status that goes with it."""

    INVALID_AUTHENTICATION = ("InvalidAuthentication", 401)
    PERMISSION_DENIED = ("PermissionDenied", 403)
    NOT_FOUND = ("NotFound", 404)
    PAYLOAD_TOO_LARGE = ("PayloadTooLarge", 413)
    TOO_MANY_REQUESTS = ("TooManyRequests", 429)
    UNSUPPORTED_FORMAT = ("UnsupportedFormat", 400)
    INVALID_INPUT = ("InvalidInput", 400)
    METHOD_NOT_ALLOWED = ("InvalidInput", 405)
    NOT_ACCEPTABLE = ("InvalidInput", 406)
    REQUEST_TIMEOUT = ("InvalidInput", 408)
    CONFLICT = ("InvalidInput", 409)
    INVALID_RANGE = ("InvalidRange", 400)
    RANGE_NOT_SATISFIABLE = ("InvalidRange", 416)
    INTERNAL_SERVER_ERROR = ("InternalServerError", 500)
    UNAVAILABLE = ("InternalServerError", 503)


# The type of each exception, looked up along its method resolution order; and the text that is
# sent instead of its own. From 500 up there is always one: `{}` stands for the object.
ERRORS: Mapping[type[Exception], tuple[ErrorType, str | None]] = {
    InvalidAuthentication: (ErrorType.INVALID_AUTHENTICATION, None),
    # One text for everything that can be wrong with a credential: the audit alone has the reason.
    InvalidCredential: (ErrorType.INVALID_AUTHENTICATION, "the credential is not accepted"),
    MalformedCredential: (ErrorType.INVALID_INPUT, "give one credential, in one header field"),
    InsufficientScope: (ErrorType.PERMISSION_DENIED, "the token lacks a scope that is needed"),
    AuthorityUnavailable: (
        ErrorType.UNAVAILABLE,
        "who decides about access cannot be asked now; try again later",
    ),
    AuditUnavailable: (
        ErrorType.UNAVAILABLE,
        "what is sent cannot be recorded now, so nothing is; try again later",
    ),
    ObjectUnusable: (ErrorType.UNAVAILABLE, "{} cannot be served now; its custodian can mend that"),
    QuotaExceeded: (ErrorType.TOO_MANY_REQUESTS, None),
    PermissionDenied: (ErrorType.PERMISSION_DENIED, None),
    NotFound: (ErrorType.NOT_FOUND, None),
    PayloadTooLarge: (ErrorType.PAYLOAD_TOO_LARGE, None),
    UnsupportedFormat: (ErrorType.UNSUPPORTED_FORMAT, None),
    InvalidInput: (ErrorType.INVALID_INPUT, None),
    RequestTimeout: (ErrorType.REQUEST_TIMEOUT, None),
    InvalidRange: (ErrorType.INVALID_RANGE, None),
    MalformedRange: (ErrorType.INVALID_RANGE, None),
    RangeNotSatisfiable: (ErrorType.RANGE_NOT_SATISFIABLE, None),
    InvalidSubsequence: (ErrorType.INVALID_INPUT, None),
    OutOfBounds: (ErrorType.RANGE_NOT_SATISFIABLE, None),
    NotAcceptable: (ErrorType.NOT_ACCEPTABLE, None),
    AmbiguousId: (ErrorType.CONFLICT, None),
    SequenceUnavailable: (ErrorType.NOT_FOUND, "no such sequence"),
    SequencePending: (
        ErrorType.UNAVAILABLE,
        "not all sequences of this server are known yet; try again later",
    ),
    InvalidCollection: (ErrorType.INVALID_INPUT, None),
    CollectionTooLarge: (ErrorType.PAYLOAD_TOO_LARGE, None),
    DatabaseUnavailable: (
        ErrorType.UNAVAILABLE,
        "the database does not answer now; try again later",
    ),
    InvalidCapability: (ErrorType.INVALID_AUTHENTICATION, None),
    CapabilityTooLong: (ErrorType.PAYLOAD_TOO_LARGE, None),
    CapabilityError: (ErrorType.INTERNAL_SERVER_ERROR, "internal error while serving {}"),
    UnknownReference: (ErrorType.NOT_FOUND, None),
    UnindexableRange: (ErrorType.INVALID_RANGE, None),
    MissingReference: (
        ErrorType.UNAVAILABLE,
        "{} cannot be served now; its custodian can mend that",
    ),
    CorruptData: (ErrorType.INTERNAL_SERVER_ERROR, "the stored data of {} cannot be read"),
    FormatError: (ErrorType.INTERNAL_SERVER_ERROR, "the stored data of {} cannot be read"),
    ObjectNotFound: (ErrorType.NOT_FOUND, str(NotFound())),
    ObjectChanged: (
        ErrorType.CONFLICT,
        "the object changed since the ticket was issued; request a new ticket",
    ),
    StorageUnavailable: (
        ErrorType.UNAVAILABLE,
        "the storage of {} does not answer now; try again later",
    ),
    StorageError: (ErrorType.INTERNAL_SERVER_ERROR, "the stored data of {} cannot be read"),
    web.RequestPayloadError: (ErrorType.INVALID_INPUT, "the request body cannot be read"),
    web.HTTPNotFound: (ErrorType.NOT_FOUND, "no such resource"),
    web.HTTPMethodNotAllowed: (
        ErrorType.METHOD_NOT_ALLOWED,
        "this resource does not know the method",
    ),
    web.HTTPRequestEntityTooLarge: (
        ErrorType.PAYLOAD_TOO_LARGE,
        "the request body is longer than this server accepts",
    ),
    Exception: (ErrorType.INTERNAL_SERVER_ERROR, "internal error while serving {}"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told of an error: the type, the status, a text, and more header fields."""

    error: str
    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def describe(error: Exception) -> Answer:
    """The answer to an exception, by the table."""
    kind, text = next(ERRORS[base] for base in type(error).__mro__ if base in ERRORS)
    name, status = kind.value
    if isinstance(error, web.HTTPException) and type(error) not in ERRORS:
        # Others of aiohttp's own, such as 417; its texts may repeat what the client sent.
        name = "InternalServerError" if error.status >= 500 else "InvalidInput"
        status, text = error.status, HTTPStatus(error.status).phrase
    message = str(error) if text is None else text.format(_object_of(error))
    return Answer(name, status, message[:_LONGEST_TEXT], _headers(error, status))


def respond(answer: Answer, path: str = "/") -> web.Response:
    """An answer, in the form of the protocol that a path belongs to."""
    if path.startswith(_SEQUENCES):
        content_type, body = "text/plain", f"{answer.message}\n".encode()
    elif path.startswith(_COLLECTIONS):
        title = HTTPStatus(answer.status).phrase
        problem = {"title": title, "status": answer.status, "detail": answer.message}
        content_type, body = "application/problem+json", orjson.dumps(problem)
    else:
        document = {"htsget": {"error": answer.error, "message": answer.message}}
        content_type, body = "application/json", orjson.dumps(document)
    return web.Response(
        body=body,
        status=answer.status,
        content_type=content_type,
        headers={"Cache-Control": "no-store", **answer.headers},
    )


@contextmanager
def naming(object_id: str) -> Iterator[None]:
    """What fails inside concerns this object: answers from 500 up and the log name it."""
    try:
        yield
    except Exception as error:
        error.__dict__.setdefault("object_id", object_id)
        raise


@web.middleware
async def error_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers every exception. Once a response has begun, drops the connection instead.

    A client detects an incomplete answer by its missing bytes, so it must not end cleanly.
    """
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone") from None
        answer = describe(error)
        is_fault = answer.status >= 500 and not isinstance(error, SequencePending)
        if is_fault or request.writer.output_size > 0:
            _log.error("%s %d: %s", answer.error, answer.status, trace(error))
        if request.writer.output_size > 0:
            transport.abort()
            raise ConnectionResetError("the answer could not be finished") from None
        return respond(answer, request.path)


def trace(error: BaseException) -> str:
    """Where an exception came from, for the log: the frames, without any text of the request.

    Messages may quote what the client sent, so only those of our own data and storage errors, which
    describe the data, are included; they say enough in one line.
    """
    parts: list[str] = []
    foreseen = False
    current: BaseException | None = error
    while current is not None:
        kind = type(current)
        parts.append(f"{kind.__module__}.{kind.__qualname__}")
        if isinstance(current, FormatError | StorageError | DatabaseUnavailable):
            foreseen = True
            parts.append(f": {str(current)!a}")
        if object_id := current.__dict__.get("object_id"):
            parts.append(f" (object {object_id!a})")
        parts += ["\n", *([] if foreseen else traceback.format_tb(current.__traceback__))]
        if isinstance(current, BaseExceptionGroup):
            parts += [trace(each) for each in current.exceptions]
        chained = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or chained
    return "".join(parts).rstrip()


def _object_of(error: Exception) -> str:
    object_id = error.__dict__.get("object_id")
    return "this object" if object_id is None else f"object {object_id}"


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, InvalidCredential) and status in (401, 403):
        code = "invalid_token" if status == 401 else "insufficient_scope"
        return {"WWW-Authenticate": f'Bearer realm="htsget", error="{code}"'}
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="htsget"'}
    if isinstance(error, QuotaExceeded):
        return {"Retry-After": str(error.retry_after or _NEVER_SECONDS)}
    if status == 503:
        wait = error.retry_after if isinstance(error, StorageUnavailable) else RETRY_AFTER
        return {"Retry-After": str(wait)}
    if isinstance(error, SubsequenceError):
        return dict(error.headers)
    if isinstance(error, RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, web.HTTPMethodNotAllowed):
        return {"Allow": error.headers["Allow"]}
    return {}
