"""What the server and its decoding processes say to each other, and how it goes over a pipe.

A job is a frame of two lengths, a JSON text and the bytes of a small CRAM file; a reply is a
kind, a length and a payload.
"""

import json
import struct
from dataclasses import dataclass
from typing import IO, NamedTuple

from formats.regions import Interval

JOB_HEAD = struct.Struct("<IQ")
REPLY_HEAD = struct.Struct("<cQ")

TRIMMED, WHOLE, PROBED, FAILED = b"T", b"W", b"P", b"F"
"""Kinds of reply: a CRAM file of the records that stay (empty: none), "all records stay", counts,
and "this cannot be decoded"."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Which records of a container stay.

    Those that overlap one of `intervals` (disjoint and sorted), and with `unplaced` those without a
    position. `sent`: on its reference, records that start before its `end` are already out.
    """

    intervals: tuple[Interval, ...]
    unplaced: bool = False
    sent: Interval | None = None


class Bases(NamedTuple):
    """Residues of reference `reference`, which is `length` long, from `start` on."""

    reference: int
    length: int
    start: int
    residues: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """Trim a CRAM file in memory, or only probe it: count what would stay, without any reference.

    `cram`: file definition, header container, data containers, EOF container. `external`: encode
    against the reference, whose residues `bases` holds, else without one.
    """

    cram: bytes
    version: str
    keep: Keep
    probe: bool = False
    external: bool = False
    bases: tuple[Bases, ...] = ()


class Probe(NamedTuple):
    """Counts of the records in a container and of those that would stay.

    `spans`: per reference, the interval its records cover.
    """

    total: int
    kept: int
    spans: tuple[Interval, ...]


def write_job(pipe: IO[bytes], job: Job) -> None:
    """Send a job; its bases travel by file."""
    keep = job.keep
    text = json.dumps(
        {
            "version": job.version,
            "probe": job.probe,
            "external": job.external,
            "intervals": keep.intervals,
            "unplaced": keep.unplaced,
            "sent": keep.sent,
        }
    ).encode()
    pipe.write(JOB_HEAD.pack(len(text), len(job.cram)) + text)
    pipe.write(job.cram)
    pipe.flush()


def read_job(pipe: IO[bytes]) -> Job | None:
    """The next job, without its bases; None when there is no more."""
    head = pipe.read(JOB_HEAD.size)
    if len(head) < JOB_HEAD.size:
        return None
    length, size = JOB_HEAD.unpack(head)
    fields = json.loads(pipe.read(length))
    sent = fields["sent"]
    keep = Keep(
        tuple(Interval(*item) for item in fields["intervals"]),
        fields["unplaced"],
        None if sent is None else Interval(*sent),
    )
    cram = pipe.read(size)
    return Job(cram, fields["version"], keep, fields["probe"], fields["external"])


def write_reply(pipe: IO[bytes], kind: bytes, payload: bytes = b"") -> None:
    """Send a reply."""
    pipe.write(REPLY_HEAD.pack(kind, len(payload)))
    pipe.write(payload)
    pipe.flush()


def encode_probe(probe: Probe) -> bytes:
    """The payload of a `PROBED` reply."""
    return json.dumps(probe).encode()


def decode_probe(payload: bytes) -> Probe:
    """A probe from its payload; `ValueError` when it is none."""
    total, kept, spans = json.loads(payload)
    return Probe(total, kept, tuple(Interval(*span) for span in spans))
