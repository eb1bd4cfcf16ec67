import time

import pytest

from server.model import Endpoint, Format
from server.service_info import Service, negotiate, service_info

SERVICE = Service(
    id="org.example.htsgate",
    name="Example",
    version="0.1.0",
    organization_name="Example Centre",
    organization_url="https://example.org",
)


def test_required_members() -> None:
    assert service_info(SERVICE, Endpoint.READS) == {
        "id": "org.example.htsgate.reads",
        "name": "Example",
        "type": {"group": "org.ga4gh", "artifact": "htsget", "version": "1.3.0"},
        "organization": {"name": "Example Centre", "url": "https://example.org"},
        "version": "0.1.0",
        "htsget": {
            "datatype": "reads",
            "formats": ["BAM", "CRAM"],
            "fieldsParameterEffective": False,
            "tagsParametersEffective": False,
        },
    }


def test_optional_members() -> None:
    service = Service(
        id="a",
        name="b",
        version="c",
        organization_name="d",
        organization_url="e",
        description="what",
        contact_url="mailto:x@example.org",
        documentation_url="https://example.org/docs",
        created_at="2026-01-01T00:00:00Z",
        updated_at="2026-01-02T00:00:00Z",
        environment="test",
    )
    document = service_info(
        service, Endpoint.VARIANTS, formats=[Format.VCF], fields_effective=True, tags_effective=True
    )
    assert document["contactUrl"] == "mailto:x@example.org"
    assert document["documentationUrl"] == "https://example.org/docs"
    assert document["createdAt"] == "2026-01-01T00:00:00Z"
    assert document["updatedAt"] == "2026-01-02T00:00:00Z"
    assert document["environment"] == "test"
    assert document["description"] == "what"
    assert document["htsget"] == {
        "datatype": "variants",
        "formats": ["VCF"],
        "fieldsParameterEffective": True,
        "tagsParametersEffective": True,
    }


def of(version: str) -> str:
    return f"application/vnd.ga4gh.htsget.v{version}+json; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (None, "1.3.0"),
        ("", "1.3.0"),
        ("*/*", "1.3.0"),
        ("application/json,text/plain", "1.3.0"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.2.0+json", "1.2.0"),
        ("application/vnd.ga4gh.htsget.v1.0.0+json", "1.0.0"),
        ("application/json;q=0.5, application/vnd.ga4gh.htsget.v1.2.0+json;q=1", "1.2.0"),
        ("Application/VND.GA4GH.htsget.V1.1.1+JSON ; charset=utf-8", "1.1.1"),
        (
            "application/vnd.ga4gh.htsget.v2.0.0+json,application/vnd.ga4gh.htsget.v1.1.0+json",
            "1.1.0",
        ),
        ("application/vnd.ga4gh.htsget.v2.0.0+json", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.2+json", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.2.0000+json", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.2.0+jsonx", "1.3.0"),
        ("x-application/vnd.ga4gh.htsget.v1.2.0+json", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.\u0662.0+json", "1.3.0"),
        ("application/vnd.ga4gh.htsget.v1.2.0+json\r\nX: y", "1.3.0"),
        ("application/vndXga4gh.htsget.v1.2.0+json", "1.3.0"),
    ],
)
def test_negotiate(accept: str | None, version: str) -> None:
    assert negotiate(accept) == of(version)


@pytest.mark.parametrize("unit", [",", " ", "application/vnd.ga4gh.htsget.v1.", ";", ", \t", "1."])
def test_hostile_accept_is_cheap(unit: str) -> None:
    begun = time.perf_counter()
    assert negotiate(unit * 1_000_000) == of("1.3.0")
    assert time.perf_counter() - begun < 0.5
