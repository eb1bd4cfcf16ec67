"""The service-info documents of refget: sequences, in both versions at once, and collections."""

from collections.abc import Sequence

from server.refget.seqcol import schema
from server.service_info import Service, describe

SEQUENCES_VERSION = "2.0.0"
COLLECTIONS_VERSION = "1.0.0"


def sequences_info(
    service: Service, *, identifier_types: Sequence[str], subsequence_limit: int
) -> dict[str, object]:
    """Of the sequences: the block `refget` of version 2 beside the `service` of version 1, as each
    compliance suite wants its own. `subsequence_limit` in bases; below 1: none."""
    limit = subsequence_limit if subsequence_limit >= 1 else None
    return {
        **describe(service, f"{service.id}.sequence", "refget-sequence", SEQUENCES_VERSION),
        "refget": {
            "circular_supported": True,
            "algorithms": ["md5", "ga4gh", "trunc512"],
            "identifier_types": list(identifier_types),
            "subsequence_limit": limit,
        },
        "service": {
            "circular_supported": True,
            "algorithms": ["md5", "trunc512"],
            "subsequence_limit": limit,
            "supported_api_versions": ["1.0"],
        },
    }


def collections_info(service: Service) -> dict[str, object]:
    """Of the collections, with the schema of what is served (Sequence Collections 1.0, 3.1)."""
    identifier = f"{service.organization_url.rstrip('/')}/schemas/seqcol.json"
    return {
        **describe(service, f"{service.id}.collection", "refget-seqcol", COLLECTIONS_VERSION),
        "seqcol": {"schema": schema(identifier)},
    }
