"""Slices of CRAM against pysam on the same file: every record once, in order, with all its tags."""

import os
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pysam
import pytest

from formats.crai import CraiIndex, parse_crai, scan_containers
from formats.cram import CramHeader, parse_header, walk
from formats.errors import CorruptData, MissingReference, UnindexableRange
from formats.regions import UNBOUNDED, Interval, merge
from formats.source import BytesSource
from server.slicing.cram import EdgeCache, Trimmer, missing_references, plan_cram
from server.slicing.references import ReferenceStore
from server.slicing.segments import Segment, Stored
from server.slicing.selection import Selection
from server.slicing.workers import WorkerPool

SHARED = Path(
    os.environ.get("HTSGATE_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
)
LENGTHS = {"chr1": 30_000, "chr|2": 20_000, "tiny": 400, "empty": 5_000, "last": 9_000}
NAMES = list(LENGTHS)


class Cram:
    """A CRAM file in memory with what slicing takes, and its records as pysam shows them."""

    def __init__(self, path: Path, reference: Path | None) -> None:
        data = path.read_bytes()
        self.path = path
        self.reference = reference
        self.source = BytesSource(data)
        self.header: CramHeader = parse_header(self.source)
        self.index: CraiIndex = parse_crai(path.with_name(path.name + ".crai").read_bytes())
        self.records = list(read_cram(path, reference))

    def answer(self, segments: Sequence[Segment]) -> bytes:
        read = self.source.read
        body = (read(s.start, s.end) if isinstance(s, Stored) else s for s in segments)
        return self.header.block + b"".join(body) + self.header.version.eof_marker

    def decode(self, segments: Sequence[Segment], directory: Path) -> list[str]:
        path = directory / self.path.name  # generated names begin with the name of the file
        path.write_bytes(self.answer(segments))
        return [text for _, text in read_cram(path, self.reference)]

    def expected(self, selection: Selection) -> list[str]:
        return [text for place, text in self.records if selects(selection, *place)]


Place = tuple[int, int, int]


def read_cram(path: Path, reference: Path | None) -> Iterator[tuple[Place, str]]:
    name = str(reference) if reference else None
    with pysam.AlignmentFile(str(path), reference_filename=name) as records:
        for record in records.fetch(until_eof=True):
            start = record.reference_start
            place = record.reference_id, start, record.reference_end or start + 1
            yield place, record.to_string()


def selects(selection: Selection, reference: int, start: int, end: int) -> bool:
    if reference < 0:
        return selection.unplaced
    if not selection.intervals:
        return selection.intervals is None
    sent = selection.sent_until if reference == selection.intervals[0].reference else 0
    if start < sent:
        return False
    return any(
        i.reference == reference and start < i.end and end > i.start for i in selection.intervals
    )


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    verbosity = pysam.set_verbosity(0)
    yield
    pysam.set_verbosity(verbosity)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fasta") / "ref.fa"
    draw = random.Random(5)
    with path.open("w") as file:
        for name, length in LENGTHS.items():
            bases = "".join(draw.choices("ACGTacgtN", [9, 9, 9, 9, 2, 2, 2, 2, 1], k=length))
            file.write(f">{name}\n")
            file.writelines(f"{bases[at : at + 60]}\n" for at in range(0, length, 60))
    pysam.faidx(str(path))
    return path


@pytest.fixture(scope="module")
def references(fasta: Path) -> Iterator[ReferenceStore]:
    store = ReferenceStore([fasta])
    yield store
    store.close()


@pytest.fixture(scope="module")
def bam(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sorted reads of every awkward kind."""
    draw = random.Random(7)
    bases = pysam.FastaFile(str(fasta))
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": name, "LN": length} for name, length in LENGTHS.items()],
            "RG": [{"ID": "a", "SM": "s"}, {"ID": "b", "SM": "s"}],
            "CO": ["a comment"],
        }
    )
    records = []
    for name, count in {"chr1": 900, "chr|2": 500, "tiny": 12, "last": 90}.items():
        sequence = bases.fetch(name).upper()
        records += [
            _placed(draw, header, name, sequence, f"{name[:4]}{number}") for number in range(count)
        ]
    records.sort(key=lambda record: (record.reference_id, record.reference_start))
    records += [
        _segment(header, f"u{number}", 4 | 77 * (number % 2), -1, -1, draw) for number in range(150)
    ]
    path = tmp_path_factory.mktemp("bam") / "reads.bam"
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for record in records:
            out.write(record)
    return path


def _segment(
    header: pysam.AlignmentHeader,
    name: str,
    flag: int,
    reference: int,
    start: int,
    draw: random.Random,
    sequence: str | None = None,
) -> pysam.AlignedSegment:
    record = pysam.AlignedSegment(header)
    record.query_name = name
    record.flag = flag
    record.reference_id = reference
    record.reference_start = start
    sequence = sequence or "".join(draw.choices("ACGTN", k=60))
    record.query_sequence = sequence
    if draw.random() < 0.9:
        record.query_qualities = pysam.qualitystring_to_array(
            "".join(draw.choices("#5?I", k=len(sequence)))
        )
    record.set_tag("RG", draw.choice("ab"))
    record.set_tag("XA", draw.randrange(1000))
    if draw.random() < 0.2:
        record.set_tag("ZB", array("h", [draw.randrange(99) for _ in range(4)]))
    return record


def _placed(
    draw: random.Random, header: pysam.AlignmentHeader, name: str, sequence: str, read: str
) -> pysam.AlignedSegment:
    number = NAMES.index(name)
    start = draw.randrange(len(sequence) - 100)
    kind = draw.random()
    if kind < 0.05:  # unmapped, at its mate's position
        return _segment(header, read, 69, number, start, draw)
    if kind < 0.08:  # covers no reference base
        record = _segment(header, read, 0, number, start, draw)
        record.cigarstring = draw.choice(["60S", "60I", "30S30I"])
        return record
    if kind < 0.2:
        cigar = [(0, 30), (3, min(draw.randrange(20, 4000), len(sequence) - start - 70)), (0, 30)]
    elif kind < 0.5:
        cigar = [(4, 5), (0, 20), (1, 3), (0, 20), (2, 4), (0, 20), (5, 9)]
    else:
        cigar = [(0, 70)]
    query, at = "", start
    for operation, length in cigar:
        if operation == 0:
            query += sequence[at : at + length]
        elif operation in (1, 4):
            query += "".join(draw.choices("ACGT", k=length))
        at += length if operation in (0, 2, 3) else 0
    query = "".join(b if draw.random() > 0.02 else draw.choice("ACGTN") for b in query)
    record = _segment(header, read, draw.choice([0, 16, 1024]), number, start, draw, query)
    record.cigartuples = cigar
    record.mapping_quality = draw.randrange(61)
    if draw.random() < 0.4:  # a mate that may or may not be in the same slice
        record.flag |= 1
        record.next_reference_id = draw.choice([number, 0])
        record.next_reference_start = draw.randrange(300)
        record.template_length = draw.randrange(-500, 500)
    if draw.random() < 0.2:
        record.set_tag("NM", draw.randrange(9))
        record.set_tag("MD", "10A5")
    return record


LAYOUTS = {
    "v3.0 external": (["version=3.0", "seqs_per_slice=60"], True),
    "v2.1 external": (["version=2.1", "seqs_per_slice=60"], True),
    "v3.1 external": (["version=3.1", "seqs_per_slice=100", "archive"], True),
    "several slices": (["version=3.0", "seqs_per_slice=25", "slices_per_container=4"], True),
    "several slices v2.1": (["version=2.1", "seqs_per_slice=25", "slices_per_container=4"], True),
    "several references": (["version=3.0", "seqs_per_slice=80", "multi_seq_per_slice=1"], True),
    "several references and slices": (
        ["version=3.1", "seqs_per_slice=40", "slices_per_container=3", "multi_seq_per_slice=1"],
        True,
    ),
    "several references no_ref": (
        ["version=3.0", "seqs_per_slice=80", "multi_seq_per_slice=1", "no_ref=1"],
        False,
    ),
    "embedded": (["version=3.0", "seqs_per_slice=60", "embed_ref=1"], False),
    "embedded consensus": (["version=3.0", "seqs_per_slice=60", "embed_ref=2"], False),
    "no_ref": (["version=3.0", "seqs_per_slice=60", "no_ref=1"], False),
    "no_ref v2.1": (["version=2.1", "seqs_per_slice=60", "no_ref=1"], False),
    "one container": (["version=3.0", "multi_seq_per_slice=1"], True),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def cram(
    request: pytest.FixtureRequest, bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory
) -> Cram:
    return write_cram(tmp_path_factory.mktemp("cram"), bam, fasta, request.param)


def write_cram(directory: Path, bam: Path, fasta: Path, layout: str) -> Cram:
    options, external = LAYOUTS[layout]
    path = directory / "reads.cram"
    with pysam.AlignmentFile(str(bam), check_sq=False) as records:
        out = pysam.AlignmentFile(
            str(path),
            "wc",
            header=records.header,
            reference_filename=str(fasta),
            format_options=options,
        )
        for record in records.fetch(until_eof=True):
            # With a consensus htslib 1.24 names spans that end before its spliced reads do, so that
            # pysam does not find those either.
            if "embed_ref=2" not in options or "N" not in (record.cigarstring or ""):
                out.write(record)
        out.close()
    pysam.index(str(path))
    return Cram(path, fasta if external else None)


def draw_selection(draw: random.Random, cram: Cram) -> Selection:
    intervals = []
    for _ in range(draw.choice([0, 1, 1, 1, 2, 5])):
        number = draw.randrange(len(cram.header.names))
        places = [place for place, _ in cram.records if place[0] == number]
        start = draw.choice(places)[1] + draw.randrange(-50, 50) if places else 0
        size = draw.choice([1, 1, 50, 1000, 5000, UNBOUNDED])
        intervals.append(Interval(number, max(0, start), start + size))
    merged = merge(intervals)
    sent = 0
    if merged and draw.random() < 0.3:
        sent = max(0, merged[0].start - draw.randrange(100))
    return Selection(merged, unplaced=draw.random() < 0.2, sent_until=sent)


def test_random_selections(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(11)
    trim = Trimmer(pool, references)
    for _ in range(40):
        selection = draw_selection(draw, cram)
        segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
        assert cram.decode(segments, tmp_path) == cram.expected(selection), selection


def test_single_regions_are_what_pysam_fetches(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(12)
    trim = Trimmer(pool, references)
    name = str(cram.reference) if cram.reference else None
    with pysam.AlignmentFile(str(cram.path), reference_filename=name) as original:
        for _ in range(15):
            number = draw.randrange(len(LENGTHS))
            start = draw.randrange(LENGTHS[NAMES[number]])
            end = start + draw.choice([1, 30, 700, 20_000])
            selection = Selection((Interval(number, start, end),))
            segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
            fetched = [r.to_string() for r in original.fetch(NAMES[number], start, end)]
            assert cram.decode(segments, tmp_path) == fetched


def test_containers_wholly_inside_are_not_decoded(
    cram: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    """The whole of a reference: at most containers on several references are looked into."""
    trim = Trimmer(pool, references)
    selection = Selection((Interval(0, 0, UNBOUNDED),))
    segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
    single = [c for c in walk(cram.source, cram.header) if c.reference == 0]
    covered = [s for s in segments if isinstance(s, Stored)]
    for container in single:
        assert any(s.start <= container.offset and container.stop <= s.end for s in covered)
    if single:
        assert len(covered) == 1


def test_cuts_tile(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    draw = random.Random(13)
    trim = Trimmer(pool, references)
    size = cram.source.size
    intervals = (Interval(0, 500, 21_000), Interval(1, 0, UNBOUNDED))
    for base in (Selection(), Selection(intervals, unplaced=True)):
        for index in (cram.index, None) if base.intervals is None else (cram.index,):
            borders = [0, *sorted(draw.randrange(size) for _ in range(3)), size]
            segments: list[Segment] = []
            for cut in pairwise(borders):
                part = replace(base, cut=cut)
                segments += plan_cram(cram.source, cram.header, index, part, trim)
            whole = plan_cram(cram.source, cram.header, index, base, trim)
            assert cram.answer(segments) == cram.answer(whole)
            if base.intervals is None:
                assert cram.answer(segments) == cram.path.read_bytes()
            else:
                assert cram.decode(segments, tmp_path) == cram.expected(base)


def test_index_of_container_headers_serves_as_well(
    cram: Cram, pool: WorkerPool, references: ReferenceStore, tmp_path: Path
) -> None:
    index = scan_containers(cram.source, cram.header)
    assert index.offsets == cram.index.offsets
    trim = Trimmer(pool, references)
    draw = random.Random(14)
    for _ in range(5):
        selection = draw_selection(draw, cram)
        segments = plan_cram(cram.source, cram.header, index, selection, trim)
        assert cram.decode(segments, tmp_path) == cram.expected(selection)


def test_answers_are_the_same_bytes_each_time(
    cram: Cram, pool: WorkerPool, references: ReferenceStore
) -> None:
    selection = Selection((Interval(0, 1000, 9000), Interval(1, 5, 15_000)), unplaced=True)
    other = WorkerPool(1)
    try:
        answers = {
            cram.answer(
                plan_cram(
                    cram.source, cram.header, cram.index, selection, Trimmer(workers, references)
                )
            )
            for workers in (pool, pool, other)
        }
    finally:
        other.close()
    assert len(answers) == 1


@pytest.fixture(scope="module")
def external(bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Cram:
    return write_cram(tmp_path_factory.mktemp("external"), bam, fasta, "v3.0 external")


@pytest.fixture(scope="module")
def mixed(bam: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Cram:
    return write_cram(tmp_path_factory.mktemp("mixed"), bam, fasta, "several references")


def test_missing_reference_is_refused(external: Cram, mixed: Cram, pool: WorkerPool) -> None:
    trim = Trimmer(pool, ReferenceStore())
    for cram in (external, mixed):
        selection = Selection((Interval(0, 1000, 1100),))
        with pytest.raises(MissingReference):
            plan_cram(cram.source, cram.header, cram.index, selection, trim)
    assert missing_references(external.header, trim.references) == NAMES


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


def test_wrong_reference_is_an_error(
    external: Cram, pool: WorkerPool, fasta: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.fa"
    other.write_text(fasta.read_text().replace("A", "C"))
    pysam.faidx(str(other))
    store = ReferenceStore([other])
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


@pytest.mark.parametrize(
    ("name", "fasta_name"),
    [
        ("htsnexus_test_NA12878.cram", None),
        ("mitoAlignmentStartTest.cram", "mitoAlignmentStartTest.fa"),
        ("CEUTrio.NA12878.20.first.8000.slices500.cram", "human_g1k_v37.20.subset.fasta"),
    ],
)
def test_shared_files(name: str, fasta_name: str | None, pool: WorkerPool, tmp_path: Path) -> None:
    path = SHARED / "cram" / name
    if not path.exists():
        pytest.skip("the shared data folder is absent")
    fasta = SHARED / "fasta" / fasta_name if fasta_name else None
    cram = Cram(path, fasta)
    store = ReferenceStore([fasta] if fasta else [])
    trim = Trimmer(pool, store)
    draw = random.Random(15)
    numbers = sorted({place[0] for place, _ in cram.records if place[0] >= 0})
    try:
        for _ in range(30):
            number = draw.choice(numbers)
            starts = [place[1] for place, _ in cram.records if place[0] == number]
            start = draw.randrange(min(starts), max(starts) + 100)
            size = draw.choice([1, 100, 1000, 20_000, UNBOUNDED])
            selection = Selection((Interval(number, start, start + size),), draw.random() < 0.1)
            segments = plan_cram(cram.source, cram.header, cram.index, selection, trim)
            assert cram.decode(segments, tmp_path) == cram.expected(selection)
    finally:
        store.close()
