"""The references that the header of a data file declares: `@SQ` lines, and `##contig` lines of VCF.

Whatever the text, there is an answer: what is malformed is not there.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from formats.bam import MAX_REFERENCES

_SQ = re.compile(r"^@SQ\t([^\n]*)", re.MULTILINE)
_CONTIG = re.compile(r"^##contig=<([^\n]*)>[^\S\n]*$", re.MULTILINE)
_FIELD = re.compile(r'([A-Za-z_][0-9A-Za-z_.]*)=("(?:[^"\\]|\\.)*"|[^,]*)')
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_LENGTH = re.compile(r"[0-9]{1,15}")


class HeaderReference(NamedTuple):
    """A reference as a header declares it.

    `length` in bases and `md5`, in lower case, are None where the header does not tell them.
    """

    name: str
    length: int | None
    md5: str | None


def references_of(text: str) -> tuple[HeaderReference, ...]:
    """The references of a header in its order, be it of alignments or of variants.

    Of those with one name the first counts. At most as many as a BAM may have are looked at.
    """
    declared = _contigs(text) if text.startswith("##") else _sequences(text)
    by_name: dict[str, HeaderReference] = {}
    for each in islice(declared, MAX_REFERENCES):
        if each.name:
            by_name.setdefault(each.name, each)
    return tuple(by_name.values())


def _sequences(text: str) -> Iterator[HeaderReference]:
    for line in _SQ.finditer(text):
        fields = {item[:2]: item[3:] for item in line[1].rstrip("\r").split("\t")}
        yield HeaderReference(
            fields.get("SN", ""), _length(fields.get("LN", "")), _md5(fields.get("M5", ""))
        )


def _contigs(text: str) -> Iterator[HeaderReference]:
    for line in _CONTIG.finditer(text):
        fields = {key: value.strip('"') for key, value in _FIELD.findall(line[1])}
        yield HeaderReference(
            fields.get("ID", ""), _length(fields.get("length", "")), _md5(fields.get("md5", ""))
        )


def _length(text: str) -> int | None:
    return int(text) if _LENGTH.fullmatch(text) else None


def _md5(text: str) -> str | None:
    return text.lower() if _MD5.fullmatch(text) else None
