"""POST requests, where they are offered (htsget 1.3.0: POST request); regions are a matter of
their own."""

import json
from collections.abc import Mapping

from conformance.case import Failed, Requirement, Skipped, case, require
from conformance.cases.htsget_fields import alignments, samples
from conformance.cases.htsget_parameters import OTHER_ENDPOINT
from conformance.cases.htsget_regions import references
from conformance.cases.htsget_ticket import form
from conformance.dataset import FORMATS, DataObject
from conformance.http import Answer, Unreachable
from conformance.records import Records, Region, lost
from conformance.refusals import NOT_OFFERED, refused
from conformance.site import Site, region_query
from conformance.ticket import Ticket, read_ticket

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

NO_OBJECTS = (b"{", b"[]", b'"BAM"', b"7", b"{'format': 'BAM'}", b"\xff\xfe\x00", b"format=BAM")
MOST_REGIONS = (100, 1_000, 10_000, 100_000)
CONTENT_TYPES = ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=x")
"""What htsjdk sends its JSON as, and what others might."""


def posting(site: Site) -> tuple[DataObject, ...]:
    """The objects that POST can be asked for. Raises `Skipped` when there are none."""
    answers = [(each, post(site, each, {})) for each in site.objects()]
    found = tuple(each for each, answer in answers if answer.status not in NOT_OFFERED)
    if not found:
        raise Skipped(f"POST is not offered: {answers[0][1]}")
    return found


def post(site: Site, data: DataObject, request: object) -> Answer:
    """What the server answers to a POST of a JSON document, whatever that is."""
    return site.post(data, json.dumps(request).encode())


def post_records(site: Site, data: DataObject, request: Mapping[str, object]) -> Records:
    """What the file holds that a POST leads to. Raises `Failed` when there is none."""
    return site.decoded(data, site.fetch(post_ticket(site, data, request)))


def post_ticket(site: Site, data: DataObject, request: Mapping[str, object]) -> Ticket:
    """The ticket that a POST is answered with. Raises `Failed` when there is none."""
    return read_ticket(post(site, data, request), FORMATS[data.endpoint][0])


def post_refuses(site: Site, request: Mapping[str, object], error: str) -> None:
    """Raise `Failed` unless a request is refused with an error, whatever the object."""
    for data in posting(site):
        body = {**form(data), **request}
        refused(post(site, data, body), error, json.dumps(body)[:100])


@case("htsget.post.offered", MAY, "htsget 1.3.0, POST request")
def offered(site: Site) -> None:
    """Tickets can be asked for by POST too."""
    for data in site.objects():
        post(site, data, form(data)).expect(200)


@case("htsget.post.whole", MUST, "htsget 1.3.0, POST request, Request body: regions")
def whole(site: Site) -> None:
    """Without `regions`, the entire file is returned."""
    offering = posting(site)
    for (data, format), truth in site.known():
        if data in offering:
            missing = lost(post_records(site, data, {"format": format}).texts, truth.records)
            lacking = f"{len(missing)} of {len(truth.records)} are lost"
            require(not missing, f"{data} as {format}: {lacking}")


@case("htsget.post.ticket", MUST, "htsget 1.3.0, POST request")
def same_ticket(site: Site) -> None:
    """The ticket is the one that GET gives: in the same form, for the same records."""
    offering = posting(site)
    for data, name in references(site):
        if data in offering:
            query = region_query(Region(name), data.formats[0])
            got = site.ticket(data, query)
            posted = post_ticket(site, data, {**form(data), "regions": [{"referenceName": name}]})
            for part in ("format", "urls", "md5"):
                same = (part in got.content) == (part in posted.content)
                require(same, f"{data}: {part} is in one of the tickets of GET and POST only")
            require(got.format == posted.format, f"{posted.answer} with {posted.format}")
            both = [site.decoded(data, site.fetch(each)) for each in (got, posted)]
            texts = [[record.text for record in each.within(Region(name))] for each in both]
            require(texts[0] == texts[1], f"{data}: {name} has other records by POST than by GET")


@case("htsget.post.format", MUST, "htsget 1.3.0, POST request, Request body: format")
def format_honoured(site: Site) -> None:
    """The ticket is for the format that was asked for, by default BAM or VCF."""
    for data in posting(site):
        for format in data.formats:
            ticket = post_ticket(site, data, {"format": format, "class": "header"})
            require(ticket.format == format, f"{data} as {format}: the answer is {ticket.format}")
        default = FORMATS[data.endpoint][0]
        if default in data.formats:
            ticket = post_ticket(site, data, {})
            require(ticket.format == default, f"{data}: by default the answer is {ticket.format}")


@case("htsget.post.format-case", MAY, "htsget 1.3.0, POST request, Example")
def format_in_any_case(site: Site) -> None:
    """`format` may be in lower case, as in the specification's example."""
    for data in posting(site):
        for format in data.formats:
            post(site, data, {"format": format.lower()}).expect(200)


@case("htsget.post.format-unknown", SHOULD, "htsget 1.3.0, POST request, Request body: format")
def unknown_format(site: Site) -> None:
    """A format that the endpoint has not is refused as `UnsupportedFormat`."""
    for data in posting(site):
        for format in ("GFF", *FORMATS[OTHER_ENDPOINT[data.endpoint]]):
            refused(post(site, data, {"format": format}), "UnsupportedFormat", f"format {format}")


@case("htsget.post.class-header", MUST, "htsget 1.3.0, POST request, Request body: class")
def header_alone(site: Site) -> None:
    """With `"class": "header"` the answer is the header of the whole file."""
    offering = posting(site)
    for (data, format), truth in site.known():
        if data in offering:
            found = post_records(site, data, {"format": format, "class": "header"}).references
            same = found == truth.references
            require(same, f"{data} as {format}: the references are {found}")


@case("htsget.post.class-unknown", SHOULD, "htsget 1.3.0, POST request, Request body: class")
def unknown_class(site: Site) -> None:
    """Another value of `class` than `header` is refused as `InvalidInput`."""
    for value in ("body", "", 1, ["header"]):
        post_refuses(site, {"class": value}, "InvalidInput")


@case("htsget.post.class-header-alone", SHOULD, "htsget 1.3.0, POST request, Request body: class")
def header_with_others(site: Site) -> None:
    """`"class": "header"` with more than `format` is refused as `InvalidInput`."""
    others: tuple[Mapping[str, object], ...] = (
        {"fields": ["QNAME"]},
        {"tags": ["NM"]},
        {"notags": ["NM"]},
        {"regions": [{"referenceName": "chr1", "start": 0, "end": 1}]},
    )
    for other in others:
        post_refuses(site, {"class": "header", **other}, "InvalidInput")


@case("htsget.post.fields", MUST, "htsget 1.3.0, POST request, Request body: fields")
def fields_listed(site: Site) -> None:
    """`fields` is a list of names, and no record lacks one of them then."""
    posting(site)
    for sample in samples(site):
        names = ("QNAME", "FLAG", "POS", "SEQ")
        request = {"format": sample.format, "regions": [region_query(sample.region)]}
        found = post_records(site, sample.data, {**request, "fields": [*names]})
        having = {read.fields(*names) for read in alignments(found.records)}
        missing = [read for read in sample.reads if read.fields(*names) not in having]
        require(not missing, f"{sample}: {len(missing)} of {len(sample.reads)} reads lack a field")


@case("htsget.post.tags-none", MUST, "htsget 1.3.0, POST request, Request body: tags")
def no_tags(site: Site) -> None:
    """An empty list of `tags`, for no tags, is no error."""
    for data in posting(site):
        post(site, data, {**form(data), "tags": []}).expect(200)


@case("htsget.post.tags-and-notags", SHOULD, "htsget 1.3.0, POST request, Request body: tags")
def tags_in_both(site: Site) -> None:
    """A tag both in `tags` and in `notags` is refused as `InvalidInput`."""
    post_refuses(site, {"tags": ["NM", "MD"], "notags": ["RG", "MD"]}, "InvalidInput")


@case("htsget.post.lists", SHOULD, "htsget 1.3.0, POST request, Request body: fields, tags, notags")
def lists_of_strings(site: Site) -> None:
    """`fields`, `tags` and `notags` that are no lists of strings are refused as `InvalidInput`."""
    for name, value in (("fields", "QNAME"), ("tags", "NM"), ("notags", "NM")):
        for wrong in (value, [1], {value: True}):
            post_refuses(site, {name: wrong}, "InvalidInput")


@case("htsget.post.query", SHOULD, "htsget 1.3.0, POST request, URL parameters")
def query_parameters(site: Site) -> None:
    """Parameters of GET in the URL of a POST are refused as `InvalidInput`."""
    for data in posting(site):
        for name, value in (
            ("format", data.formats[0]),
            ("class", "header"),
            ("referenceName", "chr1"),
            ("start", 1),
            ("tags", ""),
        ):
            body = json.dumps(form(data)).encode()
            refused(site.post(data, body, {name: value}), "InvalidInput")


@case("htsget.post.not-json", SHOULD, "htsget 1.3.0, POST request, Request body")
def no_json_object(site: Site) -> None:
    """A body that is no JSON object is refused as `InvalidInput`."""
    for data in posting(site):
        for body in NO_OBJECTS:
            refused(site.post(data, body), "InvalidInput", repr(body))


@case("htsget.post.too-large", SHOULD, "htsget 1.3.0, POST request")
def too_large(site: Site) -> None:
    """A body that is too large is refused as `PayloadTooLarge`; all smaller ones are accepted."""
    offering = posting(site)
    data, name = next((each for each in references(site) if each[0] in offering), (None, ""))
    if data is None:
        raise Skipped("no object that POST is offered for has records with a place")
    region = {"referenceName": name, "start": 0, "end": 1}
    for count in MOST_REGIONS:
        what = f"{count} regions"
        try:
            answer = post(site, data, {**form(data), "regions": [region] * count})
        except Unreachable as error:
            raise Failed(f"{what}: {error}") from None
        if answer.status != 200:
            refused(answer, "PayloadTooLarge", what)
            return


@case("htsget.post.content-type", MAY, "htsget 1.3.0, POST request, Request body")
def any_content_type(site: Site) -> None:
    """The body is JSON whatever Content-Type says: htsjdk says that it is a form."""
    for data in posting(site):
        body = json.dumps(form(data)).encode()
        for kind in CONTENT_TYPES:
            headers = {"Content-Type": kind, **site.bearer}
            answer = site.client.request("POST", site.url(data), headers, body)
            require(answer.status == 200, f"{answer} to Content-Type: {kind}")


@case("htsget.post.safe", MUST, "htsget 1.3.0, POST request (RFC 7231, 4.2.1)")
def safe(site: Site) -> None:
    """POST changes nothing: GET gives the same before and after."""
    offering = posting(site)
    for data, name in references(site):
        if data in offering:
            before = site.ticket(data, form(data))
            post(site, data, {**form(data), "regions": [{"referenceName": name}]})
            after = site.ask(data, form(data)).expect(200)
            blocks = read_ticket(after, before.format).blocks
            same = len(blocks) == len(before.blocks)
            require(same, f"{after} with {len(blocks)} URLs, before a POST {len(before.blocks)}")
