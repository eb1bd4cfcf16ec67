"""Formats, classes and ids that are taken for what they are not."""

from dataclasses import replace

from tests.conformance.breaking import breaks, is_ticket
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import asked, error, without

OTHER = {"BAM": "CRAM", "CRAM": "BAM", "VCF": "BCF", "BCF": "VCF"}


@breaks("htsget.parameters.format-default")
def cram_and_bcf_by_default(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.method == "GET" and not request.query:
        default = {"reads": "CRAM", "variants": "BCF"}[request.path.split("/")[1]]
        return sound(asked(request, {"format": default}))
    return sound(request)


@breaks("htsget.parameters.format", "htsget.files.one-header")
def format_as_stored(request: Request, sound: Sound) -> Response:
    """What is stored is sent under the name of what was asked for."""
    query = request.query
    if not is_ticket(request) or query.keys() != {"format", "class"} or query["format"] != "CRAM":
        return sound(request)
    answer = sound(asked(request, {**query, "format": "BAM"}))
    return answer.holding(answer.body.replace(b'"format":"BAM"', b'"format":"CRAM"'))


@breaks("htsget.parameters.format-case")
def format_in_upper_case_only(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("format", "BAM").islower():
        return error(400, "UnsupportedFormat")
    return sound(request)


@breaks("htsget.parameters.format-unknown")
def default_for_unknown_formats(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("format", "BAM").upper() not in OTHER:
        return sound(without(request, "format"))
    return sound(request)


@breaks("htsget.parameters.format-unknown")
def unknown_format_is_invalid_input(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("format") == "SAM":
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.parameters.format-other-datatype")
def default_for_formats_of_the_other_datatype(request: Request, sound: Sound) -> Response:
    formats = {"reads": ("VCF", "BCF"), "variants": ("BAM", "CRAM")}
    kind = request.path.split("/")[1]
    if is_ticket(request) and request.query.get("format") in formats[kind]:
        return sound(without(request, "format"))
    return sound(request)


@breaks("htsget.parameters.class-unknown")
def unknown_class_ignored(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.query.get("class", "header") != "header":
        return sound(without(request, "class"))
    return sound(request)


@breaks("htsget.parameters.class-header-alone")
def header_with_anything(request: Request, sound: Sound) -> Response:
    """As htsget-rs does."""
    if is_ticket(request) and request.query.get("class") == "header":
        return sound(without(request, "referenceName", "start", "end", "fields", "tags", "notags"))
    return sound(request)


@breaks("htsget.parameters.unknown")
def unknown_parameters_refused(request: Request, sound: Sound) -> Response:
    known = {"format", "class", "referenceName", "start", "end", "fields", "tags", "notags"}
    if is_ticket(request) and request.method == "GET" and request.query.keys() - known:
        return error(400, "InvalidInput")
    return sound(request)


@breaks("htsget.parameters.id-encoded")
def ids_not_decoded(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and "%64" in request.path:
        return error(404, "NotFound")
    return sound(request)


@breaks("htsget.parameters.id-of-index")
def suffixes_ignored(request: Request, sound: Sound) -> Response:
    """A ticket for an index is a ticket for the data: samtools cannot use it."""
    if is_ticket(request) and request.path.endswith(".bai"):
        return sound(replace(request, target=request.target.replace(".bai", "")))
    return sound(request)


@breaks("htsget.parameters.id-of-index")
def indices_not_found_in_html(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.path.endswith((".bai", ".tbi")):
        return Response(404, {"content-type": "text/html"}, b"<h1>Not found</h1>")
    return sound(request)


@breaks("htsget.parameters.head")
def head_not_known(request: Request, sound: Sound) -> Response:
    if is_ticket(request) and request.method == "HEAD":
        return Response(405, {"allow": "GET, POST"})
    return sound(request)
