"""What `htsgate check` looks at of one file. None is read whole, but for sequences whose MD5 is
needed."""

import asyncio
from functools import partial

from formats.bgzf import EOF_MARKER, MAX_BLOCK, block_size
from formats.errors import CorruptData, FormatError
from formats.source import ByteSource
from server.catalog import Catalog, DataObject
from server.cli.cram_references import look_at_references
from server.cli.findings import Report, printable
from server.cli.order import Look, declared_order, denies_order, look_at_containers, look_at_records
from server.cli.reference_collections import look_at_collection, look_at_digests
from server.errors import HtsgetError
from server.model import Format
from server.refget.collection_match import CollectionMatcher
from server.slicing.cram_slicer import CramSlicer
from server.slicing.fasta_files import FastaFile
from server.slicing.library import INDEX_AGE_TOLERANCE_NS, Header, Library
from server.slicing.references import OpenFasta
from server.slicing.slicers import Slicer, StreamHeader, StreamSlicer
from server.survey import DataFile


async def inspect_object(
    catalog: Catalog, library: Library, file: DataFile, matcher: CollectionMatcher | None = None
) -> Report:
    """Look at a data file the way a request would, and beyond. `matcher`: what knows collections of
    sequences, if anything does."""
    report = Report(printable(file.name), file.format, printable(file.object_id))
    if file.object_id == "service-info":
        report.problem("id", "reserved id: its path is that of service-info")
        return report
    try:
        item = await catalog.resolve(file.endpoint, file.object_id, file.format)
    except HtsgetError:
        await file.location.backend.stat(file.key)  # it may be gone by now
        report.id = None
        report.problem("id", "no id leads to this file: its name is too long or not printable")
        return report
    if (item.location, item.key) != (file.location, file.key):
        other = printable(item.backend.describe(item.key))
        report.problem("id", f"shadowed: its id leads to {other}")
        return report
    if item.index_key is not None:
        report.index = printable(item.index_key.rpartition("/")[2])
    try:
        header = await library.header(item)
    except FormatError as error:
        kind = "" if item.format is Format.CRAM else await library.reading(item, _compression)
        report.problem("header", kind or str(error))
        return report
    slicer = await _open(library, item, report)
    await library.reading(item, partial(_look, item.format, slicer, header, report))
    if matcher is not None:
        text = header.text if isinstance(header, StreamHeader) else header.cram.text
        await asyncio.to_thread(look_at_collection, matcher, text, report)
    return report


async def _open(library: Library, item: DataObject, report: Report) -> Slicer:
    """The slicer with its index if that can be used."""
    if item.index_key is None:
        advice = "`htsgate index` builds one on disk"
        report.problem("index", f"no index, so it is served whole only; {advice}")
    else:
        try:
            return await library.slicer(item, indexed=True)
        except FormatError as error:
            report.problem("index", f"{error}, so regions are refused; remove it and index again")
    return await library.slicer(item, indexed=False)


def _look(kind: Format, slicer: Slicer, header: Header, report: Report, source: ByteSource) -> None:
    try:
        if isinstance(slicer, CramSlicer):
            if header.eof and slicer.header.data_end == source.size:
                report.problem("eof", "no EOF container: the file may have been cut short")
            look = look_at_containers(source, slicer.header)
            _judge(look, slicer.header.text, kind, report)
            look_at_references(source, slicer, report)
        elif isinstance(slicer, StreamSlicer) and isinstance(header, StreamHeader):
            if source.read(source.size - len(EOF_MARKER), source.size) != EOF_MARKER:
                report.problem("eof", "no EOF marker: the file may have been cut short")
            if slicer.stream.index is not None:
                _look_at_index(slicer, source.size, report)
            look = look_at_records(source, slicer.stream, kind)
            _judge(look, header.text, kind, report)
    except FormatError as error:
        report.problem("data", str(error))


def _judge(look: Look, text: str, kind: Format, report: Report) -> None:
    report.looked_at = look.at
    if look.disorder:
        what = look.at.rpartition(" ")[2].removesuffix("s")
        report.problem(
            "order", f"not sorted by coordinate: {what} {look.disorder:,}; sort and index it again"
        )
    elif kind in (Format.BAM, Format.CRAM):
        order = declared_order(text)
        if kind is Format.CRAM and denies_order(text):
            report.problem("order", f"not sorted by coordinate: the header says SO:{order}")
        elif order != "coordinate":
            report.note("order", f"the header says SO:{order}, yet what was looked at is in order")


def _look_at_index(slicer: StreamSlicer, size: int, report: Report) -> None:
    """What opening an index leaves to the first request: its tables."""
    index = slicer.stream.index
    for reference in range(index.references if index is not None else 0):
        table = index.table(reference) if index is not None else None
        if table is not None and table.last >> 16 > size:
            report.problem("index", "it points beyond the end of the file; index it again")
            return


def _compression(source: ByteSource) -> str:
    """What to say of a file that should be BGZF and is not; nothing if it is."""
    return not_bgzf(source.read(0, MAX_BLOCK))


def not_bgzf(start: bytes) -> str:
    """What to say of the start of a file that should be BGZF; nothing if it is."""
    try:
        block_size(start)
    except CorruptData:
        if not start:
            return "the file is empty"
        if start.startswith(b"\x1f\x8b"):
            return "plain gzip, not BGZF: compress it again with bgzip"
        if start.startswith(b"##fileformat=VCF"):
            return "plain text: compress it with bgzip"
    return ""


async def inspect_fasta(file: FastaFile, matcher: CollectionMatcher | None = None) -> Report:
    """Look at a FASTA file: of use at once with a `.fai`, and a `.gzi` when it is BGZF; and as a
    collection if it is in the catalogue of one."""
    report = Report(printable(file.name), "FASTA")
    wrong = await asyncio.to_thread(_wrong_compression, file)
    if wrong:
        report.problem("fasta", wrong)
        return report
    try:
        await asyncio.to_thread(lambda: OpenFasta(file).close())
    except FormatError as error:
        report.note("fasta", f"{error}: its sequences are used once the server has digested it")
        return report
    report.index = printable(file.name.rpartition("/")[2] + ".fai")
    made, index_made = await file.modified_ns(), await file.modified_ns(".fai")
    if made is not None and index_made is not None and index_made < made - INDEX_AGE_TOLERANCE_NS:
        report.note("index", "the .fai is older than the file")
    if matcher is not None:
        await look_at_digests(matcher, file, report)
    return report


def _wrong_compression(file: FastaFile) -> str:
    with file.open() as source:
        start = source.read(0, MAX_BLOCK)
    return not_bgzf(start) if start[:2] == b"\x1f\x8b" else ""
