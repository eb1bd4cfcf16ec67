"""bcftools, as users call it: each answer is compared with its answer for the file on disk."""

from pathlib import Path

import pytest

from tests.clients.conftest import Cut
from tests.support.client_programs import OVER_HTTP, Done, need, run
from tests.support.demo_site import Site

GENE = "referenceName=chr2&start=40000&end=60000"
FILES = {"VCF": "demo.vcf.gz", "BCF": "demo.bcf"}


@pytest.fixture(autouse=True)
def _installed() -> None:
    need("bcftools")


@pytest.fixture(params=["VCF", "BCF"])
def format(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def bcftools(*words: str | Path, **settings: str | Path) -> Done:
    return run("bcftools", *words, **settings)


def ours(lines: list[str]) -> list[str]:
    """Without what bcftools writes into headers of itself."""
    return [line for line in lines if not line.startswith("##bcftools_")]


@pytest.mark.parametrize("query", ["", "&class=header"])
def test_header(site: Site, format: str, query: str) -> None:
    shown = bcftools("view", "-h", f"{site.url}/variants/demo?format={format}{query}").lines
    expected = bcftools("view", "-h", site.directory / FILES[format]).lines
    assert ours(shown) == ours(expected) != []


@pytest.mark.parametrize(
    ("query", "region"),
    [
        ("", ""),
        ("&referenceName=chr2", "chr2"),
        ("&referenceName=chr2&start=20000&end=40000", "chr2:20001-40000"),
        ("&referenceName=chr1&start=190000", "chr1:190001-"),
        ("&referenceName=chrM&start=0&end=1", "chrM:1-1"),  # nothing there
    ],
)
def test_records(site: Site, format: str, query: str, region: str) -> None:
    words = ["-r", region] if region else []
    expected = bcftools("view", "-H", *words, site.directory / FILES[format]).lines
    url = f"{site.url}/variants/demo?format={format}{query}"
    assert bcftools("view", "-H", url).lines == expected
    assert (expected == []) == ("chrM" in region)


def test_format_that_nobody_names(site: Site) -> None:
    expected = bcftools("view", "-H", site.directory / "demo.vcf.gz").lines
    assert bcftools("view", "-H", f"{site.url}/variants/demo").lines == expected


@pytest.mark.parametrize(
    "words",
    [
        ("view", "-H", "-t", "chr2:20001-40000"),
        ("view", "-H", "-e", 'TYPE="snp"'),
        ("view", "-H", "-i", "QUAL>30", "-G"),
        ("query", "-f", r"%CHROM:%POS %REF>%ALT [%GT]\n"),
        ("stats",),
    ],
)
def test_commands_that_stream(site: Site, format: str, words: tuple[str, ...]) -> None:
    def figures(file: str | Path) -> list[str]:
        lines = bcftools(*words, file).lines
        return [line for line in lines if line[0] != "#" and not line.startswith("ID\t")]

    url = f"{site.url}/variants/demo?format={format}"
    assert figures(url) == figures(site.directory / FILES[format]) != []


def test_download(site: Site, format: str, tmp_path: Path) -> None:
    out = tmp_path / "out.bcf"
    url = f"{site.url}/variants/demo?format={format}"
    assert bcftools("view", "-Ob", "-o", out, url).lines == []
    assert bcftools("index", out).lines == []
    expected = bcftools("view", "-H", "-r", "chr2:1-5000", site.directory / FILES[format]).lines
    assert bcftools("view", "-H", "-r", "chr2:1-5000", out).lines == expected != []


@pytest.mark.parametrize(
    ("words", "path", "message"),
    [
        (("view",), "/variants/nothing", "No such file or directory"),
        (("view",), "/variants/demo?referenceName=chr9", "No such file or directory"),
        (("view",), "/variants/demo?format=BAM", "Invalid argument"),
        (("view",), "/variants/clinic/case-7", "Operation not permitted"),
        (("view", "-r", "chr2"), "/variants/demo", "could not load index"),
        (("index",), "/variants/demo", "not BGZF compressed"),
    ],
)
def test_refusals(site: Site, words: tuple[str, ...], path: str, message: str) -> None:
    done = bcftools(*words, f"{site.url}{path}")
    assert (done.status, done.out) == (255, "")
    assert message in done.err


def test_token(site: Site, cut: Cut) -> None:
    local = site.directory / "clinic" / "case-7.vcf.gz"
    expected = bcftools("view", "-H", "-r", "chr2:40001-60000", local).lines
    token = {"HTS_AUTH_LOCATION": site.token_file}
    path = f"/variants/clinic/case-7?{GENE}"
    url = site.tls_url + path
    assert bcftools("view", "-H", url, CURL_CA_BUNDLE=site.ca, **token).lines == expected != []
    shown = bcftools("view", "-h", url, CURL_CA_BUNDLE=site.ca, **token).out
    assert "Jane" in bcftools("view", "-h", local).out
    assert "Jane" not in shown

    proxy = cut(site.url, 0, times=0)
    plainly = {"HTS_ALLOW_UNENCRYPTED_AUTHORIZATION_HEADER": OVER_HTTP}
    assert bcftools("view", "-H", proxy.url + path, **token).status == 255
    assert bcftools("view", "-H", proxy.url + path, **token, **plainly).lines == expected
    assert proxy.tickets[-1].headers["Authorization"] == f"Bearer {site.token}"
    assert {block.headers["Authorization"] for block in proxy.blocks} == {None}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", [100, 3_000])
def test_transfer_that_breaks_off(
    site: Site, cut: Cut, format: str, after: int, reset: bool
) -> None:
    proxy = cut(site.url, after, reset=reset)
    done = bcftools("view", "-H", f"{proxy.url}/variants/demo?format={format}")
    assert [each.cut for each in proxy.blocks].count(True) == 1
    if proxy.blocks[-1].cut:  # it did not try again
        assert done.status != 0
    else:
        assert done.lines == bcftools("view", "-H", site.directory / FILES[format]).lines
