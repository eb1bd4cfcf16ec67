"""htsget and refget of one process, started as a user would with nothing but two directories: a
CRAM slice decodes with the references that the same server has."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pysam
import pytest

ROOT = Path(__file__).resolve().parents[3]
CRAM = "mitoAlignmentStartTest"
MITO = "71c39cf065b8d574f636b654c274cf1b"
FASTAS = (
    "Homo_sapiens_assembly18.trimmed.fasta.gz",
    "Saccharomyces_cerevisiae.R64-1-1.fa.bgz.fa.gz",
    "ce.fa",
    "human_g1k_v37.20.subset.fasta",
    "mitoAlignmentStartTest.fa",
)
WITH_PYSAM = """
import sys, pysam
with pysam.AlignmentFile(sys.argv[1], "rc", check_sq=False) as records:
    for record in records.fetch(until_eof=True):
        print(record.to_string())
"""


@pytest.fixture(scope="module")
def base(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `htsgate serve cram fasta`, once it knows every sequence."""
    places = [shared_data / "cram", shared_data / "fasta"]
    if missing := [str(each) for each in places if not each.is_dir()]:
        pytest.skip(f"not there: {', '.join(missing)}")
    environment = {key: value for key, value in os.environ.items() if key[:8] != "HTSGATE_"}
    server = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", *places, "--port", "0"],
        cwd=tmp_path_factory.mktemp("empty"),
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    try:
        line = server.stdout.readline() if server.stdout else ""
        url = line.split()[-1].rstrip("/")
        deadline = time.monotonic() + 60
        # What no file holds is pending until all of them are known.
        while get(f"{url}/sequence/{'0' * 32}")[0] != 404:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.communicate(timeout=30)


def get(url: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the server's own URL
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def decode(command: list[str], reference_path: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds references in one place only."""
    environment = {**os.environ, "REF_PATH": reference_path, "REF_CACHE": ""}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def samtools() -> str:
    program = shutil.which("samtools")
    if program is None:
        pytest.skip("samtools is not installed")
    return program


def records_of(command: list[str], reference_path: str) -> list[list[str]]:
    """Fields of the records, the tags sorted: programs give them in different orders."""
    done = decode(command, reference_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return [[*fields[:11], *sorted(fields[11:])] for fields in lines]


@pytest.fixture(scope="module")
def local(shared_data: Path) -> list[list[str]]:
    """The records decoded from the files themselves."""
    cram, fasta = shared_data / "cram" / f"{CRAM}.cram", shared_data / "fasta" / f"{CRAM}.fa"
    for path in (cram, fasta):
        if not path.is_file():
            pytest.skip(f"not there: {path}")
    records = records_of([samtools(), "view", "-T", str(fasta), str(cram)], "/nowhere")
    assert len(records) > 100
    return records


def url_of(base: str, query: str = "") -> str:
    return f"{base}/reads/{CRAM}?format=CRAM{query}"


def test_samtools_decodes_cram_through_htsget_and_refget(base: str, local: list[list[str]]) -> None:
    assert records_of([samtools(), "view", url_of(base)], f"{base}/sequence/%s") == local


def test_pysam_decodes_cram_through_htsget_and_refget(base: str, local: list[list[str]]) -> None:
    command = [sys.executable, "-c", WITH_PYSAM, url_of(base)]
    assert records_of(command, f"{base}/sequence/%s") == local


def test_a_slice_decodes_too(base: str, shared_data: Path, local: list[list[str]]) -> None:
    query = "&referenceName=Mito&start=100&end=300"
    records = records_of([samtools(), "view", url_of(base, query)], f"{base}/sequence/%s")
    cram, fasta = shared_data / "cram" / f"{CRAM}.cram", shared_data / "fasta" / f"{CRAM}.fa"
    command = [samtools(), "view", "-T", str(fasta), str(cram), "Mito:101-300"]
    assert records == records_of(command, "/nowhere")
    assert 0 < len(records) < len(local)


def test_without_the_server_it_does_not_decode(base: str, local: list[list[str]]) -> None:
    done = decode([samtools(), "view", url_of(base)], "/nowhere/%s")
    assert done.returncode != 0 or len(done.stdout.splitlines()) < len(local)


@pytest.mark.parametrize("identifier", [MITO, "ga4gh:SQ.DrOlaWEY9iBBQrAAvbrzXsQlzZRV2J59"])
def test_a_broken_download_is_resumed(base: str, identifier: str) -> None:
    url = f"{base}/sequence/{identifier}"
    status, headers, whole = get(url)
    assert (status, len(whole)) == (200, 85_779)
    for start in (0, 1, 40_000, 85_778):
        for condition in ({}, {"If-Range": headers["ETag"]}):
            status, fields, rest = get(url, Range=f"bytes={start}-", **condition)
            assert status == 206
            assert fields["Content-Range"] == f"bytes {start}-85778/85779"
            assert rest == whole[start:]
    assert get(url, Range="bytes=1-", **{"If-Range": '"another"'})[2] == whole


@pytest.mark.parametrize("name", FASTAS)
def test_random_subsequences_are_those_of_pysam(base: str, shared_data: Path, name: str) -> None:
    path = shared_data / "fasta" / name
    if not path.is_file():
        pytest.skip(f"not there: {path}")
    draw = random.Random(name)
    with pysam.FastaFile(str(path)) as fasta:
        ids = {}
        for each in fasta.references:
            residues = fasta.fetch(each).upper().encode()
            truncated = hashlib.sha512(residues).digest()[:24].hex()
            md5 = hashlib.md5(residues, usedforsecurity=False).hexdigest()
            ids[each] = (md5, md5.upper(), truncated)
            assert get(f"{base}/sequence/{md5}")[2] == residues
        for _ in range(60):
            sequence = draw.choice(fasta.references)
            length = fasta.get_reference_length(sequence)
            longest = draw.choice((10, 1_000, 70_000, length))
            start = draw.randrange(length)
            end = min(start + draw.randint(1, longest), length)
            expected = fasta.fetch(sequence, start, end).upper().encode()
            url = f"{base}/sequence/{draw.choice(ids[sequence])}"
            assert get(f"{url}?start={start}&end={end}")[2] == expected
            assert get(url, Range=f"bytes={start}-{end - 1}")[2] == expected
