"""Every slice is exactly what pysam gives for the region: each record once, in file order.

`EXACT=full` asks each file, on disk, in S3 and over HTTP, for 1,000 regions by GET and 1,000 lists
of regions by POST; a number in its place asks for that many.
"""

import os
import random
from collections.abc import Awaitable

import pytest

from tests.support.htsget_client import Answer, BrokenProfileError, HtsgetClient, RefusedError
from tests.support.oracle import Oracle, decode, first_difference, passes_quickcheck
from tests.support.region_draws import for_get, for_post
from tests.support.samples import RECIPES, shared_samples

_EXTENT = os.environ.get("EXACT", "").replace("full", "1000")
BY_GET = {"disk": int(_EXTENT or 36), "s3": int(_EXTENT or 8), "http": int(_EXTENT or 8)}
BY_POST = {"disk": int(_EXTENT or 9), "s3": int(_EXTENT or 3), "http": int(_EXTENT or 3)}
KEYS = [*(recipe.key for recipe in RECIPES if recipe.indexed), *shared_samples()]

pytestmark = [
    pytest.mark.exact,
    pytest.mark.parametrize("oracle", KEYS, indirect=True, scope="module"),
]


async def test_get(oracle: Oracle, place: str, htsget_client: HtsgetClient) -> None:
    header = await htsget_client.get(oracle.sample, class_="header")
    regions = for_get(oracle, random.Random(f"get {oracle.sample.key}"), BY_GET[place])
    complaints = []
    for region, expected in zip(regions, oracle.fetch(regions), strict=True):
        assert not first_difference(expected, oracle.select([region])), f"the oracle at {region}"
        request = htsget_client.get(oracle.sample, region)
        if complaint := await _complaint(oracle, request, header, expected):
            complaints.append(f"{region}: {complaint}")
    assert not complaints, _report(oracle, complaints, len(regions))


async def test_post(oracle: Oracle, place: str, htsget_client: HtsgetClient) -> None:
    header = await htsget_client.get(oracle.sample, class_="header")
    lists = for_post(oracle, random.Random(f"post {oracle.sample.key}"), BY_POST[place])
    complaints = []
    for regions in lists:
        request = htsget_client.post(oracle.sample, regions)
        if complaint := await _complaint(oracle, request, header, oracle.select(regions)):
            complaints.append(f"{regions}: {complaint}")
    assert not complaints, _report(oracle, complaints, len(lists))


async def _complaint(
    oracle: Oracle, request: Awaitable[Answer], header: Answer, expected: list[str]
) -> str:
    """What is wrong with the answer to a request; nothing when it is exact."""
    try:
        answer = await request
    except (BrokenProfileError, RefusedError, OSError) as failure:
        return f"{type(failure).__name__}: {failure}"
    sample = oracle.sample
    if answer.format != sample.format:
        return f"format {answer.format}"
    if not answer.header or not header.data.startswith(answer.header):
        return "the header's bytes differ from those of class=header"
    try:
        decoded = decode(answer.data, sample)
    except (OSError, ValueError) as failure:
        return f"htslib cannot read the answer: {failure}"
    if decoded.header != oracle.header:
        return "the header's text differs from the file's"
    if sample.endpoint == "reads" and not passes_quickcheck(answer.data):
        return "samtools quickcheck fails"
    return first_difference(expected, decoded.records)


def _report(oracle: Oracle, complaints: list[str], asked: int) -> str:
    shown = "\n".join(sorted(complaints, key=len)[:4])
    return f"{oracle.sample.key}: {len(complaints)} of {asked} answers are not exact:\n{shown}"
