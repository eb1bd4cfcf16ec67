"""An issuer of access tokens as configured, and what it asks of their claims (security A11-A17)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auth.errors import InsufficientScope, InvalidConfiguration, InvalidCredential
from auth.principal import Principal
from auth.tokens.claims import check_audience, check_times, subject, token_id

ALGORITHMS = frozenset(("RS256", "ES256", "PS256", "EdDSA"))
"""What an issuer may be configured to sign with. None of them needs a secret of ours."""

PASSPORT_SCOPES = frozenset(("openid", "ga4gh_passport_v1"))

_MOST_LEEWAY = 120

# Claims of other kinds of tokens: GA4GH passports and visas, ID tokens, security events.
_OF_OTHER_KINDS = ("at_hash", "c_hash", "events", "ga4gh_passport_v1", "ga4gh_visa_v1")
# Two widespread issuers (Keycloak, Cognito) say what a token is for in a claim of their own.
_PURPOSES = {"typ": ("bearer", "at+jwt"), "token_use": ("access",)}


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Who vouches for callers, and for which tokens. Times are in seconds.

    A token must name one of `audiences`; where none are given, one of `client_ids`, as GA4GH has
    it. With `client_ids`, it must have been issued to one of these. `scopes` are needed, and with
    `passports` those of the GA4GH too. `scp_array`: scopes may come as an array `scp`. Keys by
    discovery unless `jwks_url` or `jwks_file`; `hosts` may hold keys and UserInfo besides the
    issuer's own. `InvalidConfiguration` when a token could be accepted without judgement.
    """

    issuer: str
    audiences: frozenset[str] = frozenset()
    client_ids: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset(("RS256", "ES256"))
    scopes: frozenset[str] = frozenset()
    jwks_url: str | None = None
    jwks_file: Path | None = None
    hosts: frozenset[str] = frozenset()
    allow_missing_aud: bool = False
    scp_array: bool = False
    max_token_lifetime: int = 86_400
    leeway: int = 30
    passports: bool = False
    introspection_url: str = ""
    introspection_client: str = ""
    introspection_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        wrong = ""
        if not self.issuer:
            wrong = "it has no name"
        elif not (self.audiences or self.client_ids):
            wrong = "give audience or client_ids"
        elif not self.algorithms or not self.algorithms <= ALGORITHMS:
            wrong = f"algorithms are of {', '.join(sorted(ALGORITHMS))}"
        elif self.jwks_url and self.jwks_file:
            wrong = "give either jwks_url or jwks_file"
        elif not 0 <= self.leeway <= _MOST_LEEWAY or self.max_token_lifetime <= 0:
            wrong = f"leeway is 0 to {_MOST_LEEWAY} s, max_token_lifetime more than 0"
        elif self.introspection_url and not (
            self.introspection_client and self.introspection_secret
        ):
            wrong = "introspection_url needs introspection_client and introspection_secret"
        if wrong:
            raise InvalidConfiguration(f"issuer {self.issuer}: {wrong}")

    @property
    def needed_scopes(self) -> frozenset[str]:
        """The scopes without which a token is of no use here."""
        return self.scopes | PASSPORT_SCOPES if self.passports else self.scopes

    def principal(
        self,
        claims: Mapping[str, object],
        now: float,
        *,
        token_digest: str,
        kept: frozenset[str],
        iat_required: bool = True,
    ) -> Principal:
        """The caller that verified claims tell of. `kept` names the claims that policy asks for.

        `InvalidCredential`; `InsufficientScope` when nothing but scopes is missing.
        """
        self._check_kind(claims)
        exp = check_times(
            claims,
            now,
            leeway=self.leeway,
            max_lifetime=self.max_token_lifetime,
            iat_required=iat_required,
        )
        client = self._client(claims)
        sub = subject(claims)
        scopes = self._scopes(claims)
        if not self.needed_scopes <= scopes:
            raise InsufficientScope("token.scope")
        return Principal(
            iss=self.issuer,
            sub=sub,
            client_id=client,
            scopes=scopes,
            identities=frozenset(((self.issuer, sub),)),
            claims={name: _texts(claims[name]) for name in sorted(kept & claims.keys())},
            not_after=exp,
            token_id=token_id(claims) or token_digest,
        )

    def _check_kind(self, claims: Mapping[str, object]) -> None:
        """Refuse what was signed for something else."""
        if any(name in claims for name in _OF_OTHER_KINDS):
            raise InvalidCredential("token.kind")
        for name, fine in _PURPOSES.items():
            purpose = claims.get(name, fine[0])
            if not isinstance(purpose, str) or purpose.lower() not in fine:
                raise InvalidCredential("token.kind")
        if "nonce" in claims and _PURPOSES.keys().isdisjoint(claims):
            raise InvalidCredential("token.kind")
        if not (self.audiences or self.needed_scopes or "scope" in claims or "scp" in claims):
            raise InvalidCredential("token.kind")  # ID tokens, too, are for a client
        if "cnf" in claims:  # bound to a key that a bearer does not show
            raise InvalidCredential("token.cnf")

    def check_audience(self, claims: Mapping[str, object]) -> None:
        """`InvalidCredential` unless a token is for us."""
        accepted = self.audiences or self.client_ids
        check_audience(claims, accepted, required=not self.allow_missing_aud)

    def _client(self, claims: Mapping[str, object]) -> str:
        """The client that the token was issued to, "" where it says nothing that can be used."""
        self.check_audience(claims)
        named = [claims[name] for name in ("azp", "client_id") if name in claims]
        client = named[0] if named and isinstance(named[0], str) else ""
        if self.client_ids and (client not in self.client_ids or named != [client] * len(named)):
            raise InvalidCredential("token.client")
        return client

    def _scopes(self, claims: Mapping[str, object]) -> frozenset[str]:
        scope = claims.get("scope")
        if isinstance(scope, str):
            return frozenset(scope.split(" ")) - {""}
        scp = claims.get("scp")
        if self.scp_array and isinstance(scp, list):
            return frozenset(each for each in scp if isinstance(each, str))
        return frozenset()


def _texts(value: object) -> tuple[str, ...]:
    """A claim as texts: one, or those of an array. Numbers and truth values as JSON writes them;
    of anything else, nothing."""
    values = value if isinstance(value, list) else [value]
    texts = []
    for each in values:
        if isinstance(each, bool):
            texts.append("true" if each else "false")
        elif isinstance(each, str | int):
            texts.append(str(each))
    return tuple(texts)
