"""What the documents say of the command is so."""

import argparse
import re
from pathlib import Path

import pytest

from conformance.arguments import add_arguments
from conformance.cli import main
from conformance.dataset import load_dataset
from tests.conformance.conftest import FEW
from tests.support.processes import ROOT

pytestmark = pytest.mark.usefixtures("bare_environment")


def test_the_description_in_the_document_is_one(
    tmp_path: Path, sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "conformance.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "theirs.toml").write_text(example)
    for name in ("NA12878.bam", "GRCh38_chr20.fa"):
        (tmp_path / name).touch()
    described = load_dataset(tmp_path / "theirs.toml", "token")
    reads, variants = described.objects
    assert reads.truths["BAM"].path == tmp_path / "NA12878.bam"
    assert variants.formats == ("VCF", "BCF")
    assert described.controlled is not None
    assert described.controlled.other is not None
    assert set(described.paths) == {"reads", "variants", "sequence", "collections"}
    assert described.sequences
    assert described.circular
    assert described.collections
    assert main([sound, "--data", str(tmp_path / "theirs.toml"), *FEW, "--quiet"]) == 1


@pytest.mark.parametrize("document", ["docs/conformance.md", "docs/cli.md", "README.md"])
def test_options_in_the_documents_exist(document: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    lines = (ROOT / document).read_text().splitlines()
    blocks = "\n".join(
        line
        for line in lines
        if "conformance" in line or line.startswith(" " * 20) or document.endswith("nce.md")
    )
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", blocks))
    assert options <= known
