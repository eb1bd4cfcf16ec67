"""Headers as a caller may see them: the file's own, or only what records need, and with remarks."""

from dataclasses import dataclass

from formats import bam, bcf, bgzf, vcf
from formats.cram import CramHeader, mini_header
from formats.sam_header_redaction import mark_sam_header, redact_sam_header
from formats.source import BytesSource
from formats.vcf_header_redaction import mark_vcf_header, redact_vcf_header
from server.model import Format
from server.slicing.cram_slicer import CramFileHeader
from server.slicing.slicers import StreamHeader


@dataclass(frozen=True, slots=True)
class HeaderView:
    """How a header is shown.

    `minimal`: by the allow-list, without free text, programs, samples of read groups and paths.
    `marks`: remarks to put in, one line each, such as the regions that an answer is confined to.
    """

    minimal: bool
    marks: tuple[str, ...] = ()


def view_header(header: StreamHeader | CramFileHeader, view: HeaderView) -> bytes:
    """The header block of a view, without EOF marker; bodies of the file fit it as they fit its
    own. `CorruptData` where a header cannot be reduced without changing what records say."""
    if not (view.minimal or view.marks):
        return header.blocks
    if isinstance(header, CramFileHeader):
        return _cram(header.cram, view)
    reader = bgzf.BgzfReader(BytesSource(header.blocks))
    show = {Format.BAM: _bam, Format.VCF: _vcf, Format.BCF: _bcf}[header.format]
    return bgzf.compress(show(reader, view))


def _cram(header: CramHeader, view: HeaderView) -> bytes:
    if view.minimal:
        references = list(zip(header.names, header.lengths, strict=True))
        text = redact_sam_header(header.text, references, view.marks)
    else:
        text = mark_sam_header(header.text, view.marks)
    return mini_header(header.version, text)


def _bam(reader: bgzf.BgzfReader, view: HeaderView) -> bytes:
    header = bam.read_header(reader)
    references = bam.references(header.payload)
    if view.minimal:
        return bam.build_header(redact_sam_header(header.text, references, view.marks), references)
    return bam.build_header(mark_sam_header(header.text, view.marks), references)


def _vcf(reader: bgzf.BgzfReader, view: HeaderView) -> bytes:
    show = redact_vcf_header if view.minimal else mark_vcf_header
    return show(vcf.read_header(reader).text, view.marks).encode("utf-8", "surrogateescape")


def _bcf(reader: bgzf.BgzfReader, view: HeaderView) -> bytes:
    header = bcf.read_header(reader)
    if view.minimal:
        text = redact_vcf_header(header.text, view.marks, numbered=True)
    else:
        text = mark_vcf_header(header.text, view.marks)
    return bcf.with_text(header.payload, text)
