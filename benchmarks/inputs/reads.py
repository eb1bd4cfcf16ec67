"""A coordinate-sorted BAM and its reference, written as arrays: every record has the same size."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pysam

from benchmarks.inputs.scale import Scale
from formats.bgzf import EOF_MARKER, MAX_PAYLOAD, compress

READ = 150
SPARSE_LENGTH = 1_000_000
_SPARSE_READS = 2_000
_MATE = 300  # from a read to its mate, in bases
_BATCH = 100_000
_QUALITIES = np.array([37] * 15 + [25, 25, 11, 11, 2], dtype=np.uint8)
_NIBBLES = np.array([1, 2, 4, 8], dtype=np.uint8)  # A, C, G, T

_RECORD = np.dtype(
    [
        ("size", "<u4"), ("reference", "<i4"), ("position", "<i4"), ("name_length", "u1"),
        ("mapping_quality", "u1"), ("bin", "<u2"), ("operations", "<u2"), ("flag", "<u2"),
        ("bases", "<i4"), ("mate_reference", "<i4"), ("mate_position", "<i4"), ("template", "<i4"),
        ("name", "S20"), ("cigar", "<u4"), ("sequence", "u1", (READ // 2,)),
        ("quality", "u1", (READ,)), ("mismatches", "S3"), ("mismatch_count", "u1"),
        ("group", "S3"), ("group_name", "S4"),
    ]
)  # fmt: skip


def contigs(scale: Scale) -> list[tuple[str, int]]:
    """Names and lengths: the two dense contigs, then the sparse ones."""
    sparse = [(f"sparse{number}", SPARSE_LENGTH) for number in range(scale.sparse)]
    return [("chr20", scale.dense), ("chr21", scale.dense_small), *sparse]


def write_reads(directory: Path, scale: Scale) -> None:
    """`reads.bam` with BAI, and `reference.fa` with FAI."""
    random = np.random.default_rng(20)
    lengths = contigs(scale)
    genome = [random.integers(0, 4, length, dtype=np.uint8) for _, length in lengths]
    _write_reference(directory / "reference.fa", lengths, genome)
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": name, "LN": length} for name, length in lengths],
            "RG": [{"ID": "rg1", "SM": "sample"}],
        }
    )
    path = directory / "reads.bam"
    with pysam.AlignmentFile(str(path), "wb", header=header):
        pass  # the header and an EOF marker, which the records replace
    # As htslib writes them: no record spans two blocks.
    block = MAX_PAYLOAD // _RECORD.itemsize * _RECORD.itemsize
    with path.open("r+b") as file:
        file.seek(-len(EOF_MARKER), 2)
        for number, sequence in enumerate(genome):
            dense = number < 2
            count = len(sequence) * scale.depth // READ if dense else _SPARSE_READS
            for records in _records(random, number, sequence, count):
                data = records.tobytes()
                for at in range(0, len(data), block):
                    file.write(compress(data[at : at + block]))
        file.write(EOF_MARKER)
        file.truncate()
    pysam.index(str(path))


def write_cram(directory: Path) -> None:
    """`alignments.cram` with CRAI: the smaller of the dense contigs."""
    cram = directory / "alignments.cram"
    pysam.view(
        "-C", "-T", str(directory / "reference.fa"), "-o", str(cram),
        str(directory / "reads.bam"), "chr21", catch_stdout=False,
    )  # fmt: skip
    pysam.index(str(cram))


def _records(
    random: np.random.Generator, reference: int, sequence: npt.NDArray[np.uint8], count: int
) -> Iterator[np.ndarray]:
    """The records of one contig in batches, sorted by position."""
    positions = np.sort(random.integers(0, len(sequence) - READ - _MATE, count, dtype=np.int64))
    for at in range(0, count, _BATCH):
        batch = positions[at : at + _BATCH]
        records = np.zeros(len(batch), dtype=_RECORD)
        forward = random.integers(0, 2, len(batch), dtype=np.int64) == 0
        shift = np.where(forward, _MATE, -_MATE)
        records["size"] = _RECORD.itemsize - 4
        records["reference"] = records["mate_reference"] = reference
        records["position"] = batch
        records["mate_position"] = np.maximum(batch + shift, 0)
        records["template"] = shift + np.where(forward, READ, -READ)
        records["name_length"], records["operations"], records["bases"] = 20, 1, READ
        records["mapping_quality"] = 60
        records["bin"] = _bins(batch)
        records["flag"] = np.where(forward, 99, 147)
        # Neighbours in the file come from all over the flow cell: their names share little.
        spots = random.integers(10**12, 10**13, len(batch), dtype=np.int64)
        records["name"] = np.char.add(b"FC1:1:", spots.astype("S13"))
        records["cigar"] = READ << 4
        bases = sequence[batch[:, None] + np.arange(READ)]
        errors = random.random(bases.shape, dtype=np.float32) < 0.002
        bases = _NIBBLES[(bases + errors) & 3]
        records["sequence"] = bases[:, ::2] << 4 | bases[:, 1::2]
        records["quality"] = _QUALITIES[random.integers(0, len(_QUALITIES), bases.shape)]
        records["mismatches"], records["mismatch_count"] = b"NMC", errors.sum(axis=1)
        records["group"], records["group_name"] = b"RGZ", b"rg1\0"
        yield records


def _bins(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The smallest bin that holds each read (SAMv1 § 5.3)."""
    ends = positions + READ - 1
    bins = np.zeros_like(positions)
    for level in range(1, 6):
        shift = 14 + 3 * (5 - level)
        same = positions >> shift == ends >> shift
        bins[same] = ((1 << 3 * level) - 1) // 7 + (positions[same] >> shift)
    return bins


def _write_reference(
    path: Path, lengths: list[tuple[str, int]], genome: list[npt.NDArray[np.uint8]]
) -> None:
    width = 100
    with path.open("wb") as file:
        for (name, _), sequence in zip(lengths, genome, strict=True):
            letters = np.frombuffer(b"ACGT", dtype=np.uint8)[sequence]
            whole = len(letters) // width
            lines = np.full((whole, width + 1), ord("\n"), dtype=np.uint8)
            lines[:, :width] = letters[: whole * width].reshape(whole, width)
            rest = letters[whole * width :]
            file.write(b">%s\n" % name.encode())
            file.write(lines.tobytes())
            if len(rest):
                file.write(rest.tobytes() + b"\n")
    pysam.faidx(str(path))
