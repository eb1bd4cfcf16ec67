import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.passports.conditions import (
    MAX_ALTERNATIVES,
    MAX_CLAUSES,
    are_met,
    matches,
    parse_conditions,
)


@dataclass(frozen=True)
class Held:
    type: str = "AffiliationAndRole"
    value: str = "faculty@uni.example"
    source: str = "https://ror.example/uni"
    by: str = "so"


FACULTY = {"type": "AffiliationAndRole", "value": "pattern:*@uni.example"}


@pytest.mark.parametrize(
    ("pattern", "text", "match"),
    [
        ("*@uni.example", "faculty@uni.example", True),
        ("*@uni.example", "faculty@uni.example.evil", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*", "", True),
        ("**", "", True),
        ("", "", True),
        ("", "a", False),
        ("?", "", False),
        ("a[b]c", "abc", False),
        ("a[b]c", "a[b]c", True),
        ("a.c", "abc", False),
        ("A*", "abc", False),
        ("*a*b", "aab", True),
        ("*ab", "aab", True),
        ("a*a", "a", False),
        ("\\*", "*", False),
        ("\\*", "\\anything", True),
    ],
)
def test_patterns(pattern: str, text: str, match: bool) -> None:
    assert matches(pattern, text) is match


@pytest.mark.security("TV10")
@pytest.mark.parametrize(
    ("pattern", "text", "match"),
    [
        ("*a" * 30, "a" * 3000, True),
        ("*a" * 30 + "b", "a" * 3000, False),
        ("[a-z]", "b", False),
        ("[a-z]", "[a-z]", True),
        ("a?c", "a\nc", True),
        ("a*c", "a\n\nc", True),
        ("abc", "abc\n", False),
        ("a+", "aa", False),
        ("(a|b)", "a", False),
        ("^a$", "a", False),
        (".*", "a", False),
        (".*", ".a", True),
    ],
)
def test_patterns_of_an_attacker(pattern: str, text: str, match: bool) -> None:
    began = time.process_time()
    assert matches(pattern, text) is match
    assert time.process_time() - began < 0.05


def oracle(pattern: str, text: str) -> bool:
    special = {"*": ".*", "?": "."}
    expression = "".join(special.get(each) or re.escape(each) for each in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


@given(st.text("ab*?[].\n", max_size=8), st.text("ab*?[].\n", max_size=10))
@example("*a*b", "aabab")
@example("**", "*")
def test_a_regular_expression_agrees(pattern: str, text: str) -> None:
    assert matches(pattern, text) is oracle(pattern, text)


@given(st.lists(st.sampled_from(["*", "?", "a", "b"])), st.randoms())
def test_what_a_pattern_gives_rise_to_matches(pattern: list[str], random: Any) -> None:
    made = {"*": lambda: "ab" * random.randrange(3), "?": lambda: random.choice("ab*?")}
    text = "".join(made[each]() if each in made else each for each in pattern)
    assert matches("".join(pattern), text)


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        ([[{**FACULTY, "by": "const:so"}]], True),
        ([[{**FACULTY, "by": "const:peer"}]], False),
        ([[{**FACULTY, "by": "const:peer"}], [{**FACULTY, "by": "const:so"}]], True),
        ([[{**FACULTY, "by": "const:so"}, {**FACULTY, "by": "const:peer"}]], False),
        ([[{"type": "AffiliationAndRole", "source": "const:https://ror.example/uni"}]], True),
        ([[{"type": "AffiliationAndRole", "source": "const:https://ror.example/uni/"}]], False),
        ([[{"type": "AffiliationAndRole", "source": "pattern:https://*.example/*"}]], True),
        ([[{"type": "ResearcherStatus", "by": "const:so"}]], False),
        ([[{"type": "affiliationandrole", "by": "const:so"}]], False),
        ([[{"type": "AffiliationAndRole", "by": "const:SO"}]], False),
        ([[{"type": "AffiliationAndRole", "by": "const:pattern:so"}]], False),
        ([], True),
    ],
)
def test_conditions(conditions: object, met: bool) -> None:
    assert are_met(parse_conditions(conditions), [Held()]) is met


def test_without_visas_only_no_condition_is_met() -> None:
    assert are_met((), [])
    assert not are_met(parse_conditions([[{"type": "A", "value": "pattern:*"}]]), [])


def test_one_visa_meets_a_whole_clause() -> None:
    clause = {"type": "AffiliationAndRole", "value": "const:a@x", "by": "const:so"}
    halves = [Held(value="a@x", by="self"), Held(value="b@x", by="so")]
    assert not are_met(parse_conditions([[clause]]), halves)
    assert are_met(parse_conditions([[clause]]), [*halves, Held(value="a@x", by="so")])


def test_several_visas_meet_several_clauses() -> None:
    conditions = parse_conditions([[FACULTY, {"type": "ResearcherStatus", "by": "const:peer"}]])
    assert not are_met(conditions, [Held()])
    assert are_met(conditions, [Held(type="ResearcherStatus", by="peer"), Held()])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("abc;def", True),
        ("xyz;abc", True),
        ("xyz", False),
        ("xabc;def", False),
        ("", False),
    ],
)
def test_split_patterns_match_whole_parts(value: str, match: bool) -> None:
    conditions = parse_conditions([[{"type": "LinkedIdentities", "value": "split_pattern:ab?"}]])
    assert are_met(conditions, [Held(type="LinkedIdentities", value=value)]) is match


def test_patterns_do_not_split() -> None:
    conditions = parse_conditions([[{"type": "T", "value": "pattern:abc"}]])
    assert not are_met(conditions, [Held(type="T", value="abc;def")])


CLAUSE = {"type": "T", "by": "const:so"}
NESTED = {"type": "T", "value": "const:v", "conditions": [[CLAUSE]]}


@pytest.mark.security("TV9")
@pytest.mark.parametrize(
    "conditions",
    [
        [[{"type": "AffiliationAndRole"}]],
        [[{"type": "AffiliationAndRole", "by": "regex:so"}]],
        [[{"type": "AffiliationAndRole", "by": "so"}]],
        [[{"type": "AffiliationAndRole", "by": ""}]],
        [[{"type": "AffiliationAndRole", "by": "Const:so"}]],
        [[]],
        {},
        {"type": "AffiliationAndRole", "by": "const:so"},
        [{"type": "AffiliationAndRole", "by": "const:so"}],
        None,
        "[]",
        True,
        [[CLAUSE], []],
        [[CLAUSE, {}]],
        [[CLAUSE, None]],
        [[CLAUSE, "T"]],
        [[{"by": "const:so"}]],
        [[{"type": "", "by": "const:so"}]],
        [[{"type": "const:T", "by": ["const:so"]}]],
        [[{"type": 1, "by": "const:so"}]],
        [[{"type": "T", "by": None}]],
        [[{**CLAUSE, "asserted": "const:1"}]],
        [[{**CLAUSE, "iss": "const:x"}]],
        [[{"type": "T", "asserted": "const:1"}]],
        [[NESTED]],
        [[CLAUSE] * (MAX_CLAUSES + 1)],
        [[CLAUSE]] * (MAX_ALTERNATIVES + 1),
        [[CLAUSE] * 10_000],
        [[CLAUSE]] * 10_000,
    ],
)
def test_malformed_conditions(conditions: object) -> None:
    began = time.process_time()
    with pytest.raises(ValueError):  # noqa: PT011 - its texts are for people
        parse_conditions(conditions)
    assert time.process_time() - began < 0.05


def test_the_most_conditions() -> None:
    conditions = parse_conditions([[CLAUSE] * MAX_CLAUSES] * MAX_ALTERNATIVES)
    assert are_met(conditions, [Held(type="T")])
