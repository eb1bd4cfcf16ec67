"""What policy decides: the examples of security.md 13.3, and who a grant is for."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.decision import Decision, Limits, Outcome
from auth.policy.evaluation import NothingWithdrawn, Policy, load_policy
from auth.policy.region_sets import RegionSet
from auth.principal import ANONYMOUS, Principal
from formats.regions import Region
from tests.support.policies import (
    DATASET,
    NOW,
    OPEN,
    POLICY,
    STATUS,
    ask,
    asking,
    grant,
    head,
    person,
    visa,
    write_policy,
)

DAY = 86_400


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return load_policy(write_policy(tmp_path))


def made(folder: Path, *rules: str, begin: str | None = None) -> Policy:
    return load_policy(write_policy(folder, (begin or head()) + "".join(rules)))


def ended(decision: Decision) -> tuple[str, str]:
    return str(decision.outcome), str(decision.rule)


RESEARCHER = person("researcher", visa(), client_id="igv")
HERE = {"peer": "10.20.3.4"}
TEAM, BROWSER = person("clinician"), person("browser")
MASKED = person("masked", visa(f"{DATASET}/masked"))


def regions(decision: Decision) -> tuple[Region, ...]:
    assert isinstance(decision.permitted, RegionSet)
    return tuple(decision.permitted.regions())


@pytest.mark.parametrize(
    ("who", "asked", "outcome", "rule"),
    [
        (RESEARCHER, asking("heart/a", "chr2:5001-6000", **HERE), "allow", "allow.group"),
        (RESEARCHER, asking("heart/a", "chr3:151-152", **HERE), "deny", "region.not_granted"),
        (RESEARCHER, asking("heart/a", "chr3:101-200", **HERE), "deny", "region.not_granted"),
        (RESEARCHER, asking("heart/a", "chr3:161-200", **HERE), "allow", "allow.group"),
        (RESEARCHER, asking("heart/a", **HERE), "deny", "region.not_granted"),
        (RESEARCHER, asking("heart/a", "*", **HERE), "deny", "region.not_granted"),
        (RESEARCHER, asking("heart/a", "chr2", **HERE), "deny", "region.not_granted"),
        (
            RESEARCHER,
            asking("heart/joint", "chr2:5001-6000", endpoint="variants", format="VCF", **HERE),
            "not_found",
            "object.not_visible",
        ),
        (
            RESEARCHER,
            asking("heart/a", "chr2:5001-6000", format="VCF", **HERE),
            "deny",
            "format.not_granted",
        ),
        (RESEARCHER, asking("heart/a", data_class="header", **HERE), "allow", "allow.group"),
        (RESEARCHER, asking("heart/a", "chr2:5001-6000"), "not_found", "object.not_visible"),
        (RESEARCHER, asking("heart/a/b", **HERE), "not_found", "object.not_visible"),
        (RESEARCHER, asking("unknown", **HERE), "not_found", "object.not_visible"),
        (TEAM, asking("heart/a"), "allow", "allow.group"),
        (TEAM, asking("heart/a", "chr3:151-152"), "allow", "allow.group"),
        (MASKED, asking("heart/a", "chr2:5001-6000"), "deny", "projection.unsupported"),
        (MASKED, asking("heart/a", "chr9:1-2"), "deny", "region.not_granted"),
        (ANONYMOUS, asking("open/a"), "allow", "allow.public"),
        (TEAM, asking("open/a"), "allow", "allow.public"),
        (ANONYMOUS, asking("open/a", format="SAM"), "deny", "format.not_granted"),
        (ANONYMOUS, asking("heart/a"), "unauthenticated", "credential.missing"),
        (ANONYMOUS, asking("heart/a", format="SAM"), "unauthenticated", "credential.missing"),
        (ANONYMOUS, asking("unknown"), "unauthenticated", "credential.missing"),
    ],
)
def test_decisions(policy: Policy, who: Principal, asked: object, outcome: str, rule: str) -> None:
    decision = ask(policy, who, asked)  # type: ignore[arg-type]
    assert ended(decision) == (outcome, rule)
    assert decision.allowed is (outcome == "allow")
    assert decision.policy_version == policy.version
    assert (decision.permitted is not None) is decision.allowed
    if not decision.allowed:
        assert decision.grant_ids == ()
        assert decision.visas == ()


def test_all_that_a_decision_says(policy: Policy) -> None:
    asked = asking("heart/a", "chr2:5001-6000", **HERE)
    decision = ask(policy, replace(RESEARCHER, not_after=int(NOW) + 500), asked)
    assert decision.dataset == DATASET
    assert decision.grant_ids == ("G-GENES",)
    assert decision.visas == RESEARCHER.visas
    assert decision.not_after == NOW + 500
    assert decision.limits.bytes_per_day == 7_000_000
    assert decision.delivery == "proxy"
    assert decision.projection.mode == "exact"
    assert decision.audit_required
    assert not decision.clipped
    assert regions(decision) == (
        Region("chr1", 1000, 2000),
        Region("chr1", 11_845_779, 11_848_345),
        Region("chr2", 5000, 6000),
        Region("chr3", 100, 150),
        Region("chr3", 160, 200),
    )
    opened = ask(policy, ANONYMOUS, asking("open/a/b/c"))
    assert (opened.dataset, opened.delivery, opened.not_after) == (OPEN, "direct", 0)
    assert opened.permitted is not None
    assert opened.permitted.is_whole
    assert not opened.audit_required
    assert ask(policy, MASKED, asking("heart/a", "chr2:5001-6000")).details == (
        "fields",
        "tags_deny",
        "boundary",
    )


@pytest.mark.security("TR9")
def test_clip(policy: Policy) -> None:
    decision = ask(policy, BROWSER, asking("heart/a", "chr1"))
    assert decision.clipped
    assert decision.permitted is not None
    assert decision.permitted.clip((Region("chr1"),), ("chr1",)) == (Region("chr1", 1000, 2000),)
    whole = ask(policy, BROWSER, asking("heart/a"))
    assert whole.clipped
    assert whole.permitted is not None
    assert whole.permitted.clip(None, ("chr2", "chr3")) == (
        Region("chr2", 5000, 6000),
        Region("chr3", 100, 150),
        Region("chr3", 160, 200),
    )
    inside = ask(policy, BROWSER, asking("heart/a", "chr1:1001-1010"))
    assert (inside.allowed, inside.clipped) == (True, False)
    nothing = ask(policy, BROWSER, asking("heart/a", "chr1:1-900"))
    assert ended(nothing) == ("deny", "region.not_granted")


@pytest.mark.security("TR4")
@pytest.mark.parametrize(("first", "last"), [(a, b) for a in (4, 5, 6) for b in (9, 10, 11)])
def test_borders(tmp_path: Path, first: int, last: int) -> None:
    policy = made(tmp_path, grant("G", ["chr1:5-10"]))
    asked = asking("d/a", f"chr1:{first}-{last}")
    assert asked.regions == (Region("chr1", first - 1, last),)
    assert ask(policy, person(), asked).allowed is (first >= 5 and last <= 10)


@pytest.mark.security("TR5")
def test_adjacent_grants_of_one_projection(tmp_path: Path) -> None:
    rules = (grant("A", ["chr1:1-10"]), grant("B", ["chr1:11-20"]), grant("C", ["chr1:22-30"]))
    policy = made(tmp_path, *rules)
    both = ask(policy, person(), asking("d/a", "chr1:5-15"))
    assert both.grant_ids == ("A", "B")
    assert regions(both) == (Region("chr1", 0, 20),)
    assert ask(policy, person(), asking("d/a", "chr1:5-10")).grant_ids == ("A",)
    apart = ask(policy, person(), asking("d/a", "chr1:15-25"))
    assert ended(apart) == ("deny", "region.not_granted")
    several = ask(policy, person(), asking("d/a", "chr1:1-20", "chr1:22-30"))
    assert several.grant_ids == ("A", "B", "C")


def test_projections_never_mix(tmp_path: Path) -> None:
    policy = made(
        tmp_path,
        grant("A", ["chr1:1-10"]),
        grant("B", ["chr1:11-20"], how='header = "full"'),
    )
    assert not ask(policy, person(), asking("d/a", "chr1:5-15")).allowed
    assert ask(policy, person(), asking("d/a", "chr1:5-6")).projection.header == "minimal"
    assert ask(policy, person(), asking("d/a", "chr1:15-16")).projection.header == "full"
    head_only = ask(policy, person(), asking("d/a", data_class="header"))
    assert (head_only.grant_ids, head_only.projection.header) == (("A",), "minimal")


def test_what_can_be_served_goes_before_what_cannot(tmp_path: Path) -> None:
    masked = grant("A", ["chr1:1-100"], how='boundary = "mask"')
    policy = made(tmp_path, masked, grant("B", ["chr1:1-50"]))
    assert ask(policy, person(), asking("d/a", "chr1:1-10")).grant_ids == ("B",)
    beyond = ask(policy, person(), asking("d/a", "chr1:60-70"))
    assert (ended(beyond), beyond.details) == (("deny", "projection.unsupported"), ("boundary",))
    decision, steps = policy.explain(
        person(), asking("d/a", "chr1:1-10"), consent=NothingWithdrawn(), now=NOW, as_written=True
    )
    assert decision.grant_ids == ("A",)
    assert any("A" in step for step in steps)
    clipping = made(tmp_path, masked, grant("B", ["chr1:1-50"], how='partial = "clip"'))
    part = ask(clipping, person(), asking("d/a", "chr1:40-70"))
    assert (part.grant_ids, part.clipped) == (("B",), True)


@pytest.mark.parametrize(
    ("fields", "tags", "asked_fields", "asked_tags", "fine"),
    [
        (None, [], None, None, True),
        (None, [], {"SEQ"}, {"SA"}, True),
        (["POS"], [], None, None, True),
        (["POS"], [], {"POS"}, None, True),
        (["POS"], [], {"POS", "SEQ"}, None, False),
        (None, ["SA"], None, None, True),
        (None, ["SA"], None, {"NM"}, True),
        (None, ["SA"], None, {"NM", "SA"}, False),
    ],
)
@pytest.mark.parametrize("partial", ["deny", "clip"])
def test_fields_and_tags(
    tmp_path: Path,
    fields: list[str] | None,
    tags: list[str],
    asked_fields: set[str] | None,
    asked_tags: set[str] | None,
    fine: bool,
    partial: str,
) -> None:
    what = f"fields = {fields}\n" if fields else ""
    what += f"tags_deny = {tags}\n" if tags else ""
    policy = made(tmp_path, grant("G", ["chr1"], what=what, how=f'partial = "{partial}"'))
    asked = asking(
        "d/a",
        "chr1:1-10",
        fields=None if asked_fields is None else frozenset(asked_fields),
        tags=None if asked_tags is None else frozenset(asked_tags),
    )
    decision, _ = policy.explain(
        person(), asked, consent=NothingWithdrawn(), now=NOW, as_written=True
    )
    assert decision.allowed is (fine or partial == "clip")
    if not decision.allowed:
        assert decision.rule == "fields.not_granted"
    assert decision.clipped is (not fine and partial == "clip")


def test_classes(tmp_path: Path) -> None:
    policy = made(
        tmp_path,
        grant("H", what='classes = ["header"]', sub="h"),
        grant("M", how='mode = "header"', sub="m"),
    )
    for sub in "hm":
        assert ended(ask(policy, person(sub), asking("d/a", "chr1:1-2"))) == (
            "deny",
            "class.not_granted",
        )
        assert ask(policy, person(sub), asking("d/a", data_class="header")).allowed
    assert ask(policy, person("m"), asking("d/a", data_class="header")).projection.mode == "header"


@pytest.mark.parametrize(
    ("endpoint", "listed", "asked", "fine"),
    [
        ("reads", ["all"], [], False),
        ("reads", ["all", "*"], [], True),
        ("reads", ["all"], ["chr1"], True),
        ("reads", ["all"], ["*"], False),
        ("reads", ["*"], ["*"], True),
        ("reads", ["*"], ["chr1:1-1"], False),
        ("variants", ["all"], [], True),
        ("variants", ["chr1", "*"], [], False),
        ("refget", ["all"], [], True),
        ("refget", ["chr1:1-9"], ["chr1:2-3"], True),
        ("refget", ["chr1:1-9"], [], False),
    ],
)
def test_unplaced_reads_are_a_region_of_reads(
    tmp_path: Path, endpoint: str, listed: list[str], asked: list[str], fine: bool
) -> None:
    policy = made(tmp_path, grant("G", listed, endpoints=f'["{endpoint}"]'))
    request = asking(
        "SQ.abc" if endpoint == "refget" else "d/a",
        *asked,
        endpoint=endpoint,
        format={"reads": "BAM", "variants": "VCF"}.get(endpoint, ""),
    )
    decision = ask(policy, person(), request)
    assert decision.allowed is fine
    if fine and not asked:
        assert decision.permitted is not None
        assert decision.permitted.is_whole
        assert not decision.clipped


def test_denials(tmp_path: Path) -> None:
    deny = '[[deny]]\nid = "X"\ndataset = "D"\nregions = ["chr1:11-20"]\nexcept_for = ["E"]\n'
    policy = made(
        tmp_path,
        deny,
        grant("G", sub="g"),
        grant("E", sub="e"),
        grant("C", sub="c", how='partial = "clip"'),
        grant("A", ["chr1:1-15"], sub="both"),
        grant("B", ["chr1:12-30"], sub="both"),
    )
    assert not ask(policy, person("g"), asking("d/a")).allowed
    assert not ask(policy, person("g"), asking("d/a", "chr1:20-20")).allowed
    assert ask(policy, person("g"), asking("d/a", "chr1:21-30")).allowed
    assert ask(policy, person("g"), asking("d/a", "*")).allowed
    assert ask(policy, person("e"), asking("d/a")).permitted == RegionSet(
        elsewhere=True, unplaced=True
    )
    clipped = ask(policy, person("c"), asking("d/a"))
    assert clipped.permitted is not None
    assert clipped.permitted.clip(None, ("chr1", "chr2")) == (
        Region("chr1", 0, 10),
        Region("chr1", 20),
        Region("chr2"),
        Region("*"),
    )
    assert not ask(policy, person("both"), asking("d/a", "chr1:5-25")).allowed
    assert ask(policy, person("both"), asking("d/a", "chr1:5-10")).allowed


def test_samples_that_are_denied(tmp_path: Path) -> None:
    deny = '[[deny]]\nid = "X"\ndataset = "D"\nsamples = ["S"]\nexcept_for = ["E"]\n'
    policy = made(tmp_path, deny, grant("G"), grant("E", sub="e"))
    decision = ask(policy, person(), asking("d/a", "chr1:1-2"))
    assert (ended(decision), decision.details) == (("deny", "projection.unsupported"), ("samples",))
    assert ask(policy, person("e"), asking("d/a")).allowed
    there = deny.replace("samples", 'regions = ["chr1:1-10"]\nsamples')
    policy = made(tmp_path, there, grant("G"), grant("E", sub="e"))
    assert not ask(policy, person(), asking("d/a", "chr1:10-10")).allowed
    assert ask(policy, person(), asking("d/a", "chr1:11-12")).allowed


def test_samples_that_another_dataset_denies(tmp_path: Path) -> None:
    more = '[[dataset]]\nid = "E"\nobjects = ["reads/d/a"]\n'
    deny = '[[deny]]\nid = "X"\ndataset = "E"\nsamples = ["S"]\nexcept_for = ["H"]\n'
    policy = made(tmp_path, more, deny, grant("G"), grant("H", sub="h"))
    decision = ask(policy, person(), asking("d/a", "chr1:1-2"))
    assert (ended(decision), decision.details) == (("deny", "projection.unsupported"), ("samples",))
    assert ask(policy, person(), asking("d/b", "chr1:1-2")).allowed
    assert ask(policy, person("h"), asking("d/a", "chr1:1-2")).allowed


def test_objects_of_several_datasets(tmp_path: Path) -> None:
    more = '[[dataset]]\nid = "E"\nobjects = ["reads/d/a"]\n[[dataset]]\nid = "F"\n'
    deny = '[[deny]]\nid = "X"\ndataset = "E"\nregions = ["chr1:1-10"]\n'
    policy = made(tmp_path, more, deny, grant("G"), grant("F", ["chr2"], dataset="F"))
    assert policy.datasets_of(asking("d/a")) == ("D", "E")
    assert not ask(policy, person(), asking("d/a", "chr1:5-6")).allowed
    assert ask(policy, person(), asking("d/b", "chr1:5-6")).dataset == "D"
    located = asking("x", "chr2:1-2", datasets=frozenset({"F", "unknown"}))
    assert ask(policy, person(), located).dataset == "F"
    assert not ask(policy, person(), asking("x", "chr2:1-2", datasets=frozenset("U"))).allowed
    assert policy.names("reads", "d/a")
    assert not policy.names("reads", "x")


def test_limits_of_several_grants(tmp_path: Path) -> None:
    def limited(name: str, region: str, limits: str) -> str:
        return grant(name, [region], rest=f"[grant.limits]\n{limits}")

    policy = made(
        tmp_path,
        limited("A", "chr1:1-10", "bases_per_day = 5\nconcurrent_streams = 9"),
        limited("B", "chr1:11-20", "bases_per_day = 7\nrequests_per_minute = 3"),
    )
    assert ask(policy, person(), asking("d/a", "chr1:11-12")).limits == Limits(
        bases_per_day=7, requests_per_minute=3
    )
    assert ask(policy, person(), asking("d/a", "chr1:1-20")).limits == Limits(
        bases_per_day=5, concurrent_streams=9, requests_per_minute=3
    )


class Withheld:
    version = "c1"

    def __init__(self, reason: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.reason = reason

    def withheld(self, dataset: str, object_id: str, at: float) -> str | None:
        self.asked.append((dataset, object_id))
        return self.reason if object_id == "reads/heart/gone" and at == NOW else None


def test_consent(policy: Policy) -> None:
    consent = Withheld("consent.withdrawn")
    gone = ask(policy, TEAM, asking("heart/gone"), consent=consent)
    assert ended(gone) == ("not_found", "consent.withdrawn")
    assert gone.consent_version == "c1"
    assert consent.asked[0] == (DATASET, "reads/heart/gone")
    assert ask(policy, TEAM, asking("heart/a"), consent=consent).consent_version == "c1"
    hidden = ask(policy, person("nobody"), asking("heart/gone"), consent=consent)
    assert ended(hidden) == ("not_found", "object.not_visible")
    assert ended(ask(policy, ANONYMOUS, asking("heart/gone"), consent=consent)) == (
        "unauthenticated",
        "credential.missing",
    )


# Who


@pytest.mark.parametrize(
    ("who", "fine"),
    [
        (person("v", visa("D")), True),
        (person("v", visa("D/")), False),
        (person("v", visa("d")), False),
        (person("v", visa("D", source="https://other.example")), False),
        (person("v", visa("D", by="self")), False),
        (person("v", visa("D", by="")), False),
        (person("v", visa("D", type="Other")), False),
        (person("v", visa("D", exp=NOW)), False),
        (person("v", visa("D", exp=NOW + 1)), True),
        (person("v", visa("D", asserted=NOW - DAY)), False),
        (person("v", visa("D", asserted=NOW - DAY + 1)), True),
        (person("v", visa("x"), visa("D", exp=NOW), visa("D")), True),
        (person("v"), False),
    ],
)
def test_visas(tmp_path: Path, who: Principal, fine: bool) -> None:
    atom = (
        '{ visa = "ControlledAccessGrants", value = "D", source = "https://dac.example",'
        ' max_assertion_age = "1d" }'
    )
    policy = made(tmp_path, grant("G", who=f"all_of = [{atom}]"))
    assert ask(policy, who, asking()).outcome is (Outcome.ALLOW if fine else Outcome.NOT_FOUND)


def test_registered_access_needs_both_visas_of_one_value(tmp_path: Path) -> None:
    atoms = ", ".join(
        f'{{ visa = "{each}", value = "{STATUS}" }}'
        for each in ("ResearcherStatus", "AcceptedTermsAndPolicies")
    )
    policy = made(tmp_path, grant("G", who=f"all_of = [{atoms}]"))
    status = visa(STATUS, "ResearcherStatus", by="so")
    terms = visa(STATUS, "AcceptedTermsAndPolicies", by="self")
    assert ask(policy, person("r", status, terms), asking()).visas == (status, terms)
    assert not ask(policy, person("r", status), asking()).allowed
    assert not ask(policy, person("r", terms), asking()).allowed
    elsewhere = replace(terms, value="https://other.example/terms")
    assert not ask(policy, person("r", status, elsewhere), asking()).allowed
    assert not ask(policy, person("r", status, replace(terms, by="dac")), asking()).allowed


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ("faculty@uni.example", True),
        ("a b@uni.example", True),
        ("@uni.example", True),
        ("faculty@uni.example.evil", False),
        ("faculty@sub@uni.example", False),
        ("uni.example", False),
        ("*@uni.example", True),
    ],
)
def test_affiliations(tmp_path: Path, value: str, fine: bool) -> None:
    atom = '{ visa = "AffiliationAndRole", value = "*@uni.example" }'
    policy = made(tmp_path, grant("G", who=f"all_of = [{atom}]"))
    holder = person("a", visa(value, "AffiliationAndRole", by="so"))
    assert ask(policy, holder, asking()).allowed is fine
    exact = atom.replace("*@", "faculty@")
    policy = made(tmp_path, grant("G", who=f"all_of = [{exact}]"))
    assert ask(policy, holder, asking()).allowed is (value == "faculty@uni.example")


@pytest.mark.parametrize(
    ("who", "asked", "fine"),
    [
        (person("p"), {}, True),
        (replace(person("p"), iss="https://login.example"), {}, False),
        (replace(person("p"), iss="https://login.example/ "), {}, False),
        (replace(person("other"), identities=person("p").identities), {}, False),
        (person("P"), {}, False),
        (ANONYMOUS, {}, False),
    ],
)
def test_identities_are_pairs_and_exact(
    tmp_path: Path, who: Principal, asked: dict[str, object], fine: bool
) -> None:
    policy = made(tmp_path, grant("G", sub="p"))
    assert ask(policy, who, asking(**asked)).allowed is fine  # type: ignore[arg-type]


def test_claims(tmp_path: Path) -> None:
    atom = '{ claim = "groups", contains = "heart" }'
    policy = made(tmp_path, grant("G", who=f"any_of = [{atom}]"))
    assert ask(policy, person(claims={"groups": ("a", "heart")}), asking()).allowed
    for claims in ({"groups": ("hearts", "Heart")}, {"group": ("heart",)}, {}):
        assert not ask(policy, person(claims=claims), asking()).allowed
    assert not ask(policy, Principal(claims={"groups": ("heart",)}), asking()).allowed
    other = atom.replace("}", ', iss = "https://other.example/" }')
    policy = made(tmp_path, grant("G", who=f"any_of = [{other}]"))
    assert not ask(policy, person(claims={"groups": ("heart",)}), asking()).allowed


def test_all_of_and_any_of(tmp_path: Path) -> None:
    both = """all_of = [{ claim = "a", contains = "1" }, { claim = "b", contains = "1" }]
    any_of = [{ claim = "c", contains = "1" }, { claim = "d", contains = "1" }]"""
    policy = made(tmp_path, grant("G", who=both))
    for held in range(16):
        claims = {name: ("1",) for number, name in enumerate("abcd") if held >> number & 1}
        fine = "a" in claims and "b" in claims and ("c" in claims or "d" in claims)
        assert ask(policy, person(claims=claims), asking()).allowed is fine


def test_without_who_it_is_nobody(tmp_path: Path) -> None:
    silent = (
        grant("G")
        .replace("[grant.who]", "")
        .replace('any_of = [{ iss = "https://login.example/", sub = "me" }]', "")
    )
    policy = made(tmp_path, silent)
    for who in (ANONYMOUS, person(), person("", visa())):
        assert not ask(policy, who, asking()).allowed
    for empty in ("", "all_of = []", "any_of = []"):
        assert not ask(made(tmp_path, grant("G", who=empty)), person(), asking()).allowed


@pytest.mark.parametrize(
    ("peer", "fine"),
    [
        ("10.20.0.1", True),
        ("::ffff:10.20.0.1", True),
        ("2001:db8::1", True),
        ("10.21.0.1", False),
        ("2001:db9::1", False),
        ("", False),
        ("10.20.0.1, 1.2.3.4", False),
        ("localhost", False),
    ],
)
def test_networks_and_clients(tmp_path: Path, peer: str, fine: bool) -> None:
    limits = 'networks = ["10.20.0.0/16", "2001:db8::/32"]\n'
    policy = made(tmp_path, grant("G", who=limits + "public = true"))
    assert ask(policy, ANONYMOUS, asking(peer=peer)).allowed is fine
    who = f'{limits}clients = ["igv"]\nany_of = [{{ iss = "https://login.example/", sub = "me" }}]'
    policy = made(tmp_path, grant("G", who=who))
    for client in ("igv", "igv2", ""):
        decision = ask(policy, person(client_id=client), asking(peer=peer))
        assert decision.allowed is (fine and client == "igv")


def test_the_first_day_and_the_last(tmp_path: Path) -> None:
    valid = "[grant.valid]\nfrom = 2026-02-01\nuntil = 2026-02-03"
    policy = made(tmp_path, grant("G", rest=valid))
    begin = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
    end = begin + 3 * DAY
    for now, fine in ((begin - 1, False), (begin, True), (end - 1, True), (end, False)):
        decision = ask(policy, person(), asking(), now=now)
        assert decision.allowed is fine
        assert decision.not_after == (end if fine else 0)
    # What is remembered of one time is not believed of another.
    who = person()
    for now, fine in ((begin, True), (end, False), (begin - 1, False), (end - 1, True)):
        assert policy.decide(who, asking(), consent=NothingWithdrawn(), now=now).allowed is fine


def test_a_right_ends_with_the_first_thing_it_rests_on(tmp_path: Path) -> None:
    atom = '{ visa = "ControlledAccessGrants", value = "D", max_assertion_age = "10d" }'
    valid = "[grant.valid]\nuntil = 2026-12-31"
    policy = made(tmp_path, grant("G", who=f"all_of = [{atom}]", rest=valid))

    def ends(not_after: int, exp: float, asserted: float) -> int:
        who = person("v", visa("D", exp=exp, asserted=asserted), not_after=not_after)
        return ask(policy, who, asking()).not_after

    far = int(NOW) + 400 * DAY
    until = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    assert ends(0, NOW + 50, NOW) == NOW + 50
    assert ends(int(NOW) + 20, NOW + 50, NOW) == NOW + 20
    assert ends(far, far, NOW - DAY) == NOW + 9 * DAY
    assert ends(0, far, NOW + far) == until
    longest = person("v", visa("D", exp=NOW + 5), visa("D", exp=NOW + 9), visa("D", exp=NOW + 7))
    decision = ask(policy, longest, asking())
    assert decision.not_after == NOW + 9
    assert decision.visas == longest.visas[1:2]


def test_a_visa_that_ends_is_not_remembered(tmp_path: Path) -> None:
    atom = '{ visa = "ControlledAccessGrants", value = "D" }'
    policy = made(tmp_path, grant("G", who=f"all_of = [{atom}]"))
    who = person("v", visa("D", exp=NOW + 5))
    for now, fine in ((NOW, True), (NOW + 4.9, True), (NOW + 5, False), (NOW, True)):
        assert policy.decide(who, asking(), consent=NothingWithdrawn(), now=now).allowed is fine


def test_audit_by_the_policy(tmp_path: Path) -> None:
    text = head() + grant("G") + grant("P", who="public = true", dataset="D")
    assert ask(made(tmp_path, text, begin=" "), person(), asking()).audit_required
    effort = text.replace("[[dataset]]", 'audit = "best_effort"\n[[dataset]]', 1)
    policy = load_policy(write_policy(tmp_path, effort))
    assert not policy.audit_required
    assert not ask(policy, person(), asking()).audit_required


def test_the_version_is_what_is_said(tmp_path: Path, policy: Policy) -> None:
    begin, *tables = POLICY.split("\n[[grant]]\n")
    *grants, last = tables
    last, expects = last.split("\n[[expect]]", 1)
    reordered = "\n[[grant]]\n".join([begin, last, *reversed(grants)]) + "\n[[expect]]" + expects
    found = load_policy(write_policy(tmp_path, reordered), expectations=False)
    assert found.version == policy.version
    same = POLICY.replace('formats = ["BAM", "CRAM"]', 'formats = ["CRAM", "BAM"]').replace(
        'boundary = "mask"', 'boundary = "mask"\nqname = "keep"'
    )
    assert load_policy(write_policy(tmp_path, same)).version == policy.version
    for old, new in (
        ("decision 1", "decision 3"),
        ("chr1:11845780", "chr1:11845781"),
        ('boundary = "mask"', 'boundary = "contained"'),
        ("365d", "364d"),
        ('"10.20.0.0/16", ', ""),
        ("heart/joint", "heart/other"),
        ("until = 2027-01-31", "until = 2027-01-30"),
        ("GRCh38", "GRCh37"),
    ):
        changed = write_policy(tmp_path, POLICY.replace(old, new))
        assert load_policy(changed, expectations=False).version != policy.version


def test_explanations_name_the_steps(policy: Policy) -> None:
    decision, steps = policy.explain(
        RESEARCHER, asking("heart/a", "chr3:101-200", **HERE), consent=NothingWithdrawn(), now=NOW
    )
    assert decision.rule == "region.not_granted"
    assert steps[0] == f"reads/heart/a belongs to {DATASET}"
    assert "grant G-GENES is for this caller" in steps
    assert any("G-GENES" in step and "has not all regions" in step for step in steps)
    assert steps[-1] == "deny: region.not_granted"
