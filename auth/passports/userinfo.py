"""What a broker's UserInfo says of a caller (OpenID Connect Core 5.3): their visas.

The answer is one meaning or none: whatever is odd about it makes it useless as a whole.
"""

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.fetching import Fetch, Fetched, FetchFailed
from auth.passports.trust import Broker
from auth.principal import Principal
from auth.strict_json import strict_json_object
from auth.tokens.claims import audiences, check_times
from auth.tokens.jose import claims_of, parse, verify
from auth.tokens.key_cache import KeyCache

MAX_VISAS = 512
MAX_VISA = 16 << 10
"""Characters of one visa."""

MAX_VISAS_TEXT = 1 << 20
"""Characters of all visas."""

MAX_ANSWER = 2 << 20
"""Bytes of an answer: visas that are in a signed one are encoded twice."""

_JSON, _JWT = "application/json", "application/jwt"
_JWT_TYPES = frozenset(("", "jwt"))
_REFUSED = frozenset((400, 401, 403))


class UserInfo:
    """The UserInfo of a broker, whose `keys` also tell where it is."""

    def __init__(self, broker: Broker, keys: KeyCache, fetch: Fetch) -> None:
        self._broker = broker
        self._keys = keys
        self._fetch = fetch

    async def visas(self, principal: Principal, token: str, now: float) -> tuple[str, ...]:
        """The visas of the caller whose access token it is; none is verified.

        `InvalidCredential`: the broker does not take the token, or says it is another's.
        `AuthorityUnavailable`: there is no answer that can be used.
        """
        url = self._broker.userinfo_url or (await self._keys.metadata()).userinfo_endpoint
        if not url:
            raise AuthorityUnavailable("userinfo.unknown")
        headers = {"Accept": f"{_JSON}, {_JWT}", "Authorization": f"Bearer {token}"}
        try:
            answer = await self._fetch("GET", url, headers=headers)
        except FetchFailed:
            raise AuthorityUnavailable("userinfo.unreachable") from None
        if answer.status in _REFUSED:
            raise InvalidCredential("userinfo.refused")
        if answer.status != 200:
            raise AuthorityUnavailable("userinfo.status")
        if len(answer.body) > MAX_ANSWER:
            raise AuthorityUnavailable("userinfo.size")
        claims = await self._claims(answer, principal, now)
        if claims.get("sub") != principal.sub:  # OIDC Core 5.3.2
            raise InvalidCredential("userinfo.sub")
        visas = visa_texts(claims.get("ga4gh_passport_v1", []))
        if visas is None or sum(map(len, visas)) > MAX_VISAS_TEXT:
            raise AuthorityUnavailable("userinfo.visas")
        return visas

    async def _claims(self, answer: Fetched, principal: Principal, now: float) -> dict[str, object]:
        if answer.content_type == _JWT:
            try:
                return await self._signed(answer.body, principal, now)
            except InvalidCredential as error:  # the broker's fault, not the caller's
                raise AuthorityUnavailable(f"userinfo.{error.reason}") from None
        if answer.content_type != _JSON:
            raise AuthorityUnavailable("userinfo.type")
        try:
            return strict_json_object(answer.body)
        except ValueError:
            raise AuthorityUnavailable("userinfo.json") from None

    async def _signed(self, body: bytes, principal: Principal, now: float) -> dict[str, object]:
        """The claims of a signed answer, made by the broker for us or for the caller's client."""
        issuer = self._broker.tokens
        compact = parse(body.decode("ascii", "replace"), max_bytes=MAX_ANSWER)
        if compact.alg not in issuer.algorithms:
            raise InvalidCredential("token.alg")
        if compact.typ not in _JWT_TYPES:
            raise InvalidCredential("token.typ")
        verify(compact, await self._keys.key(compact.kid, compact.alg))
        claims = claims_of(compact.payload)
        if claims.get("iss") != issuer.issuer:
            raise InvalidCredential("token.iss")
        readers = issuer.audiences | issuer.client_ids | ({principal.client_id} - {""})
        if not readers & (audiences(claims) or frozenset()):
            raise InvalidCredential("token.aud")
        if "exp" in claims:
            check_times(claims, now, leeway=issuer.leeway, iat_required=False)
        return claims


def visa_texts(value: object) -> tuple[str, ...] | None:
    """The visas of a `ga4gh_passport_v1`; None when it is not a list of texts of sensible size."""
    if not isinstance(value, list) or len(value) > MAX_VISAS:
        return None
    if not all(isinstance(each, str) and len(each) <= MAX_VISA for each in value):
        return None
    return tuple(value)
