"""What the two suites of refget ask for: sequences, and collections of them."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

COLLECTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "base": {"chrX": "TTGGGGAA", "chr1": "GGAA", "chr2": "GCGC"},
        "different_names": {"X": "TTGGGGAA", "1": "GGAA", "2": "GCGC"},
        "different_order": {"chr1": "GGAA", "chr2": "GCGC", "chrX": "TTGGGGAA"},
        "pair_swap": {"chr2": "TTGGGGAA", "chr1": "GGAA", "chrX": "GCGC"},
        "subset": {"chrX": "TTGGGGAA", "chr1": "GGAA"},
        "swap_wo_coords": {"chrX": "TTGGGGAA", "chr2": "GGAA", "chr1": "GCGC"},
    }
)
"""The files of the collections' suite: what their records are called, in order, and hold."""

SEQUENCES_READY = (
    "/sequence/6681ac2f62509cfc220d78751b8dc524/metadata",
    "/sequence/b7ebc601f9a7df2e1ec5863deeae88a3/metadata",
    "/sequence/3332ed720ac7eaa9b3655c06f6b9e196/metadata",
)
"""What answers 200 once the sequences are served."""

COLLECTIONS_READY = (
    "/collection/XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk",
    "/collection/QvT5tAQ0B8Vkxd-qFftlzEk2QyfPtgOv",
    "/collection/Tpdsg75D4GKCGEHtIiDSL9Zx-DSuX5V8",
    "/collection/UNGAdNDmBbQbHihecPPFxwTydTcdFKxL",
    "/collection/sv7GIP1K0qcskIKF3iaBmQpaum21vH74",
    "/collection/aVzHaGFlUDUNF2IEmNdzS_A8lCY0stQH",
)
"""What answers 200 once the collections are."""


def write_sequences(served: Path, source: Path) -> None:
    """The sequences of the first suite, from the directory they come in."""
    for name in ("I", "VI", "NC"):
        (served / f"{name}.fa").write_bytes((source / f"{name}.faa").read_bytes())


def write_collections(served: Path, _: Path) -> None:
    """The files of the second, which are small enough to be written here."""
    for name, records in COLLECTIONS.items():
        text = "".join(f">{title}\n{residues}\n" for title, residues in records.items())
        (served / f"{name}.fa").write_text(text)
