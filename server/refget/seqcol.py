"""What a collection of sequences is, and its digests (refget Sequence Collections 1.0).

    CollectionError             base; the text is written for the client
    ├── InvalidCollection       400   what is no collection, or contradicts itself
    └── CollectionTooLarge      413   more sequences than one request may bring

At *level 2* a collection is an object of arrays, its attributes; at *level 1* each array's digest
stands in its place; and its own digest is that of the level-1 object of its inherent attributes.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, ClassVar

import orjson

MAX_SEQUENCES = 250_000  # in a collection that a client brings
MAX_NAME = 1024  # characters of a sequence's name
MAX_LENGTH = 2**53 - 1  # the largest integer that all JSON readers agree on

_DIGEST = re.compile(r"[0-9A-Za-z_-]{32}")
_SEQUENCE = re.compile(r"SQ\.[0-9A-Za-z_-]{32}")
_PAIR = frozenset({"length", "name"})
_TRANSIENT = "sorted_name_length_pairs"

_MAX_ATTRIBUTES = 100  # of a collection that a client brings
# Of which each adds to what reading takes: room for all attributes of the most sequences. Within
# names they count too.
_MOST_MARKS: Mapping[bytes, int] = {
    b",": 2_500_000,
    b":": 700_000,
    b"[": 100_000,
    b"{": 300_000,
}

# Unrolled, so that no match is tried twice: possessive quantifiers are wrong in Python 3.11.2.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_FLAT_OBJECT = rb'\{[^][{}"]*(?:%b[^][{}"]*)*\}' % _STRING
# Up to the next mark of structure; not too far, because the search holds Python's lock.
_TO_MARK = re.compile(
    rb'(?:[^][{}:"]+|%b|%b){0,1000}([][{}:]?)' % (_STRING, _FLAT_OBJECT), re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """How an attribute is qualified, and the JSON Schema of its elements (section 4).

    `inherent`: part of the collection's digest. `collated`: one element for each sequence, in
    order. `transient`: only its digest is kept and given.
    """

    items: Mapping[str, object]
    inherent: bool = False
    collated: bool = False
    transient: bool = False
    required: bool = False


_DIGEST_ITEMS = {"type": "string", "pattern": f"^{_DIGEST.pattern}$"}
_SEQUENCE_ITEMS = {"type": "string", "pattern": f"^{_SEQUENCE.pattern}$"}
_NAME_ITEMS = {"type": "string"}
_LENGTH_ITEMS = {"type": "integer", "minimum": 0}
_PAIR_ITEMS = {
    "type": "object",
    "properties": {"length": _LENGTH_ITEMS, "name": _NAME_ITEMS},
    "required": ["length", "name"],
}

ATTRIBUTES: Mapping[str, Attribute] = {
    "names": Attribute(_NAME_ITEMS, inherent=True, collated=True, required=True),
    "lengths": Attribute(_LENGTH_ITEMS, collated=True, required=True),
    "sequences": Attribute(_SEQUENCE_ITEMS, inherent=True, collated=True, required=True),
    "name_length_pairs": Attribute(_PAIR_ITEMS, collated=True),
    "sorted_name_length_pairs": Attribute(_DIGEST_ITEMS, transient=True),
    "sorted_sequences": Attribute(_SEQUENCE_ITEMS),
}

Level2 = dict[str, object]


class CollectionError(Exception):
    """Base of what makes a collection unusable."""

    status: ClassVar[int]


class InvalidCollection(CollectionError):
    """This is no collection of sequences, or its attributes contradict one another."""

    status = 400


class CollectionTooLarge(CollectionError):
    """It has more sequences than are taken from a client."""

    status = 413


def canonical(value: object) -> bytes:
    """RFC 8785 for what collections hold: no fractions, names of members in ASCII."""
    # Python escapes the same characters in the same way; only larger domains would differ.
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode()


def canonical_pair(name: str, length: int) -> bytes:
    """The same for one element of `name_length_pairs`, several times faster."""
    return f'{{"length":{length},"name":{encode_basestring(name)}}}'.encode()


def sha512t24u(data: bytes) -> str:
    """The GA4GH digest: the first 24 bytes of SHA-512, as 32 characters of base64url."""
    return base64.urlsafe_b64encode(hashlib.sha512(data).digest()[:24]).decode()


@dataclass(frozen=True, slots=True)
class Collection:
    """Sequences with their names and lengths in bases, in order.

    `sequences` are their GA4GH digests, `SQ.` and 32 characters. Raises `InvalidCollection` for
    arrays that differ in length, and for elements that the specification does not allow.
    """

    names: Sequence[str]
    lengths: Sequence[int]
    sequences: Sequence[str]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        for name in ("names", "lengths", "sequences"):
            _check_elements(name, getattr(self, name))
        _check_collated((self.names, self.lengths, self.sequences))
        object.__setattr__(self, "digest", _digest(self.names, self.sequences))

    def level1(self) -> dict[str, str]:
        """The digest of every attribute, also of the transient one."""
        pairs = _pairs(self.names, self.lengths)
        arrays = {**self._canonical(pairs), _TRANSIENT: canonical(_sorted_digests(pairs))}
        return {name: sha512t24u(arrays[name]) for name in ATTRIBUTES}

    def level2(self) -> Level2:
        """The array of every attribute but the transient one."""
        return {
            "names": list(self.names),
            "lengths": list(self.lengths),
            "sequences": list(self.sequences),
            **_derived(self.names, self.lengths, self.sequences),
        }

    def canonical_level2(self) -> dict[str, bytes]:
        """The canonical JSON of each array of level 2, which is what level 1 digests."""
        return self._canonical(_pairs(self.names, self.lengths))

    def _canonical(self, pairs: Sequence[bytes]) -> dict[str, bytes]:
        return {
            "names": canonical(self.names),
            "lengths": canonical(self.lengths),
            "sequences": canonical(self.sequences),
            "name_length_pairs": b"[" + b",".join(pairs) + b"]",
            "sorted_sequences": canonical(sorted(self.sequences)),
        }


@dataclass(frozen=True, slots=True)
class PostedCollection:
    """A collection that a client brings, at level 2; it may lack attributes, and have others.

    `digest` is None if it lacks a required attribute.
    """

    level2: Level2
    digest: str | None


def read_level2(body: bytes, *, max_sequences: int = MAX_SEQUENCES) -> PostedCollection:
    """The collection in a request body, or a `CollectionError`; the caller bounds the body.

    What follows from its names, lengths and sequences is added where it is not there, and must
    agree where it is. Attributes that are not of this specification are kept as they are.
    """
    posted = _read_object(body)
    given = {name: posted[name] for name in ATTRIBUTES if name in posted}
    if not given:
        raise InvalidCollection(f"a collection has attributes such as {', '.join(ATTRIBUTES)}")
    for name, values in given.items():
        if not isinstance(values, list):
            raise InvalidCollection(f"{name} is not an array")
        if len(values) > max_sequences:
            raise CollectionTooLarge(f"{name} has more than {max_sequences} elements")
    for name, values in given.items():
        _check_elements(name, values)
    _check_collated([values for name, values in given.items() if ATTRIBUTES[name].collated])
    names, lengths, sequences = (given.get(name) for name in ("names", "lengths", "sequences"))
    expected = _derived(names, lengths, sequences)
    if names is not None and lengths is not None and _TRANSIENT in given:
        expected[_TRANSIENT] = _sorted_digests(_pairs(names, lengths))
    for name, values in expected.items():
        if given.get(name, values) != values:
            raise InvalidCollection(f"{name} does not agree with the other attributes")
    level2 = {**posted, **expected}
    level2.pop(_TRANSIENT, None)
    digest = None
    if names is not None and lengths is not None and sequences is not None:
        digest = _digest(names, sequences)
    return PostedCollection(level2, digest)


def schema(identifier: str) -> dict[str, object]:
    """The JSON Schema of the collections here; `identifier` is its URI (section 3.1)."""
    qualified = {
        name: [each for each, attribute in ATTRIBUTES.items() if getattr(attribute, name)]
        for name in ("required", "inherent", "transient")
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identifier,
        "description": "A collection of biological sequences.",
        "type": "object",
        "properties": {
            name: {"type": "array", "collated": attribute.collated, "items": attribute.items}
            for name, attribute in ATTRIBUTES.items()
        },
        "required": qualified["required"],
        "ga4gh": {"inherent": qualified["inherent"], "transient": qualified["transient"]},
    }


def _read_object(body: bytes) -> dict[str, Any]:
    # orjson is fast, but keeps Python's lock until it is done: what it reads is bounded before.
    for mark, most in _MOST_MARKS.items():
        if body.count(mark) > most:
            raise CollectionTooLarge("the collection has too many elements")
    try:
        posted = orjson.loads(body)
    except ValueError:
        raise InvalidCollection("the request body is not valid JSON") from None
    if not isinstance(posted, dict):
        raise InvalidCollection("a collection is a JSON object")
    if len(posted) > _MAX_ATTRIBUTES:
        raise InvalidCollection(f"a collection has at most {_MAX_ATTRIBUTES} attributes")
    if len(posted) != _count_members(body):
        raise InvalidCollection("an attribute is given more than once")
    return posted


def _count_members(body: bytes) -> int:
    """The members of a valid JSON object, also those of the same name."""
    count = depth = 0
    for found in _TO_MARK.finditer(body, body.index(b"{") + 1):
        mark = found[1]
        if mark == b":":
            count += depth == 0
        elif mark in (b"[", b"{"):
            depth += 1
        elif mark:
            depth -= 1
    return count


def _digest(names: Sequence[str], sequences: Sequence[str]) -> str:
    arrays = {"names": names, "sequences": sequences}
    return sha512t24u(canonical({name: sha512t24u(canonical(a)) for name, a in arrays.items()}))


def _derived(
    names: Sequence[str] | None, lengths: Sequence[int] | None, sequences: Sequence[str] | None
) -> Level2:
    """The attributes of level 2 that follow from others."""
    derived: Level2 = {}
    if names is not None and lengths is not None:
        pairs = zip(names, lengths, strict=True)
        derived["name_length_pairs"] = [{"length": length, "name": name} for name, length in pairs]
    if sequences is not None:
        derived["sorted_sequences"] = sorted(sequences)
    return derived


def _pairs(names: Sequence[str], lengths: Sequence[int]) -> list[bytes]:
    return list(map(canonical_pair, names, lengths))


def _sorted_digests(values: Iterable[bytes]) -> list[str]:
    # 24 bytes fill 32 characters, so that all digests can be encoded at once.
    sha512 = hashlib.sha512
    digests = b"".join([sha512(value).digest()[:24] for value in values])
    text = base64.urlsafe_b64encode(digests).decode()
    return sorted(text[at : at + 32] for at in range(0, len(text), 32))


def _check_collated(arrays: Iterable[Sequence[object]]) -> None:
    if len({len(array) for array in arrays}) > 1:
        raise InvalidCollection("the attributes are not of equally many sequences")


def _check_elements(attribute: str, values: Sequence[object]) -> None:
    allowed, rule = _ELEMENTS[attribute]
    if not all(map(allowed, values)):
        raise InvalidCollection(f"{attribute} are {rule}")


def _is_name(value: object) -> bool:
    # Printable text can always be stored and encoded: it has no NUL and no unpaired surrogates.
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_LENGTH  # JSON's true is an int to Python


def _is_sequence(value: object) -> bool:
    return isinstance(value, str) and _SEQUENCE.fullmatch(value) is not None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == _PAIR
        and _is_length(value["length"])
        and _is_name(value["name"])
    )


_ELEMENTS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "names": (_is_name, f"printable texts of 1 to {MAX_NAME} characters"),
    "lengths": (_is_length, f"integers from 0 to {MAX_LENGTH}"),
    "sequences": (_is_sequence, "digests: SQ. and 32 characters of base64url"),
    "name_length_pairs": (_is_pair, "objects of a name and a length"),
    "sorted_name_length_pairs": (_is_digest, "digests of 32 characters of base64url"),
    "sorted_sequences": (_is_sequence, "digests: SQ. and 32 characters of base64url"),
}
