import pytest

from formats.regions import UNBOUNDED, Region
from server.cli.region import parse_region

KNOWN = {"chr1", "HLA-A*01:01", "chr1:100-200", "chr1:100", "a,b", "gi|5|"}.__contains__


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr1", Region("chr1")),
        ("chr1:1,001-2,000", Region("chr1", 1_000, 2_000)),
        ("chr1:7-7", Region("chr1", 6, 7)),
        ("chr1:5", Region("chr1", 4, UNBOUNDED)),
        ("chr1:5-", Region("chr1", 4, UNBOUNDED)),
        ("chr1:-5", Region("chr1", 0, 5)),
        ("chr1:0-5", Region("chr1", 0, 5)),
        ("*", Region("*")),
        ("HLA-A*01:01", Region("HLA-A*01:01")),
        ("HLA-A*01:01:3-4", Region("HLA-A*01:01", 2, 4)),
        ("chr1:100-200", Region("chr1:100-200")),
        ("chr1:100-200:1-2", Region("chr1:100-200", 0, 2)),
        ("chr1:100:1-2", Region("chr1:100", 0, 2)),
        ("{chr1}:100-200", Region("chr1", 99, 200)),
        ("{chr1:100-200}", Region("chr1:100-200")),
        ("a,b:1-1", Region("a,b", 0, 1)),
        ("gi|5|:2-3", Region("gi|5|", 1, 3)),
    ],
)
def test_regions(text: str, region: Region) -> None:
    assert parse_region(text, KNOWN) == region


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "chr2",
        "chr2:1-2",
        "{chr2}:1-2",
        "chr1:x",
        "chr1:-",
        "chr1:,",
        "chr1:5-4",
        "chr1:0-0",
        "chr1:1-2-3",
        "chr1:+1-2",
        "chr1: 1-2",
        "chr1:1-9999999999999999999",
        "chr1:\N{ARABIC-INDIC DIGIT ONE}-2",
    ],
)
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(ValueError, match=r"no such reference|interval|ends before|too large"):
        parse_region(text, KNOWN)
