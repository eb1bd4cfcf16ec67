"""Whether records stand in order: a look at the beginning of a file that does not read it all."""

import re
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from formats.bgzf import BgzfReader
from formats.cram import MULTIPLE, UNPLACED, CramHeader
from formats.cram import walk as walk_containers
from formats.records import walk as walk_records
from formats.source import ByteSource
from server.model import Format
from server.slicing.stream import RecordStream

MOST_RECORDS = 20_000
MOST_CONTAINERS = 1_000
MOST_BYTES = 16 << 20
"""Bytes of the file that are looked at, if its records are large."""

Place = tuple[Hashable, int, int]
"""A contig, a 0-based start on it, and the offset in the file where the record stands."""


class Look(NamedTuple):
    """What was looked at, and which item of it (from 1) is the first out of order; 0 for none."""

    at: str
    disorder: int


_SORT_ORDER = re.compile(r"^@HD\t(?:.*\t)?SO:([a-z]+)", re.MULTILINE)


def declared_order(text: str) -> str:
    """The sort order that the header of alignments declares; "unknown" if it does not."""
    declared = _SORT_ORDER.search(text)
    return declared[1] if declared else "unknown"


def denies_order(text: str) -> bool:
    """Whether a header says that its records are not sorted by coordinate.

    What CRAM containers tell of the order of their records is too little to contradict it.
    """
    return declared_order(text) in ("queryname", "unsorted")


def look_at_records(source: ByteSource, stream: RecordStream, kind: Format) -> Look:
    """The first records of a BAM, VCF or BCF; `CorruptData` when they cannot be read."""
    walked = walk_records(BgzfReader(source), stream.layout, stream.first_record)
    places = (
        # A contig that neither header nor index numbers is known by its name.
        (record.data.split(b"\t", 1)[0], record.start, record.offset >> 16)
        if kind is Format.VCF
        else (record.reference, record.start, record.offset >> 16)
        for record in walked
    )
    return _look(places, "records", MOST_RECORDS, (stream.first_record >> 16) + MOST_BYTES)


def look_at_containers(source: ByteSource, header: CramHeader) -> Look:
    """The headers of a CRAM's first containers; `CorruptData` when they cannot be read."""
    places = (
        (container.reference, container.start, 0)
        for container in walk_containers(source, header)
        if container.records
    )
    return _look(places, "containers", MOST_CONTAINERS, 0)


def _look(places: Iterable[Place], what: str, most: int, limit: int) -> Look:
    """Contigs must not come back, starts not decrease, and what has no place is last.

    Containers on several references tell nothing.
    """
    number, seen = 0, set[Hashable]()
    current: Hashable = None
    position = 0
    for number, (contig, start, offset) in enumerate(places, start=1):
        if number > most or offset > limit:
            return Look(f"first {number - 1:,} {what}", 0)
        if contig == MULTIPLE:
            continue
        if contig != current:
            if contig in seen or current == UNPLACED:
                return Look(f"first {number:,} {what}", number)
            seen.add(contig)
            current = contig
        elif start < position and contig != UNPLACED:
            return Look(f"first {number:,} {what}", number)
        position = start
    return Look(f"all {number:,} {what}", 0)
