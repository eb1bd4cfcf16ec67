"""What can be said of a chain and its checkpoints: is it whole, how far is that certain, and which
intents came to no end that is known."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from auth.audit.chain import BEGINNING, Anchor, ChainVerifier, Entry, Fault
from auth.audit.checkpoints import Checkpoint, check_checkpoints

_ENDS = {"data.done": "data.intent", "data.aborted": "data.intent"}
_INTENTS = frozenset(_ENDS.values())

Key = tuple[str, str, str, str]


def read_payload(payload: bytes) -> Mapping[str, Any]:
    """What a record says; nothing if it is no object of JSON."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def text_of(record: Mapping[str, Any], name: str) -> str:
    """A member that is a text; "" where it is missing or none."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


class OpenIntents:
    """The transfers whose beginning is recorded, and whose end is not."""

    def __init__(self) -> None:
        self._open: dict[Key, Mapping[str, Any]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Look at the next record."""
        event = text_of(record, "event")
        if event in _INTENTS:
            self._open[_key(event, record)] = record
        elif event in _ENDS:
            self._open.pop(_key(_ENDS[event], record), None)

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """The intents, oldest first."""
        return list(self._open.values())


def _key(event: str, record: Mapping[str, Any]) -> Key:
    return event, text_of(record, "req"), text_of(record, "tid"), json.dumps(record.get("n"))


@dataclass(slots=True)
class Verdict:
    """What was found out about one chain.

    `records` were walked, the last of them `head`. `fault` is the first bad one. `faults` are those
    of checkpoints. `anchored` is the last record that a believable checkpoint confirms: what came
    later may have been cut off without a trace. `unfinished` are intents without an end. `dropped`
    counts records that the log says it could not keep.
    """

    chain: str
    records: int = 0
    head: Anchor = BEGINNING
    fault: Fault | None = None
    faults: list[str] = field(default_factory=list)
    checkpoints: int = 0
    missing_checkpoints: int = 0
    anchored: int = 0
    unfinished: list[Mapping[str, Any]] = field(default_factory=list)
    dropped: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing contradicts anything."""
        return self.fault is None and not self.faults


def judge(
    chain: str,
    entries: Iterable[Entry],
    checkpoints: Iterable[Checkpoint],
    key: bytes | None,
    *,
    must_sign: bool,
    start: Anchor = BEGINNING,
) -> Verdict:
    """Walk a chain, and hold its checkpoints against it; see `check_checkpoints`."""
    verdict = Verdict(chain)
    checked = check_checkpoints(checkpoints, chain, key, must_sign=must_sign)
    verdict.faults += checked.faults
    verdict.missing_checkpoints = checked.missing
    verdict.checkpoints = len(checked.anchors)
    verifier = ChainVerifier(checked.anchors, start)
    intents = OpenIntents()
    for entry in entries:
        verdict.records += 1
        if verifier.add(entry):
            break
        record = read_payload(entry.payload)
        intents.add(record)
        if record.get("event") == "audit.dropped" and isinstance(record.get("count"), int):
            verdict.dropped += record["count"]
    verdict.fault = verifier.finish()
    verdict.head = verifier.head
    if verdict.fault is None:
        verdict.anchored = max((each.seq for each in checked.anchors), default=0)
    verdict.unfinished = intents.records
    return verdict
