"""htsjdk, on which Picard, GATK and IGV Desktop stand, as they open a file over htsget."""

import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pysam
import pytest

from tests.clients.conftest import Cut
from tests.support.client_programs import Done, run
from tests.support.demo_site import Site
from tests.support.sample_htsjdk import htsjdk_program
from tests.support.sample_recipes import SampleUnavailable

SOURCE = Path(__file__).with_name("HtsjdkClient.java")
GENE = ("chr2", 40_000, 60_000)
SEVERAL = "chr1:1001-2000,chr1:1501-2500,chr1:150001-150100,chr2:1-500,chr2:400-700"
"""None has a read without a match, at which the reader's filter leaves a region for the next."""
SENTINEL = "chrM:16569-16569"
"""The reader's filter (3.0.4) drops all but the first read of the last region: of this one."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What the Java program printed."""

    posts: str
    header: list[str]
    records: dict[str, list[str]]
    """SAM lines, by query."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    try:
        return htsjdk_program(SOURCE, tmp_path_factory.mktemp("htsjdk") / "classes")
    except SampleUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def trusting(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options by which Java trusts the authority of the site."""
    store = tmp_path_factory.mktemp("trust") / "trust.p12"
    imported = ("-importcert", "-noprompt", "-file", site.ca, "-keystore", store)
    subprocess.run(
        ["keytool", *map(str, imported), "-storetype", "PKCS12", "-storepass", "changeit"],
        check=True,
        capture_output=True,
    )
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]


def java(program: list[str], *words: str, **settings: str) -> Done:
    return run(*program, *words, **settings)


def printed(done: Done) -> Printed:
    posts, query = "", ""
    header: list[str] = []
    records: dict[str, list[str]] = {}
    for line in done.lines:
        if line.startswith("POST "):
            posts = line.removeprefix("POST ")
        elif line.startswith("@"):
            header.append(line)
        elif line.startswith(">"):
            query = line[1:]
            records[query] = []
        else:
            records[query].append(line)
    return Printed(posts, header, records)


def local(path: Path, query: str, *, matched: bool = False) -> list[str]:
    """The SAM lines of the records that are in any region of a query, each once, in order. With
    `matched`, those that the reader keeps: it drops placed reads without a match by itself."""
    with pysam.AlignmentFile(str(path)) as reads:
        if query == "all":
            found = [*reads.fetch(until_eof=True)]
        elif query == "unmapped":
            found = [read for read in reads.fetch(until_eof=True) if read.reference_id < 0]
        else:
            every = [*reads.fetch(until_eof=True)]
            place = {str(read): at for at, read in enumerate(every)}
            regions = query.split(",")
            places = {place[str(read)] for each in regions for read in reads.fetch(region=each)}
            found = [every[at] for at in sorted(places)]
        return [read.to_string() for read in found if not (matched and read.is_unmapped)]


def local_header(path: Path) -> list[str]:
    with pysam.AlignmentFile(str(path)) as reads:
        return str(reads.header).splitlines()


def test_a_file_and_its_regions(site: Site, program: list[str]) -> None:
    regions = ["chr1:100001-101000", "chr2:5001-5001", "chrM:16501-16569", "chr2:1-100000"]
    asked = ["all", "unmapped", *regions]
    found = printed(java(program, "reader", f"{site.url}/reads/demo", *asked))
    bam = site.directory / "demo.bam"
    assert found.posts == "true"
    assert found.header == local_header(bam)
    assert found.records["all"] == local(bam, "all")
    assert found.records["unmapped"] == local(bam, "unmapped")
    for region in regions:
        assert found.records[region] == local(bam, region, matched=True)
        assert found.records[region]


def test_several_regions_are_one_request(site: Site, program: list[str], cut: Cut) -> None:
    proxy = cut(site.url, 0, times=0)
    query = f"{SEVERAL},{SENTINEL}"
    (found,) = printed(java(program, "reader", f"{proxy.url}/reads/demo", query)).records.values()
    bam = site.directory / "demo.bam"
    expected = local(bam, SEVERAL)
    assert found[: len(expected)] == expected
    assert set(found[len(expected) :]) <= set(local(bam, SENTINEL))
    asked = [(each.method, each.target) for each in proxy.tickets]
    post = ("POST", "/reads/demo")
    assert asked == [("GET", "/reads/demo?class=header"), post, post]


def test_regions_by_post_are_sent_once_and_in_order(site: Site, program: list[str]) -> None:
    overlapping = (
        "chr2:90001-95000,chr1:100001-101000,chr1:100501-102000,chr2:1-500,chr1:100900-100900"
    )
    queries = [SEVERAL, overlapping]
    found = printed(java(program, "posted", f"{site.url}/reads/demo", *queries))
    bam = site.directory / "demo.bam"
    assert found.records == {query: local(bam, query) for query in queries}


def test_a_region_without_reads(site: Site, program: list[str]) -> None:
    url = f"{site.url}/reads/demo?referenceName=chr2&start=50000&end=50000"
    found = printed(java(program, "authorized", url, HTSGET_TOKEN=site.token))
    assert found.records == {"all": []}
    assert found.header == local_header(site.directory / "demo.bam")


def test_opened_as_picard_opens_it(site: Site, program: list[str]) -> None:
    """`htsget://` is https, or http where that fails."""
    url = f"{site.url.replace('http:', 'htsget:')}/reads/demo"
    found = printed(java(program, "factory", url, "all", "chr1:100001-101000", "unmapped"))
    bam = site.directory / "demo.bam"
    assert found.header == local_header(bam)
    assert found.records == {
        "all": local(bam, "all"),
        "chr1:100001-101000": local(bam, "chr1:100001-101000", matched=True),
        "unmapped": local(bam, "unmapped"),
    }


@contextmanager
def get_only(url: str) -> Iterator[str]:
    """The server at `url` behind a proxy that refuses whatever is not GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = dict(self.headers.items())
            request = urllib.request.Request(url + self.path, headers=headers)  # noqa: S310
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                self.send_response_only(answer.status)
                for name in ("Content-Type", "Content-Length"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(answer.read())

        def do_POST(self) -> None:
            self.send_response_only(405)
            self.send_header("Allow", "GET")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), name="get only")
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join(timeout=30)


def test_reads_by_get_alone(site: Site, program: list[str]) -> None:
    queries = ["chr1:100001-101000", SEVERAL]
    with get_only(site.url) as url:
        found = printed(java(program, "reader", f"{url}/reads/demo", *queries))
    assert found.posts == "false"
    bam = site.directory / "demo.bam"
    assert found.records == {query: local(bam, query, matched=True) for query in queries}


def test_tls(site: Site, program: list[str], trusting: list[str]) -> None:
    trusts = [program[0], *trusting, *program[1:]]
    bam, query = site.directory / "demo.bam", "chr1:100001-101000"
    for way, url in (("reader", site.tls_url), ("factory", f"htsget{site.tls_url[5:]}")):
        found = printed(java(trusts, way, f"{url}/reads/demo", query))
        assert found.records == {query: local(bam, query, matched=True)}
    refused = java(program, "reader", f"{site.tls_url}/reads/demo", query)
    assert refused.status == 1
    assert "SSLHandshakeException" in refused.err


def test_the_reader_sends_no_token(site: Site, program: list[str], cut: Cut) -> None:
    proxy = cut(site.url, 0, times=0)
    refused = java(program, "reader", f"{proxy.url}/reads/clinic/case-7", "all")
    assert refused.status == 1
    assert "Server returned HTTP response code: 401" in refused.err
    assert [each.headers["Authorization"] for each in proxy.requests] == [None]


def test_a_program_can_send_a_token(site: Site, program: list[str]) -> None:
    contig, start, end = GENE
    url = f"{site.url}/reads/clinic/case-7?referenceName={contig}&start={start}&end={end}"
    found = printed(java(program, "authorized", url, HTSGET_TOKEN=site.token))
    region = f"{contig}:{start + 1}-{end}"
    assert found.records["all"] == local(site.directory / "clinic/case-7.bam", region)
    assert not any("JANE-ROE" in line for line in found.header)
    refused = java(program, "authorized", url, HTSGET_TOKEN=site.token[:-9])
    assert refused.status == 1
    assert "code: 401" in refused.err


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_download_is_no_end(site: Site, program: list[str], cut: Cut, reset: bool) -> None:
    proxy = cut(site.url, 200_000, reset=reset)
    broken = java(program, "reader", f"{proxy.url}/reads/demo", "all")
    assert broken.status == 1
    assert "Exception" in broken.err
    assert [each.cut for each in proxy.blocks].count(True) == 1
    records = broken.out.partition(">all\n")[2].splitlines()
    assert records == local(site.directory / "demo.bam", "all")[: len(records)]
