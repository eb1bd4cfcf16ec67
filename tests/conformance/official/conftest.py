"""Where the public suites are installed, if they are."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def suites() -> Path:
    """The Python that has them: of `make conformance-suites`, or `CONFORMANCE_PYTHON`."""
    installed = Path(__file__).parents[3] / ".venv-conformance/bin/python"
    return Path(os.environ.get("CONFORMANCE_PYTHON", installed))
