"""Answers that hold less than `fields`, `tags` and `notags` asked for."""

import pysam

from conformance.cases.htsget_fields import FIELDS
from tests.conformance.breaking import breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import each_read, error, rewritten, with_tags, without


def is_bam(request: Request) -> bool:
    """Whether a ticket for reads in BAM is asked for."""
    return request.path.startswith("/reads/demo") and request.query.get("format") == "BAM"


@breaks("htsget.fields.each")
def tlen_forgotten(request: Request, sound: Sound) -> Response:
    if is_bam(request) and request.query.get("fields") == "TLEN":
        return rewritten(
            request, sound, each_read(lambda read: setattr(read, "template_length", 0))
        )
    return sound(request)


@breaks("htsget.fields.each")
def one_field_refused(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("fields") == "RNEXT":
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.fields.several")
def flags_of_unmapped_reads(request: Request, sound: Sound) -> Response:
    """As the reference server of GA4GH: without a reference, htslib takes a read for unmapped."""
    if is_bam(request) and request.query.get("fields") == "QNAME,FLAG,POS":
        return rewritten(
            request, sound, each_read(lambda read: setattr(read, "flag", read.flag | 4))
        )
    return sound(request)


@breaks("htsget.fields.several")
def only_the_first_field(request: Request, sound: Sound) -> Response:
    if is_bam(request) and request.query.get("fields") == ",".join(FIELDS):
        return rewritten(
            request, sound, each_read(lambda read: setattr(read, "mapping_quality", 255))
        )
    return sound(request)


@breaks("htsget.fields.qualities")
def unknown_bases_under_qualities(request: Request, sound: Sound) -> Response:
    def hide(read: pysam.AlignedSegment) -> None:
        qualities = read.query_qualities
        read.query_sequence = "N" * read.query_length
        read.query_qualities = qualities

    if is_bam(request) and request.query.get("fields") == "QUAL":
        return rewritten(request, sound, each_read(hide))
    return sound(request)


@breaks("htsget.fields.unknown")
def unknown_fields_ignored(request: Request, sound: Sound) -> Response:
    fields = request.query.get("fields", "QNAME").split(",")
    if is_ticket(request) and not {*fields} <= {*FIELDS} and "class" not in request.query:
        return sound(without(request, "fields"))
    return sound(request)


@breaks("htsget.fields.tags")
def tags_excluded_not_included(request: Request, sound: Sound) -> Response:
    query = request.query
    if is_bam(request) and query.get("tags") and "notags" not in query and "class" not in query:
        kept = {"NM", "MD", "RG"} - {*query["tags"].split(",")}
        return rewritten(request, sound, each_read(lambda read: with_tags(read, kept)))
    return sound(request)


@breaks("htsget.fields.tags-none")
def no_tags_is_no_list(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("tags") == "":
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.fields.notags")
def notags_drops_all(request: Request, sound: Sound) -> Response:
    query = request.query
    if is_bam(request) and "notags" in query and query.keys().isdisjoint({"tags", "class"}):
        return rewritten(request, sound, each_read(lambda read: with_tags(read, ())))
    return sound(request)


@breaks("htsget.fields.tags-and-notags")
def notags_wins(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and {"tags", "notags"} <= request.query.keys():
        return sound(without(request, "tags"))
    return sound(request)
