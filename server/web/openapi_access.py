"""The part of `/openapi.json` that is about access control."""

from typing import Any

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an access token, or a handle"}
}
OPTIONAL_CREDENTIAL: list[dict[str, list[str]]] = [{}, {"bearer": []}]
"""Open data want no credential; controlled data do."""

_CREDENTIAL: list[dict[str, list[str]]] = [{"bearer": []}]
_TEXT = {"type": "string"}
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_PASSPORT = "urn:ga4gh:params:oauth:token-type:passport"
_OAUTH_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": _TEXT, "error_description": _TEXT},
}
_HTSGET_ERROR = {"$ref": "#/components/schemas/error"}
_ABOUT = ("participant", "sample", "object")


def access_paths() -> dict[str, Any]:
    """The paths that exist where access is controlled."""
    return {"/auth/exchange": {"post": _exchange()}, "/admin/consent": {"post": _consent()}}


def _exchange() -> dict[str, Any]:
    form = {
        "type": "object",
        "required": ["grant_type", "subject_token_type", "subject_token"],
        "properties": {
            "grant_type": {"const": _GRANT_TYPE},
            "subject_token_type": {"const": _PASSPORT},
            "subject_token": {**_TEXT, "description": "a GA4GH passport, signed"},
        },
    }
    handle = {
        "type": "object",
        "required": ["access_token", "issued_token_type", "token_type", "expires_in"],
        "properties": {
            "access_token": _TEXT,
            "issued_token_type": _TEXT,
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer"},
        },
    }
    return {
        "summary": "a passport for a short-lived handle (RFC 8693)",
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "200": _answer("the handle, to be sent as a bearer token", handle),
            "400": _answer("the request or the passport is not acceptable", _OAUTH_ERROR),
            "408": _answer("the body did not arrive in time", _OAUTH_ERROR),
            "413": _answer("the body is too long", _OAUTH_ERROR),
            "503": _answer("who would vouch for it cannot be asked now", _OAUTH_ERROR),
        },
    }


def _consent() -> dict[str, Any]:
    texts = dict.fromkeys((*_ABOUT, "dataset", "from", "reason"), _TEXT)
    statement = {
        "type": "object",
        "required": ["action"],
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in _ABOUT],
        "properties": {"action": {"enum": ["withdraw", "restore"]}, **texts},
    }
    recorded = {"type": "object", "properties": {"recorded": {"const": True}}}
    return {
        "summary": "record that somebody withdraws, or may be served again",
        "security": _CREDENTIAL,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": statement}},
        },
        "responses": {
            "200": _answer("it is recorded and in force", recorded),
            "400": _answer("InvalidInput", _HTSGET_ERROR),
            "401": _answer("InvalidAuthentication", _HTSGET_ERROR),
            "403": _answer("PermissionDenied: this is for administrators", _HTSGET_ERROR),
            "503": _answer("it cannot be recorded now", _HTSGET_ERROR),
        },
    }


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
