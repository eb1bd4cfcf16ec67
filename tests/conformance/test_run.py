"""Running cases: what comes of each, whatever it does, and what is not told of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from conformance.case import Case, Failed, Outcome, Requirement, Skipped
from conformance.case import case as make_case
from conformance.cases import CASES
from conformance.dataset import Dataset
from conformance.http import Client
from conformance.reports.junit import junit_xml
from conformance.reports.page import html_page
from conformance.reports.testbed import ga4gh_json
from conformance.run import Report, Result, run
from conformance.site import Site
from tests.conformance.broken_server import (
    BrokenServer,
    Request,
    Response,
    Sound,
    broken_server,
)

NOBODY = "http://127.0.0.1:9"
MUST, SHOULD, MAY, EXACT = Requirement


def a_case(
    check: Callable[[Site], None], requirement: Requirement = MUST, name: str = "htsget.group.case"
) -> Case:
    return make_case(name, requirement, "a clause")(check)


def judged(*cases: Case, level: Requirement = SHOULD, url: str = NOBODY) -> Report:
    return run(url, Dataset("nothing"), cases, level, Client(timeout=5))


def passes(_: Site) -> None:
    pass


def fails(_: Site) -> None:
    raise Failed("it does not")


def skips(_: Site) -> None:
    raise Skipped("not offered")


def is_wrong(_: Site) -> None:
    raise LookupError("a mistake of the suite")


def is_stopped(_: Site) -> None:
    raise KeyboardInterrupt


def asks(site: Site) -> None:
    site.client.get(f"{site.base}/reads/demo")


@pytest.fixture
def chatty() -> Iterator[BrokenServer]:
    """A server that answers whatever it is asked with what it was sent."""
    with broken_server(NOBODY) as server:
        server.defect = echo
        yield server


def echo(request: Request, _: Sound) -> Response:
    said = f"you sent {dict(request.headers)} for {request.target}"
    body = {"htsget": {"error": said, "message": said}}
    return Response(500, {"content-type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("check", "requirement", "outcome", "message"),
    [
        (passes, MUST, Outcome.PASSED, ""),
        (skips, MUST, Outcome.SKIPPED, "not offered"),
        (fails, MUST, Outcome.FAILED, "it does not"),
        (fails, SHOULD, Outcome.FAILED, "it does not"),
        (fails, MAY, Outcome.WARNED, "it does not"),
        (fails, EXACT, Outcome.WARNED, "it does not"),
        (asks, MUST, Outcome.ERROR, "GET /reads/demo: NewConnectionError"),
        (is_wrong, MUST, Outcome.ERROR, "LookupError: a mistake of the suite"),
    ],
)
def test_what_comes_of_a_case(
    check: Callable[[Site], None], requirement: Requirement, outcome: Outcome, message: str
) -> None:
    (result,) = judged(a_case(check, requirement)).results
    assert result.outcome is outcome
    assert message in result.message
    assert result.ended >= result.started


@pytest.mark.parametrize(
    ("checks", "is_judged", "is_passed"),
    [
        ([passes, skips], True, True),
        ([passes, fails], True, False),
        ([passes, is_wrong], True, False),
        ([skips, skips], False, False),
        ([asks, skips], False, False),
        ([], False, False),
    ],
)
def test_what_comes_of_a_run(
    checks: list[Callable[[Site], None]], is_judged: bool, is_passed: bool
) -> None:
    report = judged(*map(a_case, checks))
    assert (report.judged, report.passed) == (is_judged, is_passed)


def test_an_interrupted_run_is_a_report_of_what_was_judged() -> None:
    told: list[Result] = []
    cases = [a_case(passes), a_case(passes), a_case(is_stopped), a_case(passes)]
    report = run(NOBODY, Dataset("nothing"), cases, SHOULD, Client(), told.append)
    assert [each.outcome for each in report.results] == [Outcome.PASSED, Outcome.PASSED]
    assert report.results == tuple(told)
    assert report.interrupted
    assert not report.passed
    assert json.loads(ga4gh_json(report))["status"] == "UNKNOWN"


def test_requests_belong_to_their_case_and_repeated_ones_are_counted(chatty: BrokenServer) -> None:
    def asks_more(site: Site) -> None:
        for path in ("a", "b", "b", "b", "a"):
            site.client.get(f"{site.base}/{path}")

    first, second = judged(a_case(asks), a_case(asks_more), url=f"{chatty.url}/").results
    assert first.exchanges == ("GET /reads/demo 500",)
    assert second.exchanges == ("GET /a 500", "GET /b 500 (3 times)", "GET /a 500")


def told(report: Report) -> str:
    """All that any report says."""
    return "\n".join((ga4gh_json(report), junit_xml(report), html_page(report), repr(report)))


def test_no_report_tells_a_token_that_the_server_repeats(
    chatty: BrokenServer, dataset: Dataset
) -> None:
    """All cases, and one that repeats all that it hears, as those may that read an error."""
    assert dataset.controlled is not None
    token = dataset.controlled.token

    def repeats(site: Site) -> None:
        answer = site.client.get(f"{site.base}/x", {"Authorization": f"Bearer {token}"})
        raise Failed(f"{answer}: {answer.json()} {answer.body[:90]!r} {answer.body[-90:]!r}")

    cases = [case for case in CASES if case.protocol == "htsget"]
    open_with = replace(dataset, token=token)
    report = run(chatty.url, open_with, [*cases, a_case(repeats)], EXACT, Client(timeout=10))
    text = told(report)
    assert "[token]" in text
    fragments = {token[start : start + 16] for start in range(len(token) - 15)}
    assert not [each for each in fragments if each in text]


def test_no_report_tells_the_url_of_a_block(broken: BrokenServer, dataset: Dataset) -> None:
    """Neither of those that fail, nor of those that were fetched."""
    urls: set[str] = set()

    def breaks_blocks(request: Request, sound: Sound) -> Response:
        answer = sound(request)
        if request.path.startswith("/blocks/"):
            urls.add(request.path)
            where = f"cannot read {broken.url}{request.path}"
            return replace(answer, status=500, body=where.encode()) if len(urls) % 2 else answer
        return answer

    def repeats(site: Site) -> None:
        blocks = site.ticket(site.objects()[0]).blocks
        answers = [site.client.get(block.url, block.headers) for block in blocks]
        raise Failed(" ".join(f"{each}: {each.body!r} {each.url}" for each in answers))

    broken.defect = breaks_blocks
    cases = [case for case in CASES if case.group in ("htsget.ticket", "htsget.records")]
    report = run(broken.url, dataset, [*cases, a_case(repeats)], EXACT, Client(timeout=10))
    assert urls
    text = told(report)
    assert "/blocks/…" in text
    assert not [each for each in urls if each.removeprefix("/blocks/")[:40] in text]
