"""Servers that tell of a sequence what is not so."""

import json
import re
from typing import Any

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import (
    is_metadata,
    metadata,
    refused,
    sequence_id,
    service_info,
    without_header,
)
from tests.conformance.broken_server import Request, Response, Sound


@breaks("refget.metadata.served")
def bare_metadata(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    if not is_metadata(request) or answer.status != 200 or not answer.body:
        return answer
    return answer.holding(json.dumps(json.loads(answer.body)["metadata"]).encode())


@breaks("refget.metadata.fields")
def no_aliases(request: Request, sound: Sound) -> Response:
    return metadata(request, sound, lambda found: found.pop("aliases"))


@breaks("refget.metadata.md5")
def md5_of_the_file_with_its_newlines(request: Request, sound: Sound) -> Response:
    return metadata(request, sound, lambda found: found.update(md5="0" * 32))


@breaks("refget.metadata.ga4gh")
def ga4gh_without_its_prefix(request: Request, sound: Sound) -> Response:
    return metadata(
        request, sound, lambda found: found.update(ga4gh=found["ga4gh"].removeprefix("SQ."))
    )


@breaks("refget.metadata.trunc512")
def trunc512_is_null(request: Request, sound: Sound) -> Response:
    return metadata(request, sound, lambda found: found.update(trunc512=None))


@breaks("refget.metadata.length")
def length_with_the_newline(request: Request, sound: Sound) -> Response:
    return metadata(request, sound, lambda found: found.update(length=found["length"] + 1))


@breaks("refget.metadata.aliases")
def aliases_with_another_key(request: Request, sound: Sound) -> Response:
    """As those of refget-rs."""
    alias = {"value": "chr1", "naming_authority": "refseq"}
    return metadata(request, sound, lambda found: found.update(aliases=[alias]))


@breaks("refget.metadata.aliases-resolve")
def alias_that_leads_nowhere(request: Request, sound: Sound) -> Response:
    def announce(document: dict[str, Any]) -> None:
        document["refget"]["identifier_types"] = ["insdc"]

    if not is_metadata(request):
        return service_info(request, sound, announce)
    alias = {"alias": "CM000663.2", "naming_authority": "insdc"}
    return metadata(request, sound, lambda found: found.update(aliases=[alias]))


@breaks("refget.metadata.ids")
def metadata_by_md5_alone(request: Request, sound: Sound) -> Response:
    other = is_metadata(request) and len(sequence_id(request)) == 35
    return refused(request, sound, 404, when=other)


@breaks("refget.metadata.unknown")
def metadata_of_anything(request: Request, sound: Sound) -> Response:
    unknown = is_metadata(request) and "garbage" in request.path.lower()
    return refused(request, sound, 200, when=unknown)


@breaks("refget.metadata.media-type")
def metadata_as_any_json(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(content_type="application/json") if is_metadata(request) else answer


@breaks("refget.metadata.accept")
def charset_of_metadata_not_understood(request: Request, sound: Sound) -> Response:
    return _not_acceptable(request, sound, r".*charset.*")


@breaks("refget.metadata.accept-lists")
def accept_of_metadata_compared_as_a_whole(request: Request, sound: Sound) -> Response:
    return _not_acceptable(request, sound, r".*,.*")


@breaks("refget.metadata.not-acceptable")
def metadata_whatever_is_accepted(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "accept") if is_metadata(request) else request)


@breaks("refget.metadata.trailing-slash")
def no_slash_behind_metadata(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=request.path.endswith("/metadata/"))


def _not_acceptable(request: Request, sound: Sound, pattern: str) -> Response:
    found = re.fullmatch(pattern, request.headers.get("accept", ""))
    return refused(request, sound, 406, when=is_metadata(request) and bool(found))
