import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.principal import ANONYMOUS, Principal, Visa
from auth.principal_json import from_json, to_json

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
times = st.integers(0, 1 << 40)
visas = st.builds(
    Visa,
    iss=texts,
    sub=texts,
    type=texts,
    value=texts,
    source=texts,
    by=texts,
    asserted=times,
    exp=times,
    jti=texts,
)
principals = st.builds(
    Principal,
    iss=texts,
    sub=texts,
    client_id=texts,
    scopes=st.frozensets(texts, max_size=3),
    visas=st.lists(visas, max_size=3).map(tuple),
    identities=st.frozensets(st.tuples(texts, texts), max_size=3),
    claims=st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3),
    not_after=times,
    token_id=texts,
)


@given(principals)
def test_there_and_back(principal: Principal) -> None:
    text = to_json(principal)
    assert text.isascii()
    assert text.isprintable()
    assert from_json(text) == principal
    assert to_json(from_json(text.encode())) == text


def changed(**members: object) -> str:
    return json.dumps({**json.loads(to_json(ANONYMOUS)), **members})


VISA = {
    "iss": "i",
    "sub": "s",
    "type": "t",
    "value": "v",
    "source": "o",
    "by": "",
    "asserted": 1,
    "exp": 2,
    "jti": "",
}


def test_a_visa_as_written() -> None:
    (visa,) = from_json(changed(visas=[VISA])).visas
    assert visa == Visa("i", "s", "t", "v", "o", "", 1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        changed(admin=True),
        changed(iss=None),
        changed(sub=1),
        changed(not_after="9"),
        changed(not_after=True),
        changed(not_after=1.0),
        changed(scopes="openid"),
        changed(scopes=[1]),
        changed(scopes={"openid": 1}),
        changed(claims=[]),
        changed(claims={"a": "b"}),
        changed(claims={"a": [None]}),
        changed(identities=[["i"]]),
        changed(identities=[["i", "s", "x"]]),
        changed(identities=["is"]),
        changed(visas={}),
        changed(visas=[{}]),
        changed(visas=[{**VISA, "exp": "2"}]),
        changed(visas=[{**VISA, "more": 1}]),
        changed(visas=[{name: VISA[name] for name in VISA if name != "by"}]),
        to_json(ANONYMOUS)[:-1] + ',"sub":"twice"}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - many reasons
        from_json(text)
