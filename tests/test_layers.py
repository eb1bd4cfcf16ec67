"""The rules of CONTRIBUTING.md that a machine can check: who imports whom, sizes and names."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("server", "formats", "storage_backends", "auth")
FIRST_PARTY = {*PACKAGES, "benchmarks", "conformance", "tests"}

# What no module below a folder may import; a name stands for all that lies below it too.
FORBIDDEN = {
    "formats/": {"asyncio", *FIRST_PARTY - {"formats"}},
    "storage_backends/": {"aiohttp.web", "jwt", "pydantic", "pydantic_settings", "pysam"}
    | (FIRST_PARTY - {"storage_backends"}),
    "auth/": {"aiohttp", "boto3", "pydantic", "pydantic_settings", "pysam"}
    | (FIRST_PARTY - {"auth", "formats"}),
    "server/": {"benchmarks", "tests"},
    "server/htsget/": {"pydantic", "pydantic_settings", "pysam"},
    "conformance/": FIRST_PARTY - {"conformance"},
}

# All that the formats may import besides the standard library, and what auth may use of them.
FORMATS_MAY_USE = {"formats", "numpy", "deflate"}
AUTH_MAY_USE = "formats.regions"

# What may be imported in these places only. Tests and benchmarks compose as they like.
ENTRIES = ("server/__main__.py", "server/cli/", "server/serve.py")
RESERVED = {
    "aiohttp.web": ("server/",),
    "conformance": ("conformance/", "server/cli/"),
    "server.app": ENTRIES,
    "server.config": (*ENTRIES, "server/app.py", "server/storage.py"),
}

VAGUE = {"common", "helper", "helpers", "misc", "util", "utils"}
MOST_LINES = 400


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def place(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


def imports(source: str) -> Iterator[str]:
    """Every dotted name that is imported, at the top or in a function, for types or for real."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{a.name}" for a in node.names)


def within(name: str, other: str) -> bool:
    return name == other or name.startswith(other + ".")


def allowed(where: str, name: str) -> bool:
    if name.startswith("."):
        return False
    for folder, forbidden in FORBIDDEN.items():
        if where.startswith(folder) and any(within(name, other) for other in forbidden):
            return False
    for reserved, places in RESERVED.items():
        if within(name, reserved) and not where.startswith(places):
            return False
    if where.startswith("formats/"):
        top = name.partition(".")[0]
        return top in sys.stdlib_module_names or top in FORMATS_MAY_USE
    if where.startswith("auth/") and within(name, "formats"):
        return within(name, AUTH_MAY_USE)
    return True


@pytest.mark.parametrize("folder", [*PACKAGES, "conformance"])
def test_arrows_point_down(folder: str) -> None:
    found = {place(module): module.read_text() for module in modules(folder)}
    assert found, f"no module below {folder}: is this the right place?"
    wrong = [
        f"{where} imports {name}"
        for where, source in found.items()
        for name in imports(source)
        if not allowed(where, name)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("where", "source", "fine"),
    [
        ("formats/bam.py", "import zlib, numpy.lib", True),
        ("formats/bam.py", "from deflate import gzip_compress", True),
        ("formats/bam.py", "import pysam", False),
        ("formats/bam.py", "from asyncio import run", False),
        ("formats/bam.py", "from . import bgzf", False),
        ("storage_backends/s3.py", "from aiohttp import ClientSession", True),
        ("storage_backends/s3.py", "from aiohttp import web", False),
        ("storage_backends/s3.py", "from formats.regions import Region", False),
        ("auth/policy.py", "from formats.regions import Region", True),
        ("auth/policy.py", "from formats import bam", False),
        ("auth/policy.py", "def load():\n    import server", False),
        ("server/app.py", "from server.config import Settings", True),
        ("server/catalog.py", "from server.config import Settings", False),
        ("server/catalog.py", "from server import app", False),
        ("server/__main__.py", "from server.app import create_app", True),
        ("server/htsget/routes.py", "from aiohttp import web", True),
        ("server/cli/__init__.py", "from conformance.cli import command", True),
        ("server/serve.py", "from conformance.cli import command", False),
        ("server/app.py", "import conformance", False),
        ("conformance/client.py", "import aiohttp", True),
        ("conformance/client.py", "import formats.bam", False),
    ],
)
def test_the_rules_bite(where: str, source: str, fine: bool) -> None:
    assert all(allowed(where, name) for name in imports(source)) is fine


def test_modules_are_small() -> None:
    held = [module for folder in (*PACKAGES, "conformance") for module in modules(folder)]
    lines = {place(module): len(module.read_text().splitlines()) for module in held}
    assert not {where: count for where, count in lines.items() if count > MOST_LINES}


def test_names_say_something() -> None:
    every = [module.relative_to(ROOT) for folder in FIRST_PARTY for module in modules(folder)]
    assert not [path for path in every if VAGUE & {path.stem, *path.parts}]
