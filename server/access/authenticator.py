"""From the `Authorization` of a request to a `Principal`, by whichever way the credential goes."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from auth.errors import InvalidCredential
from auth.passports.reader import PassportReader, is_passport
from auth.principal import ANONYMOUS, Principal
from auth.tokens.access_tokens import TokenVerifier
from auth.tokens.bearer import bearer_token
from auth.tokens.revocations import Revocations

_MOST_KEPT = 4096

Handles = Callable[[str], Awaitable[Principal | None]]
"""Finds whom a handle from `/auth/exchange` stands for."""


class Authenticator:
    """Access tokens, signed or opaque; passports as bearer where a broker's flows allow it; and
    handles for exchanged passports. `passports` and `handles` are None where nobody is trusted to
    make passports."""

    def __init__(
        self,
        verifier: TokenVerifier,
        revoked: Revocations,
        passports: PassportReader | None = None,
        handles: Handles | None = None,
    ) -> None:
        self._verifier = verifier
        self._revoked = revoked
        self._passports = passports
        self._handles = handles
        # The same object for the same caller: what policy found out of it is kept by that.
        self._known: OrderedDict[bytes, Principal] = OrderedDict()

    async def principal(self, lines: Sequence[str]) -> Principal:
        """Who asks, by all `Authorization` lines of a request.

        Raises `InvalidCredential` and its kinds, `AuthorityUnavailable`, `DatabaseUnavailable`.
        """
        token = bearer_token(lines)
        if token is None:
            return ANONYMOUS
        principal = self._verifier.cached(token)
        if principal is None:
            other = await self._other(token)
            if other is not None:
                return self._same(token, other)
            principal = await self._verifier.verify(token)
        if self._passports is None or not self._passports.asks_userinfo(principal.iss):
            return principal
        return self._same(token, await self._passports.of_userinfo(principal, token))

    def is_revoked(self, principal: Principal) -> bool:
        """Whether a caller, or the token it came with, is refused since."""
        try:
            self._revoked.check(principal.iss, principal.sub, principal.token_id)
        except InvalidCredential:
            return True
        return False

    async def _other(self, token: str) -> Principal | None:
        """Who brings a passport, or a handle for one; None if the token is neither."""
        if self._passports is None:
            return None
        if is_passport(token):
            return await self._passports.of_passport(token)
        return None if self._handles is None else await self._handles(token)

    def _same(self, token: str, principal: Principal) -> Principal:
        """The principal that this token gave before, if it is equal."""
        name = sha256(token.encode()).digest()  # tokens themselves are not kept
        known = self._known.get(name)
        if known is not None and _is_same(known, principal):
            return known
        self._known[name] = principal
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return principal


def _is_same(one: Principal, other: Principal) -> bool:
    """Whether two principals are equal, told in a moment."""
    return (
        one.visas is other.visas
        and one.identities is other.identities
        and (one.iss, one.sub, one.token_id, one.not_after)
        == (other.iss, other.sub, other.token_id, other.not_after)
    )
