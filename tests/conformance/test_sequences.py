"""What proves a sequence, and servers that have none, or only some of what can be asked for."""

from dataclasses import replace

import pytest

from conformance.case import Outcome, Requirement
from conformance.cases import select
from conformance.dataset import Dataset
from conformance.http import Client
from conformance.run import run
from conformance.sequences import Sequence, digests, is_proved, normal
from tests.conformance.broken_server import BrokenServer, Request, Response, Sound

ACGT = {
    "md5": "f1f8f4bf413b16ad135722aa4591043e",
    "trunc512": "68a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36",
    "ga4gh": "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2",
}


def test_digests_are_those_of_the_specification() -> None:
    assert digests(b"ACGT") == ACGT


@pytest.mark.parametrize("body", [b"acgt", b"AC\nGT\n", b" A C-G*T1"])
def test_digests_are_of_letters_alone(body: bytes) -> None:
    assert normal(body) == b"ACGT"


@pytest.mark.parametrize(
    "name",
    [
        *ACGT.values(),
        ACGT["md5"].upper(),
        f"md5:{ACGT['md5']}",
        f"ga4gh:{ACGT['ga4gh']}",
        "insdc:CM000663.2",
    ],
)
def test_sequence_is_proved_by_any_id(name: str) -> None:
    assert is_proved(Sequence(name, b"ACGT", digests(b"ACGT"), None))


@pytest.mark.parametrize("name", [*ACGT.values(), ACGT["md5"].upper()])
def test_another_sequence_is_not(name: str) -> None:
    assert not is_proved(Sequence(name, b"ACGA", digests(b"ACGA"), None))


def outcomes(broken: BrokenServer, dataset: Dataset) -> dict[str, tuple[Outcome, str]]:
    report = run(
        broken.url, dataset, select(["refget", "seqcol"], []), Requirement.EXACT, Client(timeout=10)
    )
    return {each.case.name: (each.outcome, each.message) for each in report.results}


def test_cases_are_skipped_where_the_protocols_are_not_offered(
    broken: BrokenServer, dataset: Dataset
) -> None:
    def htsget_alone(request: Request, sound: Sound) -> Response:
        answer = sound(request)
        if request.path.startswith(("/reads/", "/variants/")):
            return answer
        return Response(404, {}, b"no such page")

    broken.defect = htsget_alone
    found = outcomes(broken, dataset)
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}
    assert {message.split(":")[0] for _, message in found.values()} == {
        "no sequences are offered",
        "no collections are offered",
    }


def test_server_without_service_info_is_judged_by_its_sequences(
    broken: BrokenServer, dataset: Dataset
) -> None:
    def archive(request: Request, sound: Sound) -> Response:
        """As the registry of the ENA."""
        answer = sound(request)
        if request.path.endswith("/service-info"):
            return replace(answer, status=404, body=b"")
        return answer

    broken.defect = archive
    found = outcomes(broken, dataset)
    assert found["refget.service-info.served"][0] == Outcome.FAILED
    assert found["refget.sequence.md5"][0] == Outcome.PASSED
    assert found["refget.sequence.ga4gh"] == (Outcome.SKIPPED, "ga4gh is not announced")


def test_ids_are_found_in_collections_where_there_are_no_reads(
    broken: BrokenServer, dataset: Dataset
) -> None:
    broken.defect = lambda request, sound: sound(request)
    found = outcomes(broken, Dataset("nothing is known"))
    assert found["refget.sequence.md5"][0] == Outcome.PASSED
    assert found["refget.subsequence.circular"] == (
        Outcome.SKIPPED,
        "the description names no circular sequence",
    )
    assert Outcome.FAILED not in {outcome for outcome, _ in found.values()}
