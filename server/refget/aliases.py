"""Names of sequences from files that name them: NCBI assembly reports and SAM headers (`.dict`).

A line belongs to a record of the same name and length; where it tells an MD5, that decides. What a
file says is taken for a name only, never for a path or an id, and oddities are passed over.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from formats.errors import CorruptData
from server.refget.registry import Alias, WrittenRecord

MAX_BYTES = 1 << 28
"""Most bytes of a file that are read."""

SAM = "sam"
"""Who gives the names in SAM headers."""

_MAX_ALIAS = 255
_MAX_NAMES = 64  # in one AN
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_AUTHORITIES = {"GenBank-Accn": "insdc", "RefSeq-Accn": "refseq", "UCSC-style-name": "ucsc"}


@dataclass(frozen=True, slots=True)
class NamedSequence:
    """What a file says of one sequence: `names` to recognise it by, `aliases` to give it."""

    names: frozenset[str]
    length: int
    aliases: tuple[Alias, ...]
    md5: str | None = None
    is_circular: bool = False


def read_names(data: bytes) -> list[NamedSequence]:
    """What an assembly report or a SAM header says. Raises `CorruptData` for other files."""
    if len(data) > MAX_BYTES:
        raise CorruptData("a file of aliases is too large")
    lines = data.decode("utf-8", "replace").splitlines()
    if any(line.startswith("@SQ\t") for line in lines[:1000]):
        return list(_of_header(lines))
    if any(line.startswith("#") and "Sequence-Name" in line for line in lines[:1000]):
        return list(_of_report(lines))
    raise CorruptData("neither an NCBI assembly report nor a SAM header with @SQ lines")


def matches(
    named: Iterable[NamedSequence], records: Sequence[WrittenRecord]
) -> Iterator[tuple[WrittenRecord, NamedSequence]]:
    """The records of a file, each with what is said of it."""
    by_name = {each.record.entry.name: each for each in records}
    by_md5: dict[str, WrittenRecord] = {each.record.digests.md5: each for each in records}
    for sequence in named:
        if sequence.md5 is not None:
            found = by_md5.get(sequence.md5)
            candidates = [] if found is None else [found]
        else:
            candidates = [by_name[name] for name in sequence.names if name in by_name]
        for each in candidates:
            if each.record.length == sequence.length:
                yield each, sequence


def _of_report(lines: Sequence[str]) -> Iterator[NamedSequence]:
    columns: Sequence[str] = ()
    for line in lines:
        if line.startswith("#"):
            titles = line.lstrip("# ").split("\t")
            columns = titles if titles[0] == "Sequence-Name" else columns
            continue
        fields = dict(zip(columns, line.split("\t"), strict=False))
        length = fields.get("Sequence-Length", "")
        if not _NUMBER.fullmatch(length):
            continue
        given = {
            authority: Alias(authority, fields[column])
            for column, authority in _AUTHORITIES.items()
            if is_name(fields.get(column, "na"))
        }
        insdc, refseq = given.get("insdc"), given.get("refseq")
        if insdc and refseq and fields.get("Relationship", "=") != "=":
            # Two different sequences: nobody knows which of them the other names mean.
            for alias in (insdc, refseq):
                yield NamedSequence(frozenset([alias.alias]), int(length), (alias,))
            continue
        names = {alias.alias for alias in given.values()}
        names |= {name for name in (fields.get("Sequence-Name", "na"),) if is_name(name)}
        yield NamedSequence(frozenset(names), int(length), tuple(given.values()))


def _of_header(lines: Sequence[str]) -> Iterator[NamedSequence]:
    for line in lines:
        if not line.startswith("@SQ\t"):
            continue
        fields: Mapping[str, str] = {
            each[:2]: each[3:] for each in line.split("\t")[1:] if each[2:3] == ":"
        }
        length, md5 = fields.get("LN", ""), fields.get("M5")
        if not _NUMBER.fullmatch(length) or (md5 is not None and not _MD5.fullmatch(md5)):
            continue
        others = fields["AN"].split(",")[:_MAX_NAMES] if "AN" in fields else []
        names = [name for name in (fields.get("SN", "na"), *others) if is_name(name)]
        yield NamedSequence(
            frozenset(names),
            int(length),
            tuple(Alias(SAM, name) for name in names),
            None if md5 is None else md5.lower(),
            fields.get("TP") == "circular",
        )


def is_name(text: str) -> bool:
    """Whether a text can be a name; "na" says that there is none."""
    return 0 < len(text) <= _MAX_ALIAS and text.isprintable() and text != "na"
