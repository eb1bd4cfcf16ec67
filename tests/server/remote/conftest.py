"""Folders in stores, filled with the small files of the server's tests."""

import os
import random
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

from tests.formats.byte_records import bam_record
from tests.server.remote.places import Place, place_in_bucket, place_over_http
from tests.server.slicing.sorted_streams import drawn_reads, make_bam, make_vcf, vcf_text
from tests.support.stores import (
    RunningStore,
    StaticStore,
    logged_static_store,
    logged_store,
)

SERVED = ("reads.bam", "reads.cram", "variants.vcf.gz", "wide.bam")


@pytest.fixture(scope="session")
def logged_s3(s3_store: RunningStore) -> Iterator[RunningStore]:
    with logged_store(s3_store) as store:
        yield store


@pytest.fixture(scope="session")
def logged_http(static_store: StaticStore) -> Iterator[StaticStore]:
    with logged_static_store(static_store) as store:
        yield store


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing to the server under test."""
    for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def files(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small files, and one whose reads lie as a genome's do: a slice has an interior."""
    home = tmp_path_factory.mktemp("files")
    for name in SERVED:
        for path in data.glob(f"{name}*"):
            shutil.copy(path, home)
    _make_wide(home, 8)
    return home


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other files of the same names."""
    home = tmp_path_factory.mktemp("newer")
    verbosity = pysam.set_verbosity(0)
    make_bam(home / "reads.bam", drawn_reads(130), 900)
    options = ("-C", "--output-fmt-option", "no_ref=1", "-o", str(home / "reads.cram"))
    pysam.view(*options, str(home / "reads.bam"), catch_stdout=False)
    pysam.index(str(home / "reads.cram"))
    make_vcf(home / "variants.vcf.gz", vcf_text(130), 900)
    (home / "variants.vcf").unlink(missing_ok=True)
    pysam.set_verbosity(verbosity)
    _make_wide(home, 9)
    return home


def _make_wide(home: Path, seed: int) -> None:
    draw = random.Random(seed)
    reads = [
        bam_record(0, 100 + at * 110, [(90, "M")], name=b"w%d\0" % at, tail=draw.randbytes(900))
        for at in range(8_000)
    ]
    make_bam(home / "wide.bam", reads, 60_000)


@pytest.fixture(params=["s3", "http"])
def empty_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A folder in each kind of store, without objects."""
    if request.param == "s3":
        place = place_in_bucket(request.getfixturevalue("logged_s3"))
    else:
        place = place_over_http(request.getfixturevalue("logged_http"), uuid.uuid4().hex)
    yield _reset(place)
    _reset(place)


@pytest.fixture
def place(empty_place: Place, files: Path) -> Place:
    """The same with a file of each format, and their indexes."""
    fill(empty_place, files)
    return empty_place


def fill(place: Place, files: Path) -> None:
    """Put the files of a directory there."""
    for path in sorted(files.iterdir()):
        if path.is_file():
            place.put(path.name, path)


def _reset(place: Place) -> Place:
    log = place.log
    log.rule, log.hold_after, log.cut_after = None, None, None
    log.clear()
    return place
