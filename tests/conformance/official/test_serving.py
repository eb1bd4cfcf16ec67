"""What the suites ask for is served, and a server that does not have it is not judged."""

from pathlib import Path

import pytest

from conformance.official import htsget, refget
from conformance.official.serving import NotServed, await_data, serving, write_settings


def test_what_the_suites_of_refget_ask_for_is_served(tmp_path: Path, shared_data: Path) -> None:
    served = write_settings(tmp_path)
    refget.write_sequences(served, shared_data / "refget-compliance")
    refget.write_collections(served, tmp_path)
    assert len(list(served.iterdir())) == 3 + len(refget.COLLECTIONS)
    with serving(tmp_path) as url:
        await_data(url, refget.SEQUENCES_READY + refget.COLLECTIONS_READY, 60)


def test_what_the_suite_of_htsget_asks_for_is_served(tmp_path: Path, shared_data: Path) -> None:
    source = tmp_path / "source"
    for file in htsget.FILES:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        folders = ("reads", "cram", "variants")
        places = (shared_data / folder / Path(file).name for folder in folders)
        (source / file).write_bytes(next(place for place in places if place.exists()).read_bytes())
    htsget.write_files(write_settings(tmp_path), source)
    with serving(tmp_path) as url:
        await_data(url, htsget.READY, 60)


def test_collections_are_served_without_sequences(tmp_path: Path) -> None:
    refget.write_collections(write_settings(tmp_path), tmp_path)
    with serving(tmp_path) as url:
        await_data(url, refget.COLLECTIONS_READY, 60)


def test_a_server_without_the_data_is_not_judged(tmp_path: Path) -> None:
    write_settings(tmp_path)
    with serving(tmp_path) as url, pytest.raises(NotServed, match="status 404"):
        await_data(url, htsget.READY, seconds=1)
    with pytest.raises(NotServed, match="status 0"):
        await_data(url, htsget.READY, seconds=0)


def test_a_server_that_does_not_start_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "htsgate.toml").write_text("nonsense = 1\n")
    with pytest.raises(NotServed), serving(tmp_path):
        pass
