"""Servers whose collections are not what their digests say."""

from typing import Any

from conformance.seqcol import digest, sorted_pairs
from tests.conformance.breaking import breaks
from tests.conformance.breaking_refget import (
    asking,
    collection,
    is_metadata,
    refused,
    schema,
)
from tests.conformance.broken_server import Request, Response, Sound

WRONG = digest("chr1:200000")


@breaks("seqcol.collection.level-1")
def no_level_1(request: Request, sound: Sound) -> Response:
    failing = sound(request).status == 200 and request.query.get("level") == "1"
    return refused(request, sound, 500, when=failing)


@breaks("seqcol.collection.level-2")
def no_level_2_when_asked_for(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 500, when=request.query.get("level") == "2")


@breaks("seqcol.collection.default-level")
def level_1_by_default(request: Request, sound: Sound) -> Response:
    at_all = request.path.startswith("/collection/") and "level" not in request.query
    return sound(asking(request, {"level": 1}) if at_all else request)


@breaks(
    "seqcol.collection.attribute-digests",
    "seqcol.attribute.value",
    "seqcol.list.filter",
    "seqcol.list.filter-all",
)
def digest_of_python_and_not_of_json(request: Request, sound: Sound) -> Response:
    return collection(
        request, sound, 1, lambda found: found.update(lengths=digest("[200000, 100000, 16569]"))
    )


@breaks("seqcol.collection.passthru", "seqcol.attribute.hidden")
def digested_though_passed_through(request: Request, sound: Sound) -> Response:
    passed = ["sorted_sequences"]
    return schema(request, sound, lambda found: found["ga4gh"].update(passthru=passed))


@breaks("seqcol.collection.all-attributes")
def inherent_attributes_alone(request: Request, sound: Sound) -> Response:
    return collection(request, sound, 2, lambda found: found.pop("sorted_sequences"))


@breaks("seqcol.collection.transient")
def transient_at_level_2(request: Request, sound: Sound) -> Response:
    def add(found: dict[str, Any]) -> None:
        found["sorted_name_length_pairs"] = sorted_pairs(found["names"], found["lengths"])

    return collection(request, sound, 2, add)


@breaks("seqcol.collection.transient-digests", "seqcol.collection.sorted-pairs")
def nothing_of_what_is_transient(request: Request, sound: Sound) -> Response:
    return collection(request, sound, 1, lambda found: found.pop("sorted_name_length_pairs"))


@breaks("seqcol.collection.required")
def required_but_not_there(request: Request, sound: Sound) -> Response:
    return schema(request, sound, lambda found: found["required"].append("md5_sequences"))


@breaks("seqcol.collection.types")
def lengths_with_a_point(request: Request, sound: Sound) -> Response:
    return collection(
        request, sound, 2, lambda found: found.update(lengths=[*map(float, found["lengths"])])
    )


@breaks("seqcol.collection.collated")
def one_topology_for_all(request: Request, sound: Sound) -> Response:
    def describe(found: dict[str, Any]) -> None:
        found["properties"]["topologies"] = {"type": "array", "collated": True}

    if request.path == "/service-info":
        return schema(request, sound, describe)
    return collection(request, sound, 2, lambda found: found.update(topologies=["linear"]))


@breaks("seqcol.collection.name-length-pairs")
def no_pairs(request: Request, sound: Sound) -> Response:
    return _without(request, sound, "name_length_pairs")


@breaks("seqcol.collection.sorted-pairs")
def digest_of_pairs_as_text(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""
    name = "sorted_name_length_pairs"
    if request.query.get(name) == WRONG:
        right = sorted_pairs(["chr1", "chr2", "chrM"], [200_000, 100_000, 16_569])
        return sound(asking(request, {name: digest(right)}))
    return collection(request, sound, 1, lambda found: found.update({name: WRONG}))


@breaks("seqcol.collection.sorted-sequences")
def no_sorted_sequences(request: Request, sound: Sound) -> Response:
    return _without(request, sound, "sorted_sequences")


@breaks("seqcol.collection.unknown")
def unknown_collection_is_an_error_of_the_server(request: Request, sound: Sound) -> Response:
    unknown = request.path.startswith("/collection/") and sound(request).status == 404
    return refused(request, sound, 500, when=unknown)


@breaks("seqcol.collection.level-garbage")
def level_2_for_any_number(request: Request, sound: Sound) -> Response:
    """As that of refget-rs."""
    return sound(asking(request, {}) if request.query.get("level") == "7" else request)


@breaks("seqcol.collection.media-type")
def collections_as_text(request: Request, sound: Sound) -> Response:
    return sound(request).having(content_type="text/plain")


@breaks("seqcol.collection.sequences-served")
def sequences_not_here(request: Request, sound: Sound) -> Response:
    return refused(request, sound, 404, when=is_metadata(request))


def _without(request: Request, sound: Sound, name: str) -> Response:
    level = int(request.query.get("level", "2").removeprefix("-") == "1") or 2
    return collection(request, sound, level, lambda found: found.pop(name, None))
