"""VCF text: header lines and records (VCFv4.3; intervals as htslib's tabix computes them)."""

from collections.abc import Iterable, Iterator, Mapping

from formats.bcf import contigs
from formats.bgzf import BgzfReader
from formats.errors import CorruptData
from formats.records import Header, HeaderReader, Pass, Span

_SPANNING = (b"<DEL", b"<DUP", b"<CNV", b"<INV")
_GVCF = (b"<*>", b"<NON_REF>")


def read_header(reader: BgzfReader) -> Header:
    """All leading `#` lines. `names` are the contigs that they declare."""
    stream = HeaderReader(reader)
    lines = 0
    while (line := stream.take_line(b"#")) is not None:
        lines += 1
        if lines == 1 and not line.startswith(b"##fileformat=VCF"):
            raise CorruptData("not a VCF file")
    if not lines:
        raise CorruptData("not a VCF file")
    text = stream.payload.decode("utf-8", "surrogateescape")
    names = tuple(name for name in contigs(text) if name)
    return Header(bytes(stream.payload), stream.tell(), text, names)


class VcfRecords:
    """Record boundaries and intervals of a VCF; `references` numbers the contig names.

    The interval of a record begins at POS - 1 (0 for a telomere's POS 0) and ends at the largest
    of: the length of REF; INFO/END if beyond the start; INFO/SVLEN of `<DEL>`, `<DUP>`, `<CNV>` and
    `<INV>` alleles; FORMAT/LEN where an allele is `<*>` or `<NON_REF>`. A contig without a number
    counts as -1.
    """

    __slots__ = ("_references",)

    def __init__(self, references: Mapping[str, int]) -> None:
        self._references = {
            name.encode("utf-8", "surrogateescape"): number for name, number in references.items()
        }

    def spans(self, buffer: bytes, at: int) -> Iterator[Span]:
        find, numbers = buffer.find, self._references
        while (newline := find(b"\n", at)) >= 0:
            end = newline + 1
            fields = buffer[at:newline].split(b"\t", 9)
            if len(fields) < 8:
                if not fields[0] or fields[0].startswith(b"#"):
                    at = end
                    continue
                raise CorruptData("a VCF record is malformed")
            start, stop = _interval(fields)
            yield at, end, numbers.get(fields[0], -1), start, stop
            at = end

    def advance(self, buffer: bytes, at: int, what: Pass) -> tuple[int, bool]:
        return what.over(buffer, self.spans(buffer, at), at)

    def last(self, rest: bytes) -> Iterable[Span]:
        for begin, end, reference, start, stop in self.spans(rest + b"\n", 0):
            yield begin, min(end, len(rest)), reference, start, stop


def _interval(fields: list[bytes]) -> tuple[int, int]:
    """The interval of a record, from its first columns (as split at nine tabs)."""
    if not fields[1].isdigit() or len(fields[1]) > 18:
        raise CorruptData("a VCF record has no position")
    start = max(int(fields[1]) - 1, 0)
    length = len(fields[3])
    info = fields[7]
    stop = 0
    if b"END=" in info and (value := _info(info, b"END=")) is not None:
        stop = _integer(value)
    if b"<" in fields[4]:
        length = max(length, _symbolic_length(fields, info))
    return start, max(stop, start + length, 1)


def _symbolic_length(fields: list[bytes], info: bytes) -> int:
    """The longest SVLEN or LEN that a symbolic allele of the record claims; 0 for none."""
    length = 0
    alleles = fields[4].split(b",")
    value = _info(info, b"SVLEN=")
    if value is not None:
        for allele, claimed in zip(alleles, value.split(b","), strict=False):
            if _spans_reference(allele):
                length = max(length, abs(_integer(claimed)))
    if any(allele in _GVCF for allele in alleles) and len(fields) > 9:
        keys = fields[8].split(b":")
        if b"LEN" in keys:
            at = keys.index(b"LEN")
            for sample in fields[9].split(b"\t"):
                values = sample.split(b":")
                if at < len(values):
                    length = max(length, _integer(values[at]))
    return length


def _spans_reference(allele: bytes) -> bool:
    """`<DEL>`, `<DUP>`, `<CNV>`, `<INV>` and their subtypes (`<DEL:ME>`)."""
    return allele.startswith(_SPANNING) and allele[4:5] in (b">", b":")


def _info(info: bytes, key: bytes) -> bytes | None:
    """The value of an INFO key (given with its `=`)."""
    if info.startswith(key):
        at = len(key)
    else:
        at = info.find(b";" + key)
        if at < 0:
            return None
        at += 1 + len(key)
    end = info.find(b";", at)
    return info[at:] if end < 0 else info[at:end]


def _integer(text: bytes) -> int:
    """The leading integer of a text; 0 when it has none (`.`)."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    length = 0
    while length < min(len(digits), 18) and 48 <= digits[length] <= 57:
        length += 1
    number = int(digits[:length] or b"0")
    return -number if text[:1] == b"-" else number
