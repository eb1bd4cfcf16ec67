"""Who asks: what was verified of them, and nothing else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

Identity = tuple[str, str]
"""An issuer and the subject it names: only the pair identifies anybody (OIDC Core 5.7)."""


@dataclass(frozen=True, slots=True)
class Visa:
    """A verified, trusted and unexpired visa (GA4GH Passport 1.2). Times are seconds since the
    epoch; `by` is "" where the visa does not say."""

    iss: str
    sub: str
    type: str
    value: str
    source: str
    by: str
    asserted: int
    exp: int
    jti: str = ""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller, or nobody (`ANONYMOUS`).

    `identities` are all that are known to be the same person, the caller's own among them; quotas
    count them as one. `claims` are the texts of those claims of the token that policy may name.
    `not_after` is when the token ends, in seconds since the epoch; visas end by themselves.
    `token_id` names the token in the audit: its `jti`, or the digest of what was signed.
    """

    iss: str = ""
    sub: str = ""
    client_id: str = ""
    scopes: frozenset[str] = frozenset()
    visas: tuple[Visa, ...] = ()
    identities: frozenset[Identity] = frozenset()
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_after: int = 0
    token_id: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether no credential was given."""
        return not self.sub

    @property
    def name(self) -> str:
        """`issuer|subject`, for the audit; "" for nobody."""
        return f"{self.iss}|{self.sub}" if self.sub else ""

    @property
    def closure(self) -> str:
        """A name for all the identities together, which tells none of them."""
        text = "\n".join(sorted(f"{iss}|{sub}" for iss, sub in self.identities))
        return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


ANONYMOUS = Principal()
