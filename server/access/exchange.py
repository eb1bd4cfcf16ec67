"""`POST /auth/exchange`: a passport, too long for a header, for a short-lived handle (RFC 8693).

The answers are those of OAuth: a token (RFC 8693 2.2.1), or an error (RFC 6749 5.2). One and the
same error tells of whatever is wrong with a passport.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.passports.reader import PassportReader
from auth.principal import Principal
from server.access.exchange_store import ExchangeStore
from server.database import DatabaseUnavailable
from server.errors import RETRY_AFTER, InvalidInput, RequestTimeout
from server.limits import read_body

__all__ = ["ExchangeRoutes", "ExchangeStore"]

PATH = "/auth/exchange"
MAX_BODY = 512 << 10
"""Bytes of a request."""

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
PASSPORT_TYPE = "urn:ga4gh:params:oauth:token-type:passport"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name

_FORM = "application/x-www-form-urlencoded"
_SECONDS = 10.0
_MOST_FIELDS = 16
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """An error of RFC 6749: status, code and a fixed text, and for the audit a reason."""

    def __init__(self, status: int, code: str, text: str, reason: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.text = text
        self.reason = reason or f"exchange.{code}"


async def _no_record(request: web.Request, principal: Principal) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class ExchangeRoutes:
    """The endpoint. `client` tells for whom alone a handle is good, such as the address of the
    caller; "" for any. `issued` is awaited before a handle leaves, and what it raises goes on;
    `refused` hears why none was issued."""

    passports: PassportReader
    store: ExchangeStore
    client: Callable[[web.Request], str] = lambda request: ""
    issued: Callable[[web.Request, Principal], Awaitable[None]] = _no_record
    refused: Callable[[web.Request, str], None] = lambda request, reason: None

    def add_to(self, app: web.Application) -> None:
        """Register the endpoint."""
        app.router.add_post(PATH, self.exchange)

    async def exchange(self, request: web.Request) -> web.Response:
        """Exchange the passport in the body; nowhere else may it be."""
        try:
            passport = await _passport(request)
            return await self._answer(request, passport)
        except _Refused as refusal:
            self.refused(request, refusal.reason)
            document = {"error": refusal.code, "error_description": refusal.text}
            headers = {"Retry-After": str(RETRY_AFTER)} if refusal.status == 503 else {}
            return web.json_response(document, status=refusal.status, headers=_NO_STORE | headers)

    async def _answer(self, request: web.Request, passport: str) -> web.Response:
        try:
            principal = await self.passports.of_passport(passport)
            handle, seconds = await self.store.issue(principal, self.client(request))
            await self.issued(request, principal)
        except InvalidCredential as error:
            text = "the subject_token is not acceptable"
            raise _Refused(400, "invalid_request", text, error.reason) from None
        except AuthorityUnavailable as error:
            raise _unavailable(error.reason) from None
        except DatabaseUnavailable as error:
            _log.error("a passport was not exchanged: %s", error)
            raise _unavailable("exchange.database") from None
        document = {
            "access_token": handle,
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "token_type": "Bearer",
            "expires_in": seconds,
        }
        return web.json_response(document, headers=_NO_STORE)


async def _passport(request: web.Request) -> str:
    """The passport of a well-formed request."""
    if request.query_string:
        raise _invalid("parameters belong in the body, not in the URL")
    if request.content_type != _FORM:
        raise _invalid(f"the body is {_FORM}")
    try:
        body = await read_body(request, seconds=_SECONDS, max_bytes=MAX_BODY)
    except web.HTTPRequestEntityTooLarge:
        raise _Refused(413, "invalid_request", f"a body has at most {MAX_BODY} bytes") from None
    except RequestTimeout:
        raise _Refused(408, "invalid_request", "the body did not arrive in time") from None
    except (InvalidInput, web.RequestPayloadError):
        raise _invalid("the body cannot be read") from None
    form = _fields(body)
    if form.get("grant_type") != GRANT_TYPE:
        raise _Refused(400, "unsupported_grant_type", f"grant_type is {GRANT_TYPE}")
    if form.get("subject_token_type") != PASSPORT_TYPE:
        raise _invalid(f"subject_token_type is {PASSPORT_TYPE}")
    if form.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
        raise _invalid(f"requested_token_type is {ACCESS_TOKEN_TYPE}")
    if "actor_token" in form or "actor_token_type" in form:
        raise _invalid("nobody acts for somebody else here")
    if not form.get("subject_token"):
        raise _invalid("subject_token is missing")
    return form["subject_token"]


def _fields(body: bytes) -> Mapping[str, str]:
    """The parameters of a form, each of which may be there once (RFC 6749 3.2)."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise _invalid("the body is no form") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _invalid("a parameter is there twice")
    return form


def _invalid(text: str) -> _Refused:
    return _Refused(400, "invalid_request", text)


def _unavailable(reason: str) -> _Refused:
    text = "who would vouch for it cannot be asked now; try again later"
    return _Refused(503, "temporarily_unavailable", text, reason)
