"""What is known of sequences (refget): an id is a digest, so what it leads to proves itself."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from conformance.case import Failed, Skipped
from conformance.http import Answer, Client, Unreachable

LOOKED_AT = 3
"""So many sequences are looked at; the first, which are the shortest where lengths are known."""

MOST_RESIDUES = 1 << 26
"""Residues of all that are looked at, for they are fetched some twenty times; longer ones are not,
by the lengths in their metadata."""

SHORTEST = 40
"""Residues that a sequence needs for parts of it to be asked for."""

JSON_TYPE = re.compile(r"application/vnd\.ga4gh\.refget\.v[12]\.\d+\.\d+\+json")
TEXT_TYPE = re.compile(r"text/vnd\.ga4gh\.refget\.v[12]\.\d+\.\d+\+plain")
_VERSION = re.compile(r"[12]\.\d+\.\d+")

_FORMS = {
    "md5": re.compile(r"(?:md5:)?([0-9a-fA-F]{32})"),
    "trunc512": re.compile(r"(?:trunc512:)?([0-9a-fA-F]{48})"),
    "ga4gh": re.compile(r"(?:ga4gh:)?(SQ\.[0-9A-Za-z_-]{32})"),
}


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence as it was got by `id`. `residues`: A-Z alone; `digests`: by the algorithm's name.

    `circular`: None where the description says nothing of any sequence.
    """

    id: str
    residues: bytes
    digests: Mapping[str, str]
    circular: bool | None

    def __len__(self) -> int:
        return len(self.residues)

    def __str__(self) -> str:
        return f"the sequence {self.id}"


class Sequences:
    """The sequences of a server: `ids` to begin with, those among them that are `circular`."""

    def __init__(
        self,
        client: Client,
        url: str,
        headers: Mapping[str, str],
        ids: Callable[[], tuple[str, ...]],
        circular: tuple[str, ...],
    ) -> None:
        self._client, self._url, self._headers = client, url, headers
        self._ids, self._circular = ids, circular

    def get(
        self,
        name: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        below: str = "",
        method: str = "GET",
    ) -> Answer:
        """What is answered for an id, or for what is `below` it, whatever that is."""
        url = f"{self._url}/{quote(name, safe=':%')}{below}{f'?{query}' if query else ''}"
        return self._client.request(method, url, {**self._headers, **(headers or {})})

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids that are looked at, circular ones first."""
        return self._chosen[0]

    @property
    def why_none(self) -> str:
        """Why there are no ids to look at."""
        return self._chosen[1] or "no id of a sequence is known"

    @cached_property
    def _chosen(self) -> tuple[tuple[str, ...], str]:
        chosen: list[str] = []
        room, why = MOST_RESIDUES, ""
        for name in dict.fromkeys((*self._circular[:1], *self._ids())):
            length = self._stated_length(name)
            if length > room:
                why = f"{name} has {length} residues, which are too many to be fetched"
                continue
            chosen.append(name)
            room -= length
            if len(chosen) == LOOKED_AT:
                break
        return tuple(chosen), why

    def _stated_length(self, name: str) -> int:
        """The length in a sequence's metadata; 0 where it is not told."""
        try:
            document = self.get(name, below="/metadata").expect(200).json()
        except (Failed, Unreachable):
            return 0
        metadata = document.get("metadata") if isinstance(document, dict) else None
        length = metadata.get("length") if isinstance(metadata, dict) else None
        return length if isinstance(length, int) else 0

    @cached_property
    def service_info(self) -> Answer:
        """What `service-info` answers, whatever that is."""
        return self._client.get(f"{self._url}/service-info", self._headers)

    @cached_property
    def offered(self) -> bool:
        """Whether the server has the protocol: it tells of it, or has one of the ids."""
        return self._document is not None or bool(self._known[0])

    @cached_property
    def abilities(self) -> Mapping[str, Any]:
        """The `refget` block of service-info, or the `service` block of version 1; may be empty."""
        return self.block("refget") or self.block("service")

    def block(self, name: str) -> Mapping[str, Any]:
        """A block of service-info; empty when there is none."""
        block = (self._document or {}).get(name)
        return block if isinstance(block, dict) else {}

    @cached_property
    def _document(self) -> Mapping[str, Any] | None:
        """What service-info tells; None where it does not, be it with a page for people."""
        try:
            document = self.service_info.expect(200).json()
        except Failed:
            return None
        return document if isinstance(document, dict) else None

    def announces(self, algorithm: str) -> bool:
        """Whether service-info names a digest algorithm."""
        names = self.abilities.get("algorithms")
        return isinstance(names, list) and algorithm in (str(each).lower() for each in names)

    @property
    def limit(self) -> int | None:
        """The most residues that can be asked for by position; None: any number."""
        limit = self.abilities.get("subsequence_limit")
        return limit if isinstance(limit, int) and limit >= 1 else None

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the protocol that are offered, as media types name them."""
        found = ["2.0.0"] if self.block("refget") else []
        stated = self.block("service").get("supported_api_versions")
        if isinstance(stated, list):
            full = (each if each.count(".") > 1 else f"{each}.0" for each in map(str, stated))
            found += [each for each in full if _VERSION.fullmatch(each) and each not in found]
        return tuple(found)

    @property
    def is_old(self) -> bool:
        """Whether version 1 alone is offered, which has no namespaces."""
        return bool(self.block("service")) and not any(each[0] == "2" for each in self.versions)

    def known(self, shortest: int = 0) -> tuple[Sequence, ...]:
        """The sequences that were got and proved, of that length at least. Raises `Skipped` when
        there are none, so that a case fails for what it is about alone."""
        found = [each for each in self._known[0] if len(each) >= shortest]
        if not found:
            raise Skipped(self._known[1] or f"no sequence is known that has {shortest} residues")
        return tuple(found)

    @cached_property
    def in_ranges(self) -> tuple[Sequence, ...]:
        """Those of which parts come by Range. Raises `Skipped` where the server ignores it, as it
        may."""
        asked = {"Range": "bytes=10-19"}
        known = self.known(SHORTEST)
        found = [each for each in known if self.get(each.id, headers=asked).status == 206]
        if not found:
            raise Skipped("the server ignores Range")
        return tuple(found)

    @cached_property
    def _known(self) -> tuple[list[Sequence], str]:
        found, why = [], "" if self.ids else self.why_none
        for name in self.ids:
            answer = self.get(name)
            if answer.status != 200:
                why = str(answer)
                continue
            residues = normal(answer.body)
            found_digests = digests(residues)
            names = {name, *found_digests.values()}
            circular = bool(names & {*self._circular}) if self._circular else None
            sequence = Sequence(name, residues, found_digests, circular)
            if is_proved(sequence):
                found.append(sequence)
            else:
                why = f"{answer} with another sequence"
        return found, why


def normal(body: bytes) -> bytes:
    """The letters of a body in upper case: what the digests of a sequence are of."""
    return re.sub(rb"[^A-Z]", b"", body.upper())


def digests(residues: bytes) -> dict[str, str]:
    """The digests of a sequence, by the names of their algorithms (refget 2.0.0)."""
    part = hashlib.sha512(residues).digest()[:24]
    return {
        "md5": hashlib.md5(residues, usedforsecurity=False).hexdigest(),
        "trunc512": part.hex(),
        "ga4gh": f"SQ.{base64.urlsafe_b64encode(part).decode()}",
    }


def is_proved(sequence: Sequence) -> bool:
    """Whether a sequence has the digest that its id is; ids that are none prove nothing."""
    for algorithm, form in _FORMS.items():
        match = form.fullmatch(sequence.id)
        if match:
            stated = match[1] if algorithm == "ga4gh" else match[1].lower()
            return stated == sequence.digests[algorithm]
    return True
