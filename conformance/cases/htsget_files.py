"""The blocks of a ticket, one after another, are one whole file (htsget 1.3.0: Response)."""

from collections.abc import Iterator, Mapping

from conformance import regions
from conformance.bgzf import blocks, is_bgzf, is_gzip, unpacked
from conformance.case import Requirement, Skipped, case, require
from conformance.dataset import DataObject
from conformance.records import EOF_MARKERS
from conformance.site import Fetched, Site, region_query

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

URLS = "htsget 1.3.0, Response JSON fields: urls"
CLASS = "htsget 1.3.0, Query parameters: class"
REUSE = "htsget 1.3.0, Response data blocks: Diagram of core mechanic"

_MAGIC = {"BAM": b"BAM\1", "BCF": b"BCF\2", "VCF": b"##fileformat="}

Query = Mapping[str, object]


def of_region(site: Site, data: DataObject, format: str) -> Query | None:
    """The query of a region with many records; None where the records are not known."""
    try:
        region = regions.wide(site.truth(data, format))
    except Skipped:
        return None
    return region_query(region, format) if region else None


def answers(site: Site) -> Iterator[tuple[str, DataObject, Fetched]]:
    """Files that objects are answered with, whole, header alone, and region: where, and what
    came."""
    for data, format in site.forms():
        asked: dict[str, Query | None] = {
            "whole": {"format": format},
            "header": {"format": format, "class": "header"},
            "region": of_region(site, data, format),
        }
        for what, query in asked.items():
            if query is not None:
                yield f"{data} as {format}, {what}", data, site.fetch(site.ticket(data, query))


def with_regions(site: Site) -> Iterator[tuple[DataObject, str, Query]]:
    """Each object in each format of which a region can be asked for. Raises `Skipped` at the end
    when there is none."""
    none = True
    for data, format in site.forms():
        query = of_region(site, data, format)
        if query is not None:
            none = False
            yield data, format, query
    if none:
        raise Skipped("no object has known records with a place")


def header_of(site: Site, data: DataObject, format: str) -> Fetched:
    """What `class=header` leads to."""
    return site.fetch(site.ticket(data, {"format": format, "class": "header"}))


@case("htsget.files.readable", MUST, URLS)
def readable(site: Site) -> None:
    """The data of the URLs, one after another, are a file of the format that the ticket names."""
    for _, data, fetched in answers(site):
        site.decoded(data, fetched)


@case("htsget.files.eof-marker", MUST, CLASS)
def eof_marker(site: Site) -> None:
    """A file ends with the end-of-file marker of its format."""
    for where, _, fetched in answers(site):
        if _is_header(fetched):
            continue
        markers = eof_markers(fetched)
        require(not markers or fetched.data.endswith(markers), f"{where}: no EOF marker at the end")


@case("htsget.files.header-eof-marker", MAY, CLASS)
def header_eof_marker(site: Site) -> None:
    """Headers alone end with the marker too, without which readers call a file truncated."""
    for data, format in site.forms():
        fetched = header_of(site, data, format)
        markers = eof_markers(fetched)
        whole = not markers or fetched.data.endswith(markers)
        require(whole, f"{data} as {format}, header: no EOF marker at the end")


@case("htsget.files.eof-once", MAY, "SAMv1, 4.1.2: it does not signal the end by itself")
def eof_once(site: Site) -> None:
    """No end-of-file marker comes before the end, where some readers would stop."""
    for where, _, fetched in answers(site):
        for marker in eof_markers(fetched):
            place = fetched.data.find(marker)
            at_end = place in (-1, len(fetched.data) - len(marker))
            require(at_end, f"{where}: an EOF marker at byte {place} of {len(fetched.data)}")


@case("htsget.files.one-header", MUST, URLS)
def one_header(site: Site) -> None:
    """A file has one header, however many URLs it comes from."""
    for where, _, fetched in answers(site):
        found = headers(fetched)
        require(found == 1, f"{where}: {found} headers")


@case("htsget.files.header", MUST, CLASS)
def header(site: Site) -> None:
    """`class=header` gives the header that the file has, in the format asked for."""
    for (data, format), truth in site.known():
        named = [*site.decoded(data, header_of(site, data, format)).references]
        expected = [*truth.references]
        where = f"{data} as {format}, header"
        require(named == expected, f"{where}: the references are {named}, not {expected}")


@case("htsget.files.header-references", MUST, REUSE)
def header_references(site: Site) -> None:
    """The header of a region has the references of `class=header`, in the same order, by which
    records name them."""
    for data, format, query in with_regions(site):
        alone = site.decoded(data, header_of(site, data, format)).references
        found = site.records(data, query).references
        same = [*alone.items()] == [*found.items()]
        require(same, f"{data} as {format}: references {[*found]}, in the header alone {[*alone]}")


@case("htsget.files.header-text", SHOULD, REUSE)
def header_text(site: Site) -> None:
    """Where URLs have a class, the header of a region is that of `class=header`, line for line, so
    that either may be kept for the other."""
    judged = False
    for data, format, query in with_regions(site):
        region = site.fetch(site.ticket(data, query))
        if not any(block.kind == "header" for block in region.ticket.blocks):
            continue
        judged = True
        alone = site.decoded(data, header_of(site, data, format)).header.splitlines()
        found = site.decoded(data, region).header.splitlines()
        differing = sorted({*alone} ^ {*found}) or (["the order"] if alone != found else [])
        require(not differing, f"{data} as {format}: lines that differ: {differing[:3]}")
    if not judged:
        raise Skipped("no URL is of the class header")


@case("htsget.files.header-blocks", MAY, REUSE)
def header_blocks(site: Site) -> None:
    """Blocks of the class `header` are the same bytes in each ticket of an object."""
    judged = False
    for data, format, query in with_regions(site):
        made = {
            b"".join(part for block, part in fetched.blocks if block.kind == "header")
            for fetched in (
                site.fetch(site.ticket(data, query)),
                site.fetch(site.ticket(data, {"format": format})),
            )
        } - {b""}
        judged = judged or bool(made)
        require(len(made) < 2, f"{data} as {format}: header blocks of region and whole differ")
    if not judged:
        raise Skipped("no block is of the class header")


@case("htsget.files.vcf-bgzf", MAY, "hts-specs PR 856, htsget: format VCF")
def vcf_bgzf(site: Site) -> None:
    """VCF comes as BGZF: the whole, the header, and regions alike."""
    found = False
    for where, _, fetched in answers(site):
        if fetched.ticket.format == "VCF":
            found = True
            require(is_bgzf(fetched.data), f"{where}: begins with {fetched.data[:4]!r}")
    if not found:
        raise Skipped("no object is there as VCF")


@case("htsget.files.cram-references", MUST, "CRAMv3, Reference sequences")
def cram_references(site: Site) -> None:
    """Headers of CRAM name the MD5 of each sequence, by which a reader finds it."""
    found = False
    for data, format in site.forms():
        if format == "CRAM":
            found = True
            text = site.decoded(data, header_of(site, data, format)).header
            lines = [line for line in text.splitlines() if line.startswith("@SQ")]
            bare = [line for line in lines if "\tM5:" not in line]
            require(not bare, f"{data} as CRAM: @SQ lines without M5: {bare[:1]}")
    if not found:
        raise Skipped("no object is there as CRAM")


def _is_header(fetched: Fetched) -> bool:
    return "class=header" in fetched.ticket.answer.url


def eof_markers(fetched: Fetched) -> tuple[bytes, ...]:
    """The markers that a file may end with; none where its format or version has none."""
    data = fetched.data
    if fetched.ticket.format == "CRAM":
        version = tuple(data[4:6])
        new, old = EOF_MARKERS["CRAM"]
        return (new,) if version >= (3, 0) else (old,) if version == (2, 1) else ()
    return EOF_MARKERS["BAM"] if is_bgzf(data) else ()


def headers(fetched: Fetched) -> int:
    """How many headers a file has; 0 where that cannot be told."""
    data, format = fetched.data, fetched.ticket.format
    if format == "CRAM":
        return data.count(data[:6])
    try:
        if is_bgzf(data):
            return sum(each.startswith(_MAGIC[format]) for each in blocks(data))
        if is_gzip(data):
            return sum(each.count(_MAGIC[format]) for each in unpacked(data))
        return data.count(_MAGIC[format])
    except (KeyError, ValueError):
        return 0
