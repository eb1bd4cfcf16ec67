"""Slices of CRAM that cannot be exact: missing references, indexes that do not fit, damage."""

import random
from dataclasses import replace
from pathlib import Path

import pysam
import pytest

from formats.cram import parse_header, walk
from formats.errors import CorruptData, MissingReference, UnindexableRange
from formats.regions import UNBOUNDED, Interval, merge
from formats.source import BytesSource
from server.slicing.cram import plan_cram
from server.slicing.fasta_files import FastaOnDisk
from server.slicing.references import ReferenceStore
from server.slicing.segments import Stored
from server.slicing.selection import Selection
from server.slicing.trimming import EdgeCache, Trimmer
from server.slicing.workers import WorkerPool
from tests.support.cram_slices import Cram, draw_selection, write_cram


@pytest.fixture(scope="module")
def external(bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Cram:
    return write_cram(tmp_path_factory.mktemp("external"), bam, fasta, "v3.0 external")


@pytest.fixture(scope="module")
def mixed(bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Cram:
    return write_cram(tmp_path_factory.mktemp("mixed"), bam, fasta, "several references")


@pytest.mark.security("TI7")
def test_missing_reference_is_refused(external: Cram, mixed: Cram, pool: WorkerPool) -> None:
    trim = Trimmer(pool, ReferenceStore())
    for cram in (external, mixed):
        selection = Selection((Interval(0, 1000, 1100),))
        with pytest.raises(MissingReference):
            plan_cram(cram.source, cram.header, cram.index, selection, trim)


def test_missing_reference_may_send_whole_containers(
    external: Cram, mixed: Cram, pool: WorkerPool, tmp_path: Path
) -> None:
    trim = Trimmer(pool, ReferenceStore())
    for cram in (external, mixed):
        selection = Selection((Interval(0, 1000, 1100),))
        plan = plan_cram(cram.source, cram.header, cram.index, selection, trim, "whole")
        assert plan
        assert all(isinstance(segment, Stored) for segment in plan)
        assert set(cram.expected(selection)) < set(cram.decode(plan, tmp_path))


@pytest.mark.parametrize("width", [1, 10, 300])
def test_whole_containers_in_two_blocks(
    external: Cram, mixed: Cram, pool: WorkerPool, tmp_path: Path, width: int
) -> None:
    """Nothing is lost; of blocks of one base each, no container comes twice."""
    trim = Trimmer(pool, ReferenceStore())
    for cram in (external, mixed):
        starts = [place[1] for place, _ in cram.records if place[0] == 0]
        for low, high in zip(starts[::60], starts[17::60], strict=False):
            one, two = (Interval(0, start, start + width) for start in (low, max(high, low + 400)))
            decoded: list[str] = []
            for group in (Selection((one,)), Selection((two,), sent_until=one.end)):
                args = (cram.source, cram.header, cram.index, group, trim)
                decoded += cram.decode(plan_cram(*args, "whole"), tmp_path)
            assert set(cram.expected(Selection((one, two)))) <= set(decoded)
            assert width > 1 or len(decoded) == len(set(decoded))


def test_selection_of_whole_references_needs_no_reference(
    external: Cram, mixed: Cram, pool: WorkerPool, tmp_path: Path
) -> None:
    trim = Trimmer(pool, ReferenceStore())
    selection = Selection(merge(Interval(n, 0, UNBOUNDED) for n in range(5)), unplaced=True)
    for cram in (external, mixed):
        plan = plan_cram(cram.source, cram.header, cram.index, selection, trim)
        assert cram.answer(plan) == cram.path.read_bytes()


def test_reference_by_name_when_the_header_has_no_md5(
    external: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    header = replace(external.header, md5s=(None,) * 5)
    selection = Selection((Interval(0, 1000, 1100),))
    plan = plan_cram(external.source, header, external.index, selection, Trimmer(pool, references))
    assert external.decode(plan, tmp_path) == external.expected(selection)


@pytest.mark.security("TI7")
def test_wrong_reference_is_an_error(
    external: Cram, pool: WorkerPool, fasta: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.fa"
    other.write_text(fasta.read_text().replace("A", "C"))
    pysam.faidx(str(other))
    store = ReferenceStore([FastaOnDisk(other)])
    header = replace(external.header, md5s=(None,) * 5)
    with pytest.raises(CorruptData):
        plan_cram(
            external.source,
            header,
            external.index,
            Selection((Interval(0, 1000, 1100),)),
            Trimmer(pool, store),
        )
    store.close()


def test_regions_need_an_index(
    external: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    trim = Trimmer(pool, references)
    with pytest.raises(UnindexableRange):
        plan_cram(external.source, external.header, None, Selection(()), trim)
    assert plan_cram(external.source, external.header, None, Selection(), trim)


def test_index_of_another_file_is_refused(
    external: Cram, mixed: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    trim = Trimmer(pool, references)
    everything = Selection(merge(Interval(n, 0, UNBOUNDED) for n in range(5)), unplaced=True)
    for cram, other in ((external, mixed), (mixed, external)):
        with pytest.raises(CorruptData):
            plan_cram(cram.source, cram.header, other.index, everything, trim)


def test_truncated_file_is_refused(
    external: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    data = external.path.read_bytes()
    trim = Trimmer(pool, references)
    source = BytesSource(data[:-5000])
    header = parse_header(source)
    for index in (external.index, None):
        with pytest.raises(CorruptData):
            plan_cram(source, header, index, Selection(), trim)
    complete = BytesSource(data[: external.header.data_end])
    header = parse_header(complete)
    plan = plan_cram(complete, header, None, Selection(), trim)
    assert plan == [Stored(header.data_start, complete.size)]


def test_corrupt_container_is_an_error_of_its_own(
    external: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    trim = Trimmer(pool, references)
    data = bytearray(external.path.read_bytes())
    first, second = list(walk(external.source, external.header))[:2]
    middle = (first.blocks_start + first.stop) // 2
    data[middle : middle + 20] = bytes(20)
    source = BytesSource(bytes(data))
    header = parse_header(source)
    with pytest.raises(CorruptData):
        plan_cram(source, header, external.index, Selection((Interval(0, 0, 50),)), trim)
    selection = Selection((Interval(0, second.end - 1, second.end),))
    plan = plan_cram(external.source, external.header, external.index, selection, trim)
    assert external.decode(plan, tmp_path) == external.expected(selection)


@pytest.mark.security("TI7", "TI10")
def test_damage_never_harms_the_server(
    bam: Path,
    fasta: Path,
    pool: WorkerPool,
    references: ReferenceStore,
    tmp_path: Path,
) -> None:
    """CRAM 2 has no checksums: what is damaged reaches the codecs of the decoding process."""
    cram = write_cram(tmp_path, bam, fasta, "several slices v2.1")
    trim = Trimmer(pool, references)
    selection = Selection((Interval(0, 0, 50), Interval(0, 900, 1000)))
    original = cram.path.read_bytes()
    first = next(walk(cram.source, cram.header))
    draw = random.Random(16)
    refused = 0
    for _ in range(60):
        data = bytearray(original)
        for _ in range(draw.randrange(1, 5)):
            data[draw.randrange(first.offset, first.stop)] = draw.randrange(256)
        try:
            plan_cram(BytesSource(bytes(data)), cram.header, cram.index, selection, trim)
        except CorruptData:
            refused += 1
    assert refused > 20
    plan = plan_cram(cram.source, cram.header, cram.index, selection, trim)
    assert cram.decode(plan, tmp_path) == cram.expected(selection)


def test_version_2_0(
    bam: Path, fasta: Path, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    """As 2.1, but without an EOF container."""
    newer = write_cram(tmp_path, bam, fasta, "v2.1 external")
    data = bytearray(newer.path.read_bytes()[: newer.header.data_end])
    data[5] = 0
    newer.path.write_bytes(data)
    cram = Cram(newer.path, fasta)
    assert cram.header.version == (2, 0)
    assert cram.records == newer.records
    draw = random.Random(17)
    (tmp_path / "answer").mkdir()
    for _ in range(10):
        selection = draw_selection(draw, cram)
        segments = plan_cram(
            cram.source, cram.header, cram.index, selection, Trimmer(pool, references)
        )
        assert cram.decode(segments, tmp_path / "answer") == cram.expected(selection)


def test_names_that_the_file_does_not_store(
    pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    """Readers make them of the file's name and a counter; the counter stays."""
    path = tmp_path / "reads.cram"
    header = pysam.AlignmentHeader.from_references(["one"], [9000])
    options = ["no_ref=1", "lossy_names=1", "seqs_per_slice=100"]
    with pysam.AlignmentFile(str(path), "wc", header=header, format_options=options) as out:
        for number in range(800):  # pairs, one mate right behind the other
            first = number % 2 == 0
            record = pysam.AlignedSegment(header)
            record.query_name = f"pair{number // 2}"
            record.query_sequence, record.cigarstring = "ACGTACGTAC", "10M"
            record.flag = 99 if first else 147
            record.reference_id = record.next_reference_id = 0
            record.reference_start = 10 * number
            record.next_reference_start = 10 * (number + 1 if first else number - 1)
            record.template_length = 20 if first else -20
            out.write(record)
    pysam.index(str(path))
    cram = Cram(path, None)
    assert all(text.startswith("reads.cram:") for _, text in cram.records)
    selection = Selection((Interval(0, 1500, 6505),))
    segments = plan_cram(cram.source, cram.header, cram.index, selection, Trimmer(pool, references))
    (tmp_path / "answer").mkdir()
    decoded = cram.decode(segments, tmp_path / "answer")
    assert [text.partition(":")[2] for text in decoded] == [
        text.partition(":")[2] for text in cram.expected(selection)
    ]


def test_edges_are_cached(external: Cram, pool: WorkerPool, references: ReferenceStore) -> None:
    cache = EdgeCache(1 << 20)
    selection = Selection((Interval(0, 1000, 9000),))
    first = plan_cram(
        external.source,
        external.header,
        external.index,
        selection,
        Trimmer(pool, references, cache, "a"),
    )
    without = Trimmer(pool, ReferenceStore(), cache, "a")
    args = (external.source, external.header, external.index, selection)
    assert plan_cram(*args, without) == first
    with pytest.raises(MissingReference):
        plan_cram(*args, replace(without, key="b"))


def test_cache_is_bounded() -> None:
    cache = EdgeCache(100_000)
    for number in range(100):
        cache.put(number, bytes(4000))
    kept = [number for number in range(100) if cache.get(number)]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) == 22
    cache.put("large", bytes(50_000))
    assert cache.get("large") is None
    cache.put("whole", None)
    assert cache.get("whole") == (None,)
