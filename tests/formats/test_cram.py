"""CRAM headers and containers: what real writers make, and what no reader may trust."""

import random
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pysam
import pytest

from formats.cram import (
    MAX_HEADER,
    MAX_SLICES,
    MULTIPLE,
    UNPLACED,
    VERSIONS,
    CramHeader,
    Version,
    demand,
    mini_header,
    parse_header,
    read_container,
    walk,
)
from formats.cram_blocks import Cursor, itf8
from formats.errors import CorruptData
from formats.source import BytesSource

EOF_2 = "0b000000ffffffff0fe0454f460000000001000001000606010001000100"
EOF_3 = "0f000000ffffffff0fe0454f4600000000010005bdd94f0001000606010001000100ee63014b"


def make(path: Path, *options: str, reads: int = 50) -> bytes:
    """A small CRAM: reads on two references, then unplaced ones."""
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [
                {"SN": "one", "LN": 5000, "M5": "0123456789ABCDEF0123456789ABCDEF"},
                {"SN": "two|x", "LN": 700},
            ],
        }
    )
    with pysam.AlignmentFile(
        str(path), "wc", header=header, format_options=["no_ref=1", *options]
    ) as out:
        for number in range(reads):
            record = pysam.AlignedSegment(header)
            record.query_name = f"r{number}"
            record.query_sequence = "ACGTACGTAC"
            place = number * 3 // reads
            record.reference_id = place if place < 2 else -1
            record.reference_start = 10 * number if place < 2 else -1
            record.flag = 0 if place < 2 else 4
            if place < 2:
                record.cigarstring = "10M"
            out.write(record)
    return path.read_bytes()


@pytest.fixture(params=["2.1", "3.0", "3.1"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    options = f"version={request.param}", "seqs_per_slice=5"
    return make(tmp_path / "x.cram", *options)


def test_header(data: bytes) -> None:
    header = parse_header(BytesSource(data))
    assert str(header.version) == f"{data[4]}.{data[5]}"
    assert header.names == ("one", "two|x")
    assert header.references == {"one": 0, "two|x": 1}
    assert header.lengths == (5000, 700)
    assert header.md5s == ("0123456789abcdef0123456789abcdef", None)
    assert header.text.startswith("@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:one")
    assert header.block == data[: header.data_start]
    assert header.data_end == len(data) - len(header.version.eof_marker)


def test_walk_covers_the_data(data: bytes) -> None:
    header = parse_header(BytesSource(data))
    containers = list(walk(BytesSource(data), header))
    assert containers[0].offset == header.data_start
    assert containers[-1].stop == header.data_end
    for one, next_one in pairwise(containers):
        assert one.stop == next_one.offset
    assert sum(container.records for container in containers) == 50
    assert {c.reference for c in containers} <= {0, 1, UNPLACED, MULTIPLE}
    assert containers[0].start == 0
    assert containers[0].end == 10 * (containers[0].records - 1) + 10


def test_eof_markers() -> None:
    markers = {version: version.eof_marker.hex() for version in VERSIONS}
    assert markers == {(2, 0): "", (2, 1): EOF_2, (3, 0): EOF_3, (3, 1): EOF_3}
    early = bytearray.fromhex(EOF_2)
    early[8] |= 0xF0
    assert Version(2, 1).is_eof_marker(bytes(early))
    assert not Version(2, 1).is_eof_marker(bytes.fromhex(EOF_3))
    assert not Version(2, 0).is_eof_marker(b"")


def test_missing_eof_marker(data: bytes) -> None:
    header = parse_header(BytesSource(data))
    cut = BytesSource(data[: header.data_end])
    assert parse_header(cut).data_end == cut.size


def test_version_2_0_has_no_eof_marker(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "x.cram", "version=2.1"))
    data[5] = 0
    header = parse_header(BytesSource(bytes(data)))
    assert header.version == (2, 0)
    assert header.data_end == len(data)


@pytest.mark.parametrize("version", [(1, 0), (1, 1), (2, 2), (3, 2), (4, 0)])
@pytest.mark.security("TI7")
def test_other_versions_are_refused(data: bytes, version: tuple[int, int]) -> None:
    with pytest.raises(CorruptData):
        parse_header(BytesSource(data[:4] + bytes(version) + data[6:]))


def test_empty_file(tmp_path: Path) -> None:
    data = make(tmp_path / "x.cram", reads=0)
    header = parse_header(BytesSource(data))
    assert header.data_start == header.data_end
    assert list(walk(BytesSource(data), header)) == []


@pytest.mark.parametrize("version", [Version(2, 1), Version(3, 0), Version(3, 1)])
def test_mini_header_is_read_back(version: Version, tmp_path: Path) -> None:
    text = "@HD\tVN:1.6\n@SQ\tSN:chr|1,:x\tLN:12\tM5:r0\n" + "@CO\té" * 5000
    data = mini_header(version, text) + version.eof_marker
    header = parse_header(BytesSource(data))
    assert header.text == text
    assert header.data_start == header.data_end == len(data) - len(version.eof_marker)
    path = tmp_path / "mini.cram"
    path.write_bytes(data)
    with pysam.AlignmentFile(str(path), check_sq=False) as records:
        assert records.references == ("chr|1,:x",)
        assert list(records.fetch(until_eof=True)) == []


def header_of(text: str) -> CramHeader:
    return parse_header(BytesSource(mini_header(Version(3, 0), text)))


@pytest.mark.parametrize(
    "line", ["SN:a", "LN:5", "SN:a\tLN:x", "SN:a\tLN:-1", "SN:a\tLN:99999999999", "SN:\tLN:4"]
)
def test_bad_sequence_lines(line: str) -> None:
    with pytest.raises(CorruptData):
        header_of(f"@SQ\t{line}\n")


def test_repeated_sequence_name() -> None:
    with pytest.raises(CorruptData):
        header_of("@SQ\tSN:a\tLN:5\n@SQ\tSN:a\tLN:6\n")


@pytest.mark.parametrize(
    ("options", "external"), [(["no_ref=1"], False), ([], True), (["embed_ref=1"], False)]
)
def test_demand(options: list[str], *, external: bool, tmp_path: Path) -> None:
    fasta = tmp_path / "ref.fa"
    fasta.write_text(">one\n" + "ACGT" * 250 + "\n")
    header = pysam.AlignmentHeader.from_references(["one"], [1000])
    path = tmp_path / "x.cram"
    with pysam.AlignmentFile(
        str(path),
        "wc",
        header=header,
        reference_filename=str(fasta),
        format_options=[
            "seqs_per_slice=4",
            "slices_per_container=3",
            "multi_seq_per_slice=0",
            *options,
        ],
    ) as out:
        for number in range(24):
            record = pysam.AlignedSegment(header)
            record.query_name = f"r{number}"
            record.query_sequence = "ACGTACGTAC"
            record.reference_id, record.reference_start = 0, 20 * number
            record.cigarstring = "10M"
            out.write(record)
    data = path.read_bytes()
    parsed = parse_header(BytesSource(data))
    for container in walk(BytesSource(data), parsed):
        assert len(container.landmarks) == 3
        needs = demand(parsed.version, container, data[container.offset : container.stop])
        assert needs.external == external
        if external:
            assert (needs.start, needs.end) == (container.start, container.end)


def test_damage_is_found_by_checksums(tmp_path: Path) -> None:
    data = make(tmp_path / "x.cram", "version=3.0", "seqs_per_slice=5")
    header = parse_header(BytesSource(data))
    first = next(walk(BytesSource(data), header))
    for at in (*range(26, 60), *range(first.offset, first.blocks_start)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        source = BytesSource(bytes(damaged))
        with pytest.raises(CorruptData):
            next(walk(source, parse_header(source)))


@pytest.mark.parametrize("references", [1, 5, 100, 200, 300, 1000])
@pytest.mark.parametrize("version", ["2.1", "3.0"])
def test_padded_headers(version: str, references: int, tmp_path: Path) -> None:
    """htslib pads, and in CRAM 2 names some of these containers shorter than they are."""
    names = [f"reference{number}" for number in range(references)]
    header = pysam.AlignmentHeader.from_references(names, [1000] * references)
    path = tmp_path / "x.cram"
    options = [f"version={version}", "no_ref=1"]
    with pysam.AlignmentFile(str(path), "wc", header=header, format_options=options) as out:
        record = pysam.AlignedSegment(header)
        record.query_name, record.query_sequence, record.cigarstring = "r", "ACGT", "4M"
        record.reference_id, record.reference_start = 0, 10
        out.write(record)
    source = BytesSource(path.read_bytes())
    parsed = parse_header(source)
    assert list(parsed.names) == names
    assert [container.records for container in walk(source, parsed)] == [1]


def test_truncation_never_passes(data: bytes) -> None:
    header = parse_header(BytesSource(data))
    for size in range(header.data_start):
        with pytest.raises(CorruptData):
            parse_header(BytesSource(data[:size]))
    ends = {container.stop for container in walk(BytesSource(data), header)}
    for size in range(header.data_start + 1, header.data_end, 7):
        source = BytesSource(data[:size])
        if size not in ends:
            with pytest.raises(CorruptData):
                list(walk(source, parse_header(source)))


@pytest.mark.security("TI10")
def test_mutations_raise_nothing_but_corrupt_data(data: bytes) -> None:
    draw = random.Random(3)
    for _ in range(1500):
        mutated = bytearray(data)
        for _ in range(draw.randrange(1, 6)):
            mutated[draw.randrange(len(data))] = draw.choice([0, 1, 0x7F, 0x80, 0xF0, 0xFF])
        source = BytesSource(bytes(mutated))
        with suppress(CorruptData):
            header = parse_header(source)
            for container in walk(source, header):
                demand(header.version, container, source.read(container.offset, container.stop))


@pytest.mark.security("TI7")
def test_absurd_counts_are_refused_before_they_are_read() -> None:
    landmarks = 0x0FFFFFFF
    numbers = itf8(0) * 6 + itf8(1) + itf8(landmarks)
    head = (1000).to_bytes(4, "little") + numbers
    head += zlib.crc32(head).to_bytes(4, "little")
    source = BytesSource(bytes(26) + head + bytes(5000))
    with pytest.raises(CorruptData):
        read_container(source, 26, Version(3, 0), source.size)


def test_integers() -> None:
    for value in (0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**31 - 1):
        encoded = itf8(value)
        cursor = Cursor(encoded, 0)
        assert cursor.itf8() == value
        assert cursor.at == len(encoded)
    assert Cursor(bytes.fromhex("ffffffff0f"), 0).itf8() == -1
    assert Cursor(bytes.fromhex("fffffffffe"), 0).itf8() == -2
    for text, value in (
        ("7f", 127),
        ("8080", 128),
        ("c04000", 0x4000),
        ("fe01020304050607", 0x01020304050607),
        ("ff0102030405060708", 0x0102030405060708),
        ("ffffffffffffffffff", -1),
    ):
        assert Cursor(bytes.fromhex(text), 0).ltf8() == value


class Sparse:
    """A gibibyte or two of which only the beginning is not zero; remembers the most read."""

    size = (1 << 31) + 1000

    def __init__(self, beginning: bytes) -> None:
        self.beginning = beginning
        self.most = 0

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        self.most = max(self.most, end - start)
        return self.beginning[start:end].ljust(end - start, b"\0")


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize(
    ("length", "slices"),
    [
        (MAX_HEADER + 1, 1),
        ((1 << 31) - 1, 1),
        ((1 << 31) - 1, MAX_SLICES + 1),
        ((1 << 31) - 1, (1 << 31) - 1),
        (1 << 30, 1 << 28),
        (MAX_SLICES, MAX_SLICES + 1),
    ],
)
def test_sparse_files_are_refused_before_they_are_read(
    major: int, length: int, slices: int
) -> None:
    head = length.to_bytes(4, "little") + bytes(6) + b"\x01" + itf8(slices)
    head += bytes(slices if slices == 1 else 0)
    head += zlib.crc32(head).to_bytes(4, "little") if major == 3 else b""
    version = Version(major, 1 if major == 2 else 0)
    source = Sparse(b"CRAM" + bytes(version) + bytes(20) + head)
    with pytest.raises(CorruptData, match=r"too large|too many"):
        parse_header(source)
    assert source.most <= 1 << 10


def test_most_slices_cost_little() -> None:
    head = (1 << 30).to_bytes(4, "little") + bytes(6) + b"\x01" + itf8(MAX_SLICES)
    source = Sparse(bytes(100) + head)
    container = read_container(source, 100, Version(2, 1), source.size)
    assert len(container.landmarks) == MAX_SLICES
    assert source.most < 1 << 20
    with pytest.raises(CorruptData):  # zeros everywhere: no slice header at the first
        demand(Version(2, 1), container, source.read(100, 1 << 20))
