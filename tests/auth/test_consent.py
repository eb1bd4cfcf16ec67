"""Which objects are withheld, against the sentences of the specification taken literally."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.consent import (
    Action,
    ConsentState,
    DatasetConsent,
    Kind,
    Statement,
    statements_of,
)
from auth.consent_files import SampleMap, read_sample_map, read_withdrawals
from auth.decision import Consent

MAP = read_sample_map(
    b"object,sample,participant\n"
    b"reads/a,S-1,P-1\n"
    b"reads/b,S-2,P-2\n"
    b"variants/joint,S-1,P-1\nvariants/joint,S-2,P-2\n"
    b"variants/twice,S-1,P-1\nvariants/twice,S-1b,P-1\n"
)
OBJECTS = (*MAP.rows, "reads/unknown")
NOW = 1_790_000_000.0


def state(*statements: Statement, at: float = NOW, **datasets: DatasetConsent) -> ConsentState:
    return ConsentState(datasets or {"D": DatasetConsent(MAP)}, statements, at)


def withdraw(kind: str, value: str, dataset: str = "", start: int = 0) -> Statement:
    return Statement(Action.WITHDRAW, Kind(kind), value, dataset, start)


def restore(kind: str, value: str, dataset: str = "", start: int = 0) -> Statement:
    return Statement(Action.RESTORE, Kind(kind), value, dataset, start)


def answers(consent: Consent, dataset: str = "D", at: float = NOW) -> dict[str, str]:
    """The last word of each reason."""
    found = {each: consent.withheld(dataset, each, at) for each in OBJECTS}
    return {name: reason.removeprefix("consent.") for name, reason in found.items() if reason}


@pytest.mark.security("TL4", "TU4")
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            withdraw("participant", "P-1", "D"),
            {
                "reads/a": "withdrawn",
                "variants/joint": "joint",
                "variants/twice": "withdrawn",
                "reads/unknown": "unmapped",
            },
        ),
        (
            withdraw("participant", "P-2"),
            {"reads/b": "withdrawn", "variants/joint": "joint", "reads/unknown": "unmapped"},
        ),
        (
            withdraw("sample", "S-1"),
            {
                "reads/a": "withdrawn",
                "variants/joint": "joint",
                "variants/twice": "joint",
                "reads/unknown": "unmapped",
            },
        ),
        (withdraw("object", "reads/b"), {"reads/b": "withdrawn"}),
        (withdraw("object", "reads/unknown", "D"), {"reads/unknown": "withdrawn"}),
        (withdraw("object", "reads/b", "E"), {}),
        (withdraw("participant", "P-1", "E"), {}),
        (withdraw("participant", "p-1", "E"), {}),
        (restore("participant", "P-1"), {}),
    ],
)
def test_one_statement(statement: Statement, expected: dict[str, str]) -> None:
    assert answers(state(statement)) == expected


def test_all_of_a_joint_object() -> None:
    both = state(withdraw("participant", "P-1"), withdraw("participant", "P-2"))
    assert answers(both)["variants/joint"] == "withdrawn"


def test_an_object_that_nobody_mapped() -> None:
    """Refused where there is a list, or somebody of this very dataset has withdrawn."""
    unmapped = dict.fromkeys(OBJECTS, "unmapped")
    listed = DatasetConsent(None, is_listed=True, as_of=NOW)
    assert answers(state(D=listed)) == unmapped
    assert answers(state(D=DatasetConsent(MAP, is_listed=True, as_of=NOW))) == {
        "reads/unknown": "unmapped"
    }
    assert answers(state(D=DatasetConsent(MAP))) == {}
    assert answers(state(withdraw("participant", "P-9"), D=DatasetConsent())) == {}
    assert answers(state(withdraw("participant", "P-9", "D"), D=DatasetConsent())) == unmapped
    assert answers(state(withdraw("sample", "S-9", "D"), E=DatasetConsent())) == unmapped
    assert answers(state(withdraw("object", "reads/a", "D"), D=DatasetConsent())) == {
        "reads/a": "withdrawn"
    }
    assert answers(state(withdraw("object", "reads/a")), "never heard of") == {
        "reads/a": "withdrawn"
    }


def test_objects_that_are_named_without_endpoint() -> None:
    short = read_sample_map(b"object,sample,participant\na,S-1,P-1\nb/c,S-2,P-2\n")
    listed = DatasetConsent(short, is_listed=True, as_of=NOW)
    found = state(withdraw("participant", "P-1"), withdraw("object", "joint"), D=listed)
    names = ("reads/a", "variants/a", "reads/b/c", "reads/c", "variants/joint", "a/b/c")
    assert [found.withheld("D", name, NOW) for name in names] == [
        "consent.withdrawn",
        "consent.withdrawn",
        None,
        "consent.unmapped",
        "consent.withdrawn",
        None,
    ]


def test_the_last_word_counts() -> None:
    p1 = ("participant", "P-1")
    first, again = withdraw(*p1, "D", 100), withdraw(*p1, "D", 50)
    back = restore(*p1, "", 200)
    assert answers(state(first))
    assert not answers(state(first, back))
    assert answers(state(first, back, again)), "though it is said to hold from an earlier date on"
    assert not answers(state(withdraw(*p1, ""), restore(*p1, "D")))
    assert answers(state(withdraw(*p1, ""), restore(*p1, "E")))
    assert answers(state(withdraw(*p1, "D"), restore("sample", "S-1", "D")))


def test_what_comes_into_effect() -> None:
    later = withdraw("object", "reads/a", "D", int(NOW) + 100)
    consent = state(later)
    assert (consent.since, consent.until) == (NOW, NOW + 100)
    assert consent.withheld("D", "reads/a", NOW + 99.9) is None
    assert consent.withheld("D", "reads/a", NOW + 100) == "consent.withdrawn"
    assert consent.withheld("D", "reads/a", NOW - 1e6) is None
    after = state(later, at=NOW + 100)
    assert after.until == math.inf
    assert after.version != consent.version
    assert state(later, at=NOW + 50).version == consent.version


def test_a_list_that_is_too_old() -> None:
    day = DatasetConsent(MAP, is_listed=True, max_age=86_400, as_of=NOW - 86_000)
    consent = state(withdraw("participant", "P-2"), D=day, E=DatasetConsent())
    assert consent.until == NOW + 400
    assert answers(consent) == {
        "reads/b": "withdrawn",
        "variants/joint": "joint",
        "reads/unknown": "unmapped",
    }
    assert answers(consent, at=NOW + 400) == {
        "reads/a": "stale",
        "reads/b": "withdrawn",
        "variants/joint": "joint",
        "variants/twice": "stale",
        "reads/unknown": "stale",
    }
    assert not answers(consent, "E", NOW + 400)
    stale = state(D=day, at=NOW + 400)
    assert stale.is_stale("D")
    assert stale.version != state(D=day).version


def test_a_list_that_was_never_read() -> None:
    never = state(D=DatasetConsent(MAP, is_listed=True))
    assert set(answers(never).values()) == {"stale"}
    assert never.is_stale("D")
    assert not state(D=DatasetConsent(MAP, max_age=5, as_of=0.0)).is_stale("D"), "it has no list"


def test_versions() -> None:
    one, other = withdraw("object", "reads/a"), withdraw("object", "reads/b")
    assert state(one).version == state(one, at=NOW + 5).version
    assert state(one).version.startswith("sha256:")
    fresh = DatasetConsent(MAP, is_listed=True, max_age=10, as_of=NOW)
    fresher = DatasetConsent(MAP, is_listed=True, max_age=10, as_of=NOW + 3)
    assert state(D=fresh).version == state(D=fresher).version
    changed = SampleMap(MAP.rows, "another digest")
    versions = [
        state(),
        state(one),
        state(one, other),
        state(one, restore("object", "reads/a")),
        state(D=DatasetConsent(changed)),
        state(D=fresh),
        state(D=fresh, at=NOW + 20),
        state(E=DatasetConsent(MAP)),
    ]
    assert len({each.version for each in versions}) == len(versions)


def test_a_list_as_statements() -> None:
    rows = read_withdrawals(b"participant,effective_from\nP-1,1970-01-02\nP-2,2100-01-01\n")
    consent = state(*statements_of(rows, "D"), D=DatasetConsent(MAP), E=DatasetConsent(MAP))
    assert set(answers(consent)) == {"reads/a", "variants/joint", "variants/twice", "reads/unknown"}
    assert not answers(consent, "E")


NAMES = st.sampled_from(["D", "E"])
STATEMENTS = st.lists(
    st.one_of(
        [
            st.builds(
                Statement,
                st.sampled_from(Action),
                st.just(kind),
                st.sampled_from(values),
                st.sampled_from(["", "D", "E"]),
                st.integers(0, 12),
            )
            for kind, values in (
                (Kind.PARTICIPANT, ("P-1", "P-2", "P-3")),
                (Kind.SAMPLE, ("S-1", "S-2")),
                (Kind.OBJECT, ("reads/a", "variants/joint", "reads/unknown")),
            )
        ]
    ),
    max_size=10,
)
DATASETS = st.builds(
    DatasetConsent,
    st.sampled_from([None, MAP]),
    st.booleans(),
    st.sampled_from([0, 3, 20]),
    st.sampled_from([None, 0.0, 5.0]),
)


def expected(
    dataset: str, consent: DatasetConsent, statements: list[Statement], object_id: str, at: int
) -> str | None:
    def is_withdrawn(kind: Kind, value: str) -> bool:
        last = None
        for each in statements:
            about = (each.kind, each.value) == (kind, value) and each.dataset in ("", dataset)
            if about and each.effective_from <= at:
                last = each.action
        return last is Action.WITHDRAW

    if is_withdrawn(Kind.OBJECT, object_id):
        return "consent.withdrawn"
    rows = consent.samples.rows.get(object_id, ()) if consent.samples else ()
    gone = [
        is_withdrawn(Kind.SAMPLE, sample) or is_withdrawn(Kind.PARTICIPANT, participant)
        for sample, participant in rows
    ]
    if any(gone):
        return "consent.withdrawn" if all(gone) else "consent.joint"
    if consent.is_listed and (
        consent.as_of is None or (consent.max_age and at >= consent.as_of + consent.max_age)
    ):
        return "consent.stale"
    persons = [
        each
        for each in statements
        if each.kind is not Kind.OBJECT and is_withdrawn(each.kind, each.value)
    ]
    looks_for_persons = any(
        consent.samples is not None
        or any(
            other.dataset == dataset and (other.kind, other.value) == (each.kind, each.value)
            for other in statements
        )
        for each in persons
    )
    if not rows and (consent.is_listed or looks_for_persons):
        return "consent.unmapped"
    return None


@given(
    STATEMENTS, DATASETS, DATASETS, st.sampled_from(OBJECTS), st.integers(0, 30), st.integers(0, 30)
)
def test_any_statements_at_any_time(
    statements: list[Statement],
    one: DatasetConsent,
    other: DatasetConsent,
    object_id: str,
    built: int,
    at: int,
) -> None:
    datasets = {"D": one, "E": other}
    consent = ConsentState(datasets, statements, built)
    for name, definition in datasets.items():
        found = consent.withheld(name, object_id, at)
        assert found == expected(name, definition, statements, object_id, at)


@given(STATEMENTS, DATASETS, st.integers(0, 30), st.integers(0, 30))
def test_the_version_changes_with_the_answers(
    statements: list[Statement], dataset: DatasetConsent, one: int, other: int
) -> None:
    before, after = (ConsentState({"D": dataset}, statements, at) for at in (one, other))
    if answers(before, at=one) != answers(after, at=other):
        assert before.version != after.version
        assert not before.since <= other < before.until
