"""From the settings to the issuers of access tokens, and to the way out to them."""

from collections.abc import Iterable, Mapping

from auth.errors import InvalidConfiguration
from auth.passports.trust import Trust
from auth.tokens.token_issuer import TokenIssuer
from server.auth_settings import AuthSection, Issuer
from server.outbound import Outbound

_LONGEST_ANSWER = 2 << 20  # bytes: UserInfo with all visas


def token_issuers(configured: Iterable[Issuer], trust: Trust) -> Mapping[str, TokenIssuer]:
    """Who makes access tokens: those of the settings, and the brokers. `InvalidConfiguration`."""
    issuers = {name: broker.tokens for name, broker in trust.brokers.items()}
    for each in configured:
        if each.issuer in issuers:
            raise InvalidConfiguration(
                f"auth.issuers: {each.issuer} is a broker in auth.passports; describe it there only"
            )
        if each.jwks_file is not None and not each.jwks_file.is_file():
            raise InvalidConfiguration(f"auth.issuers: {each.jwks_file}: no such file")
        secret = each.introspection_secret
        issuers[each.issuer] = TokenIssuer(
            issuer=each.issuer,
            audiences=frozenset(each.audience),
            client_ids=frozenset(each.client_ids),
            algorithms=frozenset(each.algorithms),
            scopes=frozenset(each.scopes),
            jwks_url=each.jwks_url,
            jwks_file=each.jwks_file,
            hosts=frozenset(each.hosts),
            allow_missing_aud=each.allow_missing_aud,
            max_token_lifetime=each.max_token_lifetime,
            leeway=each.leeway,
            introspection_url=each.introspection_url or "",
            introspection_client=each.introspection_client or "",
            introspection_secret="" if secret is None else secret.get_secret_value(),
        )
    return issuers


def way_out(section: AuthSection, issuers: Iterable[TokenIssuer], trust: Trust) -> Outbound:
    """To whom the settings and the trust file name, and to nobody else."""
    urls: list[str | None] = [section.decision_point]
    hosts: set[str] = set()
    for issuer in issuers:
        urls += [issuer.issuer, issuer.jwks_url, issuer.introspection_url]
        hosts |= issuer.hosts
    urls += [broker.userinfo_url for broker in trust.brokers.values()]
    for visas in trust.visa_issuers.values():
        urls += [visas.issuer, visas.jku]
        hosts |= visas.hosts
    named = [each for each in urls if each and "://" in each]
    return Outbound(
        named, hosts=hosts, private_hosts=section.private_hosts, max_bytes=_LONGEST_ANSWER
    )
