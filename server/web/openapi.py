"""The description at `/openapi.json` (OpenAPI 3.1) of what this server answers."""

from typing import Any

from server.model import Endpoint
from server.web.openapi_access import OPTIONAL_CREDENTIAL, SECURITY_SCHEMES, access_paths
from server.web.openapi_refget import refget_paths

_ERRORS = {
    "400": "UnsupportedFormat, InvalidInput or InvalidRange",
    "401": "InvalidAuthentication: no credential, or one that is not accepted",
    "403": "PermissionDenied: not all of this is granted to the caller",
    "404": "NotFound: no such object or reference, or none that the caller may know of",
    "413": "PayloadTooLarge",
    "429": "TooManyRequests: a limit of the grant is reached; see Retry-After",
    "500": "InternalServerError: the stored data cannot be read",
    "503": "InternalServerError: the storage does not answer now; see Retry-After",
}


def openapi(version: str) -> dict[str, Any]:
    """The document for a server of this version."""
    paths: dict[str, Any] = {}
    for endpoint in Endpoint:
        paths[f"/{endpoint}/service-info"] = {
            "get": {"summary": "GA4GH service-info", "responses": {"200": _json("service-info")}}
        }
        paths[f"/{endpoint}/{{id}}"] = {
            "parameters": [_parameter("id", "path", {"type": "string"}, "may contain /")],
            "get": {
                "summary": f"a ticket for {endpoint}",
                "security": OPTIONAL_CREDENTIAL,
                "parameters": _query(endpoint),
                "responses": _ticket_responses(),
            },
            "post": {
                "summary": f"a ticket for {endpoint} in several regions",
                "security": OPTIONAL_CREDENTIAL,
                "requestBody": {"content": {"application/json": {"schema": _body(endpoint)}}},
                "responses": _ticket_responses(),
            },
        }
    paths["/blocks/{capability}"] = {
        "get": {
            "summary": "a data block of a ticket",
            "parameters": [
                _parameter("capability", "path", {"type": "string"}, "from a ticket"),
                _parameter("Range", "header", {"type": "string"}, "one range of bytes"),
            ],
            "responses": {
                "200": {"description": "the block"},
                "206": {"description": "the range of it that was asked for"},
                "401": _error("InvalidAuthentication: not a URL of ours, or expired"),
                "403": _error("PermissionDenied: less is granted than when the ticket was made"),
                "404": _error("NotFound: the right to it has ended"),
                "409": _error("the object changed; request a new ticket"),
                "416": _error("the range asks for no byte"),
                "429": _error("TooManyRequests: a limit of the grant is reached"),
                "503": _error("what is sent cannot be recorded now, or the storage not be read"),
            },
        }
    }
    paths |= refget_paths() | access_paths()
    for probe in ("live", "ready"):
        paths[f"/health/{probe}"] = {"get": {"responses": {"200": _json("status")}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "htsgate", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"ticket": _TICKET, "error": _ERROR},
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


_TEXT = {"type": "string"}
_POSITION = {"type": "integer", "minimum": 0, "maximum": 4294967295}
_LIST = {"type": "array", "items": _TEXT}
_TICKET = {
    "type": "object",
    "required": ["htsget"],
    "properties": {
        "htsget": {
            "type": "object",
            "required": ["format", "urls"],
            "properties": {
                "format": _TEXT,
                "urls": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["url", "headers", "class"],
                        "properties": {
                            "url": {"type": "string", "format": "uri"},
                            "headers": {"type": "object", "additionalProperties": _TEXT},
                            "class": {"enum": ["header", "body"]},
                        },
                    },
                },
            },
        }
    },
}
_ERROR = {
    "type": "object",
    "required": ["htsget"],
    "properties": {
        "htsget": {
            "type": "object",
            "required": ["error", "message"],
            "properties": {"error": _TEXT, "message": _TEXT},
        }
    },
}


def _parameter(name: str, place: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": text,
    }


def _query(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        _parameter("format", "query", {"enum": [*endpoint.formats]}, "case does not matter"),
        _parameter("class", "query", {"enum": ["header"]}, "the header alone"),
        _parameter("referenceName", "query", _TEXT, "a reference; * for reads without a position"),
        _parameter("start", "query", _POSITION, "0-based, inclusive"),
        _parameter("end", "query", _POSITION, "0-based, exclusive"),
    ]


def _body(endpoint: Endpoint) -> dict[str, Any]:
    region = {
        "type": "object",
        "required": ["referenceName"],
        "properties": {"referenceName": _TEXT, "start": _POSITION, "end": _POSITION},
    }
    return {
        "type": "object",
        "properties": {
            "format": {"enum": [*endpoint.formats]},
            "class": {"enum": ["header"]},
            "regions": {"type": "array", "minItems": 1, "items": region},
            "fields": _LIST,
            "tags": _LIST,
            "notags": _LIST,
        },
    }


def _ticket_responses() -> dict[str, Any]:
    ok = {
        "description": "the ticket",
        "content": {
            "application/vnd.ga4gh.htsget.v1.3.0+json": {
                "schema": {"$ref": "#/components/schemas/ticket"}
            }
        },
    }
    return {"200": ok, **{status: _error(text) for status, text in _ERRORS.items()}}


def _error(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _json(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {}}}
