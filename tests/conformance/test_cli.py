"""The command: what it takes, what it says, and the status it ends with."""

import json
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pysam
import pytest

from conformance.case import Requirement
from conformance.cases import CASES
from conformance.cli import main
from conformance.dataset import load_dataset
from conformance.records import read
from server.cli import run as htsgate
from tests.conformance.breaking import changed
from tests.conformance.broken_server import (
    BrokenServer,
    Request,
    Response,
    Sound,
)
from tests.conformance.conftest import FEW
from tests.support.processes import ROOT, environment

pytestmark = pytest.mark.usefixtures("bare_environment")


def two_keys(request: Request, sound: Sound) -> Response:
    return changed(request, sound, lambda document: document.update(more=1))


def other_type(request: Request, sound: Sound) -> Response:
    return sound(request).having(content_type="application/json")


# -- exit statuses -----------------------------------------------------------------------------


def test_a_server_that_passes(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sound, *FEW]) == 0
    out, err = capsys.readouterr()
    first = out.splitlines()[0].split("\t")
    assert first[:3] == ["passed", "MUST", "htsget.ticket.single-key"]
    assert out.splitlines()[-1] == f"{sound} passes 2 cases of htsget 1.3 at level should"
    assert err == ""


def test_htsgate_has_the_same_command(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert htsgate(["conformance", sound, *FEW, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{sound} passes 2 cases of htsget 1.3 at level should\n"
    assert htsgate(["conformance"]) == 2


def test_a_server_that_fails(broken: BrokenServer, capsys: pytest.CaptureFixture[str]) -> None:
    broken.defect = two_keys
    assert main([broken.url, *FEW]) == 1
    out = capsys.readouterr().out
    assert out.startswith("failed\tMUST\thtsget.ticket.single-key\t")
    assert "with the keys ['htsget', 'more']" in out
    assert "does not pass 2 cases of htsget 1.3 at level should; 1 failure" in out


@pytest.mark.parametrize(("level", "status"), [("must", 0), ("should", 1), ("exact", 1)])
def test_the_level_decides(
    broken: BrokenServer, capsys: pytest.CaptureFixture[str], level: str, status: int
) -> None:
    broken.defect = other_type
    assert main([broken.url, *FEW, "--level", level]) == status
    assert ("1 warning" if status == 0 else "1 failure") in capsys.readouterr().out


def test_when_nothing_was_judged(
    sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nothing.toml").write_text('name = "nothing"')
    assert main([sound, *FEW, "--data", str(tmp_path / "nothing.toml")]) == 2
    assert "nothing could be judged" in capsys.readouterr().out


# -- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which server?"),
        (["host.example"], "is no URL"),
        (["ftp://host.example"], "is no URL"),
        (["http://"], "is no URL"),
        (["http://[::1"], "is no URL"),
        (["http://host:port"], "is no URL"),
        (["http://host/\x1b[31m"], "is no URL"),
        (["http://host/?a=b"], "without ? and #"),
        (["http://anna:hunter2@host"], "tokens are given by --token-file"),
        (["http://127.0.0.1:9"], "no server answers at http://127.0.0.1:9: Connection refused"),
        (["http://no-such-host.invalid"], "no server answers at http://no-such-host.invalid: "),
        (["URL", "--only", "htsget.tickte"], "no case is called htsget.tickte, and no group"),
        (["URL", "--only", "htsget.tickte"], "is it htsget.ticket?"),
        (["URL", "--skip", "zzz"], "no case is called zzz"),
        (["URL", "--only", "refget", "--skip", "refget"], "leaves out every case"),
        (["URL", "--data", "no-such.toml"], "no-such.toml: "),
        (["URL", "--data", "bad.toml"], "unknown: colour"),
        (["URL", "--data", "bad.toml", "--reads", "a"], "one of them says"),
        (["URL", "--reads", "a,VCF"], "formats are BAM and CRAM"),
        (["URL", "--variants", ",VCF"], "it is written ID,FORMAT"),
        (["URL", "--token-file", "no-such-token"], "no-such-token: No such file"),
        (["URL", "--token-file", "two-words"], "two-words: no token"),
        (["URL", "--ca", "bad.toml"], "bad.toml: no PEM certificates"),
        (["URL", "--ca", "no-such.pem"], "No such file"),
        (["URL", "--json", "no/such/report.json"], "the json report cannot be written"),
        (["URL", "--html", "."], "the html report cannot be written: . is a directory"),
        (["URL", "--html", "-", "--json", "-"], "cannot both go to standard output"),
        (["--digest", "bad.toml"], "its name ends with none of"),
        (["--digest", "no-such.bam"], "no-such.bam: no such file"),
        (["--digest", "broken.bam"], "htslib cannot read it"),
    ],
)
def test_one_sentence_says_what_is_wrong(
    sound: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text('colour = "red"')
    Path("two-words").write_text("two words")
    Path("broken.bam").write_bytes(b"no BAM")
    assert main([sound if each == "URL" else each for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("conformance: ")
    assert reason in err
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert "\x1b" not in err


@pytest.mark.parametrize("arguments", [["--timeout", "0"], ["--timeout", "nan"], ["--level", "x"]])
def test_values_are_checked(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["http://host", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_server_without_the_demo_is_not_failed_for_it(
    empty: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([empty.url]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "has no object `demo`" in err
    assert "--reads ID" in err


def test_a_server_of_sequences_needs_no_objects(
    empty: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([empty.url, "--only", "refget", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert "nothing could be judged" in out
    assert err == ""


def test_what_is_named_is_judged_though_it_is_not_there(
    empty: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([empty.url, "--reads", "a/b,bam,CRAM", *FEW]) == 1
    assert "GET /reads/a/b" in capsys.readouterr().out


# -- reports -------------------------------------------------------------------------------------


def test_reports_are_written_though_cases_fail(
    broken: BrokenServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.defect = two_keys
    places = {kind: tmp_path / f"r.{kind}" for kind in ("json", "junit", "html")}
    options = [text for kind, path in places.items() for text in (f"--{kind}", str(path))]
    assert main([broken.url, *FEW, *options]) == 1
    assert json.loads(places["json"].read_text())["status"] == "FAIL"
    assert ET.fromstring(places["junit"].read_text()).get("failures") == "1"  # noqa: S314
    assert "✗ failed" in places["html"].read_text()
    assert capsys.readouterr().err == ""


def test_a_report_on_standard_output_has_it_alone(
    sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([sound, *FEW, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "PASS"
    assert err.startswith("passed\tMUST\t")


def test_verbose_and_quiet(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sound, *FEW, "--verbose"]) == 0
    assert "\n\tGET /reads/demo 200\n" in capsys.readouterr().out
    assert main([sound, *FEW, "--quiet"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def command(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "conformance", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
        # A shell that runs the tests in the background has them, and so us, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_nobody_reads_on(sound: str, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    with command(sound, "--only", "htsget.ticket", "--json", str(report)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
    assert json.loads(report.read_text())["status"] == "PASS"


def test_ctrl_c_leaves_a_report_of_what_was_judged(empty: BrokenServer, tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    asked: list[str] = []

    def hangs(request: Request, _: Sound) -> Response:
        asked.append(request.path)
        if asked.count("/reads/a") == 2:
            reached.set()
            go_on.wait(60)
        return Response(500, {})

    empty.defect = hangs
    report = tmp_path / "r.json"
    with command(empty.url, "--reads", "a", *FEW, "--json", str(report)) as process:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        go_on.set()
    assert process.returncode == 130
    assert b"interrupted after 1 of " in out
    assert err == b""
    assert json.loads(report.read_text())["summary"]["failed"] == 1


def test_any_locale_will_do(broken: BrokenServer) -> None:
    def says_more(request: Request, sound: Sound) -> Response:
        return changed(request, sound, lambda document: document.update({"日本": 1}))

    broken.defect = says_more
    done = subprocess.run(
        [sys.executable, "-m", "conformance", broken.url, *FEW],
        capture_output=True,
        env={**environment(), "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert b"\\u65e5\\u672c" in done.stdout
    assert done.stderr == b""


# -- instead of judging --------------------------------------------------------------------------


def test_the_list_of_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [[each.name, each.requirement.name] for each in CASES]
    assert main(["--list", "--only", "htsget.ticket", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["name"].rpartition(".")[0] for each in found} == {"htsget.ticket"}
    assert {each["requirement"] for each in found} <= {each.name for each in Requirement}
    assert main(["--list", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("### htsget 1.3\n")


def test_the_servers_command_line_loads_no_library_of_the_suite() -> None:
    code = "import sys, server.cli; print(sorted({'pysam', 'rich', 'urllib3'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def test_a_digest_is_what_a_description_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.bam"
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr1", "LN": 1000}]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for start in (10, 20, 20):
            line = f"r\t0\tchr1\t{start}\t60\t4M\t*\t0\t0\tACGT\tIIII"
            out.write(pysam.AlignedSegment.fromstring(line, out.header))
    assert main(["--digest", str(path)]) == 0
    said = capsys.readouterr().out
    assert tomllib.loads(said)["truth"]["BAM"]["records"] == 3
    (tmp_path / "data.toml").write_text(f'[[reads]]\nid = "some"\n{said}')
    (described,) = load_dataset(tmp_path / "data.toml").objects
    assert described.truths["BAM"].digest == read(path, "BAM").digest
