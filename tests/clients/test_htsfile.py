"""htsfile, which shows what htslib makes of a URL."""

from pathlib import Path

import pytest

from tests.clients.conftest import Cut
from tests.support.client_programs import Done, need, run
from tests.support.demo_site import Site


@pytest.fixture(autouse=True)
def _installed() -> None:
    need("htsfile")


def htsfile(*words: str | Path, **settings: str | Path) -> Done:
    return run("htsfile", *words, **settings)


@pytest.mark.parametrize("path", ["/reads/demo", "/reads/demo?format=CRAM", "/variants/demo"])
def test_what_it_is(site: Site, path: str) -> None:
    """A ticket: htslib looks at the text that it begins with."""
    (line,) = htsfile(site.url + path).lines
    assert line == f"{site.url}{path}:\thtsget text"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/reads/demo", "demo.bam"),
        ("/variants/demo", "demo.vcf.gz"),
        ("/variants/demo?format=BCF", "demo.bcf"),
    ],
)
def test_contents(site: Site, path: str, file: str) -> None:
    for words in (("-c",), ("-h",), ("-c", "-H")):
        shown = htsfile(*words, site.url + path).lines
        assert shown == htsfile(*words, site.directory / file).lines != []


def test_cram(site: Site) -> None:
    with_reference = {"REF_PATH": f"{site.url}/sequence/%s"}
    shown = htsfile("-c", f"{site.url}/reads/demo?format=CRAM", **with_reference).lines
    assert shown == htsfile("-c", site.directory / "demo.cram", **with_reference).lines != []


def test_token(site: Site) -> None:
    url = f"{site.tls_url}/reads/clinic/case-7?class=header"
    settings = {"CURL_CA_BUNDLE": site.ca}
    assert htsfile("-h", url, **settings).status != 0
    shown = htsfile("-h", url, HTS_AUTH_LOCATION=site.token_file, **settings)
    assert "SN:chr2" in "".join(shown.lines)


def test_transfer_that_breaks_off(site: Site, cut: Cut) -> None:
    proxy = cut(site.url, 300_000)
    done = htsfile("-c", f"{proxy.url}/reads/demo")
    assert [each.cut for each in proxy.blocks].count(True) == 1
    assert done.status != 0 or not proxy.blocks[-1].cut
