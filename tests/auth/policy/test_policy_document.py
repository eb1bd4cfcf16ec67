"""What a policy file may say. Every rule of security.md 13.2 has its refusal."""

import json
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.decision import Limits
from auth.errors import InvalidConfiguration
from auth.policy import evaluation as policy_module
from auth.policy.evaluation import load_policy
from auth.policy.grants import ClaimAtom, IdentityAtom, VisaAtom
from tests.support.policies import DATASET, OPEN, POLICY, SEQCOL, STATUS, grant, head, write_policy
from tests.support.samples import SHARED_DATA

EXAMPLE = SHARED_DATA.parent / "reference" / "policy-example.toml"


def refused(folder: Path, text: str, name: str = "policy.toml") -> str:
    with pytest.raises(InvalidConfiguration) as info:
        load_policy(write_policy(folder, text, name))
    return str(info.value)


def test_everything_is_read(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path))
    heart = policy.datasets[DATASET]
    assert heart.samples == tmp_path / "samples.csv"
    assert heart.withdrawn == tmp_path / "withdrawn.csv"
    assert heart.consent_max_age == 86_400
    assert heart.seqcol == SEQCOL
    assert policy.document.custodian == "Committee of the heart"
    assert policy.document.panels["genes"].regions.bases == 2100
    grants = {each.id: each for each in policy.document.grants}
    assert list(grants) == ["G-TEAM", "G-GENES", "G-MASKED", "G-CLIP", "G-OPEN"]
    genes = grants["G-GENES"]
    assert genes.who.all_of == (
        VisaAtom(
            "ControlledAccessGrants",
            DATASET,
            "https://dac.example",
            frozenset(["dac"]),
            365 * 86_400,
        ),
    )
    assert genes.limits == Limits(
        bases_per_request=5_000_000, bytes_per_day=7_000_000, requests_per_minute=60
    )
    assert genes.projection.header == "minimal"
    assert genes.partial == "deny"
    assert grants["G-MASKED"].projection.fields == frozenset({"QNAME", "POS", "SEQ"})
    assert grants["G-MASKED"].formats == {"BAM", "CRAM", "VCF", "BCF"}
    assert grants["G-CLIP"].who.any_of == (IdentityAtom("https://login.example/", "browser"),)
    assert policy.needs_visas
    assert policy.claims_used == set()
    assert set(policy.files) == {
        tmp_path / name
        for name in (
            "policy.toml",
            "panels/genes.bed",
            "panels/hidden.bed",
            "samples.csv",
            "withdrawn.csv",
        )
    }


def test_the_example_of_the_reference_loads_whole(tmp_path: Path) -> None:
    if not EXAMPLE.is_file():
        pytest.skip("the reference pages are not at hand")
    files = {
        "panels/cardio_v3.bed": "chr1\t156082572\t156140089\tLMNA\n"
        "chr2\t178525988\t178830802\tTTN\nchr3\t38548061\t38649628\tSCN5A\n",
        "panels/no_return.bed": "chr3\t36993331\t37050918\tMLH1\n",
        "maps/cardio.samples.csv": "object,sample,participant\n",
        "consent/cardio.withdrawn.csv": "participant,effective_from\n",
        "policy.toml": EXAMPLE.read_text(),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    policy = load_policy(tmp_path / "policy.toml")
    assert len(policy.document.expectations) == 3
    assert len(policy.document.grants) == 4


def test_json_is_the_same_policy(tmp_path: Path) -> None:
    as_json = json.dumps(tomllib.loads(POLICY), default=str)
    assert (
        load_policy(write_policy(tmp_path, as_json, "policy.json")).version
        == load_policy(write_policy(tmp_path)).version
    )


D = head()


@pytest.mark.security("TS5")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = [", "policy.toml:"),
        ('a = 1\na = 2\n', "policy.toml:"),
        ("", "schema: is missing"),
        ('schema = "htsget-policy/2"', "schema: must be"),
        (D + "custodain = 1", "custodain: no such key"),
        (D.replace("[[dataset]]", 'audit = "maybe"\n[[dataset]]'), "audit: 'maybe' is none of"),
        (D.replace("objects", "object"), "dataset D.object: no such key; the nearest is objects"),
        (head('["d/*"]'), "must begin with reads/"),
        (head('["reads/a*"]'), "a star stands for whole segments"),
        (head('"reads/*"'), "must be a list"),
        (head("[]"), "must not be empty"),
        (head('["reads/a", "reads/a"]'), "twice"),
        (head(more='samples = "none.csv"'), "samples: cannot be read"),
        (head(more='samples = "panels"'), "samples: is no file"),
        (head(more='withdrawn = "none.csv"'), "withdrawn: cannot be read"),
        (head(more='consent_max_age = "1 day"'), "must be a time span"),
        (head(more="consent_max_age = 86400"), "must be text"),
        (head(more='duo = ["GRU"]'), "write DUO:"),
        (head(more='seqcol = "abc"'), "32 characters"),
        (D + '[[dataset]]\nid = "D"\n', "dataset D: there are 2"),
        (D + grant("G") + grant("G"), "grant G: there are 2 of this id"),
        (D + grant("G", dataset="E"), "there is no E; the nearest is D"),
        (D + grant("G", ["panel:x"]), "there is no panel x"),
        (D + grant("G", ["chr1:5"]), "chr1:5"),
        (D + grant("G", ["ALL"]), 'write "all"'),
        (D + grant("G", ["unmapped"]), 'write "all"'),
        (D + grant("G", endpoints='["read"]'), "the nearest is reads"),
        (D + grant("G", what='formats = ["bam"]'), "the nearest is"),
        (D + grant("G", what='classes = ["body"]'), "say header, too"),
        (D + grant("G", what='samples = ["all"]'), "without brackets"),
        (D + grant("G", what='fields = ["POZ"]'), "the nearest is POS"),
        (D + grant("G", what='fields = ["POS"]', endpoints='["variants"]'), "are those of reads"),
        (D + grant("G", what='tags_deny = ["SAM"]'), "is no tag"),
        (D + grant("G", what='tag_deny = ["SA"]'), "the nearest is tags_deny"),
        (D + grant("G", how='mode = "block"'), "the nearest is blocks"),
        (D + grant("G", how='clip = true'), "no such key"),
        (D + grant("G", rest="[grant.limits]\nbases_per_day = 0"), "from 1"),
        (D + grant("G", rest="[grant.limits]\nbases_per_day = true"), "from 1"),
        (D + grant("G", rest='[grant.limits]\nbases_per_day = "1"'), "from 1"),
        (D + grant("G", rest="[grant.limits]\nbases_per_days = 1"), "nearest is bases_per_day"),
        (D + grant("G", rest="[grant.valid]\nfrom = 2026-01-01T00:00:00Z"), "must be a date"),
        (D + grant("G", rest='[grant.valid]\nuntil = "2026-02-30"'), "must be a date"),
        (D + grant("G", rest="[grant.valid]\nfrom = 2027-01-01\nuntil = 2026-01-01"), "before"),
        (D + grant("G", who='networks = ["10.0.0.0/8"]'), "names programs and networks"),
        (D + grant("G", who='public = true\nclients = ["igv"]'), "is everybody"),
        (D + grant("G", who='public = true\nall_of = [{iss="a", sub="b"}]'), "is everybody"),
        (D + grant("G", who="public = false"), "must be true"),
        (D + grant("G", who="public = 1"), "must be true"),
        (D + grant("G", who='any_of = [{iss="a"}]'), "sub: is missing"),
        (D + grant("G", who='any_of = [{iss="a", sub=""}]'), "sub: must be text"),
        (D + grant("G", who='any_of = [{visa="A", valu="b"}]'), "nearest is value"),
        (D + grant("G", who='any_of = [{visa="A"}]'), "value: is missing"),
        (D + grant("G", who='any_of = [{visa="A", value="b", by=["me"]}]'), "'me' is not known"),
        (D + grant("G", who='any_of = [{visa="AffiliationAndRole", value="b"}]'), "role@affil"),
        (D + grant("G", who='any_of = [{claim="g"}]'), "contains: is missing"),
        (D + grant("G", who='any_of = [{claim="g", contains="x", sub="y"}]'), "no such key"),
        (D + grant("G", who='any_of = ["me"]'), "must be a table"),
        (D + grant("G", who='all_of = {iss="a", sub="b"}'), "array of tables"),
        (D + grant("G", who='any_off = []'), "the nearest is any_of"),
        (D + grant("G", who='any_of = [{iss="a", sub="b"}]\nnetworks = ["10.0.0.1/8"]'), "10.20"),
        (D + '[[deny]]\nid = "X"\ndataset = "D"', "says nothing"),
        (D + '[[deny]]\nid = "X"\ndataset = "E"\nregions = ["all"]', "there is no E"),
        (
            D + '[[deny]]\nid = "X"\ndataset = "D"\nregions = ["all"]\nexcept_for = ["G"]',
            "there is no grant G",
        ),
        (D + '[[grant]]\nid = "G"\ndataset = "D"\nreason = "r"', "what: is missing"),
        (D + '[[grant]]\nid = "G G"\ndataset = "D"', "grant G G"),
        (
            D + grant("G").replace('reason = "a test"', ""),
            "grant G.reason: is missing",
        ),
        (D + '[panel.p]\nbed = "panels/genes.bed"\nsha256 = "00"', "64 hexadecimal digits"),
        (
            D + f'[panel.p]\nbed = "panels/genes.bed"\nsha256 = "{"0" * 64}"',
            "not the file that was approved",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, why: str) -> None:
    assert why in refused(tmp_path, text)


def panel(folder: Path, more: str, name: str = "genes") -> str:
    data = tomllib.loads(POLICY)["panel"][name]
    return f'[panel.{name}]\nbed = "{data["bed"]}"\nsha256 = "{data["sha256"]}"\n{more}\n'


def test_panels_are_for_the_build_of_the_dataset(tmp_path: Path) -> None:
    uses = grant("G", ["panel:genes"])
    bound = f'seqcol = "{SEQCOL}"'
    fine = head(more=bound) + panel(tmp_path, bound) + uses
    assert load_policy(write_policy(tmp_path, fine)).datasets["D"].seqcol == SEQCOL
    other = f'seqcol = "{SEQCOL[::-1]}"'
    assert "another build" in refused(tmp_path, head(more=bound) + panel(tmp_path, other) + uses)
    assert "another build" in refused(tmp_path, head() + panel(tmp_path, bound) + uses)
    two = (
        head()
        + panel(tmp_path, 'assembly = "GRCh37"')
        + panel(tmp_path, 'assembly = "GRCh38"', "hidden")
        + grant("G", ["panel:genes", "panel:hidden"])
    )
    assert "several builds" in refused(tmp_path, two)


WHOLE = '["all", "*"]'


@pytest.mark.security("TS3")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (grant("G", how='delivery = "direct"'), 'needs mode = "blocks"'),
        (
            grant("G", ["chr1:1-9"], how='mode = "blocks"\nheader = "full"\ndelivery = "direct"'),
            "hands out whole files",
        ),
        (grant("G", ["chr1:1-9"], how='mode = "blocks"\nheader = "full"'), "limited to regions"),
        *(
            (
                grant(
                    "G",
                    how='mode = "blocks"\nheader = "full"\ndelivery = "direct"',
                    rest=f"[grant.limits]\n{name} = 4\n",
                ),
                f"cannot keep limits.{name}",
            )
            for name in ("bytes_per_day", "concurrent_streams")
        ),
        (grant("G", ["all"], how='mode = "blocks"\nheader = "full"'), "unplaced"),
        (grant("G", how='mode = "blocks"'), "redacted header"),
        (
            grant("G", what='classes = ["header"]', how='mode = "blocks"\nheader = "full"'),
            "headers only",
        ),
        (
            grant("G", what='samples = ["S"]', how='mode = "blocks"\nheader = "full"'),
            "limited by samples",
        ),
        (
            grant("G", how='mode = "blocks"\nheader = "full"\nboundary = "mask"'),
            "limited by boundary",
        ),
        (
            grant("G", how='mode = "blocks"\nheader = "full"\ncrypt4gh = "required"'),
            "limited by crypt4gh",
        ),
        (
            grant("G", how='mode = "blocks"\nheader = "full"') + grant("H", ["chr1:1-9"]),
            "grant H: it is limited to regions",
        ),
        (
            grant("G", how='mode = "blocks"\nheader = "full"')
            + '[[deny]]\nid = "X"\ndataset = "D"\nregions = ["chr1:1-9"]\nexcept_for = ["G"]',
            "deny X takes something away",
        ),
    ],
)
def test_raw_bytes_are_for_whole_datasets_only(tmp_path: Path, text: str, why: str) -> None:
    assert why in refused(tmp_path, head() + text)


def test_what_people_can_withdraw_from_is_neither_public_nor_raw(tmp_path: Path) -> None:
    begin = head(more='withdrawn = "withdrawn.csv"')
    assert "nobody can take back" in refused(tmp_path, begin + grant("G", who="public = true"))
    blocks = grant("G", how='mode = "blocks"\nheader = "full"')
    assert "participants can withdraw" in refused(tmp_path, begin + blocks)


def test_what_is_restricted(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path))
    assert policy.is_restricted(OPEN) is None
    assert policy.is_restricted(DATASET) == "participants can withdraw from the dataset"
    assert policy.is_restricted("unknown") == "the policy knows no dataset unknown"
    assert dict(policy.restricted_datasets()) == {DATASET: policy.is_restricted(DATASET)}
    assert policy.direct_conflicts("open/") == {}
    assert policy.direct_conflicts("heart/") == {DATASET: policy.is_restricted(DATASET)}
    assert policy.direct_conflicts("") == policy.direct_conflicts("heart/")
    assert policy.direct_conflicts("else/") == {}
    assert set(policy.direct_conflicts("else/", DATASET)) == {DATASET}
    assert set(policy.direct_conflicts("else/", "unknown")) == {"unknown"}


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (grant("G", how='header = "full"'), None),
        (grant("G", ["all"], how='header = "full"'), "unplaced"),
        (grant("G", ["all"], how='header = "full"', endpoints='["variants"]'), None),
        (grant("G"), "redacted header"),
        (grant("G", ["chr1"], how='header = "full"'), "regions"),
        (grant("G", how='header = "full"\nmode = "header"'), "headers only"),
        (grant("G", how='header = "full"\nqname = "hash"'), "qname"),
        (grant("G", what='tags_deny = ["SA"]', how='header = "full"'), "tags_deny"),
        ('[[deny]]\nid = "X"\ndataset = "D"\nsamples = ["S"]\n', "deny X"),
    ],
)
def test_why_a_dataset_is_restricted(tmp_path: Path, rules: str, why: str | None) -> None:
    found = load_policy(write_policy(tmp_path, head() + rules)).is_restricted("D")
    assert (found is None) is (why is None)
    assert why is None or why in str(found)


@pytest.mark.security("TS5")
def test_expectations_are_executed(tmp_path: Path) -> None:
    wrong = POLICY.replace('outcome = "not_found"', 'outcome = "deny"')
    assert "expect 3: deny is expected, but it is not_found" in refused(tmp_path, wrong)
    wrong = POLICY.replace('outcome = "allow:G-GENES"', 'outcome = "allow:G-TEAM"')
    assert "but it is allow:G-GENES" in refused(tmp_path, wrong)
    load_policy(write_policy(tmp_path, wrong), expectations=False)


EXPECT = """
[[expect]]
at = 2026-06-01
subject = {subject}
request = {{ endpoint = "reads", object = "d/a", format = "BAM" }}
outcome = "{outcome}"
"""


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        (EXPECT.format(subject="{}", outcome="maybe"), "is allow:GRANT"),
        (EXPECT.format(subject="{}", outcome="allow"), "is allow:GRANT"),
        (EXPECT.format(subject="{}", outcome="deny:G"), "is allow:GRANT"),
        (EXPECT.format(subject="{}", outcome="deny:"), "is allow:GRANT"),
        (EXPECT.format(subject="{}", outcome="allow:H"), "there is no grant H; the nearest is G"),
        (EXPECT.format(subject="{public = true, sub = 'a'}", outcome="deny"), "nobody in part"),
        (EXPECT.format(subject="{name = 'a'}", outcome="deny"), "no such key"),
        (EXPECT.format(subject="{}", outcome="deny").replace("2026-06-01", '"june"'), "a date"),
        (EXPECT.format(subject="{}", outcome="deny").replace("2026-06-01", "12:00:00"), "a date"),
        (EXPECT.format(subject="{}", outcome="deny").replace("d/a", "d/a\\u0007"), "printable"),
        (
            EXPECT.format(subject="{}", outcome="deny").replace("[[expect]]", "[[expectt]]"),
            "expect",
        ),
    ],
)
def test_expectations_that_say_nothing(tmp_path: Path, expect: str, why: str) -> None:
    assert why in refused(tmp_path, head() + grant("G") + expect)


def test_claims_and_affiliations(tmp_path: Path) -> None:
    who = f"""any_of = [
      {{ claim = "groups", contains = "heart", iss = "https://login.example/" }},
      {{ visa = "AffiliationAndRole", value = "*@uni.example" }},
      {{ visa = "ResearcherStatus", value = "{STATUS}" }} ]"""
    policy = load_policy(write_policy(tmp_path, head() + grant("G", who=who)))
    assert policy.claims_used == {"groups"}
    assert policy.document.grants[0].who.any_of[0] == ClaimAtom(
        "groups", "heart", "https://login.example/"
    )
    assert policy.usable_visas("AffiliationAndRole", "faculty@uni.example")
    assert not policy.usable_visas("AffiliationAndRole", "faculty@uni.example.evil")
    assert not policy.usable_visas("AffiliationAndRole", "uni.example")
    assert policy.usable_visas("ResearcherStatus", STATUS)
    assert not policy.usable_visas("ResearcherStatus", f"{STATUS}/")
    assert not policy.usable_visas("ControlledAccessGrants", "D")


@pytest.mark.security("TC1")
def test_a_policy_says_whether_it_needs_visas(tmp_path: Path) -> None:
    assert load_policy(write_policy(tmp_path)).needs_visas
    assert not load_policy(write_policy(tmp_path, head() + grant("G"))).needs_visas


@pytest.mark.security("TS5")
def test_signatures(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    path = write_policy(tmp_path, head() + grant("G"))
    with pytest.raises(InvalidConfiguration, match=r"policy.toml.sig cannot be read"):
        load_policy(path, signer=key.public_key())
    beside = tmp_path / "policy.toml.sig"
    beside.write_bytes(key.sign(path.read_bytes()))
    load_policy(path, signer=key.public_key())
    for wrong in (key.sign(b"something else"), b"", b"\xff" * 64, b"not base64!"):
        beside.write_bytes(wrong)
        with pytest.raises(InvalidConfiguration, match="not signed by its custodian"):
            load_policy(path, signer=key.public_key())
    beside.write_bytes(Ed25519PrivateKey.generate().sign(path.read_bytes()))
    with pytest.raises(InvalidConfiguration, match="not signed"):
        load_policy(path, signer=key.public_key())


@pytest.mark.security("TS5")
def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfiguration, match=r"none.toml cannot be read"):
        load_policy(tmp_path / "none.toml")
    path = write_policy(tmp_path, "x = " + "[" * 100_000)
    with pytest.raises(InvalidConfiguration, match=r"policy.toml"):
        load_policy(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfiguration, match=r"policy.toml"):
        load_policy(path)
    for text in ("[]", "{", '{"schema": "htsget-policy/1", "schema": "htsget-policy/1"}', "NaN"):
        with pytest.raises(InvalidConfiguration):
            load_policy(write_policy(tmp_path, text, "policy.json"))
    monkeypatch.setattr(policy_module, "MAX_BYTES", 10)
    with pytest.raises(InvalidConfiguration, match="larger"):
        load_policy(write_policy(tmp_path))
