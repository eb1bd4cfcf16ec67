"""Records as bytes, written by hand from the specifications."""

import struct
from collections.abc import Sequence

OPERATIONS = "MIDNSHP=X"
Cigar = Sequence[tuple[int, str]]


def bam_record(
    reference: int,
    position: int,
    cigar: Cigar = (),
    *,
    flag: int = 0,
    name: bytes = b"r\0",
    bases: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """One alignment (SAMv1 § 4.2); as many bases as the CIGAR takes unless told."""
    if bases is None:
        bases = sum(count for count, operation in cigar if operation in "MIS=X")
    body = b"".join(
        (
            struct.pack("<ii", reference, position),  # refID, pos
            struct.pack("<BBH", len(name), 60, 4680),  # l_read_name, mapq, bin
            struct.pack("<HHi", len(cigar), flag, bases),  # n_cigar_op, flag, l_seq
            struct.pack("<iii", -1, -1, 0),  # next_refID, next_pos, tlen
            name,
            *(struct.pack("<I", count << 4 | OPERATIONS.index(kind)) for count, kind in cigar),
            b"\x11" * ((bases + 1) // 2),  # seq
            b"\x1e" * bases,  # qual
            tail,
        )
    )
    return struct.pack("<i", len(body)) + body


def bam_header(text: bytes, references: Sequence[tuple[bytes, int]]) -> bytes:
    """Magic, text and list of references."""
    return b"".join(
        (
            b"BAM\x01",
            struct.pack("<i", len(text)),
            text,
            struct.pack("<i", len(references)),
            *(
                struct.pack("<i", len(name) + 1) + name + b"\0" + struct.pack("<i", length)
                for name, length in references
            ),
        )
    )


def bcf_header(text: bytes) -> bytes:
    """Magic, version 2.2 and the VCF header with its NUL."""
    return b"BCF\x02\x02" + struct.pack("<I", len(text) + 1) + text + b"\0"


def bcf_record(reference: int, position: int, length: int, individual: bytes = b"") -> bytes:
    """One variant with alleles A and C and no INFO (VCFv4.3 § 6.3)."""
    shared = b"".join(
        (
            struct.pack("<iii", reference, position, length),  # CHROM, POS, rlen
            struct.pack("<I", 0x7F800001),  # QUAL: missing
            struct.pack("<I", 2 << 16),  # n_allele_info
            struct.pack("<I", 0),  # n_fmt_sample
            b"\x07\x17A\x17C\x00",  # ID, REF, ALT, FILTER
        )
    )
    return struct.pack("<II", len(shared), len(individual)) + shared + individual
