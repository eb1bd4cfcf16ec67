"""FASTA text in one pass, against samtools faidx and bgzip, however the text is cut."""

import itertools
import random
import subprocess
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysam.utils import SamtoolsError

from formats.bgzf import EOF_MARKER, compress, data_end
from formats.errors import CorruptData
from formats.fasta import FaiEntry, FastaReader, GziEntry, parse_fai, parse_gzi
from formats.fasta_index import (
    MAX_HEADER,
    FastaScanner,
    RecordBegins,
    RecordEnds,
    inflated_pieces,
    scan_fasta,
    walk_blocks,
    write_fai,
    write_gzi,
)
from formats.source import BytesSource


def records(pieces: Iterable[bytes]) -> list[tuple[RecordBegins, bytes, RecordEnds]]:
    """The events of a scan by record, whose order is checked."""
    found: list[tuple[RecordBegins, bytes, RecordEnds]] = []
    begins: RecordBegins | None = None
    residues: list[bytes] = []
    for event in scan_fasta(pieces):
        match event:
            case RecordBegins():
                assert begins is None
                begins, residues = event, []
            case bytes():
                assert begins is not None
                assert event
                residues.append(event)
            case RecordEnds():
                assert begins is not None
                assert begins.name == event.name
                assert event.length == sum(map(len, residues))
                found.append((begins, b"".join(residues), event))
                begins = None
    assert begins is None
    return found


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(borders)]


def faidx(text: bytes, path: Path) -> bytes | None:
    """What samtools makes of the text; None when it refuses it."""
    path.write_bytes(text)
    index = path.with_name(path.name + ".fai")
    index.unlink(missing_ok=True)
    try:
        pysam.faidx(str(path))
    except SamtoolsError:
        return None
    return index.read_bytes()


@st.composite
def fasta_texts(draw: st.DrawFn) -> bytes:
    """Text that faidx accepts: lines of one length, blank lines only around records."""
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lengths = draw(st.lists(st.integers(0, 700), min_size=1, max_size=6))
    letters = st.sampled_from([b"ACGTN", b"acgtnACGTN", b"ACDEFGHIKLMNPQRSTVWY*-", b"ACGT@;+!~"])
    parts = [end * draw(st.integers(0, 2))]
    for number, length in enumerate([*lengths, draw(st.integers(1, 300))]):
        width = draw(st.sampled_from([1, 2, 7, 60, 61, 1000]))
        residues = bytes(random.Random(length).choices(draw(letters), k=length))
        words = draw(st.sampled_from([b"", b" ", b" some words", b"\tx=1  y"]))
        lead = draw(st.sampled_from([b"", b" ", b"\t "]))
        lines = [residues[at : at + width] for at in range(0, length, width)]
        parts.append(b">" + lead + b"seq%d" % number + words + end)
        parts += [line + end for line in lines]
        parts.append(end * draw(st.integers(0, 2)) if lines or end == b"\n" else b"")
    text = b"".join(parts)
    return text.rstrip(b"\r\n") if draw(st.booleans()) else text


@given(text=fasta_texts(), places=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_geometry_is_that_of_samtools(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, places: list[int]
) -> None:
    expected = faidx(text, tmp_path_factory.getbasetemp() / "geometry.fa")
    found = records(cut(text, places))
    entries = [ends.entry for _, _, ends in found if ends.entry is not None]
    assert len(entries) == len(found)
    assert write_fai(entries) == expected
    assert parse_fai(write_fai(entries)) == tuple(entry for entry in entries if entry.length)
    reader = FastaReader(BytesSource(text))
    for (_, residues, _), entry in zip(found, entries, strict=True):
        assert reader.residues(entry, 0, entry.length) == residues.upper()


@given(
    body=st.lists(
        st.sampled_from([b">", b"A", b"ACGT", b"\n", b"\r\n", b"\r", b" ", b"*", b"\0", b"\xff"]),
        max_size=40,
    ),
    places=st.lists(st.integers(0, 1 << 20), max_size=6),
)
def test_odd_text(
    tmp_path_factory: pytest.TempPathFactory, body: list[bytes], places: list[int]
) -> None:
    text = b">first\n" + b"".join(body)
    try:
        found = records([text])
    except CorruptData:
        with pytest.raises(CorruptData):
            records(cut(text, places))
        return
    assert records(cut(text, places)) == found
    assert records([text[at : at + 1] for at in range(len(text))]) == found
    # An entry promises that the file can be read by it.
    reader = FastaReader(BytesSource(text))
    for _, residues, ends in found:
        if ends.entry is not None:
            assert reader.residues(ends.entry, 0, ends.length) == residues.upper()
            assert all(0x21 <= byte <= 0x7E for byte in residues)
    # Where all is well in samtools' eyes and ours, both say the same.
    expected = faidx(text, tmp_path_factory.getbasetemp() / "odd.fa")
    entries = [ends.entry for _, _, ends in found if ends.entry is not None]
    if expected is not None and len(entries) == len(found):
        known = [line for line in expected.splitlines(True) if line.split(b"\t")[1] != b"0"]
        assert write_fai(entries) == b"".join(known)


def test_events() -> None:
    scanner = FastaScanner()
    assert scanner.feed(b"\n\n>on") == []
    assert scanner.feed(b"e  two words \r\nAC") == [RecordBegins("one", "two words"), b"AC"]
    assert scanner.feed(b"") == []
    assert scanner.feed(b"G\r") == [b"G"]
    assert scanner.feed(b"\nT\r\n>two\nA") == [
        b"T",
        RecordEnds("one", 4, FaiEntry("one", 4, 20, 3, 5)),
        RecordBegins("two", ""),
        b"A",
    ]
    assert scanner.close() == [RecordEnds("two", 1, FaiEntry("two", 1, 33, 1, 2))]


def test_empty_records() -> None:
    found = [ends.entry for _, _, ends in records([b">a\n>b\n\n>c\r\n\r\n>d\nAC\n>e\n"])]
    assert found == [
        FaiEntry("a", 0, 3, 0, 0),
        FaiEntry("b", 0, 6, 0, 0),
        FaiEntry("c", 0, 11, 0, 2),
        FaiEntry("d", 2, 16, 2, 3),
        FaiEntry("e", 0, 22, 0, 0),
    ]
    assert write_fai(entry for entry in found if entry) == b"d\t2\t16\t2\t3\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"AC\nACG\n",
        b"ACG\nAC\nACG\n",
        b"ACG\nAC\nA\n",
        b"ACG\n\nACG\n",
        b"\nACG\n",
        b"ACG\nACG\r\n",
        b"ACG\r\nACG\nACG\r\n",
        b"ACG\r\nACGT\n",
        b"A G\nACG\n",
        b"A>G\nACG\n",
        b"ACG \nACG \n",
        b"ACG\nA\rG\n",
        b"ACG\nA\0G\n",
        b"ACG\n\xc3\xa4G\n",
        b"ACG\n" * 1000 + b"AC\n" + b"ACG\n" * 1000,
        b"ACG\n" * 1000 + b"A\n" + b"A\n" * 4000,
    ],
)
def test_uneven_record_is_told_and_the_next_one_read(lines: bytes) -> None:
    text = b">bad\n" + lines + b">good\nACGT\nAC\n"
    (_, residues, bad), (_, _, good) = records([text])
    assert residues == lines.replace(b"\r\n", b"").replace(b"\n", b"")
    assert bad == RecordEnds("bad", len(residues), None)
    assert good.entry == FaiEntry("good", 6, text.index(b"good") + 5, 4, 5)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"ACGT\n",
        b" >a\nACGT\n",
        b";a\n>a\nACGT\n",
        b"\r>a\nACGT\n",
        b"@a\nACGT\n+\nIIII\n",
        b">a",
        b">a\nACGT\n>b",
        b">\nACGT\n",
        b"> \nACGT\n",
        b">a\0b\nACGT\n",
        b">a\nACGT\n>a x\nACGT\n",
        b">" + b"a" * (MAX_HEADER + 1) + b"\nA\n",
        b">" + b"a" * (MAX_HEADER + 1),
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(CorruptData):
        list(scan_fasta([text]))
    with pytest.raises(CorruptData):
        list(scan_fasta(text[at : at + 999] for at in range(0, len(text), 999)))


def test_limit() -> None:
    scanner = FastaScanner(limit=2)
    scanner.feed(b">a\nA\n>b\nA\n")
    with pytest.raises(CorruptData, match="too many"):
        scanner.feed(b">c\nA\n")


@pytest.mark.parametrize("width", [80, 1 << 26])
def test_memory_is_flat(width: int) -> None:
    def pieces() -> Iterator[bytes]:
        yield b">a\n"
        block = b"ACGT" * (1 << 16)
        for _ in range(1 << 8):
            yield block if width > len(block) else (block[:width] + b"\n") * (1 << 11)

    tracemalloc.start()
    try:
        length = sum(len(event) for event in scan_fasta(pieces()) if isinstance(event, bytes))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length > 40_000_000
    assert peak < (1 << 24) + (1 << 22)  # 16 MiB are reserved for a moment and never touched


@pytest.mark.parametrize(
    "name",
    [
        "ce.fa",
        "human_g1k_v37.20.subset.fasta",
        "mitoAlignmentStartTest.fa",
        "Homo_sapiens_assembly18.trimmed.fasta.gz",
        "Saccharomyces_cerevisiae.R64-1-1.fa.bgz.fa.gz",
    ],
)
def test_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "fasta" / name
    source = BytesSource(path.read_bytes())
    blocks: list[GziEntry] = []
    pieces = inflated_pieces(source, blocks) if name.endswith("gz") else [path.read_bytes()]
    entries = [ends.entry for _, _, ends in records(pieces)]
    stored = path.with_name(name + ".fai").read_bytes()
    assert write_fai(entry for entry in entries if entry) == stored
    if blocks:
        assert tuple(blocks) == walk_blocks(source)
        known = parse_gzi(path.with_name(name + ".gzi").read_bytes())
        # Some writers name the EOF marker too.
        assert known[: len(blocks)] == tuple(blocks)
        assert all(entry.offset == data_end(source) for entry in known[len(blocks) :])


@pytest.mark.parametrize("size", [1, 65_280, 65_281, 1_000_000])
def test_gzi_is_that_of_bgzip(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(compress(random.Random(size).randbytes(size)) + EOF_MARKER)
    subprocess.run(["bgzip", "-r", str(path)], check=True)
    entries = walk_blocks(BytesSource(path.read_bytes()))
    stored = path.with_name("x.gz.gzi").read_bytes()
    assert write_gzi(entries) == stored
    assert parse_gzi(stored) == entries


def test_residues_by_walked_blocks(tmp_path: Path) -> None:
    draw = random.Random(9)
    residues = bytes(draw.choices(b"ACGT", k=300_000))
    text = b">a\n" + b"".join(residues[at : at + 70] + b"\n" for at in range(0, 300_000, 70))
    # Files that were concatenated keep their EOF markers within.
    packed = compress(text[:100_000]) + EOF_MARKER + compress(text[100_000:]) + EOF_MARKER
    source = BytesSource(packed)
    blocks: list[GziEntry] = []
    ((_, _, ends),) = records(inflated_pieces(source, blocks))
    assert tuple(blocks) == walk_blocks(source) == parse_gzi(write_gzi(blocks))
    assert ends.entry is not None
    reader = FastaReader(source, blocks)
    for _ in range(50):
        start = draw.randrange(300_000)
        end = min(300_000, start + draw.choice([1, 100, 70_000]))
        assert reader.residues(ends.entry, start, end) == residues[start:end]


def test_blocks_cut_short() -> None:
    whole = compress(bytes(100_000))
    borders = {entry.offset for entry in walk_blocks(BytesSource(whole))} | {len(whole)}
    for end in range(len(whole)):
        if end not in borders:
            with pytest.raises(CorruptData):
                walk_blocks(BytesSource(whole[:end]))
    with pytest.raises(CorruptData):
        walk_blocks(BytesSource(b"no BGZF at all, but long enough for a header"))
