"""The scripts in node/, which drive JavaScript clients, where Node and what they import are found.

`make clients` installs that into node/node_modules; HTSGATE_NODE_MODULES names another place.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_programs import Done, run

_SCRIPTS = Path(__file__).with_name("node")
_OLDEST = 18
_FINISHED = ".package-lock.json"  # npm writes it when all is there


def installed_scripts(directory: Path) -> Path:
    """`directory`, with the scripts and what they import below it; skips where that is missing."""
    if shutil.which("node") is None:
        pytest.skip("not on PATH: node")
    release = run("node", "--version").out.strip()
    if int(release.removeprefix("v").partition(".")[0]) < _OLDEST:
        pytest.skip(f"Node {release} is older than {_OLDEST}")
    modules = Path(os.environ.get("HTSGATE_NODE_MODULES", _SCRIPTS / "node_modules"))
    if not (modules / _FINISHED).exists():
        pytest.skip("the JavaScript clients are not installed: make clients")
    for script in (_SCRIPTS / "package.json", *_SCRIPTS.glob("*.js")):
        shutil.copy(script, directory)
    (directory / "node_modules").symlink_to(modules.absolute())
    return directory


def run_script(script: Path, asked: Mapping[str, Any], **settings: str | Path) -> Done:
    """Run a script to its end: what it is asked, and what it prints, is JSON."""
    return run("node", script, json.dumps(asked), **settings)
