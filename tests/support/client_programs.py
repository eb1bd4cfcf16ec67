"""Programs of others that are clients of ours: whether they are here, and what they answer."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.demo_site import client_environment

ROOT = Path(__file__).parents[2]
OVER_HTTP = "I understand the risks"
"""Without this text in HTS_ALLOW_UNENCRYPTED_AUTHORIZATION_HEADER htslib keeps a token to https."""


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it printed; its exit status must be 0."""
        assert self.status == 0, self.err
        return self.out.splitlines()


def run(*words: str | Path, **settings: str | Path) -> Done:
    """Run a client to its end, with `settings` and none of ours in its environment, away from the
    checkout: some write files where they are."""
    with tempfile.TemporaryDirectory(prefix="client-") as directory:
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            errors="replace",
            env=client_environment(**settings),
            cwd=directory,
            timeout=120,
            check=False,
        )
    return Done(done.returncode, done.stdout, done.stderr)


def run_python(code: str, *words: str | Path, **settings: str | Path) -> Done:
    """Run a program in Python, with what is installed for us, pysam for one."""
    return run(sys.executable, "-c", code, *words, **settings)


def need(*programs: str) -> None:
    """Skip where a program is not installed."""
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)}")


def need_samtools() -> None:
    """Skip where there is no samtools that opens URLs."""
    need("samtools")
    if "libcurl=yes" not in run("samtools", "--version").out:
        pytest.skip("samtools was built without libcurl")


def need_libcurl() -> None:
    """Skip where pysam cannot open URLs."""
    try:
        ctypes.CDLL("libcurl.so.4")
    except OSError:
        pytest.skip("pysam opens no URL without libcurl.so.4 (Debian: libcurl4)")


def htsget_program() -> Path:
    """The `htsget` client of the Python package of that name, or skip."""
    python = Path(os.environ.get("HTSGATE_CLIENTS_PYTHON", ROOT / ".venv-clients/bin/python"))
    program = python.with_name("htsget")
    if not program.is_file():
        pytest.skip("the htsget client is not installed: make clients")
    return program


def htslib_of_samtools() -> tuple[int, int]:
    """The release of htslib that samtools runs on."""
    found = re.search(r"Using htslib (\d+)\.(\d+)", run("samtools", "--version").out)
    assert found
    return int(found[1]), int(found[2])
