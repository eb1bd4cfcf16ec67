"""Nothing comes that was not asked for: beyond the protocol, which allows it."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from conformance import regions
from conformance.bgzf import blocks, is_bgzf
from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_records import asked, excerpt, shown
from conformance.http import Unreachable
from conformance.records import UNPLACED, Record, Records, Region
from conformance.refusals import NOT_OFFERED
from conformance.site import Form, Site, region_query
from conformance.ticket import read_ticket

EXACT = Requirement.EXACT

SUPERSET = "beyond htsget 1.3.0, which allows a superset"
PIECES = "beyond htsget 1.3.0, for clients that unpack each URL by itself"


def outside(records: Iterable[Record], wanted: Sequence[Region]) -> list[str]:
    """The records that no region may hold, by any reading of where they end."""
    return [each.text for each in records if not any(region.may_hold(each) for region in wanted)]


def _nothing_outside(site: Site, form: Form, region: Region) -> None:
    more = outside(asked(site, form, region).records, [region])
    require(not more, f"{shown(form, region)}: records outside: {excerpt(more)}")


def _exact(site: Site, choose: Callable[[Form, Records], list[Region]], nothing: str) -> None:
    found = False
    for form, truth in site.known():
        for region in choose(form, truth):
            found = True
            _nothing_outside(site, form, region)
    if not found:
        raise Skipped(nothing)


def _of(endpoint: str) -> Callable[[Form, Records], list[Region]]:
    def choose(form: Form, truth: Records) -> list[Region]:
        return regions.regions(truth) if form[0].endpoint == endpoint else []

    return choose


@case("htsget.exact.reads", EXACT, SUPERSET)
def reads(site: Site) -> None:
    """An answer to a region has no read that does not overlap it."""
    _exact(site, _of("reads"), "the description names no placed reads")


@case("htsget.exact.variants", EXACT, SUPERSET)
def variants(site: Site) -> None:
    """An answer to a region has no variant that does not overlap it."""
    _exact(site, _of("variants"), "the description names no variants")


@case("htsget.exact.borders", EXACT, SUPERSET)
def borders(site: Site) -> None:
    """A record is not part of the base before its first or behind its last."""

    def beside(_: Form, truth: Records) -> list[Region]:
        found = []
        for each in regions.landmarks(truth):
            found.append(regions.base(each.reference, each.reach))
            if each.start:
                found.append(regions.base(each.reference, each.start - 1))
        return found

    _exact(site, beside, "the objects have no placed records")


@case("htsget.exact.open-ends", EXACT, SUPERSET)
def open_ends(site: Site) -> None:
    """With a start alone nothing before it comes, with an end alone nothing behind it, and nothing
    of another reference."""

    def halves(_: Form, truth: Records) -> list[Region]:
        found: list[Region] = []
        for each in regions.landmarks(truth)[1:2]:
            found.append(Region(each.reference, each.start))
            found.append(Region(each.reference, None, each.end))
        return found

    _exact(site, halves, "the objects have too few records")


@case("htsget.exact.reference", EXACT, SUPERSET)
def reference(site: Site) -> None:
    """With a reference alone, no record of another one comes, nor any without a place."""

    def last(_: Form, truth: Records) -> list[Region]:
        return [Region(name) for name in [*truth.placed][-1:]]

    _exact(site, last, "the objects have no placed records")


@case("htsget.exact.unplaced", EXACT, SUPERSET)
def unplaced(site: Site) -> None:
    """The reference `*` gives no read that has a place."""
    for data, format in site.forms("reads"):
        _nothing_outside(site, (data, format), Region(UNPLACED))


@case("htsget.exact.header", EXACT, SUPERSET)
def header(site: Site) -> None:
    """`class=header` gives no record."""
    for data, format in site.forms():
        found = site.records(data, {"format": format, "class": "header"}).texts
        require(not found, f"{data} as {format}, header: records: {excerpt(found)}")


@case("htsget.exact.empty-region", EXACT, SUPERSET)
def empty_region(site: Site) -> None:
    """A region without records, on its reference or behind it, is answered by none."""

    def nowhere(_: Form, truth: Records) -> list[Region]:
        found = regions.empty(truth)
        return [found] if found else []

    _exact(site, nowhere, "every base of every reference has records")


@case("htsget.exact.regions", EXACT, SUPERSET)
def several(site: Site) -> None:
    """An answer to several regions has no record outside all of them."""
    refusals = []
    for form, truth in site.known():
        wanted = [regions.around(each) for each in regions.landmarks(truth)]
        if not wanted:
            continue
        data, format = form
        body = {"format": format, "regions": [region_query(each) for each in wanted]}
        answer = site.post(data, json.dumps(body).encode())
        if answer.status in NOT_OFFERED:
            refusals.append(str(answer))
            continue
        found = site.decoded(data, site.fetch(read_ticket(answer, format)))
        more = outside(found.records, wanted)
        require(not more, f"{data} as {format}, {len(wanted)} regions: outside: {excerpt(more)}")
    if refusals:
        raise Skipped(f"POST is not offered: {refusals[0]}")


@case("htsget.exact.without-headers", EXACT, "beyond htsget 1.3.0, for data that are controlled")
def without_headers(site: Site) -> None:
    """What a URL gives without the headers of its ticket is no more than what it gives with
    them."""
    for form, region in _wide(site):
        data, format = form
        fetched = site.fetch(site.ticket(data, region_query(region, format)))
        for block, part in fetched.blocks:
            if block.headers and not block.inline:
                try:
                    bare = site.client.get(block.url)
                except Unreachable:
                    continue
                more = bare.status < 300 and len(bare.body) > len(part)
                require(
                    not more,
                    f"{shown(form, region)}: a URL gives {len(bare.body)} bytes without its "
                    f"headers, {len(part)} with them",
                )


@case("htsget.exact.whole-blocks", EXACT, PIECES)
def whole_blocks(site: Site) -> None:
    """Each URL of BAM, VCF and BCF leads to a whole number of BGZF blocks."""
    for form, region in _wide(site):
        data, format = form
        if format == "CRAM":
            continue
        fetched = site.fetch(site.ticket(data, region_query(region, format)))
        if not is_bgzf(fetched.data):
            continue
        for number, part in enumerate(fetched.parts):
            try:
                cut = "" if sum(1 for _ in blocks(part)) else "nothing"
            except ValueError as error:
                cut = str(error)
            require(not cut, f"{shown(form, region)}, URL {number}: {cut}")


@case("htsget.exact.header-first", EXACT, PIECES)
def header_first(site: Site) -> None:
    """The first URL of a region leads to the header and nothing else."""
    for form, region in _wide(site):
        data, format = form
        ticket = site.ticket(data, region_query(region, format))
        first = site.fetch(replace(ticket, blocks=ticket.blocks[:1]))
        more = site.decoded(data, first).texts
        require(not more, f"{shown(form, region)}: records in the first URL: {excerpt(more)}")


def _wide(site: Site) -> Iterator[tuple[Form, Region]]:
    for form, truth in site.known():
        region = regions.wide(truth)
        if region is not None:
            yield form, region
