"""Blocks that do not make one whole file."""

import gzip
import json
import re
from collections.abc import Callable

from conformance.records import EOF_MARKERS
from formats.cram import mini_header, parse_header
from formats.source import BytesSource
from tests.conformance.breaking import breaks
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.payloads import (
    BGZF_EOF,
    asking,
    decoded,
    has_records,
    is_header,
    is_whole,
    of_format,
    of_interval,
    replaced,
    written,
)


def _bam_region(request: Request) -> bool:
    return of_interval(request) and of_format("BAM")(request) and request.path == "/reads/demo"


def _variants_region(request: Request) -> bool:
    return of_interval(request) and of_format("VCF", "BCF")(request)


def _only_header(request: Request, sound: Sound, made: Callable[[bytes], bytes]) -> Response:
    """Tickets for the header alone lead to what is made of it."""

    def header(whole: bytes, _: bytes, __: Request) -> bytes:
        return made(whole)

    if request.path.startswith("/rewritten/"):
        return replaced(request, sound, is_header, header)
    if not is_header(request) or sound(request).status != 200 or request.method != "GET":
        return sound(request)
    whole = asking(request, **{"class": None})
    return replaced(whole, sound, lambda _: True, header, alone=True)


@breaks("htsget.files.readable", "htsget.files.eof-marker", "htsget.records.whole-complete")
def answers_end_early(request: Request, sound: Sound) -> Response:
    """As htsgetr, which cuts CRAM off, and all that is large."""
    return replaced(
        request,
        sound,
        lambda each: of_format("CRAM")(each) and "referenceName" not in each.query,
        lambda _, body, __: body[:-1000],
    )


@breaks("htsget.files.eof-marker")
def no_marker_behind_regions(request: Request, sound: Sound) -> Response:
    """As htsgetr: the marker is not among the chunks of the index."""
    return replaced(
        request,
        sound,
        lambda each: _bam_region(each) and has_records(each, sound),
        lambda _, body, __: body.removesuffix(BGZF_EOF),
    )


@breaks("htsget.files.header-eof-marker")
def no_marker_behind_headers(request: Request, sound: Sound) -> Response:
    return _only_header(request, sound, lambda header: header)


@breaks("htsget.files.eof-once")
def markers_between_blocks(request: Request, sound: Sound) -> Response:
    """Header and records are files of their own."""
    return replaced(request, sound, _bam_region, lambda _, body, __: BGZF_EOF + body)


@breaks("htsget.files.one-header", "htsget.files.readable", "htsget.records.whole-complete")
def one_header_for_each_piece(request: Request, sound: Sound) -> Response:
    """As htsget-rs, which puts the URLs of whole tickets one after another."""
    return replaced(
        request,
        sound,
        lambda each: is_whole(each) and of_format("BCF")(each),
        lambda header, body, _: header + body,
    )


@breaks("htsget.files.header", "htsget.files.header-references", "htsget.files.header-text")
def header_cut_off(request: Request, sound: Sound) -> Response:
    """As htsget-rs, issue 200: the end of the header is guessed."""

    def cut(header: bytes) -> bytes:
        text = re.sub("##contig=<ID=chrM.*\n", "", decoded(header + BGZF_EOF, "VCF").header)
        return written(text, (), "VCF")

    return _only_header(request, sound, cut) if _asks_vcf(request) else sound(request)


def _asks_vcf(request: Request) -> bool:
    return request.path.startswith("/rewritten/") or (
        request.path.startswith("/variants/") and of_format("VCF")(request)
    )


@breaks("htsget.files.header-references", "htsget.files.header-text", "htsget.files.header-blocks")
def references_in_another_order(request: Request, sound: Sound) -> Response:
    def reverse(header: bytes, body: bytes, _: Request) -> bytes:
        lines = gzip.decompress(header).decode().splitlines(keepends=True)
        contigs = [line for line in lines if line.startswith("##contig")]
        first = lines.index(contigs[0])
        lines[first : first + len(contigs)] = reversed(contigs)
        return written("".join(lines), (), "VCF").removesuffix(BGZF_EOF)

    return _vcf_header(request, sound, reverse)


@breaks("htsget.files.header-text", "htsget.files.header-blocks")
def commands_in_the_header(request: Request, sound: Sound) -> Response:
    """As ga4gh/htsget-refserver: bcftools and samtools note each call; igv.js 1870 broke by it."""

    def noted(header: bytes, _: bytes, original: Request) -> bytes:
        text = gzip.decompress(header).decode()
        line = f"##bcftools_viewCommand=view {original.query.get('start')}\n#CHROM"
        return written(text.replace("#CHROM", line), (), "VCF").removesuffix(BGZF_EOF)

    return _vcf_header(request, sound, noted)


@breaks("htsget.files.header-blocks")
def headers_compressed_anew(request: Request, sound: Sound) -> Response:
    def again(header: bytes, _: bytes, __: Request) -> bytes:
        text = gzip.decompress(header).decode()
        return written(text, (), "VCF").removesuffix(BGZF_EOF)

    return _vcf_header(request, sound, again)


def _vcf_header(
    request: Request, sound: Sound, made: Callable[[bytes, bytes, Request], bytes]
) -> Response:
    """Tickets of regions of VCF have another header, in a URL of its own."""

    def when(each: Request) -> bool:
        return _variants_region(each) and of_format("VCF")(each)

    answer = replaced(request, sound, when, made, alone=True)
    if request.path.startswith("/rewritten/") or answer is sound(request):
        return answer
    document, before = json.loads(answer.body), json.loads(sound(request).body)
    header = {**document["htsget"]["urls"][0], "class": "header"}
    bodies = [each for each in before["htsget"]["urls"] if each["class"] == "body"]
    document["htsget"]["urls"] = [header, *bodies]
    return answer.holding(json.dumps(document).encode())


@breaks("htsget.files.vcf-bgzf", "htsget.exact.header-first")
def regions_as_plain_text(request: Request, sound: Sound) -> Response:
    """As ga4gh/htsget-refserver, whose whole files are BGZF."""
    return replaced(
        request,
        sound,
        lambda each: _variants_region(each) and of_format("VCF")(each),
        lambda header, body, _: gzip.decompress(header + body),
        alone=True,
    )


@breaks("htsget.files.cram-references", "htsget.files.header-text")
def sequences_without_checksums(request: Request, sound: Sound) -> Response:
    """Nobody can find the sequences of the reads, which are not in the file."""

    def bare(header: bytes) -> bytes:
        parsed = parse_header(BytesSource(header))
        text = re.sub("\tM5:[0-9a-f]+", "", decoded(header, "CRAM").header)
        return mini_header(parsed.version, text) + EOF_MARKERS["CRAM"][0]

    if request.path.startswith("/rewritten/") or of_format("CRAM")(request):
        return _only_header(request, sound, bare)
    return sound(request)
