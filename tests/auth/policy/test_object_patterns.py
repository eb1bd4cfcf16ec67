import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.policy.object_patterns import PatternIndex, segments_of


@pytest.mark.security("TP4")
@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("reads/sam", "reads/sample123", False),
        ("reads/sample1", "reads/evil/sample1", False),
        ("reads/sample1", "evil/reads/sample1", False),
        ("reads/*", "reads/a/b", False),
        ("reads/*", "reads/a", True),
        ("reads/*", "reads/", False),
        ("reads/*", "reads//a", False),
        ("reads/a/*", "reads/a", False),
        ("reads/**", "reads/a", True),
        ("reads/**", "reads/a/b/c", True),
        ("reads/open/**", "reads/open", False),
        ("reads/open/**", "reads/opened/a", False),
        ("reads/**/x", "reads/x", True),
        ("reads/**/x", "reads/a/b/x", True),
        ("reads/**/x", "reads/a/b/xx", False),
        ("reads/*/x/**", "reads/a/x/b", True),
        ("**", "variants/a", True),
        ("reads/A", "reads/a", False),
        ("reads/a", "reads/a ", False),
        ("reads/**", "reads/a\x00b", False),
        ("reads/**", "reads/a\nb", False),
        ("reads/**", "reads/" + "a" * 3000, False),
        ("reads/a[bc]", "reads/ab", False),
        ("reads/?", "reads/a", False),
        ("reads/*", "reads/*", True),
        ("reads/x", "reads/*", False),
        ("reads/**", "reads/../etc", True),  # an id, not a path: the catalogue has none such
    ],
)
def test_patterns_match_whole_segments(pattern: str, text: str, matches: bool) -> None:
    assert bool(PatternIndex([(pattern, 0)]).match(text)) is matches


@pytest.mark.parametrize(
    "pattern", ["", "/reads/a", "reads/a/", "reads//a", "reads/a*", "reads/***", "**/**", "a\tb"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        segments_of(pattern)


def test_what_may_lie_below_a_prefix() -> None:
    index = PatternIndex(
        [("reads/a/*", 0), ("reads/**", 1), ("variants/a/b/c", 2), ("reads/*/z", 3), ("**/q", 4)]
    )
    assert index.below("reads/") == (0, 1, 3, 4)
    assert index.below("reads/a/") == (0, 1, 3, 4)
    assert index.below("reads/b/") == (1, 3, 4)
    assert index.below("variants/a/") == (2, 4)
    assert index.below("variants/b/") == (4,)
    assert PatternIndex([("reads/a/*", 0)]).below("variants/") == ()


segment = st.sampled_from(["a", "b", "ab"])
pattern = st.lists(segment | st.sampled_from(["*", "**"]), min_size=1, max_size=5).filter(
    lambda each: all(pair != ("**", "**") for pair in itertools.pairwise(each))
)
text = st.lists(segment, min_size=1, max_size=6)


def oracle(pattern: list[str]) -> re.Pattern[str]:
    """As a regular expression over segments that each end in a slash."""
    parts = [{"*": "[^/]+/", "**": "(?:[^/]+/)*"}.get(each, f"{each}/") for each in pattern]
    if pattern[-1] == "**":
        parts[-1] = "(?:[^/]+/)+"
    return re.compile("".join(parts))


@given(st.lists(pattern, min_size=1, max_size=8), text)
@example([["**"], ["**", "a", "**"]], ["a", "a"])
def test_against_regular_expressions(patterns: list[list[str]], segments: list[str]) -> None:
    index = PatternIndex(("/".join(each), number) for number, each in enumerate(patterns))
    expected = tuple(
        number
        for number, each in enumerate(patterns)
        if oracle(each).fullmatch("/".join(segments) + "/")
    )
    assert index.match("/".join(segments)) == expected
    for cut in range(len(segments)):
        prefix = "".join(f"{each}/" for each in segments[:cut])
        assert set(expected) <= set(index.below(prefix))
