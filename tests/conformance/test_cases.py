"""Every case passes on a sound server, and can fail: each is broken alone, and noticed alone."""

from pathlib import Path

import pytest

from conformance.case import Outcome, Requirement
from conformance.cases import CASES
from conformance.dataset import Dataset
from conformance.http import Client
from conformance.run import Report, run
from tests.conformance.breaking import Breaking, defects_of
from tests.conformance.broken_server import BrokenServer, Defect, no_defect
from tests.conformance.defects import (
    htsget_auth,
    htsget_blocks,
    htsget_cors,
    htsget_errors,
    htsget_exact,
    htsget_fields,
    htsget_files,
    htsget_parameters,
    htsget_post,
    htsget_post_regions,
    htsget_records,
    htsget_regions,
    htsget_service_info,
    htsget_ticket,
    refget_metadata,
    refget_range,
    refget_sequence,
    refget_service_info,
    refget_subsequence,
    seqcol_attribute,
    seqcol_collection,
    seqcol_comparison,
    seqcol_list,
    seqcol_service_info,
)
from tests.conformance.direct import DirectClient

MODULES = (
    htsget_ticket,
    htsget_parameters,
    htsget_regions,
    htsget_fields,
    htsget_post,
    htsget_post_regions,
    htsget_files,
    htsget_records,
    htsget_exact,
    htsget_blocks,
    htsget_errors,
    htsget_cors,
    htsget_auth,
    htsget_service_info,
    refget_service_info,
    refget_sequence,
    refget_subsequence,
    refget_range,
    refget_metadata,
    seqcol_service_info,
    seqcol_collection,
    seqcol_attribute,
    seqcol_comparison,
    seqcol_list,
)
DEFECTS = [each for module in MODULES for each in defects_of(module)]


def judged(broken: BrokenServer, dataset: Dataset, defect: Defect, protocols: set[str]) -> Report:
    broken.defect = defect
    cases = [case for case in CASES if case.protocol in protocols]
    return run(broken.url, dataset, cases, Requirement.EXACT, DirectClient(broken))


def not_passed(report: Report) -> dict[str, str]:
    return {
        result.case.name: f"{result.outcome}: {result.message}"
        for result in report.results
        if result.outcome in (Outcome.FAILED, Outcome.WARNED, Outcome.ERROR)
    }


@pytest.mark.parametrize("behind", ["nothing", "the server that will be broken"])
def test_the_demo_passes_all(
    broken: BrokenServer, demo: tuple[str, Path], dataset: Dataset, behind: str
) -> None:
    url = demo[0] if behind == "nothing" else broken.url
    broken.defect = no_defect
    report = run(url, dataset, CASES, Requirement.EXACT, Client())
    assert {result.case.name: result.message for result in report.results if result.message} == {}
    assert report.counts == {Outcome.PASSED: len(CASES)}
    assert report.passed


@pytest.mark.parametrize("breaking", DEFECTS, ids=lambda each: each.name)
def test_each_defect_is_reported_and_no_other(
    broken: BrokenServer, dataset: Dataset, breaking: Breaking
) -> None:
    protocols = {name.partition(".")[0] for name in breaking.cases}
    found = not_passed(judged(broken, dataset, breaking.defect, protocols))
    assert found.keys() == breaking.cases, found


def test_each_case_can_fail() -> None:
    assert {name for each in DEFECTS for name in each.cases} == {case.name for case in CASES}


def test_names_are_unique_and_titles_are_sentences() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.title.endswith("."), case.name
        assert case.clause, case.name
