"""What a file holds and what a region asks for: the judgement that cases rest on."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest

from conformance import bgzf, records, regions
from conformance.records import (
    EOF_MARKERS,
    Record,
    Records,
    Region,
    TooLarge,
    Undecodable,
    decode,
    digest,
    foreign,
    lost,
    misplaced,
    read,
    repeated,
)

SEQUENCES = "@SQ\tSN:a\tLN:1000\n@SQ\tSN:b\tLN:500\n"
READS = (
    "first\t0\ta\t11\t60\t10M\t*\t0\t0\t*\t*",
    "spliced\t0\ta\t21\t60\t5M100N5M\t*\t0\t0\t*\t*",
    "clipped\t0\ta\t31\t60\t5S10M2I3D\t*\t0\t0\t*\t*",
    "mate\t4\ta\t41\t0\t*\t*\t0\t0\t*\t*",
    "last\t0\tb\t491\t60\t10M\t*\t0\t0\t*\t*",
    "nowhere\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*",
)
VARIANTS = """##fileformat=VCFv4.3
##contig=<ID=a,length=1000>
##INFO=<ID=END,Number=1,Type=Integer,Description="end">
##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="length">
##ALT=<ID=DEL,Description="deletion">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
a\t0\ttelomere\tN\t<DEL>\t.\t.\t.
a\t11\tsnv\tA\tC\t.\t.\t.
a\t21\tdeletion\tACGT\tA\t.\t.\t.
a\t31\tlong\tA\t<DEL>\t.\t.\tEND=130
a\t41\tlength\tA\t<DEL>\t.\t.\tSVLEN=-50
a\t51\twrong\tACG\t<DEL>\t.\t.\tEND=20
"""


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reads") / "reads.bam"
    header = pysam.AlignmentHeader.from_text(SEQUENCES)
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for line in READS:
            out.write(pysam.AlignedSegment.fromstring(line, header))
    return path


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Records:
    path = tmp_path_factory.mktemp("variants") / "variants.vcf"
    path.write_text(VARIANTS)
    return read(path, "VCF")


def named(records: list[Record]) -> list[str]:
    return [record.text.split("\t")[0] for record in records]


def test_reads_cover_what_their_cigars_say(reads: Path) -> None:
    found = {each.text.split("\t")[0]: each for each in read(reads, "BAM").records}
    assert (found["first"].start, found["first"].end) == (10, 20)
    assert (found["spliced"].start, found["spliced"].end) == (20, 130)
    assert (found["clipped"].start, found["clipped"].end) == (30, 43)
    assert (found["mate"].start, found["mate"].end) == (40, 41)


def test_variants_cover_what_end_or_reference_say(variants: Records) -> None:
    found = {each.text.split("\t")[2]: each for each in variants.records}
    assert (found["telomere"].start, found["telomere"].end) == (0, 1)
    assert (found["snv"].start, found["snv"].end) == (10, 11)
    assert (found["deletion"].start, found["deletion"].end) == (20, 24)
    assert (found["long"].start, found["long"].end) == (30, 130)
    assert found["length"].end == 41
    assert found["length"].reach in (41, 91)  # releases of htslib differ
    assert (found["wrong"].start, found["wrong"].end) == (50, 53)


@pytest.mark.parametrize(
    ("region", "names"),
    [
        (Region("a", 10, 11), ["first"]),
        (Region("a", 19, 20), ["first"]),
        (Region("a", 20, 21), ["spliced"]),
        (Region("a", 9, 10), []),
        (Region("a", 129, 130), ["spliced"]),
        (Region("a", 130, None), []),
        (Region("a", 40, 41), ["spliced", "clipped", "mate"]),
        (Region("a", None, 20), ["first"]),
        (Region("a", 42, None), ["spliced", "clipped"]),
        (Region("a", 15, 15), []),
        (Region("a"), ["first", "spliced", "clipped", "mate"]),
        (Region("b"), ["last"]),
        (Region("c"), []),
        (Region("*"), ["nowhere"]),
    ],
    ids=str,
)
def test_regions_are_half_open(reads: Path, region: Region, names: list[str]) -> None:
    assert named(read(reads, "BAM").within(region)) == names


def test_regions_may_hold_what_they_hold(reads: Path, variants: Records) -> None:
    for record in (*read(reads, "BAM").records, *variants.records):
        region = regions.around(record) if record.reference != "*" else Region("*")
        assert region.holds(record)
        assert region.may_hold(record)


def test_lines_are_counted_and_digested(reads: Path) -> None:
    whole = read(reads, "BAM")
    assert whole.texts == list(READS)
    assert whole.digest == digest(READS)
    assert whole.references == {"a": 1000, "b": 500}
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_answers_are_compared_as_multisets_and_in_order(reads: Path) -> None:
    truth = read(reads, "BAM")
    first, second, *rest = truth.texts
    assert lost([second, *rest], truth.records) == [first]
    assert lost(truth.texts, truth.records) == []
    assert repeated([first, first, second], truth) == [first]
    assert repeated(["strange", "strange"], truth) == []
    assert foreign([first, "strange"], truth) == ["strange"]
    assert misplaced([second, first], truth) == first
    assert misplaced([first, "strange", second, *rest], truth) is None


def test_records_that_are_alike_have_no_order() -> None:
    same = Record("same", "a", 1, 2, 2)
    truth = Records("", {"a": 9}, (same, Record("other", "a", 1, 2, 2), same))
    assert misplaced(["same", "same", "other"], truth) is None
    assert repeated(["same", "same"], truth) == []
    assert repeated(["same"] * 3, truth) == ["same"]


def test_a_file_without_its_marker_can_be_read_and_a_cut_one_cannot(reads: Path) -> None:
    data = reads.read_bytes()
    (marker,) = EOF_MARKERS["BAM"]
    assert decode(data.removesuffix(marker), "BAM").texts == list(READS)
    with pytest.raises(Undecodable, match="truncated"):
        decode(data[:-60], "BAM")
    with pytest.raises(Undecodable):
        decode(b"", "BAM")
    with pytest.raises(Undecodable):
        decode(b"<html>", "VCF")


def test_only_what_the_server_sent_is_opened(tmp_path: Path) -> None:
    named, other = tmp_path / "named.fa", tmp_path / "other.fa"
    named.write_text(">a\nACGTACGTACGT\n")
    other.write_text(">b\nACGT\n")
    line = "read\t0\ta\t1\t60\t8M\t*\t0\t0\tACGTACGT\tIIIIIIII"
    header = pysam.AlignmentHeader.from_text(f"@SQ\tSN:a\tLN:12\tUR:{named}\n")
    path = tmp_path / "reads.cram"
    with pysam.AlignmentFile(str(path), "wc", header=header, reference_filename=str(named)) as out:
        out.write(pysam.AlignedSegment.fromstring(line, header))
    bare = [line.replace("ACGTACGT\tIIIIIIII", "*\t*")]
    for reference in (None, other):
        found = decode(path.read_bytes(), "CRAM", reference)
        assert (found.texts, found.bases) == (bare, False)
    found = decode(path.read_bytes(), "CRAM", named)
    assert found.bases
    assert found.texts[0].startswith(line)
    ticket = f'{{"htsget": {{"urls": [{{"url": "file://{path}"}}]}}}}'.encode()
    for sent in (ticket, gzip.compress(ticket), b"@SQ\tSN:a\tLN:12\n"):
        with pytest.raises(Undecodable, match="begins with"):
            decode(sent, "BAM")


def test_what_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGEST_TEXT", 10**6)
    header = VARIANTS[: VARIANTS.index("a\t0")]
    with pytest.raises(TooLarge):
        decode(gzip.compress(header.encode() + b"#" * 2 * 10**6), "VCF")


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_variants_may_be_packed_by_gzip_or_not_at_all(pack: Callable[[bytes], bytes]) -> None:
    data = pack(VARIANTS.encode())
    assert len(decode(data, "VCF").texts) == 6
    if data[:1] == b"\x1f":
        with pytest.raises(Undecodable):
            decode(data[:-20], "VCF")


def test_regions_to_ask_for(reads: Path) -> None:
    truth = read(reads, "BAM")
    assert named(regions.landmarks(truth)) == ["first", "clipped", "mate", "last"]
    assert regions.within_longest(truth) == Region("a", 75, 76)
    assert regions.wide(truth) == Region("a", 20, 40)
    assert regions.empty(truth) == Region("a", 130, 1000)
    assert {region.reference for region in regions.regions(truth)} == {"a", "b"}


def test_files_without_records_give_no_reason_to_ask() -> None:
    nothing = Records("", {}, ())
    assert regions.landmarks(nothing) == []
    assert regions.regions(nothing) == []
    assert regions.wide(nothing) is None
    assert regions.within_longest(nothing) is None
    assert regions.empty(nothing) is None
    assert regions.empty(Records("", {"a": 10}, ())) == Region("a", 0, 10)


def test_blocks_are_whole_or_refused(reads: Path) -> None:
    data = reads.read_bytes()
    found = [*bgzf.blocks(data)]
    assert found[0].startswith(b"BAM\1")
    assert found[-1] == b""
    assert bgzf.is_bgzf(data)
    assert not bgzf.is_bgzf(b"\x1f\x8b\x08\x00" + bytes(20))
    assert not bgzf.is_bgzf(b"")
    with pytest.raises(ValueError, match="cut off"):
        [*bgzf.blocks(data[:-1])]
    with pytest.raises(ValueError, match="no block begins at byte 0"):
        [*bgzf.blocks(b"x" + data)]
    broken = bytearray(data)
    broken[30] ^= 0xFF
    with pytest.raises(ValueError, match="the block at byte 0 is broken"):
        [*bgzf.blocks(bytes(broken))]
