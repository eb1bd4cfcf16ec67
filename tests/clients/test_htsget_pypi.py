"""The `htsget` client of the Python package of that name, where it is installed."""

import json
import time
from pathlib import Path

import pysam
import pytest

from tests.clients.conftest import Cut
from tests.support.client_programs import Done, htsget_program, run
from tests.support.demo_site import Site
from tests.support.processes import fetch

GENE = ("-r", "chr2", "-s", "40000", "-e", "60000")
QUICKLY = ("-M", "2", "-W", "0.1")


@pytest.fixture
def program() -> Path:
    return htsget_program()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def what_is_sent(url: str) -> bytes:
    ticket = json.loads(fetch(url))
    return b"".join(fetch(each["url"]) for each in ticket["htsget"]["urls"])


def records(path: Path, region: str | None = None) -> list[str]:
    with pysam.AlignmentFile(str(path), check_sq=False) as reads:
        return [read.to_string() for read in reads.fetch(region=region, until_eof=region is None)]


@pytest.mark.parametrize("path", ["/reads/demo", "/variants/demo"])
def test_whole_file(program: Path, site: Site, out: Path, path: str) -> None:
    assert run(program, site.url + path, "-O", out).lines == []
    assert out.read_bytes() == what_is_sent(site.url + path)


@pytest.mark.parametrize(
    ("path", "format"), [("/reads/demo", "CRAM"), ("/variants/demo", "bcf"), ("/reads/demo", "bam")]
)
def test_format(program: Path, site: Site, out: Path, path: str, format: str) -> None:
    region = ("-r", "chr1", "-s", "100000", "-e", "101000")
    assert run(program, site.url + path, "-f", format, *region, "-O", out).lines == []
    query = f"?format={format.upper()}&referenceName=chr1&start=100000&end=101000"
    assert out.read_bytes() == what_is_sent(site.url + path + query)


def test_region(program: Path, site: Site, out: Path) -> None:
    words = ("-r", "chr1", "-s", "100000", "-e", "101000", "-O", out)
    assert run(program, f"{site.url}/reads/demo", *words).lines == []
    assert records(out) == records(site.directory / "demo.bam", "chr1:100001-101000") != []


def test_reads_without_a_place(program: Path, site: Site, out: Path) -> None:
    assert run(program, f"{site.url}/reads/demo", "-r", "*", "-O", out).lines == []
    expected = [line for line in records(site.directory / "demo.bam") if "\t*\t0\t" in line]
    assert records(out) == expected != []


def test_token(program: Path, site: Site, cut: Cut, out: Path) -> None:
    proxy = cut(site.url, 0, times=0)
    expected = records(site.directory / "clinic" / "case-7.bam", "chr2:40001-60000")
    words = (*GENE, "-b", site.token, "-O", out)
    assert run(program, f"{proxy.url}/reads/clinic/case-7", *words).lines == []
    assert records(out) == expected != []
    (ticket,) = proxy.tickets
    assert ticket.headers["Authorization"] == f"Bearer {site.token}"
    assert [block.headers["Authorization"] for block in proxy.blocks] == [None, None]

    url = f"{site.tls_url}/reads/clinic/case-7"
    assert run(program, url, *words, REQUESTS_CA_BUNDLE=site.ca).lines == []
    assert records(out) == expected
    unknown = run(program, url, *words, *QUICKLY)
    assert unknown.status == 1
    assert "certificate verify failed" in unknown.err


@pytest.mark.parametrize(
    ("path", "words", "message"),
    [
        ("/reads/nothing", (), "no such object"),
        ("/reads/demo", ("-r", "chr9"), "this object has no such reference"),
        ("/reads/demo", ("-f", "VCF"), "UnsupportedFormat"),
        ("/reads/clinic/case-7", GENE, "this needs a credential"),
        ("/reads/clinic/case-7", (*GENE, "-b", "nonsense"), "the credential is not accepted"),
    ],
)
def test_refusals_end_it_at_once(
    program: Path, site: Site, out: Path, path: str, words: tuple[str, ...], message: str
) -> None:
    """With the default of five attempts, five seconds apart."""
    begin = time.monotonic()
    done = run(program, site.url + path, *words, "-O", out)
    assert time.monotonic() - begin < 5
    assert done.status == 1
    assert message in done.err


def test_refusal_that_it_takes_for_a_failure(program: Path, site: Site, out: Path) -> None:
    """It tries again after 403, which says that there is more in the file than may be seen."""
    url = f"{site.url}/reads/clinic/case-7"
    done = run(program, url, "-b", site.token, *QUICKLY, "-O", out)
    assert done.status == 1
    assert done.err.count("403 Client Error") == 3


@pytest.mark.parametrize("reset", [False, True])
def test_transfer_that_breaks_off(
    program: Path, site: Site, cut: Cut, out: Path, reset: bool
) -> None:
    """It begins again at the block."""
    proxy = cut(site.url, 300_000, times=2, reset=reset)
    done: Done = run(program, f"{proxy.url}/reads/demo", *QUICKLY, "-O", out)
    assert done.lines == []
    assert done.err.count("before retrying") == 2
    assert out.read_bytes() == what_is_sent(f"{site.url}/reads/demo")
    assert [each.cut for each in proxy.blocks] == [False, True, True, False]


def test_transfer_that_breaks_off_too_often(program: Path, site: Site, cut: Cut, out: Path) -> None:
    proxy = cut(site.url, 300_000, times=3)
    done = run(program, f"{proxy.url}/reads/demo", *QUICKLY, "-O", out)
    assert done.status == 1
    assert "error:" in done.err
