"""What a client asks of the ticket endpoints: parsed and judged by the specification alone.

Whether the object, its format or the reference exists is for others to say. htsget 1.3.0, "URL
parameters" and "POST request body".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auth.strict_json import strict_json
from formats.regions import UNBOUNDED, UNPLACED, Region
from server.errors import InvalidInput, InvalidRange, PayloadTooLarge, UnsupportedFormat
from server.model import DataClass, Endpoint, Format

PARAMETERS = frozenset(
    {"format", "class", "referenceName", "start", "end", "fields", "tags", "notags"}
)
FIELDS = frozenset(
    {"QNAME", "FLAG", "RNAME", "POS", "MAPQ", "CIGAR", "RNEXT", "PNEXT", "TLEN", "SEQ", "QUAL"}
)
MAX_POSITION = 0xFFFFFFFF
MAX_REGIONS = 10_000
MAX_NAMES = 1_000  # of fields, of tags and of notags

_UNSIGNED = re.compile(r"[0-9]{1,10}")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]")

# With `class=header` the others SHOULD be refused; JBrowse 2 before August 2026 sends a reference.
_TOLERATED_WITH_HEADER = {"format", "class", "referenceName"}


@dataclass(frozen=True, slots=True)
class Query:
    """A well-formed request for a ticket.

    `format` None: the endpoint's default. `data_class` HEADER: the header alone, then there is
    nothing else; None: header and records. `regions` None: the whole object; otherwise at least
    one, as the client gave them, unmerged; one whose start equals its end (GET only) selects no
    record. `fields` and `tags` None: all of them; `tags` empty: none. A server may answer with
    more fields and tags than were asked for.
    """

    format: Format | None = None
    data_class: DataClass | None = None
    regions: tuple[Region, ...] | None = None
    fields: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    notags: frozenset[str] = frozenset()


def parse_get(parameters: Iterable[tuple[str, str]], endpoint: Endpoint) -> Query:
    """The query of a GET or HEAD request, from its decoded parameters in order.

    Raises `InvalidInput`, `InvalidRange`, `UnsupportedFormat` and `PayloadTooLarge`. Parameters
    that the specification does not know are ignored.
    """
    known: dict[str, str] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
            continue
        if name in known:
            raise InvalidInput(f"{name} is given more than once")
        known[name] = value
    format = _format(known["format"], endpoint) if "format" in known else None
    if "class" in known:
        _require_header(known["class"], known.keys() - _TOLERATED_WITH_HEADER)
        return Query(format, DataClass.HEADER)
    lists: dict[str, list[str]] = {
        name: known[name].split(",") if known[name] else []
        for name in ("fields", "tags", "notags")
        if name in known
    }
    return Query(format, None, _regions_of_get(known, endpoint), **_names(lists))


def parse_post(
    body: bytes,
    parameters: Iterable[tuple[str, str]],
    endpoint: Endpoint,
    *,
    max_regions: int = MAX_REGIONS,
) -> Query:
    """The query of a POST request, from its body and the decoded parameters of its URL.

    The content type does not matter; an empty body asks for the whole object. Raises as
    `parse_get`. Members that the specification does not know are ignored.
    """
    for name, _ in parameters:
        if name in PARAMETERS:
            raise InvalidInput(f"{name} belongs into the body of a POST request")
    if not body:
        return Query()
    try:
        request = strict_json(body)
    except ValueError:
        raise InvalidInput("the request body is not valid JSON") from None
    if not isinstance(request, dict):
        raise InvalidInput("the request body is not a JSON object")
    for name in ("referenceName", "start", "end"):
        if name in request:
            raise InvalidInput(f"{name} belongs into one of the regions")
    format = None
    if "format" in request:
        format = _format(_text(request["format"], "format"), endpoint)
    if "class" in request:
        others = request.keys() & {"regions", "fields", "tags", "notags"}
        _require_header(request["class"], others)
        return Query(format, DataClass.HEADER)
    regions = None
    if "regions" in request:
        items = request["regions"]
        if not isinstance(items, list) or not items:
            raise InvalidInput("regions is a list of at least one region")
        if len(items) > max_regions:
            raise PayloadTooLarge(f"more than {max_regions} regions")
        regions = tuple(_region_of_post(item, endpoint) for item in items)
    lists = {
        name: _texts(request[name], name)
        for name in ("fields", "tags", "notags")
        if name in request
    }
    return Query(format, None, regions, **_names(lists))


def _format(name: str, endpoint: Endpoint) -> Format:
    for format in endpoint.formats:
        if format == name.upper():
            return format
    known = " and ".join(endpoint.formats)
    raise UnsupportedFormat(f"the formats of /{endpoint} are {known}")


def _require_header(value: object, others: Iterable[str]) -> None:
    if value != DataClass.HEADER:
        raise InvalidInput("the only value of class is header")
    if refused := ", ".join(sorted(others)):
        raise InvalidInput(f"class=header does not go with {refused}")


def _regions_of_get(known: Mapping[str, str], endpoint: Endpoint) -> tuple[Region, ...] | None:
    positions = {name: _position(known[name], name) for name in ("start", "end") if name in known}
    name = known.get("referenceName")
    if name is None:
        if positions:
            raise InvalidInput("start and end need a referenceName")
        return None
    region = _region(name, positions, endpoint)
    if region.start > region.end:
        raise InvalidRange("start is greater than end")
    return (region,)


def _region_of_post(item: object, endpoint: Endpoint) -> Region:
    if not isinstance(item, dict):
        raise InvalidInput("a region is a JSON object")
    if "referenceName" not in item:
        raise InvalidInput("a region needs a referenceName")
    positions: dict[str, int] = {}
    for name in ("start", "end"):
        if name in item:
            value = item[name]
            # JSON's true is an int to Python
            if type(value) is not int or not 0 <= value <= MAX_POSITION:
                raise InvalidInput(f"{name} is not an unsigned 32-bit integer")
            positions[name] = value
    region = _region(_text(item["referenceName"], "referenceName"), positions, endpoint)
    if region.start >= region.end:
        raise InvalidRange("start is not less than end")
    return region


def _region(name: str, positions: Mapping[str, int], endpoint: Endpoint) -> Region:
    if not name:
        raise InvalidInput("referenceName is empty")
    if name == UNPLACED:
        if endpoint is Endpoint.VARIANTS:
            raise InvalidInput("only reads can be unplaced (referenceName *)")
        if positions:
            raise InvalidInput("unplaced reads (referenceName *) have no start and end")
    return Region(name, positions.get("start", 0), positions.get("end", UNBOUNDED))


def _position(text: str, name: str) -> int:
    if not _UNSIGNED.fullmatch(text) or int(text) > MAX_POSITION:
        raise InvalidInput(f"{name} is not an unsigned 32-bit integer")
    return int(text)


def _names(lists: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    """The given ones of fields, tags and notags, judged."""
    names: dict[str, frozenset[str]] = {}
    for name, values in lists.items():
        if len(values) > MAX_NAMES:
            raise PayloadTooLarge(f"more than {MAX_NAMES} {name}")
        names[name] = frozenset(values)
    if "fields" in names and (not names["fields"] or names["fields"] - FIELDS):
        raise InvalidInput(f"fields are of {', '.join(sorted(FIELDS))}")
    for name in ("tags", "notags"):
        if not all(_TAG.fullmatch(tag) for tag in names.get(name, ())):
            raise InvalidInput(f"{name} are a letter and a letter or digit each")
    if names.get("tags", frozenset()) & names.get("notags", frozenset()):
        raise InvalidInput("a tag is both in tags and in notags")
    return names


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is not a text")
    return value


def _texts(value: object, name: str) -> list[str]:
    if not isinstance(value, list):
        raise InvalidInput(f"{name} is not a list")
    return [_text(item, name) for item in value]
