"""Servers of collections that say the wrong thing of themselves."""

from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import document, refused, schema
from tests.conformance.broken_server import Request, Response, Sound

PATH = "/service-info"


@breaks("seqcol.service-info.served")
def no_service_info(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=request.path == PATH)


@breaks("seqcol.service-info.schema")
def schema_without_properties(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""
    return schema(request, sound, lambda found: found.pop("properties"))


@breaks("seqcol.service-info.fields")
def version_of_collections_is_an_object(request: Request, sound: Sound) -> Response:
    """As that of refgenie."""
    return document(request, sound, PATH, lambda found: found.update(version={"refget": "0.12.0"}))


@breaks("seqcol.service-info.type")
def artifact_of_collections_is_another(request: Request, sound: Sound) -> Response:
    return document(request, sound, PATH, lambda found: found["type"].update(artifact="seqcol"))


@breaks("seqcol.service-info.schema-covers")
def attribute_that_is_not_in_the_schema(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["properties"].pop("sorted_sequences"))


@breaks("seqcol.service-info.base", "seqcol.service-info.schema-covers")
def schema_without_lengths(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["properties"].pop("lengths"))


@breaks("seqcol.service-info.inherent")
def inherent_not_told(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["ga4gh"].pop("inherent"))


@breaks(
    "seqcol.service-info.inherent-base",
    "seqcol.collection.digest",
    "seqcol.comparison.posted-digests",
)
def lengths_are_inherent(request: Request, sound: Sound) -> Response:
    """As in refget-rs, whose digests nobody else has."""
    inherent = ["names", "lengths", "sequences"]
    return schema(request, sound, lambda found: found["ga4gh"].update(inherent=inherent))


@breaks("seqcol.service-info.qualifiers")
def qualifier_at_the_wrong_place(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["ga4gh"].update(passthru=False))


@breaks("seqcol.service-info.collated")
def collated_not_told(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["properties"]["names"].pop("collated"))


@breaks("seqcol.service-info.openapi")
def no_openapi(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=request.path == "/openapi.json")


@breaks("seqcol.service-info.cors")
def collections_not_for_other_pages(request: Request, sound: Sound) -> Response:
    return sound(request).having(access_control_allow_origin=None)


@breaks("seqcol.service-info.preflight")
def browsers_may_not_post(request: Request, sound: Sound) -> Response:
    return sound(request).having(access_control_allow_methods="GET, HEAD")
