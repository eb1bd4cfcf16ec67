"""What a file of alignments or variants holds, as text, and which of it a region asks for."""

import gzip
import hashlib
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pysam

from conformance import bgzf

LARGEST_TEXT = 2**30
"""Bytes of a file without its compression, or of its records as text, that are looked at."""

BEGINNINGS = {"BAM": b"BAM\1", "CRAM": b"CRAM", "VCF": b"##fileformat=VCF", "BCF": b"BCF\2"}
"""What files of a format begin with, without compression."""

EOF_MARKERS = {
    "BAM": (bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"),),
    "CRAM": (
        bytes.fromhex(
            "0f000000ffffffff0fe0454f4600000000010005bdd94f0001000606010001000100ee63014b"
        ),
        bytes.fromhex("0b000000ffffffff0fe0454f460000000001000001000606010001000100"),
    ),
}
"""What a whole file ends with, by its format (SAMv1 4.1.2, CRAMv3 9); those of VCF and BCF are
BAM's."""

UNPLACED = "*"
"""What stands for a reference where a read has none."""

_CONSUMING = re.compile(r"(\d+)[MDN=X]")
_END = re.compile(r"(?:^|;)END=(\d+)")
_EXTENSION = {"BAM": ".bam", "CRAM": ".cram", "VCF": ".vcf.gz", "BCF": ".bcf"}


_WITHOUT_BASES = "required_fields=0x9ff"
"""For CRAM: all of SAM but SEQ and QUAL, for which alone references are looked for."""


class Undecodable(Exception):
    """The bytes are no file of the format; says what htslib found."""


class TooLarge(Exception):
    """There is more than the suite looks at."""


@dataclass(frozen=True, slots=True)
class Region:
    """A reference, whole or an interval of it (0-based, half-open). `*`: reads without a place."""

    reference: str
    start: int | None = None
    end: int | None = None

    def holds(self, record: "Record") -> bool:
        """Whether a record overlaps it: begins before its end and ends behind its start."""
        return self._meets(record, record.end)

    def may_hold(self, record: "Record") -> bool:
        """Whether it overlaps by any reading of where the record ends."""
        return self._meets(record, record.reach)

    def _meets(self, record: "Record", end: int) -> bool:
        if record.reference != self.reference or self.start == self.end is not None:
            return False
        if self.start is None and self.end is None:
            return True
        return end > (self.start or 0) and (self.end is None or record.start < self.end)

    def __str__(self) -> str:
        if self.start is None and self.end is None:
            return self.reference
        return f"{self.reference}:{self.start or 0}-{'' if self.end is None else self.end}"


@dataclass(frozen=True, slots=True)
class Record:
    """A line of SAM or VCF, and the interval of the reference that it covers, at least one base.

    `reach`: the furthest end that any reading of the formats gives; readers differ on variants
    whose length SVLEN or LEN tells, and servers may too.
    """

    text: str
    reference: str
    start: int
    end: int
    reach: int


@dataclass(frozen=True)
class Records:
    """A decoded file: its header as text, its references with their lengths (0: not known), and
    its records in their order. `bases`: reads have SEQ and QUAL, if the file has."""

    header: str
    references: dict[str, int]
    records: tuple[Record, ...]
    bases: bool = True

    @property
    def texts(self) -> list[str]:
        return [record.text for record in self.records]

    @property
    def digest(self) -> str:
        """SHA-256 of all records' lines, each with its newline, in hex."""
        return digest(self.texts)

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of the (first) record with a text."""
        return {record.text: n for n, record in reversed([*enumerate(self.records)])}

    @cached_property
    def copies(self) -> Counter[str]:
        """How often the file has a record with a text."""
        return Counter(self.texts)

    @cached_property
    def placed(self) -> dict[str, list[Record]]:
        """The records of each reference that has any, in file order."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if record.reference != UNPLACED and record.start >= 0:  # else POS is 0: nowhere
                found.setdefault(record.reference, []).append(record)
        return found

    @property
    def unplaced(self) -> list[Record]:
        """The reads without a place, in file order."""
        return [record for record in self.records if record.reference == UNPLACED]

    def within(self, region: Region) -> list[Record]:
        """The records that overlap a region, in file order."""
        if region.reference == UNPLACED:
            return self.unplaced
        found = self.placed.get(region.reference, [])
        if region.start == region.end is None:
            return found
        start, end = region.start or 0, 2**63 if region.end is None else region.end
        return [each for each in found if start < each.end and each.start < end > start]


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines, each with its newline, in hex."""
    total = hashlib.sha256()
    for line in lines:
        total.update(f"{line}\n".encode())
    return total.hexdigest()


def decode(data: bytes, format: str, reference: Path | None = None) -> Records:
    """What a file holds that a server has sent, in the format or the other one of its datatype:
    nothing else is opened, whatever it names. Raises `Undecodable` and `TooLarge`."""
    first = bgzf.beginning(data)
    alike = ("BAM", "CRAM") if format in ("BAM", "CRAM") else ("VCF", "BCF")
    found = next((each for each in alike if first.startswith(BEGINNINGS[each])), None)
    if found is None:  # htslib takes any format, and follows tickets
        raise Undecodable(f"it begins with {first!r}")
    if bgzf.is_gzip(data):
        try:
            size = bgzf.unpacked_size(data, LARGEST_TEXT)
        except ValueError as error:
            raise Undecodable(str(error)) from None
        if size > LARGEST_TEXT:
            raise TooLarge(f"it holds more than {LARGEST_TEXT} bytes")
        if not bgzf.is_bgzf(data):  # pysam reads no other gzip
            data = gzip.decompress(data)
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        path = Path(directory) / f"answer{_EXTENSION[found]}"
        path.write_bytes(data)
        return read(path, found, reference, alone=True)


def read(path: Path, format: str, reference: Path | None = None, *, alone: bool = False) -> Records:
    """What a local file holds, with an EOF marker or without. `reference`: FASTA that CRAM is
    decoded with; `alone`: and nothing else, neither the files that its header names nor what
    htslib is set to search; CRAM has no bases then where the FASTA lacks a sequence of its. Raises
    `Undecodable` and `TooLarge`."""
    chatter = pysam.set_verbosity(0)
    try:
        with warnings.catch_warnings(action="ignore"):
            if format in ("VCF", "BCF"):
                return _variants(path)
            bases = format == "BAM" or not alone or _covers(reference, path)
            return _reads(path, reference, bases=bases)
    except (OSError, ValueError, NotImplementedError) as error:
        first = error.__context__ or error  # closing what cannot be read fails, too
        raise Undecodable(str(first).replace(os.fspath(path), "the answer")) from None
    finally:
        pysam.set_verbosity(chatter)


def lost(answer: Sequence[str], expected: Iterable[Record]) -> list[str]:
    """The expected records that an answer lacks, with their multiplicity."""
    missing = Counter(record.text for record in expected) - Counter(answer)
    return [*missing.elements()]


def repeated(answer: Sequence[str], truth: Records) -> list[str]:
    """The records that an answer has more often than the file."""
    more = Counter(each for each in answer if each in truth.copies) - truth.copies
    return [*more.elements()]


def foreign(answer: Sequence[str], truth: Records) -> list[str]:
    """The records of an answer that the file does not have."""
    return [each for each in answer if each not in truth.copies]


def misplaced(answer: Sequence[str], truth: Records) -> str | None:
    """The first record of an answer that comes behind one it precedes in the file."""
    last = -1
    for text in answer:
        place = truth.places.get(text)
        if place is None or truth.copies[text] > 1:
            continue
        if place < last:
            return text
        last = place
    return None


def _covers(reference: Path | None, path: Path) -> bool:
    """Whether a FASTA has all sequences that a file of reads names."""
    if reference is None:
        return False
    with (
        pysam.FastaFile(str(reference)) as fasta,
        pysam.AlignmentFile(str(path), check_sq=False) as file,
    ):
        return set(file.references) <= set(fasta.references)


def _reads(path: Path, reference: Path | None, *, bases: bool) -> Records:
    with pysam.AlignmentFile(
        str(path),
        check_sq=False,
        reference_filename=str(reference) if reference and bases else None,
        ignore_truncation=True,
        format_options=None if bases else [_WITHOUT_BASES],
    ) as file:
        references = dict(zip(file.references, file.lengths, strict=True))
        lines = (each.to_string() for each in file.fetch(until_eof=True))
        records = tuple(_read(line) for line in _bounded(lines))
        return Records(str(file.header), references, records, bases)


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    """The lines, as long as they are not too many. Raises `TooLarge`."""
    total = 0
    for line in lines:
        total += len(line)
        if total > LARGEST_TEXT:
            raise TooLarge(f"its records are more than {LARGEST_TEXT} characters")
        yield line


def _read(line: str) -> Record:
    fields = line.split("\t", 6)
    start = int(fields[3]) - 1
    end = start + (1 if int(fields[1]) & 4 else _span(fields[5]))
    return Record(line, fields[2], start, end, end)


@lru_cache(maxsize=1024)
def _span(cigar: str) -> int:
    """Bases of the reference that a CIGAR covers, at least one; most reads of a file share few."""
    return max(1, sum(int(length) for length in _CONSUMING.findall(cigar)))


def _variants(path: Path) -> Records:
    with pysam.VariantFile(str(path), ignore_truncation=True) as file:
        references = {str(each.name): each.length or 0 for each in file.header.contigs.values()}
        return Records(str(file.header), references, tuple(_variant_records(file)))


def _variant_records(file: pysam.VariantFile) -> Iterator[Record]:
    for each in file:
        text = str(each).rstrip("\n")
        start, reference = max(0, each.start), each.ref or "."  # POS 0 is a telomere
        stated = _END.search(text.split("\t", 8)[7])
        end = int(stated[1]) if stated else 0
        if end <= start:
            end = start + len(reference)
        yield Record(text, each.chrom, start, end, max(end, each.stop))
