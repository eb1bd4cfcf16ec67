"""Servers of sequences that say the wrong thing of themselves."""

from typing import Any

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import refused, service_info, without_header
from tests.conformance.broken_server import Request, Response, Sound

PATH = "/sequence/service-info"


@breaks("refget.service-info.served")
def service_info_taken_for_an_id(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=request.path == PATH)


@breaks("refget.service-info.block")
def nothing_of_refget(request: Request, sound: Sound) -> Response:
    def bare(document: dict[str, Any]) -> None:
        del document["refget"], document["service"]

    return service_info(request, sound, bare)


@breaks("refget.service-info.fields")
def version_is_an_object(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    return service_info(
        request, sound, lambda document: document.update(version={"refget": "0.12.0"})
    )


@breaks("refget.service-info.type")
def another_artifact(request: Request, sound: Sound) -> Response:
    return service_info(
        request, sound, lambda document: document["type"].update(artifact="refget.sequence")
    )


@breaks("refget.service-info.algorithms")
def md5_not_announced(request: Request, sound: Sound) -> Response:
    return _block(request, sound, algorithms=["ga4gh", "trunc512"])


@breaks("refget.service-info.ga4gh")
def ga4gh_not_announced(request: Request, sound: Sound) -> Response:
    return _block(request, sound, algorithms=["md5", "trunc512"])


@breaks("refget.service-info.circular")
def circular_supported_is_null(request: Request, sound: Sound) -> Response:
    return _block(request, sound, circular_supported=None)


@breaks("refget.service-info.identifier-types")
def identifier_types_are_null(request: Request, sound: Sound) -> Response:
    return _block(request, sound, identifier_types=None)


@breaks("refget.service-info.subsequence-limit")
def no_subsequence_limit(request: Request, sound: Sound) -> Response:
    return service_info(request, sound, lambda found: found["refget"].pop("subsequence_limit"))


@breaks("refget.service-info.api-versions")
def no_api_versions(request: Request, sound: Sound) -> Response:
    return service_info(
        request, sound, lambda found: found["service"].update(supported_api_versions=[])
    )


@breaks("refget.service-info.media-type")
def service_info_as_any_json(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(content_type="application/json") if request.path == PATH else answer


@breaks("refget.service-info.accept")
def service_info_not_as_any_json(request: Request, sound: Sound) -> Response:
    asked = request.headers.get("accept") == "application/json"
    return refused(request, sound, 406, when=request.path == PATH and asked)


@breaks("refget.service-info.not-acceptable")
def service_info_whatever_is_accepted(request: Request, sound: Sound) -> Response:
    return sound(without_header(request, "accept") if request.path == PATH else request)


def _block(request: Request, sound: Sound, **changed: object) -> Response:
    return service_info(request, sound, lambda document: document["refget"].update(changed))
