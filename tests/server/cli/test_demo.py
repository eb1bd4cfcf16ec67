import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pysam
import pytest

from server.cli import run
from server.cli.demo import _FILES as FILES
from server.cli.demo import prepare
from server.cli.demo_clinic import prepare_clinic
from server.config import ConfigurationError, load_settings
from server.demo_data import CONTIGS

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
        opened = lines[: lines.index("export DEMO=" + shlex.quote(str(directory / "access")))]
        printed = [(shlex.split(line), line) for line in opened if not line.startswith("{")]
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


def in_one_shell(lines: list[str], process: subprocess.Popen[str]) -> list[tuple[str, int, str]]:
    """The commands for the clinic, in the order in which they are printed, as one shell runs them:
    each with its exit status and what it printed."""
    begin = next(at for at, line in enumerate(lines) if line.startswith("export DEMO="))
    script, commands = "", []
    for line in lines[begin:-1]:
        if line.startswith("export"):
            script += f"{line}\n"
        elif line and not line.startswith("#"):
            commands.append(line)
    found = []
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", script + command],
            capture_output=True,
            text=True,
            cwd=_ROOT,
            check=False,
        )
        found.append((command, done.returncode, done.stdout))
        if "withdraw" in command or "restore" in command:
            time.sleep(1)  # the server looks several times a second
    assert process.poll() is None
    return found


def error_of(answer: str) -> str:
    error: str = json.loads(answer)["htsget"]["error"]
    return error


@pytest.mark.security("TL3")
def test_every_printed_command_for_controlled_data_works(
    tmp_path: Path, pristine_demo: Path
) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)}")
    with demo("--port", "0", "--directory", str(pristine_demo), cwd=tmp_path) as (lines, process):
        done = in_one_shell(lines, process)
        assert [command.split()[0] for command, *_ in done[:4]] == [
            "curl",
            "samtools",
            "bcftools",
            "curl",
        ]
        nobody, reads, variants, outside, why, trail, report, gone, hidden, back = done
        assert error_of(nobody[2]) == "InvalidAuthentication"
        with pysam.AlignmentFile(str(pristine_demo / "clinic" / "case-7.bam")) as bam:
            expected = [read.query_name for read in bam.fetch("chr2", 40_000, 40_200)]
            secrets = ("Jane", "JANE", "ward", "dr-smith")
            assert all(secret in str(bam.header) for secret in secrets)
        header = [line for line in reads[2].splitlines() if line.startswith("@")]
        assert expected == [
            line.split("\t")[0] for line in reads[2].splitlines() if line not in header
        ]
        shown = "\n".join(line for line in header if "CL:samtools" not in line)
        assert not any(secret in shown for secret in secrets)
        with pysam.VariantFile(str(pristine_demo / "clinic" / "case-7.vcf.gz")) as vcf:
            assert "Jane" in str(vcf.header)
            sites = [str(each.pos) for each in vcf.fetch("chr2", 40_000, 60_000)]
        assert [line.split("\t")[1] for line in variants[2].splitlines()] == sites
        assert "Jane" not in printed_text(variants[0].replace("view -H", "view -h"), lines)
        assert error_of(outside[2]) == "PermissionDenied"
        assert (why[1], "region.not_granted" in why[2]) == (1, True)
        assert trail[1] == report[1] == 0
        assert "region.not_granted" in trail[2]
        assert "G-1" in report[2]
        assert (gone[1], "2 objects" in gone[2]) == (0, True)
        assert error_of(hidden[2]) == "NotFound"
        assert back[1] == 0
        again = in_one_shell([*lines[: lines.index(reads[0]) + 1], ""], process)
        assert again[-1] == reads
        assert stop(process) == 0
    assert (pristine_demo / "access" / "token").stat().st_mode & 0o077 == 0


def printed_text(command: str, lines: list[str]) -> str:
    """What a command prints in a shell that knows the demo's variables."""
    script = "\n".join(line for line in lines if line.startswith("export"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{script}\n{command}"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_what_controls_the_clinic_is_kept(tmp_path: Path, demo_files: Path) -> None:
    arguments = ("--port", "0", "--directory", str(demo_files))
    with demo(*arguments, cwd=tmp_path) as (_, process):
        assert stop(process) == 0
    policy = demo_files / "access" / "policy.toml"
    names = ("policy.toml", "samples.csv", "issuer-key.pem", "issuer-jwks.json")
    policy.write_text(policy.read_text() + "# mine\n")
    before = [(policy.parent / name).read_bytes() for name in names]
    token = (policy.parent / "token").read_text()
    with demo(*arguments, cwd=tmp_path) as (_, process):
        assert [(policy.parent / name).read_bytes() for name in names] == before
        assert (policy.parent / "token").read_text() != token
        assert stop(process) == 0
    policy.write_text("mine")
    with demo(*arguments, cwd=tmp_path) as (lines, process):
        assert not lines
        assert process.wait(timeout=30) == 2


def test_where_others_may_come_there_are_no_controlled_data(
    tmp_path: Path, pristine_demo: Path
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - what is tested
    arguments = ("--port", "0", "--host", everywhere, "--directory", str(pristine_demo))
    with demo(*arguments, cwd=tmp_path) as (lines, process):
        assert any(line.startswith("Controlled data are for 127.0.0.1 alone") for line in lines)
        assert not any("clinic" in line for line in lines)
        (url,) = (line.split()[-1] for line in lines if line.startswith("htsgate serves"))
        here = url.replace(everywhere, "127.0.0.1")
        answer = printed_text(f'curl "{here}/reads/clinic/case-7"', [])
        assert error_of(answer) == "NotFound"
        assert stop(process) == 0


def test_the_settings_of_the_demo_serve_it(tmp_path: Path, pristine_demo: Path) -> None:
    settings = prepare_clinic(pristine_demo, ("demo.bam",))
    assert load_settings(pristine_demo / "access" / "htsgate.toml", {}) == settings
    assert [settings.is_controlled(each) for each in settings.locations] == [False, True]


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


@pytest.mark.parametrize("name", ["demo.bam", "demo.vcf.gz.tbi", "htsgate-demo.json", "access"])
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
