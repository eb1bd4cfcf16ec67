"""What is known of sequence collections: a digest is of its attributes' digests, so that all that
a server gives for one proves itself (refget Sequence Collections 1.0.0, 2 Encoding)."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from conformance.case import Failed, Skipped
from conformance.http import Answer, Client

LOOKED_AT = 3
"""So many collections are looked at."""

BASE = ("lengths", "names", "sequences")
"""The attributes of the base schema."""

STANDARD = frozenset({*BASE, "name_length_pairs", "sorted_name_length_pairs", "sorted_sequences"})
"""The attributes that the specification describes; others may be encoded in their own way (5)."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the server gives it: digests of attributes, and their values."""

    digest: str
    level1: Mapping[str, Any]
    level2: Mapping[str, Any]


class Collections:
    """The collections of a server; `digests`: those that are known beforehand."""

    def __init__(
        self, client: Client, url: str, headers: Mapping[str, str], digests: tuple[str, ...]
    ) -> None:
        self._client, self._url, self._headers = client, url, headers
        self._digests = digests

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """What is answered for a path below the endpoint, whatever that is."""
        return self._client.get(f"{self._url}/{path}", {**self._headers, **(headers or {})})

    def post(self, path: str, document: object) -> Answer:
        """What is answered when JSON is posted, whatever that is."""
        headers = {"Content-Type": "application/json", **self._headers}
        body = json.dumps(document, ensure_ascii=False).encode()
        return self._client.request("POST", f"{self._url}/{path}", headers, body)

    def options(self, path: str, headers: Mapping[str, str]) -> Answer:
        """What is answered to an OPTIONS request, as browsers ask before others."""
        return self._client.request("OPTIONS", f"{self._url}/{path}", headers)

    @cached_property
    def service_info(self) -> Answer:
        """What `service-info` answers, whatever that is."""
        return self.get("service-info")

    @cached_property
    def listed(self) -> Answer:
        """What the list of collections answers, whatever that is."""
        return self.get("list/collection")

    @cached_property
    def offered(self) -> bool:
        """Whether the server has the protocol: it tells of it, or has a list."""
        return bool(self._schema or _object(self.listed))

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        document = _object(self.service_info)
        return _table(_table(document, "seqcol"), "schema")

    @property
    def schema(self) -> Mapping[str, Any]:
        """The schema in service-info. Raises `Skipped` when there is none."""
        if not self._schema:
            raise Skipped(f"{self.service_info}, which has no schema")
        return self._schema

    @property
    def properties(self) -> Mapping[str, Any]:
        """The attributes that the schema describes; those of the base schema if it does not."""
        return _table(self._schema, "properties") or {name: {} for name in BASE}

    def qualified(self, qualifier: str) -> frozenset[str]:
        """The attributes that are `inherent`, `transient` or `passthru`, by the schema, or if it
        does not tell, by the specification."""
        qualifiers = self._schema.get("ga4gh")
        named = qualifiers.get(qualifier) if isinstance(qualifiers, dict) else None
        if isinstance(named, list):
            return frozenset(map(str, named))
        if qualifier == "inherent":
            return frozenset({"names", "sequences"})
        unknown = qualifier == "transient" and not self._schema
        return frozenset({"sorted_name_length_pairs"} if unknown else ())

    @property
    def transient(self) -> frozenset[str]:
        """The attributes that are transient. Raises `Skipped` when there are none."""
        found = self.qualified("transient")
        if not found:
            raise Skipped("no attribute is transient")
        return found

    @property
    def hidden(self) -> frozenset[str]:
        """The attributes that the attribute endpoint does not have."""
        return self.qualified("transient") | self.qualified("passthru")

    @property
    def known(self) -> tuple[Collection, ...]:
        """The collections that are looked at. Raises `Skipped` when there are none."""
        if not self._known:
            raise Skipped("no collection is known, and none listed that can be got")
        return self._known

    @property
    def sequences(self) -> dict[str, int]:
        """The sequences of the collections, with their lengths."""
        return {
            str(name): length
            for each in self._known
            for name, length in zip(
                _array(each.level2, "sequences"), _array(each.level2, "lengths"), strict=False
            )
            if isinstance(length, int)
        }

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The digests of the collections that are looked at: known beforehand, or listed."""
        listed = _array(_object(self.listed), "results") if not self._digests else []
        return (*self._digests, *map(str, listed))[:LOOKED_AT]

    @cached_property
    def _known(self) -> tuple[Collection, ...]:
        found = []
        for each in self.digests:
            levels = [_object(self.get(f"collection/{each}?level={level}")) for level in (1, 2)]
            if all(levels):
                found.append(Collection(each, *levels))
        return tuple(found)


def canonical(value: object) -> bytes:
    """JSON as RFC 8785 has it, of what collections hold: text, whole numbers, arrays, objects."""
    whole = _whole(value)
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()


def digest(value: object) -> str:
    """The GA4GH digest of a value's canonical JSON."""
    part = hashlib.sha512(canonical(value)).digest()[:24]
    return base64.urlsafe_b64encode(part).decode()


def pairs(names: Sequence[Any], lengths: Sequence[Any]) -> list[dict[str, Any]]:
    """The attribute `name_length_pairs` (5.1)."""
    return [{"length": length, "name": name} for name, length in zip(names, lengths, strict=False)]


def sorted_pairs(names: Sequence[Any], lengths: Sequence[Any]) -> list[str]:
    """The attribute `sorted_name_length_pairs` (5.2)."""
    return sorted(map(digest, pairs(names, lengths)))


def in_common(a: Sequence[object], b: Sequence[object]) -> tuple[set[int], set[bool | None]]:
    """How many elements two arrays have in common, and whether they are in the same order: all
    answers that are right by the specification (3.3) or by its compliance suite, which differ on a
    single common element and on duplicates."""
    keys_a, keys_b = [*map(canonical, a)], [*map(canonical, b)]
    common = {*keys_a} & {*keys_b}
    in_a, in_b = ([each for each in keys if each in common] for keys in (keys_a, keys_b))
    counts = {min(len(in_a), len(in_b)), (Counter(in_a) & Counter(in_b)).total()}
    if not in_a:
        return counts, {None}
    if Counter(in_a) != Counter(in_b):
        return counts, {None, False}
    return counts, {None, True} if len(in_a) == 1 else {in_a == in_b}


def _whole(value: object) -> object:
    """With 5 for 5.0, which is the same number in JSON."""
    if isinstance(value, list):
        return [*map(_whole, value)]
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _object(answer: Answer) -> Mapping[str, Any]:
    """The object that an answer holds; empty when it holds none."""
    if answer.status != 200:
        return {}
    try:
        document = answer.json()
    except Failed:
        return {}
    return document if isinstance(document, dict) else {}


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _array(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []
