"""What any service of GA4GH tells of itself (GA4GH service-info 1.0.0, Service)."""

from collections.abc import Mapping

_NESTED = {"type": ("group", "artifact", "version"), "organization": ("name", "url")}


def untold(document: Mapping[str, object]) -> list[str]:
    """The required fields that a document does not have, or that are no text."""
    found = {name: document.get(name) for name in ("id", "name", "version")}
    for name, inner in _NESTED.items():
        table = document.get(name)
        for each in inner:
            found[f"{name}.{each}"] = table.get(each) if isinstance(table, dict) else None
    return [name for name, value in found.items() if not isinstance(value, str) or not value]
