"""One visa, by everything that can be wrong with it; nobody is asked, for nobody could be."""

import json
import time
from typing import Any

import pytest

from auth.errors import InvalidCredential
from auth.passports.conditions import parse_conditions
from auth.passports.trust import Assertion, Trust
from auth.passports.visas import Accepted, accept, registered_access, screen
from auth.principal import Visa
from tests.support.broker import Broker, SigningKey, segment
from tests.support.trusting import DAC, DATASET, TERMS, UNI, trust_in, visa_issuer

NOW = 1_790_000_000
ISSUER = Broker(url="https://visas.dac.example", clock=lambda: NOW)
TRUST = trust_in(visa_issuers=[visa_issuer(ISSUER)])
CUSTOM = "https://ras.nih.gov/visas/v1.1"


def grant(**changes: Any) -> str:
    """A good ControlledAccessGrants but for the changes."""
    about: dict[str, Any] = {"value": DATASET, "source": DAC, "by": "dac"}
    return ISSUER.visa("ControlledAccessGrants", **about | changes)


def judged(token: str, trust: Trust = TRUST, now: float = NOW) -> Accepted:
    return accept(screen(token, trust), now)


def reason(token: str, trust: Trust = TRUST, now: float = NOW) -> str:
    with pytest.raises(InvalidCredential) as caught:
        judged(token, trust, now)
    return caught.value.reason


def test_a_good_visa() -> None:
    found = judged(grant(jti="v-1"))
    assert found.visa == Visa(
        ISSUER.issuer,
        "a1b2@broker.example",
        "ControlledAccessGrants",
        DATASET,
        DAC,
        "dac",
        NOW - 1000,
        NOW + 7200,
        "v-1",
    )
    assert found.conditions is None
    assert found.linked == frozenset()


@pytest.mark.parametrize(
    "type_", [None, "JWT", "jwt", "application/vnd.ga4gh.visa+jwt", "VND.GA4GH.visa+jwt"]
)
def test_types_of_token(type_: str | None) -> None:
    judged(grant(header={"typ": type_}))


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        # V1
        ("", "visa.syntax"),
        ("a.b", "visa.syntax"),
        ("..", "visa.syntax"),
        (grant() + "=", "visa.syntax"),
        (grant()[:-1], "visa.syntax"),
        (grant(padding="x" * (16 << 10)), "visa.size"),
        (ISSUER.key.sign(b'{"iss":"a","iss":"b"}'), "visa.json"),
        (ISSUER.key.sign(b"[]"), "visa.json"),
        (ISSUER.key.sign(b"[" * 5000 + b"]" * 5000), "visa.json"),
        (grant(header={"crit": ["exp"]}), "visa.crit"),
        (grant(header={"typ": 1}), "visa.typ"),
        # V3
        (grant(header={"typ": "at+jwt"}), "visa.typ"),
        (grant(header={"typ": "vnd.ga4gh.passport+jwt"}), "visa.typ"),
        # the form
        (grant(header={"jku": None}), "visa.format"),
        (grant(scope="openid"), "visa.format"),
        (grant(scope="ga4gh_passport_v1 openid"), "visa.format"),
        (grant(scope=["openid"]), "visa.format"),
        (grant(header={"jku": None}, scope="openid"), "visa.format"),
        (grant(header={"jku": None}, scope="xopenid"), "visa.format"),
        # V4
        (grant(iss="https://visas.dac.example/"), "visa.iss"),
        (grant(iss=None), "visa.iss"),
        (grant(iss=[ISSUER.issuer]), "visa.iss"),
        # V5, and keys that a visa brings along
        (grant(header={"jku": ""}), "visa.jku"),
        (grant(header={"jku": [ISSUER.jku]}), "visa.jku"),
        (grant(header={"jwk": ISSUER.key.jwk}), "visa.key_header"),
        (grant(header={"x5u": "https://x"}), "visa.key_header"),
        # V6 and V15
        (grant(ga4gh_visa_v1=None), "visa.object"),
        (grant(ga4gh_visa_v1=[]), "visa.object"),
        (grant(visa={"type": None}), "visa.type"),
        (grant(visa={"type": ["ControlledAccessGrants"]}), "visa.type"),
        # V8
        (grant(sub=None), "visa.sub"),
        (grant(sub=""), "visa.sub"),
        (grant(sub=1), "visa.sub"),
        (grant(sub="x" * 256), "visa.sub"),
        (grant(iat=None), "visa.iat"),
        (grant(exp=None), "visa.exp"),
        (grant(exp=str(NOW + 60)), "visa.exp"),
        (grant(exp=True), "visa.exp"),
        (grant(jti=1), "visa.jti"),
        (grant(jti="x" * 256), "visa.jti"),
        # V9
        (grant(exp=NOW), "visa.exp"),
        (grant(exp=NOW - 1), "visa.exp"),
        (grant(exp=(NOW + 60) * 1000), "visa.exp"),
        (grant(iat=NOW + 31), "visa.iat"),
        (grant(nbf=NOW + 31), "visa.nbf"),
        (grant(nbf="x"), "visa.nbf"),
        # V10
        (grant(visa={"asserted": None}), "visa.asserted"),
        (grant(visa={"asserted": str(NOW)}), "visa.asserted"),
        (grant(visa={"asserted": True}), "visa.asserted"),
        (grant(visa={"asserted": -1}), "visa.asserted"),
        (grant(visa={"asserted": NOW + 31}), "visa.asserted"),
        # V11
        (grant(value=None), "visa.value"),
        (grant(value=""), "visa.value"),
        (grant(value="x" * 256), "visa.value"),
        (grant(value=[DATASET]), "visa.value"),
        # V12
        (grant(source=None), "visa.source"),
        (grant(source=[DAC]), "visa.source"),
        (grant(source="https://no.organization"), "visa.source"),
        # V13
        (grant(visa={"by": "DAC"}), "visa.by"),
        (grant(visa={"by": "committee"}), "visa.by"),
        (grant(visa={"by": ""}), "visa.by"),
        (grant(visa={"by": ["dac"]}), "visa.by"),
        # V14
        (grant(visa={"conditions": {}}), "visa.conditions"),
        (grant(visa={"conditions": [[]]}), "visa.conditions"),
        (grant(visa={"conditions": [[{"type": "AffiliationAndRole"}]]}), "visa.conditions"),
    ],
)
def test_what_is_wrong_with_it(token: str, expected: str) -> None:
    assert reason(token) == expected


@pytest.mark.parametrize(
    "token",
    [
        grant(exp=NOW + 1),
        grant(iat=NOW + 30),
        grant(nbf=NOW + 30),
        grant(visa={"asserted": NOW + 30}),
        grant(visa={"asserted": 0}),
        grant(value="x" * 255),
        grant(jti=None),
        grant(visa={"by": "self"}),  # good by itself: policy asks for "dac"
        grant(visa={"more": {"of": "anything"}}),
        grant(scope="profile"),
    ],
)
def test_what_is_just_right(token: str) -> None:
    judged(token)


@pytest.mark.security("TV4")
@pytest.mark.parametrize(
    "jku",
    [
        "https://visas.dac.example/JWKS",
        "https://visas.dac.example/jwks/",
        "https://visas.dac.example/other",
        "https://visas.dac.example/jwks?x",
        "https://visas.dac.example/jwks#x",
        "https://visas.dac.example:443/jwks",
        "https://visas.dac.example:8443/jwks",
        "https://VISAS.dac.example/jwks",
        "HTTPS://visas.dac.example/jwks",
        "http://visas.dac.example/jwks",
        "https://visas.dac.example@evil/jwks",
        "https://visas.dac.example./jwks",
        "https://visas.dac.example/./jwks",
        "https://visas.dac.ex\u0430mple/jwks",
        "https://xn--visas.dac.example/jwks",
        "https://visas.dac.example/jwks ",
        "https://evil.example/jwks",
    ],
)
def test_the_key_url_is_compared_to_the_letter(jku: str) -> None:
    assert reason(grant(header={"jku": jku})) == "visa.jku"


@pytest.mark.security("TV5")
def test_an_issuer_asserts_what_it_may() -> None:
    only_terms = trust_in(visa_issuers=[visa_issuer(ISSUER, {"AcceptedTermsAndPolicies": [DAC]})])
    assert reason(grant(), only_terms) == "visa.type"
    judged(ISSUER.visa("AcceptedTermsAndPolicies", TERMS, DAC, "self"), only_terms)


@pytest.mark.security("TV6")
@pytest.mark.parametrize(
    "source", [UNI, DAC + "/", DAC.upper(), "HTTPS" + DAC[5:], DAC + "#", "dac.hospital.example"]
)
def test_the_source_is_compared_to_the_letter(source: str) -> None:
    assert reason(grant(source=source)) == "visa.source"


def test_sources_are_trusted_by_value_where_the_file_says_so() -> None:
    only = Assertion(frozenset((DAC,)), frozenset((DATASET,)))
    trust = trust_in(visa_issuers=[visa_issuer(ISSUER, {"ControlledAccessGrants": only})])
    judged(grant(), trust)
    assert reason(grant(value=DATASET + "/"), trust) == "visa.source"


@pytest.mark.security("TV7")
@pytest.mark.parametrize(
    ("type_", "by", "good"),
    [
        ("ControlledAccessGrants", None, False),
        ("ControlledAccessGrants", "dac", True),
        ("AcceptedTermsAndPolicies", None, False),
        ("AcceptedTermsAndPolicies", "self", True),
        ("AcceptedTermsAndPolicies", "so", True),
        ("AcceptedTermsAndPolicies", "dac", False),
        ("ResearcherStatus", None, True),
        ("ResearcherStatus", "peer", True),
        ("AffiliationAndRole", None, True),
    ],
)
def test_by_whom(type_: str, by: str | None, good: bool) -> None:
    source = DAC if type_ == "ControlledAccessGrants" else UNI
    token = ISSUER.visa(type_, "role@uni.example", source, by)
    if good:
        assert judged(token).visa.by == (by or "")
    else:
        assert reason(token) == "visa.by"


@pytest.mark.security("TV9")
@pytest.mark.parametrize(
    "conditions",
    [[[{"type": "T", "by": "const:so"}] * 300], [[{"type": "T", "by": "const:so"}]] * 300],
)
def test_many_conditions_cost_little(conditions: object) -> None:
    token = grant(visa={"conditions": conditions})
    began = time.process_time()
    assert reason(token) == "visa.conditions"
    assert time.process_time() - began < 0.05


def test_conditions_are_kept_apart_from_their_absence() -> None:
    clauses = [[{"type": "AffiliationAndRole", "by": "const:so"}]]
    assert judged(grant(visa={"conditions": []})).conditions == ()
    assert judged(grant(visa={"conditions": clauses})).conditions == parse_conditions(clauses)


@pytest.mark.security("TV13")
@pytest.mark.parametrize("alg", ["HS256", "none", "PS256", "ES384", "RS512", "es256", "EdDSA"])
def test_other_algorithms(alg: str) -> None:
    _, payload, signature = grant().split(".")
    header = {"typ": "JWT", "alg": alg, "kid": "x", "jku": ISSUER.jku}
    token = f"{segment(json.dumps(header).encode())}.{payload}.{signature}"
    assert reason(token) == "visa.alg"


@pytest.mark.security("TV18")
@pytest.mark.parametrize("type_", ["controlledaccessgrants", CUSTOM, "", "ControlledAccessGrants "])
def test_types_that_nobody_enabled(type_: str) -> None:
    assert reason(grant(visa={"type": type_})) == "visa.type"


def test_a_custom_type_that_is_enabled() -> None:
    trust = trust_in(visa_issuers=[visa_issuer(ISSUER, {CUSTOM: [DAC]})])
    assert judged(grant(visa={"type": CUSTOM, "by": None}), trust).visa.type == CUSTOM


@pytest.mark.security("TV12")
def test_visas_that_are_access_tokens() -> None:
    token = grant(header={"jku": None, "typ": "at+jwt"}, scope="openid ga4gh_passport_v1")
    assert reason(token) == "visa.format"
    both = visa_issuer(ISSUER, formats=frozenset(("document", "access_token")))
    claimed = screen(token, trust_in(visa_issuers=[both]))
    assert claimed.form == "access_token"
    assert screen(grant(), trust_in(visa_issuers=[both])).form == "document"


def test_ids_that_are_required() -> None:
    trust = trust_in(visa_issuers=[visa_issuer(ISSUER, require_jti=True)])
    assert reason(grant(jti=None), trust) == "visa.jti"
    judged(grant(jti="v-1"), trust)


def test_what_was_asserted_too_long_ago() -> None:
    recent = Assertion(frozenset((DAC,)), max_age=3600)
    trust = trust_in(visa_issuers=[visa_issuer(ISSUER, {"ControlledAccessGrants": recent})])
    token = grant(visa={"asserted": NOW - 3000}, exp=NOW + 100 * 365 * 86_400)
    assert judged(token, trust).visa.exp == NOW + 600
    assert reason(token, trust, NOW + 600) == "visa.exp"


@pytest.mark.parametrize("value", ["a", "a,b,c", "%ff,x"])
def test_links_that_mean_nothing(value: str) -> None:
    assert reason(ISSUER.visa("LinkedIdentities", value, UNI, None)) == "visa.linked"


def test_links() -> None:
    found = judged(ISSUER.visa("LinkedIdentities", "b%40x,https%3A%2F%2Fy", UNI, "system"))
    assert found.linked == {(ISSUER.issuer, "a1b2@broker.example"), ("https://y", "b@x")}


def test_nothing_is_believed_by_the_key_alone() -> None:
    """Signatures are for the reader: a visa of a stranger's key is screened like another."""
    assert screen(grant(key=SigningKey.make(number=7)), TRUST).value == DATASET


def held(type_: str, value: str = TERMS, exp: int = NOW + 60) -> Visa:
    return Visa("i", "s", type_, value, UNI, "so", NOW - 60, exp)


RESEARCHER, ACCEPTED = held("ResearcherStatus"), held("AcceptedTermsAndPolicies")


@pytest.mark.security("TV17")
@pytest.mark.parametrize(
    ("visas", "terms"),
    [
        ([RESEARCHER, ACCEPTED], {TERMS}),
        ([RESEARCHER], set()),
        ([ACCEPTED], set()),
        ([RESEARCHER, held("AcceptedTermsAndPolicies", TERMS + "/")], set()),
        ([RESEARCHER, held("AcceptedTermsAndPolicies", exp=NOW)], set()),
        ([held("ResearcherStatus", exp=NOW), ACCEPTED], set()),
        ([RESEARCHER, RESEARCHER, held("ResearcherStatus", "x"), ACCEPTED], {TERMS}),
        ([], set()),
    ],
)
def test_registered_access_needs_both(visas: list[Visa], terms: set[str]) -> None:
    assert registered_access(visas, NOW) == terms
