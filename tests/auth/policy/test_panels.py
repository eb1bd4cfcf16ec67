import hashlib
from pathlib import Path

import pytest

from auth.errors import InvalidConfiguration
from auth.policy import panels
from auth.policy.panels import parse_bed, parse_region, read_panel
from formats.regions import UNBOUNDED, Region


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr1:11845780-11848345", Region("chr1", 11_845_779, 11_848_345)),
        ("chr1:1-1", Region("chr1", 0, 1)),
        ("chr1:1,001-2,000", Region("chr1", 1000, 2000)),
        ("chrM", Region("chrM", 0, UNBOUNDED)),
        ("{HLA-A*01:01}", Region("HLA-A*01:01", 0, UNBOUNDED)),
        ("{HLA-A*01:01}:5-9", Region("HLA-A*01:01", 4, 9)),
        ("HLA-A*01:01:5-9", Region("HLA-A*01:01", 4, 9)),
    ],
)
def test_texts_are_one_based_and_closed(text: str, region: Region) -> None:
    assert parse_region(text) == region


@pytest.mark.parametrize(
    "text",
    [
        "", "chr1:", "chr1:5", "chr1:5-", "chr1:-5", "chr1:0-5", "chr1:9-5", "chr1:a-b", ":1-2",
        "chr1:1e3-2000", "chr1: 1-2", "chr1:+1-2", "chr1:\u0661-2", "*chr1", "=a:1-2", "a b",
        "chr1:1-99999999999999999999", "chr1:,1-2",
    ],
)  # fmt: skip
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_region(text)


def test_bed_is_zero_based_and_half_open() -> None:
    found = parse_bed(
        b"#chrom\tstart\tend\ntrack name=x\nbrowser position chr1\n\n"
        b"chr2\t5\t9\tname\t0\t+\r\nchr1 10 20\nchr1\t20\t30"
    )
    assert list(found.regions()) == [Region("chr1", 10, 30), Region("chr2", 5, 9)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no row"),
        (b"#chr1\t1\t2\n", "no row"),
        (b"chr1\t1\n", "line 1"),
        (b"chr1\t1\t2\nchr1\t5\t5\n", "line 2: ends before its first base"),
        (b"chr1\t5\t4\n", "line 1: ends before"),
        (b"chr1\t-1\t4\n", "line 1: not a name"),
        (b"chr1\t1e3\t4000\n", "line 1: not a name"),
        (b"chr1\t\t1\t2\n", "line 1: not a name"),
        (b"chr1\t0\t99999999999999999999\n", "line 1: not a name"),
        (b"\xef\xbb\xbfchr1\t1\t2\n", "line 1: not a name"),
        (b"*\t1\t2\n", "line 1: not the name"),
        (b"\x1f\x8b\x08\x00", "line 1"),
    ],
)
def test_what_is_no_bed(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_bed(data)


@pytest.mark.security("TS5")
def test_only_the_approved_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bed"
    path.write_bytes(b"chr1\t1\t2\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_panel(path, digest).bases == 1
    with pytest.raises(InvalidConfiguration, match="not the file that was approved"):
        read_panel(path, "0" * 64)
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        read_panel(tmp_path / "b.bed", digest)
    monkeypatch.setattr(panels, "MAX_BED_ROWS", 1)
    with pytest.raises(ValueError, match="more than 1 rows"):
        parse_bed(b"a\t1\t2\na\t3\t4\n")
    monkeypatch.setattr(panels, "MAX_BED_BYTES", 5)
    with pytest.raises(InvalidConfiguration, match="larger"):
        read_panel(path, digest)
