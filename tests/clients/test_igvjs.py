"""igv.js in Chromium: what it loads from another origin, and that it draws it."""

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pysam
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from tests.clients.conftest import Cut
from tests.clients.node_scripts import installed_scripts, run_script
from tests.support.client_programs import ROOT
from tests.support.demo_site import Site
from tests.support.processes import serving

LOCI = ["chr1:100001-101000", "chr2:30001-30400"]
IN_GENE, OUT_OF_GENE = "chr2:50001-50400", "chr2:70001-70400"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing comes from elsewhere
]
WIDTH, ROW = 1080, 12
"""Pixels of the tracks from left to right, and of a read from top to bottom."""


@dataclass(frozen=True, slots=True)
class Igv:
    """The page, in a browser of its own for each call."""

    script: Path
    chromium: str
    fasta: Path
    screenshots: Path

    def show(self, tracks: list[dict[str, Any]], loci: list[str], *flags: str) -> dict[str, Any]:
        """What the tracks held at each locus, how much of the first was painted below its
        coverage, and what the browser complained of."""
        self.screenshots.mkdir(exist_ok=True)
        asked = {"chromium": self.chromium, "flags": [*FLAGS, *flags], "fasta": str(self.fasta)}
        more = {"tracks": tracks, "loci": loci, "screenshots": str(self.screenshots)}
        done = run_script(self.script, {**asked, **more})
        assert done.status == 0, done.err
        shown: dict[str, Any] = json.loads(done.out)
        return shown


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_scripts(tmp_path_factory.mktemp("igvjs")) / "show_igv.js"


@pytest.fixture
def igv(site: Site, script: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Igv]:
    """HTSGATE_SCREENSHOTS names a folder where what the tests saw is kept."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("not on PATH: chromium")
    screenshots = tmp_path / "screenshots"
    yield Igv(script, chromium, site.directory / "demo.fa", screenshots)
    kept = os.environ.get("HTSGATE_SCREENSHOTS")
    if kept:
        for each in screenshots.glob("*.png"):
            Path(kept).mkdir(parents=True, exist_ok=True)
            shutil.copy(each, Path(kept) / f"{request.node.name}-{each.name}")


def tracks_of(url: str, name: str, **options: object) -> list[dict[str, Any]]:
    """A track of reads, tall enough for all, and one of variants."""
    reads = {"type": "alignment", "format": "bam", "url": f"{url}/reads/{name}", "height": 600}
    variants = {"type": "variant", "format": "vcf", "url": f"{url}/variants/{name}"}
    return [
        {"name": "reads", "sourceType": "htsget", **reads, **options},
        {"name": "variants", "sourceType": "htsget", **variants, **options},
    ]


def local_reads(path: Path, locus: str) -> list[list[object]]:
    with pysam.AlignmentFile(str(path)) as reads:
        return [
            [
                read.query_name,
                read.flag,
                read.reference_start,
                read.mapping_quality,
                read.cigarstring,
                read.query_sequence,
            ]
            for read in reads.fetch(region=locus)
            if not read.is_unmapped
        ]


def local_variants(path: Path, locus: str) -> list[list[object]]:
    with pysam.VariantFile(str(path)) as variants:
        return [
            [each.start, each.ref, ",".join(each.alts or ())]
            for each in variants.fetch(region=locus)
        ]


def painted_by(path: Path, locus: str) -> float:
    """The pixels that the aligned bases of the reads should cover."""
    start, end = (int(each) for each in locus.partition(":")[2].split("-"))
    with pysam.AlignmentFile(str(path)) as reads:
        found = reads.fetch(region=locus)
        bases = sum(read.get_overlap(start - 1, end) or 0 for read in found)
    return bases * WIDTH / (end - start + 1) * ROW


def assert_like_local(view: dict[str, Any], reads: Path, variants: Path, locus: str) -> None:
    assert sorted(view["tracks"]["reads"]) == sorted(local_reads(reads, locus))
    assert view["tracks"]["variants"] == local_variants(variants, locus)
    assert view["tracks"]["reads"]
    assert view["tracks"]["variants"]
    assert 0.9 < view["painted"] / painted_by(reads, locus) < 1.25  # introns are lines


def test_reads_and_variants_are_drawn(site: Site, igv: Igv, cut: Cut) -> None:
    proxy = cut(site.url, 0, times=0)
    shown = igv.show(tracks_of(proxy.url, "demo"), LOCI)
    for view, locus in zip(shown["views"], LOCI, strict=True):
        bam, vcf = site.directory / "demo.bam", site.directory / "demo.vcf.gz"
        assert_like_local(view, bam, vcf, locus)
        assert not view["alert"]
    assert not shown["complaints"]
    assert [each.name for each in sorted(igv.screenshots.iterdir())] == ["1.png", "2.png"]
    assert {each.method for each in proxy.requests} == {"GET"}
    assert {each.headers["Origin"] for each in proxy.requests} == {shown["origin"]}


def test_nothing_is_drawn_where_no_reads_are(site: Site, igv: Igv, tmp_path: Path) -> None:
    """The same file with the reads of one locus only."""
    sparse = tmp_path / "served" / "sparse.bam"
    sparse.parent.mkdir()
    pysam.samtools.view(
        *("-b", "-o", str(sparse), str(site.directory / "demo.bam"), LOCI[0]), catch_stdout=False
    )
    pysam.samtools.index(str(sparse))
    with serving(sparse.parent) as server:
        shown = igv.show(tracks_of(server.url, "sparse")[:1], LOCI)
    some, none = shown["views"]
    assert sorted(some["tracks"]["reads"]) == sorted(local_reads(sparse, LOCI[0]))
    assert some["painted"] > 0.9 * painted_by(sparse, LOCI[0])
    assert none["tracks"]["reads"] == []
    assert none["painted"] < 0.02 * some["painted"]
    assert not shown["complaints"]


def test_a_token(site: Site, igv: Igv, cut: Cut) -> None:
    """A variant track asks for the whole contig unless it has a window, which must be permitted."""
    proxy = cut(site.url, 0, times=0)
    options = {"oauthToken": site.token, "visibilityWindow": 5_000}
    shown = igv.show(tracks_of(proxy.url, "clinic/case-7", **options), [IN_GENE])
    clinic = site.directory / "clinic"
    bam, vcf = clinic / "case-7.bam", clinic / "case-7.vcf.gz"
    assert_like_local(shown["views"][0], bam, vcf, IN_GENE)
    assert not shown["complaints"]
    preflights = [each for each in proxy.requests if each.method == "OPTIONS"]
    asked = {each.headers["Access-Control-Request-Headers"] for each in preflights}
    assert asked == {"authorization,cache-control"}
    assert {each.headers["Authorization"] for each in preflights} == {None}
    tickets = [each for each in proxy.tickets if each.method == "GET"]
    assert {each.headers["Authorization"] for each in tickets} == {f"Bearer {site.token}"}
    assert {each.headers["Authorization"] for each in proxy.blocks} == {None}


def test_tracks_of_the_document(site: Site, igv: Igv) -> None:
    text = (ROOT / "docs" / "clients.md").read_text()
    section = text.partition("## igv.js")[2].partition("\n## ")[0]
    shown = re.findall(r"^```json\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    named = [each.replace("http://127.0.0.1:8080", site.url) for each in shown]
    tracks = [json.loads(each.replace("TOKEN", site.token)) for each in named]
    assert len(tracks) == 2
    directory = site.directory
    for (reads, variants), data in zip(tracks, ("demo", "clinic/case-7"), strict=True):
        (view,) = igv.show(
            [{**reads, "name": "reads", "height": 600}, {**variants, "name": "variants"}],
            [IN_GENE],
        )["views"]
        assert_like_local(view, directory / f"{data}.bam", directory / f"{data}.vcf.gz", IN_GENE)


def test_what_is_not_permitted_is_not_drawn(site: Site, igv: Igv) -> None:
    options = {"oauthToken": site.token, "visibilityWindow": 5_000}
    shown = igv.show(tracks_of(site.url, "clinic/case-7", **options), [IN_GENE, OUT_OF_GENE])
    inside, outside = shown["views"]
    assert outside["tracks"] == {"reads": [], "variants": []}
    assert outside["painted"] < inside["painted"] / 4
    assert "forbidden (HTTP status 403)" in outside["alert"]
    assert any("403 (Forbidden)" in each for each in shown["complaints"])


def test_without_a_token(site: Site, igv: Igv) -> None:
    shown = igv.show(tracks_of(site.url, "clinic/case-7"), [IN_GENE])
    assert shown["views"][0]["tracks"] == {"reads": [], "variants": []}
    assert any("401 (Unauthorized)" in each for each in shown["complaints"])


def test_tls(site: Site, igv: Igv) -> None:
    """Chromium is told which key to trust: its store of authorities is the user's."""
    where = urlsplit(site.tls_url)
    pem = ssl.get_server_certificate((str(where.hostname), where.port or 443))
    key = load_pem_x509_certificate(pem.encode()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    pin = base64.b64encode(digest.digest()).decode()
    tracks = tracks_of(site.tls_url, "demo")
    shown = igv.show(tracks, LOCI[:1], f"--ignore-certificate-errors-spki-list={pin}")
    bam, vcf = site.directory / "demo.bam", site.directory / "demo.vcf.gz"
    assert_like_local(shown["views"][0], bam, vcf, LOCI[0])
    assert not shown["complaints"]


def test_a_broken_download_is_not_drawn(site: Site, igv: Igv, cut: Cut) -> None:
    proxy = cut(site.url, 4_000, times=100)
    shown = igv.show(tracks_of(proxy.url, "demo")[:1], LOCI[:1])
    assert any(each.cut for each in proxy.blocks)
    assert shown["views"][0]["tracks"]["reads"] == []
    assert any("requestfailed" in each for each in shown["complaints"])
