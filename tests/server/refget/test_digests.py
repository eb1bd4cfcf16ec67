"""Digests of sequences: known answers of the specification, and pieces of every size."""

import base64
import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.fasta_index import RecordBegins, RecordEnds, inflated_pieces, scan_fasta
from formats.source import BytesSource
from server.refget.digests import Digests, SequenceDigester, normalise

KNOWN = {
    b"ACGT": (
        "f1f8f4bf413b16ad135722aa4591043e",
        "68a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2",
    ),
    b"": (
        "d41d8cd98f00b204e9800998ecf8427e",
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc",
        "SQ.z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXc",
    ),
    b"A": (
        "7fc56270e7a70fa81a5935b72eacbe29",
        "21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995",
        "SQ.IbT0vZ5k7TVcPrZ2oo6-2vbY8XvcNlmV",
    ),
    b"NNNN": (
        "ef95bc05180af51bfd945e93b2bbba8e",
        "3a3bd871a0cb2406c8fe86d23ca93120a3479010970b674c",
        "SQ.OjvYcaDLJAbI_obSPKkxIKNHkBCXC2dM",
    ),
}

# File, number of the sequence: name, length, md5, GA4GH.
SEQUENCES = {
    ("refget-compliance/I.faa", 0): (
        None,
        230_218,
        "6681ac2f62509cfc220d78751b8dc524",
        "SQ.lZyxiD_ByprhOUzrR1o1bq0ezO_1gkrn",
    ),
    ("refget-compliance/NC.faa", 0): (
        None,
        5_386,
        "3332ed720ac7eaa9b3655c06f6b9e196",
        "SQ.IIXILYBQCpHdC4qpI3sOQ_HAeAm9bmeF",
    ),
    ("fasta/Saccharomyces_cerevisiae.R64-1-1.fa.bgz.fa.gz", 3): (
        "IV",
        1_531_933,
        "74180788027e20df3de53dcb2367d9e3",
        "SQ.QXSUMoZW_SSsCCN9_wc-xmubKQSOn3Qb",
    ),
    ("fasta/ce.fa", 0): (
        "CHROMOSOME_I",
        1_009_800,
        "8ede36131e0dbf3417807e48f77f3ebd",
        "SQ.craCKaX28lK21to26asvQ7BoXwMOb_Yn",
    ),
    ("fasta/Homo_sapiens_assembly18.trimmed.fasta.gz", 1): (
        "chr20",
        1_000_000,
        "b4eac854d70893986ac578c53c2324f1",
        "SQ.zHQaPdSvhP4JDK7gJFv5n2GH5-8y7k5x",
    ),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def naive(residues: bytes) -> tuple[bytes, str]:
    """The normalised residues and the M5, letter by letter."""
    letters = bytes(byte for byte in residues.upper() if ord("A") <= byte <= ord("Z"))
    printable = bytes(byte for byte in residues.upper() if 0x21 <= byte <= 0x7E)
    return letters, hashlib.md5(printable, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("residues", KNOWN)
def test_known_answers(residues: bytes) -> None:
    digests = Digests.from_residues(residues)
    assert (digests.md5, digests.trunc512, digests.ga4gh) == KNOWN[residues]
    md5, trunc512, ga4gh = KNOWN[residues]
    assert digests == Digests.from_trunc512(md5.upper(), trunc512.upper())
    assert digests == Digests.from_ga4gh(md5, ga4gh)
    assert len(digests.truncated) == 24


@pytest.mark.parametrize("residues", [b"acgt", b"AC\nGT", b"A C-G*T1"])
def test_what_digests_like_acgt(residues: bytes) -> None:
    assert Digests.from_residues(residues).md5 == KNOWN[b"ACGT"][0]


@given(
    pieces=st.lists(
        st.binary(max_size=50)
        | st.integers(0, 5000).map(lambda size: b"ACGTN" * size)
        | st.integers(0, 5000).map(lambda size: b"acGTn" * size)
        | st.integers(0, 2000).map(lambda size: b"acG[n`{@Z" * size)
    )
)
def test_pieces(pieces: list[bytes], pool: ThreadPoolExecutor) -> None:
    letters, m5 = naive(b"".join(pieces))
    md5 = hashlib.md5(letters, usedforsecurity=False).hexdigest()
    for executor in (None, pool):
        digester = SequenceDigester(executor)
        assert b"".join(digester.update(piece) for piece in pieces) == letters
        digests, length = digester.finish()
        assert length == len(letters)
        assert digests.md5 == md5
        assert digests.truncated == hashlib.sha512(letters).digest()[:24]
        assert digester.m5 == (None if m5 == md5 else m5)


@pytest.mark.parametrize("size", [997, 300_000, 1 << 20, 5_000_000])
def test_threads_give_the_same(size: int, pool: ThreadPoolExecutor) -> None:
    residues = bytes(random.Random(size).choices(b"ACGTacgtN", k=3_000_000))
    residues = residues[:2_000_000] + b"*" + residues[2_000_000:]
    letters, m5 = naive(residues)
    digester = SequenceDigester(pool)
    for at in range(0, len(residues), size):
        digester.update(residues[at : at + size])
    assert digester.finish() == (Digests.from_residues(letters), 3_000_000)
    assert digester.m5 == m5


def test_digests_on_the_way() -> None:
    digester = SequenceDigester()
    assert digester.finish() == (Digests.from_residues(b""), 0)
    digester.update(b"AC")
    assert digester.finish() == (Digests.from_residues(b"AC"), 2)
    assert digester.m5 is None
    digester.update(b"*GT")
    assert digester.finish() == (Digests.from_residues(b"ACGT"), 4)
    assert digester.m5 == hashlib.md5(b"AC*GT", usedforsecurity=False).hexdigest()


def test_every_byte_is_normalised_alike_in_small_and_large_pieces() -> None:
    for byte in range(256):
        piece = b"A" * 5000 + bytes([byte])
        letters, _ = naive(piece)
        assert normalise(piece) == letters
        assert normalise(bytes([byte])) == letters[5000:]


@pytest.mark.parametrize(
    ("md5", "truncated"),
    [
        ("f1f8", "68a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36"),
        ("g" * 32, "68a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36"),
        ("f1f8f4bf413b16ad135722aa4591043e", "68a178"),
        ("f1f8f4bf413b16ad135722aa4591043e", "x" * 48),
        ("f1f8f4bf413b16ad135722aa4591043e", "68 a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36"),
        ("f1f8f4bf413b16ad135722aa 591043e", "68a178f7c740c5c240aa67ba41843b119d3bf9f8b0f0ac36"),
    ],
)
def test_bad_hex(md5: str, truncated: str) -> None:
    with pytest.raises(ValueError, match="not an MD5"):
        Digests.from_trunc512(md5, truncated)


@pytest.mark.parametrize(
    "ga4gh",
    [
        "aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2AAAA",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07+fiw8Kw2",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw\N{LATIN SMALL LETTER A WITH DIAERESIS}",
        "ga4gh:SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2",
    ],
)
def test_bad_ga4gh(ga4gh: str) -> None:
    with pytest.raises(ValueError, match="not an MD5"):
        Digests.from_ga4gh("f1f8f4bf413b16ad135722aa4591043e", ga4gh)


@pytest.mark.parametrize("key", SEQUENCES)
def test_sequences_of_real_files(
    shared_data: Path, pool: ThreadPoolExecutor, key: tuple[str, int]
) -> None:
    file, number = key
    data = (shared_data / file).read_bytes()
    pieces = inflated_pieces(BytesSource(data), []) if file.endswith("gz") else [data]
    found: list[tuple[str, int, str, str]] = []
    digester = SequenceDigester(pool)
    for event in scan_fasta(pieces):
        match event:
            case RecordBegins():
                digester = SequenceDigester(pool)
            case bytes():
                digester.update(event)
            case RecordEnds():
                digests, length = digester.finish()
                assert length == event.length
                found.append((event.name, length, digests.md5, digests.ga4gh))
    name, *rest = SEQUENCES[key]
    assert found[number] == (name or found[number][0], *rest)
    assert (
        base64.urlsafe_b64decode(found[number][3][3:]).hex()
        == Digests.from_ga4gh(found[number][2], found[number][3]).trunc512
    )
