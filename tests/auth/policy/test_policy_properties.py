"""Random policies against the sentences of security.md 13.3, taken literally and base by base."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auth.decision import AccessRequest, Decision, Limits, Outcome, Projection
from auth.policy.document import Dataset, Deny, Grant, PolicyDocument
from auth.policy.evaluation import NothingWithdrawn, Policy
from auth.policy.grants import IdentityAtom, Who
from auth.policy.panels import Panel
from auth.policy.region_sets import RegionSet
from auth.policy.version import policy_version
from auth.principal import Principal
from formats.regions import UNBOUNDED, UNPLACED, Region
from tests.support.policies import ISSUER, NOW

LENGTH = 8
NAMES = ("a", "b", "c")  # no rule names "c": it stands for all other references
EVERY = frozenset({(name, at) for name in NAMES for at in range(LENGTH + 1)} | {("*", 0)})
Bases = frozenset[tuple[str, int]]
T = TypeVar("T")

PANEL = Panel(
    "p", Path("p.bed"), "0" * 64, "", "", RegionSet.of([Region("a", 1, 3), Region("b", 2, 7)])
)

spans = st.builds(
    lambda name, start, length: f"{name}:{start + 1}-{start + 1 + length}",
    st.sampled_from("ab"),
    st.integers(0, LENGTH - 1),
    st.integers(0, 3),
)
texts = st.lists(
    spans | st.sampled_from(["all", "*", "panel:p", "a"]), min_size=1, max_size=4, unique=True
).map(tuple)
projections = st.sampled_from(
    [
        Projection(),
        Projection(header="full"),
        Projection(boundary="mask"),
        Projection(fields=frozenset({"POS", "SEQ"})),
        Projection(tags_deny=frozenset({"SA"})),
        Projection(mode="header"),
    ]
)
people = st.sampled_from(["one", "two", ""])


def who(sub: str) -> Who:
    return Who(any_of=(IdentityAtom(ISSUER, sub),)) if sub else Who(public=True)


grants = st.builds(
    Grant,
    id=st.just(""),
    dataset=st.sampled_from("DE"),
    reason=st.just("r"),
    endpoints=st.sampled_from([frozenset({"reads"}), frozenset({"reads", "variants"})]),
    classes=st.sampled_from([frozenset({"header"}), frozenset({"header", "body"})]),
    regions=texts,
    formats=st.sampled_from([frozenset({"BAM"}), frozenset({"BAM", "VCF"})]),
    who=people.map(who),
    projection=projections,
    partial=st.sampled_from(["deny", "clip"]),
    limits=st.builds(Limits, bases_per_day=st.integers(0, 3)),
    begins=st.sampled_from([None, date(2026, 1, 1), date(2027, 1, 1)]),
    ends=st.sampled_from([None, date(2026, 12, 31), date(2026, 5, 31)]),
)


@dataclass(frozen=True)
class Drawn:
    document: PolicyDocument
    policy: Policy


@st.composite
def policies(draw: st.DrawFn) -> Drawn:
    drawn = draw(st.lists(grants, min_size=1, max_size=6))
    named = tuple(replace(each, id=f"G{number}") for number, each in enumerate(drawn))
    ids = st.frozensets(st.sampled_from([each.id for each in named]), max_size=2)
    denies = draw(
        st.lists(
            st.builds(
                Deny,
                id=st.just("X"),
                dataset=st.sampled_from("DE"),
                regions=texts,
                samples=st.none() | st.just(frozenset({"S"})),
                except_for=ids,
            ),
            max_size=2,
        )
    )
    document = PolicyDocument(
        panels={"p": PANEL},
        datasets=(
            Dataset("D", ("reads/*", "variants/*")),
            Dataset("E", ("reads/both",)),
        ),
        denies=tuple(denies),
        grants=named,
    )
    return Drawn(document, Policy(document))


asked_regions = st.none() | st.lists(
    st.builds(
        lambda name, start, length: Region(name, start, start + length),
        st.sampled_from(NAMES),
        st.integers(0, LENGTH - 3),
        st.integers(0, 3),
    )
    | st.just(Region("*"))
    | st.builds(lambda name, start: Region(name, start), st.sampled_from(NAMES), st.integers(0, 5)),
    min_size=1,
    max_size=3,
).map(tuple)
requests = st.builds(
    AccessRequest,
    endpoint=st.sampled_from(["reads", "reads", "variants"]),
    object_id=st.sampled_from(["x", "both", "x/y"]),
    format=st.sampled_from(["BAM", "BAM", "VCF"]),
    data_class=st.sampled_from(["body", "body", "header"]),
    regions=asked_regions,
    fields=st.none() | st.frozensets(st.sampled_from(["POS", "QUAL"])),
    tags=st.none() | st.frozensets(st.sampled_from(["SA", "NM"])),
)


# The oracle


def bases_of_texts(rule: Iterable[str]) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for text in rule:
        if text == "all":
            found |= {each for each in EVERY if each[0] != "*"}
        elif text == "*":
            found.add(("*", 0))
        elif text == "panel:p":
            found |= {("a", 1), ("a", 2)} | {("b", at) for at in range(2, 7)}
        elif ":" in text:
            name, _, rest = text.partition(":")
            first, last = map(int, rest.split("-"))
            found |= {(name, at) for at in range(first - 1, last) if at <= LENGTH}
        else:
            found |= {(text, at) for at in range(LENGTH + 1)}
    return found


def bases_asked(request: AccessRequest) -> Bases:
    if request.regions is None:
        every = EVERY if request.endpoint == "reads" else {e for e in EVERY if e[0] != "*"}
        return frozenset(every)
    return frozenset(
        (each.reference_name, at)
        for each in request.regions
        for at in range(each.start, min(each.end, LENGTH + 1))
        if each.reference_name != "*" or at == 0
    )


def datasets_of(request: AccessRequest) -> set[str]:
    if "/" in request.object_id:
        return set()
    both = request.object_id == "both" and request.endpoint == "reads"
    return {"D", "E"} if both else {"D"}


def visible(document: PolicyDocument, sub: str, request: AccessRequest) -> list[Grant]:
    today = date(2026, 6, 1)
    return [
        grant
        for grant in document.grants
        if grant.dataset in datasets_of(request)
        and request.endpoint in grant.endpoints
        and grant.who in (who(sub or "nobody"), who(""))
        and (grant.begins is None or grant.begins <= today)
        and (grant.ends is None or today <= grant.ends)
    ]


def effective(document: PolicyDocument, grant: Grant, request: AccessRequest) -> Bases:
    found = bases_of_texts(grant.regions)
    for deny in document.denies:
        if deny.dataset in datasets_of(request) and grant.id not in deny.except_for:
            found -= bases_of_texts(deny.regions)
    if request.endpoint != "reads":
        found -= {("*", 0)}
    return frozenset(found)


def together(document: PolicyDocument, members: list[Grant], request: AccessRequest) -> Bases:
    return frozenset().union(*(effective(document, each, request) for each in members))


def expected(
    document: PolicyDocument, sub: str, request: AccessRequest
) -> tuple[str, set[str], Bases]:
    """Outcome, the grants of the group that answers, and what may be sent of what is asked for."""
    seen = visible(document, sub, request)
    if not seen:
        return ("not_found" if sub else "unauthenticated"), set(), frozenset()
    usable = [
        grant
        for grant in seen
        if request.format in grant.formats
        and request.data_class
        in (grant.classes & {"header"} if grant.projection.mode == "header" else grant.classes)
    ]
    groups: dict[object, list[Grant]] = {}
    for grant in usable:
        groups.setdefault((grant.dataset, grant.projection), []).append(grant)
    asked = bases_asked(request)
    whole = request.regions is None
    for members in groups.values():
        projection = members[0].projection
        has = together(document, members, request)
        unlimited = not whole or asked <= has
        shows = (
            projection.fields is None
            or request.fields is None
            or request.fields <= projection.fields
        ) and not (request.tags or frozenset()) & projection.tags_deny
        fits = request.data_class == "header" or (asked <= has and unlimited)
        if fits and shows and not projection.unsupported:
            return (
                "allow",
                {each.id for each in members},
                has if request.data_class == "header" else asked,
            )
    for members in groups.values():
        clips = [each for each in members if each.partial == "clip"]
        has = together(document, clips, request)
        if has & asked and not members[0].projection.unsupported:
            return "clip", {each.id for each in clips}, has & asked
    return "deny", set(), frozenset()


def sent(decision: Decision, request: AccessRequest) -> Bases:
    """What an answer may hold, base by base."""
    assert decision.permitted is not None
    clipped = decision.permitted.clip(request.regions, NAMES)
    return frozenset(
        (each.reference_name, at)
        for each in clipped
        for at in range(each.start, min(each.end, LENGTH + 1))
        if each.reference_name != "*" or at == 0
    )


@pytest.mark.security("TR5", "TR9")
@settings(max_examples=600)
@given(policies(), people, requests)
def test_decisions_are_those_of_the_specification(
    drawn: Drawn, sub: str, request: AccessRequest
) -> None:
    if request.endpoint != "reads":  # variants have places, so nobody may ask for those without
        assume(all(each.reference_name != UNPLACED for each in request.regions or ()))
    principal = Principal(iss=ISSUER, sub=sub) if sub else Principal()
    decision = drawn.policy.decide(principal, request, consent=NothingWithdrawn(), now=NOW)
    outcome, group, bases = expected(drawn.document, sub, request)
    found = str(decision.outcome)
    if decision.clipped:
        found = "clip"
    only_header = request.data_class == "header"
    if only_header and outcome == "clip":  # only fields or tags were cut
        outcome = found if found == "allow" else outcome
    assert found == outcome
    if not decision.allowed:
        assert decision.permitted is None
        return
    if not only_header:
        assert set(decision.grant_ids) <= group
        answer = sent(decision, request)
        if request.endpoint != "reads":
            answer -= {("*", 0)}
        assert answer == bases


@settings(max_examples=400)
@given(policies(), people, requests)
def test_what_is_permitted_is_what_one_group_gives(
    drawn: Drawn, sub: str, request: AccessRequest
) -> None:
    principal = Principal(iss=ISSUER, sub=sub) if sub else Principal()
    decision = drawn.policy.decide(principal, request, consent=NothingWithdrawn(), now=NOW)
    if not decision.allowed:
        return
    by_id = {each.id: each for each in drawn.document.grants}
    chosen = [by_id[each] for each in decision.grant_ids]
    assert chosen
    assert {each.id for each in chosen} <= {
        each.id for each in visible(drawn.document, sub, request)
    }
    assert {(each.dataset, each.projection) for each in chosen} == {
        (decision.dataset, decision.projection)
    }
    assert isinstance(decision.permitted, RegionSet)
    given_out = {
        (name, at) for name, at in EVERY if decision.permitted.contains(Region(name, at, at + 1))
    }
    assert given_out - {("*", 0)} <= together(drawn.document, chosen, request)
    if request.endpoint == "reads":
        assert given_out <= together(drawn.document, chosen, request)
    # Deny wins: nothing of a denial that does not except every grant that gives it.
    for deny in drawn.document.denies:
        if deny.dataset in datasets_of(request) and not set(decision.grant_ids) & deny.except_for:
            assert not (given_out - {("*", 0)}) & bases_of_texts(deny.regions)
    if decision.clipped:
        assert all(each.partial == "clip" for each in chosen)
    rates = [each.limits.bases_per_day for each in chosen if each.limits.bases_per_day]
    assert decision.limits.bases_per_day == min(rates, default=0)


@settings(max_examples=200)
@given(policies(), people, requests)
def test_asking_less_never_gives_more(drawn: Drawn, sub: str, request: AccessRequest) -> None:
    """Client parameters only narrow: a part of an allowed request is allowed."""
    principal = Principal(iss=ISSUER, sub=sub) if sub else Principal()
    policy, consent = drawn.policy, NothingWithdrawn()
    decision = policy.decide(principal, request, consent=consent, now=NOW)
    if not decision.allowed or decision.clipped or not request.regions:
        return
    for region in request.regions:
        part = replace(request, regions=(region,))
        assert policy.decide(principal, part, consent=consent, now=NOW).allowed


@settings(max_examples=150)
@given(policies(), st.randoms(use_true_random=False))
def test_the_version_knows_no_order(drawn: Drawn, random: Random) -> None:
    document = drawn.document

    def shuffled(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(random.sample(items, len(items)))

    grants = [replace(each, regions=shuffled(each.regions)) for each in document.grants]
    other = replace(
        document,
        grants=shuffled(tuple(grants)),
        denies=shuffled(document.denies),
        datasets=shuffled(document.datasets),
    )
    assert policy_version(other) == drawn.policy.version
    changed = replace(document.grants[0], regions=("b:1-9",))
    if changed != document.grants[0]:
        less = replace(document, grants=(changed, *document.grants[1:]))
        assert policy_version(less) != drawn.policy.version


@settings(max_examples=200)
@given(
    policies(), st.lists(st.tuples(people, requests, st.sampled_from([NOW, NOW + 300 * 86_400])))
)
def test_what_is_remembered_changes_nothing(
    drawn: Drawn, asked: list[tuple[str, AccessRequest, float]]
) -> None:
    principals = {sub: Principal(iss=ISSUER if sub else "", sub=sub) for sub in ("one", "two", "")}
    consent = NothingWithdrawn()
    for sub, request, now in asked:
        fresh = Policy(drawn.document)
        one, other = (
            each.decide(principals[sub], request, consent=consent, now=now)
            for each in (drawn.policy, fresh)
        )
        assert one == other
        assert one.outcome in Outcome


def test_the_oracle_knows_the_example() -> None:
    document = PolicyDocument(
        panels={"p": PANEL},
        datasets=(Dataset("D", ("reads/*",)),),
        grants=(
            Grant(
                "G", "D", "r", frozenset({"reads"}), frozenset({"header", "body"}), ("panel:p",),
                who=who("one"), partial="clip",
            ),
        ),
    )  # fmt: skip
    request = AccessRequest("reads", "x", "BAM", regions=(Region("a", 0, UNBOUNDED),))
    assert expected(document, "one", request) == ("clip", {"G"}, frozenset({("a", 1), ("a", 2)}))
    decision = Policy(document).decide(
        Principal(iss=ISSUER, sub="one"), request, consent=NothingWithdrawn(), now=NOW
    )
    assert sent(decision, request) == {("a", 1), ("a", 2)}
