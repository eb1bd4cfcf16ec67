import json
from pathlib import Path

import pytest

from auth.errors import InvalidConfiguration
from auth.passports.trust import Assertion, Trust
from auth.passports.trust_document import load_trust, parse_trust
from auth.tokens.token_issuer import TokenIssuer
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
    assert broker.tokens == TokenIssuer(
        "https://login.broker.example/oidc/",
        frozenset(("https://htsget.hospital.example",)),
        frozenset(("igv-web", "samtools-cli")),
        passports=True,
    )
    assert list(trust.brokers) == [broker.tokens.issuer]
    assert broker.flows == {"userinfo", "passport"}
    assert (broker.identity_rule, broker.userinfo_url) == ("linked", "")
    assert list(trust.visa_issuers) == [DAC, broker.tokens.issuer]
    dac = trust.visa_issuers[DAC]
    assert dac.jku == "https://visas.dac.example/jwks"
    assert dac.formats == {"document"}
    assert dac.may_assert == {"ControlledAccessGrants": (Assertion(frozenset((SOURCE,))),)}
    assert trust.visa_issuers[broker.tokens.issuer].formats == {"document"}


@pytest.mark.parametrize(
    ("type_", "source", "allowed"),
    [
        ("ControlledAccessGrants", SOURCE, True),
        ("ControlledAccessGrants", "", True),
        ("ControlledAccessGrants", SOURCE + "/", False),
        ("ControlledAccessGrants", SOURCE.upper(), False),
        ("ControlledAccessGrants", "https://ror.example/uni", False),
        ("AffiliationAndRole", "https://ror.example/uni", True),
        ("AffiliationAndRole", SOURCE, False),
        ("ResearcherStatus", SOURCE, False),
        ("ResearcherStatus", "", False),
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
        ('schema = "htsget-trust/1"', "", "schema: is missing"),
        ("htsget-trust/1", "htsget-trust/2", 'schema: must be "htsget-trust/1"'),
        ("[[broker]]", "[[brokers]]", "brokers: no such key; the nearest is broker"),
        ("[[broker]]", "[broker]", "broker: must be an array of tables: [[broker]]"),
        ("audiences", "audience", "broker[1].audience: no such key; the nearest is audiences"),
        ("jku", "JKU", "visa_issuer[1].JKU: no such key"),
        ("flows = [", "# [", "broker[1].flows: is missing"),
        ('"userinfo", ', '"user_info", ', "'user_info' is not known; the nearest is userinfo"),
        ('flows = ["userinfo", "passport"]', "flows = []", "flows: must not be empty"),
        ('"RS256"', '"HS256"', "broker[1].algorithms: 'HS256' is not known"),
        ('"RS256"', '"none"', "broker[1].algorithms: 'none' is not known"),
        ('["RS256", "ES256"]', '["RS256", "RS256"]', "algorithms: names the same thing twice"),
        ('["RS256", "ES256"]', '"RS256"', "algorithms: must be a list"),
        ('rule = "linked"', 'rule = "link"', "the nearest is linked"),
        ('= ["igv-web", "samtools-cli"]', "= [1]", "client_ids: must be text"),
        ('"igv-web"', '" igv-web"', "client_ids: must be"),
        ('"igv-web"', '"igv\\nweb"', "client_ids: must be"),
        (
            'rule = "linked"',
            'rule = "linked"\nleeway = 121',
            "broker[1]: issuer https://login.broker.example/oidc/: leeway is 0",
        ),
        ('rule = "linked"', 'rule = "linked"\nleeway = true', "leeway: must be a whole number"),
        (
            'rule = "linked"',
            'rule = "linked"\nallow_missing_aud = 1',
            "allow_missing_aud: must be true",
        ),
        (
            'rule = "linked"',
            'rule = "linked"\njwks_url = "http://a.b/"',
            "jwks_url: must be a https://",
        ),
        (
            'rule = "linked"',
            'rule = "linked"\nintrospection_client = "x"',
            "introspection goes with",
        ),
        ('"passport"]', '"introspection"]', "introspection goes with"),
        (
            'https://login.broker.example/oidc/"\nalg',
            'login"\nalg',
            "broker[1].issuer: must be a URL",
        ),
        (
            "https://visas.dac.example/jwks",
            "http://visas.dac.example/jwks",
            "jku: must be a https://",
        ),
        ("https://visas.dac.example/jwks", "file:///etc/passwd", "jku: must be a URL"),
        ("https://visas.dac.example/jwks", "https://a@b/jwks", "jku: must be a URL"),
        ("https://visas.dac.example/jwks", "https://a:x/jwks", "jku: must be a URL"),
        ('jku = "https://visas.dac.example/jwks"', "", "visa_issuer[1].jku: is missing"),
        ('["document"]', '["access_token"]', "neither jku nor jwks_file"),
        ('["document"]', '["documents"]', "'documents' is not known; the nearest is document"),
        ("may_assert = [ { type", "may_assert = []\n#", "may_assert: is missing"),
        (
            "ControlledAccessGrants",
            "controlledaccessgrants",
            "may_assert[1].type: 'controlledaccessgrants' is not known; the nearest is Co",
        ),
        (', sources = ["https://dac.hospital.example"]', "", "may_assert[1].sources: is missing"),
        ('["https://dac.hospital.example"]', "[]", "sources: must not be empty"),
        ("sources", "source", "source: no such key; the nearest is sources"),
        (
            "] } ]\n[[visa",
            '], max_assertion_age = "1y" } ]\n[[visa',
            "max_assertion_age: must be a time span",
        ),
        (
            "] } ]\n[[visa",
            "], max_assertion_age = 60 } ]\n[[visa",
            "max_assertion_age: must be text",
        ),
        (
            'https://visas.dac.example/"\n',
            'https://login.broker.example/oidc/"\n',
            "visa_issuer[2].issuer: another visa",
        ),
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
    with pytest.raises(InvalidConfiguration, match=r"broker\[2\].issuer: another broker"):
        parsed(f"{EXAMPLE}[[broker]]{broker}")


def test_a_broker_for_nobody_in_particular() -> None:
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith(("aud", "client"))]
    with pytest.raises(InvalidConfiguration, match="give audience or client_ids"):
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
    with pytest.raises(InvalidConfiguration, match="jku: is missing"):
        loaded("dac.json", "")


INTROSPECTION = """flows = ["introspection"]
introspection_url = "https://login.broker.example/introspect"
introspection_client = "htsgate"
introspection_secret_file = "secret"
"""


def test_introspection(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    text = EXAMPLE.replace('flows = ["userinfo", "passport"]', INTROSPECTION)
    (broker,) = parsed(text, tmp_path).brokers.values()
    assert broker.tokens.introspection_client == "htsgate"
    assert broker.tokens.introspection_secret == "s3cret"  # noqa: S105
    assert not broker.tokens.passports
    secret.chmod(0o604)
    with pytest.raises(InvalidConfiguration, match="others may read it"):
        parsed(text, tmp_path)
    secret.unlink()
    with pytest.raises(InvalidConfiguration, match="secret_file: cannot be read"):
        parsed(text, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"^trust.toml: cannot be read"):
        load_trust(tmp_path / "trust.toml")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidConfiguration, match="not TOML"):
        parse_trust(b"\xff", Path())
