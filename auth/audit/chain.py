"""The chain of the audit: what a record's hash covers, and what a chain of them proves.

    h(i) = SHA-256("htsget-audit/v1" 00, h(i-1), seq, length of the payload, payload)

Numbers are 8 bytes, big endian; h(0) is 32 zero bytes; the payload is canonical JSON. A chain shows
every edit, removal, insertion and reordering; that its end was cut off, or all of it written anew,
is shown by anchors alone: hashes that were kept elsewhere (`auth.audit.checkpoints`).
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

JSON: TypeAlias = "str | int | bool | Sequence[JSON] | Mapping[str, JSON]"

GENESIS = bytes(32)
"""What stands for the hash before the first record."""

_PREFIX = b"htsget-audit/v1\0"
_LARGEST = 1 << 63
_MAX_DEPTH = 16


class Entry(NamedTuple):
    """A record as it is kept: its number from 1, its canonical JSON, its hash."""

    seq: int
    payload: bytes
    hash: bytes


class Anchor(NamedTuple):
    """What the hash of a record was when somebody looked."""

    seq: int
    hash: bytes


def canonical(value: object) -> bytes:
    """The one way to write a value: sorted names, no spaces, ASCII.

    `ValueError` for what has none: numbers that are not whole or need more than 64 bits, null,
    names that are not text, and nesting deeper than 16.
    """
    _check(value, _MAX_DEPTH)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        return
    if isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise ValueError("a number that is too large")
        return
    if not depth:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise ValueError("a name that is no text")
            _check(each, depth - 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth - 1)
    else:
        raise ValueError(f"{type(value).__name__} has no canonical form")


def chained(previous: bytes, seq: int, payload: bytes) -> bytes:
    """The hash of a record that follows one with the hash `previous`."""
    lengths = seq.to_bytes(8, "big") + len(payload).to_bytes(8, "big")
    return hashlib.sha256(_PREFIX + previous + lengths + payload).digest()


BEGINNING = Anchor(0, GENESIS)
"""Where a chain starts."""


class Fault(NamedTuple):
    """The first record that is not as it was written, and in what way."""

    seq: int
    reason: str


class ChainVerifier:
    """Walks a chain from the record after `start`, an entry at a time.

    `fault` names the first bad record, None so far; whoever adds may stop there. `finish` tells in
    the end what the anchors show besides.
    """

    def __init__(self, anchors: Iterable[Anchor] = (), start: Anchor = BEGINNING) -> None:
        self._anchors = sorted(anchors)
        self.head = start
        self.fault: Fault | None = None
        self._next = bisect_right(self._anchors, start.seq, key=lambda each: each.seq)
        for each in self._anchors[: self._next]:
            # Those of records before the first one tell nothing of this part of the chain.
            if each.seq == start.seq and each.hash != start.hash:
                self.fault = Fault(start.seq, "an anchor has another hash for it")

    def add(self, entry: Entry) -> Fault | None:
        """Check the next record; the fault, if there is one now."""
        if self.fault is None:
            self.fault = self._fault_of(entry)
            if self.fault is None:
                self.head = Anchor(entry.seq, entry.hash)
        return self.fault

    def _fault_of(self, entry: Entry) -> Fault | None:
        expected = self.head.seq + 1
        if entry.seq != expected:
            what = "is missing" if entry.seq > expected else "is followed by an earlier number"
            return Fault(expected, what)
        if chained(self.head.hash, expected, entry.payload) != entry.hash:
            return Fault(expected, "does not have the hash of what it says and follows")
        while self._next < len(self._anchors) and self._anchors[self._next].seq == expected:
            if self._anchors[self._next].hash != entry.hash:
                return Fault(expected, "an anchor has another hash for it")
            self._next += 1
        return None

    def finish(self) -> Fault | None:
        """The fault of the whole chain: anchors beyond its end show that it was cut off."""
        if self.fault is None and self._next < len(self._anchors):
            last = self._anchors[-1].seq
            self.fault = Fault(self.head.seq + 1, f"is missing: an anchor knows of record {last}")
        return self.fault


def verify_chain(entries: Iterable[Entry], anchors: Iterable[Anchor] = ()) -> Fault | None:
    """What is wrong with a whole chain: the first bad record, or None."""
    verifier = ChainVerifier(anchors)
    for entry in entries:
        if verifier.add(entry):
            break
    return verifier.finish()
