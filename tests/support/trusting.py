"""Trust in the brokers of tests, said in values as the trust file says it in TOML."""

from collections.abc import Mapping, Sequence
from typing import Any

from auth.passports.trust import Assertion, Trust, VisaIssuer
from auth.passports.trust import Broker as TrustedBroker
from auth.tokens.token_issuer import TokenIssuer
from tests.support.broker import AUDIENCE, CLIENT, Broker

DATASET = "https://data.hospital.example/datasets/CARDIO-01"
DAC = "https://dac.hospital.example"
UNI = "https://ror.example/uni"
TERMS = "https://doi.org/10.1038/s41431-018-0219-y"

EVERYTHING: Mapping[str, Sequence[str]] = {
    "ControlledAccessGrants": [DAC],
    "ResearcherStatus": [UNI],
    "AcceptedTermsAndPolicies": [UNI],
    "AffiliationAndRole": [UNI],
    "LinkedIdentities": [UNI],
}


def trusted_broker(
    broker: Broker, *, identity_rule: str = "linked", userinfo_url: str = "", **changes: Any
) -> TrustedBroker:
    """Trust in who makes passports; `changes` are of its `TokenIssuer`."""
    values: dict[str, Any] = {
        "audiences": frozenset((AUDIENCE,)),
        "client_ids": frozenset((CLIENT,)),
        "passports": True,
    }
    tokens = TokenIssuer(broker.issuer, **values | changes)
    return TrustedBroker(tokens, frozenset(("userinfo", "passport")), identity_rule, userinfo_url)


def visa_issuer(
    broker: Broker, may_assert: Mapping[str, Sequence[str] | Assertion] = EVERYTHING, **changes: Any
) -> VisaIssuer:
    """Trust in who signs visas: of which types, on behalf of which sources."""
    assertions = {
        name: (each if isinstance(each, Assertion) else Assertion(frozenset(each)),)
        for name, each in may_assert.items()
    }
    values: dict[str, Any] = {
        "jku": broker.jku,
        "formats": frozenset(("document",)),
        "may_assert": assertions,
    }
    return VisaIssuer(broker.issuer, **values | changes)


def trust_in(
    brokers: Sequence[TrustedBroker] = (), visa_issuers: Sequence[VisaIssuer] = ()
) -> Trust:
    """Trust in these and nobody else."""
    return Trust(
        {each.tokens.issuer: each for each in brokers},
        {each.issuer: each for each in visa_issuers},
    )
