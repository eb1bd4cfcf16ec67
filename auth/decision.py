"""What is asked of policy, and what it answers. One immutable type, never a truth value.

Regions are of `formats.regions`: by name, 0-based and half-open; `UNPLACED` is a region of its own.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Protocol

from auth.principal import Visa
from formats.regions import Region


class Outcome(StrEnum):
    """How a request ends. Only ALLOW lets anything out; a caller who is told NOT_FOUND cannot tell
    a hidden object from one that does not exist."""

    ALLOW = "allow"
    DENY = "deny"
    NOT_FOUND = "not_found"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request as policy sees it, before any file is opened.

    `endpoint` is "reads", "variants" or "refget". `datasets` are those that the object's location
    names; policy's own patterns come on top. `data_class` is "header" (no record) or "body".
    `regions` None: the whole object, unplaced reads included. `fields`, `tags` None: all of them.
    `peer` is the address of the caller, "" where it is not known.
    """

    endpoint: str
    object_id: str
    format: str
    data_class: str = "body"
    regions: tuple[Region, ...] | None = None
    fields: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    datasets: frozenset[str] = frozenset()
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Projection:
    """How permitted records are shown. The defaults change nothing but the header.

    `samples`, `fields` None: all. `boundary`: "overlap", "contained" or "mask". `header`: "minimal"
    or "full".
    """

    samples: frozenset[str] | None = None
    fields: frozenset[str] | None = None
    tags_deny: frozenset[str] = frozenset()
    boundary: str = "overlap"
    qname: str = "keep"
    header: str = "minimal"
    mode: str = "exact"
    crypt4gh: str = "off"
    nonvariant_sites: str = "drop"
    digest: str = field(init=False, repr=False, compare=False)
    """`sha256:` and the digest of the canonical form, for audit and capabilities."""

    def __post_init__(self) -> None:
        members = {
            each.name: sorted(value) if isinstance(value, frozenset) else value
            for each in fields(self)
            if each.init and (value := getattr(self, each.name)) is not None
        }
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The restrictions that need records rewritten, which nothing does yet; by name."""
        found = {
            "samples": self.samples is not None,
            "fields": self.fields is not None,
            "tags_deny": bool(self.tags_deny),
            "boundary": self.boundary != "overlap",
            "qname": self.qname != "keep",
            "crypt4gh": self.crypt4gh == "required",
        }
        return tuple(name for name, needed in found.items() if needed)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a grant allows at most; 0 is any number. Bytes are those sent, bases those permitted."""

    bases_per_request: int = 0
    regions_per_request: int = 0
    bases_per_day: int = 0
    bytes_per_day: int = 0
    distinct_bases_per_object: int = 0
    concurrent_streams: int = 0
    requests_per_minute: int = 0


class Permitted(Protocol):
    """A set of regions of one object."""

    @property
    def is_whole(self) -> bool:
        """Whether it is everything, unplaced reads included."""
        ...

    def fits(self, names: Collection[str]) -> bool:
        """Whether a file with these references may be judged by this set, though nobody has
        checked that its references are those that the set means."""
        ...

    def clip(self, asked: Sequence[Region] | None, names: Sequence[str]) -> tuple[Region, ...]:
        """What it has in common with the regions asked for (None: with everything), merged per
        name; `names` are the references of the object's header, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of policy.

    `rule` is a stable code for audit and client, such as `allow.group` or `region.not_granted`.
    `permitted` is what the grants that allow it have in common with nothing subtracted any more: an
    answer holds no record outside it. `clipped`: less is sent than was asked for, so the file is
    marked. `not_after`: seconds since the epoch when the right ends, 0 where nothing ends it.
    `audit_required`: without a record of it, nothing is sent.
    """

    outcome: Outcome
    rule: str
    policy_version: str = ""
    consent_version: str = ""
    dataset: str = ""
    grant_ids: tuple[str, ...] = ()
    projection: Projection = Projection()
    permitted: Permitted | None = None
    clipped: bool = False
    limits: Limits = Limits()
    not_after: int = 0
    visas: tuple[Visa, ...] = ()
    seqcol: str = ""
    delivery: str = "proxy"
    audit_required: bool = True
    details: tuple[str, ...] = field(default=(), compare=False)

    @property
    def allowed(self) -> bool:
        """Whether anything may leave."""
        return self.outcome is Outcome.ALLOW

    @property
    def is_whole(self) -> bool:
        """Whether all of the object is permitted, unplaced reads included."""
        return self.permitted is not None and self.permitted.is_whole


class Consent(Protocol):
    """What participants have withdrawn, as policy asks for it."""

    @property
    def version(self) -> str:
        """Changes whenever an answer may."""
        ...

    def withheld(self, dataset: str, object_id: str, at: float) -> str | None:
        """Why no part of the object may leave at a time (seconds since the epoch), as a code:
        `consent.withdrawn`, `consent.joint` (others' data are in it too), `consent.unmapped`
        (nobody knows whose it is), `consent.stale`; None when nothing holds it back."""
        ...
