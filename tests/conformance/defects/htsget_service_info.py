"""Service-info that is wrong in form, or not true."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.conformance.breaking import breaks
from tests.conformance.broken_server import Request, Response, Sound
from tests.conformance.rewriting import (
    each_read,
    error,
    rewritten,
    with_tags,
)


def is_info(request: Request, endpoint: str = "") -> bool:
    """Whether service-info is asked for, of any endpoint or a particular one."""
    known = (
        {f"/{endpoint}/service-info"}
        if endpoint
        else {
            "/reads/service-info",
            "/variants/service-info",
        }
    )
    return request.path in known and request.method == "GET"


def telling(request: Request, sound: Sound, change: Callable[[dict[str, Any]], object]) -> Response:
    """The sound answer; if it is service-info of htsget, with its document changed in place."""
    answer = sound(request)
    if not is_info(request):
        return answer
    document = json.loads(answer.body)
    change(document)
    return answer.holding(json.dumps(document).encode())


@breaks("htsget.service-info.offered")
def none_for_variants(request: Request, sound: Sound) -> Response:
    return error(404, "NotFound") if is_info(request, "variants") else sound(request)


@breaks("htsget.service-info.offered", "htsget.service-info.reserved")
def service_info_is_an_object(request: Request, sound: Sound) -> Response:
    if is_info(request, "reads"):
        return sound(replace(request, target="/reads/demo"))
    return sound(request)


@breaks("htsget.service-info.content-type")
def in_plain_text(request: Request, sound: Sound) -> Response:
    answer = sound(request)
    return answer.having(content_type="text/plain") if is_info(request) else answer


@breaks("htsget.service-info.required")
def no_version_of_the_service(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document.pop("version"))


@breaks("htsget.service-info.required")
def version_is_a_number(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document.update(version=1.3))


@breaks("htsget.service-info.organization")
def organization_without_url(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document["organization"].pop("url"))


@breaks("htsget.service-info.type")
def artifact_in_capitals(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document["type"].update(artifact="HTSGET"))


@breaks("htsget.service-info.version")
def version_of_the_software(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document["type"].update(version="v1.3"))


@breaks("htsget.service-info.times")
def time_as_c_writes_it(request: Request, sound: Sound) -> Response:
    stated = "Mon Nov 23 2026 00:01:39"
    return telling(request, sound, lambda document: document.update(updatedAt=stated))


@breaks("htsget.service-info.htsget")
def general_part_alone(request: Request, sound: Sound) -> Response:
    """All that is said of htsget is left out for variants."""

    def drop(document: dict[str, Any]) -> None:
        if document["htsget"]["datatype"] == "variants":
            del document["htsget"]

    return telling(request, sound, drop)


@breaks("htsget.service-info.keys")
def parameter_for_parameters(request: Request, sound: Sound) -> Response:
    """As htsget-rs, whose key is misspelled."""

    def misspell(document: dict[str, Any]) -> None:
        stated = document["htsget"]["fieldsParameterEffective"]
        document["htsget"]["fieldsParametersEffective"] = stated

    return telling(request, sound, misspell)


@breaks("htsget.service-info.datatype", "htsget.service-info.ids")
def one_document_for_all(request: Request, sound: Sound) -> Response:
    """As htsget-getter, whose document is fixed."""

    def same(document: dict[str, Any]) -> None:
        document["id"] = "org.example.htsget"
        document["htsget"]["datatype"] = "reads"

    return telling(request, sound, same)


@breaks("htsget.service-info.formats")
def formats_in_lower_case(request: Request, sound: Sound) -> Response:
    def lower(document: dict[str, Any]) -> None:
        document["htsget"]["formats"] = [each.lower() for each in document["htsget"]["formats"]]

    return telling(request, sound, lower)


@breaks("htsget.service-info.formats-complete")
def default_formats_only(request: Request, sound: Sound) -> Response:
    def first(document: dict[str, Any]) -> None:
        del document["htsget"]["formats"][1:]

    return telling(request, sound, first)


@breaks("htsget.service-info.formats")
def formats_that_are_not_served(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document["htsget"]["formats"].append("VCFTEXT"))


@breaks("htsget.service-info.booleans")
def booleans_as_text(request: Request, sound: Sound) -> Response:
    def text(document: dict[str, Any]) -> None:
        if document["htsget"]["datatype"] == "variants":
            document["htsget"]["tagsParametersEffective"] = "false"

    return telling(request, sound, text)


@breaks("htsget.service-info.fields-effective")
def fields_claimed(request: Request, sound: Sound) -> Response:
    return telling(
        request,
        sound,
        lambda document: document["htsget"].update(fieldsParameterEffective=True),
    )


@breaks("htsget.service-info.fields-effective")
def fields_left_out_in_silence(request: Request, sound: Sound) -> Response:
    if request.query.get("fields") == "QNAME" and request.query.get("format") == "BAM":
        hide = each_read(lambda read: setattr(read, "query_sequence", None))
        return rewritten(request, sound, hide)
    return sound(request)


@breaks("htsget.service-info.tags-effective")
def tags_claimed(request: Request, sound: Sound) -> Response:
    return telling(
        request,
        sound,
        lambda document: document["htsget"].update(tagsParametersEffective=True),
    )


@breaks("htsget.service-info.tags-effective")
def tags_left_out_in_silence(request: Request, sound: Sound) -> Response:
    if request.query.get("tags") == "" and request.query.get("format") == "BAM":
        return rewritten(request, sound, each_read(lambda read: with_tags(read, ())))
    return sound(request)


@breaks("htsget.service-info.ids")
def one_id_for_all(request: Request, sound: Sound) -> Response:
    return telling(request, sound, lambda document: document.update(id="org.example.htsget"))
