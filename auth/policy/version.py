"""The version of a policy: a digest of what it says, however it is written down."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path

from auth.policy.document import PolicyDocument
from auth.tables import canonical_json


def policy_version(document: PolicyDocument) -> str:
    """`sha256:` and the SHA-256 of the canonical policy with the digests of its panels.

    The order of tables and lists makes no difference, nor does leaving out what is meant anyway,
    nor the expectations, which grant nothing.
    """
    parts = {name: each for name, each in _members(document).items() if name != "expectations"}
    return f"sha256:{hashlib.sha256(canonical_json(parts)).hexdigest()}"


def canonical(value: object) -> object:
    """A value of a policy as JSON without order: what it is compared and digested by."""
    if is_dataclass(value) and not isinstance(value, type):
        return _members(value)
    if isinstance(value, Mapping):
        return {str(name): canonical(each) for name, each in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return sorted((canonical(each) for each in value), key=canonical_json)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _members(value: object) -> dict[str, object]:
    # A panel is its digest, whatever became of it; a file is known by its name.
    return {
        each.name: member.name if isinstance(member, Path) else canonical(member)
        for each in fields(value)  # type: ignore[arg-type]
        if each.name != "regions" or isinstance(getattr(value, each.name), tuple)
        for member in (getattr(value, each.name),)
    }
