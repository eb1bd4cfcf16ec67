"""`format`, `class`, ids and what else stands in the URL of a GET request (htsget 1.3.0: GET
request)."""

from collections.abc import Mapping
from urllib.parse import quote

from conformance.bgzf import beginning
from conformance.case import Requirement, Skipped, case, require
from conformance.cases.htsget_ticket import form
from conformance.dataset import FORMATS
from conformance.records import BEGINNINGS
from conformance.refusals import error_of, refused
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY

UNKNOWN_FORMATS = ("SAM", "GFF")
OTHER_ENDPOINT = {"reads": "variants", "variants": "reads"}
WITH_HEADER: tuple[Mapping[str, object], ...] = (
    {"fields": "QNAME"},
    {"tags": "NM"},
    {"notags": "NM"},
)
"""What does not go with `class=header`. `referenceName` alone is left out: JBrowse sends it, and
so servers may well let it pass."""

FOREIGN_PARAMETERS = {"referenceMD5": "0" * 32, "encryptionScheme": "none", "x-trace": "1"}
"""What the htsget client of Python, the GA4GH suite, and proxies add."""

INDEX_SUFFIXES = (".bai", ".csi", ".tbi", ".crai")


def refuses(site: Site, query: Mapping[str, object], error: str) -> None:
    """Raise `Failed` unless a query is refused with an error, whatever the object."""
    for data in site.objects():
        refused(site.ask(data, {**form(data), **query}), error)


@case("htsget.parameters.format-default", MUST, "htsget 1.3.0, Query parameters: format")
def default_format(site: Site) -> None:
    """Without `format`, reads come as BAM and variants as VCF."""
    objects = [each for each in site.objects() if FORMATS[each.endpoint][0] in each.formats]
    if not objects:
        raise Skipped("no object of the description has the default format")
    for data in objects:
        ticket = site.ticket(data)
        default = FORMATS[data.endpoint][0]
        require(ticket.format == default, f"{ticket.answer} with {ticket.format}, not {default}")


@case("htsget.parameters.format", MUST, "htsget 1.3.0, Query parameters: format")
def format_honoured(site: Site) -> None:
    """The data are in the format that was asked for."""
    for data, format in site.forms():
        fetched = site.fetch(site.ticket(data, {"format": format, "class": "header"}))
        found = beginning(fetched.data)
        right = found.startswith(BEGINNINGS[format])
        require(right, f"{fetched.ticket.answer}, and what it leads to begins with {found!r}")


@case("htsget.parameters.format-case", MAY, "htsget 1.3.0, Query parameters: format")
def format_in_any_case(site: Site) -> None:
    """`format` may be in lower case, as in the specification's own example of POST."""
    for data, format in site.forms():
        site.ask(data, {"format": format.lower()}).expect(200)


@case("htsget.parameters.format-unknown", SHOULD, "htsget 1.3.0, Query parameters: format")
def unknown_format(site: Site) -> None:
    """A format that is none of htsget's is refused as `UnsupportedFormat`."""
    for format in UNKNOWN_FORMATS:
        refuses(site, {"format": format}, "UnsupportedFormat")


@case("htsget.parameters.format-other-datatype", SHOULD, "htsget 1.3.0, Query parameters: format")
def format_of_other_datatype(site: Site) -> None:
    """Formats of variants are `UnsupportedFormat` for reads, and those of reads for variants."""
    for data in site.objects():
        for format in FORMATS[OTHER_ENDPOINT[data.endpoint]]:
            refused(site.ask(data, {"format": format}), "UnsupportedFormat")


@case("htsget.parameters.class-unknown", SHOULD, "htsget 1.3.0, Query parameters: class")
def unknown_class(site: Site) -> None:
    """Another value of `class` than `header` is refused as `InvalidInput`."""
    for value in ("body", "HEADERS"):
        refuses(site, {"class": value}, "InvalidInput")


@case("htsget.parameters.class-header-alone", SHOULD, "htsget 1.3.0, Query parameters: class")
def header_with_others(site: Site) -> None:
    """`class=header` with parameters other than `format` is refused as `InvalidInput`."""
    for others in WITH_HEADER:
        refuses(site, {"class": "header", **others}, "InvalidInput")


@case("htsget.parameters.unknown", MAY, "htsget 1.3.0, Query parameters")
def unknown_parameters(site: Site) -> None:
    """Parameters that the specification does not know are ignored, for clients send some."""
    for data in site.objects():
        for name, value in FOREIGN_PARAMETERS.items():
            site.ask(data, {**form(data), name: value}).expect(200)


@case("htsget.parameters.id-encoded", MUST, "htsget 1.3.0, URL parameters: id (RFC 3986, 2.3)")
def id_percent_encoded(site: Site) -> None:
    """An id with letters and digits percent-encoded is the same id."""
    for data in site.objects():
        encoded = "".join(
            f"%{ord(each):02X}" if each.isascii() and each.isalnum() else quote(each, safe="/")
            for each in data.id
        )
        query = site.url(data, form(data)).partition("?")[1:]
        url = f"{site.endpoint(data.endpoint)}/{encoded}{''.join(query)}"
        site.client.get(url, site.bearer).expect(200)


@case("htsget.parameters.id-of-index", MAY, "htsget 1.3.0, URL parameters: id")
def ids_of_indices(site: Site) -> None:
    """Names of indices are no ids: htslib looks for an index there, and takes a ticket for one."""
    for data in site.objects():
        for suffix in INDEX_SUFFIXES:
            answer = site.client.get(site.url(data) + suffix, site.bearer).expect(404)
            require(bool(error_of(answer)), f"{answer} without an error of htsget in JSON")


@case("htsget.parameters.head", MAY, "htsget 1.3.0, Protocol essentials (RFC 9110, 9.3.2)")
def head_of_tickets(site: Site) -> None:
    """HEAD is answered with the status and the Content-Type of GET."""
    for data in site.objects():
        for query in (form(data), {"format": "GFF"}):
            url = site.url(data, query)
            head = site.client.request("HEAD", url, site.bearer)
            got = site.client.get(url, site.bearer)
            require(head.status == got.status, f"{head}, and GET {got.status}")
            same = head.media_type == got.media_type
            require(same, f"{head} as {head.media_type!r}, and GET as {got.media_type!r}")
