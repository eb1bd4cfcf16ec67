"""The demo's files to work on, and no settings from the environment."""

import os
import shutil
from pathlib import Path

import pytest

from server.cli.demo import prepare


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def pristine_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's files; not to be changed."""
    directory = tmp_path_factory.mktemp("demo")
    prepare(directory)
    return directory


@pytest.fixture
def demo_files(pristine_demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo's files, times included, for a test to spoil."""
    return shutil.copytree(pristine_demo, tmp_path / "data")


@pytest.fixture
def open_files(demo_files: Path) -> Path:
    """Those of them that are open to all."""
    for folder in ("clinic", "access"):  # the second where the demo was served from it
        shutil.rmtree(demo_files / folder, ignore_errors=True)
    return demo_files
