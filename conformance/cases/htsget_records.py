"""No record is lost, repeated, changed or moved (htsget 1.3.0: GET request, Region list)."""

from collections import Counter
from collections.abc import Callable, Iterator

from conformance import regions
from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_files import eof_markers
from conformance.dataset import DataObject
from conformance.records import (
    UNPLACED,
    Record,
    Records,
    Region,
    foreign,
    lost,
    misplaced,
    repeated,
)
from conformance.site import Form, Site, region_query

MUST = Requirement.MUST

RANGE = "htsget 1.3.0, GET request: Methods"
REFERENCE = "htsget 1.3.0, Query parameters: referenceName"


def asked(site: Site, form: Form, region: Region) -> Records:
    """What an answer to a region holds."""
    data, format = form
    return site.records(data, region_query(region, format))


def shown(form: Form, region: Region) -> str:
    """What was asked of what, for a message."""
    return f"{form[0]} as {form[1]}, {region}"


def excerpt(records: list[str]) -> str:
    """How many records, and the first fields of the first."""
    first = " ".join(records[0].split("\t")[:4]) if records else ""
    return f"{len(records)}, first: {first}"


def nothing_lost(site: Site, form: Form, truth: Records, region: Region) -> None:
    """Raise `Failed` when an answer lacks a record that overlaps the region it is for."""
    missing = lost(asked(site, form, region).texts, truth.within(region))
    require(not missing, f"{shown(form, region)}: records are lost: {excerpt(missing)}")


def _complete(site: Site, choose: Callable[[Records], list[Region]], nothing: str) -> None:
    found = False
    for form, truth in site.known():
        for region in choose(truth):
            found = True
            nothing_lost(site, form, truth, region)
    if not found:
        raise Skipped(nothing)


def _answers(site: Site) -> Iterator[tuple[str, Records, Records]]:
    """Answers to a region of many records in each form: where, the answer, what it is part of."""
    for form, truth in site.known():
        region = regions.wide(truth)
        if region is not None:
            yield shown(form, region), asked(site, form, region), truth


@case("htsget.records.whole-complete", MUST, REFERENCE)
def whole_complete(site: Site) -> None:
    """Without a reference, all records of the object come, and no other."""
    judged = False
    for data, format in site.forms():
        known = data.truths.get(format)
        if known is None:
            continue
        judged = True
        whole, what = site.records(data, {"format": format}), f"{data} as {format}"
        if known.path:
            file = site.truth(data, format)
            missing, more = lost(whole.texts, file.records), foreign(whole.texts, file)
            require(not missing, f"{what}: records are lost: {excerpt(missing)}")
            require(not more, f"{what}: records that the file has not: {excerpt(more)}")
        count = len(whole.records)
        require(known.records in (None, count), f"{what}: {count} records, not {known.records}")
        same = not whole.bases or known.digest in (None, whole.digest)
        require(same, f"{what}: the records are not those described")
    if not judged:
        raise Skipped("the description says of no object what it holds")


@case("htsget.records.whole-has-parts", MUST, REFERENCE)
def whole_has_parts(site: Site) -> None:
    """The answer without a reference has the records of any reference, mapped or not, and those
    without a place."""
    for data in site.objects():
        format = data.formats[0]
        whole = site.records(data, {"format": format})
        names = regions.some([*whole.references])
        for name in [*names, UNPLACED] if data.endpoint == "reads" else names:
            part = asked(site, (data, format), Region(name))
            missing = lost(whole.texts, part.within(Region(name)))
            require(not missing, f"the whole of {data} lacks records of {name}: {excerpt(missing)}")


@case("htsget.records.region", MUST, RANGE)
def region_complete(site: Site) -> None:
    """An answer to a region has all records that overlap it: the first of a file, the last, and
    those between."""
    _complete(site, regions.regions, "the objects have no placed records")


@case("htsget.records.single-base", MUST, "htsget 1.3.0, Query parameters: start, end")
def single_base(site: Site) -> None:
    """Of a record, the first and the last base each find it: positions count from 0, and the end
    is not part of a region."""

    def borders(truth: Records) -> list[Region]:
        ends = (
            (each, at) for each in regions.landmarks(truth) for at in (each.start, each.end - 1)
        )
        return [regions.base(each.reference, at) for each, at in ends]

    _complete(site, borders, "the objects have no placed records")


@case("htsget.records.spanning", MUST, RANGE)
def spanning(site: Site) -> None:
    """A record that begins before a region and reaches into it, or beyond it, is given."""

    def inside(truth: Records) -> list[Region]:
        found = regions.within_longest(truth)
        return [found] if found else []

    _complete(site, inside, "no record covers two bases")


@case("htsget.records.start-alone", MUST, "htsget 1.3.0, Query parameters: start")
def start_alone(site: Site) -> None:
    """With a start and no end, the records up to the end of the reference are given."""

    def from_middle(truth: Records) -> list[Region]:
        return [Region(each.reference, each.start) for each in regions.landmarks(truth)[1:2]]

    _complete(site, from_middle, "the objects have too few records")


@case("htsget.records.end-alone", MUST, "htsget 1.3.0, Query parameters: end")
def end_alone(site: Site) -> None:
    """With an end and no start, the records from the first base of the reference on are given."""

    def to_middle(truth: Records) -> list[Region]:
        return [Region(each.reference, None, each.end) for each in regions.landmarks(truth)[1:2]]

    _complete(site, to_middle, "the objects have too few records")


@case("htsget.records.reference", MUST, REFERENCE)
def whole_reference(site: Site) -> None:
    """With a reference alone, all of its records are given."""

    def references(truth: Records) -> list[Region]:
        return [Region(name) for name in [*truth.placed][:1] + [*truth.placed][1:][-1:]]

    _complete(site, references, "the objects have no placed records")


@case("htsget.records.placed-unmapped", MUST, REFERENCE)
def placed_unmapped(site: Site) -> None:
    """Reads that are not mapped but have a place are among those of a region there."""
    judged = False
    for form, truth in site.known():
        found = _placed_unmapped(truth) if form[0].endpoint == "reads" else None
        if found is not None:
            judged = True
            region = regions.around(found)
            missing = lost(asked(site, form, region).texts, [found])
            require(
                not missing, f"{shown(form, region)}: an unmapped read is lost: {excerpt(missing)}"
            )
    if not judged:
        raise Skipped("no read is unmapped and has a place")


def _placed_unmapped(truth: Records) -> Record | None:
    placed = (each for records in truth.placed.values() for each in records)
    return next((each for each in placed if int(each.text.split("\t", 2)[1]) & 4), None)


@case("htsget.records.unplaced", MUST, REFERENCE)
def unplaced(site: Site) -> None:
    """The reference `*` gives all reads without a place."""
    judged = False
    for form, truth in site.known():
        if form[0].endpoint == "reads" and truth.unplaced:
            judged = True
            nothing_lost(site, form, truth, Region(UNPLACED))
    if not judged:
        raise Skipped("no read is without a place")


@case("htsget.records.unaltered", MUST, RANGE)
def unaltered(site: Site) -> None:
    """The records of a region are records of the file, unchanged."""
    for where, answer, truth in _answers(site):
        strange = foreign(answer.texts, truth)
        require(not strange, f"{where}: records that the file has not: {excerpt(strange)}")


@case("htsget.records.once", MUST, "htsget 1.3.0, Query parameters: class; Region list")
def once(site: Site) -> None:
    """No record of a region comes more often than it is in the file."""
    for where, answer, truth in _answers(site):
        again = repeated(answer.texts, truth)
        require(not again, f"{where}: records are repeated: {excerpt(again)}")


@case("htsget.records.order", MUST, "htsget 1.3.0, Region list")
def order(site: Site) -> None:
    """The records of a region come in the order of the file."""
    for where, answer, truth in _answers(site):
        moved = misplaced(answer.texts, truth)
        require(moved is None, f"{where}: a record is out of order: {excerpt([moved or ''])}")


@case("htsget.records.empty-region", MUST, RANGE)
def empty_region(site: Site) -> None:
    """A region without records is answered by a valid file, with header and EOF marker."""
    judged = False
    for form, truth in site.known():
        region = regions.empty(truth)
        if region is None:
            continue
        judged = True
        fetched = site.fetch(site.ticket(form[0], region_query(region, form[1])))
        found = site.decoded(form[0], fetched).references
        where = shown(form, region)
        lacking = truth.references.keys() - found.keys()
        require(not lacking, f"{where}: the header lacks references: {sorted(lacking)[:3]}")
        markers = eof_markers(fetched)
        require(not markers or fetched.data.endswith(markers), f"{where}: no EOF marker at the end")
    if not judged:
        raise Skipped("every base of every reference has records")


@case("htsget.records.formats-agree", Requirement.MAY, "htsget 1.3.0, Query parameters: format")
def formats_agree(site: Site) -> None:
    """A region has the same records in each format of an object; of reads, the mandatory fields
    are compared."""
    judged = False
    for data, truth in {str(data): (data, truth) for (data, _), truth in site.known()}.values():
        region = regions.wide(truth)
        if region is None:
            continue
        answers = {format: asked(site, (data, format), region) for format in data.formats}
        columns = 11 if all(each.bases for each in answers.values()) else 9
        first, *others = (
            (format, _fields(answer.within(region), data, columns))
            for format, answer in answers.items()
        )
        for format, found in others:
            judged = True
            differing = (first[1] - found).total() + (found - first[1]).total()
            require(
                not differing,
                f"{data}, {region}: {differing} records are of {first[0]} or {format} alone",
            )
    if not judged:
        raise Skipped("no object has two formats")


def _fields(records: list[Record], data: DataObject, columns: int) -> Counter[str]:
    """The lines of variants; of reads the first columns, and no tags, some of which CRAM does not
    store."""
    if data.endpoint == "variants":
        return Counter(each.text for each in records)
    return Counter("\t".join(each.text.split("\t", 11)[:columns]) for each in records)
