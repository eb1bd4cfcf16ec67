"""Parts of sequences by the header Range (refget 2.0.0: Range headers)."""

from conformance.case import Requirement, Skipped, case, require
from conformance.http import Answer
from conformance.sequences import SHORTEST, Sequence, normal
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY
CLAUSE = "refget 2.0.0, Range headers"
HEADER = "refget 2.0.0, get sequence by ID: Range"
SUITE = "refget compliance suite 2.0.0, Range"
OUT_OF_BOUNDS = (400, 416)
"""400 by the text of version 2.0.0, 416 by its compliance suite."""


@case("refget.range.offered", SHOULD, "refget 2.0.0, get sequence by ID: Response")
def offered(site: Site) -> None:
    """Range is answered with 206."""
    for sequence in site.refget.known(SHORTEST):
        _ask(site, sequence, "bytes=10-19").expect(206)


@case("refget.range.exact", MUST, CLAUSE)
def exact(site: Site) -> None:
    """206 comes with the residues asked for, first and last (0-based) among them; 200 with the
    whole sequence."""
    for sequence in site.refget.known(SHORTEST):
        n = len(sequence)
        for first, last in ((10, 19), (0, 0), (n - 1, n - 1), (5, 14), (n // 2, n // 2 + 9)):
            answer = _ask(site, sequence, f"bytes={first}-{last}").expect(200, 206)
            part = sequence.residues[first : last + 1]
            expected = sequence.residues if answer.status == 200 else part
            _holds(answer, expected)


@case("refget.range.to-the-end", SHOULD, SUITE)
def to_the_end(site: Site) -> None:
    """A range of the whole sequence gives the whole, with 206."""
    for sequence in site.refget.in_ranges:
        n = len(sequence)
        if site.refget.limit is None or n <= site.refget.limit:
            _holds(_ask(site, sequence, f"bytes=0-{n - 1}").expect(206), sequence.residues)


@case("refget.range.content-range", MUST, "RFC 9110, 15.3.7.1 Single Part")
def content_range(site: Site) -> None:
    """206 comes with Content-Range: the first and last place, and the length or `*`."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, "bytes=10-19").expect(206)
        found, wanted = answer.headers.get("content-range"), f"bytes 10-19/{len(sequence)}"
        right = found in (wanted, "bytes 10-19/*")
        require(right, f"{answer} with Content-Range: {found}, not {wanted}")


@case("refget.range.content-length", MAY, SUITE)
def content_length(site: Site) -> None:
    """Content-Length is the number of residues sent."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, "bytes=10-19").expect(206)
        found = answer.headers.get("content-length")
        require(found == str(len(answer.body)), f"{answer} with Content-Length: {found}")


@case("refget.range.clipped", MUST, HEADER)
def clipped(site: Site) -> None:
    """A last place beyond the sequence is taken for its end (RFC 9110), or refused with 400, or the
    whole sequence is sent."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, f"bytes={len(sequence) - 10}-{len(sequence) + 999}")
        if answer.expect(206, 200, 400).status != 400:
            whole = answer.status == 200
            _holds(answer, sequence.residues if whole else sequence.residues[-10:])


@case("refget.range.open", SHOULD, "RFC 9110, 14.1.2 Byte Ranges")
def open_ended(site: Site) -> None:
    """`bytes=N-` gives all from N on, by which broken downloads are resumed."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, f"bytes={len(sequence) - 12}-").expect(206)
        _holds(answer, sequence.residues[-12:])


@case("refget.range.suffix", SHOULD, "RFC 9110, 14.1.2 Byte Ranges")
def suffix(site: Site) -> None:
    """`bytes=-N` gives the last N residues."""
    for sequence in site.refget.in_ranges:
        _holds(_ask(site, sequence, "bytes=-7").expect(206), sequence.residues[-7:])


@case("refget.range.malformed", SHOULD, SUITE)
def malformed(site: Site) -> None:
    """400 answers what is no range."""
    for text in ("ab-19", "-10--19", "10--19", "-10-", "=10-19"):
        _ask(site, site.refget.in_ranges[0], f"bytes={text}").expect(400)


@case("refget.range.unit", MUST, "RFC 9110, 14.2 Range")
def unit(site: Site) -> None:
    """A unit that is not bytes is not taken for bytes: Range is ignored, or refused with 400, as
    the compliance suite has it."""
    sequence = site.refget.in_ranges[0]
    answer = _ask(site, sequence, "units=20-30").expect(200, *OUT_OF_BOUNDS)
    if answer.status == 200:
        _holds(answer, sequence.residues)


@case("refget.range.backwards", SHOULD, SUITE)
def backwards(site: Site) -> None:
    """416, or 400, answers a first place behind the last."""
    for sequence in (each for each in site.refget.in_ranges if not each.circular):
        _ask(site, sequence, "bytes=20-10").expect(*OUT_OF_BOUNDS)


@case("refget.range.beyond", MUST, HEADER)
def beyond(site: Site) -> None:
    """416, or 400, answers a first place behind the sequence."""
    for sequence in site.refget.in_ranges:
        n = len(sequence)
        for text in (f"{n}-{n + 9}", f"{n}-", f"{n + 100}-{n + 200}"):
            _ask(site, sequence, f"bytes={text}").expect(*OUT_OF_BOUNDS)


@case("refget.range.length-told", SHOULD, "RFC 9110, 15.5.17 416 Range Not Satisfiable")
def length_told(site: Site) -> None:
    """416 tells the length of the sequence: `Content-Range: bytes */length`."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, f"bytes={len(sequence)}-{len(sequence) + 9}")
        if answer.status != 416:
            raise Skipped(str(answer))
        found, wanted = answer.headers.get("content-range"), f"bytes */{len(sequence)}"
        require(found == wanted, f"{answer} with Content-Range: {found}, not {wanted}")


@case("refget.range.with-parameters", MUST, HEADER)
def with_parameters(site: Site) -> None:
    """400 answers Range together with start or end, whatever their values are."""
    for sequence in site.refget.known(SHORTEST):
        for query in ("start=5&end=20", "start=5", "end=20", "start=0", "end=0"):
            _ask(site, sequence, "bytes=10-19", query).expect(400)


@case("refget.range.several", MUST, CLAUSE)
def several(site: Site) -> None:
    """Several ranges are not answered as one or in parts: 400, or all of the sequence."""
    for sequence in site.refget.in_ranges:
        answer = _ask(site, sequence, "bytes=10-19,30-39").expect(200, *OUT_OF_BOUNDS)
        if answer.status == 200:
            _holds(answer, sequence.residues)


@case("refget.range.across-the-origin", MUST, "refget 2.0.0, get sequence by ID")
def across_the_origin(site: Site) -> None:
    """No range goes over the end of a circular sequence to its beginning."""
    circles = [each for each in site.refget.in_ranges if each.circular]
    if not circles:
        raise Skipped("the description names no circular sequence")
    for sequence in circles:
        answer = _ask(site, sequence, f"bytes={len(sequence) - 5}-4")
        if answer.expect(200, *OUT_OF_BOUNDS).status == 200:
            _holds(answer, sequence.residues)


@case("refget.range.announced", MAY, "RFC 9110, 14.3 Accept-Ranges")
def announced(site: Site) -> None:
    """Whole sequences come with `Accept-Ranges: bytes`."""
    for sequence in site.refget.in_ranges:
        answer = site.refget.get(sequence.id)
        found = answer.headers.get("accept-ranges")
        require(found == "bytes", f"{answer} with Accept-Ranges: {found}")


@case("refget.range.if-range", MAY, "RFC 9110, 13.1.5 If-Range")
def if_range(site: Site) -> None:
    """With If-Range, a part comes only if the ETag is that of the sequence."""
    for sequence in site.refget.in_ranges:
        tag = site.refget.get(sequence.id).headers.get("etag")
        require(bool(tag), f"{sequence} has no ETag")
        for value, status in ((str(tag), 206), ('"of something else"', 200)):
            sent = {"Range": "bytes=10-19", "If-Range": value}
            site.refget.get(sequence.id, headers=sent).expect(status)


def _ask(site: Site, sequence: Sequence, value: str, query: str = "") -> Answer:
    return site.refget.get(sequence.id, query, {"Range": value})


def _holds(answer: Answer, expected: bytes) -> None:
    found = normal(answer.body)
    require(
        found == expected,
        f"{answer} with {len(found)} residues, {found[:20].decode()!r}…, "
        f"and these are {len(expected)}, {expected[:20].decode()!r}…",
    )
