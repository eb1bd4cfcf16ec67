"""Whom a grant is for: what must be known of a caller, and what of it was used.

Only what was verified counts, and only as exact text. An identity is the caller's own (`iss`,
`sub`): what is linked to it serves visas and quotas, and inherits nothing that is granted by name.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from math import inf

from auth.addresses import parse_address, within
from auth.principal import Principal, Visa

Network = IPv4Network | IPv6Network
Key = tuple[Hashable, ...]
"""Something that a caller must have for an atom to hold; grants are found by it."""

AFFILIATION = "AffiliationAndRole"
EVERYBODY: Key = ("public",)

USUAL_AUTHORITIES = {
    "ControlledAccessGrants": frozenset(("dac",)),
    "AcceptedTermsAndPolicies": frozenset(("self", "so")),
}
"""What `by` must be where a grant does not say (Passport 1.2)."""


@dataclass(frozen=True, slots=True)
class Met:
    """Conditions that hold, the visas they hold by, and until when (seconds since the epoch)."""

    visas: tuple[Visa, ...] = ()
    until: float = inf


@dataclass(frozen=True, slots=True)
class VisaAtom:
    """A visa of one type and value. `source` "": of any that is trusted; `by` None: anybody's.

    An AffiliationAndRole of `*@affiliation` is any role there. `max_assertion_age`: seconds, 0 for
    as long as the visa lasts.
    """

    type: str
    value: str
    source: str = ""
    by: frozenset[str] | None = None
    max_assertion_age: int = 0

    @property
    def key(self) -> Key:
        return _visa_key(self.type, self.value)

    def usable(self, type_: str, value: str) -> bool:
        """Whether a visa of a type and value may be what is asked for."""
        return type_ == self.type and (value == self.value or self.key in _visa_keys(type_, value))

    def met(self, principal: Principal, now: float) -> Met | None:
        """The one of the caller's visas that lasts longest."""
        best, until = None, now
        for visa in principal.visas:
            if self._accepts(visa) and self._end(visa) > until:
                best, until = visa, self._end(visa)
        return None if best is None else Met((best,), until)

    def _accepts(self, visa: Visa) -> bool:
        return (
            self.usable(visa.type, visa.value)
            and self.source in ("", visa.source)
            and (self.by is None or visa.by in self.by)
        )

    def _end(self, visa: Visa) -> float:
        age = self.max_assertion_age
        return min(visa.exp, visa.asserted + age) if age else visa.exp


@dataclass(frozen=True, slots=True)
class IdentityAtom:
    """One person at one issuer."""

    iss: str
    sub: str

    @property
    def key(self) -> Key:
        return ("identity", self.iss, self.sub)

    def met(self, principal: Principal, now: float) -> Met | None:
        """The caller itself."""
        del now
        return Met() if (principal.iss, principal.sub) == (self.iss, self.sub) else None


@dataclass(frozen=True, slots=True)
class ClaimAtom:
    """A claim of the token that has a text among its values. `iss` "": of any configured issuer."""

    claim: str
    contains: str
    iss: str = ""

    @property
    def key(self) -> Key:
        return ("claim", self.claim, self.contains)

    def met(self, principal: Principal, now: float) -> Met | None:
        """What the token says."""
        del now
        if principal.is_anonymous or self.iss not in ("", principal.iss):
            return None
        return Met() if self.contains in principal.claims.get(self.claim, ()) else None


Atom = VisaAtom | IdentityAtom | ClaimAtom


@dataclass(frozen=True, slots=True)
class Who:
    """All of `all_of` and, if there are any, one of `any_of`; or, `public`, everybody.

    Nobody, where neither says anything. `clients`, `networks`: None for any.
    """

    all_of: tuple[Atom, ...] = ()
    any_of: tuple[Atom, ...] = ()
    clients: frozenset[str] | None = None
    networks: tuple[Network, ...] | None = None
    public: bool = False

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Every condition on the person."""
        return self.all_of + self.any_of

    @property
    def is_nobody(self) -> bool:
        """Whether it is left out who this is for."""
        return not (self.public or self.atoms)

    def keys(self, rarity: Callable[[Key], int]) -> tuple[Key, ...]:
        """Keys of which whoever this is for has at least one; the rarest that will do."""
        if self.public:
            return (EVERYBODY,)
        if self.all_of:
            return (min((atom.key for atom in self.all_of), key=rarity),)
        return tuple(dict.fromkeys(atom.key for atom in self.any_of))

    def met(self, principal: Principal, peer: str, now: float) -> Met | None:
        """By what, and how long, a caller at an address is meant; None when not."""
        if self.is_nobody or not self._is_here(principal, peer):
            return None
        visas: tuple[Visa, ...] = ()
        until = inf
        for atom in self.all_of:
            met = atom.met(principal, now)
            if met is None:
                return None
            visas += met.visas
            until = min(until, met.until)
        if self.any_of:
            met = next(filter(None, (atom.met(principal, now) for atom in self.any_of)), None)
            if met is None:
                return None
            visas += met.visas
            until = min(until, met.until)
        return Met(tuple(dict.fromkeys(visas)), until)

    def _is_here(self, principal: Principal, peer: str) -> bool:
        if self.clients is not None and principal.client_id not in self.clients:
            return False
        if self.networks is None:
            return True
        address = parse_address(peer)
        return address is not None and within(address, self.networks)


NOBODY = Who()


def keys_of(principal: Principal) -> Iterator[Key]:
    """Every key that a caller has."""
    yield EVERYBODY
    if principal.is_anonymous:
        return
    yield ("identity", principal.iss, principal.sub)
    for visa in principal.visas:
        yield from _visa_keys(visa.type, visa.value)
    for claim, values in principal.claims.items():
        for value in values:
            yield ("claim", claim, value)


def _visa_keys(type_: str, value: str) -> tuple[Key, ...]:
    exact = _visa_key(type_, value)
    if type_ != AFFILIATION:
        return (exact,)
    # The role ends at the first @ (Passport 1.2); a value without one is none.
    _, at, affiliation = value.partition("@")
    return (exact, _visa_key(AFFILIATION, f"*@{affiliation}")) if at else ()


def _visa_key(type_: str, value: str) -> Key:
    return ("visa", type_, value)
