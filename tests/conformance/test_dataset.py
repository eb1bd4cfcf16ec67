"""Descriptions that cannot be used are refused, and say where."""

from pathlib import Path

import pytest

from conformance.dataset import BadDescription, load_dataset
from conformance.records import Region

READS = '[[reads]]\nid = "x"\n'
CONTROLLED = '[controlled]\nid = "x"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reads = 3", "no list of tables"),
        ("reads = [3]", "no list of tables"),
        ("color = 1", "unknown: color"),
        ("[[reads]]\nformats = ['BAM']", "no id"),
        (READS + "formats = 'BAM'", "no list of texts"),
        (READS + "formats = []", "no format"),
        (READS + "formats = ['VCF']", "no format of reads"),
        (READS + "reference = 3", "no such file"),
        (READS + "reference = 'absent.fa'", "no such file"),
        (READS + "truth.CRAM = { records = 1 }", "unknown: CRAM"),
        (READS + "truth.BAM = 'absent.bam'", "no such file"),
        (READS + "truth.BAM = 3", "neither"),
        (READS + "truth.BAM = { records = 'x' }", "a number"),
        (READS + "truth.BAM = { digest = 3 }", "a text"),
        ("[paths]\nread = '/reads'", "unknown: read"),
        ("[paths]\nreads = 3", "no list of texts"),
        ("[refget]\nsequences = 'abc'", "no list of texts"),
        ("[seqcol]\ncollections = [3]", "no list of texts"),
        (CONTROLLED + "endpoint = 'sequence'", "reads or variants"),
        (CONTROLLED + "permitted = 'chr1'", "a region is"),
        (CONTROLLED + "permitted = { reference = 'chr1', start = 'a' }", "are numbers"),
        ("=", "Invalid"),
    ],
)
def test_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "described.toml"
    path.write_text(text)
    with pytest.raises(BadDescription, match=says) as refusal:
        load_dataset(path, "token")
    assert str(refusal.value).startswith(str(path))


def test_controlled_wants_a_token(tmp_path: Path) -> None:
    path = tmp_path / "described.toml"
    path.write_text(CONTROLLED + "permitted = { reference = 'chr1', end = 9 }")
    assert load_dataset(path).controlled is None
    controlled = load_dataset(path, "token").controlled
    assert controlled is not None
    assert controlled.permitted == Region("chr1", None, 9)
