"""The service-info documents, and the media type of htsget answers (htsget, "Service info")."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.model import Endpoint, Format

HTSGET_VERSION = "1.3.0"

_LONGEST_ACCEPT = 1024  # characters that are looked at
_HTSGET_TYPE = re.compile(
    r"application/vnd\.ga4gh\.htsget\.v(1\.[0-9]{1,3}\.[0-9]{1,3})\+json[ \t]*(?:;.*)?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Service:
    """Who runs this service. Times are ISO 8601; `id` is in reverse domain name form."""

    id: str
    name: str
    version: str
    organization_name: str
    organization_url: str
    description: str | None = None
    contact_url: str | None = None
    documentation_url: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    environment: str | None = None


def service_info(
    service: Service,
    endpoint: Endpoint,
    *,
    formats: Sequence[Format] | None = None,
    fields_effective: bool = False,
    tags_effective: bool = False,
) -> dict[str, object]:
    """The document of one ticket endpoint, GA4GH service-info 1.0 with the htsget extension.

    `formats`: what is served, by default all that the endpoint knows. `fields_effective` and
    `tags_effective`: whether the parameters `fields`, and `tags` and `notags`, change the answer.
    """
    return {
        **describe(service, f"{service.id}.{endpoint}", "htsget", HTSGET_VERSION),
        "htsget": {
            "datatype": str(endpoint),
            "formats": [str(each) for each in (endpoint.formats if formats is None else formats)],
            # sic: one "Parameter", the other "Parameters"
            "fieldsParameterEffective": fields_effective,
            "tagsParametersEffective": tags_effective,
        },
    }


def describe(service: Service, identifier: str, artifact: str, version: str) -> dict[str, object]:
    """What GA4GH service-info 1.0 has in common for all services: here `identifier`, which speaks
    a version of the specification that is called `artifact`."""
    optional = {
        "description": service.description,
        "contactUrl": service.contact_url,
        "documentationUrl": service.documentation_url,
        "createdAt": service.created_at,
        "updatedAt": service.updated_at,
        "environment": service.environment,
    }
    return {
        "id": identifier,
        "name": service.name,
        "type": {"group": "org.ga4gh", "artifact": artifact, "version": version},
        "organization": {"name": service.organization_name, "url": service.organization_url},
        "version": service.version,
        **{name: value for name, value in optional.items() if value is not None},
    }


def negotiate(accept: str | None) -> str:
    """The content type of a ticket or a service-info document for an `Accept` header.

    The first htsget 1.x version that is asked for, otherwise ours; nothing is ever refused.
    """
    version = HTSGET_VERSION
    for item in (accept or "")[:_LONGEST_ACCEPT].split(","):
        if match := _HTSGET_TYPE.fullmatch(item.strip(" \t")):
            version = match[1]
            break
    return f"application/vnd.ga4gh.htsget.v{version}+json; charset=utf-8"
