"""Regions as custodians write them: named panels in BED files, and texts such as `chr1:1001-2000`.

BED is 0-based and half-open, the texts are 1-based and closed as in samtools. Both become regions
of `formats.regions` here and nowhere else.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from auth.errors import InvalidConfiguration
from auth.policy.region_sets import RegionSet
from formats.regions import Region

MAX_BED_BYTES = 256 << 20
MAX_BED_ROWS = 4_000_000
MAX_POSITION = 1 << 44
"""More than any index can hold (CSI of depth 10)."""

# SAMv1 section 1.2.1: a name begins with neither of * and =.
_NAME = r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]{0,254}"
_REFERENCE = re.compile(_NAME)
_REGION = re.compile(rf"(?:\{{({_NAME})\}}|({_NAME}?)):([0-9][0-9,]*)-([0-9][0-9,]*)", re.ASCII)
_BRACED = re.compile(rf"\{{({_NAME})\}}")
_NO_ROWS = (b"#", b"track", b"browser")


@dataclass(frozen=True, slots=True)
class Panel:
    """A BED file, and what it holds. `sha256` is of its bytes; `assembly` and `seqcol` are "" where
    the policy does not say for which build it was made."""

    name: str
    path: Path
    sha256: str
    assembly: str
    seqcol: str
    regions: RegionSet


def read_panel(path: Path, sha256: str) -> RegionSet:
    """The regions of a BED file whose bytes have a SHA-256; else `InvalidConfiguration`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BED_BYTES + 1)
    except OSError as error:
        raise InvalidConfiguration(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BED_BYTES:
        raise InvalidConfiguration(f"{path.name} is larger than {MAX_BED_BYTES >> 20} MiB")
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, sha256):
        raise InvalidConfiguration(
            f"{path.name} is not the file that was approved: its sha256 is {found}"
        )
    try:
        return parse_bed(data)
    except ValueError as error:
        raise InvalidConfiguration(f"{path.name}: {error}") from None


def parse_bed(data: bytes) -> RegionSet:
    """The regions of a BED file; `ValueError` names the first line that is none.

    A row without a base is refused, for in a denial it would deny nothing, and so is a file without
    a row.
    """
    regions: list[Region] = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip() or line.startswith(_NO_ROWS):
            continue
        if len(regions) == MAX_BED_ROWS:
            raise ValueError(f"more than {MAX_BED_ROWS:,} rows")
        row = line.split(b"\t") if b"\t" in line else line.split()
        try:
            name, start, end = row[0].decode("ascii"), _position(row[1]), _position(row[2])
        except (IndexError, ValueError):
            raise ValueError(f"line {number}: not a name, a start and an end") from None
        if start >= end:
            raise ValueError(f"line {number}: ends before its first base")
        if not _REFERENCE.fullmatch(name):
            raise ValueError(f"line {number}: not the name of a reference")
        regions.append(Region(name, start, end))
    if not regions:
        raise ValueError("no row")
    return RegionSet.of(regions)


def parse_region(text: str) -> Region:
    """The region of a text: `name:first-last`, or a whole reference as `name`.

    Names with colons may be set in braces, `{HLA-A*01:01}:1-9`, and alone they must be, so that
    `chr1:100` is no name by mistake. Raises `ValueError`.
    """
    match = _REGION.fullmatch(text)
    if match is None:
        braced = _BRACED.fullmatch(text)
        if braced is None and (":" in text or not _REFERENCE.fullmatch(text)):
            raise ValueError(f"{text!r} is no region; write chr1:1001-2000, 1-based with both ends")
        return Region(braced[1] if braced else text)
    name = match[1] or match[2]
    first, last = (int(group.replace(",", "")) for group in match.group(3, 4))
    if not 1 <= first <= last <= MAX_POSITION:
        raise ValueError(f"{text!r}: positions count from 1, and the last is not before the first")
    return Region(name, first - 1, last)


def _position(text: bytes) -> int:
    if not text.strip().isdigit():
        raise ValueError
    position = int(text)
    if position > MAX_POSITION:
        raise ValueError
    return position
