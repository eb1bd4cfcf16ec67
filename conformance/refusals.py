"""What is said when a request is refused (htsget 1.3.0, Errors), read as leniently as a ticket."""

from conformance.case import Failed, require
from conformance.http import Answer

STATUSES = {
    "InvalidAuthentication": 401,
    "PermissionDenied": 403,
    "NotFound": 404,
    "PayloadTooLarge": 413,
    "UnsupportedFormat": 400,
    "InvalidInput": 400,
    "InvalidRange": 400,
}
"""The types of errors, each with its status (htsget 1.3.0, Error Response JSON fields)."""

NOT_OFFERED = (403, 404, 405, 501)
"""What a server answers to a method that it does not have; gateways before it say 403."""


def error_of(answer: Answer) -> dict[str, object]:
    """The value of `htsget` in an answer; empty where there is none."""
    try:
        document = answer.json()
    except Failed:
        return {}
    content = document.get("htsget") if isinstance(document, dict) else None
    return content if isinstance(content, dict) else {}


def refused(answer: Answer, error: str, request: str = "") -> None:
    """Raise `Failed` unless an answer refuses with an error of a type, whichever its status of the
    400s. `request`: what was asked, where the URL does not say it."""
    said = f"{request}: {answer}" if request else str(answer)
    require(400 <= answer.status < 500, f"{said}, not {error}")
    found = error_of(answer).get("error")
    require(found == error, f"{said} with the error {found!r}, not {error}")
