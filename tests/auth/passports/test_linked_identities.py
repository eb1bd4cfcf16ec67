from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.passports.linked_identities import (
    MAX_CLOSURE,
    MAX_LINKED,
    closure,
    parse_linked_identities,
)
from auth.principal import Identity


@pytest.mark.parametrize(
    ("value", "identities"),
    [
        (
            "a1b2%40broker.example,https%3A%2F%2Fvisas.dac.example%2F",
            {("https://visas.dac.example/", "a1b2@broker.example")},
        ),
        ("s,i;t,j", {("i", "s"), ("j", "t")}),
        ("s%2Ct,i%3Bj", {("i;j", "s,t")}),
        ("%2525,i", {("i", "%25")}),
        ("%,i", {("i", "%")}),
        ("%zz,i", {("i", "%zz")}),
        ("a+b,i", {("i", "a+b")}),
        ("%C3%A9,i", {("i", "\u00e9")}),
    ],
)
def test_parses(value: str, identities: set[Identity]) -> None:
    assert parse_linked_identities(value) == identities


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "a,b,c",
        "%ff,x",
        "x,%ff",
        ",",
        "a,",
        ",b",
        ";",
        "a,b;",
        ";a,b",
        "a,b;c",
        "a,b;;c,d",
        "a%2Cb",
        "%00,x",
        "%ed%a0%80,x",
        ";".join(["a,b"] * (MAX_LINKED + 1)),
    ],
)
def test_one_malformed_entry_refuses_all(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also UnicodeDecodeError
        parse_linked_identities(value)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.frozensets(st.tuples(texts, texts), min_size=1, max_size=MAX_LINKED))
def test_encoded_identities_come_back(identities: frozenset[Identity]) -> None:
    value = ";".join(f"{quote(sub, safe='')},{quote(iss, safe='')}" for iss, sub in identities)
    assert parse_linked_identities(value) == identities


def link(*names: str) -> frozenset[Identity]:
    return frozenset((name[0], name[1]) for name in names)


def test_the_example_of_the_specification() -> None:
    links = [link("Bs", "Ds", "Et"), link("Et", "Fu"), link("Zz", "Yy")]
    assert closure(link("Bs"), links) == link("Bs", "Ds", "Et", "Fu")
    assert closure(link("Bs"), reversed(links)) == link("Bs", "Ds", "Et", "Fu")


def test_cycles_end() -> None:
    links = [link("Aa", "Bb"), link("Bb", "Cc"), link("Cc", "Aa"), link("Aa")]
    assert closure(link("Cc"), links) == link("Aa", "Bb", "Cc")


def test_without_links() -> None:
    assert closure(link("Aa"), []) == link("Aa")
    assert closure([], [link("Aa")]) == frozenset()


def test_a_link_that_makes_it_too_large_is_left_out() -> None:
    crowd = frozenset(("i", f"{number}") for number in range(MAX_CLOSURE))
    start = link("Aa")
    assert closure(start, [crowd | start]) == start
    assert closure(start, [crowd | start, link("Aa", "Bb")]) == link("Aa", "Bb")
    fits = frozenset(list(crowd)[:-1]) | start
    assert closure(start, [fits]) == fits
    assert closure(start, [fits, link("Aa", "Bb")]) == fits


names = st.integers(0, 9).map(lambda number: ("i", str(number)))


@given(st.frozensets(names, max_size=2), st.lists(st.frozensets(names, max_size=3), max_size=8))
def test_it_is_the_reachable_part(
    start: frozenset[Identity], links: list[frozenset[Identity]]
) -> None:
    reached = set(start)
    for _ in range(10):
        for each in links:
            if reached & each:
                reached |= each
    assert closure(start, links) == reached
    assert closure(start, links[::-1]) == reached
