"""`check`, `explain` and `index` of locations in S3 and behind HTTP."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from server.cli import run
from tests.support.faulty_store import FaultyStore, faulty_store
from tests.support.stores import RunningStore, StaticStore, logged_static_store


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """The exit status, and what was printed as JSON."""
    capsys.readouterr()
    status = run([arguments[0], "--json", *arguments[1:]])
    return status, json.loads(capsys.readouterr().out)


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status, document = asked(capsys, "check", *arguments)
    return status, {report["file"].rpartition("/")[2]: report for report in document["files"]}


def said(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["severity"], each["about"]) for each in report["findings"]]


@pytest.fixture
def bucket(moto_store: RunningStore, open_files: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with the demo's files in a folder, for whoever reads the environment."""
    bucket = moto_store.new_bucket()
    moto_store.put_tree(bucket, open_files, "some/where/")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_store.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", moto_store.region)
    return bucket


@pytest.fixture
def folder(static_store: StaticStore, open_files: Path) -> str:
    """The URL of a folder with the demo's files."""
    folder = uuid.uuid4().hex
    static_store.put_tree(open_files, f"{folder}/")
    return f"{static_store.endpoint_url}/{folder}"


@pytest.fixture
def faulty() -> Iterator[FaultyStore]:
    with faulty_store() as store:
        yield store


def test_a_bucket_is_checked_like_a_directory(
    bucket: str, open_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, local = checked(capsys, str(open_files))
    status, reports = checked(capsys, f"s3://{bucket}/some/where")
    assert status == 0
    for name, report in reports.items():
        assert report["file"] == f"s3://{bucket}/some/where/{name}"
        assert {**report, "file": ""} == {**local[name], "file": ""}
    assert set(reports) == set(local)
    assert len(reports) == 5


def test_what_is_wrong_in_a_bucket(
    bucket: str, moto_store: RunningStore, capsys: pytest.CaptureFixture[str]
) -> None:
    moto_store.delete(bucket, "some/where/demo.bcf.csi")
    moto_store.delete(bucket, "some/where/demo.fa.fai")
    moto_store.put(bucket, "some/where/words.bam", b"no BAM at all, but words\n" * 10)
    status, reports = checked(capsys, f"name=s3://{bucket}/some")
    assert status == 1
    assert said(reports["demo.bcf"]) == [("problem", "index")]
    assert said(reports["demo.fa"]) == [("note", "fasta")]
    assert said(reports["words.bam"]) == [("problem", "header")]
    assert said(reports["demo.cram"]) == [("problem", "references")]
    assert not reports["demo.bam"]["findings"]
    assert reports["demo.bam"]["id"] == "name/where/demo"


def test_a_prefix_without_files(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nothing").mkdir()
    for location in (f"s3://{bucket}/nothing", str(tmp_path / "nothing")):
        status, document = asked(capsys, "check", location)
        assert status == 0
        (report,) = document["files"]
        assert report["file"] == location
        assert "holds no BAM" in report["findings"][0]["message"]


@pytest.mark.parametrize("kind", ["bam", "cram", "vcf", "bcf"])
def test_regions_are_explained_as_on_disk(
    kind: str, bucket: str, folder: str, open_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = "reads" if kind in ("bam", "cram") else "variants"
    arguments = ("demo", "chr1:50,001-60,000", "--endpoint", endpoint, "--format", kind)
    fasta = f"{folder}/demo.fa"
    _, local = asked(capsys, "explain", *arguments, str(open_files))
    assert local["records"] > 0
    for location in (f"s3://{bucket}/some/where", folder):
        status, told = asked(capsys, "explain", *arguments, location, fasta)
        assert status == 0
        assert told.pop("file") == f"{location}/{Path(local['file']).name}"
        assert told == {name: value for name, value in local.items() if name != "file"}


def test_a_web_folder_cannot_be_listed(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["check", folder]) == 0
    _, line, total = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{folder}/\t-\t-\t-\ta web folder cannot be listed")
    assert total == "1 file, 0 problems, 1 note"


def test_files_of_a_web_folder(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"{folder}/demo.{kind}" for kind in ("bam", "cram", "fa")]
    status, reports = checked(capsys, *files)
    assert status == 0
    assert {name: report["index"] for name, report in reports.items()} == {
        "demo.bam": "demo.bam.bai",
        "demo.cram": "demo.cram.crai",
        "demo.fa": "demo.fa.fai",
    }
    status, reports = checked(capsys, files[1], f"{folder}/gone.bam")
    assert status == 1
    assert said(reports["demo.cram"]) == [("problem", "references")]
    assert said(reports["gone.bam"]) == [("problem", "file")]


def test_a_token_is_not_shown(
    static_store: StaticStore, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", f"{folder}/demo.bam?sig=SECRET"]) == 0
    assert run(["explain", "demo", "chr1:1-500", f"{folder}?sig=SECRET"]) == 0
    assert run(["index", f"{folder}?sig=SECRET"]) == 2
    assert run(["check", f"{folder}/none.bam?sig=SECRET"]) == 1
    printed = capsys.readouterr()
    assert "demo.bam" in printed.out
    assert "SECRET" not in printed.out + printed.err


def test_a_store_that_stops_answering_is_told_of_once(
    static_store: StaticStore,
    moto_store: RunningStore,
    bucket: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is listed, and then busy for good."""
    with logged_static_store(
        StaticStore("moto", "", moto_store.direct_url, static_store.directory)
    ) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.endpoint_url)

        async def rule(request: web.Request) -> web.Response | None:
            lists = request.method == "GET" and "list-type" in request.query
            return None if lists else web.Response(status=503)

        store.log.rule = rule
        status, document = asked(capsys, "check", f"s3://{bucket}")
    assert status == 1
    (report,) = document["files"]
    assert report["file"] == f"s3://{bucket}"
    assert said(report) == [("problem", "location")]
    assert "not every file was looked at" in report["findings"][0]["message"]


def test_a_bucket_that_may_not_be_listed(
    static_store: StaticStore,
    moto_store: RunningStore,
    bucket: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ids are served and explained; only what is there is not known."""
    with logged_static_store(
        StaticStore("moto", "", moto_store.direct_url, static_store.directory)
    ) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.endpoint_url)

        async def rule(request: web.Request) -> web.Response | None:
            if "list-type" not in request.query:
                return None
            text = "<Error><Code>AccessDenied</Code></Error>"
            return web.Response(status=403, text=text, content_type="application/xml")

        store.log.rule = rule
        location = f"s3://{bucket}/some/where"
        status, document = asked(capsys, "check", location)
        assert status == 1
        (report,) = document["files"]
        assert "cannot be listed: " in report["findings"][0]["message"]
        assert "Ids work all the same" in report["findings"][0]["message"]
        assert asked(capsys, "explain", "demo", "chr1:1-500", location)[0] == 0
        status, document = asked(capsys, "check", f"{location}/demo.bam")
        assert status == 0


def test_bad_locations_are_one_line(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for location, message in (
        ("https://no.such.host.invalid/data", "its host name is not known"),
        ("http://127.0.0.1:9/data", "no connection can be made"),
        (f"s3://{bucket}-not", "there is no such bucket"),
    ):
        status, document = asked(capsys, "check", location)
        assert status == 1
        (report,) = document["files"]
        assert message in report["findings"][0]["message"]
    for location, message in (
        ("https://no.such.host.invalid/data", "htsgate: demo: the store does not answer: its host"),
        (f"s3://{bucket}-not/x", "htsgate: demo: no such object"),
        ("s3://Bad_/x", "htsgate: s3://Bad_/x: this is not the name of a bucket"),
    ):
        assert run(["explain", "demo", "chr1:1-500", location]) in (1, 2)
        error = capsys.readouterr().err
        assert error.startswith(message)
        assert error.count("\n") == 1
    config = tmp_path / "htsgate.toml"
    config.write_text(f'[[locations]]\nurl = "s3://{bucket}"\nprofile = "nobody"\n')
    for command in (["check"], ["explain", "demo", "chr1"]):
        assert run([*command, "--config", str(config)]) == 2
        error = capsys.readouterr().err
        assert "nobody" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("location", ["s3://bucket/prefix", "https://host/file.bam?token=x"])
def test_index_wants_files_on_disk(location: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", location]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"htsgate: {location.partition('?')[0]}: indexes are written next to")
    assert "before you upload" in error


async def busy(_: web.Request) -> web.Response:
    return web.Response(status=503)


def test_a_server_that_is_busy(faulty: FaultyStore, capsys: pytest.CaptureFixture[str]) -> None:
    faulty.rule = busy
    for location in (f"{faulty.url}/data", f"{faulty.url}/data/x.bam"):
        status, document = asked(capsys, "check", location)
        assert status == 1
        (report,) = document["files"]
        assert "does not answer now" in report["findings"][0]["message"]
