"""What an answer must hold: the records of the local file as pysam gives them.

Records are compared as text, the SAM or VCF line that htslib prints for them.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pysam
from pysam.utils import SamtoolsError

from tests.support.bgzf_layout import inflated
from tests.support.sample_recipes import Sample

UNPLACED = "*"
Region = tuple[str, int | None, int | None]
"""Reference name, 0-based half-open interval; None is an open end, `UNPLACED` has no interval."""
Span = tuple[str, int, int]
"""Where a record lies: reference name, 0-based start, end beyond the last base."""

_BEYOND = 1 << 62
_PYSAM_LIMIT = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """An alignment or variant file, decoded: header as text, records as lines, in file order."""

    header: str
    records: list[str]


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path that pysam can open, without touching a disk."""
    descriptor = os.memfd_create("answer")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def _local_reads(sample: Sample) -> Iterator[pysam.AlignmentFile]:
    """The local alignments, also where the file lacks its EOF marker."""
    with warnings.catch_warnings(action="ignore"):
        reads = pysam.AlignmentFile(
            str(sample.oracle),
            reference_filename=str(sample.reference) if sample.reference else None,
            check_sq=False,
            ignore_truncation=True,
        )
    with reads:
        yield reads


@contextmanager
def _local_variants(sample: Sample) -> Iterator[pysam.VariantFile]:
    with warnings.catch_warnings(action="ignore"):
        variants = pysam.VariantFile(str(sample.oracle), ignore_truncation=True)
    with variants:
        yield variants


def _read_lines(reads: Iterable[pysam.AlignedSegment], sample: Sample) -> list[str]:
    """SAM lines; names that htslib makes up begin with the file's name, which is left out."""
    lines = [read.to_string() for read in reads]
    return [line[line.index(":") :] for line in lines] if sample.nameless else lines


def _split_vcf(data: bytes) -> tuple[str, list[str]]:
    lines = inflated(data).decode().split("\n")
    if not lines[-1]:
        lines.pop()
    first = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(line + "\n" for line in lines[:first]), lines[first:]


def decode(data: bytes, sample: Sample) -> Decoded:
    """What htslib makes of a file in the sample's format, which must end with its EOF marker.

    VCF records are the lines themselves, of which htslib must read every one.
    """
    with _as_file(data) as path:
        if sample.endpoint == "reads":
            fasta = str(sample.reference) if sample.reference else None
            with pysam.AlignmentFile(path, reference_filename=fasta, check_sq=False) as reads:
                header = str(reads.header)
                return Decoded(header, _read_lines(reads.fetch(until_eof=True), sample))
        with pysam.VariantFile(path) as variants:
            header = str(variants.header)
            records = [str(record) for record in variants]
    if sample.format == "BCF":
        return Decoded(header, records)
    text, lines = _split_vcf(data)
    if len(lines) != len(records):
        raise ValueError(f"{len(lines)} VCF lines, of which htslib reads {len(records)}")
    return Decoded(text, lines)


def passes_quickcheck(data: bytes) -> bool:
    """The judgement of `samtools quickcheck` on an alignment file."""
    with _as_file(data) as path:
        try:
            pysam.quickcheck("-u", path)
        except SamtoolsError:
            return False
    return True


class Oracle:
    """The records of one local file, by region.

    `fetch` asks htslib's region iterator; `select` computes the same from the records' spans, for
    many regions at once and for files that cannot be asked by region.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.contigs: dict[str, int | None] = {}
        self.header = ""
        self.records: list[str] = []
        reads = sample.endpoint == "reads"
        spans = self._load_reads() if reads else self._load_variants()
        names = list(dict.fromkeys([*self.contigs, *(name for name, _, _ in spans)]))
        self.numbers = {name: number for number, name in enumerate(names)}
        self.references = _array(self.numbers[name] for name, _, _ in spans)
        self.starts = _array(start for _, start, _ in spans)
        self.ends = _array(end for _, _, end in spans)
        for name in names:
            if name != UNPLACED:
                self.contigs.setdefault(name, None)

    def _load_reads(self) -> list[Span]:
        spans: list[Span] = []
        with _local_reads(self.sample) as reads:
            self.header = str(reads.header)
            self.contigs = dict(zip(reads.references, reads.lengths, strict=True))
            segments = list(reads.fetch(until_eof=True))
            self.records = _read_lines(segments, self.sample)
            for read in segments:
                start = read.reference_start
                # htslib's bam_endpos: one base where nothing is aligned
                length = 0 if read.is_unmapped else read.reference_length or 0
                spans.append((read.reference_name or UNPLACED, start, start + max(1, length)))
        return spans

    def _load_variants(self) -> list[Span]:
        spans: list[Span] = []
        with _local_variants(self.sample) as variants:
            self.header = str(variants.header)
            for each in variants.header.records:  # header.contigs fails where IDX= leaves gaps
                if each.type == "CONTIG":
                    length = each.get("length")
                    self.contigs[each["ID"]] = int(length) if length else None
            for record in variants:
                # POS 0 (a telomere): to htslib the first base in VCF, the one before it in BCF
                start = record.start if self.sample.format == "BCF" else max(0, record.start)
                spans.append((record.chrom, start, max(start + 1, record.stop)))
                self.records.append(str(record))
        if self.sample.format == "VCF":
            self.header, self.records = _split_vcf(self.sample.oracle.read_bytes())
            if self.sample.indexed:
                return self._as_tabix_sees(spans)
        return spans

    def _as_tabix_sees(self, spans: list[Span]) -> list[Span]:
        """A span that SVLEN gives ends a base earlier in htslib's VCF iterator than in BCF: ask."""
        ends: list[Region] = [(name, end - 1, end) for name, _, end in spans]
        asked = [row for row, line in enumerate(self.records) if "SVLEN=" in line]
        held = self.fetch([ends[row] for row in asked])
        for row, lines in zip(asked, held, strict=True):
            if self.records[row] not in lines:
                name, start, end = spans[row]
                spans[row] = name, start, end - 1
        return spans

    @cached_property
    def occupied(self) -> list[str]:
        """The contigs that have records."""
        present = set(np.unique(self.references).tolist())
        return [name for name in self.contigs if self.numbers.get(name) in present]

    def rows_of(self, contig: str) -> list[int]:
        """Row numbers of a contig's records, in file order."""
        rows: list[int] = np.flatnonzero(self.references == self.numbers[contig]).tolist()
        return rows

    def select(self, regions: Iterable[Region] | None) -> list[str]:
        """Every record that overlaps a region, once, in file order; all of them for None."""
        if regions is None:
            return self.records
        wanted = np.zeros(len(self.records), dtype=bool)
        for name, start, end in regions:
            here = self.references == self.numbers[name] if name in self.numbers else None
            if here is None:
                continue
            if name != UNPLACED:
                first, stop = start or 0, _BEYOND if end is None else end
                here = here & (self.starts < stop) & (self.ends > first) & (first < stop)
            wanted |= here
        return [self.records[row] for row in np.flatnonzero(wanted)]

    def fetch(self, regions: Sequence[Region]) -> list[list[str]]:
        """What pysam's `fetch` gives for each region.

        htslib 1.24 finds only the last of several containers of unplaced reads in a CRAM
        (1.16 finds them all), so these come from `select`.
        """
        asked = [_clipped(region) for region in regions]
        if self.sample.format in ("BAM", "CRAM"):
            with _local_reads(self.sample) as reads:
                return [
                    self.select([region])
                    if region and region[0] == UNPLACED
                    else _read_lines(reads.fetch(*region) if region else (), self.sample)
                    for region in asked
                ]
        if self.sample.format == "BCF":
            with _local_variants(self.sample) as variants:
                return [
                    [str(record) for record in variants.fetch(*region)] if region else []
                    for region in asked
                ]
        path = self.sample.oracle
        index = next(i for i in (f"{path}.csi", f"{path}.tbi") if Path(i).exists())
        with pysam.TabixFile(str(path), index=index, encoding="utf-8") as lines:
            indexed = set(lines.contigs)
            return [
                list(
                    lines.fetch(f"{{{region[0]}}}", *region[1:])
                )  # braces: a name may hold a colon
                if region and region[0] in indexed
                else []
                for region in asked
            ]


def _clipped(region: Region) -> Region | None:
    """The region as pysam takes it, whose coordinates are signed 32-bit; None for an empty one."""
    name, start, end = region
    if name == UNPLACED:
        return region
    first, stop = start or 0, _PYSAM_LIMIT if end is None else end
    if first >= min(stop, _PYSAM_LIMIT):
        return None
    return name, start, None if end is None else min(end, _PYSAM_LIMIT)


def _array(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


def first_difference(expected: Sequence[str], answered: Sequence[str]) -> str:
    """One line that says how two lists of records differ, or nothing."""
    if list(expected) == list(answered):
        return ""
    counts = f"{len(expected)} records expected, {len(answered)} answered"
    missing, extra = set(expected) - set(answered), set(answered) - set(expected)
    for row, (left, right) in enumerate(zip(expected, answered, strict=False)):
        if left != right:
            return (
                f"{counts}; {len(missing)} missing, {len(extra)} extra; record {row}: "
                f"expected {left[:160]!r}, answered {right[:160]!r}"
            )
    rest = (expected if len(expected) > len(answered) else answered)[
        min(len(expected), len(answered))
    ]
    return f"{counts}; {len(missing)} missing, {len(extra)} extra; first beyond: {rest[:160]!r}"
