"""@gmod/bam, by which JBrowse reads BAM over htsget, in an old release and a current one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pysam
import pytest

from tests.clients.conftest import Cut
from tests.clients.node_scripts import installed_scripts, run_script
from tests.support.client_programs import Done
from tests.support.demo_site import Site

OLD, CURRENT = "bam-old", "@gmod/bam"
both = pytest.mark.parametrize("package", [OLD, CURRENT])

REGIONS = [
    ("chr1", 100_000, 101_000),
    ("chr2", 0, 100_000),
    ("chr2", 5_000, 5_001),
    ("chrM", 16_500, 16_569),
]
GENE = ("chr2", 40_000, 60_000)


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_scripts(tmp_path_factory.mktemp("bamjs")) / "read_bam.js"


def ask(
    script: Path,
    package: str,
    url: str,
    regions: Sequence[tuple[str, int, int]],
    *,
    track: str = "demo",
    token: str = "",
    **settings: str | Path,
) -> Done:
    asked = {"package": package, "baseUrl": f"{url}/reads", "trackId": track, "token": token}
    return run_script(script, {**asked, "regions": regions}, **settings)


def answer(done: Done) -> Any:
    assert done.status == 0, done.err
    return json.loads(done.out)


def header_lines(header: list[dict[str, Any]]) -> list[str]:
    return [
        "\t".join([f"@{line['tag']}", *(f"{item['tag']}:{item['value']}" for item in line["data"])])
        for line in header
    ]


def local(path: Path, region: tuple[str, int, int]) -> list[list[object]]:
    with pysam.AlignmentFile(str(path)) as reads:
        return [
            [
                read.query_name,
                read.flag,
                read.reference_id,
                read.reference_start,
                read.mapping_quality,
                read.cigarstring or "",
                read.next_reference_id,
                read.next_reference_start,
                read.template_length,
                read.query_sequence,
                [] if read.is_unmapped else list(read.query_qualities or ()),
                read.get_tag("RG"),
            ]
            for read in reads.fetch(*region)
        ]


@both
def test_a_file_and_its_regions(site: Site, script: Path, package: str) -> None:
    found = answer(ask(script, package, site.url, REGIONS))
    bam = site.directory / "demo.bam"
    with pysam.AlignmentFile(str(bam)) as reads:
        assert header_lines(found["header"]) == str(reads.header).splitlines()
    for region, records in zip(REGIONS, found["regions"], strict=True):
        assert records == local(bam, region), region
        assert records


@both
def test_regions_without_reads(site: Site, script: Path, package: str) -> None:
    nowhere = [("chr1", 50_000, 50_000), ("chr9", 0, 100), ("chrM", 16_569, 20_000)]
    assert answer(ask(script, package, site.url, nowhere))["regions"] == [[], [], []]


@both
def test_a_token(site: Site, script: Path, package: str) -> None:
    track = "clinic/case-7"
    found = answer(ask(script, package, site.url, [GENE], track=track, token=site.token))
    assert found["regions"] == [local(site.directory / f"{track}.bam", GENE)]
    assert "JANE-ROE" not in json.dumps(found["header"])
    refused = ask(script, package, site.url, [GENE], track=track)
    assert refused.status == 1
    assert "HTTP 401" in refused.err
    assert "this needs a credential" in refused.err
    elsewhere = ask(script, package, site.url, [REGIONS[0]], track=track, token=site.token)
    assert elsewhere.status == 1
    assert "HTTP 403" in elsewhere.err
    assert "PermissionDenied" in elsewhere.err


@both
def test_tls(site: Site, script: Path, package: str) -> None:
    trusted = ask(script, package, site.tls_url, REGIONS[:1], NODE_EXTRA_CA_CERTS=site.ca)
    assert answer(trusted)["regions"] == [local(site.directory / "demo.bam", REGIONS[0])]
    refused = ask(script, package, site.tls_url, REGIONS[:1])
    assert refused.status == 1
    assert "fetch failed" in refused.err


@both
@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_download_is_an_error(
    site: Site, script: Path, cut: Cut, package: str, reset: bool
) -> None:
    proxy = cut(site.url, 100_000, reset=reset)
    broken = ask(script, package, proxy.url, REGIONS[1:2])
    assert [each.cut for each in proxy.blocks].count(True) == 1
    assert broken.status == 1
    assert not broken.out
    assert "terminated" in broken.err
