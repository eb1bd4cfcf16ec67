import json
from pathlib import Path

import pytest

from auth.errors import InvalidConfiguration
from auth.trust import Assertion, Trust, load_trust, parse_trust
from tests.support.broker import SigningKey

EXAMPLE = """
schema = "htsget-trust/1"
[[broker]]
issuer = "https://login.broker.example/oidc/"
algorithms = ["RS256", "ES256"]
audiences = ["https://htsget.hospital.example"]
client_ids = ["igv-web", "samtools-cli"]
flows = ["userinfo", "passport"]          # also "introspection"
identity_rule = "linked"
[[visa_issuer]]
issuer = "https://visas.dac.example/"
jku = "https://visas.dac.example/jwks"
formats = ["document"]
may_assert = [ { type = "ControlledAccessGrants", sources = ["https://dac.hospital.example"] } ]
[[visa_issuer]]
issuer = "https://login.broker.example/oidc/"
jku = "https://login.broker.example/oidc/jwk"
may_assert = [ { type = "AffiliationAndRole", sources = ["https://ror.example/uni"] }, \
{ type = "LinkedIdentities", sources = ["https://login.broker.example/oidc/"] } ]
"""
DAC = "https://visas.dac.example/"
SOURCE = "https://dac.hospital.example"


def parsed(text: str, folder: Path = Path()) -> Trust:
    return parse_trust(text.encode(), folder)


def test_the_example_of_the_specification() -> None:
    trust = parsed(EXAMPLE)
    (broker,) = trust.brokers.values()
    assert broker.issuer == "https://login.broker.example/oidc/"
    assert broker.algorithms == {"RS256", "ES256"}
    assert broker.audiences == {"https://htsget.hospital.example"}
    assert broker.client_ids == {"igv-web", "samtools-cli"}
    assert broker.flows == {"userinfo", "passport"}
    assert (broker.identity_rule, broker.leeway, broker.allow_missing_aud) == ("linked", 30, False)
    assert list(trust.visa_issuers) == [DAC, broker.issuer]
    dac = trust.visa_issuers[DAC]
    assert dac.jku == "https://visas.dac.example/jwks"
    assert dac.formats == {"document"}
    assert dac.may_assert == {"ControlledAccessGrants": (Assertion(frozenset((SOURCE,))),)}
    assert trust.visa_issuers[broker.issuer].formats == {"document"}


@pytest.mark.parametrize(
    ("type_", "source", "allowed"),
    [
        ("ControlledAccessGrants", SOURCE, True),
        ("ControlledAccessGrants", SOURCE + "/", False),
        ("ControlledAccessGrants", SOURCE.upper(), False),
        ("ControlledAccessGrants", "https://ror.example/uni", False),
        ("AffiliationAndRole", "https://ror.example/uni", True),
        ("AffiliationAndRole", SOURCE, False),
        ("ResearcherStatus", SOURCE, False),
        ("controlledaccessgrants", SOURCE, False),
    ],
)
def test_what_anybody_may_say(type_: str, source: str, allowed: bool) -> None:
    assert parsed(EXAMPLE).allows(type_, "any", source) is allowed


def test_several_assertions_of_one_type_and_custom_types() -> None:
    trust = parsed(
        f"""schema = "htsget-trust/1"
[[visa_issuer]]
issuer = "urn:example:dac"
jku = "https://visas.dac.example/jwks"
may_assert = [
{{ type = "ControlledAccessGrants", sources = ["{SOURCE}"], values = ["a", "b"] }},
{{ type = "ControlledAccessGrants", sources = ["https://other.example"], values = ["c"] }},
{{ type = "AcceptedTermsAndPolicies", sources = ["{SOURCE}"], max_assertion_age = "365d" }},
{{ type = "https://ras.nih.gov/visas/v1.1", sources = ["https://ncbi.nlm.nih.gov/gap"] }},
]
require_jti = true
"""
    )
    issuer = trust.visa_issuers["urn:example:dac"]
    assert issuer.require_jti
    assert issuer.assertion("ControlledAccessGrants", "a", SOURCE)
    assert issuer.assertion("ControlledAccessGrants", "c", "https://other.example")
    assert issuer.assertion("ControlledAccessGrants", "c", SOURCE) is None
    terms = issuer.assertion("AcceptedTermsAndPolicies", "anything", SOURCE)
    assert terms is not None
    assert terms.max_age == 365 * 86_400
    assert issuer.assertion("https://ras.nih.gov/visas/v1.1", "x", "https://ncbi.nlm.nih.gov/gap")


def test_nobody_is_trusted_by_an_empty_file() -> None:
    trust = parsed('schema = "htsget-trust/1"')
    assert not trust.brokers
    assert not trust.visa_issuers
    assert not trust.allows("ControlledAccessGrants", "a", SOURCE)


def test_the_version_changes_with_the_content() -> None:
    assert parsed(EXAMPLE).version == parsed(EXAMPLE).version
    assert parsed(EXAMPLE).version != parsed(EXAMPLE.replace("samtools-cli", "igv")).version


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('schema = "htsget-trust/1"', "", "schema is missing"),
        ("htsget-trust/1", "htsget-trust/2", 'schema is "htsget-trust/1"'),
        ("[[broker]]", "[[brokers]]", "unknown key 'brokers' (did you mean broker?)"),
        ("[[broker]]", "[broker]", "broker is an array"),
        ("audiences", "audience", "broker[1]: unknown key 'audience' (did you mean audiences?)"),
        ("jku", "JKU", "visa_issuer[1]: unknown key 'JKU' (did you mean jku?)"),
        ("flows = [", "# [", "broker[1]: flows is missing"),
        ('"userinfo", ', '"user_info", ', "flows cannot be 'user_info' (did you mean userinfo?)"),
        ('flows = ["userinfo", "passport"]', "flows = []", "flows is empty"),
        ('"RS256"', '"HS256"', "algorithms cannot be 'HS256'"),
        ('"RS256"', '"none"', "algorithms cannot be 'none'"),
        ('["RS256", "ES256"]', '["RS256", "RS256"]', "algorithms names something twice"),
        ('["RS256", "ES256"]', '"RS256"', "algorithms is an array"),
        ('rule = "linked"', 'rule = "link"', "cannot be 'link' (did you mean linked?)"),
        ('= ["igv-web", "samtools-cli"]', "= [1]", "client_ids holds a text"),
        ('"igv-web"', '" igv-web"', "client_ids holds blanks"),
        ('"igv-web"', '"igv\\nweb"', "client_ids holds blanks"),
        ('rule = "linked"', 'rule = "linked"\nleeway = 121', "leeway is a number from 0 to 120"),
        ('rule = "linked"', 'rule = "linked"\nleeway = true', "leeway is a number"),
        ('rule = "linked"', 'rule = "linked"\nallow_missing_aud = 1', "is true or false"),
        ('rule = "linked"', 'rule = "linked"\njwks_url = "http://a.b/"', "jwks_url is a https://"),
        ('rule = "linked"', 'rule = "linked"\nintrospection_client = "x"', "nothing is introspect"),
        ('"passport"]', '"introspection"]', "introspection needs introspection_client"),
        ('https://login.broker.example/oidc/"\nalg', 'login"\nalg', "issuer is a URL"),
        ("https://visas.dac.example/jwks", "http://visas.dac.example/jwks", "jku is a https://"),
        ("https://visas.dac.example/jwks", "file:///etc/passwd", "jku is a URL"),
        ("https://visas.dac.example/jwks", "https://a@b/jwks", "jku is a URL"),
        ("https://visas.dac.example/jwks", "https://a:x/jwks", "jku is a URL"),
        ('jku = "https://visas.dac.example/jwks"', "", "visa_issuer[1]: jku is missing"),
        ('["document"]', '["access_token"]', "jku and jwks_file are for visas of the format"),
        ('["document"]', '["documents"]', "formats cannot be 'documents' (did you mean document?)"),
        ("may_assert = [ { type", "may_assert = []\n#", "may_assert is missing"),
        (
            "ControlledAccessGrants",
            "controlledaccessgrants",
            "may_assert[1]: type 'controlledaccessgrants' is not known (did you mean Controlled",
        ),
        (', sources = ["https://dac.hospital.example"]', "", "may_assert[1]: sources is missing"),
        ('["https://dac.hospital.example"]', "[]", "sources is empty"),
        ("sources", "source", "unknown key 'source' (did you mean sources?)"),
        ("] } ]\n[[visa", '], max_assertion_age = "1y" } ]\n[[visa', "is a length of time"),
        ("] } ]\n[[visa", "], max_assertion_age = 60 } ]\n[[visa", "holds a text"),
        ('https://visas.dac.example/"\n', 'https://login.broker.example/oidc/"\n', "another visa"),
        ("[[visa_issuer]]", "[[visa_issuer]", "not TOML"),
        ("[[visa_issuer]]\n", "[[visa_issuer]]\nissuer = 'x'\n", "not TOML"),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, message: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(InvalidConfiguration) as caught:
        parsed(EXAMPLE.replace(old, new, 1))
    assert message in str(caught.value)


def test_two_brokers_of_one_issuer() -> None:
    broker = EXAMPLE.partition("[[broker]]")[2].partition("[[visa_issuer]]")[0]
    with pytest.raises(InvalidConfiguration, match="another broker has this issuer"):
        parsed(f"{EXAMPLE}[[broker]]{broker}")


def test_a_broker_for_nobody_in_particular() -> None:
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith(("aud", "client"))]
    with pytest.raises(InvalidConfiguration, match="give audiences or client_ids"):
        parsed("\n".join(lines))


def test_keys_in_files(tmp_path: Path) -> None:
    key = SigningKey.make()
    (tmp_path / "dac.json").write_text(json.dumps({"keys": [key.jwk]}))
    (tmp_path / "none.json").write_text('{"keys": []}')
    (tmp_path / "bad.json").write_text("[]")
    path = tmp_path / "trust.toml"
    jku = 'jku = "https://visas.dac.example/jwks"'

    def loaded(name: str, also: str = jku) -> Trust:
        path.write_text(EXAMPLE.replace(jku, f'{also}\njwks_file = "{name}"'))
        return load_trust(path)

    assert loaded("dac.json").visa_issuers[DAC].jwks_file == tmp_path / "dac.json"
    assert loaded("dac.json", 'jku = "not a place"').visa_issuers[DAC].jku == "not a place"
    for name, message in [
        ("missing.json", "No such file"),
        ("none.json", "no key that can be used"),
        ("bad.json", "no array of keys"),
    ]:
        with pytest.raises(InvalidConfiguration, match=rf"^trust.toml: visa_issuer.*{message}"):
            loaded(name)
    with pytest.raises(InvalidConfiguration, match="jku is missing"):
        loaded("dac.json", "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"^trust.toml: cannot be read"):
        load_trust(tmp_path / "trust.toml")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidConfiguration, match="not TOML"):
        parse_trust(b"\xff", Path())
