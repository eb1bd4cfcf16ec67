"""Servers that give the wrong sequence, or not as it should be given."""

import gzip
import re

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import (
    is_residues,
    refused,
    residues,
    sequence_id,
    without_header,
)
from tests.conformance.broken_server import Request, Response, Sound

MD5 = re.compile(r"[0-9a-fA-F]{32}")


# -- ids -----------------------------------------------------------------------------------------


@breaks("refget.sequence.md5")
def other_residues_under_a_digest(request: Request, sound: Sound) -> Response:
    return residues(request, sound, lambda answer: answer.holding(b"N" + answer.body[1:]))


@breaks("refget.sequence.md5-upper-case")
def md5_in_lower_case_alone(request: Request, sound: Sound) -> Response:
    name = sequence_id(request) if is_residues(request) else ""
    return refused(request, sound, 404, when=bool(MD5.fullmatch(name)) and name.isupper())


@breaks("refget.sequence.md5-namespace")
def md5_without_namespace_alone(request: Request, sound: Sound) -> Response:
    return _unknown(request, sound, r"md5:.*")


@breaks("refget.sequence.ga4gh")
def ga4gh_with_namespace_alone(request: Request, sound: Sound) -> Response:
    """As that of the server in Perl."""
    return _unknown(request, sound, r"SQ\..*")


@breaks("refget.sequence.ga4gh-namespace")
def ga4gh_without_namespace_alone(request: Request, sound: Sound) -> Response:
    return _unknown(request, sound, r"ga4gh:.*")


@breaks("refget.sequence.escaped-namespace")
def path_not_decoded(request: Request, sound: Sound) -> Response:
    return _unknown(request, sound, r".*%3A.*")


@breaks("refget.sequence.ga4gh-letter-case")
def ga4gh_in_any_case(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if answer.status != 404 or not is_residues(request):
        return answer
    name = sequence_id(request)
    other = f"SQ.{name.removeprefix('SQ.').swapcase()}"
    return sound(Request("GET", f"/sequence/{other}", request.headers))


@breaks("refget.sequence.trunc512", "refget.sequence.trunc512-upper-case")
def trunc512_announced_but_unknown(request: Request, sound: Sound) -> Response:
    return _unknown(request, sound, r"[0-9a-fA-F]{48}")


@breaks("refget.sequence.trunc512-upper-case")
def trunc512_in_lower_case_alone(request: Request, sound: Sound) -> Response:
    return _unknown(request, sound, r"(?=.*[A-F])[0-9A-F]{48}")


@breaks("refget.sequence.unknown")
def unknown_digest_is_an_error_of_the_server(request: Request, sound: Sound) -> Response:
    name = sequence_id(request) if is_residues(request) and not request.query else ""
    unknown = bool(MD5.fullmatch(name)) and sound(request).status == 404
    return refused(request, sound, 500, when=unknown)


@breaks("refget.sequence.garbage")
def garbage_is_a_bad_request(request: Request, sound: Sound) -> Response:
    garbage = is_residues(request) and "garbage" in request.path.lower()
    return refused(request, sound, 400, when=garbage)


@breaks("refget.sequence.trailing-slash")
def no_trailing_slash(request: Request, sound: Sound) -> Response:
    slash = is_residues(request) and request.path.endswith("/")
    return refused(request, sound, 404, when=slash)


# -- what is sent --------------------------------------------------------------------------------


@breaks("refget.sequence.upper-case")
def soft_masked(request: Request, sound: Sound) -> Response:
    return residues(request, sound, lambda answer: answer.holding(answer.body.lower()))


@breaks("refget.sequence.bare")
def newline_at_the_end(request: Request, sound: Sound) -> Response:
    def ended(answer: Response) -> Response:
        length = int(answer.headers.get("content-length", 0)) + 1
        return answer.holding(answer.body + b"\n").having(content_length=str(length))

    return residues(request, sound, ended)


@breaks("refget.sequence.content-type")
def of_no_known_type(request: Request, sound: Sound) -> Response:
    kind = "application/octet-stream"
    return residues(request, sound, lambda answer: answer.having(content_type=kind))


@breaks("refget.sequence.media-type")
def plain_text_to_all(request: Request, sound: Sound) -> Response:
    kind = "text/plain; charset=us-ascii"
    return residues(request, sound, lambda answer: answer.having(content_type=kind))


@breaks("refget.sequence.charset")
def said_to_be_utf_8(request: Request, sound: Sound) -> Response:
    kind = "text/vnd.ga4gh.refget.v2.0.0+plain; charset=utf-8"
    return residues(request, sound, lambda answer: answer.having(content_type=kind))


@breaks("refget.sequence.no-content-coding")
def compressed_for_who_accepts_it(request: Request, sound: Sound) -> Response:
    """As that of Ensembl, which compresses what is long."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return sound(request)
    return residues(
        request,
        sound,
        lambda answer: answer.holding(gzip.compress(answer.body)).having(content_encoding="gzip"),
    )


@breaks("refget.sequence.content-length")
def of_no_known_length(request: Request, sound: Sound) -> Response:
    if request.query or "range" in request.headers:
        return sound(request)
    return residues(
        request,
        sound,
        lambda answer: answer.having(transfer_encoding="chunked", content_length=None),
    )


@breaks("refget.sequence.head")
def no_head(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 405, when=request.method == "HEAD")


# -- what clients accept -------------------------------------------------------------------------


@breaks("refget.sequence.accept")
def charset_in_accept_not_understood(request: Request, sound: Sound) -> Response:
    return _not_acceptable(request, sound, r".*charset.*")


@breaks("refget.sequence.accept-version-1")
def version_1_announced_but_refused(request: Request, sound: Sound) -> Response:
    return _not_acceptable(request, sound, r"text/vnd\.ga4gh\.refget\.v1\.0\.0\+plain")


@breaks("refget.sequence.accept-wildcards")
def wildcards_not_understood(request: Request, sound: Sound) -> Response:
    return _not_acceptable(request, sound, r"text/\*")


@breaks("refget.sequence.accept-lists")
def accept_compared_as_a_whole(request: Request, sound: Sound) -> Response:
    """As that of seqrepo-rest-service."""
    return _not_acceptable(request, sound, r".*,.*")


@breaks("refget.sequence.not-acceptable")
def sequence_whatever_is_accepted(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "accept") if is_residues(request) else request)


# -- browsers and caches -------------------------------------------------------------------------


@breaks("refget.sequence.cors")
def not_for_other_pages(request: Request, sound: Sound) -> Response:
    return residues(request, sound, lambda answer: answer.having(access_control_allow_origin=None))


@breaks("refget.sequence.preflight")
def browsers_may_not_send_range(request: Request, sound: Sound) -> Response:
    return sound(request).having(access_control_allow_headers="authorization")


@breaks("refget.sequence.cache-control")
def nothing_of_caches(request: Request, sound: Sound) -> Response:
    return residues(request, sound, lambda answer: answer.having(cache_control=None))


@breaks("refget.sequence.not-modified")
def sent_again_to_who_has_it(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "if-none-match"))


def _unknown(request: Request, sound: Sound, pattern: str) -> Response:
    found = is_residues(request) and re.fullmatch(pattern, sequence_id(request))
    return refused(request, sound, 404, when=bool(found))


def _not_acceptable(request: Request, sound: Sound, pattern: str) -> Response:
    found = re.fullmatch(pattern, request.headers.get("accept", ""))
    return refused(request, sound, 406, when=is_residues(request) and bool(found))
