"""Whether the reference sequences that slices of a CRAM are cut with are at hand."""

from formats.cram import CramHeader, demand, read_container
from formats.regions import UNBOUNDED
from formats.source import ByteSource
from server.cli.findings import Report
from server.slicing.cram_slicer import CramSlicer

_MOST_LOOKED_AT = 32
_MOST_NAMED = 3


def look_at_references(source: ByteSource, slicer: CramSlicer, report: Report) -> None:
    """Report the references that have data, are needed to decode these, and are not configured.

    Without an index nothing is cut, so nothing is needed. Computes the MD5 of the sequences that
    may be meant. Raises `CorruptData`.
    """
    header, index = slicer.header, slicer.index
    if index is None:
        return
    known = slicer.services.references
    missing = []
    for number, name in enumerate(header.names):
        offsets = index.containers(number, 0, UNBOUNDED)
        if offsets and not known.find(name, header.lengths[number], header.md5s[number]):
            missing.append((number, offsets[0]))
    needed = [
        number for number, offset in missing[:_MOST_LOOKED_AT] if _is_needed(source, header, offset)
    ]
    if not needed:
        return
    names = ", ".join(
        f"{header.names[number]} (M5 {header.md5s[number] or 'not given'})"
        for number in needed[:_MOST_NAMED]
    )
    more = " and others" if len(missing) > len(needed[:_MOST_NAMED]) else ""
    report.problem(
        "references",
        f"no FASTA file with indexes holds {names}{more}; unless the server digests one that does,"
        " whole containers are sent at the edges of slices, with records outside the region",
    )


def _is_needed(source: ByteSource, header: CramHeader, offset: int) -> bool:
    container = read_container(source, offset, header.version, header.data_end)
    data = source.read(container.offset, container.stop)
    return demand(header.version, container, data).external
