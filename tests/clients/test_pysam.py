"""pysam as a client, whose htslib is the newest: it resumes a transfer that was broken off.

Each test is a process of its own, since libcurl and htslib read their settings once.
"""

from pathlib import Path

import pysam
import pytest

from tests.clients.conftest import Cut
from tests.support.client_programs import OVER_HTTP, Done, need_libcurl, run_python
from tests.support.demo_site import Site

GENE = "referenceName=chr2&start=40000&end=60000"
GENE_IN_TEXT = "chr2:40001-60000"
READS = """
import pysam, sys
with pysam.AlignmentFile(sys.argv[1]) as reads:
    for read in reads.fetch(until_eof=True):
        print(read.to_string())
"""
VARIANTS = """
import pysam, sys
with pysam.VariantFile(sys.argv[1]) as variants:
    for variant in variants:
        print(variant, end="")
"""
HEADER = """
import pysam, sys
with pysam.AlignmentFile(sys.argv[1]) as reads:
    print(reads.header, end="")
"""
SAMTOOLS = """
import pysam.samtools, sys
print(pysam.samtools.view(*sys.argv[1:]), end="")
"""
BCFTOOLS = """
import pysam.bcftools, sys
print(pysam.bcftools.view(*sys.argv[1:]), end="")
"""
FETCH = """
import pysam, sys
with pysam.AlignmentFile(sys.argv[1]) as reads:
    print(sum(1 for _ in reads.fetch("chr1", 0, 1000)))
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    need_libcurl()


def reads_of(path: Path, region: str | None = None, reference: Path | None = None) -> list[str]:
    with pysam.AlignmentFile(str(path), reference_filename=str(reference or "")) as reads:
        found = reads.fetch(region=region, until_eof=region is None)
        return [read.to_string() for read in found]


def variants_of(path: Path, region: str | None = None) -> list[str]:
    with pysam.VariantFile(str(path)) as variants:
        return [str(each).rstrip("\n") for each in variants.fetch(region=region)]


@pytest.mark.parametrize(
    ("query", "region"),
    [("", None), ("?referenceName=chr1&start=100000&end=101000", "chr1:100001-101000")],
)
def test_reads(site: Site, query: str, region: str | None) -> None:
    expected = reads_of(site.directory / "demo.bam", region)
    assert run_python(READS, f"{site.url}/reads/demo{query}").lines == expected != []


def test_reads_without_a_place(site: Site) -> None:
    expected = [line for line in reads_of(site.directory / "demo.bam") if "\t*\t0\t" in line]
    done = run_python(READS, f"{site.url}/reads/demo?referenceName=*")
    assert done.lines == expected != []


def test_header(site: Site) -> None:
    with pysam.AlignmentFile(str(site.directory / "demo.bam")) as reads:
        expected = str(reads.header).splitlines()
    assert run_python(HEADER, f"{site.url}/reads/demo?class=header").lines == expected


def test_cram(site: Site) -> None:
    fasta = site.directory / "demo.fa"
    expected = reads_of(site.directory / "demo.cram", reference=fasta)
    url = f"{site.url}/reads/demo?format=CRAM"
    assert run_python(READS, url, REF_PATH=f"{site.url}/sequence/%s").lines == expected != []


@pytest.mark.parametrize("file", ["demo.vcf.gz", "demo.bcf"])
def test_variants(site: Site, file: str) -> None:
    url = f"{site.url}/variants/demo?format={'BCF' if 'bcf' in file else 'VCF'}"
    whole = variants_of(site.directory / file)
    assert run_python(VARIANTS, url).lines == whole != []
    part = variants_of(site.directory / file, "chr2:20001-40000")
    query = "&referenceName=chr2&start=20000&end=40000"
    assert run_python(VARIANTS, url + query).lines == part != []


def test_the_programs_in_it(site: Site) -> None:
    expected = reads_of(site.directory / "demo.bam")
    assert run_python(SAMTOOLS, f"{site.url}/reads/demo").lines == expected
    assert run_python(SAMTOOLS, "-c", f"{site.url}/reads/demo").lines[0] == str(len(expected))
    variants = variants_of(site.directory / "demo.vcf.gz")
    assert run_python(BCFTOOLS, "-H", f"{site.url}/variants/demo").lines == variants


def test_regions_are_in_the_url(site: Site) -> None:
    done = run_python(FETCH, f"{site.url}/reads/demo")
    assert done.status != 0
    assert "ValueError: no index available" in done.err


def with_token(site: Site) -> dict[str, str | Path]:
    return {
        "HTS_AUTH_LOCATION": site.token_file,
        "HTS_ALLOW_UNENCRYPTED_AUTHORIZATION_HEADER": OVER_HTTP,
    }


def test_token_over_https(site: Site) -> None:
    settings = {"CURL_CA_BUNDLE": site.ca, "HTS_AUTH_LOCATION": site.token_file}
    url = f"{site.tls_url}/reads/clinic/case-7?{GENE}"
    expected = reads_of(site.directory / "clinic" / "case-7.bam", GENE_IN_TEXT)
    assert run_python(READS, url, **settings).lines == expected != []
    url = f"{site.tls_url}/variants/clinic/case-7?{GENE}"
    assert run_python(VARIANTS, url, **settings).lines == variants_of(
        site.directory / "clinic" / "case-7.vcf.gz", GENE_IN_TEXT
    )
    refused = run_python(READS, url.replace("variants", "reads"), CURL_CA_BUNDLE=site.ca)
    assert "PermissionError: [Errno 1]" in refused.err
    unknown = run_python(READS, f"{site.tls_url}/reads/demo")
    assert "SSL peer certificate" in unknown.err
    assert refused.status == unknown.status == 1


def test_token_over_http(site: Site, cut: Cut, tmp_path: Path) -> None:
    proxy = cut(site.url, 0, times=0)
    url = f"{proxy.url}/reads/clinic/case-7?{GENE}"
    expected = reads_of(site.directory / "clinic" / "case-7.bam", GENE_IN_TEXT)
    assert run_python(READS, url, HTS_AUTH_LOCATION=site.token_file).status == 1
    assert run_python(READS, url, **with_token(site)).lines == expected
    assert proxy.tickets[-1].headers["Authorization"] == f"Bearer {site.token}"
    assert {block.headers["Authorization"] for block in proxy.blocks} == {None}
    wrong = tmp_path / "token"
    wrong.write_text("nonsense")
    done = run_python(READS, url, **{**with_token(site), "HTS_AUTH_LOCATION": wrong})
    assert "PermissionError: [Errno 1]" in done.err
    whole = run_python(READS, url.partition("?")[0], **with_token(site))
    assert "PermissionError: [Errno 13]" in whole.err


def resumed(done: Done) -> list[str]:
    """What was printed, without the word of the second attempt."""
    assert "Retrying connection (attempt 1/3)" in done.err
    return done.lines


@pytest.mark.parametrize("reset", [False, True])
def test_resumption_of_reads(site: Site, cut: Cut, reset: bool) -> None:
    proxy = cut(site.url, 300_000, reset=reset)
    lines = resumed(run_python(READS, f"{proxy.url}/reads/demo"))
    assert lines == reads_of(site.directory / "demo.bam")
    first, again = proxy.blocks[-2:]
    assert first.cut
    assert first.target == again.target
    begin = int(again.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert again.status == 206
    assert begin <= 300_000 if reset else begin == 300_000  # a reset may overtake bytes
    size = (site.directory / "demo.bam").stat().st_size
    assert begin + again.sent <= size


def test_resumption_time_and_again(site: Site, cut: Cut) -> None:
    """Each loss has its own attempts."""
    proxy = cut(site.url, 100_000, times=5)
    lines = resumed(run_python(READS, f"{proxy.url}/reads/demo", HTS_RETRY_DELAY="50"))
    assert lines == reads_of(site.directory / "demo.bam")
    ranges = [each.headers["Range"] for each in proxy.blocks if each.headers["Range"]]
    assert ranges == [f"bytes={number}00000-" for number in range(1, 6)]


def test_resumption_of_controlled_reads(site: Site, cut: Cut) -> None:
    proxy = cut(site.url, 30_000)
    url = f"{proxy.url}/reads/clinic/case-7?{GENE}"
    lines = resumed(run_python(READS, url, **with_token(site)))
    expected = reads_of(site.directory / "clinic" / "case-7.bam", GENE_IN_TEXT)
    assert lines == expected
    assert proxy.blocks[-1].headers["Range"] == "bytes=30000-"
    assert proxy.blocks[-1].headers["Authorization"] is None


@pytest.mark.parametrize(("format", "name"), [("VCF", "demo.vcf.gz"), ("BCF", "demo.bcf")])
def test_resumption_of_variants(site: Site, cut: Cut, format: str, name: str) -> None:
    proxy = cut(site.url, 3_000)
    lines = resumed(run_python(VARIANTS, f"{proxy.url}/variants/demo?format={format}"))
    assert lines == variants_of(site.directory / name)
    assert proxy.blocks[-1].headers["Range"] == "bytes=3000-"


def test_resumption_of_cram(site: Site, cut: Cut) -> None:
    proxy = cut(site.url, 100_000)
    url = f"{proxy.url}/reads/demo?format=CRAM"
    lines = resumed(run_python(READS, url, REF_PATH=f"{proxy.url}/sequence/%s"))
    expected = reads_of(site.directory / "demo.cram", reference=site.directory / "demo.fa")
    assert lines == expected


def test_transfer_that_nobody_resumes(site: Site, cut: Cut) -> None:
    proxy = cut(site.url, 300_000, times=100)
    done = run_python(READS, f"{proxy.url}/reads/demo", HTS_RETRY_MAX="0")
    assert done.status == 1
    assert "OSError: truncated file" in done.err
