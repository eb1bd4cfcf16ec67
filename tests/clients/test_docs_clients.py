"""docs/clients.md is run as it stands, against the demo."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pysam
import pytest

from tests.clients.node_scripts import installed_scripts
from tests.support.client_programs import (
    ROOT,
    Done,
    htsget_program,
    need,
    need_libcurl,
    need_samtools,
    run,
)
from tests.support.demo_site import Site, client_environment

TEXT = (ROOT / "docs" / "clients.md").read_text()
SETTING, *EXAMPLES = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PROGRAMS = ("samtools", "bcftools", "htsfile", "tabix", "curl", "java", "javac", "node", "npm")
REFGET_PYTHON = Path(os.environ.get("CONFORMANCE_PYTHON", ROOT / ".venv-conformance/bin/python"))


def name(example: str) -> str:
    """The section in which it stands, for the names of tests."""
    before = TEXT[: TEXT.index(example)]
    return f"{re.findall(r'^## (.*)$', before, re.MULTILINE)[-1]} {before.count('```sh')}"


def named(site: Site) -> str:
    """The first block, with what is named there as it is here."""
    values = {"H": site.url, "S": site.tls_url, "CA": str(site.ca), "DEMO": str(site.directory)}
    lines = dict(line.partition("#")[0].strip().split("=") for line in SETTING.splitlines())
    assert lines.keys() == values.keys()
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def shell(site: Site, script: str, directory: Path, *first: Path) -> Done:
    """Run by a shell that stops at the first command that fails, also in a pipe; programs are
    looked for in `first`, then where this Python is, then on PATH."""
    path = os.pathsep.join(map(str, (*first, Path(sys.executable).parent, os.environ["PATH"])))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", named(site) + script],
        capture_output=True,
        text=True,
        env={**client_environment(), "PATH": path},
        cwd=directory,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_examples_work(site: Site, example: str, tmp_path: Path) -> None:
    need("bash", *(each for each in PROGRAMS if re.search(rf"\b{each} ", example)))
    first = []
    if "samtools" in example:
        need_samtools()
    if "import pysam" in example:
        need_libcurl()
    if re.search(r"^htsget ", example, re.MULTILINE):
        first.append(htsget_program().parent)
    if "/usr/share/java" in example and not Path("/usr/share/java/htsjdk.jar").exists():
        pytest.skip("no htsjdk.jar (Debian: libhtsjdk-java)")
    if "@gmod/bam" in example:
        installed_scripts(tmp_path)
    if "refget.clients" in example:
        if not REFGET_PYTHON.is_file():
            pytest.skip("the refget package is not installed: make conformance")
        first.append(REFGET_PYTHON.parent)
    done = shell(site, example, tmp_path, *first)
    assert done.status == 0, done.err
    assert done.out or list(tmp_path.iterdir())
    for made in tmp_path.glob("*.bam"):
        with pysam.AlignmentFile(str(made)) as reads:
            assert any(reads.fetch(until_eof=True))
    for made in tmp_path.glob("*.bcf"):
        with pysam.VariantFile(str(made)) as variants:
            assert any(variants)


def rows(heading: str) -> list[list[str]]:
    """The rows of the table that has this heading in its first column."""
    table = TEXT.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


@pytest.mark.parametrize(("command", "message"), rows("command"))
def test_what_does_not_work(site: Site, command: str, message: str, tmp_path: Path) -> None:
    need(command.split()[0])
    done = shell(site, command, tmp_path)
    assert done.status != 0
    assert message in done.err


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that has one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=30)


STATUSES = [
    (message, int(status)) for message, status, _ in rows("samtools, bcftools, pysam say") if status
]


@pytest.mark.parametrize(("message", "status"), STATUSES)
def test_messages_of_statuses(message: str, status: int) -> None:
    need_samtools()
    with answering(status) as url:
        done = run("samtools", "view", f"{url}/reads/demo", HTS_RETRY_MAX="0")
    assert done.status == 1
    assert message in done.err


def test_other_messages(site: Site) -> None:
    need_samtools()
    with answering(404) as nobody:
        pass
    said = [
        run("samtools", "view", *words).err
        for words in (
            (f"{nobody}/reads/demo",),
            (site.url.replace("http:", "htsget:") + "/reads/demo",),
            (f"{site.tls_url}/reads/demo",),
        )
    ]
    without = {"REF_PATH": "/nowhere/%s"}
    said.append(run("samtools", "view", f"{site.url}/reads/demo?format=CRAM", **without).err)
    others = [row[0] for row in rows("samtools, bcftools, pysam say") if not row[1]]
    assert len(others) == 3
    for message in (*others, "SSL peer certificate"):
        assert any(message in each for each in said), message


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    links = re.findall(r"\]\(([^)]*)\)", TEXT)
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        assert (ROOT / "docs" / file).exists()
        assert not anchor or anchor in anchors, link
