"""Parts of sequences by `start` and `end` (refget 2.0.0: get sequence by ID, Query parameters)."""

from collections.abc import Iterable, Iterator

from conformance.case import Requirement, Skipped, case, require
from conformance.cases.refget_sequence import UNKNOWN
from conformance.http import Answer
from conformance.sequences import SHORTEST, Sequence, normal
from conformance.site import Site

MUST, SHOULD, MAY = Requirement.MUST, Requirement.SHOULD, Requirement.MAY
CLAUSE = "refget 2.0.0, get sequence by ID"
PARAMETERS = "refget 2.0.0, get sequence by ID: Query parameters"
SUITE = "refget compliance suite 2.0.0, start and end"
OUT_OF_BOUNDS = (400, 416)
"""400 by the text of version 2.0.0, 416 by its compliance suite."""


@case("refget.subsequence.start-end", MUST, PARAMETERS)
def start_end(site: Site) -> None:
    """`start` (0-based, included) and `end` (excluded) give the residues between them."""
    for sequence in site.refget.known(SHORTEST):
        n = len(sequence)
        for start, end in ((10, 20), (0, 1), (1, 11), (n // 2, n // 2 + 7), (n - 11, n - 1)):
            _part(site, sequence, f"start={start}&end={end}", sequence.residues[start:end])
        _part(site, sequence, f"start={n - 1}&end={n}", sequence.residues[-1:])


@case("refget.subsequence.start-alone", MUST, PARAMETERS)
def start_alone(site: Site) -> None:
    """`start` alone gives all from there on."""
    for sequence in site.refget.known(SHORTEST):
        for k in (1, 10):
            _part(site, sequence, f"start={len(sequence) - k}", sequence.residues[-k:])


@case("refget.subsequence.start-zero", MUST, PARAMETERS)
def start_zero(site: Site) -> None:
    """`start=0` alone gives the whole sequence."""
    for sequence in site.refget.known():
        if site.refget.limit is None or len(sequence) <= site.refget.limit:
            _part(site, sequence, "start=0", sequence.residues)


@case("refget.subsequence.end-alone", MUST, PARAMETERS)
def end_alone(site: Site) -> None:
    """`end` alone gives all before it."""
    for sequence in site.refget.known(SHORTEST):
        for end in (1, 5):
            _part(site, sequence, f"end={end}", sequence.residues[:end])


@case("refget.subsequence.end-zero", SHOULD, f"{CLAUSE}: Response")
def end_zero(site: Site) -> None:
    """`end=0` alone gives nothing: it is not taken for a missing end."""
    for sequence in site.refget.known(SHORTEST):
        _part(site, sequence, "end=0", b"")


@case("refget.subsequence.empty", SHOULD, f"{CLAUSE}: Response")
def empty(site: Site) -> None:
    """A start that is the end gives nothing, with status 200."""
    for sequence in site.refget.known(SHORTEST):
        for query in ("start=0&end=0", "start=10&end=10"):
            _part(site, sequence, query, b"")


@case("refget.subsequence.empty-pair", SHOULD, SUITE)
def empty_pair(site: Site) -> None:
    """An empty first parameter, as in `?&end=5`, changes nothing."""
    for sequence in site.refget.known(SHORTEST):
        _part(site, sequence, "&end=5", sequence.residues[:5])


@case("refget.subsequence.status", MUST, CLAUSE)
def status(site: Site) -> None:
    """The status of a part that parameters ask for is 200, not 206."""
    for _, answer in _parts(site):
        answer.expect(200)


@case("refget.subsequence.accept-ranges", SHOULD, f"{CLAUSE}: Response")
def accept_ranges(site: Site) -> None:
    """Such answers have `Accept-Ranges: none`."""
    for _, answer in _parts(site):
        found = answer.headers.get("accept-ranges")
        require(found == "none", f"{answer} with Accept-Ranges: {found}")


@case("refget.subsequence.content-length", MAY, SUITE)
def content_length(site: Site) -> None:
    """Content-Length is the number of residues, 0 for none."""
    for sequence in site.refget.known(SHORTEST):
        for query in ("start=10&end=20", "start=10&end=10"):
            answer = _successful(site, sequence, query)
            length = answer.headers.get("content-length")
            require(length == str(len(answer.body)), f"{answer} with Content-Length: {length}")


@case("refget.subsequence.not-a-number", MUST, "refget 2.0.0, Errors")
def not_a_number(site: Site) -> None:
    """400 answers a start or end that is no whole number."""
    _refused(site, ("start=abc", "end=abc", "start=1.5&end=20", "start=1_0", "start=0x1"), (400,))


@case("refget.subsequence.negative", MUST, PARAMETERS)
def negative(site: Site) -> None:
    """400 answers a start or end below 0, for they are unsigned."""
    _refused(site, ("start=-10", "end=-10", "start=-10&end=10"), (400,))


@case("refget.subsequence.beyond-32-bits", MUST, PARAMETERS)
def beyond_32_bits(site: Site) -> None:
    """400 or 416 answers a start or end of more than 32 bits."""
    _refused(site, (f"start={2**32}", f"end={2**32 + 10}", f"start={2**64 + 1}"), OUT_OF_BOUNDS)


@case("refget.subsequence.no-value", SHOULD, "refget 2.0.0, Errors")
def no_value(site: Site) -> None:
    """400 answers a start or end without a value."""
    _refused(site, ("start=", "end=", "start=&end=10"), (400,))


@case("refget.subsequence.start-beyond", MUST, f"{PARAMETERS}: start")
def start_beyond(site: Site) -> None:
    """416, or 400, answers a start beyond the sequence."""
    for sequence in site.refget.known(SHORTEST):
        n = len(sequence)
        _refused(site, (f"start={n + 1}", f"start={n + 1}&end={n + 9}"), OUT_OF_BOUNDS, sequence)


@case("refget.subsequence.start-at-length", MUST, SUITE)
def start_at_length(site: Site) -> None:
    """A start that is the length gives nothing, or is refused with 416 or 400."""
    for sequence in site.refget.known(SHORTEST):
        for query in (f"start={len(sequence)}", f"start={len(sequence)}&end={len(sequence)}"):
            answer = site.refget.get(sequence.id, query).expect(200, *OUT_OF_BOUNDS)
            require(answer.status != 200 or not answer.body, f"{answer} with residues")


@case("refget.subsequence.end-beyond", SHOULD, SUITE)
def end_beyond(site: Site) -> None:
    """416, or 400, answers an end beyond the sequence."""
    for sequence in site.refget.known(SHORTEST):
        n = len(sequence)
        _refused(site, (f"start={n - 5}&end={n + 1}", f"end={n + 5}"), OUT_OF_BOUNDS, sequence)


@case("refget.subsequence.start-behind-end", MUST, f"{PARAMETERS}: start")
def start_behind_end(site: Site) -> None:
    """A start behind the end is refused: with 416 for a linear sequence, with 501 for a circular
    one if none are supported; the specification has both for a linear one then."""
    supported = site.refget.abilities.get("circular_supported")
    known = site.refget.known(SHORTEST)
    linear = [each for each in known if not each.circular or supported is False]
    if not linear:
        raise Skipped("every sequence that is known is circular")
    for sequence in linear:
        statuses = [416] * (not sequence.circular) + [501] * (supported is not True)
        for start, end in ((20, 10), (len(sequence) - 5, 5)):
            answer = site.refget.get(sequence.id, f"start={start}&end={end}")
            if sequence.circular is None and supported is not False and answer.status == 200:
                continue  # the server takes it for circular, and the description does not say
            answer.expect(*statuses)


@case("refget.subsequence.circular", MUST, CLAUSE)
def circular(site: Site) -> None:
    """Of a circular sequence, a start behind the end gives the residues from there to its end, and
    then those from its beginning."""
    for sequence in _circles(site):
        n = len(sequence)
        for start, end in ((n - 12, 5), (n - 12, 0), (n - 6, 25), (n - 1, 1)):
            expected = sequence.residues[start:] + sequence.residues[:end]
            _part(site, sequence, f"start={start}&end={end}", expected)


@case("refget.subsequence.circular-bounds", MUST, CLAUSE)
def circular_bounds(site: Site) -> None:
    """416, or 400, answers a start beyond a circular sequence, wherever the end is."""
    for sequence in _circles(site):
        n = len(sequence)
        queries = (f"start={n + 1}&end=5", f"start={n + 10}&end={n + 5}")
        _refused(site, queries, OUT_OF_BOUNDS, sequence)


@case("refget.subsequence.limit", MUST, CLAUSE)
def limit(site: Site) -> None:
    """416 answers who asks for more than `subsequence_limit`, and nobody where there is none."""
    most = site.refget.limit
    for sequence in site.refget.known(SHORTEST):
        if most is None or len(sequence) <= most:
            _successful(site, sequence, f"start=0&end={len(sequence)}")
        else:
            _refused(site, (f"start=0&end={most + 1}", "start=0"), (416,), sequence)
            _successful(site, sequence, f"start=1&end={most + 1}")


@case("refget.subsequence.unknown", MUST, f"{CLAUSE}: Response")
def unknown(site: Site) -> None:
    """404 answers an id that is not known, whatever part is asked for."""
    for query in ("start=0&end=0", "start=10&end=20", "end=0"):
        site.refget.get(UNKNOWN["md5"], query).expect(404)


def _part(site: Site, sequence: Sequence, query: str, expected: bytes) -> None:
    answer = _successful(site, sequence, query)
    found = normal(answer.body)
    require(found == expected, f"{answer} with {_short(found)}, and these are {_short(expected)}")


def _parts(site: Site) -> Iterator[tuple[Sequence, Answer]]:
    for sequence in site.refget.known(SHORTEST):
        for query in ("start=10&end=20", f"start={len(sequence) - 10}", "end=10"):
            yield sequence, _successful(site, sequence, query)


def _successful(site: Site, sequence: Sequence, query: str) -> Answer:
    """An answer of any success: which status it has is the matter of one case."""
    return site.refget.get(sequence.id, query).expect(200, 206)


def _refused(
    site: Site, queries: Iterable[str], statuses: tuple[int, ...], sequence: Sequence | None = None
) -> None:
    for query in queries:
        name = (sequence or site.refget.known(SHORTEST)[0]).id
        site.refget.get(name, query).expect(*statuses)


def _circles(site: Site) -> list[Sequence]:
    if site.refget.abilities.get("circular_supported") is False:
        raise Skipped("the server has no circular sequences")
    found = [each for each in site.refget.known(SHORTEST) if each.circular]
    if not found:
        raise Skipped("the description names no circular sequence")
    return found


def _short(residues: bytes) -> str:
    text = residues.decode()
    return repr(text) if len(text) <= 40 else f"{text[:20]!r}… ({len(text)} residues)"
