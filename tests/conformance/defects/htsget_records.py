"""Records that are lost, repeated, changed or moved."""

from conformance.records import Record, Region
from tests.conformance.breaking import breaks
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.payloads import (
    NOTHING,
    Lines,
    asking,
    followed,
    is_whole,
    leads_to_body,
    of_format,
    of_interval,
    region_of,
    rewritten,
)

LAST = Region("chrM")
"""The demo's last reference."""

_MANY = 200
"""Records that only a large region has."""


def texts(records: list[Record]) -> Lines:
    return [each.text for each in records]


def _of_variants(request: Request) -> bool:
    return of_interval(request) and of_format("VCF", "BCF")(request)


@breaks("htsget.records.whole-complete", "htsget.records.whole-has-parts")
def whole_file_without_unmapped_reads(request: Request, sound: Sound) -> Response:
    """As googlegenomics/htsget."""
    return rewritten(
        request,
        sound,
        lambda each: is_whole(each) and each.path.startswith("/reads/"),
        lambda records, _: texts([each for each in records if each.reference != "*"]),
    )


@breaks("htsget.records.whole-complete", "htsget.records.formats-agree")
def one_format_is_older(request: Request, sound: Sound) -> Response:
    """Each answer in BCF is that of a file in which one record in ten was different."""

    def older(records: list[Record], _: Request) -> Lines:
        return [
            text.replace("PASS", "PASS" if n % 10 else ".") for n, text in enumerate(texts(records))
        ]

    return rewritten(request, sound, of_format("BCF"), older)


@breaks("htsget.records.region", "htsget.records.formats-agree")
def last_block_of_a_chunk_is_dropped(request: Request, sound: Sound) -> Response:
    """As htsgetr, which ends a chunk where its last block starts."""
    return rewritten(
        request,
        sound,
        of_interval,
        lambda records, _: texts(records[: -_MANY // 4] if len(records) > _MANY else records),
    )


@breaks("htsget.records.single-base", "htsget.records.spanning", "htsget.records.region")
def single_bases_are_empty(request: Request, sound: Sound) -> Response:
    """An end that is taken as the last base, of an interval that is none without two."""
    region = region_of(request)
    if region and region.start is not None and region.end == region.start + 1:
        return sound(asking(request, end=region.start)) if _of_variants(request) else sound(request)
    return sound(request)


@breaks("htsget.records.spanning", "htsget.records.region", "htsget.records.single-base")
def long_records_are_not_looked_for(request: Request, sound: Sound) -> Response:
    """A linear index that is read a window too late: what begins far before a region is lost."""

    def near(records: list[Record], original: Request) -> Lines:
        region = region_of(original)
        start = (region.start if region else None) or 0
        return texts([each for each in records if each.start > start - 1000])

    return rewritten(request, sound, _of_variants, near)


@breaks("htsget.records.start-alone")
def start_without_end_is_one_base(request: Request, sound: Sound) -> Response:
    region = region_of(request)
    if region and region.start is not None and region.end is None:
        return sound(asking(request, end=min(region.start + 1, 2**32 - 1)))
    return sound(request)


@breaks("htsget.records.end-alone")
def end_without_start_is_one_base(request: Request, sound: Sound) -> Response:
    region = region_of(request)
    if region and region.start is None and region.end:
        return sound(asking(request, start=region.end - 1))
    return sound(request)


@breaks("htsget.records.reference")
def references_are_cut_short(request: Request, sound: Sound) -> Response:
    """A reference alone is asked for up to the last window of the index that is full."""
    if region_of(request) == LAST:
        return sound(asking(request, end=8_192))
    return sound(request)


@breaks("htsget.records.placed-unmapped", "htsget.records.region", "htsget.records.formats-agree")
def unmapped_mates_are_left_out(request: Request, sound: Sound) -> Response:
    """Reads that are not mapped are taken for such without a place."""
    return rewritten(
        request,
        sound,
        lambda each: of_interval(each) and of_format("BAM")(each),
        lambda records, _: [text for text in texts(records) if not int(text.split("\t")[1]) & 4],
    )


@breaks("htsget.records.unplaced")
def first_unplaced_reads_are_lost(request: Request, sound: Sound) -> Response:
    """Unplaced reads are looked for from the next border of a block on."""
    return rewritten(
        request,
        sound,
        lambda each: each.query.get("referenceName") == "*",
        lambda records, _: texts(records[20:]),
    )


@breaks("htsget.records.unaltered")
def records_of_another_file(request: Request, sound: Sound) -> Response:
    """A cache that holds pieces of two versions of a file."""

    def mixed(records: list[Record], _: Request) -> Lines:
        return (
            texts(records[:1])
            + [each.text.replace("PASS", ".") for each in records[:1]]
            + texts(records[1:])
        )

    return rewritten(request, sound, _of_variants, mixed)


@breaks("htsget.records.once")
def chunks_that_overlap_are_sent_twice(request: Request, sound: Sound) -> Response:
    return rewritten(
        request, sound, _of_variants, lambda records, _: texts(records[:2] + records[1:])
    )


@breaks("htsget.records.order")
def chunks_come_as_the_index_lists_them(request: Request, sound: Sound) -> Response:
    """Bins of an index are not in the order of the file."""
    return rewritten(
        request, sound, _of_variants, lambda records, _: texts(records[1:] + records[:1])
    )


@breaks("htsget.records.empty-region", "htsget.exact.empty-region")
def nothing_found_is_not_found(request: Request, sound: Sound) -> Response:
    """As htsget-rs, for references that the index does not name."""
    answer, region = sound(request), region_of(request)
    start, end = (region.start or 0, region.end or 0) if region else (0, 0)
    if end < start + 2 or start >= 2**29:
        return answer
    if leads_to_body(request, answer) and followed(request, sound)[1] in NOTHING:
        return Response(404, {"content-type": "application/json"}, b"{}")
    return answer
