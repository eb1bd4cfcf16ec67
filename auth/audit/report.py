"""Who was given what: the records of a chain, brought together by ticket."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auth.audit.verdict import OpenIntents, text_of
from auth.consent_files import SampleMap


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which accesses a report is about; None: all.

    `subjects` are pseudonyms. `since` is RFC 3339 in UTC, or its beginning. `participant`: whose
    data an object holds, by the `samples` of its dataset.
    """

    dataset: str | None = None
    subjects: Collection[str] | None = None
    since: str | None = None
    participant: str | None = None
    samples: Mapping[str, SampleMap] = field(default_factory=dict)


@dataclass(slots=True)
class Access:
    """A ticket, and what was sent of it; or a refusal.

    `subject` and `peer` are pseudonyms, "" for nobody. `regions`: name, start and end (0-based,
    half-open), or fewer of them; None: all. Counts are of data blocks, whole or in ranges: sent
    whole, broken off, refused, and begun with no end known. `bytes` were sent.
    """

    first: str
    last: str
    request: str
    ticket: str
    subject: str = ""
    client: str = ""
    peer: str = ""
    dataset: str = ""
    endpoint: str = ""
    object: str = ""
    format: str = ""
    data_class: str = ""
    regions: list[list[Any]] | None = None
    grants: tuple[str, ...] = ()
    rule: str = ""
    denied: bool = False
    complete: int = 0
    aborted: int = 0
    refused: int = 0
    unfinished: int = 0
    bytes: int = 0
    records: int = 0

    @property
    def outcome(self) -> str:
        """In a word: denied, not fetched, unfinished, sent, aborted or refused."""
        if self.denied:
            return "denied"
        if self.unfinished:
            return "unfinished"
        if self.complete:
            return "sent"
        if self.aborted:
            return "aborted"
        return "refused" if self.refused else "not fetched"

    @property
    def region_text(self) -> str:
        """The regions as samtools writes them: 1-based, closed."""
        return "all" if self.regions is None else " ".join(map(_region_text, self.regions))


class AccessReport:
    """Takes the records of a chain in order; `accesses` are those that are wanted."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._tickets: dict[str, Access] = {}
        self._refusals: list[Access] = []
        self._intents = OpenIntents()

    def add(self, record: Mapping[str, Any]) -> None:
        """Look at the next record."""
        event = text_of(record, "event")
        family, _, what = event.partition(".")
        if event == "ticket.denied":
            access = _access(record)
            access.denied = True
            if self._is_wanted(access):
                self._refusals.append(access)
        elif event == "ticket.intent":
            access = _access(record)
            if self._is_wanted(access):
                self._tickets[access.ticket] = access
        elif family in ("ticket", "data"):
            known = self._tickets.get(text_of(record, "tid"))
            if known is not None:
                if family == "data":
                    self._intents.add(record)
                _continue(known, what, record)

    def accesses(self) -> list[Access]:
        """Everything wanted, by time."""
        for each in self._tickets.values():
            each.unfinished = 0
        for intent in self._intents.records:
            self._tickets[text_of(intent, "tid")].unfinished += 1
        since = self._wanted.since or ""
        found = [*self._tickets.values(), *self._refusals]
        return sorted(
            (each for each in found if each.last >= since), key=lambda each: (each.first, each.last)
        )

    def _is_wanted(self, access: Access) -> bool:
        wanted = self._wanted
        if wanted.dataset is not None and access.dataset != wanted.dataset:
            return False
        if wanted.subjects is not None and access.subject not in wanted.subjects:
            return False
        if wanted.participant is not None:
            samples = wanted.samples.get(access.dataset)
            names = (access.object, f"{access.endpoint}/{access.object}")
            return samples is not None and any(
                wanted.participant in samples.participants(name) for name in names
            )
        return True


def _access(record: Mapping[str, Any]) -> Access:
    ts, subject = text_of(record, "ts"), record.get("subject")
    about = subject if isinstance(subject, dict) else {}
    grants = record.get("grant_ids")
    regions = record.get("authorised", record.get("requested"))
    return Access(
        ts,
        ts,
        text_of(record, "req"),
        text_of(record, "tid") or text_of(record, "req"),
        text_of(about, "pii"),
        text_of(about, "client_id"),
        text_of(peer, "pii") if isinstance(peer := record.get("peer"), dict) else "",
        text_of(record, "dataset"),
        text_of(record, "endpoint"),
        text_of(record, "object"),
        text_of(record, "format"),
        text_of(record, "class"),
        _regions(regions),
        tuple(map(str, grants)) if isinstance(grants, list) else (),
        text_of(record, "rule"),
    )


def _continue(access: Access, what: str, record: Mapping[str, Any]) -> None:
    access.last = max(access.last, text_of(record, "ts"))
    if what == "done":
        access.complete += 1
    elif what == "aborted":
        access.aborted += 1
    elif what == "denied":
        access.refused += 1
        access.rule = text_of(record, "rule") or access.rule
    if what in ("done", "aborted"):
        access.bytes += _number(record, "bytes")
        access.records += _number(record, "records")


def _regions(value: object) -> list[list[Any]] | None:
    """Lists of a name with up to two numbers; what else there is stands as a name."""
    if not isinstance(value, list):
        return None
    return [each if isinstance(each, list) and each else [str(each)] for each in value]


def _region_text(region: Sequence[Any]) -> str:
    name, *bounds = region
    if not bounds or not isinstance(bounds[0], int):
        return str(name)
    end = bounds[1] if len(bounds) > 1 else ""
    return f"{name}:{bounds[0] + 1}-{end}"


def _number(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
