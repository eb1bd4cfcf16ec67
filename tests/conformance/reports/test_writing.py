"""Reports reach their places, or it is said which did not."""

import sys
from pathlib import Path

import pytest

from conformance.reports.writing import Targets, Unwritable


def test_files_and_standard_output(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    targets = Targets({"json": str(tmp_path / "r.json"), "html": "-"})
    targets.check()
    assert targets.takes_output
    targets.write({"json": lambda: "ünï\ud800", "junit": lambda: "unwanted", "html": lambda: "日"})
    assert (tmp_path / "r.json").read_bytes() == "ünï\\ud800".encode()
    assert capsysbinary.readouterr().out == "日".encode()


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"json": "-", "junit": "-"}, "json and junit cannot both"),
        ({"html": "."}, "is a directory"),
        ({"html": "no/such/directory/page.html"}, "is in no directory that exists"),
    ],
)
def test_what_will_not_work_is_said_before(places: dict[str, str], reason: str) -> None:
    with pytest.raises(Unwritable, match=reason):
        Targets(places).check()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_keeps_no_other_report_from_being_written(tmp_path: Path) -> None:
    targets = Targets({"json": "/dev/full", "html": str(tmp_path / "page.html")})
    targets.check()
    with pytest.raises(Unwritable, match="the json report: /dev/full: No space left"):
        targets.write({"json": lambda: "a", "html": lambda: "b"})
    assert (tmp_path / "page.html").read_text() == "b"
