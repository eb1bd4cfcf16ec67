"""Opaque tokens: their issuer is asked about them (RFC 7662), as the client that we are there."""

from base64 import b64encode
from urllib.parse import quote_plus, urlencode

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.fetching import Fetch, FetchFailed
from auth.strict_json import strict_json_object

_MAX_ANSWER = 64 << 10


class Introspection:
    """Asks `url` with a client id and secret of ours."""

    def __init__(self, issuer: str, url: str, client: str, secret: str, fetch: Fetch) -> None:
        self.issuer = issuer
        self._url = url
        self._fetch = fetch
        pair = f"{quote_plus(client)}:{quote_plus(secret)}"  # RFC 6749 2.3.1
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    async def claims(self, token: str) -> dict[str, object]:
        """What the issuer says of an active token, its `iss` added where it is left out: the
        configured issuer itself was asked.

        `InvalidCredential`: the token is not active, or another's. `AuthorityUnavailable`: no
        answer that can be used.
        """
        form = urlencode({"token": token, "token_type_hint": "access_token"})
        try:
            answer = await self._fetch(
                "POST", self._url, headers=self._headers, body=form.encode("ascii")
            )
        except FetchFailed:
            raise AuthorityUnavailable("introspection.unreachable") from None
        if answer.status != 200:
            raise AuthorityUnavailable("introspection.status")
        if answer.content_type != "application/json" or len(answer.body) > _MAX_ANSWER:
            raise AuthorityUnavailable("introspection.answer")
        try:
            claims = strict_json_object(answer.body)
        except ValueError:
            raise AuthorityUnavailable("introspection.answer") from None
        if claims.get("active") is not True:
            raise InvalidCredential("token.inactive")
        if claims.setdefault("iss", self.issuer) != self.issuer:
            raise InvalidCredential("token.iss")
        return claims
