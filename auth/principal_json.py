"""A principal as JSON, for the tables that replicas share: exact there and back.

Read strictly: what another version wrote, or nobody did, is no principal.
"""

import json
from dataclasses import asdict, fields
from typing import TypeVar

from auth.principal import Identity, Principal, Visa
from auth.strict_json import strict_json

_MEMBERS = frozenset(each.name for each in fields(Principal))
_VISA_MEMBERS = frozenset(each.name for each in fields(Visa))

T = TypeVar("T", str, int)


def to_json(principal: Principal) -> str:
    """The principal as one line of ASCII, the same whenever it is equal."""
    members = {
        **{name: getattr(principal, name) for name in _MEMBERS},
        "scopes": sorted(principal.scopes),
        "visas": [asdict(visa) for visa in principal.visas],
        "identities": sorted(principal.identities),
        "claims": dict(principal.claims),
    }
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def from_json(text: str | bytes) -> Principal:
    """What `to_json` was given; `ValueError` for anything else."""
    members = _object(strict_json(text.encode() if isinstance(text, str) else text), _MEMBERS)
    claims = members["claims"]
    if not isinstance(claims, dict):
        raise ValueError("claims are an object")
    return Principal(
        iss=_value(members["iss"], str),
        sub=_value(members["sub"], str),
        client_id=_value(members["client_id"], str),
        scopes=frozenset(_texts(members["scopes"])),
        visas=tuple(_visa(each) for each in _list(members["visas"])),
        identities=frozenset(_identity(each) for each in _list(members["identities"])),
        claims={name: _texts(value) for name, value in claims.items()},
        not_after=_value(members["not_after"], int),
        token_id=_value(members["token_id"], str),
    )


def _visa(value: object) -> Visa:
    members = _object(value, _VISA_MEMBERS)
    return Visa(
        iss=_value(members["iss"], str),
        sub=_value(members["sub"], str),
        type=_value(members["type"], str),
        value=_value(members["value"], str),
        source=_value(members["source"], str),
        by=_value(members["by"], str),
        asserted=_value(members["asserted"], int),
        exp=_value(members["exp"], int),
        jti=_value(members["jti"], str),
    )


def _identity(value: object) -> Identity:
    iss, sub = _texts(value)
    return iss, sub


def _object(value: object, names: frozenset[str]) -> dict[str, object]:
    if not isinstance(value, dict) or value.keys() != names:
        raise ValueError("an object with other members")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("a list is expected")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_value(each, str) for each in _list(value))


def _value(value: object, kind: type[T]) -> T:
    if type(value) is not kind:  # true is no number
        raise ValueError(f"{kind.__name__} is expected")
    return value
