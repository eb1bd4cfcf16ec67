"""SAM headers that tell no more than records need (SAMv1 § 1.3): what is not listed is dropped.

Of the fields that stay, those with free text must look like what they are for: a header is data
from a file, and its author may have written a path or a person's name anywhere.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from formats.errors import CorruptData
from formats.header_marks import sam_marks

PSEUDONYM = "sample"
"""What samples are called, with a number: those of one file stay apart, and that is all."""

_OWN_PROGRAM = "@PG\tID:htsgate\tPN:htsgate\n"
_WORDS = re.compile(r"[0-9A-Za-z._()+ -]{1,64}")
_HEADER_LINE = {
    "SO": re.compile(r"unknown|unsorted|queryname|coordinate"),
    "GO": re.compile(r"none|query|reference"),
}
_SEQUENCE_LINE = {
    "M5": re.compile(r"[0-9A-Fa-f]{32}"),
    "AS": _WORDS,
    "SP": _WORDS,
    "AN": re.compile(r"[0-9A-Za-z][0-9A-Za-z*+.@_|,-]{0,4095}"),
    "TP": re.compile(r"linear|circular"),
}
_READ_GROUP_LINE = {
    "PL": re.compile(
        r"capillary|dnbseq|element|helicos|illumina|iontorrent|ls454|ont|pacbio|singular|solid"
        r"|ultima",
        re.IGNORECASE,
    ),
}
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]+")
_LONGEST_IN_BAM = 0xFFFFFFFF


def redact_sam_header(
    text: str, references: Sequence[tuple[str, int]], marks: Iterable[str] = ()
) -> str:
    """The header that records are read with, and no more.

    `references`: names and lengths in the order of their ids, as the file itself numbers them;
    @SQ is written from these, and `text` only adds to it. Read groups stay in their order, for CRAM
    numbers them; of repeated ones the first, as htslib has it. Raises `CorruptData` for names that
    cannot stand in a header, and for read groups without ID.
    """
    header = ""
    sequences: dict[str, Mapping[str, str]] = {}
    groups: dict[str, str] = {}
    samples: dict[str, str] = {}
    for line in text.partition("\0")[0].split("\n"):
        kind, fields = line[:4], line.rstrip("\r").split("\t")[1:]
        if kind == "@SQ\t":
            found = _fields(fields)
            sequences.setdefault(found.get("SN", ""), found)
        elif kind == "@RG\t":
            found = _fields(fields)
            name = _checked(found.get("ID", ""))
            groups.setdefault(name, _read_group(name, found, samples))
        elif kind == "@HD\t" and not header:
            found = _fields(fields)
            version = found.get("VN", "")
            version = version if _VERSION.fullmatch(version) else "1.6"
            header = f"@HD\tVN:{version}{_kept(found, _HEADER_LINE)}\n"
    lines = [header]
    lines += [_sequence(name, length, sequences) for name, length in references]
    lines += groups.values()
    lines += [_OWN_PROGRAM, sam_marks(marks)]
    return "".join(lines)


def mark_sam_header(text: str, marks: Iterable[str]) -> str:
    """The header as it is, with remarks at its end."""
    return text + ("\n" if text and not text.endswith("\n") else "") + sam_marks(marks)


def _fields(items: list[str]) -> dict[str, str]:
    """The fields of a line by their tags; the first of those that are repeated."""
    return {item[:2]: item[3:] for item in reversed(items) if item[2:3] == ":"}


def _kept(fields: Mapping[str, str], listed: Mapping[str, re.Pattern[str]]) -> str:
    """What is listed and looks as it should, as it stands in a line."""
    return "".join(
        f"\t{tag}:{fields[tag]}"
        for tag, pattern in listed.items()
        if tag in fields and pattern.fullmatch(fields[tag])
    )


def _sequence(name: str, length: int, lines: Mapping[str, Mapping[str, str]]) -> str:
    fields = lines.get(name, {})
    said = fields.get("LN", "")
    # BAM cannot tell the length of a reference beyond 32 bits; the text can.
    if length == _LONGEST_IN_BAM and _DIGITS.fullmatch(said):
        length = max(length, int(said))
    return f"@SQ\tSN:{_checked(name)}\tLN:{length}{_kept(fields, _SEQUENCE_LINE)}\n"


def _read_group(name: str, fields: Mapping[str, str], samples: dict[str, str]) -> str:
    sample = ""
    if "SM" in fields:
        known = samples.setdefault(fields["SM"], f"{PSEUDONYM}{len(samples) + 1}")
        sample = f"\tSM:{known}"
    return f"@RG\tID:{name}{sample}{_kept(fields, _READ_GROUP_LINE)}\n"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CorruptData("a name in the header is empty or holds control characters")
    return name
