"""VCF headers that tell no more than records need (VCFv4.3 § 1.4): what is not listed is dropped.

Names of contigs, keys, filters and samples stay, for records use them; free text does not.
"""

import re
from collections.abc import Iterable, Mapping

from formats.bcf import contigs
from formats.errors import CorruptData
from formats.header_marks import vcf_marks
from formats.vcf_reserved import RESERVED_DESCRIPTIONS

MAX_NUMBER = 1 << 20
"""Dictionary numbers beyond this are refused: readers make room for all below the largest."""

_FILE_FORMAT = re.compile(r"##fileformat=(VCFv[0-9]{1,2}\.[0-9]{1,2})")
_COLUMNS = re.compile(
    r"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO(?:\tFORMAT(?:\t[^\n\0]*)?)?\r?"
)
_LINE = re.compile(r"##(contig|FILTER|INFO|FORMAT|ALT)=<")
_FIELD = re.compile(
    r" *([A-Za-z_][0-9A-Za-z_.]*) *= *"
    r'("(?:[^"\\]|\\.)*"|\[[^]]*\]|[^]["<>, ][^<>,]*|)([,>])'
)
_ID = re.compile(r"[^\x00-\x20\x7f][^\x00-\x1f\x7f]*")
_NUMBER = re.compile(r"[0-9]{1,9}|[ARGPM.]|L[ARG]")
_TYPE = re.compile(r"Integer|Float|Flag|Character|String")
_CONTIG_FIELDS = {
    "length": re.compile(r"[0-9]{1,18}"),
    "md5": re.compile(r'"?[0-9A-Fa-f]{32}"?'),
    "assembly": re.compile(r'[0-9A-Za-z._()+-]{1,64}|"[0-9A-Za-z._()+ -]{1,64}"'),
}


def redact_vcf_header(text: str, marks: Iterable[str] = (), *, numbered: bool = False) -> str:
    """The header that records are read with, and no more.

    `numbered`: that of a BCF, whose records name keys and contigs by the numbers that htslib gives
    the lines; each is then written down as `IDX`. Descriptions are blank, but for those of the
    specification. Raises `CorruptData` without the line of the columns, and for a BCF where what a
    number stands for cannot be told for certain.
    """
    text = text.partition("\0")[0]
    format_line = _FILE_FORMAT.match(text)
    lines = [f"##fileformat={format_line[1] if format_line else 'VCFv4.2'}\n"]
    dictionary = _Dictionary() if numbered else None
    known: set[tuple[str, str]] = set()
    columns = None
    for line in text.split("\n"):
        if line.startswith("##"):
            entry = _entry(line)
            if entry is None:
                if numbered and _LINE.match(line):
                    raise CorruptData("a line of the header that numbers its key is malformed")
                continue
            kind, fields = entry
            if (kind, fields["ID"]) not in known:
                known.add((kind, fields["ID"]))
                number = dictionary.number(kind, fields) if dictionary is not None else None
                lines.append(_structured(kind, fields, number))
        elif line.startswith("#CHROM"):
            columns = _COLUMNS.fullmatch(line)
            break
    if columns is None:
        raise CorruptData("the header names no columns")
    if dictionary is not None and dictionary.contigs() != contigs(text):
        raise CorruptData("the contigs of the header cannot be told for certain")
    return "".join((*lines, vcf_marks(marks), columns[0].rstrip("\r"), "\n"))


def mark_vcf_header(text: str, marks: Iterable[str]) -> str:
    """The header as it is, with remarks before the line of the columns."""
    columns = re.search(r"^#CHROM", text, re.MULTILINE)
    if columns is None:
        raise CorruptData("the header names no columns")
    return text[: columns.start()] + vcf_marks(marks) + text[columns.start() :]


class _Dictionary:
    """The numbers of a BCF (VCFv4.3 § 6.2.1), given as htslib gives them: `IDX` where a line has
    it, else the next after the largest; a key has one number whatever its kind."""

    def __init__(self) -> None:
        self._contigs: dict[int, str] = {}
        self._keys: dict[int, str] = {0: "PASS"}
        self._numbers: dict[str, int] = {"PASS": 0}
        self._next = {"contig": 0, "key": 1}

    def number(self, kind: str, fields: Mapping[str, str]) -> int | None:
        """What the line of an entry stands for; None where its kind is not numbered."""
        name, said = fields["ID"], fields.get("IDX")
        if kind == "ALT":
            return None
        if kind == "contig":
            length = fields.get("length")
            if length is not None and not _CONTIG_FIELDS["length"].fullmatch(length):
                raise CorruptData("a contig of the header has an impossible length")
            return self._take("contig", self._contigs, name, said)
        if name not in self._numbers:
            self._numbers[name] = self._take("key", self._keys, name, said)
        return self._numbers[name]

    def contigs(self) -> tuple[str, ...]:
        """The contigs at their numbers, "" where there is none."""
        named = self._contigs
        return tuple(named.get(at, "").strip('"') for at in range(self._next["contig"]))

    def _take(self, which: str, names: dict[int, str], name: str, said: str | None) -> int:
        if said is None:
            number = self._next[which]
        elif re.fullmatch(r"[0-9]{1,9}", said):
            number = int(said)
        else:
            raise CorruptData("a line of the header has an impossible IDX")
        if number in names or number >= MAX_NUMBER:
            raise CorruptData("a line of the header has an impossible IDX")
        names[number] = name
        self._next[which] = max(self._next[which], number + 1)
        return number


def _entry(line: str) -> tuple[str, dict[str, str]] | None:
    """Kind and fields of a structured line that is listed and has an ID; values as they stand, with
    their quotes."""
    begin = _LINE.match(line)
    if begin is None:
        return None
    fields: dict[str, str] = {}
    at, mark = begin.end(), ","
    while mark == ",":
        field = _FIELD.match(line, at)
        if field is None or field[1] in fields:
            return None
        fields[field[1]] = field[2].rstrip(" ")
        at, mark = field.end(), field[3]
    return (begin[1], fields) if _ID.fullmatch(fields.get("ID", "")) else None


def _structured(kind: str, fields: Mapping[str, str], number: int | None) -> str:
    """The line of an entry with what is listed."""
    kept = [f"ID={fields['ID']}"]
    if kind == "contig":
        kept += [
            f"{key}={fields[key]}"
            for key, pattern in _CONTIG_FIELDS.items()
            if key in fields and pattern.fullmatch(fields[key])
        ]
    else:
        if kind in ("INFO", "FORMAT"):
            count, value_type = fields.get("Number", "."), fields.get("Type", "String")
            kept.append(f"Number={count if _NUMBER.fullmatch(count) else '.'}")
            kept.append(f"Type={value_type if _TYPE.fullmatch(value_type) else 'String'}")
        description = fields.get("Description", "").strip('"')
        reserved = description.casefold() in RESERVED_DESCRIPTIONS
        kept.append(f'Description="{description if reserved else ""}"')
    if number is not None:
        kept.append(f"IDX={number}")
    return f"##{kind}=<{','.join(kept)}>\n"
