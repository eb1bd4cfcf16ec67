"""The regions of a POST request, where it is offered (htsget 1.3.0: POST request, Region list)."""

from collections.abc import Iterator, Mapping

from conformance import regions
from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_files import headers
from conformance.cases.htsget_post import post, post_records, post_refuses, post_ticket, posting
from conformance.cases.htsget_regions import UNKNOWN_REFERENCE, references
from conformance.cases.htsget_ticket import form
from conformance.dataset import DataObject
from conformance.records import Record, Records, Region, lost, misplaced, repeated
from conformance.refusals import refused
from conformance.site import Site, region_query

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

BODY = "htsget 1.3.0, POST request, Request body: regions"
LIST = "htsget 1.3.0, POST request, Region list"


def truths(site: Site) -> Iterator[tuple[DataObject, str, Records]]:
    """What the objects that POST can be asked for hold, in each format. Raises `Skipped` when
    none has records with a place."""
    offering = posting(site)
    found = [
        (data, format, truth)
        for (data, format), truth in site.known()
        if data in offering and truth.placed
    ]
    if not found:
        raise Skipped("no object of the description has records with a place")
    return iter(found)


def places(truth: Records) -> list[Region]:
    """Small regions in the order of the file, each around a record, on several references."""
    return [regions.around(each) for each in regions.landmarks(truth)]


def overlapping(truth: Records) -> list[Region]:
    """Regions that share records: one twice, one in another, and all of their reference."""
    largest = regions.wide(truth) or places(truth)[0]
    inner = next((each for each in places(truth) if each.reference == largest.reference), largest)
    return [largest, inner, largest, Region(largest.reference)]


def ask(site: Site, data: DataObject, format: str, wanted: list[Region]) -> Records:
    """What a POST of regions leads to."""
    return post_records(site, data, body(format, wanted))


def body(format: str, wanted: list[Region]) -> Mapping[str, object]:
    """A request for regions."""
    return {"format": format, "regions": [region_query(each) for each in wanted]}


def _complete(site: Site, data: DataObject, format: str, wanted: list[Region]) -> None:
    """Raise `Failed` unless all records that overlap a region are in the answer."""
    truth = site.truth(data, format)
    expected = {id(each): each for region in wanted for each in truth.within(region)}
    missing = lost(ask(site, data, format, wanted).texts, expected.values())
    asked = ", ".join(map(str, wanted))
    require(not missing, f"{data} as {format}: {len(missing)} of {len(expected)} lost of {asked}")


def _refuses(site: Site, wrong: Mapping[str, object], error: str) -> None:
    """Raise `Failed` unless a region with these bounds is refused with an error, alone and behind
    one that is right."""
    offering = posting(site)
    for data, name in references(site):
        if data in offering:
            right, region = {"referenceName": name}, {"referenceName": name, **wrong}
            for listed in ([region], [right, region]):
                answer = post(site, data, {**form(data), "regions": listed})
                refused(answer, error, f"{region}")


@case("htsget.post.reference", MUST, BODY)
def one_reference(site: Site) -> None:
    """A region of a reference alone gives all of its records."""
    for data, format, truth in truths(site):
        _complete(site, data, format, [Region(next(iter(truth.placed)))])


@case("htsget.post.region", MUST, BODY)
def one_region(site: Site) -> None:
    """A region gives all records that overlap it."""
    for data, format, truth in truths(site):
        for region in places(truth)[:2]:
            _complete(site, data, format, [region])


@case("htsget.post.start-alone", MUST, f"{BODY}: end")
def start_alone(site: Site) -> None:
    """Without an end, a region reaches to the end of its reference."""
    for data, format, truth in truths(site):
        middle = _middle(truth)
        _complete(site, data, format, [Region(middle.reference, middle.start)])


@case("htsget.post.end-alone", MUST, f"{BODY}: start")
def end_alone(site: Site) -> None:
    """Without a start, a region begins with the first base of its reference."""
    for data, format, truth in truths(site):
        middle = _middle(truth)
        _complete(site, data, format, [Region(middle.reference, None, middle.end)])


@case("htsget.post.several", MUST, LIST)
def several_regions(site: Site) -> None:
    """Several regions give all records that overlap any of them."""
    for data, format, truth in truths(site):
        _complete(site, data, format, places(truth))


@case("htsget.post.order", MUST, LIST)
def file_order(site: Site) -> None:
    """Records come in the order of the file, in whichever order the regions are listed."""
    for data, format, truth in truths(site):
        moved = misplaced(ask(site, data, format, places(truth)[::-1]).texts, truth)
        require(moved is None, f"{data} as {format}: not in the order of the file: {moved}")


@case("htsget.post.once", MUST, LIST)
def each_once(site: Site) -> None:
    """A record is returned once, even if several regions of the list match it."""
    for data, format, truth in truths(site):
        wanted = overlapping(truth)
        again = repeated(ask(site, data, format, wanted).texts, truth)
        asked = ", ".join(map(str, wanted))
        require(not again, f"{data} as {format}: {len(again)} records come again of {asked}")


@case("htsget.post.one-file", MUST, "htsget 1.3.0, POST request, Request body: class")
def one_file(site: Site) -> None:
    """However many regions there are, they make one file: with one header."""
    for data, format, truth in truths(site):
        count = headers(site.fetch(post_ticket(site, data, body(format, places(truth)))))
        require(count == 1, f"{data} as {format}: {count} headers")


@case("htsget.post.no-regions", SHOULD, BODY)
def no_regions(site: Site) -> None:
    """An empty list of regions is refused as `InvalidInput`."""
    post_refuses(site, {"regions": []}, "InvalidInput")


@case("htsget.post.regions-malformed", SHOULD, BODY)
def malformed_regions(site: Site) -> None:
    """`regions` that are no list of objects are refused as `InvalidInput`."""
    for wrong in ("chr1", {"referenceName": "chr1"}, ["chr1"], [["chr1", 0, 1]], [None], [7]):
        post_refuses(site, {"regions": wrong}, "InvalidInput")


@case("htsget.post.reference-missing", SHOULD, f"{BODY}: referenceName")
def missing_reference(site: Site) -> None:
    """A region without a reference's name is refused as `InvalidInput`."""
    for region in ({}, {"start": 0, "end": 100}, {"referenceName": 1}, {"reference": "chr1"}):
        post_refuses(site, {"regions": [region]}, "InvalidInput")


@case("htsget.post.reference-unknown", SHOULD, f"{BODY}: referenceName")
def unknown_reference(site: Site) -> None:
    """A region of a reference that does not exist is `NotFound`."""
    _refuses(site, {"referenceName": UNKNOWN_REFERENCE}, "NotFound")


@case("htsget.post.start-behind-end", SHOULD, f"{BODY}: start, end")
def start_behind_end(site: Site) -> None:
    """A region whose start is greater than its end is refused as `InvalidRange`."""
    for start, end in ((2, 1), (1, 0), (1000, 999)):
        _refuses(site, {"start": start, "end": end}, "InvalidRange")


@case("htsget.post.start-equals-end", SHOULD, f"{BODY}: start, end")
def start_equals_end(site: Site) -> None:
    """A region whose start equals its end is refused as `InvalidRange`, other than by GET."""
    for position in (0, 1000):
        _refuses(site, {"start": position, "end": position}, "InvalidRange")


@case("htsget.post.not-unsigned", SHOULD, f"{BODY}: start, end")
def not_unsigned(site: Site) -> None:
    """Bounds of a region that are no unsigned integers are refused as `InvalidInput`."""
    for wrong in (-1, 1.5, "1", "chr1", True, [1]):
        for name in ("start", "end"):
            _refuses(site, {name: wrong}, "InvalidInput")


@case("htsget.post.reference-at-top", MAY, "htsget 1.3.0, POST request, Request body")
def region_at_top(site: Site) -> None:
    """The parameters of a region beside `regions`, not in it, are refused as `InvalidInput`."""
    for request in ({"referenceName": "chr1"}, {"referenceName": "chr1", "start": 0, "end": 1}):
        post_refuses(site, request, "InvalidInput")


def _middle(truth: Records) -> Record:
    """The record in the middle of the reference with the most."""
    records = max(truth.placed.values(), key=len)
    return records[len(records) // 2]
