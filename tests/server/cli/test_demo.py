import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pysam
import pytest

from server.cli import run
from server.cli.demo import prepare
from server.config import ConfigurationError
from server.demo_data import CONTIGS, FILES

_ROOT = Path(__file__).parents[3]
_TOOLS = ("samtools", "bcftools", "curl")


@contextmanager
def demo(
    *arguments: str, cwd: Path, code: str | None = None
) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """A running demo, and what it has printed."""
    program = ["-c", code] if code else ["-m", "server"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TMPDIR": str(cwd)}
    with subprocess.Popen(
        [sys.executable, *program, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    ) as process:
        try:
            lines = []
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if lines[-1].startswith("Ctrl-C"):
                    break
            yield lines, process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


def local_lines(directory: Path, words: list[str]) -> list[str]:
    """What pysam says of the local file to a command as it was printed; names and places only."""
    url = urlsplit(words[-1])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if url.path.startswith("/reads/"):
        path = directory / f"demo.{query.get('format', 'BAM').lower()}"
        with pysam.AlignmentFile(str(path), reference_filename=str(directory / "demo.fa")) as reads:
            if "-H" in words:
                return [line for line in str(reads.header).splitlines() if line[:3] != "@PG"]
            found = (
                [read for read in reads.fetch(until_eof=True) if read.reference_id < 0]
                if query["referenceName"] == "*"
                else reads.fetch(query["referenceName"], int(query["start"]), int(query["end"]))
            )
            return ["\t".join(read.to_string().split("\t")[:11]) for read in found]
    path = directory / ("demo.bcf" if query.get("format") == "BCF" else "demo.vcf.gz")
    with pysam.VariantFile(str(path)) as variants:
        records = variants.fetch(query["referenceName"], int(query["start"]), int(query["end"]))
        return [str(record).rstrip("\n") for record in records]


def printed_lines(command: str) -> list[str]:
    # Nothing is to be fetched from elsewhere, should a reference be missing.
    environment = {**os.environ, "REF_PATH": "/nonexistent/%s"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, env=environment, check=True
    )
    assert "error" not in done.stderr.lower()
    return done.stdout.splitlines()


def test_every_printed_command_works(tmp_path: Path) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)}")
    with demo("--port", "0", cwd=tmp_path) as (lines, process):
        assert lines[0].startswith("htsgate serves http://127.0.0.1:")
        (directory,) = tmp_path.glob("htsgate-demo-*")
        printed = [(shlex.split(line), line) for line in lines if not line.startswith("{")]
        commands = [
            ([word for word in words if not word.startswith("REF_PATH=")], line)
            for words, line in printed
            if {*words[:2]} & {*_TOOLS}
        ]
        assert len(commands) == 10
        with pysam.FastaFile(str(directory / "demo.fa")) as fasta:
            residues = fasta.fetch("chr1", 100_000, 100_060)
        for words, command in commands:
            answered = printed_lines(command)
            if words[0] == "curl":
                text = "".join(answered)
                if "/sequence/" in command:
                    assert text == residues
                elif "/list/" in command:
                    assert json.loads(text)["pagination"]["total"] == 1
                else:
                    assert json.loads(text)["htsget"]["format"] == "BAM"
                continue
            if words[0] == "samtools":
                answered = [line for line in answered if line[:3] != "@PG"]
                answered = ["\t".join(line.split("\t")[:11]) for line in answered]
            assert answered, command
            assert answered == local_lines(directory, words), command
        assert stop(process) == 0
    assert not list(tmp_path.iterdir())


async def test_a_browser_may_read_the_tracks(tmp_path: Path, pristine_demo: Path) -> None:
    with demo("--port", "0", "--directory", str(pristine_demo), cwd=tmp_path) as (lines, process):
        tracks = [json.loads(line) for line in lines if line.startswith("{")]
        assert [track["type"] for track in tracks] == ["alignment", "variant"]
        async with aiohttp.ClientSession(headers={"Origin": "https://example.org"}) as session:
            for track in tracks:
                async with session.get(track["url"], params={"class": "header"}) as response:
                    assert response.headers["Access-Control-Allow-Origin"] in (
                        "*",
                        "https://example.org",
                    )
                    ticket = json.loads(await response.text())["htsget"]
                    assert ticket["format"] == track["format"].upper()
        assert stop(process) == 0


def test_a_taken_port_is_said_and_another_found(tmp_path: Path, pristine_demo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = f"""
import sys
from server.cli import demo, run
demo.DEFAULT_PORT = {port}
sys.exit(run(sys.argv[1:]))
"""
        arguments = ("--directory", str(pristine_demo))
        with demo(*arguments, cwd=tmp_path, code=code) as (lines, process):
            assert lines[0].startswith("htsgate serves ")
            assert not lines[0].endswith(f":{port}")
            assert stop(process) == 0
            assert process.stderr is not None
            assert f"port {port} is taken" in process.stderr.read()


def test_a_port_that_was_asked_for_is_not_replaced(tmp_path: Path, pristine_demo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ("--directory", str(pristine_demo), "--port", port)
        with demo(*arguments, cwd=tmp_path) as (lines, process):
            assert not lines
            assert process.wait(timeout=30) == 2
            assert process.stderr is not None
            assert f"127.0.0.1:{port} is taken" in process.stderr.read()


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "file/below"):
        with pytest.raises(ConfigurationError, match="not a directory"):
            prepare(tmp_path / name)


def test_an_end_while_the_data_are_made_leaves_nothing(tmp_path: Path) -> None:
    code = """
import os, signal, sys
import server.cli.demo as demo
from server.cli import run
demo.make_demo_data = lambda directory: os.kill(os.getpid(), signal.SIGTERM)
sys.exit(run(sys.argv[1:]))
"""
    with demo(cwd=tmp_path, code=code) as (lines, process):
        assert not lines
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def digests(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES}


def test_the_data_are_the_same_every_time(pristine_demo: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(pristine_demo)


def test_the_data_are_kept_and_mended(demo_files: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo_files.iterdir()}
    prepare(demo_files)
    assert {path: path.stat().st_mtime_ns for path in demo_files.iterdir()} == before
    expected = digests(demo_files)
    (demo_files / "demo.bam").unlink()
    prepare(demo_files)
    assert digests(demo_files) == expected
    assert set(demo_files.iterdir()) == set(before)


@pytest.mark.parametrize("name", ["demo.bam", "demo.vcf.gz.tbi", "htsgate-demo.json"])
def test_files_of_others_are_not_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text('"mine"')
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run(["demo", "--directory", str(tmp_path)]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "was not made by a demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '"mine"'


def test_the_reads_are_what_they_claim(pristine_demo: Path) -> None:
    with (
        pysam.AlignmentFile(str(pristine_demo / "demo.bam")) as reads,
        pysam.FastaFile(str(pristine_demo / "demo.fa")) as fasta,
    ):
        assert dict(zip(reads.references, reads.lengths, strict=True)) == CONTIGS
        every = list(reads.fetch(until_eof=True))
        places = [(read.reference_id % 4, read.reference_start) for read in every]
        assert places == sorted(places)
        spliced = sum("N" in (read.cigarstring or "") for read in every)
        unplaced = sum(read.reference_id < 0 for read in every)
        lonely = sum(read.is_unmapped and read.reference_id >= 0 for read in every)
        assert min(spliced, unplaced, lonely) > 100
        bases = mismatches = 0
        for read in reads.fetch("chrM"):
            sequence = fasta.fetch("chrM", read.reference_start, read.reference_end)
            for at, place in read.get_aligned_pairs(matches_only=True):
                bases += 1
                mismatches += (read.query_sequence or "")[at] != sequence[
                    place - read.reference_start
                ]
        assert 0.001 < mismatches / bases < 0.02


def test_reads_and_variants_agree_in_both_formats(pristine_demo: Path) -> None:
    with (
        pysam.AlignmentFile(str(pristine_demo / "demo.bam")) as bam,
        pysam.AlignmentFile(
            str(pristine_demo / "demo.cram"), reference_filename=str(pristine_demo / "demo.fa")
        ) as cram,
    ):
        columns = [
            ["\t".join(read.to_string().split("\t")[:11]) for read in file.fetch(until_eof=True)]
            for file in (bam, cram)
        ]
        assert columns[0] == columns[1]
        assert "UR:" not in str(cram.header)
    with (
        pysam.VariantFile(str(pristine_demo / "demo.vcf.gz")) as vcf,
        pysam.VariantFile(str(pristine_demo / "demo.bcf")) as bcf,
    ):
        lines = [[str(record) for record in file] for file in (vcf, bcf)]
        assert lines[0] == lines[1]
        assert any("<DEL>" in line and "END=" in line for line in lines[0])
