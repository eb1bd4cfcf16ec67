"""samtools, as users call it: each answer is compared with its answer for the file on disk."""

import json
from pathlib import Path

import pytest

from formats.bgzf import block_size
from tests.clients.conftest import Cut
from tests.support.client_programs import OVER_HTTP, Done, htslib_of_samtools, need_samtools, run
from tests.support.demo_site import Site
from tests.support.processes import fetch

GENE = "referenceName=chr2&start=40000&end=60000"
HEADER_OF_SAMTOOLS = "@PG\tID:samtools"


@pytest.fixture(autouse=True)
def _installed() -> None:
    need_samtools()


def samtools(*words: str | Path, **settings: str | Path) -> Done:
    return run("samtools", *words, **settings)


def local(site: Site, *words: str | Path, file: str = "demo.bam") -> list[str]:
    """What `samtools view` prints of the file on disk; `words` follow its name."""
    path, fasta = site.directory / file, site.directory / "demo.fa"
    return samtools("view", "-T", fasta, path, *words).lines


def header(lines: list[str]) -> list[str]:
    return [line for line in lines if line[0] == "@" and not line.startswith(HEADER_OF_SAMTOOLS)]


def with_token(site: Site) -> dict[str, str | Path]:
    return {
        "HTS_AUTH_LOCATION": site.token_file,
        "HTS_ALLOW_UNENCRYPTED_AUTHORIZATION_HEADER": OVER_HTTP,
    }


@pytest.mark.parametrize("query", ["?class=header", "?class=header&format=CRAM", ""])
def test_header(site: Site, query: str) -> None:
    shown = samtools("view", "-H", f"{site.url}/reads/demo{query}").lines
    file = "demo.cram" if "CRAM" in query else "demo.bam"
    assert header(shown) == header(samtools("view", "-H", site.directory / file).lines)


@pytest.mark.parametrize(
    ("query", "region"),
    [
        ("", ""),
        ("referenceName=chr1", "chr1"),
        ("referenceName=chr1&start=100000&end=101000", "chr1:100001-101000"),
        ("referenceName=chr2&start=99000", "chr2:99001"),
        ("referenceName=chrM&end=100", "chrM:1-100"),
        ("referenceName=chr2&start=5000&end=5001", "chr2:5001-5001"),
        ("referenceName=*", "*"),
        ("referenceName=chrM&start=16568&end=16569", "chrM:16569-16569"),
        ("referenceName=chr1&start=5&end=6", "chr1:6-6"),  # nothing there
    ],
)
@pytest.mark.parametrize("format", ["BAM", "CRAM"])
def test_records(site: Site, format: str, query: str, region: str) -> None:
    fasta = site.directory / "demo.fa"
    url = f"{site.url}/reads/demo?format={format}&{query}"
    expected = local(site, *([region] if region else []), file=f"demo.{format.lower()}")
    assert samtools("view", "-T", fasta, url).lines == expected
    assert samtools("view", "-c", "-T", fasta, url).lines == [str(len(expected))]
    assert (expected == []) == (region == "chr1:6-6")


def test_region_without_reads(site: Site, tmp_path: Path) -> None:
    """Its answer is a whole file, of a header alone."""
    url, out = f"{site.url}/reads/demo?referenceName=chr1&start=5&end=6", tmp_path / "o.bam"
    assert samtools("view", "-b", "-o", out, url).lines == []
    assert samtools("quickcheck", "-v", out).lines == []
    assert samtools("view", out).lines == []
    assert header(samtools("view", "-H", out).lines) == header(
        samtools("view", "-H", site.directory / "demo.bam").lines
    )


@pytest.mark.parametrize("command", ["flagstat", "depth", "fastq", "coverage", "stats"])
def test_commands_that_stream(site: Site, command: str) -> None:
    def figures(file: str | Path) -> list[str]:
        return [line for line in samtools(command, file).lines if line[0] != "#"]

    assert figures(f"{site.url}/reads/demo") == figures(site.directory / "demo.bam") != []


def test_filters_of_its_own(site: Site, tmp_path: Path) -> None:
    bed = tmp_path / "regions.bed"
    bed.write_text("chr1\t1000\t2000\nchr2\t40000\t40100\n")
    for words in (("-L", bed), ("-f", "64", "-F", "4"), ("-e", "mapq > 0 && pos < 5000")):
        expected = samtools("view", *words, site.directory / "demo.bam").lines
        assert samtools("view", *words, f"{site.url}/reads/demo").lines == expected != []


def test_download(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "o.bam"
    assert samtools("view", "-b", "-o", out, f"{site.url}/reads/demo").lines == []
    assert samtools("quickcheck", "-v", out).lines == []
    assert samtools("index", out).lines == []
    assert samtools("view", out, "chr2:40001-40100").lines == local(site, "chr2:40001-40100")


def test_cram_with_the_reference_from_the_server(site: Site, cut: Cut, tmp_path: Path) -> None:
    proxy = cut(site.url, 0, times=0)
    url, sequences = f"{proxy.url}/reads/demo?format=CRAM", f"{proxy.url}/sequence/%s"
    expected = local(site, file="demo.cram")
    assert samtools("view", url, REF_PATH=sequences).lines == expected
    asked = {each.target for each in proxy.requests if "/sequence/" in each.target}
    assert asked == {f"/sequence/{line.partition('M5:')[2]}" for line in checksums(site)}
    colons = sequences.replace(":", "::")
    assert samtools("view", url, REF_PATH=colons).lines == expected

    cache = tmp_path / "%2s" / "%2s" / "%s"
    assert samtools("view", url, REF_PATH=sequences, REF_CACHE=cache).lines == expected
    before = len(proxy.requests)
    assert samtools("view", url, REF_PATH="/nowhere/%s", REF_CACHE=cache).lines == expected
    assert not [each for each in proxy.requests[before:] if "/sequence/" in each.target]
    assert samtools("view", url, REF_PATH="/nowhere/%s").status != 0


def checksums(site: Site) -> list[str]:
    lines = samtools("view", "-H", site.directory / "demo.cram").lines
    return [line for line in lines if line.startswith("@SQ")]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{http}/reads/nothing", "No such file or directory"),
        ("{http}/reads/demo?referenceName=chr9", "No such file or directory"),
        ("{http}/reads/demo?format=VCF", "Invalid argument"),
        ("{http}/reads/demo?start=5", "Invalid argument"),
        ("{htsget}/reads/demo", "Protocol not supported"),
        ("{http}/reads/clinic/case-7", "Operation not permitted"),
        ("{https}/reads/demo", "Input/output error"),  # by an authority that it does not know
    ],
)
def test_refusals(site: Site, url: str, message: str) -> None:
    addresses = {"http": site.url, "https": site.tls_url}
    addresses["htsget"] = site.url.replace("http:", "htsget:")
    done = samtools("view", "-c", url.format(**addresses))
    assert (done.status, done.out) == (1, "")
    assert message in done.err


def test_regions_on_the_command_line(site: Site) -> None:
    done = samtools("view", f"{site.url}/reads/demo", "chr1:1-1000")
    assert (done.status, done.out) == (1, "")
    assert "Could not retrieve index file" in done.err


@pytest.fixture(params=["a line", "JSON"])
def token_file(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Path:
    if request.param == "a line":
        return site.token_file
    path = tmp_path / "token.json"
    token = {"access_token": site.token, "token_type": "Bearer", "expires_in": 3600}
    path.write_text(json.dumps(token))
    return path


def test_token_over_https(site: Site, token_file: Path) -> None:
    authority = {"CURL_CA_BUNDLE": site.ca}
    url = f"{site.tls_url}/reads/clinic/case-7?{GENE}"
    expected = local(site, "chr2:40001-60000", file="clinic/case-7.bam")
    done = samtools("view", url, HTS_AUTH_LOCATION=token_file, **authority)
    assert done.lines == expected != []
    assert samtools("view", url, **authority).status == 1
    assert samtools("view", f"{site.tls_url}/reads/demo", **authority).lines == local(site)


def test_token_over_http(site: Site, token_file: Path) -> None:
    """It is kept back, unless the user says that it need not be secret."""
    url = f"{site.url}/reads/clinic/case-7?{GENE}"
    kept_back = samtools("view", url, HTS_AUTH_LOCATION=token_file)
    assert (kept_back.status, kept_back.out) == (1, "")
    assert "Operation not permitted" in kept_back.err
    settings = {**with_token(site), "HTS_AUTH_LOCATION": token_file}
    expected = local(site, "chr2:40001-60000", file="clinic/case-7.bam")
    assert samtools("view", url, **settings).lines == expected


def test_header_of_controlled_data(site: Site) -> None:
    url = f"{site.url}/reads/clinic/case-7?class=header"
    shown = samtools("view", "-H", url, **with_token(site)).out
    assert "SN:chr2" in shown
    assert "JANE" not in shown


def test_more_than_is_granted(site: Site) -> None:
    for query in ("", "?referenceName=chr2&start=39999&end=40100", "?referenceName=*"):
        done = samtools("view", f"{site.url}/reads/clinic/case-7{query}", **with_token(site))
        assert (done.status, done.out) == (1, "")
        assert "Permission denied" in done.err


def test_wrong_tokens(site: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    url = f"{site.url}/reads/clinic/case-7?{GENE}"
    for text in ("nonsense", site.token[:-9] + "AAAAAAAAA"):
        wrong.write_text(text)
        done = samtools("view", url, **{**with_token(site), "HTS_AUTH_LOCATION": wrong})
        assert (done.status, done.out) == (1, "")
        assert "Operation not permitted" in done.err


def test_the_token_goes_to_the_ticket_only(site: Site, cut: Cut) -> None:
    proxy = cut(site.url, 0, times=0)
    assert samtools("view", f"{proxy.url}/reads/clinic/case-7?{GENE}", **with_token(site)).lines
    (ticket,), blocks = proxy.tickets, proxy.blocks
    assert ticket.headers["Authorization"] == f"Bearer {site.token}"
    assert [block.headers["Authorization"] for block in blocks] == [None] * len(blocks)
    assert len(blocks) == 2


def block_boundary(site: Site, least: int) -> int:
    """Where a BGZF block ends in the demo's reads as they are sent, at `least` bytes or later."""
    ticket = json.loads(fetch(f"{site.url}/reads/demo"))
    data = fetch(ticket["htsget"]["urls"][1]["url"])
    end = 0
    while end < least:
        end += block_size(data, end)
    return end


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", ["header", "body", "block"])
@pytest.mark.parametrize("command", ["view", "flagstat"])
def test_transfer_that_breaks_off(
    site: Site, cut: Cut, command: str, after: str, reset: bool
) -> None:
    """No short answer passes for a whole one, not even one that ends with a BGZF block."""
    bytes_of = {"header": 100, "body": 300_000, "block": block_boundary(site, 300_000)}
    proxy = cut(site.url, bytes_of[after], reset=reset)
    done = samtools(command, f"{proxy.url}/reads/demo")
    assert [each.cut for each in proxy.blocks].count(True) == 1
    if htslib_of_samtools() < (1, 20):  # which does not try again
        assert done.status != 0
    if done.status == 0:
        assert done.lines == samtools(command, site.directory / "demo.bam").lines
        assert any(block.headers["Range"] for block in proxy.blocks)
