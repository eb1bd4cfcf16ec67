"""`referenceName`, `start` and `end` (htsget 1.3.0: GET request, Query parameters)."""

from collections.abc import Mapping
from urllib.parse import quote

from conformance import regions
from conformance.case import Requirement, Skipped, case
from conformance.cases.htsget_parameters import refuses
from conformance.cases.htsget_ticket import form
from conformance.dataset import DataObject
from conformance.records import Region
from conformance.refusals import error_of, refused
from conformance.site import Site, region_query

MUST, SHOULD = Requirement.MUST, Requirement.SHOULD

LARGEST = 2**32 - 1
UNKNOWN_REFERENCE = "no-such-reference"
NOT_UNSIGNED = ("-1", "1e3", "1.5", "abc", "1_0", "0x10", str(2**32), "9" * 40)
"""What some parsers of integers take, and what does not fit into 32 bits."""


def references(site: Site) -> list[tuple[DataObject, str]]:
    """Each object with a reference that has records. Raises `Skipped` when there are none."""
    known = [(data, truth.placed) for (data, _), truth in site.known() if truth.placed]
    found = {str(data): (data, next(iter(placed))) for data, placed in known}
    if not found:
        raise Skipped("no object of the description has records with a place")
    return [*found.values()]


def _refuses(site: Site, query: Mapping[str, object], error: str) -> None:
    for data, name in references(site):
        refused(site.ask(data, {**form(data), "referenceName": name, **query}), error)


@case("htsget.regions.reference", MUST, "htsget 1.3.0, Query parameters: referenceName")
def any_reference(site: Site) -> None:
    """References that the header names can be asked for, even those without records."""
    for data, truth in {str(data): (data, truth) for (data, _), truth in site.known()}.values():
        names = [*truth.references]
        bare = [each for each in names if each not in truth.placed]
        for name in dict.fromkeys((*regions.some(names), *regions.some(bare))):
            site.ask(data, {**form(data), "referenceName": name}).expect(200)


@case("htsget.regions.reference-encoded", MUST, "htsget 1.3.0, Query parameters (RFC 3986, 2.3)")
def reference_percent_encoded(site: Site) -> None:
    """A reference's name may be percent-encoded, wholly or not at all."""
    for data, name in references(site):
        for encoded in (
            "".join(f"%{byte:02X}" for byte in name.encode()),
            quote(name, safe="*:|,;/"),
        ):
            url = site.url(data, {**form(data), "referenceName": ""}) + encoded
            site.client.get(url, site.bearer).expect(200)


@case("htsget.regions.reference-unknown", SHOULD, "htsget 1.3.0, Query parameters: referenceName")
def unknown_reference(site: Site) -> None:
    """A reference that does not exist is `NotFound`."""
    refuses(site, {"referenceName": UNKNOWN_REFERENCE}, "NotFound")
    refuses(site, {"referenceName": UNKNOWN_REFERENCE, "start": 1, "end": 2}, "NotFound")


@case("htsget.regions.start-alone", SHOULD, "htsget 1.3.0, Query parameters: start")
def start_without_reference(site: Site) -> None:
    """`start` without `referenceName` is refused as `InvalidInput`."""
    refuses(site, {"start": 0}, "InvalidInput")


@case("htsget.regions.end-alone", SHOULD, "htsget 1.3.0, Query parameters: end")
def end_without_reference(site: Site) -> None:
    """`end` without `referenceName` is refused as `InvalidInput`."""
    refuses(site, {"end": 100}, "InvalidInput")


@case("htsget.regions.start-of-unplaced", SHOULD, "htsget 1.3.0, Query parameters: start")
def start_of_unplaced(site: Site) -> None:
    """`start` with `referenceName=*` is refused as `InvalidInput`."""
    for data in site.objects("reads"):
        refused(site.ask(data, {**form(data), "referenceName": "*", "start": 0}), "InvalidInput")


@case("htsget.regions.end-of-unplaced", SHOULD, "htsget 1.3.0, Query parameters: end")
def end_of_unplaced(site: Site) -> None:
    """`end` with `referenceName=*` is refused as `InvalidInput`."""
    for data in site.objects("reads"):
        refused(site.ask(data, {**form(data), "referenceName": "*", "end": 100}), "InvalidInput")


@case("htsget.regions.start-behind-end", SHOULD, "htsget 1.3.0, Query parameters: start, end")
def start_behind_end(site: Site) -> None:
    """`start` greater than `end` is refused as `InvalidRange`."""
    for start, end in ((2, 1), (1, 0), (1000, 999)):
        _refuses(site, {"start": start, "end": end}, "InvalidRange")


@case("htsget.regions.not-unsigned", SHOULD, "htsget 1.3.0, Query parameters: start, end")
def not_unsigned(site: Site) -> None:
    """`start` and `end` that are no unsigned integers of 32 bits are refused as `InvalidInput`."""
    for text in NOT_UNSIGNED:
        for name in ("start", "end"):
            _refuses(site, {name: text}, "InvalidInput")


@case("htsget.regions.empty", SHOULD, "htsget 1.3.0, Query parameters: start, end")
def start_equals_end(site: Site) -> None:
    """`start` equal to `end` is no error: the answer is a valid file, though of no record."""
    for data, name in references(site):
        for format in data.formats:
            for position in (0, 1):
                site.records(data, region_query(Region(name, position, position), format))


@case("htsget.regions.unsigned", MUST, "htsget 1.3.0, Query parameters: start, end")
def unsigned(site: Site) -> None:
    """`start` and `end` may be any unsigned integers of 32 bits, also those that no index holds; a
    start behind the reference may be `InvalidRange`."""
    for data, name in references(site):
        for start, end in ((0, LARGEST), (LARGEST, None), (2**29, 2**31), (None, 2**31)):
            query = region_query(Region(name, start, end))
            answer = site.ask(data, {**form(data), **query})
            if not (start and error_of(answer).get("error") == "InvalidRange"):
                answer.expect(200)
