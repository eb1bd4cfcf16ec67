"""Collections that clients bring."""

import json

import pytest

from server.refget.seqcol import CollectionTooLarge, InvalidCollection, read_level2

SQ = "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2"


def posted(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"names": ["a"]}, {"names": ["a"]}),
        (
            {"names": ["a"], "lengths": [4]},
            {
                "names": ["a"],
                "lengths": [4],
                "name_length_pairs": [{"name": "a", "length": 4}],
            },
        ),
        ({"sequences": [SQ]}, {"sequences": [SQ], "sorted_sequences": [SQ]}),
        (
            {"sorted_name_length_pairs": [SQ[3:]], "masks": {"x": [1.5]}, "author": None},
            {"masks": {"x": [1.5]}, "author": None},
        ),
    ],
)
def test_a_posted_collection_may_lack_attributes_and_have_others(
    given: dict[str, object], expected: dict[str, object]
) -> None:
    found = read_level2(posted(given))
    assert found.level2 == expected
    assert found.digest is None


COMPLETE = {"names": ["a", "b"], "lengths": [4, 5], "sequences": [SQ, SQ]}


@pytest.mark.parametrize(
    "given",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b'{"names":["a"],"names":["a"]}', b"{}"),
        *(b'{"names":["a"],"x":0,"\\u0078":{"x":{}}}', b' { "x" : [] , "names":[] , "x" :[]}'),
        *(
            b'{"names":["a"],"x":1e999}',
            posted({"names": [], **{f"x{n}": 0 for n in range(100)}}),
        ),
        *(b'{"names":["a\\u0000"]}', b'{"names":["\\ud800"]}', b'{"lengths":[NaN]}'),
        *(b'{"lengths":[1e0]}', b"[" * 100_000, b'{"author":"x"}'),
        {**COMPLETE, "names": "ab"},
        {**COMPLETE, "names": ["a", 5]},
        {**COMPLETE, "names": ["a"]},
        {**COMPLETE, "lengths": [4, "5"]},
        {**COMPLETE, "lengths": [4, 5.0]},
        {**COMPLETE, "lengths": [4, None]},
        {**COMPLETE, "lengths": {"a": 4, "b": 5}},
        {**COMPLETE, "sequences": [SQ, "ACGT"]},
        {**COMPLETE, "sequences": None},
        {**COMPLETE, "sorted_sequences": [SQ]},
        {**COMPLETE, "sorted_sequences": [1, 2]},
        {**COMPLETE, "name_length_pairs": [{"name": "a", "length": 4}]},
        {**COMPLETE, "name_length_pairs": [{"name": "a", "length": 4}, {"name": "b"}]},
        {**COMPLETE, "name_length_pairs": [["a", 4], ["b", 5]]},
        {
            **COMPLETE,
            "name_length_pairs": [{"name": "a", "length": 4}, {"name": "b", "length": 6}],
        },
        {**COMPLETE, "sorted_name_length_pairs": [SQ[3:], SQ[3:]]},
        {**COMPLETE, "sorted_name_length_pairs": ["x"]},
    ],
)
def test_what_is_posted_in_vain(given: object) -> None:
    with pytest.raises(InvalidCollection) as caught:
        read_level2(posted(given))
    assert caught.value.status == 400


def test_a_posted_collection_is_bounded() -> None:
    assert read_level2(posted(COMPLETE), max_sequences=2).digest
    with pytest.raises(CollectionTooLarge) as caught:
        read_level2(posted(COMPLETE), max_sequences=1)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        b'{"names":["a"],"x":{"names":0,"x":[{"y":{"z":1}}]},"y":[":","{","\\"}"],"z":{}}',
        b' {"names" : ["\\\\\\"", "}:{"], "x":[{"y":":}"},{"y":[{}]}], "y" : "\\":" } \n',
        posted({"x": [[{}] * 3000, *(["a"] * 3000), [":"] * 1500], "names": [], "y": {}}),
        posted({"names": ["a"], "\\x": 0, '"': 1, "é": {"": {"": ":"}}, "": [1.5]}),
    ],
)
def test_structure_is_told_from_what_looks_like_it(body: bytes) -> None:
    found = read_level2(body).level2
    assert found == json.loads(body)


@pytest.mark.parametrize("piece", [b"0,", b"{},", b"[],", b'{"a":[]},', b'"a:::::",', b"[" * 99])
def test_what_would_take_long_to_read(piece: bytes) -> None:
    body = b'{"names":["a"],"x":[' + piece * ((8 << 20) // len(piece)) + b"0]}"
    with pytest.raises(CollectionTooLarge):
        read_level2(body)


def test_very_many_sequences_with_all_attributes() -> None:
    count = 200_000
    names = [f"gnl|{at},1" for at in range(count)]
    body = posted({"names": names, "lengths": [1] * count, "sequences": [SQ] * count})
    found = read_level2(body)
    assert read_level2(posted(found.level2)) == found
