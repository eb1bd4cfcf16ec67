"""What the documents say is true: settings, routes, commands, and the examples, which are run."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pysam
import pytest
from aiohttp import web
from pydantic import BaseModel

from server.app import create_app
from server.cli import command_line
from server.cli import run as run_command
from server.config import Settings, load_settings
from server.web.openapi import openapi
from tests.support.running_server import running

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = next(iter(get_args(field.annotation)), field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            many = get_origin(field.annotation) is tuple
            yield from settings(inner, f"{prefix}{name}{'[]' if many else ''}.")
        else:
            yield f"{prefix}{name}", field.default


def table(first_column: str) -> list[list[str]]:
    lines = README.split(f"| {first_column} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_settings_are_in_the_readme() -> None:
    documented = {
        name: row[1] for row in table("setting") for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert documented.keys() == {name for name, _ in settings(Settings)}


def test_defaults_in_the_readme_are_those_of_the_model() -> None:
    known = dict(settings(Settings))
    for names, defaults, *_ in table("setting"):
        shown = re.findall(r"`([^`]+)`", defaults)
        for name, text in zip(re.findall(r"`([^`]+)`", names), shown, strict=bool(shown)):
            value = known[name]
            expected = list(value) if isinstance(value, tuple) else value
            if isinstance(expected, float):
                expected = f"{expected:g}"
            assert text.replace('"', "'") == str(expected), name


TRUST = """
schema = "htsget-trust/1"
[[broker]]
issuer = "https://broker.example/"
flows = ["userinfo"]
audiences = ["htsgate"]
"""


@pytest.fixture
async def everything(tmp_path: Path) -> AsyncIterator[web.Application]:
    """An application that has all routes there are."""
    (tmp_path / "policy.toml").write_text('schema = "htsget-policy/1"')
    (tmp_path / "trust.toml").write_text(TRUST)
    values = {
        "locations": [{"url": str(tmp_path), "name": "study"}],
        "auth": {"policy": tmp_path / "policy.toml", "passports": tmp_path / "trust.toml"},
        "database": {"url": f"sqlite:///{tmp_path}/state.db"},
    }
    app = create_app(load_settings(None, values))
    runner = web.AppRunner(app)
    await runner.setup()
    yield app
    await runner.cleanup()


def routes_of(app: web.Application) -> dict[str, set[str]]:
    routes: dict[str, set[str]] = {}
    for route in app.router.routes():
        if isinstance(route.resource, web.Resource):
            path = re.sub(r"\{(\w+):.+?\}$", r"{\1}", route.resource.canonical)
            path = path.rstrip("/") or "/"  # refget's paths may end with a slash
            routes.setdefault(path, set()).add(route.method)
    return routes


async def test_routes_are_in_the_readme(everything: web.Application) -> None:
    documented = {
        path: set(row[1].split(", "))
        for row in table("path")
        for path in re.findall(r"`([^`]+)`", row[0])
    }
    assert documented == routes_of(everything)


async def test_routes_are_in_the_description(everything: web.Application) -> None:
    described = {
        path: {each.upper() for each in about} - {"PARAMETERS"}
        for path, about in openapi("1")["paths"].items()
    }
    routes = {
        path: methods - {"HEAD", "OPTIONS"}
        for path, methods in routes_of(everything).items()
        if path not in ("/", "/openapi.json")
    }
    assert described == routes


def test_commands_are_in_the_readme() -> None:
    parser = command_line()
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    documented = {re.findall(r"`htsgate (\w+)", row[0])[0] for row in table("command")}
    assert documented == set(commands.choices)


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the files that the README's examples ask for."""
    home = tmp_path_factory.mktemp("readme")
    (home / "cohort").mkdir()
    bam, vcf = home / "cohort" / "NA12878.bam", home / "cohort" / "calls.vcf.gz"
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": "chr20", "LN": 64_000_000}, {"SN": "chr21", "LN": 46_000_000}],
        }
    )
    with pysam.AlignmentFile(str(bam), "wb", header=header) as out:
        for number, start in enumerate((999_000, 1_000_500, 1_009_999, 1_010_000)):
            read = pysam.AlignedSegment(header)
            read.query_name, read.reference_id, read.reference_start = f"r{number}", 0, start
            read.query_sequence, read.cigartuples = "A" * 20, [(pysam.CMATCH, 20)]
            out.write(read)
    pysam.index(str(bam))
    variants = pysam.VariantHeader()
    variants.contigs.add("chr20", 64_000_000)
    with pysam.VariantFile(str(vcf), "w", header=variants) as calls:
        calls.write(calls.new_record(contig="chr20", start=1000, alleles=("A", "C")))
    pysam.tabix_index(str(vcf), preset="vcf")
    with running(create_app(load_settings(None, {"locations": [{"url": str(home)}]}))) as url:
        yield url


def run(command: list[str] | str, cwd: Path) -> str:
    shell = isinstance(command, str)
    done = subprocess.run(
        command, shell=shell, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def test_shell_examples(cohort: str, tmp_path: Path) -> None:
    tried = []
    for block in examples("sh"):
        for command in re.sub(r"\n  +", " ", block).splitlines():
            program = command.split(" ", 1)[0]
            if program in ("samtools", "bcftools", "curl") and shutil.which(program):
                asked = command.replace("http://127.0.0.1:8080", cohort)
                tried.append((command, run(asked, tmp_path)))
    if not tried:
        pytest.skip("neither samtools nor bcftools nor curl is installed")
    for command, output in tried:
        if command.startswith("samtools view -H"):
            assert "SN:chr20" in output
        elif command.startswith("samtools"):
            assert output.count("\n") == 2
        elif command.startswith("bcftools"):
            assert output.splitlines()[-1].startswith("chr20\t1001\t")
        else:
            assert '"format":"BAM"' in output


def test_python_example(cohort: str, tmp_path: Path) -> None:
    (example,) = examples("python")
    code = example.replace("http://127.0.0.1:8080", cohort)
    assert run([sys.executable, "-c", code], tmp_path) == "2\n"


def test_examples_of_storage_settings(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "storage.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "htsgate.toml"
    path.write_text(example)
    (location,) = load_settings(path, {}).locations
    assert location.scheme == "s3"
    unset = {name for name, value in location if value is None}
    assert unset == {"access", "dataset"}
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert [next(iter(policy)) for policy in policies] == ["Version", "CORSRules"]


@pytest.mark.parametrize(
    ("who", "region", "outcome"),
    [
        ("https://login.example.org/|ada", "chr20:1,000,001-1,010,000", "allow"),
        ("https://login.example.org/|ada", "chr20:1,000,000-1,010,000", "deny"),
        ("https://login.example.org/|eve", "chr20:1,000,001-1,010,000", "not_found"),
        ("anonymous", "chr20:1,000,001-1,010,000", "unauthenticated"),
    ],
)
def test_policy_example(
    who: str, region: str, outcome: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(examples("toml")[2])
    asked = ["policy", "explain", who, "cohort/NA12878", region, "--dataset", "cohort", "--json"]
    assert run_command([*asked, "--policy", str(path)]) == (outcome != "allow")
    explained = json.loads(capsys.readouterr().out)
    assert (explained["outcome"], explained["header"]) == (outcome, "minimal")


def test_toml_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("htsgate.toml")
    served, controlled, rules = examples("toml")
    path.write_text(served)
    assert load_settings(path, {}).locations[0].name == "kg"
    path.write_text(controlled)
    Path("policy.toml").write_text(rules)
    settings = load_settings(path, {})
    assert settings.is_controlled(settings.locations[0])
    assert settings.auth is not None
    assert settings.auth.policy == Path("policy.toml")
