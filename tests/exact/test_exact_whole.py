"""Whole files and headers, for which no index is needed."""

import asyncio
import shutil

import pytest

from tests.support.htsget_client import HtsgetClient
from tests.support.oracle import Oracle, decode, first_difference, passes_quickcheck
from tests.support.samples import RECIPES, shared_samples

pytestmark = pytest.mark.exact

every_sample = pytest.mark.parametrize(
    "oracle",
    [*(recipe.key for recipe in RECIPES), *shared_samples()],
    indirect=True,
    scope="module",
)


@every_sample
async def test_whole_file(oracle: Oracle, htsget_client: HtsgetClient) -> None:
    by_get = await htsget_client.get(oracle.sample)
    decoded = decode(by_get.data, oracle.sample)
    assert decoded.header == oracle.header
    assert not first_difference(oracle.records, decoded.records)
    by_post = await htsget_client.post(oracle.sample)
    assert by_post.data == by_get.data
    if oracle.sample.endpoint == "reads":
        assert passes_quickcheck(by_get.data)


@every_sample
async def test_header_alone(oracle: Oracle, htsget_client: HtsgetClient) -> None:
    answer = await htsget_client.get(oracle.sample, class_="header")
    decoded = decode(answer.data, oracle.sample)
    assert decoded.header == oracle.header
    assert decoded.records == []
    whole = await htsget_client.get(oracle.sample)
    assert answer.data.startswith(whole.header)
    if oracle.sample.endpoint == "reads":
        assert passes_quickcheck(answer.data)


@pytest.mark.parametrize(
    ("tool", "oracle"),
    [
        ("samtools", "plain/reads.bam"),
        ("samtools", "plain/cram.cram"),
        ("bcftools", "plain/variants.vcf.gz"),
        ("bcftools", "plain/bcf.bcf"),
    ],
    indirect=["oracle"],
)
async def test_tool_reads_the_ticket(
    tool: str, oracle: Oracle, htsget_client: HtsgetClient
) -> None:
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not on PATH")
    sample = oracle.sample
    query = [
        ("format", sample.format),
        ("referenceName", "chr2"),
        ("start", "100000"),
        ("end", "600000"),
    ]
    url = str(htsget_client.url(sample.endpoint, sample.object_id, query))
    options = ["-H"] if tool == "bcftools" else []
    process = await asyncio.create_subprocess_exec(
        tool, "view", *options, url, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    expected = oracle.select([("chr2", 100_000, 600_000)])
    assert expected
    assert printed.decode().splitlines() == [line.rstrip("\n") for line in expected]
    assert process.returncode == 0
